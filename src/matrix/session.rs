//! What a login leaves on disk: the session, the key of the SDK's store, the recovery key. No network here.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use matrix_sdk::authentication::matrix::MatrixSession;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use matrix_sdk::{SessionMeta, SessionTokens};
use rand::Rng;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::Secret;

/// How a session was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// With the account's password.
    Password,
    /// With an access token that somebody gave us.
    AccessToken,
}

/// A login of the bot: `matrix/session.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The homeserver's address.
    pub homeserver: Url,
    /// The account.
    pub user_id: OwnedUserId,
    /// The device that the login made.
    pub device_id: OwnedDeviceId,
    /// What proves that we are that device.
    #[serde(with = "secret_text")]
    pub access_token: Secret<String>,
    /// What renews the access token, on servers where it ages.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_secret_text"
    )]
    pub refresh_token: Option<Secret<String>>,
    /// How it was made.
    pub login: Made,
    /// The login was told to use plain HTTP to a server that is not on loopback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_http: bool,
    /// Where the recovery key was put, because there was no terminal to show it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key_file: Option<PathBuf>,
}

impl Session {
    pub(super) fn to_sdk(&self) -> MatrixSession {
        MatrixSession {
            meta: SessionMeta {
                user_id: self.user_id.clone(),
                device_id: self.device_id.clone(),
            },
            tokens: SessionTokens {
                access_token: self.access_token.reveal().to_owned(),
                refresh_token: self
                    .refresh_token
                    .as_ref()
                    .map(|token| token.reveal().to_owned()),
            },
        }
    }

    /// Returns where the recovery key still lies, if it was written to a file and is there yet.
    pub fn recovery_key_left(&self) -> Option<&Path> {
        self.recovery_key_file
            .as_deref()
            .filter(|path| path.exists())
    }
}

/// Why a file of the login cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// It cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It cannot be deleted.
    #[error("cannot delete `{path}`")]
    Delete {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It is not what we wrote.
    #[error("`{path}` is damaged: log in anew with `relay auth login --force`")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong, without quoting the file.
        #[source]
        cause: io::Error,
    },
}

/// The directory `<home>/matrix` and the files in it.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// Names the directory; nothing is created yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// `session.json`.
    pub fn session(&self) -> PathBuf {
        self.directory.join("session.json")
    }

    /// `sdk/`, the SDK's stores.
    pub fn sdk(&self) -> PathBuf {
        self.directory.join("sdk")
    }

    /// `sdk.key`, the key of these stores.
    pub fn key(&self) -> PathBuf {
        self.directory.join("sdk.key")
    }

    /// `recovery.key`, the default place of a recovery key that could not be shown.
    pub fn recovery_key(&self) -> PathBuf {
        self.directory.join("recovery.key")
    }

    /// Returns the session, or `None` where nobody has logged in.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read or is damaged.
    pub fn load_session(&self) -> Result<Option<Session>, FilesError> {
        let path = self.session();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(FilesError::Read { path, cause }),
        };
        match serde_json::from_slice(&text) {
            Ok(session) => Ok(Some(session)),
            // The parser's own words could quote a token.
            Err(error) => Err(FilesError::Damaged {
                path,
                cause: io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("line {}, column {}", error.line(), error.column()),
                ),
            }),
        }
    }

    /// Replaces the session file as a whole, readable for its owner only.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written; then the old one is untouched.
    pub fn save_session(&self, session: &Session) -> Result<(), FilesError> {
        let path = self.session();
        let mut text = serde_json::to_vec_pretty(session).map_err(|error| FilesError::Write {
            path: path.clone(),
            cause: error.into(),
        })?;
        text.push(b'\n');
        self.create_directory()?;
        replace(&path, &text)
    }

    /// Returns the key of the SDK's store.
    ///
    /// # Errors
    ///
    /// Fails when it is missing, unreadable, or not 32 bytes long.
    pub(super) fn load_key(&self) -> Result<[u8; 32], FilesError> {
        let path = self.key();
        let bytes = fs::read(&path).map_err(|cause| FilesError::Read {
            path: path.clone(),
            cause,
        })?;
        bytes.try_into().map_err(|wrong: Vec<u8>| {
            let cause = io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} bytes instead of 32", wrong.len()),
            );
            FilesError::Damaged { path, cause }
        })
    }

    /// Makes room for a new store: deletes session, key and store of an earlier login, and writes a new key.
    pub(super) fn create_key(&self) -> Result<[u8; 32], FilesError> {
        self.delete_session()?;
        self.delete_store()?;
        self.create_directory()?;
        let mut key = [0_u8; 32];
        rand::rng().fill_bytes(&mut key);
        replace(&self.key(), &key)?;
        create_directory(&self.sdk())?;
        Ok(key)
    }

    /// Deletes `session.json`; nothing is wrong if it is not there.
    ///
    /// # Errors
    ///
    /// Fails when it is there and cannot be deleted.
    pub fn delete_session(&self) -> Result<(), FilesError> {
        delete(&self.session(), |path| fs::remove_file(path))
    }

    /// Deletes `sdk.key` and `sdk/`; nothing is wrong if they are not there.
    ///
    /// # Errors
    ///
    /// Fails when one is there and cannot be deleted.
    pub fn delete_store(&self) -> Result<(), FilesError> {
        delete(&self.key(), |path| fs::remove_file(path))?;
        delete(&self.sdk(), |path| fs::remove_dir_all(path))
    }

    /// Writes a recovery key where only its owner can read it. An older key in that file is kept beside it, as
    /// `….old`: whoever needs it has nothing else.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written.
    pub fn save_recovery_key(&self, path: &Path, key: &Secret<String>) -> Result<(), FilesError> {
        self.create_directory()?;
        if path.exists() {
            let mut old = path.as_os_str().to_owned();
            old.push(".old");
            fs::rename(path, &old).map_err(|cause| FilesError::Write {
                path: PathBuf::from(&old),
                cause,
            })?;
        }
        replace(path, format!("{}\n", key.reveal()).as_bytes())
    }

    fn create_directory(&self) -> Result<(), FilesError> {
        create_directory(&self.directory)
    }
}

/// The session file is the one place where a token is written down.
mod secret_text {
    use super::{Deserialize, Secret};

    pub(super) fn serialize<S: serde::Serializer>(
        secret: &Secret<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.reveal())
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Secret<String>, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

mod optional_secret_text {
    use super::{Deserialize, Secret, Serialize};

    #[expect(clippy::ref_option, reason = "serde hands it over so")]
    pub(super) fn serialize<S: serde::Serializer>(
        secret: &Option<Secret<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Secret::reveal).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Secret<String>>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
    }
}

fn create_directory(path: &Path) -> Result<(), FilesError> {
    let failed = |cause| FilesError::Write {
        path: path.to_owned(),
        cause,
    };
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)
}

fn delete(path: &Path, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), FilesError> {
    match how(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(FilesError::Delete {
            path: path.to_owned(),
            cause,
        }),
    }
}

/// Writes a temporary file beside `path`, makes it durable, and puts it in place.
fn replace(path: &Path, content: &[u8]) -> Result<(), FilesError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let work = || -> io::Result<()> {
        delete_leftover(&temporary)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        // The umask may have taken bits away, never added any; some file systems ignore modes.
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    work().map_err(|cause| FilesError::Write {
        path: path.to_owned(),
        cause,
    })
}

fn delete_leftover(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::{owned_device_id, owned_user_id};

    use super::*;

    fn session() -> Session {
        Session {
            homeserver: Url::parse("https://matrix.example.org").unwrap(),
            user_id: owned_user_id!("@relay:example.org"),
            device_id: owned_device_id!("ABCDEF"),
            access_token: Secret::new("syt_secret".to_owned()),
            refresh_token: None,
            login: Made::Password,
            allow_http: false,
            recovery_key_file: None,
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_session_that_is_saved_loads_again_and_only_its_owner_can_read_it() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path().join("matrix"));
        assert_eq!(files.load_session().unwrap(), None);
        files.save_session(&session()).unwrap();
        files.save_session(&session()).unwrap();
        assert_eq!(files.load_session().unwrap(), Some(session()));
        assert_eq!(mode(&files.session()), 0o600);
        assert_eq!(mode(&home.path().join("matrix")), 0o700);
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", session()).contains("syt_secret"));
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        fs::write(files.session(), r#"{"access_token": "syt_secret", "#).unwrap();
        let error = files.load_session().unwrap_err();
        assert!(!format!("{error:?}").contains("syt_secret"));
        assert!(error.to_string().contains("relay auth login --force"));
    }

    #[test]
    fn a_new_key_replaces_everything_of_the_earlier_login() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        files.save_session(&session()).unwrap();
        let first = files.create_key().unwrap();
        fs::write(files.sdk().join("old"), "old").unwrap();
        let second = files.create_key().unwrap();
        assert_ne!(first, second);
        assert_eq!(files.load_key().unwrap(), second);
        assert!(!files.sdk().join("old").exists());
        assert_eq!(files.load_session().unwrap(), None);
        assert_eq!(mode(&files.key()), 0o600);
        assert_eq!(mode(&files.sdk()), 0o700);
    }

    #[test]
    fn an_earlier_recovery_key_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        let path = files.recovery_key();
        files
            .save_recovery_key(&path, &Secret::new("one".to_owned()))
            .unwrap();
        files
            .save_recovery_key(&path, &Secret::new("two".to_owned()))
            .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        let old = home.path().join("recovery.key.old");
        assert_eq!(fs::read_to_string(old).unwrap(), "one\n");
        assert_eq!(mode(&path), 0o600);
    }
}
