//! Login: a new device, its standing, and the session on disk as the last of all.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use matrix_sdk::Client;
use matrix_sdk::config::SyncSettings;
use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::devices::{self, Note, Parted};
use super::status::backup_version;
use super::{AuthError, Files, Server, ServerError, Standing, Unlock, sign_out, text};
use crate::config::Secret;
use crate::matrix::files::FilesError;
use crate::matrix::recovery::{self, Security};
use crate::matrix::session::{BackupUse, Made, Session};
use crate::matrix::{MatrixError, client, errors};

/// How long the goodbye of a device may take when its login has failed: somebody waits for the error.
const GOODBYE: Duration = Duration::from_secs(10);

/// What a login needs to know.
#[derive(Debug)]
pub struct LoginOptions {
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
    /// What is done with a new recovery key.
    pub recovery_key: KeyPlace,
}

/// Shows a recovery key to a person.
pub type ShowKey = Box<dyn Fn(&Secret<String>) + Send + Sync>;

/// What is done with a new recovery key as soon as there is one: it opens the account's secrets even if the login fails.
pub enum KeyPlace {
    /// It is written to a file.
    File(PathBuf),
    /// It is shown to a person.
    Show(ShowKey),
}

impl fmt::Debug for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Show(_) => f.write_str("Show"),
        }
    }
}

/// What a login came to.
#[derive(Debug)]
pub struct Login {
    /// The new session, as it is on disk.
    pub session: Session,
    /// How the new device stands.
    pub standing: Standing,
    /// The devices of earlier logins, signed out now as far as that could be done.
    pub parted: Vec<Parted>,
}

/// Logs in as a new device, beside the login that is there, and lets it take its place when it is whole.
///
/// The caller holds the store: no daemon has it open. Whatever fails before, also a crash, leaves an earlier login as it
/// is, and the new device is signed out. After `stop` it ends as soon as nothing of the account is left half done, with
/// [`AuthError::Interrupted`], or with the login if that was as good as done.
///
/// # Errors
///
/// Fails as [`AuthError`] says. What goes wrong after the server has let us in, but does not hinder the relay
/// (cross-signing, backup, display name), is in [`Standing::problems`] instead, unless an earlier login would get lost
/// for less.
pub async fn login(
    files: &Files,
    server: &Server,
    options: &LoginOptions,
    stop: &CancellationToken,
) -> Result<Login, AuthError> {
    files.finish()?;
    let earlier = match files.load_session() {
        Ok(Some(session)) if !options.force => {
            return Err(AuthError::already(session));
        }
        Ok(session) => session,
        Err(FilesError::Damaged { .. }) if options.force => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(earlier) = &earlier {
        devices::note(files, &Note::of(earlier))?;
    }
    let mut session = match request_login(files, server, options).await {
        Ok(session) => session,
        Err(error) => return Err(give_up(files, None, error).await),
    };
    match make(files, options, &mut session, earlier.is_some(), stop).await {
        Ok(standing) => Ok(Login {
            parted: devices::part(files, Some(&options.password)).await?,
            session,
            standing,
        }),
        Err(error) => Err(give_up(files, Some(session), error).await),
    }
}

/// Leaves nothing behind of a login that failed, on disk or on the server, and returns what to say.
async fn give_up(files: &Files, made: Option<Session>, error: AuthError) -> AuthError {
    // What cannot be deleted is deleted by the next login.
    drop(files.delete_fresh());
    let parted = tokio::time::timeout(GOODBYE, devices::part(files, None)).await;
    let Some(made) = made else {
        return error;
    };
    let is_gone = |parted: &Parted| parted.device == made.device_id && parted.left.is_none();
    match parted {
        Ok(Ok(parted)) if parted.iter().any(is_gone) => error,
        _ => AuthError::DeviceLeft {
            device: made.device_id,
            cause: Box::new(error),
        },
    }
}

/// Makes the login in a place of its own, and lets it take its place.
async fn make(
    files: &Files,
    options: &LoginOptions,
    session: &mut Session,
    is_exchange: bool,
    stop: &CancellationToken,
) -> Result<Standing, AuthError> {
    let fresh = files.fresh();
    files.delete_fresh()?;
    let client = open_store(&fresh, session).await?;
    let security = Security {
        password: Some(&options.password),
        unlock: &options.unlock,
        is_exchange,
        stop: stop.clone(),
    };
    let made = async {
        let mut standing = stand(&client, session, &security).await?;
        note_standing(files, &client, session, &standing, &options.recovery_key).await?;
        if let Some(name) = &options.display_name
            && let Err(error) = client.account().set_display_name(Some(name)).await
        {
            standing.problems.push(format!(
                "the display name could not be set: {}",
                errors::sentence(&error)
            ));
        }
        Ok::<_, AuthError>(standing)
    };
    let made = made.await;
    client::close(&client).await;
    let standing = made?;
    fresh.save_session(session)?;
    files.put_in_place(&fresh)?;
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
    security: &Security<'_>,
) -> Result<Standing, AuthError> {
    let synced = async {
        client
            .encryption()
            .wait_for_e2ee_initialization_tasks()
            .await;
        // Uploads the device's keys, without which nothing can be signed, and learns the rooms.
        Box::pin(client.sync_once(first_sync())).await
    };
    let synced = tokio::select! {
        synced = synced => synced,
        () = security.stop.cancelled() => return Err(AuthError::Interrupted),
    };
    let problem = synced
        .err()
        .map(|error| format!("the first sync failed: {}", errors::sentence(&error)));
    if let Some(what) = &problem
        && security.is_exchange
    {
        return Err(AuthError::Unfinished { what: what.clone() });
    }
    let mut standing = Box::pin(recovery::secure(client, &session.user_id, security)).await?;
    standing.problems.extend(problem);
    Ok(standing)
}

/// Hands out the recovery key, which is kept nowhere else, and notes in the session what the login came to.
pub(in crate::matrix) async fn note_standing(
    files: &Files,
    client: &Client,
    session: &mut Session,
    standing: &Standing,
    place: &KeyPlace,
) -> Result<(), AuthError> {
    session.recovery_key_file = Some(files.recovery_key()).filter(|path| path.exists());
    if let Some(key) = &standing.recovery_key {
        match place {
            KeyPlace::File(path) => {
                files.save_recovery_key(path, key)?;
                session.recovery_key_file = Some(path.to_owned());
            }
            KeyPlace::Show(show) => show(key),
        }
    }
    if let Some(tokens) = client.session_tokens() {
        // They may have been renewed meanwhile.
        session.access_token = Secret::new(tokens.access_token);
        session.refresh_token = tokens.refresh_token.map(Secret::new);
    }
    session.key_backup = if standing.backup {
        let server = Server::at(session.homeserver.clone(), session.allow_http)?;
        match backup_version(&server, session).await {
            Ok(Some(version)) => BackupUse::Version(version),
            Ok(None) => BackupUse::None,
            Err(_) => BackupUse::Unknown,
        }
    } else {
        BackupUse::None
    };
    Ok(())
}

fn first_sync() -> SyncSettings {
    crate::matrix::sync::settings(Duration::ZERO, 1)
}

/// Finds the homeserver, where it is given, else where the user id says; and makes sure that it takes passwords.
///
/// # Errors
///
/// Fails when nobody says where it is, or it cannot be reached, or takes none.
pub async fn find_homeserver(
    homeserver: Option<&str>,
    username: &str,
    allow_http: bool,
) -> Result<Server, AuthError> {
    let server = find_server(homeserver, username, allow_http).await?;
    check_flows(&server).await?;
    Ok(server)
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

async fn request_login(
    files: &Files,
    server: &Server,
    options: &LoginOptions,
) -> Result<Session, AuthError> {
    let user = options.username.trim();
    let is_bad = user.is_empty() || user.contains(char::is_whitespace);
    if is_bad || (user.starts_with('@') && OwnedUserId::try_from(user).is_err()) {
        return Err(AuthError::BadUsername {
            given: options.username.clone(),
        });
    }
    // No refresh token is asked for: where a server gives tokens that do not age, that is what months without
    // anybody looking need.
    let mut answer = try_login(files, server, options, user, false).await?;
    if answer.get("expires_in_ms").is_some() && answer.get("refresh_token").is_none() {
        answer = try_login(files, server, options, user, true).await?;
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
        key_backup: BackupUse::None,
    })
}

/// Asks to be let in as a device that is noted before, so that it can be signed out whatever happens.
async fn try_login(
    files: &Files,
    server: &Server,
    options: &LoginOptions,
    user: &str,
    refresh: bool,
) -> Result<Value, AuthError> {
    let mut note = Note {
        homeserver: server.base().clone(),
        user: user.to_owned(),
        device_id: new_device(),
        access_token: None,
        allow_http: options.allow_http,
    };
    devices::note(files, &note)?;
    let body = json!({
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": options.password.reveal(),
        "device_id": note.device_id,
        "initial_device_display_name": options.device_name,
        "refresh_token": refresh,
    });
    let answer = server
        .call(Method::POST, &["login"], None, Some(&body))
        .await;
    match answer {
        Ok(answer) => {
            note.access_token = secret(&answer, "access_token");
            if let Some(device) = text(&answer, "device_id")
                && note.device_id != device
            {
                devices::forget(files, &note.device_id);
                note.device_id = device.into();
            }
            match devices::note(files, &note) {
                Ok(()) => Ok(answer),
                Err(error) => Err(unmake(files, server, note, error.into()).await),
            }
        }
        Err(error) => {
            if was_not_let_in(&error) {
                devices::forget(files, &note.device_id);
            }
            Err(match error.errcode() {
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
    }
}

/// Takes back a device of which no note can be written, and returns what to say.
async fn unmake(files: &Files, server: &Server, note: Note, error: AuthError) -> AuthError {
    let is_gone = match &note.access_token {
        Some(token) => tokio::time::timeout(GOODBYE, sign_out(server, token))
            .await
            .is_ok_and(|it| it.is_ok()),
        None => false,
    };
    if is_gone {
        devices::forget(files, &note.device_id);
        return error;
    }
    AuthError::DeviceLeft {
        device: note.device_id,
        cause: Box::new(error),
    }
}

/// Returns whether it is certain that the server has made no device.
fn was_not_let_in(error: &ServerError) -> bool {
    match error {
        ServerError::BadAddress { .. }
        | ServerError::PlainHttp { .. }
        | ServerError::Tls { .. }
        | ServerError::RateLimited { .. }
        | ServerError::Refused { .. } => true,
        ServerError::Unreachable { cause, .. } => cause.is_connect(),
        // What a proxy says when the server took too long.
        ServerError::NotMatrix { .. } | ServerError::TooLarge { .. } => false,
    }
}

/// Returns the name of a device that nobody has.
fn new_device() -> OwnedDeviceId {
    let letters = rand::rng().random_iter::<u8>().take(10);
    let letters = letters.map(|number| char::from(b'A' + number % 26));
    letters.collect::<String>().into()
}

fn secret(answer: &Value, key: &str) -> Option<Secret<String>> {
    text(answer, key).map(|text| Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::session::samples::session;

    fn options(username: &str) -> LoginOptions {
        LoginOptions {
            username: username.to_owned(),
            password: Secret::new("secret".to_owned()),
            device_name: "relay".to_owned(),
            display_name: None,
            allow_http: false,
            force: false,
            unlock: Unlock::Nothing,
            recovery_key: KeyPlace::File("recovery.key".into()),
        }
    }

    /// A server that is not there.
    fn nobody() -> Server {
        Server::at("http://127.0.0.1:1".parse().unwrap(), false).unwrap()
    }

    #[tokio::test]
    async fn a_second_login_says_as_whom_the_first_was() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        files.save_session(&session()).unwrap();
        let stop = CancellationToken::new();
        let error = login(&files, &nobody(), &options("@relay:example.org"), &stop)
            .await
            .unwrap_err();
        assert_eq!(
            crate::model::told(&error),
            "already logged in as @relay:example.org (device DEVICE) at https://example.org/; use --force to log in anew"
        );
    }

    #[tokio::test]
    async fn a_name_without_a_server_is_asked_where() {
        for username in ["relay", "@relay"] {
            let error = find_homeserver(None, username, false).await.unwrap_err();
            assert!(matches!(error, AuthError::NoHomeserver), "{error}");
        }
    }

    #[tokio::test]
    async fn a_failed_login_leaves_the_earlier_one_untouched_and_nothing_behind() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        files.create_key().unwrap();
        files.save_session(&session()).unwrap();
        let mut options = options("relay");
        options.force = true;
        let stop = CancellationToken::new();
        let error = login(&files, &nobody(), &options, &stop).await.unwrap_err();
        assert!(
            matches!(error, AuthError::Server(ServerError::Unreachable { .. })),
            "{error}"
        );
        assert_eq!(files.load_session().unwrap(), Some(session()));
        assert!(files.key().exists() && files.sdk().exists());
        assert!(!files.devices().exists());
    }

    #[test]
    fn a_new_device_has_a_name_of_its_own() {
        let (one, other) = (new_device(), new_device());
        assert_ne!(one, other);
        assert!(
            one.as_str()
                .bytes()
                .all(|letter| letter.is_ascii_uppercase())
        );
        assert_eq!(one.as_str().len(), 10);
    }

    #[test]
    fn secrets_of_a_login_are_never_printed() {
        assert!(!format!("{:?}", options("relay")).contains("secret"));
    }
}
