//! Logout: on the server, then on disk.

use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::DeviceId;
use serde_json::json;

use super::status::{self, KeyBackup};
use super::{AuthError, Files, ServerError, devices};
use crate::files;
use crate::session::Session;
use relay_config::Secret;

/// Returns whether the device's keys are backed up; those that are not, a logout loses. `None`: the server does not
/// know the session any more, and does not tell.
pub async fn key_backup(files: &Files) -> Result<Option<KeyBackup>, AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    match status::backup_version(&session.server()?).await {
        Ok(version) => Ok(Some(status::use_of(version.as_deref(), &session))),
        Err(error) if error.errcode() == Some("M_UNKNOWN_TOKEN") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Ends the session on the server: by deleting the device with the account's password, or without one. Nothing is deleted
/// here yet: [`delete_local`] does that. A session that the server does not know any more is ended already.
pub async fn end_session(
    files: &Files,
    password: Option<&Secret<String>>,
) -> Result<(), AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    // Those of logins that came to no end go with it, as far as they can.
    devices::part_with_others(files, password).await?;
    let ended = match password {
        Some(password) => delete_device(&session, &session.device_id, password).await,
        None => session.server()?.sign_out().await,
    };
    ended.or_else(|error| match error.errcode() {
        Some("M_UNKNOWN_TOKEN") => Ok(()),
        Some("M_FORBIDDEN") => {
            let user = session.user_id.as_str();
            Err(AuthError::wrong_password(user, &session.homeserver))
        }
        Some(_) | None => Err(error.into()),
    })
}

pub(super) async fn delete_device(
    session: &Session,
    device: &DeviceId,
    password: &Secret<String>,
) -> Result<(), ServerError> {
    let server = session.server()?;
    let path = ["v3", "devices", device.as_str()];
    let delete = async |body| server.ask(Method::DELETE, &path, Some(&body)).await;
    let challenge = match delete(json!({})).await {
        Ok(_) => return Ok(()),
        Err(ServerError::Refused { body, .. }) if body.get("flows").is_some() => body,
        Err(error) => return Err(error),
    };
    let mut flows = challenge["flows"].as_array().into_iter().flatten();
    let offers_password = flows.any(|flow| flow["stages"] == json!(["m.login.password"]));
    if !offers_password {
        // An account without a password: the token alone has to do.
        return if device == session.device_id {
            server.sign_out().await
        } else {
            Ok(())
        };
    }
    // Wrong proof is answered with the same question again, and with a code.
    let deleted = delete(json!({"auth": {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": session.user_id},
        "password": password.reveal(),
        "session": challenge["session"],
    }}));
    deleted.await.map(|_| ())
}

/// Deletes `session.json`, then `sdk.key` and `sdk/`, and tells each step. Recovery keys stay.
pub fn delete_local(files: &Files, mut told: impl FnMut(&str)) -> Result<(), AuthError> {
    files::delete(&files.session())?;
    told("deleted session.json");
    files.delete_store()?;
    files::delete(&files.devices())?;
    told("deleted sdk.key and sdk/");
    Ok(())
}
