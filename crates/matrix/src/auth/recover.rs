//! Recovers the account's identity in a login that works, whose device the owner has not signed.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::recovery::{Demand, Security};
use super::stand::sign;
use super::{AuthError, Files, KeyPlace, Login, Unlock};
use crate::client;
use relay_config::Recipients;

/// Unlocks the account's identity and its key backup, and signs the device of the current login with it. Device, keys and
/// position stay as they are.
///
/// The caller holds the store lock, so no daemon has the store open. Fails if the identity cannot be unlocked; then the
/// login is as it was. Not cancel safe: if dropped, the device may be signed without a record of its backup. After `stop`
/// it ends before the identity is unlocked, or not at all.
pub async fn recover(
    files: &Files,
    unlock: &Unlock,
    stop: &CancellationToken,
) -> Result<Login, AuthError> {
    let (client, mut session, _) = client::restore(files, Recipients::All, &Arc::default()).await?;
    let security = Security {
        person: None,
        user: session.user_id.clone(),
        password: None,
        unlock,
        demand: Demand::Recovered,
        stop: stop.clone(),
    };
    let encryption = client.encryption();
    encryption.wait_for_e2ee_initialization_tasks().await;
    // A recovered identity has a recovery key: no other is made.
    let place = KeyPlace::File(files.recovery_key());
    let signed = sign(files, &client, &mut session, &security, &place).await;
    client::close(&client).await;
    let standing = signed?;
    files.save_session(&session)?;
    Ok(Login {
        session,
        standing,
        parted: Vec::new(),
    })
}
