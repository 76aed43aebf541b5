//! Whether the homeserver accepts the login: asked without the SDK, so that its store can be closed meanwhile.

use std::fmt;

use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use serde_json::{Value, json};

use super::MatrixError;
use super::errors::{self, Refusal};
use super::files::Files;
use super::server::{Server, ServerError};
use super::session::Session;
use crate::config::Secret;

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
    let server = Server::at(session.homeserver.clone(), session.allow_http)?;
    match whoami(&server, &session).await {
        Err(error) if error.errcode() == Some("M_UNKNOWN_TOKEN") => match &session.refresh_token {
            Some(token) => renew(&server, files, &session, token).await,
            None => Err(verdict(session, error)),
        },
        Err(error) => Err(verdict(session, error)),
        Ok(()) => Ok(()),
    }
}

async fn whoami(server: &Server, session: &Session) -> Result<(), ServerError> {
    let token = Some(&session.access_token);
    let path = ["account", "whoami"];
    server
        .call(Method::GET, &path, token, None)
        .await
        .map(|_| ())
}

/// Renews the access token, as the SDK does while its store is open.
async fn renew(
    server: &Server,
    files: &Files,
    session: &Session,
    token: &Secret<String>,
) -> Result<(), MatrixError> {
    let body = json!({"refresh_token": token.reveal()});
    let answer = match server
        .call(Method::POST, &["refresh"], None, Some(&body))
        .await
    {
        Ok(answer) => answer,
        Err(error) => return Err(verdict(session.clone(), error)),
    };
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    let Some(access_token) = text("access_token") else {
        return Err(ServerError::NotMatrix {
            url: session.homeserver.clone(),
            status: 200,
        }
        .into());
    };
    // Somebody may have logged in anew meanwhile.
    if files.load_session()?.as_ref() != Some(session) {
        return Ok(());
    }
    let mut renewed = session.clone();
    renewed.access_token = Secret::new(access_token);
    if let Some(refresh_token) = text("refresh_token") {
        renewed.refresh_token = Some(Secret::new(refresh_token));
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
