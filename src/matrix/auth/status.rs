//! How a session stands, as the server sees it.

use std::path::PathBuf;

use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::{AuthError, Files};
use crate::matrix::server::{Server, ServerError};
use crate::matrix::session::Session;

/// How a session stands, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The account.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// The homeserver.
    pub homeserver: Url,
    /// The server still accepts the session.
    pub token_alive: bool,
    /// The device is signed by its owner; unknown when the token is dead.
    pub device_verified: Option<bool>,
    /// Keys are backed up on the server; unknown when the token is dead.
    pub key_backup: Option<bool>,
    /// Where the recovery key still lies in a file.
    pub recovery_key_file: Option<PathBuf>,
}

/// Asks the server how the session stands; never opens the store, so it works beside the daemon.
///
/// # Errors
///
/// [`AuthError::NotLoggedIn`], or when the server cannot be asked.
pub async fn status(files: &Files) -> Result<Status, AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    let server = Server::at(session.homeserver.clone(), session.allow_http)?;
    let token = Some(&session.access_token);
    let mut status = Status {
        user_id: session.user_id.clone(),
        device_id: session.device_id.clone(),
        homeserver: session.homeserver.clone(),
        token_alive: true,
        device_verified: None,
        key_backup: None,
        recovery_key_file: session.recovery_key_left().map(ToOwned::to_owned),
    };
    match server
        .call(Method::GET, &["account", "whoami"], token, None)
        .await
    {
        Ok(_) => {}
        Err(error) if error.errcode() == Some("M_UNKNOWN_TOKEN") => {
            // A token that ages is renewed by the daemon: only without that means it is dead.
            status.token_alive = session.refresh_token.is_some() && is_soft(&error);
            return Ok(status);
        }
        Err(error) => return Err(error.into()),
    }
    let query = json!({"device_keys": {session.user_id.as_str(): [session.device_id.as_str()]}});
    let keys = server
        .call(Method::POST, &["keys", "query"], token, Some(&query))
        .await?;
    status.device_verified = Some(is_signed(&keys, &session));
    status.key_backup = Some(has_backup(&server, &session).await?);
    Ok(status)
}

fn is_soft(error: &ServerError) -> bool {
    if let ServerError::Refused { body, .. } = error {
        body.get("soft_logout").and_then(Value::as_bool) == Some(true)
    } else {
        false
    }
}

/// Returns whether the device's keys carry a signature of the account's self-signing key.
fn is_signed(keys: &Value, session: &Session) -> bool {
    let user = session.user_id.as_str();
    let signing = keys
        .get("self_signing_keys")
        .and_then(|all| all.get(user)?.get("keys")?.as_object());
    let signatures = keys.get("device_keys").and_then(|all| {
        all.get(user)?
            .get(session.device_id.as_str())?
            .get("signatures")?
            .get(user)?
            .as_object()
    });
    match (signing, signatures) {
        (Some(signing), Some(signatures)) => signing.keys().any(|key| signatures.contains_key(key)),
        (_, _) => false,
    }
}

pub(super) async fn has_backup(server: &Server, session: &Session) -> Result<bool, AuthError> {
    let token = Some(&session.access_token);
    match server
        .call(Method::GET, &["room_keys", "version"], token, None)
        .await
    {
        Ok(_) => Ok(true),
        Err(error) if error.errcode() == Some("M_NOT_FOUND") => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::auth::samples::session;

    #[test]
    fn a_device_is_verified_by_the_key_that_the_account_signs_with_now() {
        let keys = |signed_by: &str| {
            json!({
                "self_signing_keys": {"@relay:example.org": {"keys": {"ed25519:NEW": "NEW"}}},
                "device_keys": {"@relay:example.org": {"DEVICE": {
                    "signatures": {"@relay:example.org": {"ed25519:DEVICE": "x", signed_by: "y"}},
                }}},
            })
        };
        assert!(is_signed(&keys("ed25519:NEW"), &session()));
        assert!(!is_signed(&keys("ed25519:OLD"), &session()));
        assert!(!is_signed(&json!({}), &session()));
    }
}
