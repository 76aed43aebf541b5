//! Gives a new device its standing: signed by its owner, and with a backup of the keys of what was said. An identity
//! that other people have verified is never replaced without being told to.

use std::fmt;
use std::io;

use futures_util::future::BoxFuture;
use matrix_sdk::Client;
use matrix_sdk::encryption::CrossSigningResetAuthType;
use matrix_sdk::encryption::recovery::RecoveryError;
use matrix_sdk::encryption::secret_storage::SecretStorageError;
use matrix_sdk::ruma::OwnedUserId;
use matrix_sdk::ruma::api::client::uiaa::{AuthData, Password, UiaaInfo, UserIdentifier};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::DeviceTrust;
use super::auth::AuthError;
use super::client::device_trust;
use super::errors::{self, sentence};
use relay_config::Secret;

/// A person mistypes a key of 48 characters now and then.
const MOST_ASKED: usize = 3;

/// Asks a person for the recovery key; the argument tells whether one was wrong. `None`: there is none. An error: nobody
/// can answer any more, which ends the login.
pub type AskForKey =
    Box<dyn Fn(bool) -> BoxFuture<'static, io::Result<Option<Secret<String>>>> + Send + Sync>;

/// How to become the owner of an identity that an earlier login made.
#[derive(strum::IntoStaticStr)]
pub enum Unlock {
    /// Not at all: then the device stays unverified.
    Nothing,
    /// With the account's recovery key.
    Key(Secret<String>),
    /// With a recovery key that a person may type.
    Ask(AskForKey),
    /// By a new identity in its place; everybody has to verify the account again.
    Reset,
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.into())
    }
}

/// Whose the account's cross-signing identity is after a login.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    #[default]
    Missing,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Standing {
    /// Whose the identity is.
    pub identity: Identity,
    /// How other people's clients show the device.
    pub trust: DeviceTrust,
    /// The keys of what is said are backed up on the server.
    pub backup: bool,
    /// The new recovery key, if one was made.
    pub recovery_key: Option<Secret<String>>,
    /// What went wrong; the login stands all the same.
    pub problems: Vec<Problem>,
}

/// Something that went wrong with a device's standing.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// What, in a sentence.
    pub what: String,
    /// The cure, where one is known.
    pub hint: Option<String>,
}

impl From<String> for Problem {
    fn from(what: String) -> Self {
        Self { what, hint: None }
    }
}

pub(super) struct Security<'a> {
    pub(super) user: OwnedUserId,
    /// The account's password. Without it this works where the account has no identity yet and the server asks for no
    /// proof.
    pub(super) password: Option<&'a Secret<String>>,
    /// What to do about an identity that an earlier login made.
    pub(super) unlock: &'a Unlock,
    /// An earlier login gets lost for this one: then it does not end in less than was asked for.
    pub(super) is_exchange: bool,
    /// Ends it, as long as the account's identity is not being changed.
    pub(super) stop: CancellationToken,
}

impl Security<'_> {
    /// Returns the proof that the server wants, if we have the password.
    fn proof(&self, wanted: &UiaaInfo) -> Option<AuthData> {
        let user = UserIdentifier::from(&self.user);
        let mut proof = Password::new(user, self.password?.reveal().to_owned());
        proof.session.clone_from(&wanted.session);
        Some(AuthData::Password(proof))
    }
}

/// Why the device got no standing.
enum Trouble {
    /// The server did not answer, or not now.
    NoAnswer(String),
    /// The recovery key is another one's.
    WrongKey(String),
    /// The server said no.
    Refused(String),
    /// The server wants the reset of the identity to be approved there.
    Unapproved(Url),
    /// Somebody wants it to end.
    Interrupted,
}

impl From<matrix_sdk::Error> for Trouble {
    fn from(error: matrix_sdk::Error) -> Self {
        let answer = errors::http(&error).and_then(errors::ServerAnswer::of);
        let is_answered = error.as_uiaa_response().is_some()
            || answer.is_some_and(|answer| answer.status < 500 && answer.status != 429);
        match error {
            matrix_sdk::Error::Http(_) if !is_answered => Self::NoAnswer(sentence(&error)),
            _ => Self::Refused(sentence(&error)),
        }
    }
}

impl From<RecoveryError> for Trouble {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Sdk(cause)
            | RecoveryError::SecretStorage(SecretStorageError::Sdk(cause)) => cause.into(),
            other => Self::Refused(sentence(&other)),
        }
    }
}

/// Signs the device with the account's identity, and turns on key backup. Fails where it is interrupted, and in an exchange
/// where it is unfinished.
pub(super) async fn secure(
    client: &Client,
    security: &Security<'_>,
) -> Result<Standing, AuthError> {
    let mut standing = Standing::default();
    match take_identity(client, security, &mut standing).await {
        Ok(()) => {}
        Err(Trouble::Interrupted) => return Err(AuthError::Interrupted),
        Err(Trouble::NoAnswer(what) | Trouble::WrongKey(what)) if security.is_exchange => {
            return Err(AuthError::Unfinished(what));
        }
        Err(Trouble::NoAnswer(what) | Trouble::WrongKey(what) | Trouble::Refused(what)) => {
            let what = format!("cross-signing failed: {what}");
            standing.problems.push(what.into());
        }
        Err(Trouble::Unapproved(url)) => standing.problems.push(unapproved(&url)),
    }
    let encryption = client.encryption();
    if matches!(standing.identity, Identity::Created | Identity::Reset) {
        // From here on the account is another one than before: there is no way back, only through.
        match enable_backup(client, standing.identity).await {
            Ok(key) => standing.recovery_key = Some(Secret::new(key)),
            Err(error) => {
                let what = format!("key backup failed: {}", sentence(&error));
                standing.problems.push(what.into());
            }
        }
    } else if security.stop.is_cancelled() {
        return Err(AuthError::Interrupted);
    }
    standing.backup = encryption.backups().are_enabled().await;
    // Asks for our own device once more: the signature is on the server now.
    if let Err(error) = encryption.request_user_identity(&security.user).await {
        standing.problems.push(sentence(&error).into());
    }
    standing.trust = device_trust(client.clone()).await;
    Ok(standing)
}

async fn take_identity(
    client: &Client,
    security: &Security<'_>,
    standing: &mut Standing,
) -> Result<(), Trouble> {
    let encryption = client.encryption();
    let identity = encryption.request_user_identity(&security.user).await?;
    if security.stop.is_cancelled() {
        return Err(Trouble::Interrupted);
    }
    if identity.is_none() {
        create(client, security).await?;
        standing.identity = Identity::Created;
        return Ok(());
    }
    standing.identity = Identity::Foreign;
    match security.unlock {
        Unlock::Nothing => {}
        Unlock::Key(key) => {
            recover(client, key).await?;
            standing.identity = Identity::Recovered;
        }
        Unlock::Ask(ask) => {
            for tried in 0..MOST_ASKED {
                let key = security.stop.run_until_cancelled(ask(tried > 0)).await;
                let Some(Ok(key)) = key else {
                    return Err(Trouble::Interrupted);
                };
                let Some(key) = key else { break };
                match recover(client, &key).await {
                    Err(Trouble::WrongKey(_)) if tried + 1 < MOST_ASKED => {}
                    recovered => {
                        recovered?;
                        standing.identity = Identity::Recovered;
                        break;
                    }
                }
            }
        }
        Unlock::Reset => {
            reset(client, security).await?;
            standing.identity = Identity::Reset;
        }
    }
    Ok(())
}

async fn create(client: &Client, security: &Security<'_>) -> Result<(), matrix_sdk::Error> {
    let encryption = client.encryption();
    let Err(error) = encryption.bootstrap_cross_signing(None).await else {
        return Ok(());
    };
    let wanted = error.as_uiaa_response();
    let Some(proof) = wanted.and_then(|wanted| security.proof(wanted)) else {
        return Err(error);
    };
    encryption.bootstrap_cross_signing(Some(proof)).await
}

async fn recover(client: &Client, key: &Secret<String>) -> Result<(), Trouble> {
    let recovery = client.encryption().recovery();
    let recovered = recovery.recover_and_fix_backup(key.reveal().trim()).await;
    recovered.map_err(|error| match Trouble::from(error) {
        Trouble::Refused(what) => Trouble::WrongKey(format!(
            "the recovery key does not open this account's secrets ({what})"
        )),
        other => other,
    })
}

async fn reset(client: &Client, security: &Security<'_>) -> Result<(), Trouble> {
    let recovery = client.encryption().recovery();
    let Some(handle) = recovery.reset_identity().await? else {
        return Ok(());
    };
    match handle.auth_type() {
        CrossSigningResetAuthType::Uiaa(wanted) => {
            let proof = security.proof(wanted).ok_or_else(|| {
                Trouble::Refused("the server wants the password for it".to_owned())
            })?;
            Ok(handle.reset(Some(proof)).await?)
        }
        CrossSigningResetAuthType::OAuth(wanted) => {
            Err(Trouble::Unapproved(wanted.approval_url.clone()))
        }
    }
}

fn unapproved(url: &Url) -> Problem {
    Problem {
        what: "cross-signing failed: this server wants the reset to be approved in a browser first"
            .to_owned(),
        hint: Some(format!(
            "approve it at {url}, then run `relay auth login --force --reset-cross-signing`"
        )),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_reset_is_approved_and_what_follows_is_the_cure() {
        let url = Url::parse("https://account.example.org/reset").unwrap();
        let Problem { what, hint } = unapproved(&url);
        let hint = hint.unwrap();
        assert!(!what.contains("run") && !what.contains("://"), "{what}");
        // The login stands: without --force another is refused.
        for words in [url.as_str(), "--force --reset-cross-signing"] {
            assert!(hint.contains(words), "{hint}");
        }
    }
}
