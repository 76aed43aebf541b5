//! The bot's login as stored on disk, and what answers of the homeserver mean for it.

use std::path::{Path, PathBuf};

use matrix_sdk::authentication::AuthSession;
use matrix_sdk::authentication::matrix::MatrixSession;
use matrix_sdk::authentication::oauth::{ClientId, OAuthSession, UserSession};
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use matrix_sdk::{SessionMeta, SessionTokens};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::MatrixError;
use super::errors::{self, LoginRefusal};
use super::oauth::OAuthClient;
use super::server::{Server, ServerError};
use relay_model::Explained;

/// How the access token of a session was obtained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginMethod {
    /// With the account's password.
    Password,
    /// With an access token from the configuration.
    AccessToken,
    /// With a JSON web token of an identity provider.
    Jwt,
    /// By single sign-on, in a browser.
    Sso,
    /// By OAuth 2.0.
    #[serde(rename = "oauth")]
    OAuth,
}

/// A login of the bot: `matrix/session.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSession {
    /// Base address of the homeserver's API, not the server's name.
    pub homeserver: Url,
    /// The bot's account.
    pub user_id: OwnedUserId,
    /// The device that the login created; its keys are in the SDK's store.
    pub device_id: OwnedDeviceId,
    /// The device's access token, and the refresh token on servers where it expires. Never printed.
    #[serde(flatten)]
    pub tokens: SessionTokens,
    /// How the access token was obtained.
    pub login: LoginMethod,
    /// What the configuration named as the homeserver when the login was last used, empty if nothing; `None`: not used yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured: Option<String>,
    /// Plain HTTP to a server that is not on loopback is allowed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_http: bool,
    /// Where the recovery key was written, if it could not be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_key_file: Option<PathBuf>,
    /// The server's key backup that this device uses.
    #[serde(default)]
    pub key_backup: BackupUse,
    /// The login service that renews the tokens, if it was a login by OAuth 2.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuthClient>,
}

/// Which of the account's backups a device uploads its keys to; the server only tells whether a backup exists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupUse {
    /// The login predates the record of the backup.
    #[default]
    Unknown,
    /// The device uploads its keys to no backup.
    None,
    /// The device uploads its keys to the backup of this version.
    Version(String),
}

impl StoredSession {
    pub(super) fn to_sdk(&self) -> AuthSession {
        let meta = SessionMeta {
            user_id: self.user_id.clone(),
            device_id: self.device_id.clone(),
        };
        let tokens = self.tokens.clone();
        match &self.oauth {
            None => MatrixSession { meta, tokens }.into(),
            Some(oauth) => OAuthSession {
                client_id: ClientId::new(oauth.client_id.clone()),
                user: UserSession { meta, tokens },
            }
            .into(),
        }
    }

    /// Returns the session's homeserver, for requests without the SDK.
    pub(super) fn server(&self) -> Result<Server, ServerError> {
        let server = Server::at(self.homeserver.clone(), self.allow_http)?;
        Ok(server.with_token(&self.tokens.access_token))
    }

    /// Returns what an error means for the session.
    pub(super) fn verdict(&self, error: ServerError) -> MatrixError {
        match error {
            ServerError::Refused {
                status,
                errcode,
                message,
                body,
                ..
            } if status == 403 && errcode == "M_FORBIDDEN"
                || errors::is_about_login(status, &errcode) =>
            {
                self.refused(LoginRefusal {
                    errcode,
                    keeps_device: body["soft_logout"] == true,
                    message,
                })
            }
            other => other.into(),
        }
    }

    pub(super) fn refused(&self, refusal: LoginRefusal) -> MatrixError {
        MatrixError::SessionDead(Box::new(RefusedLogin {
            user: self.user_id.clone(),
            device: self.device_id.clone(),
            refusal,
        }))
    }

    /// Returns whose login it is according to the homeserver, if not ours; `answer` is its answer to `whoami`.
    pub(super) fn is_anothers(&self, answer: &Value) -> Option<String> {
        let field = |name| answer[name].as_str();
        let (user, device) = (field("user_id")?, field("device_id"));
        let is_ours = self.user_id == user && device.is_none_or(|device| self.device_id == device);
        (!is_ours).then(|| {
            format!(
                "the homeserver takes the login for that of {user} (device {})",
                device.unwrap_or("unknown")
            )
        })
    }

    /// Returns the file with the recovery key, if one was written and still exists.
    pub fn recovery_key_left(&self) -> Option<&Path> {
        self.recovery_key_file
            .as_deref()
            .filter(|path| path.exists())
    }
}

/// A session whose access token the homeserver does not accept any more; said with account and device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the homeserver does not accept the login of {user} (device {device}): {} ({})",
    .refusal.message,
    .refusal.errcode
)]
pub struct RefusedLogin {
    pub(super) user: OwnedUserId,
    pub(super) device: OwnedDeviceId,
    /// What the homeserver answered: error code and words.
    pub refusal: LoginRefusal,
}

impl Explained for RefusedLogin {
    /// Returns what to do whether or not a relay runs, the mildest cure first.
    fn hint(&self) -> Option<String> {
        let cure = match self.refusal.errcode.as_str() {
            "M_USER_LOCKED" => "ask the homeserver's administrator to unlock the account",
            "M_USER_DEACTIVATED" => {
                "ask the homeserver's administrator whether the account can be activated again; with another account: `relay auth login --force`, also beside a running relay"
            }
            "M_MISSING_TOKEN" => {
                "something before the homeserver takes the login out of requests: check the proxy there"
            }
            errors::ENDED => {
                "`relay auth login --force --oauth`, also beside a running relay, makes a new login"
            }
            _ if self.refusal.keeps_device => {
                "set `matrix.password` and `matrix.bot_user_id`, with which the relay logs in again as the same device at its next start; or run `relay auth login --force`, also beside a running relay, which makes a new device"
            }
            _ => {
                "wait if the homeserver is being restarted, repaired or restored; only if the device was signed out for good run `relay auth login --force`, also beside a running relay, which makes a new device"
            }
        };
        Some(cure.to_owned())
    }
}

#[cfg(test)]
pub(super) mod test_session {
    use matrix_sdk::ruma::{owned_device_id, owned_user_id};

    use super::*;

    /// A session on a server of no interest.
    pub(crate) fn session() -> StoredSession {
        StoredSession {
            homeserver: Url::parse("https://example.org").unwrap(),
            user_id: owned_user_id!("@relay:example.org"),
            device_id: owned_device_id!("DEVICE"),
            tokens: SessionTokens {
                access_token: "syt_secret".to_owned(),
                refresh_token: None,
            },
            login: LoginMethod::Password,
            configured: None,
            allow_http: false,
            recovery_key_file: None,
            key_backup: BackupUse::Unknown,
            oauth: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::{owned_device_id, owned_user_id};

    use super::*;

    #[test]
    fn a_cure_holds_whether_a_relay_runs_or_not_and_the_relays_hint_says_what_it_does_itself() {
        for errcode in [
            "M_UNKNOWN_TOKEN",
            "M_USER_LOCKED",
            "M_USER_DEACTIVATED",
            "M_MISSING_TOKEN",
        ] {
            let refused = RefusedLogin {
                user: owned_user_id!("@relay:example.org"),
                device: owned_device_id!("DEVICE"),
                refusal: LoginRefusal {
                    errcode: errcode.to_owned(),
                    keeps_device: false,
                    message: "so it is".to_owned(),
                },
            };
            let cure = refused.hint().unwrap();
            let hint = MatrixError::SessionDead(Box::new(refused)).hint().unwrap();
            for words in ["asks again", "by itself", "`relay auth status`"] {
                assert!(!cure.contains(words), "{cure}");
            }
            let (does, rest) = hint.split_once(": ").unwrap();
            assert!(does.contains("goes on by itself"), "{hint}");
            assert_eq!(rest, cure);
        }
    }

    #[test]
    fn a_login_that_is_too_old_to_be_renewed_is_cured_without_another_device() {
        let refusal = LoginRefusal {
            errcode: "M_FORBIDDEN".to_owned(),
            keeps_device: true,
            message: "the refresh token has expired".to_owned(),
        };
        let refused = test_session::session().refused(refusal);
        let hint = refused.hint().unwrap();
        assert!(hint.contains("as the same device"), "{hint}");
    }

    #[test]
    fn a_login_is_another_accounts_or_devices_by_what_the_homeserver_says() {
        let whoami = |user: &str, device: Option<&str>| {
            let answer = serde_json::json!({"user_id": user, "device_id": device});
            test_session::session().is_anothers(&answer)
        };
        assert_eq!(whoami("@relay:example.org", Some("DEVICE")), None);
        assert_eq!(whoami("@relay:example.org", None), None);
        for (user, device) in [
            ("@bob:example.org", "DEVICE"),
            ("@relay:example.org", "OTHER"),
        ] {
            let told = whoami(user, Some(device)).unwrap();
            assert!(
                told.contains(user) && told.ends_with(&format!("(device {device})")),
                "{told}"
            );
        }
    }

    #[test]
    fn a_session_of_an_earlier_version_loads() {
        let text = r#"{"homeserver": "https://example.org", "user_id": "@relay:example.org", "device_id": "DEVICE",
            "access_token": "syt_secret", "login": "password"}"#;
        let session: StoredSession = serde_json::from_str(text).unwrap();
        assert_eq!(session, test_session::session());
        assert!(!format!("{session:?}").contains("syt_secret"));
    }
}
