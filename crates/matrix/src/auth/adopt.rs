//! Adopts a device that another program logged in: an access token instead of a password.

use std::sync::Arc;

use matrix_sdk::SessionTokens;
use matrix_sdk::ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::devices;
use super::entry::LoginOptions;
use super::recovery::Demand;
use super::stand::complete;
use super::{AuthError, Files, Given, Login, Server};
use crate::client;
use crate::session::{BackupUse, LoginMethod, StoredSession};
use relay_config::{Recipients, Secret};

/// Adopts the device of an access token, and creates its store and keys. If a user is named, the device must be this account's.
///
/// The session is written before the keys are uploaded: a crash in between leaves a device that works, but is not
/// signed. The caller holds the store lock, so no daemon has the store open. Fails if the device already has encryption
/// keys, which only the program that created them can use.
///
/// Not cancel safe: if dropped, it leaves what a crash leaves.
pub(super) async fn adopt(
    files: &Files,
    server: &Server,
    options: &LoginOptions,
    access_token: &Secret<String>,
    stop: &CancellationToken,
) -> Result<Login, AuthError> {
    let server = server.clone().with_token(access_token.reveal());
    let (user_id, device_id) = owner(&server, options.username.as_deref()).await?;
    let keys = server.device_keys(&user_id, &device_id).await?;
    if has_keys(&keys, &user_id, &device_id) {
        let what = format!(
            "device {device_id} of the access token has encryption keys of another program, and a second set would make its messages unreadable"
        );
        let cure = "log in with the account's password, or another way: that makes a device of the relay's own";
        return Err(AuthError::Wrong(Given::UsedDevice, what, Some(cure)));
    }
    let mut session = StoredSession {
        homeserver: server.base.clone(),
        user_id,
        device_id,
        tokens: SessionTokens {
            access_token: access_token.reveal().clone(),
            refresh_token: None,
        },
        login: LoginMethod::AccessToken,
        configured: None,
        allow_http: options.allow_http,
        recovery_key_file: None,
        key_backup: BackupUse::None,
        oauth: None,
    };
    let fresh = files.fresh();
    files.delete_fresh()?;
    // The store has to be closed to be put in its place.
    client::close(&client::open(&fresh, &session).await?).await;
    fresh.save_session(&session)?;
    files.put_in_place(&fresh)?;
    let (client, ..) = client::restore(files, Recipients::All, &Arc::default()).await?;
    let demand = Demand::Nothing;
    let completed = complete(files, &client, options, &mut session, demand, stop).await;
    client::close(&client).await;
    let standing = completed?;
    files.save_session(&session)?;
    Ok(Login {
        parted: devices::part_with_others(files, options.credential.password()).await?,
        session,
        standing,
    })
}

/// Asks the server which account owns the token, and checks that it is the expected one.
async fn owner(
    server: &Server,
    expected: Option<&str>,
) -> Result<(OwnedUserId, OwnedDeviceId), AuthError> {
    let homeserver = &server.base;
    let wrong = |what| AuthError::Wrong(Given::Way, what, None);
    let answer = server.whoami().await.map_err(|error| match error.errcode() {
        Some("M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN") => wrong(format!(
            "{homeserver} does not accept the access token: it is mistyped, or its session has been signed out"
        )),
        Some(_) | None => error.into(),
    })?;
    let user = answer["user_id"].as_str().unwrap_or_default();
    let user = OwnedUserId::try_from(user)
        .map_err(|_| AuthError::BadAnswer(homeserver.clone(), "no user id"))?;
    if let Some(expected) = expected
        && expected != user.as_str()
        && expected != user.localpart()
    {
        return Err(wrong(format!(
            "the access token belongs to {user}, not to {expected}"
        )));
    }
    match answer["device_id"].as_str() {
        Some(device) => Ok((user, device.into())),
        None => Err(wrong(format!(
            "the access token belongs to no device of {user}, so it cannot be used"
        ))),
    }
}

/// Returns whether the device already has keys on the server, which would go on serving those.
pub(super) fn has_keys(answer: &Value, user: &UserId, device: &DeviceId) -> bool {
    let devices = &answer["device_keys"][user.as_str()];
    devices.get(device.as_str()).is_some()
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::{owned_device_id, owned_user_id};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_device_is_in_use_as_soon_as_the_server_has_keys_of_it() {
        let (user, device) = (
            owned_user_id!("@relay:example.org"),
            owned_device_id!("ONE"),
        );
        let answer =
            |device: &str| json!({"device_keys": {"@relay:example.org": {device: {"keys": {}}}}});
        assert!(has_keys(&answer("ONE"), &user, &device));
        assert!(!has_keys(&answer("TWO"), &user, &device));
        assert!(!has_keys(
            &json!({"device_keys": {"@relay:example.org": {}}}),
            &user,
            &device
        ));
        assert!(!has_keys(&json!({"failures": {}}), &user, &device));
    }
}
