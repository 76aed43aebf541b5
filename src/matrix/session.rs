//! A login of the bot, as it is written down.

use std::path::{Path, PathBuf};

use matrix_sdk::authentication::matrix::MatrixSession;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use matrix_sdk::{SessionMeta, SessionTokens};
use serde::{Deserialize, Serialize};
use url::Url;

use super::errors::Refusal;
use super::server::{Server, ServerError};
use super::{MatrixError, RefusedLogin};

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
    /// What proves that we are that device, and what renews that on servers where it ages. Never printed.
    #[serde(flatten)]
    pub tokens: SessionTokens,
    /// How it was made.
    pub login: Made,
    /// The login was told to use plain HTTP to a server that is not on loopback.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_http: bool,
    /// Where the recovery key was put, because there was no terminal to show it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key_file: Option<PathBuf>,
    /// The server's backup into which this device puts its keys.
    #[serde(default)]
    pub key_backup: BackupUse,
}

/// Into which of the account's backups a device puts its keys; the server only tells whether there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupUse {
    /// The login was made when that was not noted.
    #[default]
    Unknown,
    /// Into none.
    None,
    /// Into the one of that version.
    Version(String),
}

impl Session {
    pub(super) fn to_sdk(&self) -> MatrixSession {
        MatrixSession {
            meta: SessionMeta {
                user_id: self.user_id.clone(),
                device_id: self.device_id.clone(),
            },
            tokens: self.tokens.clone(),
        }
    }

    /// Returns its homeserver, to be asked past the SDK.
    pub(super) fn server(&self) -> Result<Server, ServerError> {
        Server::at(self.homeserver.clone(), self.allow_http)
    }

    /// Returns that its homeserver does not accept it.
    pub(super) fn refused(&self, refusal: Refusal) -> MatrixError {
        MatrixError::SessionDead(Box::new(RefusedLogin {
            user: self.user_id.clone(),
            device: self.device_id.clone(),
            refusal,
        }))
    }

    /// Returns where the recovery key still lies, if it was written to a file and is there yet.
    pub fn recovery_key_left(&self) -> Option<&Path> {
        self.recovery_key_file
            .as_deref()
            .filter(|path| path.exists())
    }
}

#[cfg(test)]
pub(super) mod samples {
    use matrix_sdk::ruma::{owned_device_id, owned_user_id};

    use super::*;

    /// A session on a server of no interest.
    pub(in crate::matrix) fn session() -> Session {
        Session {
            homeserver: Url::parse("https://example.org").unwrap(),
            user_id: owned_user_id!("@relay:example.org"),
            device_id: owned_device_id!("DEVICE"),
            tokens: SessionTokens {
                access_token: "syt_secret".to_owned(),
                refresh_token: None,
            },
            login: Made::Password,
            allow_http: false,
            recovery_key_file: None,
            key_backup: BackupUse::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_an_earlier_version_loads() {
        let text = r#"{"homeserver": "https://example.org", "user_id": "@relay:example.org", "device_id": "DEVICE",
            "access_token": "syt_secret", "login": "password"}"#;
        let session: Session = serde_json::from_str(text).unwrap();
        assert_eq!(session, samples::session());
        assert!(!format!("{session:?}").contains("syt_secret"));
    }
}
