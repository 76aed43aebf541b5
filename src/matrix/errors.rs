//! What an error of the SDK means for a message that was to be sent. One table, design.md 9.

use std::path::Path;
use std::time::{Duration, SystemTime};

use matrix_sdk::ruma::api::error::{ErrorKind, FromHttpResponseError, RetryAfter};
use matrix_sdk::{Error, HttpError, RefreshTokenError};
use matrix_sdk_base::crypto::CryptoStoreError;
use matrix_sdk_base::store::StoreError;

use crate::disk::Trouble;
use crate::model::{RoomOutcome, Timestamp};

/// An answer of the server, as far as the table needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) errcode: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) message: String,
}

/// The code of the answer to a reaction that is there already.
pub(super) const DUPLICATE: &str = "M_DUPLICATE_ANNOTATION";

/// A server that wants to be left alone for longer is asked again all the same.
const LONGEST_WISH: Duration = Duration::from_hours(1);

impl Answer {
    /// Returns the server's answer, if there is one in this error.
    pub(super) fn of(error: &HttpError) -> Option<Self> {
        let HttpError::Api(error) = error else {
            return match error {
                HttpError::Cached(error) => Self::of(error),
                _ => None,
            };
        };
        let FromHttpResponseError::Server(answer) = error.as_ref() else {
            return None;
        };
        let matrix_sdk::ruma::api::client::uiaa::UiaaResponse::MatrixError(answer) = answer else {
            return None;
        };
        let kind = answer.error_kind();
        let retry_after = match kind {
            Some(ErrorKind::LimitExceeded(limit)) => limit.retry_after.as_ref().map(wait),
            Some(_) | None => None,
        };
        Some(Self {
            status: answer.status_code.as_u16(),
            errcode: kind.map(|kind| kind.errcode().to_string()),
            retry_after,
            message: if kind.is_some() {
                answer.to_string().chars().take(300).collect()
            } else {
                let status = answer.status_code;
                format!(
                    "the homeserver, or a proxy before it, answered {status}, without a Matrix error"
                )
            },
        })
    }

    /// Returns whether the server does not know the session any more, for good.
    pub(super) fn is_dead_session(&self) -> bool {
        self.errcode.as_deref() == Some("M_UNKNOWN_TOKEN")
    }

    fn wish(&self) -> Option<Duration> {
        self.retry_after.map(|wish| wish.min(LONGEST_WISH))
    }

    fn outcome(self) -> RoomOutcome {
        let error = self.message;
        match (self.status, self.errcode) {
            (401, Some(_)) => RoomOutcome::Parked {
                account: true,
                error,
            },
            (403, Some(code)) if code == "M_USER_DEACTIVATED" || code == "M_UNKNOWN_TOKEN" => {
                RoomOutcome::Parked {
                    account: true,
                    error,
                }
            }
            (403, Some(_)) => RoomOutcome::Parked {
                account: false,
                error,
            },
            (429, _) => RoomOutcome::Retry {
                after: self.retry_after,
                limited: true,
                error,
            },
            (408 | 425, _) => RoomOutcome::Retry {
                after: None,
                limited: false,
                error,
            },
            (400..500, Some(_)) => RoomOutcome::Refused { error },
            // 5xx, and whatever a proxy says in the server's place.
            (_, _) => RoomOutcome::Retry {
                after: None,
                limited: false,
                error,
            },
        }
    }
}

fn wait(retry_after: &RetryAfter) -> Duration {
    match retry_after {
        RetryAfter::Delay(delay) => *delay,
        RetryAfter::DateTime(time) => {
            let since = time
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            let until = Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
            until.since(Timestamp::now())
        }
    }
}

/// Returns the HTTP error inside, if this is one.
pub(super) fn http(error: &Error) -> Option<&HttpError> {
    match error {
        Error::Http(error) => Some(error),
        _ => None,
    }
}

/// Returns how long the server wants to be left alone, if it said so; an hour at most.
pub(super) fn retry_after(error: &Error) -> Option<Duration> {
    http(error).and_then(Answer::of)?.wish()
}

/// Returns whether the session is dead for good.
pub(super) fn is_dead_session(error: &Error) -> bool {
    http(error).is_some_and(is_dead)
}

fn is_dead(error: &HttpError) -> bool {
    match error {
        HttpError::RefreshToken(RefreshTokenError::MatrixAuth(cause)) => {
            // The refresh token itself is refused: nothing is left to renew with.
            Answer::of(cause).is_some_and(|answer| matches!(answer.status, 401 | 403))
        }
        HttpError::RefreshToken(RefreshTokenError::RefreshTokenRequired) => true,
        other => Answer::of(other).is_some_and(|answer| answer.is_dead_session()),
    }
}

/// Returns what becomes of a message after this error.
pub(super) fn outcome(error: &Error) -> RoomOutcome {
    let told = sentence(error);
    match error {
        Error::Http(http) => match Answer::of(http) {
            Some(answer) => answer.outcome(),
            None if is_dead(http) => RoomOutcome::Parked {
                account: true,
                error: told,
            },
            None => match http.as_ref() {
                HttpError::IntoHttp(_) => RoomOutcome::Refused { error: told },
                _ => RoomOutcome::Retry {
                    after: None,
                    limited: false,
                    error: told,
                },
            },
        },
        Error::AuthenticationRequired => RoomOutcome::Parked {
            account: true,
            error: told,
        },
        Error::SerdeJson(_) => RoomOutcome::Refused { error: told },
        Error::OlmError(error) if is_about_recipients(error) => RoomOutcome::Parked {
            account: false,
            error: format!(
                "{told} (with `matrix.e2ee.recipients: verified` the bot's own device must be verified: run `relay auth status`)"
            ),
        },
        _ => RoomOutcome::Retry {
            after: None,
            limited: false,
            error: told,
        },
    }
}

fn is_about_recipients(error: &matrix_sdk::encryption::OlmError) -> bool {
    matches!(
        error,
        matrix_sdk::encryption::OlmError::SessionRecipientCollectionError(_)
    )
}

/// Returns what is wrong with our own disk, if that is why the SDK failed.
pub(super) fn disk(error: &Error) -> Option<Trouble> {
    match error {
        // The network's errors are no news of the disk.
        Error::Http(_) => None,
        // The SDK keeps nothing of these errors but their dump.
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
        // Transparent errors hide what they hold.
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

/// Returns an error of the SDK without its causes, for people.
fn first_words(error: &(dyn std::error::Error + 'static)) -> String {
    match error.downcast_ref() {
        Some(Error::UnknownError(dump)) => {
            let dump = dump.to_string();
            let kind: String = dump
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            format!("the Matrix SDK failed in itself ({kind})")
        }
        Some(Error::Http(http)) => match Answer::of(http) {
            Some(answer) => answer.message,
            None => without_url(&http.to_string()),
        },
        Some(_) | None => without_url(&error.to_string()),
    }
}

/// A request's address is long, and leaves no room for what happened.
fn without_url(text: &str) -> String {
    let url = text.split_once(" for url (");
    match url.and_then(|(before, rest)| Some((before, rest.split_once(')')?.1))) {
        Some((before, after)) => format!("{before}{after}"),
        None => text.to_owned(),
    }
}

/// Returns what a person can do where the SDK's store cannot be opened for this reason.
pub(super) fn cure_of_store(store: &Path, error: &(dyn std::error::Error + 'static)) -> String {
    match Trouble::of(error).map(|trouble| trouble.at(store)) {
        Some(trouble) => format!("{trouble}; {}", trouble.hint()),
        None => "if it is damaged, log in anew with `relay auth login --force`".to_owned(),
    }
}

/// Returns an error and its causes in one bounded line.
pub(super) fn sentence(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref().and_then(disk) {
        Some(trouble) => format!(
            "the Matrix store cannot be used, {trouble}: {}",
            first_words(error)
        ),
        None => first_words(error),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = without_url(&error.to_string());
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text.chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of(status: u16, errcode: Option<&str>) -> &'static str {
        let answer = Answer {
            status,
            errcode: errcode.map(str::to_owned),
            retry_after: (status == 429).then_some(Duration::from_secs(3)),
            message: String::new(),
        };
        match answer.outcome() {
            RoomOutcome::Sent { .. } => "sent",
            RoomOutcome::Retry {
                after: Some(_),
                limited: true,
                ..
            } => "limited",
            RoomOutcome::Retry {
                after: None,
                limited: false,
                ..
            } => "retry",
            RoomOutcome::Retry { .. } => "not in the table",
            RoomOutcome::Parked { account: true, .. } => "account parked",
            RoomOutcome::Parked { account: false, .. } => "room parked",
            RoomOutcome::Refused { .. } => "refused",
        }
    }

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
        let store =
            StoreError::Backend(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        let store = Error::StateStore(Box::new(store));
        assert!(
            sentence(&store).starts_with("the Matrix store cannot be used, the disk is full: ")
        );
    }

    #[test]
    fn a_server_is_left_alone_as_long_as_it_wants_and_an_hour_at_most() {
        for (wanted, granted) in [
            (0, 0),
            (3, 3),
            (3_600, 3_600),
            (3_601, 3_600),
            (u64::MAX, 3_600),
        ] {
            let answer = Answer {
                status: 429,
                errcode: None,
                retry_after: Some(Duration::from_secs(wanted)),
                message: String::new(),
            };
            assert_eq!(answer.wish(), Some(Duration::from_secs(granted)));
        }
    }

    #[test]
    fn every_answer_of_a_server_has_its_outcome() {
        for (status, errcode, expected) in [
            (400, Some("M_BAD_JSON"), "refused"),
            (400, Some(DUPLICATE), "refused"),
            (400, Some("M_UNKNOWN"), "refused"),
            (404, Some("M_NOT_FOUND"), "refused"),
            (409, Some("M_UNKNOWN"), "refused"),
            (413, Some("M_TOO_LARGE"), "refused"),
            (400, None, "retry"),
            (404, None, "retry"),
            (401, Some("M_UNKNOWN_TOKEN"), "account parked"),
            (401, Some("M_MISSING_TOKEN"), "account parked"),
            (401, None, "retry"),
            (403, Some("M_FORBIDDEN"), "room parked"),
            (403, Some("M_UNKNOWN_TOKEN"), "account parked"),
            (403, Some("M_USER_DEACTIVATED"), "account parked"),
            (403, None, "retry"),
            (408, Some("M_UNKNOWN"), "retry"),
            (408, None, "retry"),
            (425, Some("M_UNKNOWN"), "retry"),
            (425, None, "retry"),
            (429, Some("M_LIMIT_EXCEEDED"), "limited"),
            (429, Some("M_UNKNOWN"), "limited"),
            (429, None, "limited"),
            (500, Some("M_UNKNOWN"), "retry"),
            (502, None, "retry"),
            (503, None, "retry"),
            (520, None, "retry"),
            (200, None, "retry"),
        ] {
            assert_eq!(
                outcome_of(status, errcode),
                expected,
                "{status} {errcode:?}"
            );
        }
    }
}
