//! Whether the homeserver accepts the login: asked without the SDK, so that its store can be closed meanwhile.

use std::fmt;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLogin {
    user: OwnedUserId,
    device: OwnedDeviceId,
    refusal: Refusal,
}

impl RefusedLogin {
    pub(super) fn new(user: OwnedUserId, device: OwnedDeviceId, refusal: Refusal) -> Self {
        Self {
            user,
            device,
            refusal,
        }
    }

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

impl fmt::Display for RefusedLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            device,
            refusal: Refusal { errcode, message },
        } = self;
        write!(
            f,
            "the homeserver does not accept the login of {user} (device {device}): {message} ({errcode})"
        )
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
        (Err(error), _) => Err(verdict(session, error)),
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
    let answer = server.post(&["refresh"], None, &body).await;
    let answer = answer.map_err(|error| verdict(session.clone(), error))?;
    let Ok(tokens) = serde_json::from_value::<SessionTokens>(answer) else {
        return Err(server.not_matrix(StatusCode::OK).into());
    };
    // Somebody may have logged in anew meanwhile.
    if files.load_session()?.as_ref() != Some(session) {
        return Ok(());
    }
    let mut renewed = session.clone();
    renewed.tokens.access_token = tokens.access_token;
    if tokens.refresh_token.is_some() {
        renewed.tokens.refresh_token = tokens.refresh_token;
    }
    Ok(files.save_session(&renewed)?)
}

/// Returns what such an answer says of a session.
pub(super) fn verdict(session: Session, error: ServerError) -> MatrixError {
    match error {
        ServerError::Refused {
            status,
            errcode,
            message,
            ..
        } if status == 403 && errcode == "M_FORBIDDEN"
            || errors::is_about_login(status, &errcode) =>
        {
            let refusal = Refusal { errcode, message };
            let (user, device) = (session.user_id, session.device_id);
            MatrixError::SessionDead(Box::new(RefusedLogin::new(user, device, refusal)))
        }
        other => other.into(),
    }
}
