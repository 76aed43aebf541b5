//! Verification by emoji (`m.sas.v1`): with another user, or with another device of the bot's own account.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, StreamExt as _};
use matrix_sdk::Client;
use matrix_sdk::encryption::verification::{
    CancelInfo, SasState, SasVerification, VerificationRequest, VerificationRequestState,
};
use matrix_sdk::event_handler::EventHandlerDropGuard;
use matrix_sdk::ruma::events::key::verification::VerificationMethod;
use matrix_sdk::ruma::events::key::verification::request::ToDeviceKeyVerificationRequestEvent;
use matrix_sdk::ruma::events::room::message::{MessageType, OriginalSyncRoomMessageEvent};
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::errors::sentence;

/// Maximum time of a verification; clients give up after ten minutes.
const LIMIT: Duration = Duration::from_mins(10);
/// Maximum number of verifications that run at a time, and of requests that wait: anybody can send one.
const MOST: usize = 4;

/// What both sides compare: seven emoji, each with its English name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emoji(Vec<(&'static str, &'static str)>);

impl fmt::Display for Emoji {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (symbol, name)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{symbol} {name}")?;
        }
        Ok(())
    }
}

/// The other side of a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The user; the bot itself if another device of its account is verified.
    pub user: OwnedUserId,
    /// The device that takes part.
    pub device: OwnedDeviceId,
}

/// How a verification ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// Both sides have confirmed.
    Yes(Peer),
    /// The emoji differ, so somebody may be between the two: nobody is verified.
    Differ(Peer),
    /// It was cancelled by the other side or by a limit of time; the reason.
    No(String),
}

/// Requests for verification as they arrive, until dropped.
pub(super) struct Requests {
    arrived: mpsc::Receiver<(OwnedUserId, String)>,
    client: Client,
    _handlers: [EventHandlerDropGuard; 2],
}

impl Requests {
    /// Listens to the syncs of this client.
    pub(super) fn of(client: &Client) -> Self {
        let (sender, arrived) = mpsc::channel(MOST);
        let in_room = sender.clone();
        let handlers = [
            client.add_event_handler(move |event: ToDeviceKeyVerificationRequestEvent| {
                // What does not fit is too much at a time; people ask again.
                drop(sender.try_send((event.sender, event.content.transaction_id.to_string())));
                async {}
            }),
            client.add_event_handler(move |event: OriginalSyncRoomMessageEvent| {
                if let MessageType::VerificationRequest(_) = event.content.msgtype {
                    drop(in_room.try_send((event.sender, event.event_id.to_string())));
                }
                async {}
            }),
        ];
        Self {
            arrived,
            client: client.clone(),
            _handlers: handlers.map(|handler| client.event_handler_drop_guard(handler)),
        }
    }

    /// Returns the next request of somebody who `may` ask. Cancel safe.
    pub(super) async fn next(&mut self, may: impl Fn(&OwnedUserId) -> bool) -> VerificationRequest {
        while let Some((user, flow)) = self.arrived.recv().await {
            let encryption = self.client.encryption();
            let request = encryption.get_verification_request(&user, &flow).await;
            let Some(request) = request.filter(|it| !it.we_started()) else {
                continue;
            };
            if may(&user) {
                return request;
            }
            // Anybody can ask.
            debug!(%user, "a request for verification is not answered; `matrix.verify_with` lists whose are");
        }
        pending().await
    }
}

/// Accepts verifications from these users, and takes for granted that the emoji are the same: people compare them with the
/// log. Not from the account's other devices: one that is verified is given the account's keys, so a person has to compare.
/// Never returns.
pub(super) async fn accept_from(client: &Client, users: &[OwnedUserId]) -> Infallible {
    if users.is_empty() {
        return pending().await;
    }
    let own = client.user_id();
    let mut requests = Requests::of(client);
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            request = requests.next(|user| users.contains(user) && Some(&**user) != own), if running.len() < MOST => {
                running.push(Box::pin(accept(request)));
            }
            Some(()) = running.next() => {}
        }
    }
}

async fn accept(request: VerificationRequest) {
    let user = request.other_user_id().to_owned();
    info!(%user, "asked for verification; the emoji follow");
    let logged = async |peer: &Peer, emoji: &Emoji| {
        info!(user = %peer.user, device = %peer.device, %emoji, "verification: the other side must show the same emoji");
        true
    };
    match carry_out(&request, logged).await {
        Ok(Verified::Yes(peer)) => {
            info!(user = %peer.user, device = %peer.device, "verified: the other side has confirmed the emoji");
        }
        Ok(Verified::Differ(peer)) => {
            warn!(user = %peer.user, device = %peer.device, "not verified: the other side shows other emoji");
        }
        Ok(Verified::No(reason)) => warn!(%user, reason, "the verification came to no end"),
        Err(error) => warn!(%user, error = sentence(&error), "the verification failed"),
    }
}

/// Runs a verification to its end, at most ten minutes. `same` tells whether the other side shows the same emoji. If dropped,
/// the other side waits until its own limit.
pub(super) async fn carry_out(
    request: &VerificationRequest,
    same: impl AsyncFnOnce(&Peer, &Emoji) -> bool,
) -> matrix_sdk::Result<Verified> {
    if let Ok(ended) = timeout(LIMIT, run(request, same)).await {
        return ended;
    }
    request.cancel().await?;
    Ok(Verified::No("it took more than ten minutes".to_owned()))
}

async fn run(
    request: &VerificationRequest,
    same: impl AsyncFnOnce(&Peer, &Emoji) -> bool,
) -> matrix_sdk::Result<Verified> {
    match agreed(request).await? {
        Ok(sas) => compare(&sas, same).await,
        Err(reason) => Ok(Verified::No(reason)),
    }
}

/// Waits until both sides have agreed to compare emoji; returns why they have not.
async fn agreed(
    request: &VerificationRequest,
) -> matrix_sdk::Result<Result<SasVerification, String>> {
    // Subscribed before the state is read: nothing is missed in between.
    let changes = request.changes();
    if !request.we_started() {
        request
            .accept_with_methods(vec![VerificationMethod::SasV1])
            .await?;
    }
    let mut states = stream::iter([request.state()]).chain(changes);
    while let Some(state) = states.next().await {
        match state {
            VerificationRequestState::Ready { .. } if request.we_started() => {
                if let Some(sas) = request.start_sas().await? {
                    return Ok(Ok(sas));
                }
            }
            VerificationRequestState::Transitioned { verification, .. } => {
                return Ok(match verification.sas() {
                    Some(sas) => Ok(sas),
                    None => Err("the other side wants another way than emoji".to_owned()),
                });
            }
            VerificationRequestState::Cancelled(info) => return Ok(Err(reason(&info))),
            VerificationRequestState::Done
            | VerificationRequestState::Created { .. }
            | VerificationRequestState::Requested { .. }
            | VerificationRequestState::Ready { .. } => {}
        }
    }
    Ok(Err("the verification ended".to_owned()))
}

async fn compare(
    sas: &SasVerification,
    same: impl AsyncFnOnce(&Peer, &Emoji) -> bool,
) -> matrix_sdk::Result<Verified> {
    let peer = Peer {
        user: sas.other_user_id().to_owned(),
        device: sas.other_device().device_id().to_owned(),
    };
    let mut same = Some(same);
    let changes = sas.changes();
    let mut states = stream::iter([sas.state()]).chain(changes);
    while let Some(state) = states.next().await {
        match state {
            SasState::Started { .. } => sas.accept().await?,
            SasState::KeysExchanged { emojis, .. } => {
                let Some(emojis) = emojis else {
                    sas.cancel().await?;
                    let reason = "the other side shows numbers instead of emoji";
                    return Ok(Verified::No(reason.to_owned()));
                };
                let emojis = emojis.emojis.iter();
                let emoji = Emoji(emojis.map(|it| (it.symbol, it.description)).collect());
                if let Some(same) = same.take() {
                    if same(&peer, &emoji).await {
                        sas.confirm().await?;
                    } else {
                        sas.mismatch().await?;
                        return Ok(Verified::Differ(peer));
                    }
                }
            }
            SasState::Done { .. } => return Ok(Verified::Yes(peer)),
            SasState::Cancelled(info) if is_mismatch(&info) => return Ok(Verified::Differ(peer)),
            SasState::Cancelled(info) => return Ok(Verified::No(reason(&info))),
            SasState::Created { .. } | SasState::Accepted { .. } | SasState::Confirmed => {}
        }
    }
    Ok(Verified::No("the verification ended".to_owned()))
}

fn is_mismatch(info: &CancelInfo) -> bool {
    use matrix_sdk::ruma::events::key::verification::cancel::CancelCode;
    *info.cancel_code() == CancelCode::MismatchedSas
}

fn reason(info: &CancelInfo) -> String {
    let who = if info.cancelled_by_us() {
        "cancelled here"
    } else {
        "cancelled by the other side"
    };
    format!("{who}: {}", info.reason())
}
