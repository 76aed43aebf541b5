//! Verification by emoji with a person at the terminal, while no daemon runs.

use std::sync::Arc;
use std::time::Duration;

use matrix_sdk::Client;
use matrix_sdk::encryption::verification::{VerificationRequest, VerificationRequestState};
use matrix_sdk::ruma::OwnedUserId;
use tokio::time::sleep;

use super::{AuthError, Files};
use crate::client::{self, device_trust};
use crate::errors::{self, LoginRefusal};
use crate::verification::{Emoji, Peer, Requests, Verified, carry_out};
use crate::{DeviceTrust, sync};
use relay_config::Recipients;

/// Maximum number of seconds until the other device's signature of ours has arrived.
const SIGNED_LIMIT: u32 = 20;
/// How long an idle sync is kept open by the server.
const LONG_POLL: Duration = Duration::from_secs(10);
/// Number of events of a room that a sync may hold: all those of one verification.
const TIMELINE: u32 = 20;

/// Who begins a verification.
#[derive(Debug)]
pub enum Begins {
    /// The first to ask whom the person at the terminal accepts: another device of the account, or one of these users, in a
    /// direct room.
    Other(Vec<OwnedUserId>),
    /// We ask this user, or, with the bot's own id, its other devices.
    Us(OwnedUserId),
}

/// Verifies by emoji: `wanted` tells whether to answer who asks, `same` whether the other side shows the same. Returns the
/// outcome, and how far others trust the device then.
///
/// The caller holds the store lock, so no daemon has the store open. Messages that arrive meanwhile are relayed by the next
/// start. If dropped, the other side waits until its own limit.
pub async fn verify(
    files: &Files,
    begins: &Begins,
    wanted: impl AsyncFn(&Peer) -> bool,
    same: impl AsyncFnOnce(&Peer, &Emoji) -> bool,
) -> Result<(Verified, DeviceTrust), AuthError> {
    let (client, session, _) = client::restore(files, Recipients::All, &Arc::default()).await?;
    let ended = tokio::select! {
        ended = Box::pin(with(&client, begins, wanted, same)) => ended,
        refusal = Box::pin(keep_synced(&client)) => Err(session.refused(refusal).into()),
    };
    client::close(&client).await;
    ended
}

async fn with(
    client: &Client,
    begins: &Begins,
    wanted: impl AsyncFn(&Peer) -> bool,
    same: impl AsyncFnOnce(&Peer, &Emoji) -> bool,
) -> Result<(Verified, DeviceTrust), AuthError> {
    let failed = |error: &matrix_sdk::Error| AuthError::NotVerified(errors::sentence(error));
    let mut requests = Requests::of(client);
    let request = match begins {
        Begins::Other(users) => loop {
            let may =
                |user: &OwnedUserId| users.contains(user) || Some(&**user) == client.user_id();
            let request = requests.next(may).await;
            // One that has been answered elsewhere names no device any more.
            let Some(peer) = asker(&request) else {
                continue;
            };
            if wanted(&peer).await {
                break request;
            }
            request.cancel().await.map_err(|error| failed(&error))?;
        },
        Begins::Us(user) => ask(client, user).await?,
    };
    let ended = carry_out(&request, same)
        .await
        .map_err(|error| failed(&error))?;
    let is_own = matches!(&ended, Verified::Yes(peer) if Some(&*peer.user) == client.user_id());
    for _ in 0..SIGNED_LIMIT {
        if !is_own || device_trust(client.clone()).await == DeviceTrust::Verified {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok((ended, device_trust(client.clone()).await))
}

/// Returns who asks.
fn asker(request: &VerificationRequest) -> Option<Peer> {
    let VerificationRequestState::Requested {
        other_device_data, ..
    } = request.state()
    else {
        return None;
    };
    Some(Peer {
        user: request.other_user_id().to_owned(),
        device: other_device_data.device_id().to_owned(),
    })
}

/// Asks a user, in a direct room that is made if there is none; or the other devices of the account.
async fn ask(client: &Client, user: &OwnedUserId) -> Result<VerificationRequest, AuthError> {
    let encryption = client.encryption();
    let identity = encryption.request_user_identity(user).await;
    let identity = identity.map_err(|error| AuthError::NotVerified(errors::sentence(&error)))?;
    let Some(identity) = identity else {
        return Err(AuthError::NotVerified(format!(
            "{user} has no cross-signing identity that could be verified"
        )));
    };
    let asked = identity.request_verification().await;
    asked.map_err(|error| AuthError::NotVerified(errors::sentence(&error)))
}

/// Syncs until the server refuses the login.
async fn keep_synced(client: &Client) -> LoginRefusal {
    loop {
        let settings = sync::settings(LONG_POLL, TIMELINE);
        let Err(error) = Box::pin(client.sync_once(settings)).await else {
            continue;
        };
        if let Some(refusal) = errors::refused_login(&error) {
            return refusal;
        }
        sleep(Duration::from_secs(1)).await;
    }
}
