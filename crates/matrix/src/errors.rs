//! Maps errors of the SDK to the outcome of a message: retry, park or refuse.

mod sentence;

use std::time::{Duration, SystemTime};

use matrix_sdk::authentication::oauth::OAuthError;
use matrix_sdk::authentication::oauth::error::CrossProcessRefreshLockError;
use matrix_sdk::encryption::OlmError;
use matrix_sdk::ruma::api::error::{ErrorKind, FromHttpResponseError, RetryAfter};
use matrix_sdk::{Error, HttpError, RefreshTokenError};
use matrix_sdk_base::crypto::CryptoStoreError;

use super::ended::Ended;
use relay_model::{RoomOutcome, Timestamp};

pub(super) use sentence::{disk, sentence};

/// The parts of a server's answer that decide the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerAnswer {
    pub(super) status: u16,
    pub(super) errcode: Option<String>,
    pub(super) retry_after: Option<Duration>,
    pub(super) message: String,
}

/// The server's reason for not accepting the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginRefusal {
    pub errcode: String,
    /// The homeserver still knows the device: a login with the password makes its keys usable again (`soft_logout`, or a
    /// renewal that came too late).
    pub keeps_device: bool,
    pub(super) message: String,
}

/// The code of a login service that does not renew a login any more (RFC 6749).
pub(super) const ENDED: &str = "invalid_grant";

impl LoginRefusal {
    /// Makes that of a login service that does not renew the login any more.
    pub(super) fn ended(message: String) -> Self {
        Self {
            errcode: ENDED.to_owned(),
            keeps_device: false,
            message,
        }
    }
}

/// Maximum pause that a server can impose: a longer one may be a mistake, or a proxy's.
const LONGEST_WISH: Duration = Duration::from_mins(5);
/// Minimum pause before a retry that a server asks for.
const SHORTEST_WISH: Duration = Duration::from_millis(100);

/// Error codes with status 403 that concern the whole account, not one room.
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
            // The login is refused, not the message; the server is asked whether it means that.
            (status, Some(code)) if is_about_login(status, &code) => retry(error),
            (403, Some(code)) => parked(ACCOUNT_CODES.contains(&code.as_str()), error),
            // The request reached a server, or a part of one, that does not know the endpoint: the message was not
            // examined.
            (404 | 405, Some(code)) if code == "M_UNRECOGNIZED" => retry(error),
            (429, _) => RoomOutcome::Retry {
                after: self.retry_after,
                limited: true,
                error,
            },
            (408 | 425, _) => retry(error),
            (400..500, Some(_)) => RoomOutcome::Refused { error },
            // 5xx, and any answer of a proxy.
            (_, _) => retry(error),
        }
    }
}

/// Returns the pause that the server asks for, clamped; `None` if zero. A date far away is ignored: one of the clocks
/// is wrong.
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

/// Returns whether the server refused: it no longer knows the position, or we may not read there. A single such answer
/// can be a mistake of a server being restored, or of a proxy.
pub(super) fn is_refusal(error: &Error) -> bool {
    http(error)
        .and_then(ServerAnswer::of)
        .is_some_and(|answer| answer.errcode.is_some() && matches!(answer.status, 400 | 403 | 404))
}

/// Returns whether there is no connection to the homeserver.
pub(super) fn is_away(error: &Error) -> bool {
    matches!(http(error), Some(HttpError::Reqwest(error)) if error.is_connect())
}

/// Returns whether the homeserver itself has answered, and not only asks for a pause; or takes too long.
pub(super) fn is_answer(error: &Error) -> bool {
    let is_late = matches!(http(error), Some(HttpError::Reqwest(error)) if error.is_timeout() && !error.is_connect());
    let answer = http(error).and_then(ServerAnswer::of);
    is_late || answer.is_some_and(|answer| answer.errcode.is_some() && answer.status != 429)
}

/// Returns whether the server does not take a request as it is.
pub(super) fn is_bad_request(error: &Error) -> bool {
    let answer = http(error).and_then(ServerAnswer::of);
    answer.is_some_and(|answer| answer.errcode.is_some() && answer.status == 400)
}

pub(super) fn http(error: &Error) -> Option<&HttpError> {
    match error {
        Error::Http(error) => Some(error),
        _ => None,
    }
}

/// Returns whether an answer was cut off. Without a content length a truncated answer looks complete, but does not
/// parse.
pub(super) fn is_broken_off(error: &Error) -> bool {
    match http(error) {
        Some(HttpError::Reqwest(error)) => error.is_body() || error.is_decode(),
        Some(HttpError::Api(error)) => matches!(**error, FromHttpResponseError::Deserialization(_)),
        Some(_) | None => false,
    }
}

/// Returns the server's answer, and whether it answered the renewal of the token.
fn answer(error: &Error) -> Option<(ServerAnswer, bool)> {
    match http(error)? {
        HttpError::RefreshToken(RefreshTokenError::MatrixAuth(cause)) => {
            Some((ServerAnswer::of(cause)?, true))
        }
        other => Some((ServerAnswer::of(other)?, false)),
    }
}

/// Returns the pause that the server asks for, at most five minutes.
pub(super) fn retry_after(error: &Error) -> Option<Duration> {
    answer(error)?.0.retry_after
}

/// Returns whether an answer, to whatever request, means that the login is not accepted.
pub(super) fn is_about_login(status: u16, errcode: &str) -> bool {
    status == 401
        || matches!(
            errcode,
            "M_UNKNOWN_TOKEN" | "M_USER_LOCKED" | "M_USER_DEACTIVATED"
        )
}

/// Returns the words of a login service that does not renew a login any more, if that is why it was not renewed.
pub(super) fn ended(error: &RefreshTokenError) -> Option<String> {
    let RefreshTokenError::OAuth(error) = error else {
        return None;
    };
    // Transparent errors hide their source.
    match &**error {
        OAuthError::LockError(CrossProcessRefreshLockError::StoreError(
            CryptoStoreError::Backend(cause),
        )) => cause.downcast_ref().map(|Ended(words)| words.clone()),
        _ => None,
    }
}

/// Returns why the server does not accept the login, if that is the cause.
pub(super) fn refused_login(error: &Error) -> Option<LoginRefusal> {
    if let Some(HttpError::RefreshToken(error)) = http(error)
        && let Some(words) = ended(error)
    {
        return Some(LoginRefusal::ended(words));
    }
    let (answer, is_renewal) = answer(error)?;
    let errcode = answer.errcode?;
    // After a refused refresh token nothing is left to renew with.
    let is_refused =
        (is_renewal && answer.status == 403) || is_about_login(answer.status, &errcode);
    // The SDK puts status and code before the message.
    let message = match answer.message.split_once("] ") {
        Some((_, words)) => words.to_owned(),
        None => answer.message,
    };
    let keeps_device = is_renewal || is_soft_logout(error);
    is_refused.then_some(LoginRefusal {
        errcode,
        keeps_device,
        message,
    })
}

fn is_soft_logout(error: &Error) -> bool {
    let kind = http(error).and_then(HttpError::client_api_error_kind);
    matches!(kind, Some(ErrorKind::UnknownToken(unknown)) if unknown.soft_logout)
}

/// Returns whether the server does not know the endpoint, or the SDK believes so: the cached list of the server's
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

/// Parks a message until something changes: in its room, or for the whole account.
pub(super) fn parked(account: bool, error: impl Into<String>) -> RoomOutcome {
    RoomOutcome::Parked {
        account,
        error: error.into(),
    }
}

/// Returns the SDK's error for an answer.
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
