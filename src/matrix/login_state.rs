//! Whether the homeserver accepts the login: asked without the SDK, so that its store can be closed meanwhile.

use matrix_sdk::SessionTokens;
use matrix_sdk::reqwest::StatusCode;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use serde_json::json;

use super::MatrixError;
use super::errors::{self, Refusal};
use super::files::Files;
use super::server::{Server, ServerError};
use super::session::Session;

/// A login that the homeserver does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the homeserver does not accept the login of {user} (device {device}): {} ({})",
    .refusal.message,
    .refusal.errcode
)]
pub struct RefusedLogin {
    pub(super) user: OwnedUserId,
    pub(super) device: OwnedDeviceId,
    pub(super) refusal: Refusal,
}

impl RefusedLogin {
    /// Returns the Matrix error code.
    pub fn errcode(&self) -> &str {
        &self.refusal.errcode
    }

    /// Returns what to do, the gentlest first.
    pub(super) fn cure(&self) -> &'static str {
        match self.errcode() {
            "M_USER_LOCKED" => {
                "ask the homeserver's administrator to unlock the account; the relay goes on by itself when it is"
            }
            "M_USER_DEACTIVATED" => {
                "ask the homeserver's administrator whether the account can be activated again; the relay goes on by itself when it is; with another account: `relay auth login --force`, beside the running relay"
            }
            "M_MISSING_TOKEN" => {
                "something before the homeserver takes the login out of requests: check the proxy there; the relay goes on by itself when they come through"
            }
            _ => {
                "the relay asks again, at least every 5 minutes, and goes on by itself when it is accepted again: wait if the homeserver is being restarted, repaired or restored; look at `relay auth status`; only if the device was signed out for good run `relay auth login --force`, beside the running relay, which makes a new device"
            }
        }
    }
}

/// Asks the homeserver whether it accepts the session in `files`. A token that has aged is renewed on the way.
///
/// # Errors
///
/// [`MatrixError::SessionDead`] if it does not; others where that is not known.
pub async fn ask(files: &Files) -> Result<(), MatrixError> {
    let session = files.load_session()?.ok_or(MatrixError::NoSession)?;
    let server = session.server()?;
    let asked = server.whoami(&session.tokens.access_token).await;
    match (asked, &session.tokens.refresh_token) {
        (Ok(_), _) => Ok(()),
        (Err(error), Some(token)) if error.errcode() == Some("M_UNKNOWN_TOKEN") => {
            renew(&server, files, &session, token).await
        }
        (Err(error), _) => Err(verdict(&session, error)),
    }
}

/// Renews the access token, as the SDK does while its store is open.
async fn renew(
    server: &Server,
    files: &Files,
    session: &Session,
    token: &str,
) -> Result<(), MatrixError> {
    let body = json!({"refresh_token": token});
    let answer = server.post(&["v3", "refresh"], None, &body).await;
    let answer = answer.map_err(|error| verdict(session, error))?;
    let Ok(tokens) = serde_json::from_value::<SessionTokens>(answer) else {
        return Err(server.not_matrix(StatusCode::OK).into());
    };
    // Somebody may have logged in anew meanwhile.
    if files.load_session()?.as_ref() != Some(session) {
        return Ok(());
    }
    let mut renewed = session.clone();
    let refresh_token = tokens.refresh_token.or(renewed.tokens.refresh_token);
    renewed.tokens = SessionTokens {
        refresh_token,
        ..tokens
    };
    Ok(files.save_session(&renewed)?)
}

/// Returns what such an answer says of a session.
pub(super) fn verdict(session: &Session, error: ServerError) -> MatrixError {
    match error {
        ServerError::Refused {
            status,
            errcode,
            message,
            ..
        } if status == 403 && errcode == "M_FORBIDDEN"
            || errors::is_about_login(status, &errcode) =>
        {
            session.refused(Refusal { errcode, message })
        }
        other => other.into(),
    }
}
