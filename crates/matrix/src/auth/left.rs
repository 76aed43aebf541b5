//! The account's identity as an earlier login has left it here: its private keys are in that login's store. A new device that
//! takes the place of one that the homeserver has deleted is signed with them, without the recovery key.

use matrix_sdk::Client;
use matrix_sdk::ruma::{OwnedUserId, UserId};
use matrix_sdk_base::crypto::types::SecretsBundle;

use super::Files;
use super::seeds::{self, NotKept, Seeds};
use crate::client;

/// The private keys of an account's identity, and of its key backup if they were there.
pub struct LeftIdentity {
    user: OwnedUserId,
    bundle: SecretsBundle,
}

impl LeftIdentity {
    /// Returns what the login in `files` has; `None` if it has no identity, or not the whole one, or its store cannot be read.
    ///
    /// The caller holds the store lock.
    pub async fn of(files: &Files) -> Option<Self> {
        let session = files.load_session().ok().flatten()?;
        Some(Self {
            bundle: client::secrets_of(files, &session).await?,
            user: session.user_id,
        })
    }
}

/// Signs the device with the identity that an earlier login of this user has left, if it is still
/// that of the account.
pub(super) async fn take_over(
    client: &Client,
    user: &UserId,
    left: &LeftIdentity,
) -> Result<(), NotKept> {
    let keys = &left.bundle.cross_signing;
    let seeds = Seeds::of(&left.user, &keys.master_key, &keys.self_signing_key);
    let published = seeds::published(client, user).await?;
    if left.user != user || !seeds.is_some_and(|seeds| seeds.make(&published)) {
        let what = "the account's identity was replaced since the earlier login";
        return Err(NotKept::Other(what.to_owned()));
    }
    seeds::import(client, &left.bundle).await
}
