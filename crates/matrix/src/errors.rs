//! What an error of the SDK means for a message that was to be sent. One table.

use std::time::Duration;

use matrix_sdk::encryption::OlmError;
use matrix_sdk::ruma::api::error::{ErrorKind, FromHttpResponseError, RetryAfter};
use matrix_sdk::{Error, HttpError, RefreshTokenError};
use matrix_sdk_base::crypto::CryptoStoreError;
use matrix_sdk_base::store::StoreError;

use relay_disk::Trouble;
use relay_model::{RoomOutcome, causes};

/// An answer of the server, as far as the table needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) errcode: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) message: String,
}

/// What a server says of a login that it does not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub errcode: String,
    pub(super) message: String,
}

/// A server that wants to be left alone for longer is asked again all the same: it may have meant something else, or
/// the answer was a proxy's.
const LONGEST_WISH: Duration = Duration::from_mins(5);
/// And one that says next to nothing is not asked without a pause.
const SHORTEST_WISH: Duration = Duration::from_millis(100);

/// Answers 403 that concern whatever the account sends, not one room.
const ACCOUNT_CODES: [&str; 3] = [
    "M_USER_SUSPENDED",
    "M_RESOURCE_LIMIT_EXCEEDED",
    "M_CONSENT_NOT_GIVEN",
];

impl Answer {
    /// Returns the server's answer, if there is one in this error.
    pub(super) fn of(error: &HttpError) -> Option<Self> {
        if let HttpError::Cached(error) = error {
            return Self::of(error);
        }
        let answer = error.as_client_api_error()?;
        let kind = answer.error_kind();
        let retry_after = match kind {
            Some(ErrorKind::LimitExceeded(limit)) => limit.retry_after.as_ref().and_then(wish),
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

    fn outcome(self) -> RoomOutcome {
        let error = self.message;
        match (self.status, self.errcode) {
            // The message is not what is refused: whether the login is, the server is asked.
            (status, Some(code)) if is_about_login(status, &code) => retry(error),
            (403, Some(code)) => parked(ACCOUNT_CODES.contains(&code.as_str()), error),
            // Nobody has looked at the message: the request came to a server, or a part of one, that does not know the
            // endpoint.
            (404 | 405, Some(code)) if code == "M_UNRECOGNIZED" => retry(error),
            (429, _) => RoomOutcome::Retry {
                after: self.retry_after,
                limited: true,
                error,
            },
            (408 | 425, _) => retry(error),
            (400..500, Some(_)) => RoomOutcome::Refused { error },
            // 5xx, and whatever a proxy says in the server's place.
            (_, _) => retry(error),
        }
    }
}

/// Returns how long the server wants to be left alone, within bounds. A date says nothing: by whose clock it is meant is not
/// known, and ours may be hours off.
fn wish(retry_after: &RetryAfter) -> Option<Duration> {
    match retry_after {
        RetryAfter::Delay(delay) => bounded(*delay),
        RetryAfter::DateTime(_) => None,
    }
}

/// Returns a server's wish to be left alone within bounds; none, if it is no time at all.
pub(super) fn bounded(wish: Duration) -> Option<Duration> {
    (!wish.is_zero()).then(|| wish.clamp(SHORTEST_WISH, LONGEST_WISH))
}

/// Returns whether the server has refused: it forgot the place, or we may not read there. One such answer may be the
/// mistake of a server that is just being restored, or of a proxy.
pub(super) fn is_refusal(error: &Error) -> bool {
    http(error)
        .and_then(Answer::of)
        .is_some_and(|answer| answer.errcode.is_some() && matches!(answer.status, 400 | 403 | 404))
}

pub(super) fn http(error: &Error) -> Option<&HttpError> {
    match error {
        Error::Http(error) => Some(error),
        _ => None,
    }
}

/// Returns whether an answer has begun and has no end. One that ends with its connection looks whole wherever it was cut
/// off: then it makes no sense.
pub(super) fn is_broken_off(error: &Error) -> bool {
    match http(error) {
        Some(HttpError::Reqwest(error)) => error.is_body() || error.is_decode(),
        Some(HttpError::Api(error)) => matches!(**error, FromHttpResponseError::Deserialization(_)),
        Some(_) | None => false,
    }
}

/// Returns the server's answer, and whether it was to the renewal of the token.
fn answer(error: &Error) -> Option<(Answer, bool)> {
    match http(error)? {
        HttpError::RefreshToken(RefreshTokenError::MatrixAuth(cause)) => {
            Some((Answer::of(cause)?, true))
        }
        other => Some((Answer::of(other)?, false)),
    }
}

/// Returns how long the server wants to be left alone, if it said so; five minutes at most.
pub(super) fn retry_after(error: &Error) -> Option<Duration> {
    answer(error)?.0.retry_after
}

/// Returns whether such an answer, whatever was asked for, is about the login itself: the server does not accept it.
pub(super) fn is_about_login(status: u16, errcode: &str) -> bool {
    status == 401
        || matches!(
            errcode,
            "M_UNKNOWN_TOKEN" | "M_USER_LOCKED" | "M_USER_DEACTIVATED"
        )
}

/// Returns why the server does not accept the login, if that is what is wrong.
pub(super) fn refused_login(error: &Error) -> Option<Refusal> {
    let (answer, is_renewal) = answer(error)?;
    let errcode = answer.errcode?;
    // A refresh token that is refused leaves nothing to renew with.
    let is_refused =
        (is_renewal && answer.status == 403) || is_about_login(answer.status, &errcode);
    // Without the status and the code before it.
    let message = match answer.message.split_once("] ") {
        Some((_, words)) => words.to_owned(),
        None => answer.message,
    };
    is_refused.then_some(Refusal { errcode, message })
}

/// Returns whether the server does not know such a request, or the SDK believes so: what is remembered of the server's
/// versions may be wrong.
pub(super) fn is_about_versions(error: &Error) -> bool {
    let is_unknown = |answer: Answer| answer.errcode.as_deref() == Some("M_UNRECOGNIZED");
    http(error).is_some_and(|error| {
        matches!(error, HttpError::IntoHttp(_)) || Answer::of(error).is_some_and(is_unknown)
    })
}

/// Returns what becomes of a message after this error.
pub(super) fn outcome(error: &Error) -> RoomOutcome {
    let sentence = sentence(error);
    match error {
        Error::Http(http) => match Answer::of(http) {
            Some(answer) => answer.outcome(),
            None => RoomOutcome::Retry {
                after: retry_after(error),
                limited: false,
                error: sentence,
            },
        },
        Error::AuthenticationRequired => parked(true, sentence),
        Error::SerdeJson(_) => RoomOutcome::Refused { error: sentence },
        Error::OlmError(error)
            if matches!(**error, OlmError::SessionRecipientCollectionError(_)) =>
        {
            let cure = "with `matrix.e2ee.recipients: verified` the bot's own device must be verified: run `relay auth status`";
            parked(false, format!("{sentence}; {cure}"))
        }
        _ => retry(sentence),
    }
}

/// Returns that a message goes a little later.
pub(super) fn retry(error: impl Into<String>) -> RoomOutcome {
    RoomOutcome::Retry {
        after: None,
        limited: false,
        error: error.into(),
    }
}

/// Returns that a message goes when something has changed: in its room, or with the whole account.
pub(super) fn parked(account: bool, error: impl Into<String>) -> RoomOutcome {
    RoomOutcome::Parked {
        account,
        error: error.into(),
    }
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
            let kind = dump.chars().take_while(char::is_ascii_alphanumeric);
            let kind: String = kind.collect();
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
pub(super) fn without_url(text: &str) -> String {
    let url = text.split_once(" for url (");
    match url.and_then(|(before, rest)| Some((before, rest.split_once(')')?.1))) {
        Some((before, after)) => format!("{before}{after}"),
        None => text.to_owned(),
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
    for cause in causes(error).skip(1) {
        let next = without_url(&cause.to_string());
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
    }
    text.chars().take(400).collect()
}

/// Returns the error that the SDK makes of an answer.
#[cfg(test)]
pub(super) fn answered(status: u16, retry_after: Option<&str>, body: &serde_json::Value) -> Error {
    use matrix_sdk::ruma::api::EndpointError as _;
    use matrix_sdk::ruma::api::client::uiaa::UiaaResponse;
    use matrix_sdk::ruma::exports::http;

    let mut response = http::Response::builder().status(status);
    if let Some(retry_after) = retry_after {
        response = response.header("retry-after", retry_after);
    }
    let response = response.body(body.to_string().into_bytes()).unwrap();
    let answer = UiaaResponse::from_http_response(response);
    HttpError::Api(Box::new(FromHttpResponseError::Server(answer))).into()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

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
    fn a_server_is_left_alone_as_long_as_it_wants_and_five_minutes_at_most() {
        let most = Duration::from_mins(5);
        for (wanted, granted) in [
            (Duration::ZERO, None),
            (Duration::from_nanos(1), Some(Duration::from_millis(100))),
            (Duration::from_secs(3), Some(Duration::from_secs(3))),
            (most, Some(most)),
            (most + Duration::from_millis(1), Some(most)),
            (Duration::from_hours(24 * 365), Some(most)),
            (Duration::MAX, Some(most)),
        ] {
            assert_eq!(wish(&RetryAfter::Delay(wanted)), granted, "{wanted:?}");
        }
        for time in [
            SystemTime::UNIX_EPOCH,
            SystemTime::UNIX_EPOCH + most * 99_999_999,
        ] {
            assert_eq!(wish(&RetryAfter::DateTime(time)), None, "{time:?}");
        }
    }

    #[test]
    fn whatever_stands_in_the_header_or_the_body_a_wish_has_bounds() {
        let most = Some(Duration::from_mins(5));
        let (year, seconds) = (31_536_000_000_u64, Some(Duration::from_secs(7)));
        for (header, body, granted) in [
            (None, json!(year), most),
            (None, json!(u64::MAX), None),
            (None, json!(7_000), seconds),
            (Some("31536000"), json!(7_000), most),
            (Some("18446744073709551615"), json!(7_000), most),
            (Some("7"), json!(year), seconds),
            (Some("Fri, 15 May 2015 15:34:21 GMT"), json!(7_000), None),
            (Some("Wed, 15 May 2999 15:34:21 GMT"), json!(7_000), None),
            (Some("soon"), json!(7_000), seconds),
            (Some("soon"), json!("later"), None),
            (Some("-5"), json!(-5), None),
            (Some("0"), json!(7_000), None),
            (None, json!(1e300), None),
        ] {
            let code = "M_LIMIT_EXCEEDED";
            let body = json!({"errcode": code, "error": "", "retry_after_ms": body});
            let error = answered(429, header, &body);
            assert_eq!(retry_after(&error), granted, "{header:?} {body}");
            let RoomOutcome::Retry { after, limited, .. } = outcome(&error) else {
                panic!("{body}");
            };
            assert_eq!((after, limited), (granted, true), "{header:?} {body}");
        }
        // Also where it is the token's renewal that has to wait.
        let body = json!({"errcode": "M_LIMIT_EXCEEDED", "error": ""});
        let Error::Http(renewal) = answered(429, Some("7"), &body) else {
            panic!("an answer");
        };
        let renewal = RefreshTokenError::MatrixAuth(std::sync::Arc::new(*renewal));
        let error = HttpError::RefreshToken(renewal).into();
        assert_eq!(retry_after(&error), Some(Duration::from_secs(7)));
        let body = json!({"errcode": "M_UNKNOWN", "error": ""});
        let error = answered(503, Some("31536000"), &body);
        assert_eq!(retry_after(&error), None);
    }

    #[test]
    fn only_what_is_said_of_the_login_closes_the_session() {
        for (status, code, is_refused) in [
            (401, "M_UNKNOWN_TOKEN", true),
            (403, "M_UNKNOWN_TOKEN", true),
            (401, "M_MISSING_TOKEN", true),
            (401, "M_USER_LOCKED", true),
            (403, "M_USER_DEACTIVATED", true),
            (401, "M_UNAUTHORIZED", true),
            (403, "M_FORBIDDEN", false),
            (403, "M_USER_SUSPENDED", false),
            (404, "M_NOT_FOUND", false),
            (429, "M_LIMIT_EXCEEDED", false),
            (500, "M_UNKNOWN", false),
        ] {
            let error = answered(status, None, &json!({"errcode": code, "error": "so it is"}));
            let refusal = Refusal {
                errcode: code.to_owned(),
                message: "so it is".to_owned(),
            };
            let expected = is_refused.then_some(refusal);
            assert_eq!(refused_login(&error), expected, "{status} {code}");
        }
        // A proxy that wants a password of its own.
        assert_eq!(refused_login(&answered(401, None, &json!("no"))), None);
    }

    #[test]
    fn every_answer_of_a_server_has_its_outcome() {
        for (status, errcode, expected) in [
            (400, Some("M_BAD_JSON"), "refused"),
            (400, Some("M_DUPLICATE_ANNOTATION"), "refused"),
            (400, Some("M_UNKNOWN"), "refused"),
            (404, Some("M_NOT_FOUND"), "refused"),
            (409, Some("M_UNKNOWN"), "refused"),
            (413, Some("M_TOO_LARGE"), "refused"),
            (400, None, "retry"),
            (404, None, "retry"),
            (401, Some("M_UNKNOWN_TOKEN"), "retry"),
            (401, Some("M_MISSING_TOKEN"), "retry"),
            (401, None, "retry"),
            (403, Some("M_FORBIDDEN"), "room parked"),
            (403, Some("M_UNKNOWN_TOKEN"), "retry"),
            (403, Some("M_USER_DEACTIVATED"), "retry"),
            (403, Some("M_USER_SUSPENDED"), "account parked"),
            (403, Some("M_RESOURCE_LIMIT_EXCEEDED"), "account parked"),
            (401, Some("M_USER_LOCKED"), "retry"),
            (404, Some("M_UNRECOGNIZED"), "retry"),
            (405, Some("M_UNRECOGNIZED"), "retry"),
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
