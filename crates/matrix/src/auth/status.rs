//! State of the session, as the server sees it.

use std::path::PathBuf;

use matrix_sdk::SessionTokens;
use matrix_sdk::reqwest::StatusCode;
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use url::Url;

use super::{AuthError, Files};
use crate::renewal;
use crate::server::{Server, ServerError};
use crate::session::{BackupUse, LoginMethod, StoredSession};
use crate::{MatrixError, client};
use relay_disk::Trouble;
use relay_model::{Timestamp, full_text};

/// State of the session, as the server sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoginStatus {
    /// The account that is logged in.
    pub user_id: OwnedUserId,
    /// The device that the login created.
    pub device_id: OwnedDeviceId,
    /// Base address of the homeserver's API.
    pub homeserver: Url,
    /// Whether the homeserver still accepts the session.
    pub token_alive: bool,
    /// Why the server does not accept the session, and what to do, the mildest cure first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The device is signed by its owner; `None` if the token is not accepted.
    pub device_verified: Option<bool>,
    /// The account's identity lacks a key, as MMRelay makes it.
    #[serde(skip)]
    pub identity_is_incomplete: bool,
    /// Whether this device uploads its keys to the account's backup.
    pub key_backup: KeyBackup,
    /// Whether the account has a backup; `None` if the token is not accepted.
    pub key_backup_on_server: Option<bool>,
    /// The file that still holds the recovery key.
    pub recovery_key_file: Option<PathBuf>,
    /// What is wrong with the device's keys on this machine, as returned by [`damage`].
    pub damage: Option<String>,
    /// How the login was made.
    pub login: LoginMethod,
    /// The login service that renews the login, and until when its access token is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_service: Option<LoginService>,
}

/// The login service of a login by OAuth 2.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoginService {
    /// As it calls itself.
    pub issuer: Url,
    /// Until when the access token is good, in milliseconds since 1970.
    pub expires_at: Option<Timestamp>,
}

impl LoginStatus {
    /// Notes what [`renew_expired`] has returned.
    #[must_use]
    pub fn refused_by_service(mut self, why: Option<String>) -> Self {
        if why.is_some() {
            self.token_alive = false;
            self.refused = why;
        }
        self
    }

    /// Returns whether the access token has to be renewed, which only a running relay does: until then nothing else is known.
    pub fn is_aged(&self) -> bool {
        self.token_alive && self.device_verified.is_none()
    }

    /// Returns the cure of a device that its owner has not signed.
    pub fn recovery(&self) -> &'static str {
        if self.identity_is_incomplete {
            KEEP
        } else {
            RECOVER
        }
    }
}

/// The cure of a device that its owner has not signed, or that does not use the account's backup.
pub const RECOVER: &str = "run `relay auth recover` with the account's recovery key; if nobody has it any more, \
                           `relay auth login --force --reset-cross-signing`";

/// The cure of a device where the account's identity is the one that MMRelay has made.
pub const KEEP: &str = "run `relay auth login --force --cross-signing-file FILE`, FILE being the one in `matrix/store` of \
                        MMRelay's home that ends in `_cross_signing.json`: the identity stays as it is. Without that file \
                        `relay auth login --force --reset-cross-signing` makes a new one: whoever has verified the bot is warned, \
                        and has to verify it again";

/// Whether the room keys of a device are backed up. An account can have a backup that this device does not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyBackup {
    /// The device uploads its keys to the account's backup.
    On,
    /// The account has a backup, but the device does not use it.
    Unused,
    /// The account has no backup, so keys are only on this machine.
    Off,
    /// The server did not answer, or the login predates the record of the backup.
    Unknown,
}

impl Serialize for KeyBackup {
    /// Serializes whether the keys are backed up; null if unknown.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::On => serializer.serialize_some(&true),
            Self::Unused | Self::Off => serializer.serialize_some(&false),
            Self::Unknown => serializer.serialize_none(),
        }
    }
}

/// Returns what is wrong with the keys of the session's device. Opens the store only if the caller holds its lock;
/// otherwise the daemon has it open, with the keys in it.
pub async fn damage(files: &Files, holds_store: bool) -> Result<Option<String>, AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    // It only looks: the next start puts the parts together.
    if files.is_on_the_way() {
        return Ok(None);
    }
    let keys = if holds_store {
        client::check_keys(files, &session).await
    } else {
        client::find_keys(files).map(drop).map_err(Into::into)
    };
    Ok(match keys {
        // A full disk says nothing about the keys.
        Err(MatrixError::Store(_, cause)) if Trouble::of(&*cause).is_some() => None,
        Err(error) => Some(full_text(&error)),
        Ok(()) => None,
    })
}

/// Asks the server for the state of the session. Never opens the store, so it works beside the daemon.
pub async fn status(files: &Files, damage: Option<String>) -> Result<LoginStatus, AuthError> {
    let session = files.load_session()?.ok_or(AuthError::NotLoggedIn)?;
    let server = session.server()?;
    let mut status = LoginStatus {
        user_id: session.user_id.clone(),
        device_id: session.device_id.clone(),
        homeserver: session.homeserver.clone(),
        token_alive: true,
        refused: None,
        device_verified: None,
        identity_is_incomplete: false,
        key_backup: KeyBackup::Unknown,
        key_backup_on_server: None,
        recovery_key_file: session.recovery_key_left().map(ToOwned::to_owned),
        damage,
        login: session.login,
        login_service: session.oauth.as_ref().map(|oauth| LoginService {
            issuer: oauth.issuer.clone(),
            expires_at: oauth.expires_at,
        }),
    };
    match server.whoami().await {
        Ok(answer) => {
            if let Some(whose) = session.is_anothers(&answer) {
                status.token_alive = false;
                status.refused = Some(format!(
                    "{whose}; log in anew with `relay auth login --force`"
                ));
                return Ok(status);
            }
        }
        // The daemon renews an expired token; without a refresh token the session is dead.
        Err(ServerError::Refused { errcode, body, .. })
            if session.tokens.refresh_token.is_some()
                && errcode == "M_UNKNOWN_TOKEN"
                && (body["soft_logout"] == true || session.oauth.is_some()) =>
        {
            return Ok(status);
        }
        Err(error) => match session.verdict(error) {
            MatrixError::SessionDead(refused) => {
                status.token_alive = false;
                // Here it is unknown whether a running relay will ask again.
                status.refused = Some(full_text(&*refused));
                return Ok(status);
            }
            other => return Err(other.into()),
        },
    }
    let keys = server.device_keys(&session.user_id, &session.device_id);
    let keys = keys.await?;
    status.device_verified = Some(is_signed(&keys, &session));
    status.identity_is_incomplete = is_incomplete(&keys, &session);
    let version = backup_version(&server).await?;
    status.key_backup = use_of(version.as_deref(), &session);
    status.key_backup_on_server = Some(version.is_some());
    Ok(status)
}

/// Asks the homeserver whether it accepts the session in `files`, renewing an expired token. Fails with
/// [`MatrixError::SessionDead`] if the session is not accepted, and with another error if that is unknown.
pub async fn ask(files: &Files) -> Result<(), MatrixError> {
    let session = files.load_session()?.ok_or(MatrixError::NoSession)?;
    let Err(error) = session.server()?.whoami().await else {
        return Ok(());
    };
    if session.oauth.is_some() && error.errcode() == Some("M_UNKNOWN_TOKEN") {
        let renewed = renewal::renewed(&session).await;
        let renewed = renewed.map_err(|error| renewal::verdict(&session, error))?;
        // Another login may have replaced the session meanwhile.
        if files.load_session()?.as_ref() == Some(&session) {
            files.save_session(&renewed)?;
        }
        return Ok(());
    }
    match &session.tokens.refresh_token {
        Some(token) if error.errcode() == Some("M_UNKNOWN_TOKEN") => {
            renew(files, &session, token).await
        }
        Some(_) | None => Err(session.verdict(error)),
    }
}

/// Renews an access token of a login service that has expired. The caller holds the store lock, so no relay renews it. Returns
/// why the service does not renew the login any more, and the cure; whatever else is wrong shows when the login is used.
pub async fn renew_expired(files: &Files) -> Option<String> {
    let session = files.load_session().ok()??;
    let error = renewal::renew_expired(files).await.err()?;
    match renewal::verdict(&session, error) {
        MatrixError::SessionDead(refused) => Some(full_text(&*refused)),
        _ => None,
    }
}

/// Renews the access token, as the SDK does while its store is open.
async fn renew(files: &Files, session: &StoredSession, token: &str) -> Result<(), MatrixError> {
    let server = Server::at(session.homeserver.clone(), session.allow_http)?;
    let body = json!({"refresh_token": token});
    let answer = server.post(&["v3", "refresh"], &body).await;
    let answer = answer.map_err(|error| session.verdict(error))?;
    let Ok(tokens) = serde_json::from_value::<SessionTokens>(answer) else {
        return Err(server.not_matrix(StatusCode::OK).into());
    };
    // Another login may have replaced the session meanwhile.
    if files.load_session()?.as_ref() != Some(session) {
        return Ok(());
    }
    let mut renewed = session.clone();
    renewed.tokens.access_token = tokens.access_token;
    renewed.tokens.refresh_token = tokens.refresh_token.or(renewed.tokens.refresh_token);
    Ok(files.save_session(&renewed)?)
}

/// Returns whether the device's keys carry a signature of the account's self-signing key.
fn is_signed(keys: &Value, session: &StoredSession) -> bool {
    let user = session.user_id.as_str();
    let device = session.device_id.as_str();
    let signing = &keys["self_signing_keys"][user]["keys"];
    let signatures = &keys["device_keys"][user][device]["signatures"][user];
    match (signing.as_object(), signatures.as_object()) {
        (Some(signing), Some(signatures)) => signing.keys().any(|key| signatures.contains_key(key)),
        (_, _) => false,
    }
}

/// Returns whether the account has an identity without a user-signing key.
fn is_incomplete(keys: &Value, session: &StoredSession) -> bool {
    let user = session.user_id.as_str();
    keys["master_keys"][user].is_object() && !keys["user_signing_keys"][user].is_object()
}

/// Returns how the session's device uses the account's backup.
pub(super) fn use_of(on_server: Option<&str>, session: &StoredSession) -> KeyBackup {
    match (on_server, &session.key_backup) {
        (None, _) => KeyBackup::Off,
        (Some(_), BackupUse::Unknown) => KeyBackup::Unknown,
        (Some(version), BackupUse::Version(used)) if version == used => KeyBackup::On,
        // Or another backup has replaced the one that we used.
        (Some(_), BackupUse::None | BackupUse::Version(_)) => KeyBackup::Unused,
    }
}

pub(super) async fn backup_version(server: &Server) -> Result<Option<String>, ServerError> {
    match server.get(&["v3", "room_keys", "version"]).await {
        Ok(backup) => Ok(backup["version"].as_str().map(str::to_owned)),
        Err(error) if error.errcode() == Some("M_NOT_FOUND") => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::test_session::session;

    #[test]
    fn key_backup_is_on_only_where_this_device_uses_the_accounts_backup() {
        let used = |version: &str| BackupUse::Version(version.to_owned());
        for (on_server, ours, expected) in [
            (Some("2"), used("2"), KeyBackup::On),
            (Some("3"), used("2"), KeyBackup::Unused),
            (Some("2"), BackupUse::None, KeyBackup::Unused),
            (Some("2"), BackupUse::Unknown, KeyBackup::Unknown),
            (None, used("2"), KeyBackup::Off),
            (None, BackupUse::Unknown, KeyBackup::Off),
        ] {
            let session = StoredSession {
                key_backup: ours.clone(),
                ..session()
            };
            let found = use_of(on_server, &session);
            assert_eq!(found, expected, "{on_server:?} {ours:?}");
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

    #[test]
    fn an_identity_without_a_user_signing_key_is_told_from_a_whole_one_and_from_none() {
        let user = "@relay:example.org";
        let mut keys = json!({"master_keys": {user: {"keys": {}}}, "user_signing_keys": {}});
        assert!(is_incomplete(&keys, &session()));
        keys["user_signing_keys"] = json!({user: {"keys": {}}});
        assert!(!is_incomplete(&keys, &session()));
        assert!(!is_incomplete(&json!({"master_keys": {}}), &session()));
    }
}
