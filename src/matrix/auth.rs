//! Login, logout, and how the session stands. What people are asked and told is the command line's matter.

use std::path::{Path, PathBuf};

use matrix_sdk::Client;
use matrix_sdk::config::SyncSettings;
use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use serde::Serialize;
use serde_json::{Value, json};
use url::Url;

use super::server::{Server, ServerError};
use super::session::{FilesError, Made, Session};
use super::{MatrixError, client, errors, recovery};
use crate::config::Secret;

pub use super::DeviceTrust;
pub use super::adopt::{TokenOptions, adopt};
pub use super::recovery::{Identity, Standing, Unlock};
pub use super::session::Files;

/// What a login needs to know.
#[derive(Debug)]
pub struct LoginOptions {
    /// The homeserver: its name, or its address; absent where the user id names it.
    pub homeserver: Option<String>,
    /// The account: its localpart or its whole id.
    pub username: String,
    /// Its password.
    pub password: Secret<String>,
    /// What the device is called in the account's list of devices.
    pub device_name: String,
    /// The account's new display name.
    pub display_name: Option<String>,
    /// Plain HTTP to a server that is not on loopback is allowed.
    pub allow_http: bool,
    /// An earlier login is replaced.
    pub force: bool,
    /// What to do about an identity that an earlier login made.
    pub unlock: Unlock,
    /// Where a new recovery key is written to; `None`: it is only returned, to be shown.
    pub recovery_key_file: Option<PathBuf>,
}

/// What a login came to.
#[derive(Debug)]
pub struct Login {
    /// The new session, as it is on disk.
    pub session: Session,
    /// How the new device stands. The recovery key in it was written to `session.recovery_key_file`, if that is set.
    pub standing: Standing,
    /// The device of the earlier login, signed out now.
    pub replaced: Option<OwnedDeviceId>,
}

/// Why a login or logout failed.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is a session already.
    #[error(
        "already logged in as {user} (device {device}) at {homeserver}: use --force to log in anew"
    )]
    AlreadyLoggedIn {
        /// As whom.
        user: OwnedUserId,
        /// With which device.
        device: OwnedDeviceId,
        /// Where.
        homeserver: Url,
    },
    /// Neither a homeserver nor a user id that names one.
    #[error(
        "which homeserver? give --homeserver (`matrix.homeserver`), or the whole user id (`@name:example.org`) as --username (`matrix.bot_user_id`)"
    )]
    NoHomeserver,
    /// Not a user of any server.
    #[error("`{given}` is not a user name: give `name` or `@name:example.org`")]
    BadUsername {
        /// What was given.
        given: String,
    },
    /// User or password is wrong.
    #[error(
        "the homeserver does not accept this user name and password ({user} at {homeserver}): check both"
    )]
    WrongPassword {
        /// Who.
        user: String,
        /// Where.
        homeserver: Url,
    },
    /// The account is closed.
    #[error("the account {user} is deactivated: use another one")]
    Deactivated {
        /// Who.
        user: String,
    },
    /// The server does not let anybody in with a password.
    #[error(
        "{homeserver} takes no passwords (it offers {offered}): use an account with a password on another server"
    )]
    NoPasswordLogin {
        /// Where.
        homeserver: Url,
        /// The kinds of login that it offers.
        offered: String,
    },
    /// The server does not know the access token.
    #[error(
        "{homeserver} does not accept `matrix.access_token`: it is mistyped, or its session has been signed out"
    )]
    DeadToken {
        /// Where.
        homeserver: Url,
    },
    /// The access token is somebody else's.
    #[error("`matrix.access_token` belongs to {actual}, and `matrix.bot_user_id` says {expected}")]
    OtherAccount {
        /// Whose it is.
        actual: OwnedUserId,
        /// Whose it should be.
        expected: String,
    },
    /// The access token stands for no device, so nothing can be encrypted with it.
    #[error("`matrix.access_token` belongs to no device of {user}, so it cannot be used")]
    NoDevice {
        /// The account.
        user: OwnedUserId,
    },
    /// Another program has given the device its keys.
    #[error(
        "device {device} of `matrix.access_token` has encryption keys of another program, and a second set would make its messages unreadable"
    )]
    DeviceInUse {
        /// The device.
        device: OwnedDeviceId,
    },
    /// Nobody is logged in.
    #[error("not logged in: nothing to do")]
    NotLoggedIn,
    /// The answer is not one that a homeserver gives.
    #[error("{homeserver} gave an answer that makes no sense: {what}")]
    BadAnswer {
        /// Where.
        homeserver: Url,
        /// What is missing.
        what: &'static str,
    },
    /// The server failed or refused.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A file failed.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] MatrixError),
}

impl AuthError {
    /// Returns the refusal of a second login beside this one.
    pub fn already(session: Session) -> Self {
        Self::AlreadyLoggedIn {
            user: session.user_id,
            device: session.device_id,
            homeserver: session.homeserver,
        }
    }
}

/// Logs in as a new device, and writes the session as the last of all.
///
/// The caller holds the store: no daemon has it open. Wrong answers leave an earlier login untouched.
///
/// # Errors
///
/// Fails as [`AuthError`] says. What goes wrong after the server has let us in, but does not hinder the relay
/// (cross-signing, backup, display name), is in [`Standing::problems`] instead.
pub async fn login(files: &Files, options: &LoginOptions) -> Result<Login, AuthError> {
    let earlier = match files.load_session() {
        Ok(Some(session)) if !options.force => {
            return Err(AuthError::already(session));
        }
        Ok(session) => session,
        Err(FilesError::Damaged { .. }) if options.force => None,
        Err(error) => return Err(error.into()),
    };
    let server = find_server(
        options.homeserver.as_deref(),
        &options.username,
        options.allow_http,
    )
    .await?;
    check_flows(&server).await?;
    let mut session = request_login(&server, options).await?;
    let standing = match settle(files, options, &mut session).await {
        Ok(standing) => standing,
        Err(error) => {
            // Leave no device behind that nobody can use.
            sign_out(&server, &session.access_token).await.ok();
            return Err(error);
        }
    };
    let replaced = match earlier {
        Some(earlier) => replace(earlier, options.allow_http).await,
        None => None,
    };
    Ok(Login {
        session,
        standing,
        replaced,
    })
}

/// Opens a new store for the session, gives the device its standing, and saves the session.
async fn settle(
    files: &Files,
    options: &LoginOptions,
    session: &mut Session,
) -> Result<Standing, AuthError> {
    let client = open_store(files, session).await?;
    let mut standing = stand(&client, session, Some(&options.password), &options.unlock).await;
    if let Some(name) = &options.display_name
        && let Err(error) = client.account().set_display_name(Some(name)).await
    {
        standing.problems.push(format!(
            "the display name could not be set: {}",
            errors::sentence(&error)
        ));
    }
    save(
        files,
        &client,
        session,
        &standing,
        options.recovery_key_file.as_deref(),
    )
    .await?;
    Ok(standing)
}

/// Opens a new store for the session. The device's keys are made, but nobody is told of them yet.
pub(super) async fn open_store(files: &Files, session: &Session) -> Result<Client, AuthError> {
    let key = files.create_key()?;
    let client = client::build(files, session, &key, false).await?;
    Box::pin(client.restore_session(session.to_sdk()))
        .await
        .map_err(|cause| MatrixError::Store {
            path: files.sdk(),
            cause: Box::new(cause),
        })?;
    Ok(client)
}

/// Gives the device its standing.
pub(super) async fn stand(
    client: &Client,
    session: &Session,
    password: Option<&Secret<String>>,
    unlock: &Unlock,
) -> Standing {
    client
        .encryption()
        .wait_for_e2ee_initialization_tasks()
        .await;
    // Uploads the device's keys, without which nothing can be signed, and learns the rooms.
    let synced = Box::pin(client.sync_once(first_sync())).await;
    let mut standing = Box::pin(recovery::secure(client, &session.user_id, password, unlock)).await;
    if let Err(error) = synced {
        let problem = format!("the first sync failed: {}", errors::sentence(&error));
        standing.problems.push(problem);
    }
    standing
}

/// Saves what the login came to, and lets go of the store.
pub(super) async fn save(
    files: &Files,
    client: &Client,
    session: &mut Session,
    standing: &Standing,
    recovery_key_file: Option<&Path>,
) -> Result<(), AuthError> {
    if let (Some(key), Some(path)) = (&standing.recovery_key, recovery_key_file) {
        files.save_recovery_key(path, key)?;
        session.recovery_key_file = Some(path.to_owned());
    } else if files.recovery_key().exists() {
        session.recovery_key_file = Some(files.recovery_key());
    }
    if let Some(tokens) = client.session_tokens() {
        // They may have been renewed meanwhile.
        session.access_token = Secret::new(tokens.access_token);
        session.refresh_token = tokens.refresh_token.map(Secret::new);
    }
    client::close(client).await;
    Ok(files.save_session(session)?)
}

fn first_sync() -> SyncSettings {
    super::sync::settings(std::time::Duration::ZERO, 1)
}

/// Finds the homeserver: where it is given, else where the user id says.
pub(super) async fn find_server(
    homeserver: Option<&str>,
    username: &str,
    allow_http: bool,
) -> Result<Server, AuthError> {
    let given = match (homeserver, username.strip_prefix('@')) {
        (Some(homeserver), _) => homeserver,
        (None, Some(id)) => id
            .split_once(':')
            .map(|(_, server)| server)
            .ok_or(AuthError::NoHomeserver)?,
        (None, None) => return Err(AuthError::NoHomeserver),
    };
    Ok(Server::discover(given, allow_http).await?)
}

async fn check_flows(server: &Server) -> Result<(), AuthError> {
    let answer = server.call(Method::GET, &["login"], None, None).await?;
    let flows: Vec<&str> = answer
        .get("flows")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|flow| flow.get("type")?.as_str())
        .collect();
    if flows.contains(&"m.login.password") {
        return Ok(());
    }
    Err(AuthError::NoPasswordLogin {
        homeserver: server.base().clone(),
        offered: if flows.is_empty() {
            "nothing".to_owned()
        } else {
            flows.join(", ").chars().take(200).collect()
        },
    })
}

async fn request_login(server: &Server, options: &LoginOptions) -> Result<Session, AuthError> {
    let user = options.username.trim();
    let is_bad = user.is_empty() || user.contains(char::is_whitespace);
    if is_bad || (user.starts_with('@') && OwnedUserId::try_from(user).is_err()) {
        return Err(AuthError::BadUsername {
            given: options.username.clone(),
        });
    }
    // No refresh token is asked for: where a server gives tokens that do not age, that is what months without
    // anybody looking need.
    let mut answer = try_login(server, options, user, false).await?;
    if answer.get("expires_in_ms").is_some() && answer.get("refresh_token").is_none() {
        let token = secret(&answer, "access_token");
        answer = try_login(server, options, user, true).await?;
        if let Some(token) = token {
            sign_out(server, &token).await.ok();
        }
    }
    let missing = |what| AuthError::BadAnswer {
        homeserver: server.base().clone(),
        what,
    };
    Ok(Session {
        homeserver: server.base().clone(),
        user_id: text(&answer, "user_id")
            .and_then(|id| OwnedUserId::try_from(id).ok())
            .ok_or_else(|| missing("no user id"))?,
        device_id: text(&answer, "device_id")
            .map(Into::into)
            .ok_or_else(|| missing("no device id"))?,
        access_token: secret(&answer, "access_token").ok_or_else(|| missing("no access token"))?,
        refresh_token: secret(&answer, "refresh_token"),
        login: Made::Password,
        allow_http: options.allow_http,
        recovery_key_file: None,
    })
}

async fn try_login(
    server: &Server,
    options: &LoginOptions,
    user: &str,
    refresh: bool,
) -> Result<Value, AuthError> {
    let body = json!({
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": options.password.reveal(),
        "initial_device_display_name": options.device_name,
        "refresh_token": refresh,
    });
    let answer = server
        .call(Method::POST, &["login"], None, Some(&body))
        .await;
    answer.map_err(|error| match error.errcode() {
        Some("M_FORBIDDEN") => AuthError::WrongPassword {
            user: user.to_owned(),
            homeserver: server.base().clone(),
        },
        Some("M_USER_DEACTIVATED") => AuthError::Deactivated {
            user: user.to_owned(),
        },
        Some(_) | None => error.into(),
    })
}

pub(super) fn text<'a>(answer: &'a Value, key: &str) -> Option<&'a str> {
    answer.get(key).and_then(Value::as_str)
}

fn secret(answer: &Value, key: &str) -> Option<Secret<String>> {
    text(answer, key).map(|text| Secret::new(text.to_owned()))
}

/// Ends the session of an earlier login; an old device that stays in the list does no harm.
async fn replace(earlier: Session, allow_http: bool) -> Option<OwnedDeviceId> {
    let allow_http = allow_http || earlier.allow_http;
    let server = Server::at(earlier.homeserver, allow_http).ok()?;
    sign_out(&server, &earlier.access_token).await.ok()?;
    Some(earlier.device_id)
}

async fn sign_out(server: &Server, token: &Secret<String>) -> Result<(), ServerError> {
    server
        .call(Method::POST, &["logout"], Some(token), Some(&json!({})))
        .await
        .map(|_| ())
}

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

async fn has_backup(server: &Server, session: &Session) -> Result<bool, AuthError> {
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

/// How the server is told that the session ends.
#[derive(Debug, Clone)]
pub enum Proof {
    /// By deleting the device with the account's password.
    Password(Secret<String>),
    /// Without one.
    None,
}

/// Returns whether the account's keys are backed up; without a backup, a logout loses them. `None`: the server does
/// not know the session any more, and does not tell.
///
/// # Errors
///
/// [`AuthError::NotLoggedIn`], or when the server cannot be asked.
pub async fn key_backup(files: &Files) -> Result<Option<bool>, AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    let server = Server::at(session.homeserver.clone(), session.allow_http)?;
    match has_backup(&server, &session).await {
        Ok(backup) => Ok(Some(backup)),
        Err(AuthError::Server(error)) if error.errcode() == Some("M_UNKNOWN_TOKEN") => Ok(None),
        Err(error) => Err(error),
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
    let ended = match proof {
        Proof::Password(password) => delete_device(&server, &session, password).await,
        Proof::None => sign_out(&server, &session.access_token)
            .await
            .map_err(AuthError::from),
    };
    match ended {
        Err(AuthError::Server(error)) if error.errcode() == Some("M_UNKNOWN_TOKEN") => Ok(()),
        other => other,
    }
}

async fn delete_device(
    server: &Server,
    session: &Session,
    password: &Secret<String>,
) -> Result<(), AuthError> {
    let path = ["devices", session.device_id.as_str()];
    let token = Some(&session.access_token);
    let first = server
        .call(Method::DELETE, &path, token, Some(&json!({})))
        .await;
    let challenge = match first {
        Ok(_) => return Ok(()),
        Err(ServerError::Refused { body, .. }) if body.get("flows").is_some() => body,
        Err(error) => return Err(error.into()),
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
        return Ok(sign_out(server, &session.access_token).await?);
    }
    let body = json!({"auth": {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": session.user_id},
        "password": password.reveal(),
        "session": challenge.get("session"),
    }});
    let second = server.call(Method::DELETE, &path, token, Some(&body)).await;
    match second {
        Ok(_) => Ok(()),
        // Wrong proof is answered with the same question again, and with a code.
        Err(error) if error.errcode() == Some("M_FORBIDDEN") => Err(AuthError::WrongPassword {
            user: session.user_id.to_string(),
            homeserver: session.homeserver.clone(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// Deletes `session.json`, then `sdk.key` and `sdk/`, and tells each step.
///
/// # Errors
///
/// Fails at the first file that cannot be deleted.
pub fn delete_local(files: &Files, mut told: impl FnMut(&str)) -> Result<(), AuthError> {
    files.delete_session()?;
    told("deleted session.json");
    files.delete_store()?;
    told("deleted sdk.key and sdk/");
    Ok(())
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::{owned_device_id, owned_user_id};

    use super::*;

    fn session() -> Session {
        Session {
            homeserver: Url::parse("https://example.org").unwrap(),
            user_id: owned_user_id!("@relay:example.org"),
            device_id: owned_device_id!("DEVICE"),
            access_token: Secret::new("token".to_owned()),
            refresh_token: None,
            login: Made::Password,
            allow_http: false,
            recovery_key_file: None,
        }
    }

    fn options(homeserver: Option<&str>, username: &str) -> LoginOptions {
        LoginOptions {
            homeserver: homeserver.map(str::to_owned),
            username: username.to_owned(),
            password: Secret::new("secret".to_owned()),
            device_name: "relay".to_owned(),
            display_name: None,
            allow_http: false,
            force: false,
            unlock: Unlock::Nothing,
            recovery_key_file: None,
        }
    }

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

    #[tokio::test]
    async fn a_second_login_says_as_whom_the_first_was() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        files.save_session(&session()).unwrap();
        let error = login(&files, &options(None, "@relay:example.org"))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "already logged in as @relay:example.org (device DEVICE) at https://example.org/: use --force to log in anew"
        );
    }

    #[tokio::test]
    async fn a_name_without_a_server_is_asked_where() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        for username in ["relay", "@relay"] {
            let error = login(&files, &options(None, username)).await.unwrap_err();
            assert!(matches!(error, AuthError::NoHomeserver), "{error}");
        }
    }

    #[tokio::test]
    async fn a_failed_login_leaves_the_earlier_one_untouched() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        files.create_key().unwrap();
        files.save_session(&session()).unwrap();
        let mut options = options(Some("http://127.0.0.1:1"), "relay");
        options.force = true;
        let error = login(&files, &options).await.unwrap_err();
        assert!(
            matches!(error, AuthError::Server(ServerError::Unreachable { .. })),
            "{error}"
        );
        assert_eq!(files.load_session().unwrap(), Some(session()));
        assert!(files.key().exists() && files.sdk().exists());
    }

    #[test]
    fn secrets_of_a_login_are_never_printed() {
        assert!(!format!("{:?}", options(None, "relay")).contains("secret"));
    }
}
