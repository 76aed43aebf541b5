//! Gives a new device its standing: signed by its owner, and with a backup of the keys of what was said. An identity
//! that other people have verified is never replaced without being told to.

use std::fmt;

use matrix_sdk::Client;
use matrix_sdk::encryption::CrossSigningResetAuthType;
use matrix_sdk::encryption::recovery::RecoveryError;
use matrix_sdk::ruma::OwnedUserId;
use matrix_sdk::ruma::api::client::uiaa::{AuthData, Password, UserIdentifier};

use super::errors::sentence;
use super::{DeviceTrust, verification};
use crate::config::Secret;

/// A person mistypes a key of 48 characters now and then.
const MOST_ASKED: usize = 3;

/// How to become the owner of an identity that an earlier login made.
pub enum Unlock {
    /// Not at all: then the device stays unverified.
    Nothing,
    /// With the account's recovery key.
    Key(Secret<String>),
    /// With a recovery key that a person may type; the argument tells whether one was wrong.
    Ask(Box<dyn Fn(bool) -> Option<Secret<String>> + Send + Sync>),
    /// By a new identity in its place; everybody has to verify the account again.
    Reset,
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Key(_) => "Key(…)",
            Self::Ask(_) => "Ask",
            Self::Reset => "Reset",
        })
    }
}

/// Whose the account's cross-signing identity is after a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// This login made it.
    Created,
    /// An earlier login's, unlocked with the recovery key.
    Recovered,
    /// This login put it in the place of an earlier one.
    Reset,
    /// An earlier login's, still locked: other clients show the device as unverified.
    Foreign,
    /// None, because the server did not take ours.
    Missing,
}

/// What came of it.
#[derive(Debug)]
pub struct Standing {
    /// Whose the identity is.
    pub identity: Identity,
    /// How other people's clients show the device.
    pub trust: DeviceTrust,
    /// The keys of what is said are backed up on the server.
    pub backup: bool,
    /// The new recovery key, if one was made.
    pub recovery_key: Option<Secret<String>>,
    /// What went wrong, in sentences; the login stands all the same.
    pub problems: Vec<String>,
}

/// Signs the device with the account's identity, and turns on key backup. Without a password this works where the
/// account has no identity yet and the server asks for no proof.
pub(super) async fn secure(
    client: &Client,
    user: &OwnedUserId,
    password: Option<&Secret<String>>,
    unlock: &Unlock,
) -> Standing {
    let mut standing = Standing {
        identity: Identity::Missing,
        trust: DeviceTrust::Unknown,
        backup: false,
        recovery_key: None,
        problems: Vec::new(),
    };
    if let Err(error) = take_identity(client, user, password, unlock, &mut standing).await {
        let text = sentence(error.as_ref());
        standing
            .problems
            .push(format!("cross-signing failed: {text}"));
    }
    let encryption = client.encryption();
    if matches!(standing.identity, Identity::Created | Identity::Reset) {
        match enable_backup(client, standing.identity).await {
            Ok(key) => standing.recovery_key = Some(Secret::new(key)),
            Err(error) => standing
                .problems
                .push(format!("key backup failed: {}", sentence(&error))),
        }
    }
    standing.backup = encryption.backups().are_enabled().await;
    // Asks for our own device once more: the signature is on the server now.
    if let Err(error) = encryption.request_user_identity(user).await {
        standing.problems.push(sentence(&error));
    }
    standing.trust = verification::device_trust(client).await;
    standing
}

type AnyError = Box<dyn std::error::Error + Send + std::marker::Sync>;

async fn take_identity(
    client: &Client,
    user: &OwnedUserId,
    password: Option<&Secret<String>>,
    unlock: &Unlock,
    standing: &mut Standing,
) -> Result<(), AnyError> {
    if client
        .encryption()
        .request_user_identity(user)
        .await?
        .is_none()
    {
        create(client, user, password).await?;
        standing.identity = Identity::Created;
        return Ok(());
    }
    standing.identity = Identity::Foreign;
    match unlock {
        Unlock::Nothing => {}
        Unlock::Key(key) => match recover(client, key).await {
            Ok(()) => standing.identity = Identity::Recovered,
            Err(error) => return Err(not_the_key(&error)),
        },
        Unlock::Ask(ask) => {
            for tried in 0..MOST_ASKED {
                let Some(key) = ask(tried > 0) else {
                    break;
                };
                match recover(client, &key).await {
                    Ok(()) => {
                        standing.identity = Identity::Recovered;
                        break;
                    }
                    Err(error) if tried + 1 == MOST_ASKED => return Err(not_the_key(&error)),
                    Err(_) => {}
                }
            }
        }
        Unlock::Reset => {
            reset(client, user, password).await?;
            standing.identity = Identity::Reset;
        }
    }
    Ok(())
}

async fn create(
    client: &Client,
    user: &OwnedUserId,
    password: Option<&Secret<String>>,
) -> Result<(), matrix_sdk::Error> {
    let encryption = client.encryption();
    let Err(error) = encryption.bootstrap_cross_signing(None).await else {
        return Ok(());
    };
    let (Some(wanted), Some(password)) = (error.as_uiaa_response(), password) else {
        return Err(error);
    };
    let proof = proof(user, password, wanted.session.clone());
    encryption.bootstrap_cross_signing(Some(proof)).await
}

async fn recover(client: &Client, key: &Secret<String>) -> Result<(), RecoveryError> {
    client
        .encryption()
        .recovery()
        .recover_and_fix_backup(key.reveal().trim())
        .await
}

fn not_the_key(error: &RecoveryError) -> AnyError {
    let cause = sentence(error);
    format!("the recovery key does not open this account's secrets ({cause})").into()
}

async fn reset(
    client: &Client,
    user: &OwnedUserId,
    password: Option<&Secret<String>>,
) -> Result<(), AnyError> {
    let Some(handle) = client.encryption().recovery().reset_identity().await? else {
        return Ok(());
    };
    match handle.auth_type() {
        CrossSigningResetAuthType::Uiaa(wanted) => {
            let password = password.ok_or("the server wants the password for it")?;
            let proof = proof(user, password, wanted.session.clone());
            handle.reset(Some(proof)).await?;
            Ok(())
        }
        CrossSigningResetAuthType::OAuth(wanted) => Err(format!(
            "this server wants the reset to be approved in a browser first, at {}; then run the command again",
            wanted.approval_url
        )
        .into()),
    }
}

async fn enable_backup(client: &Client, identity: Identity) -> Result<String, RecoveryError> {
    let recovery = client.encryption().recovery();
    match recovery.enable().await {
        // Below the backup that a reset deletes, an older one can lie.
        Err(RecoveryError::BackupExistsOnServer) if identity == Identity::Reset => {
            client.encryption().backups().create().await?;
            recovery.enable().await
        }
        other => other,
    }
}

fn proof(user: &OwnedUserId, password: &Secret<String>, session: Option<String>) -> AuthData {
    let mut proof = Password::new(UserIdentifier::from(user), password.reveal().to_owned());
    proof.session = session;
    AuthData::Password(proof)
}
