//! Errors of the SDK as one sentence: without dumps and addresses, and a failure of our own disk first.

use std::error::Error as StdError;

use matrix_sdk::Error;
use matrix_sdk_base::crypto::CryptoStoreError;
use matrix_sdk_base::store::StoreError;

use super::{ServerAnswer, http};
use relay_disk::Trouble;
use relay_model::Chain;

/// Returns what is wrong with our own disk, if that made the SDK fail.
pub(crate) fn disk(error: &Error) -> Option<Trouble> {
    match error {
        // Network errors say nothing about the disk.
        Error::Http(_) => None,
        // Of these errors the SDK keeps only the debug output.
        Error::UnknownError(dump) => {
            let dump = dump.to_string();
            [
                ("DiskFull", Trouble::Full),
                ("ReadOnly", Trouble::ReadOnly),
                ("SystemIoFailure", Trouble::Failed),
            ]
            .into_iter()
            .find_map(|(code, trouble)| dump.contains(code).then_some(trouble))
        }
        // Transparent errors hide their source.
        Error::StateStore(error) => match error.as_ref() {
            StoreError::Backend(cause) => Trouble::of(cause.as_ref()),
            other => Trouble::of(other),
        },
        Error::CryptoStoreError(error) => match error.as_ref() {
            CryptoStoreError::Io(cause) => Trouble::of(cause),
            CryptoStoreError::Backend(cause) => Trouble::of(cause.as_ref()),
            other => Trouble::of(other),
        },
        other => Trouble::of(other),
    }
}

/// Returns an error of the SDK and its causes in one bounded line.
pub(crate) fn sentence(error: &(dyn StdError + 'static)) -> String {
    let sdk = error.downcast_ref();
    let text = match (sdk.and_then(http).and_then(ServerAnswer::of), sdk) {
        (Some(answer), _) => answer.message,
        (None, Some(Error::UnknownError(dump))) => {
            let dump = dump.to_string();
            let kind = dump.chars().take_while(char::is_ascii_alphanumeric);
            let kind: String = kind.collect();
            format!("the Matrix SDK failed in itself ({kind})")
        }
        (None, _) => without_url(&Chain(error).to_string()),
    };
    let disk = sdk.and_then(disk);
    let disk = disk.map(|trouble| format!("the Matrix store cannot be used, {trouble}: "));
    let text = disk.unwrap_or_default() + text.as_str();
    text.chars().take(400).collect()
}

/// Removes the request's address: it is long, and leaves no room for the cause.
fn without_url(text: &str) -> String {
    let url = text.split_once(" for url (");
    match url.and_then(|(before, rest)| Some((before, rest.split_once(')')?.1))) {
        Some((before, after)) => format!("{before}{after}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use matrix_sdk::encryption::OlmError;
    use matrix_sdk_base::crypto::SessionRecipientCollectionError;

    use super::*;
    use crate::errors::outcome;
    use relay_model::RoomOutcome;

    #[test]
    fn errors_of_the_sdk_are_told_without_dumps_and_addresses() {
        let dump =
            "EventCacheStore(Backend(Sqlite(SqliteFailure(Error { code: DiskFull }, None))))";
        let unknown = Error::UnknownError(dump.into());
        assert_eq!(disk(&unknown), Some(Trouble::Full));
        assert_eq!(
            sentence(&unknown),
            "the Matrix store cannot be used, the disk is full: the Matrix SDK failed in itself (EventCacheStore)"
        );
        let other = Error::UnknownError("EncryptionNotEnabled".into());
        assert_eq!(
            (disk(&other), sentence(&other).contains('"')),
            (None, false)
        );
        assert_eq!(
            without_url("error sending request for url (http://example.org/?filter=%7B%7D)"),
            "error sending request"
        );
        let store = StoreError::Backend(io::Error::from(io::ErrorKind::StorageFull).into());
        let store = Error::StateStore(Box::new(store));
        assert_eq!(
            sentence(&store),
            "the Matrix store cannot be used, the disk is full: no storage space"
        );
    }

    #[test]
    fn a_device_that_is_not_verified_parks_its_room_and_the_sentence_holds_no_cure() {
        let error = SessionRecipientCollectionError::SendingFromUnverifiedDevice;
        let error = Error::OlmError(Box::new(OlmError::SessionRecipientCollectionError(error)));
        let RoomOutcome::Parked { account, error } = outcome(&error) else {
            panic!("it waits");
        };
        assert!(!account && error.contains("verified"), "{error}");
        assert!(!error.contains("relay auth"), "{error}");
    }
}
