//! Logout: on the server, then on disk.

use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::DeviceId;
use serde_json::{Value, json};

use super::status::{self, KeyBackup};
use super::{AuthError, Files, Server, ServerError, devices, sign_out};
use crate::config::Secret;
use crate::matrix::session::Session;

/// How the server is told that the session ends.
#[derive(Debug, Clone)]
pub enum Proof {
    /// By deleting the device with the account's password.
    Password(Secret<String>),
    /// Without one.
    None,
}

/// Returns whether the device's keys are backed up; those that are not, a logout loses. `None`: the server does not
/// know the session any more, and does not tell.
///
/// # Errors
///
/// [`AuthError::NotLoggedIn`], or when the server cannot be asked.
pub async fn key_backup(files: &Files) -> Result<Option<KeyBackup>, AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    let server = Server::at(session.homeserver.clone(), session.allow_http)?;
    match status::key_backup(&server, &session).await {
        Ok(backup) => Ok(Some(backup)),
        Err(error) if error.errcode() == Some("M_UNKNOWN_TOKEN") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Ends the session on the server. Nothing is deleted here yet: [`delete_local`] does that.
///
/// # Errors
///
/// Fails when the password is wrong, or the server cannot be reached. A session that the server does not know any
/// more is ended already.
pub async fn end_session(files: &Files, proof: &Proof) -> Result<(), AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    let server = Server::at(session.homeserver.clone(), session.allow_http)?;
    let password = match proof {
        Proof::Password(password) => Some(password),
        Proof::None => None,
    };
    // Those of logins that came to no end go with it, as far as they can.
    devices::part(files, password).await?;
    let ended = match password {
        Some(password) => delete_device(&server, &session, &session.device_id, password).await,
        None => sign_out(&server, &session.access_token).await,
    };
    match ended {
        Err(error) if error.errcode() == Some("M_UNKNOWN_TOKEN") => Ok(()),
        Err(error) if error.errcode() == Some("M_FORBIDDEN") => Err(AuthError::WrongPassword {
            user: session.user_id.to_string(),
            homeserver: session.homeserver.clone(),
        }),
        other => Ok(other?),
    }
}

/// Deletes a device of the session's account.
pub(super) async fn delete_device(
    server: &Server,
    session: &Session,
    device: &DeviceId,
    password: &Secret<String>,
) -> Result<(), ServerError> {
    let path = ["devices", device.as_str()];
    let token = Some(&session.access_token);
    let first = server
        .call(Method::DELETE, &path, token, Some(&json!({})))
        .await;
    let challenge = match first {
        Ok(_) => return Ok(()),
        Err(ServerError::Refused { body, .. }) if body.get("flows").is_some() => body,
        Err(error) => return Err(error),
    };
    let offers_password = challenge
        .get("flows")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|flow| flow.get("stages")?.as_array())
        .any(|stages| stages.len() == 1 && stages.contains(&json!("m.login.password")));
    if !offers_password {
        // An account without a password: the token alone has to do.
        return if device == session.device_id {
            sign_out(server, &session.access_token).await
        } else {
            Ok(())
        };
    }
    let body = json!({"auth": {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": session.user_id},
        "password": password.reveal(),
        "session": challenge.get("session"),
    }});
    // Wrong proof is answered with the same question again, and with a code.
    server
        .call(Method::DELETE, &path, token, Some(&body))
        .await
        .map(|_| ())
}

/// Deletes `session.json`, then `sdk.key` and `sdk/`, and tells each step. Recovery keys stay.
///
/// # Errors
///
/// Fails at the first file that cannot be deleted.
pub fn delete_local(files: &Files, mut told: impl FnMut(&str)) -> Result<(), AuthError> {
    files.delete_session()?;
    told("deleted session.json");
    files.delete_store()?;
    files.delete_devices()?;
    told("deleted sdk.key and sdk/");
    Ok(())
}
