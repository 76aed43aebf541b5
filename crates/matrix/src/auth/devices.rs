//! Notes of the devices that logins created or replaced. Every device except the session's own is signed out: at the
//! end of the login, or at a later login or start if the login was cut short.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use matrix_sdk::SessionTokens;
use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::{DeviceId, OwnedDeviceId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::{Files, Server, ServerError};
use crate::files::{self, FilesError};
use crate::oauth::{Grants, OAuthClient, OAuthError, Web};
use crate::session::StoredSession;
use relay_config::Secret;

/// Maximum time to sign out the device of a failed login while the user waits for the error.
pub(super) const SIGN_OUT_TIMEOUT: Duration = Duration::from_secs(10);

/// A device that a login created, or may have created.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) homeserver: Url,
    /// The account as the user gave it: its localpart or its whole id.
    pub(super) user: String,
    pub(super) device_id: OwnedDeviceId,
    /// `None` until the server has answered.
    #[serde(flatten)]
    pub(super) tokens: Option<SessionTokens>,
    #[serde(default)]
    pub(super) allow_http: bool,
    /// The login service that ends it, if it was made by OAuth 2.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) oauth: Option<OAuthClient>,
}

/// A device of an earlier or failed login of ours that was to be signed out.
#[derive(Debug)]
pub struct Parted {
    /// Device id of that earlier login.
    pub device: OwnedDeviceId,
    /// Why the device could not be signed out; `None`: it is signed out.
    pub left: Option<Left>,
}

/// Why a device could not be signed out.
#[derive(Debug, thiserror::Error)]
pub enum Left {
    /// The access token is unknown: only the account's password can delete the device.
    #[error("the login that made it came to no end")]
    NoToken,
    /// The homeserver cannot be asked, or refused.
    #[error(transparent)]
    Server(ServerError),
    /// The login service cannot be asked, or refused.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
}

impl Note {
    pub(super) fn of(session: &StoredSession) -> Self {
        Self {
            homeserver: session.homeserver.clone(),
            user: session.user_id.to_string(),
            device_id: session.device_id.clone(),
            tokens: Some(session.tokens.clone()),
            allow_http: session.allow_http,
            oauth: session.oauth.clone(),
        }
    }

    fn is_of(&self, session: &StoredSession) -> bool {
        let user = &session.user_id;
        self.homeserver == session.homeserver
            && (self.user == user.as_str() || self.user == user.localpart())
    }
}

/// Writes a note, replacing an earlier note of the same device.
pub(super) fn write_note(files: &Files, note: &Note) -> Result<(), FilesError> {
    let directory = files.devices();
    files::create_directory(&directory)?;
    let mut earlier = notes(files).into_iter();
    let earlier = earlier.find(|(_, earlier)| earlier.device_id == note.device_id);
    // A device id chosen by the server is not safe as a file name.
    let new = || directory.join(format!("{:016x}.json", rand::random::<u64>()));
    let path = earlier.map_or_else(new, |(path, _)| path);
    let text =
        serde_json::to_vec(note).map_err(|error| FilesError::of("write", &path)(error.into()))?;
    files::replace(&path, &text).inspect_err(|_| sweep(files))
}

pub(super) fn forget(files: &Files, device: &DeviceId) {
    for (path, note) in notes(files) {
        if note.device_id == device {
            strike(&path);
        }
    }
    sweep(files);
}

/// Deletes the notes' directory if it is empty. Unfinished files of a killed login do not count.
fn sweep(files: &Files) {
    let entries = fs::read_dir(files.devices()).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    for path in paths.filter(|path| path.extension().is_some_and(|it| it == "new")) {
        strike(&path);
    }
    drop(fs::remove_dir(files.devices()));
}

/// Signs out every noted device except the session's own. With the account's password, also devices whose token is
/// unknown. Devices that could not be signed out stay noted. The caller holds the store lock. Fails if the session
/// cannot be read, since the own device is unknown then.
pub async fn part_with_others(
    files: &Files,
    password: Option<&Secret<String>>,
) -> Result<Vec<Parted>, FilesError> {
    let session = files.load_session()?;
    let mut parted = Vec::new();
    for (path, note) in notes(files) {
        let own = session.as_ref().map(|session| &session.device_id);
        if own == Some(&note.device_id) {
            strike(&path);
            continue;
        }
        let left = end(&note, session.as_ref(), password).await.err();
        if left.is_none() {
            strike(&path);
        }
        parted.push(Parted {
            device: note.device_id,
            left,
        });
    }
    sweep(files);
    Ok(parted)
}

async fn end(
    note: &Note,
    session: Option<&StoredSession>,
    password: Option<&Secret<String>>,
) -> Result<(), Left> {
    let server = Server::at(note.homeserver.clone(), note.allow_http).map_err(Left::Server)?;
    let ended = if let (Some(oauth), Some(tokens)) = (&note.oauth, &note.tokens) {
        let web = Web::new(&note.homeserver, note.allow_http)?;
        // A login service says of a token that it does not know that it is revoked (RFC 7009).
        return Ok(Grants::of(oauth, web).revoke(tokens).await?);
    } else if let Some(tokens) = &note.tokens {
        server.with_token(&tokens.access_token).sign_out().await
    } else if let (Some(session), Some(password)) = (session, password)
        && note.is_of(session)
    {
        delete_device(session, &note.device_id, password).await
    } else {
        return Err(Left::NoToken);
    };
    ended.or_else(|error| match error.errcode() {
        // The server no longer knows the device.
        Some("M_UNKNOWN_TOKEN" | "M_NOT_FOUND" | "M_USER_DEACTIVATED") => Ok(()),
        Some(_) | None => Err(Left::Server(error)),
    })
}

pub(super) async fn delete_device(
    session: &StoredSession,
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
        // An account without a password: only the access token can sign out.
        return if device == session.device_id {
            server.sign_out().await
        } else {
            Ok(())
        };
    }
    // A wrong password is answered with the same challenge and an error code.
    let deleted = delete(json!({"auth": {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": session.user_id},
        "password": password.reveal(),
        "session": challenge["session"],
    }}));
    deleted.await.map(|_| ())
}

fn notes(files: &Files) -> Vec<(PathBuf, Note)> {
    let entries = fs::read_dir(files.devices()).into_iter().flatten();
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let note = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            Some((path, note))
        })
        .collect()
}

/// A note left behind only makes the device be signed out once more, which does no harm.
fn strike(path: &Path) {
    drop(fs::remove_file(path));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::test_session::session;

    fn noted(device: &str, token: Option<&str>) -> Note {
        Note {
            // Nothing listens there.
            homeserver: Url::parse("http://127.0.0.1:1").unwrap(),
            user: "relay".to_owned(),
            device_id: device.into(),
            tokens: token.map(|token| SessionTokens {
                access_token: token.to_owned(),
                refresh_token: None,
            }),
            allow_http: false,
            oauth: None,
        }
    }

    #[tokio::test]
    async fn the_sessions_own_device_is_never_signed_out() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        files.save_session(&session()).unwrap();
        write_note(&files, &Note::of(&session())).unwrap();
        assert!(part_with_others(&files, None).await.unwrap().is_empty());
        assert!(!files.devices().exists());
    }

    #[tokio::test]
    async fn a_device_that_could_not_be_signed_out_stays_noted() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        write_note(&files, &noted("ONE", None)).unwrap();
        write_note(&files, &noted("ONE", Some("token"))).unwrap();
        write_note(&files, &noted("../TWO", None)).unwrap();
        let parted = part_with_others(&files, None).await.unwrap();
        assert_eq!(parted.len(), 2);
        assert!(parted.iter().all(|parted| parted.left.is_some()));
        assert_eq!(notes(&files).len(), 2);
        // Left behind by a login that was killed while writing.
        fs::write(files.devices().join("ab.json.new"), "{").unwrap();
        forget(&files, "ONE".into());
        forget(&files, "../TWO".into());
        assert!(!files.devices().exists());
    }

    #[test]
    fn a_token_in_a_note_is_never_printed() {
        assert!(!format!("{:?}", noted("ONE", Some("syt_secret"))).contains("syt_secret"));
    }
}
