//! What an error of the SDK means for a message that was to be sent. One table.

mod sentence;

use std::time::{Duration, SystemTime};

use matrix_sdk::encryption::OlmError;
use matrix_sdk::ruma::api::error::{ErrorKind, FromHttpResponseError, RetryAfter};
use matrix_sdk::{Error, HttpError, RefreshTokenError};

use relay_model::{RoomOutcome, Timestamp};

pub(super) use sentence::{disk, sentence};

/// An answer of the server, as far as the table needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerAnswer {
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

impl ServerAnswer {
    pub(super) fn of(error: &HttpError) -> Option<Self> {
        if let HttpError::Cached(error) = error {
            return Self::of(error);
        }
        let answer = error.as_client_api_error()?;
        let kind = answer.error_kind();
        let retry_after = match kind {
            Some(ErrorKind::LimitExceeded(limit)) => {
                (limit.retry_after).and_then(|it| wish(it, Timestamp::now().into()))
            }
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

/// Returns how long the server wants to be left alone, within bounds; none, if that is no time at all. A date that is far
/// away says nothing: our clock, or the one that it was told by, is off.
pub(super) fn wish(retry_after: RetryAfter, now: SystemTime) -> Option<Duration> {
    let wish = match retry_after {
        RetryAfter::Delay(delay) => delay,
        RetryAfter::DateTime(date) => {
            let wish = date.duration_since(now).ok();
            wish.filter(|it| *it <= LONGEST_WISH).unwrap_or_default()
        }
    };
    (!wish.is_zero()).then(|| wish.clamp(SHORTEST_WISH, LONGEST_WISH))
}

/// Returns whether the server has refused: it forgot the place, or we may not read there. One such answer may be the
/// mistake of a server that is just being restored, or of a proxy.
pub(super) fn is_refusal(error: &Error) -> bool {
    http(error)
        .and_then(ServerAnswer::of)
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
fn answer(error: &Error) -> Option<(ServerAnswer, bool)> {
    match http(error)? {
        HttpError::RefreshToken(RefreshTokenError::MatrixAuth(cause)) => {
            Some((ServerAnswer::of(cause)?, true))
        }
        other => Some((ServerAnswer::of(other)?, false)),
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
    let is_unknown = |answer: ServerAnswer| answer.errcode.as_deref() == Some("M_UNRECOGNIZED");
    http(error).is_some_and(|error| {
        matches!(error, HttpError::IntoHttp(_)) || ServerAnswer::of(error).is_some_and(is_unknown)
    })
}

pub(super) fn outcome(error: &Error) -> RoomOutcome {
    let sentence = sentence(error);
    match error {
        Error::Http(http) => match ServerAnswer::of(http) {
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
            parked(false, sentence)
        }
        _ => retry(sentence),
    }
}

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
mod tests;
