//! Logs the device in again whose access token the homeserver has ended, while it still knows the device (a soft logout).

use matrix_sdk::SessionTokens;
use serde_json::json;

use super::adopt::has_keys;
use super::{AuthError, Credential, Files, Server};
use crate::client;
use crate::session::StoredSession;

/// Gives the session a new access token by the account's password, or what stands for it. Device, keys and position stay as
/// they are.
///
/// The caller holds the store lock. Fails with [`AuthError::DeviceGone`] if the homeserver has deleted the device meanwhile:
/// its keys would never be uploaded again, so nobody could write to it.
pub async fn log_in_again(files: &Files, credential: &Credential) -> Result<(), AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    client::check_keys(files, &session).await?;
    let server = Server::at(session.homeserver.clone(), session.allow_http)?;
    let user = session.user_id.as_str();
    let mut body = credential.proof(user);
    body["device_id"] = json!(session.device_id);
    body["refresh_token"] = json!(session.tokens.refresh_token.is_some());
    let answer = match server.post(&["v3", "login"], &body).await {
        Ok(answer) => answer,
        Err(error) if error.errcode() == Some("M_FORBIDDEN") => {
            return Err(credential.refused(user, &server));
        }
        Err(error) => return Err(error.into()),
    };
    let Ok(tokens) = serde_json::from_value::<SessionTokens>(answer) else {
        return Err(AuthError::BadAnswer(server.base, "no access token"));
    };
    let server = server.with_token(&tokens.access_token);
    let (user, device) = (&session.user_id, &session.device_id);
    let keys = server.device_keys(user, device).await?;
    if !has_keys(&keys, user, device) {
        // The login has made a device without keys.
        server.sign_out().await?;
        return Err(AuthError::DeviceGone(device.clone()));
    }
    Ok(files.save_session(&StoredSession { tokens, ..session })?)
}
