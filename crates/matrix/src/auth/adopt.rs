//! Adopts a device that another program logged in: an access token from the configuration instead of a password.

use matrix_sdk::SessionTokens;
use matrix_sdk::ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::entry::find_server;
use super::login::stand;
use super::recovery::{Demand, Security};
use super::{AuthError, Files, Given, KeyPlace, Login, Server, Unlock};
use crate::client;
use crate::session::{BackupUse, LoginMethod, StoredSession};
use relay_config::Secret;

/// Adopts the device of an access token, and creates its store and keys. A new recovery key is written to its default
/// place. `homeserver` may be absent if the user id names it; `user`, if given, is the account that must own the
/// device: its localpart or its whole id.
///
/// The session is written before the keys are uploaded: a crash in between leaves a device that works, but is not
/// signed. The caller holds the store lock, so no daemon has the store open. Fails if the device already has encryption
/// keys, which only the program that created them can use.
///
/// Not cancel safe: if dropped, it leaves what a crash leaves.
pub async fn adopt(
    files: &Files,
    homeserver: Option<&str>,
    user: Option<&str>,
    access_token: &Secret<String>,
    allow_http: bool,
) -> Result<Login, AuthError> {
    files.finish()?;
    if let Some(session) = files.load_session()? {
        return Err(AuthError::AlreadyLoggedIn(Box::new(session)));
    }
    let server = find_server(homeserver, user.unwrap_or_default(), allow_http).await?;
    let server = server.with_token(access_token.reveal());
    let (user_id, device_id) = owner(&server, user).await?;
    let keys = server.device_keys(&user_id, &device_id).await?;
    if has_keys(&keys, &user_id, &device_id) {
        let what = format!(
            "device {device_id} of `matrix.access_token` has encryption keys of another program, and a second set would make its messages unreadable"
        );
        return Err(AuthError::Wrong(Given::UsedDevice, what, None));
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
        allow_http,
        recovery_key_file: None,
        key_backup: BackupUse::None,
        oauth: None,
    };
    let client = client::open(files, &session).await?;
    files.save_session(&session)?;
    let security = Security {
        person: None,
        user: session.user_id.clone(),
        password: None,
        unlock: &Unlock::Nothing,
        demand: Demand::Nothing,
        stop: CancellationToken::new(),
    };
    let place = KeyPlace::File(files.recovery_key());
    let standing = stand(files, &client, &mut session, &security, &place).await?;
    client::close(&client).await;
    files.save_session(&session)?;
    Ok(Login {
        session,
        standing,
        parted: Vec::new(),
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
            "{homeserver} does not accept `matrix.access_token`: it is mistyped, or its session has been signed out"
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
            "`matrix.access_token` belongs to {user}, and `matrix.bot_user_id` says {expected}"
        )));
    }
    match answer["device_id"].as_str() {
        Some(device) => Ok((user, device.into())),
        None => Err(wrong(format!(
            "`matrix.access_token` belongs to no device of {user}, so it cannot be used"
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
    use crate::session::test_session::session;

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

    #[tokio::test]
    async fn a_token_never_takes_the_place_of_a_session() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        let session = session();
        files.save_session(&session).unwrap();
        let token = Secret::new("another".to_owned());
        let error = adopt(&files, None, None, &token, false).await.unwrap_err();
        assert!(matches!(error, AuthError::AlreadyLoggedIn(_)), "{error}");
        assert_eq!(files.load_session().unwrap(), Some(session));
    }
}
