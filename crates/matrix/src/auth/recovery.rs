//! Signs a new device with the account's identity, and sets up the backup of its room keys. An identity that others may
//! have verified is only replaced on request.

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

use super::super::errors::{self, sentence};
use super::super::{DeviceTrust, client::device_trust};
use super::AuthError;
use super::browser::{Person, Shown};
use super::left::{LeftIdentity, take_over};
use super::seeds::{self, NotKept, Seeds};
use relay_config::Secret;

/// Maximum number of attempts to type a recovery key of 48 characters.
const MOST_ASKED: usize = 3;

/// How often it is waited for an approval, two minutes each.
const APPROVAL_TRIES: u32 = 5;

/// Asks the user for the recovery key; the argument tells whether the previous one was wrong. `None`: there is no key.
/// An error ends the login: the user cannot answer any more.
pub type AskForKey =
    Box<dyn Fn(bool) -> BoxFuture<'static, io::Result<Option<Secret<String>>>> + Send + Sync>;

/// How to unlock an identity that the account already has.
#[derive(strum::IntoStaticStr)]
pub enum Unlock {
    /// Leave it locked: the device stays unverified.
    Nothing,
    /// Unlock it with the account's recovery key.
    Key(Secret<String>),
    /// With a recovery key that the user may type.
    Ask(AskForKey),
    /// With the seeds that MMRelay has kept of the identity that it made.
    Seeds(Seeds),
    /// With what the earlier login has left of it here.
    Left(LeftIdentity),
    /// By replacing it; everybody has to verify the account again.
    Reset,
}

impl fmt::Debug for Unlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.into())
    }
}

/// State of the account's cross-signing identity after a login.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Identity {
    /// There was none: this login has created it.
    Created,
    /// Created by an earlier login, unlocked with the recovery key.
    Recovered,
    /// Made by MMRelay: this login has completed it, and signs with it.
    Kept,
    /// There was one: this login has replaced it.
    Reset,
    /// Created by an earlier login, still locked: other clients show the device as unverified.
    Foreign,
    /// There is one without a user-signing key, as MMRelay makes it: no recovery key opens it.
    Incomplete,
    /// There is none: the homeserver did not accept the new one.
    #[default]
    Missing,
}

/// How far other clients trust a device after its login.
#[derive(Debug, Default)]
pub struct LoginTrust {
    /// What became of the account's cross-signing identity.
    pub identity: Identity,
    /// How other users' clients show the device.
    pub trust: DeviceTrust,
    /// Whether room keys are backed up on the homeserver.
    pub backup: bool,
    /// The new recovery key; `None` if none was made.
    pub recovery_key: Option<Secret<String>>,
    /// What did not succeed, though the login did.
    pub problems: Vec<Problem>,
}

/// A problem with the trust state of a device.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// What did not succeed, in a sentence.
    pub what: String,
    /// What a person can do about it; `None` if nothing is known to help.
    pub hint: Option<String>,
}

impl From<String> for Problem {
    fn from(what: String) -> Self {
        Self { what, hint: None }
    }
}

/// What an incomplete result of a login means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// The login counts all the same, and the result tells what is missing.
    Nothing,
    /// An earlier login would be replaced by a lesser one: an error.
    Whole,
    /// The account's own identity is to be unlocked, neither created nor replaced: everything else is an error.
    Recovered,
}

/// What is needed to sign a new device, and to change the account's identity if it has to be.
pub(super) struct Security<'a> {
    pub(super) user: OwnedUserId,
    /// The account's password. Without it, this works only if the account has no identity yet and the server requires
    /// no authentication.
    pub(super) password: Option<&'a Secret<String>>,
    /// What to do with an identity that the account has already.
    pub(super) unlock: &'a Unlock,
    /// What is incomplete is an error.
    pub(super) demand: Demand,
    /// Who can approve a change of the identity in a browser.
    pub(super) person: Option<&'a Person>,
    /// Cancels the login, except while the account's identity is being changed.
    pub(super) stop: CancellationToken,
}

impl Security<'_> {
    /// Returns the authentication that the server requires, if the password is known.
    fn proof(&self, wanted: &UiaaInfo) -> Option<AuthData> {
        let user = UserIdentifier::from(&self.user);
        let mut proof = Password::new(user, self.password?.reveal().to_owned());
        proof.session.clone_from(&wanted.session);
        Some(AuthData::Password(proof))
    }
}

/// Why a login could not sign its device.
enum Unsigned {
    /// The server did not answer, or asks for a pause.
    NoAnswer(String),
    /// The recovery key does not fit.
    WrongKey(String),
    /// The homeserver refused; its words.
    Refused(String),
    /// The server requires an approval of the identity's reset on its website.
    Unapproved(Url),
    /// The user interrupted the login.
    Interrupted,
    /// The identity was to be unlocked, and the account has none.
    NoIdentity,
    /// It was to be unlocked by a recovery key, and cannot have one.
    Incomplete,
}

impl From<matrix_sdk::Error> for Unsigned {
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

impl From<NotKept> for Unsigned {
    fn from(error: NotKept) -> Self {
        match error {
            NotKept::Other(what) => Self::WrongKey(what),
            NotKept::Request(error) => error.into(),
            NotKept::Refused(what) => Self::Refused(what),
        }
    }
}

impl From<RecoveryError> for Unsigned {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::Sdk(cause)
            | RecoveryError::SecretStorage(SecretStorageError::Sdk(cause)) => cause.into(),
            other => Self::Refused(sentence(&other)),
        }
    }
}

/// Signs the device with the account's identity, and enables key backup. Fails if interrupted; if an earlier login is
/// replaced, also if incomplete.
pub(super) async fn secure(
    client: &Client,
    security: &Security<'_>,
) -> Result<LoginTrust, AuthError> {
    let mut standing = LoginTrust::default();
    match take_identity(client, security, &mut standing).await {
        Ok(()) => {}
        Err(Unsigned::Interrupted) => return Err(AuthError::Interrupted),
        Err(Unsigned::NoIdentity) => return Err(AuthError::NoIdentity),
        Err(Unsigned::Incomplete) => return Err(AuthError::Incomplete),
        Err(Unsigned::NoAnswer(what)) if security.demand != Demand::Nothing => {
            return Err(AuthError::Unfinished(what));
        }
        Err(Unsigned::WrongKey(what)) if security.demand != Demand::Nothing => {
            return Err(AuthError::Locked(what));
        }
        Err(Unsigned::NoAnswer(what) | Unsigned::WrongKey(what) | Unsigned::Refused(what)) => {
            let what = format!("cross-signing failed: {what}");
            standing.problems.push(what.into());
        }
        Err(Unsigned::Unapproved(url)) => standing.problems.push(unapproved(&url)),
    }
    let is_recovered = matches!(standing.identity, Identity::Recovered | Identity::Kept);
    if security.demand == Demand::Recovered && !is_recovered {
        let what = standing.problems.pop().map(|problem| problem.what);
        return Err(match what {
            Some(what) => AuthError::Unfinished(what),
            None => AuthError::Locked("no recovery key was given".to_owned()),
        });
    }
    let encryption = client.encryption();
    if matches!(
        standing.identity,
        Identity::Created | Identity::Kept | Identity::Reset
    ) {
        // The account's identity has changed, so there is no way back: from here on `stop` is ignored.
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
    // Fetches our own device again, which is signed on the server by now.
    if let Err(error) = encryption.request_user_identity(&security.user).await {
        standing.problems.push(sentence(&error).into());
    }
    standing.trust = device_trust(client.clone()).await;
    Ok(standing)
}

async fn take_identity(
    client: &Client,
    security: &Security<'_>,
    standing: &mut LoginTrust,
) -> Result<(), Unsigned> {
    let encryption = client.encryption();
    let identity = encryption.request_user_identity(&security.user).await?;
    if security.stop.is_cancelled() {
        return Err(Unsigned::Interrupted);
    }
    // The SDK does not know an identity that is incomplete, and would replace it.
    let is_incomplete = identity.is_none() && {
        let published = seeds::published(client, &security.user).await?;
        published.master_keys.contains_key(&security.user)
    };
    if identity.is_none() && !is_incomplete {
        if security.demand == Demand::Recovered {
            return Err(Unsigned::NoIdentity);
        }
        create(client, security).await?;
        standing.identity = Identity::Created;
        return Ok(());
    }
    standing.identity = if is_incomplete {
        Identity::Incomplete
    } else {
        Identity::Foreign
    };
    match security.unlock {
        Unlock::Nothing => {}
        Unlock::Seeds(seeds) => {
            let proof = |wanted: &UiaaInfo| security.proof(wanted);
            seeds::keep(client, &security.user, seeds, proof).await?;
            standing.identity = Identity::Kept;
        }
        Unlock::Key(_) | Unlock::Ask(_) | Unlock::Left(_) if is_incomplete => {
            if security.demand == Demand::Recovered {
                return Err(Unsigned::Incomplete);
            }
        }
        Unlock::Left(left) => {
            take_over(client, &security.user, left).await?;
            standing.identity = Identity::Recovered;
        }
        Unlock::Key(key) => {
            recover(client, key).await?;
            standing.identity = Identity::Recovered;
        }
        Unlock::Ask(ask) => {
            for tried in 0..MOST_ASKED {
                let key = security.stop.run_until_cancelled(ask(tried > 0)).await;
                let Some(Ok(key)) = key else {
                    return Err(Unsigned::Interrupted);
                };
                let Some(key) = key else { break };
                match recover(client, &key).await {
                    Err(Unsigned::WrongKey(_)) if tried + 1 < MOST_ASKED => {}
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

async fn recover(client: &Client, key: &Secret<String>) -> Result<(), Unsigned> {
    let recovery = client.encryption().recovery();
    let recovered = recovery.recover_and_fix_backup(key.reveal().trim()).await;
    recovered.map_err(|error| match Unsigned::from(error) {
        Unsigned::Refused(what) => Unsigned::WrongKey(format!(
            "the recovery key does not open this account's secrets ({what})"
        )),
        other => other,
    })
}

async fn reset(client: &Client, security: &Security<'_>) -> Result<(), Unsigned> {
    let recovery = client.encryption().recovery();
    let Some(handle) = recovery.reset_identity().await? else {
        return Ok(());
    };
    match handle.auth_type() {
        CrossSigningResetAuthType::Uiaa(wanted) => {
            let proof = security.proof(wanted).ok_or_else(|| {
                Unsigned::Refused("the server wants the password for it".to_owned())
            })?;
            Ok(handle.reset(Some(proof)).await?)
        }
        CrossSigningResetAuthType::OAuth(wanted) => {
            let url = &wanted.approval_url;
            let Some(person) = security.person else {
                return Err(Unsigned::Unapproved(url.clone()));
            };
            (person.show)(&Shown::Approval { url });
            // The SDK asks again for two minutes.
            for _ in 0..APPROVAL_TRIES {
                let approved = security.stop.run_until_cancelled(handle.reset(None));
                match approved.await {
                    None => {
                        handle.cancel().await;
                        return Err(Unsigned::Interrupted);
                    }
                    Some(Err(RecoveryError::Sdk(matrix_sdk::Error::Timeout))) => {}
                    Some(done) => return Ok(done?),
                }
            }
            Err(Unsigned::Unapproved(url.clone()))
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
        // A reset deletes the current backup, and an older one may appear.
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
        // The login is valid: without `--force` another one is refused.
        for words in [url.as_str(), "--force --reset-cross-signing"] {
            assert!(hint.contains(words), "{hint}");
        }
    }
}
