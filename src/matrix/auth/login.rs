//! Login: a new device, its standing, and the session on disk as the last of all.

use std::path::{Path, PathBuf};

use matrix_sdk::Client;
use matrix_sdk::config::SyncSettings;
use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use serde_json::{Value, json};

use super::{AuthError, Files, Standing, Unlock, sign_out, text};
use crate::config::Secret;
use crate::matrix::server::Server;
use crate::matrix::session::{FilesError, Made, Session};
use crate::matrix::{MatrixError, client, errors, recovery};

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
pub(in crate::matrix) async fn open_store(
    files: &Files,
    session: &Session,
) -> Result<Client, AuthError> {
    let key = files.create_key()?;
    let (client, _) = client::build(files, session, &key, false).await?;
    Box::pin(client.restore_session(session.to_sdk()))
        .await
        .map_err(|cause| MatrixError::Store {
            path: files.sdk(),
            cause: Box::new(cause),
        })?;
    Ok(client)
}

/// Gives the device its standing.
pub(in crate::matrix) async fn stand(
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
pub(in crate::matrix) async fn save(
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
    crate::matrix::sync::settings(std::time::Duration::ZERO, 1)
}

/// Finds the homeserver: where it is given, else where the user id says.
pub(in crate::matrix) async fn find_server(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::auth::samples::session;
    use crate::matrix::server::ServerError;

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
