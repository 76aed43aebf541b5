//! Takes up a device that somebody else has logged in: an access token from the configuration in place of a password.

use std::path::PathBuf;

use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::auth::{
    AuthError, KeyPlace, Login, find_server, note_standing, open_store, stand, text,
};
use super::client;
use super::files::Files;
use super::recovery::{Security, Unlock};
use super::server::Server;
use super::session::{BackupUse, Made, Session};
use crate::config::Secret;

/// What is known of a device that is to be taken up.
#[derive(Debug)]
pub struct TokenOptions {
    /// The homeserver: its name, or its address; absent where the user id names it.
    pub homeserver: Option<String>,
    /// Whose device it has to be, if that is known: the localpart or the whole id.
    pub user: Option<String>,
    /// What proves that we are that device.
    pub access_token: Secret<String>,
    /// Plain HTTP to a server that is not on loopback is allowed.
    pub allow_http: bool,
    /// Where a new recovery key is written to.
    pub recovery_key_file: PathBuf,
}

/// Takes up the device of an access token, and gives it a store and keys of its own.
///
/// The session is written before the server learns the keys: a crash in between leaves a device that works, though
/// nobody has signed it. The caller holds the store: no daemon has it open.
///
/// # Errors
///
/// Fails as [`AuthError`] says; above all where the device has keys already, which only the program that made them can
/// use. What goes wrong later but does not hinder the relay is in [`super::recovery::Standing::problems`].
pub async fn adopt(files: &Files, options: &TokenOptions) -> Result<Login, AuthError> {
    files.finish()?;
    if let Some(session) = files.load_session()? {
        return Err(AuthError::already(session));
    }
    let user = options.user.as_deref().unwrap_or_default();
    let server = find_server(options.homeserver.as_deref(), user, options.allow_http).await?;
    let (user, device) = owner(&server, options).await?;
    check_unused(&server, options, &user, &device).await?;
    let mut session = Session {
        homeserver: server.base().clone(),
        user_id: user,
        device_id: device,
        access_token: options.access_token.clone(),
        refresh_token: None,
        login: Made::AccessToken,
        allow_http: options.allow_http,
        recovery_key_file: None,
        key_backup: BackupUse::None,
    };
    let client = open_store(files, &session).await?;
    files.save_session(&session)?;
    let security = Security {
        password: None,
        unlock: &Unlock::Nothing,
        is_exchange: false,
        stop: CancellationToken::new(),
    };
    let standing = stand(&client, &session, &security).await?;
    let place = KeyPlace::File(options.recovery_key_file.clone());
    note_standing(files, &client, &mut session, &standing, &place).await?;
    client::close(&client).await;
    files.save_session(&session)?;
    Ok(Login {
        session,
        standing,
        parted: Vec::new(),
    })
}

/// Asks whose token it is.
async fn owner(
    server: &Server,
    options: &TokenOptions,
) -> Result<(OwnedUserId, OwnedDeviceId), AuthError> {
    let token = Some(&options.access_token);
    let answer = server
        .call(Method::GET, &["account", "whoami"], token, None)
        .await
        .map_err(|error| match error.errcode() {
            Some("M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN") => AuthError::DeadToken {
                homeserver: server.base().clone(),
            },
            Some(_) | None => error.into(),
        })?;
    let user = text(&answer, "user_id")
        .and_then(|id| OwnedUserId::try_from(id).ok())
        .ok_or_else(|| AuthError::BadAnswer {
            homeserver: server.base().clone(),
            what: "no user id",
        })?;
    if let Some(expected) = &options.user
        && expected != user.as_str()
        && expected != user.localpart()
    {
        return Err(AuthError::OtherAccount {
            actual: user,
            expected: expected.clone(),
        });
    }
    match text(&answer, "device_id") {
        Some(device) => Ok((user, device.into())),
        None => Err(AuthError::NoDevice { user }),
    }
}

/// Makes sure that nobody has given the device keys: the server would go on handing out the old ones.
async fn check_unused(
    server: &Server,
    options: &TokenOptions,
    user: &OwnedUserId,
    device: &OwnedDeviceId,
) -> Result<(), AuthError> {
    let query = json!({"device_keys": {user.as_str(): [device.as_str()]}});
    let token = Some(&options.access_token);
    let keys = server
        .call(Method::POST, &["keys", "query"], token, Some(&query))
        .await?;
    if has_keys(&keys, user, device) {
        return Err(AuthError::DeviceInUse {
            device: device.clone(),
        });
    }
    Ok(())
}

fn has_keys(answer: &Value, user: &OwnedUserId, device: &OwnedDeviceId) -> bool {
    answer
        .get("device_keys")
        .and_then(|all| all.get(user.as_str())?.get(device.as_str()))
        .is_some()
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::{owned_device_id, owned_user_id};

    use super::*;
    use crate::matrix::session::samples::session;

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
        let options = TokenOptions {
            homeserver: None,
            user: None,
            access_token: Secret::new("another".to_owned()),
            allow_http: false,
            recovery_key_file: files.recovery_key(),
        };
        let error = adopt(&files, &options).await.unwrap_err();
        assert!(
            matches!(error, AuthError::AlreadyLoggedIn { .. }),
            "{error}"
        );
        assert_eq!(files.load_session().unwrap(), Some(session));
    }
}
