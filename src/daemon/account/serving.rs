//! Runs an open session: the adapter, and what goes on beside it.

use std::error::Error;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::super::runtime_state::LoginState;
use super::super::{event_loop::Reload, ledger::Ledger};
use super::{Account, LOOK_EVERY, Served};
use relay_matrix::{DeviceTrust, Matrix, auth};
use relay_model::{Beginning, Chore, Event, Explained as _, OwnedUserId};
use relay_store::{
    avatars, gaps, known_rooms, mapped_rooms, message_map, single_values, undecryptable,
};

impl Account {
    /// Runs the adapter until it ends, or has to read other rooms, or in another way.
    pub(super) async fn serve(
        &self,
        matrix: Matrix,
        reloads: &mut mpsc::Receiver<Reload>,
        stop: &CancellationToken,
    ) -> Served {
        let session = &matrix.session;
        let (account, mut trust) = (session.user_id.clone(), matrix.trust());
        let login = LoginState {
            account: account.to_string(),
            device: session.device_id.to_string(),
            trust: trust.next().await.unwrap_or_default(),
        };
        self.pipeline.runtime_state.session(Ok(login.clone()));
        let verification = match login.trust {
            DeviceTrust::Verified => "verified by its owner",
            DeviceTrust::Unverified => "not verified: run `relay auth status`",
            DeviceTrust::Unknown => "not known yet",
        };
        if let Some(path) = session.recovery_key_left() {
            warn!(path = %path.display(), "the recovery key of the bot's account lies here: move it to a safe place");
        }
        info!(
            account = login.account,
            device = login.device,
            verification,
            "Matrix session open"
        );
        let this = matrix.beginning().await;
        let Some(start) = stop.run_until_cancelled(self.start(account, this)).await else {
            return Served::Stopped;
        };
        // Sends that were refused to an earlier session are retried. Nobody receives the event only when the relay ends.
        let try_again = Event::Chore(Chore::Login);
        drop(self.pipeline.events.send(try_again).await);
        let sender = matrix.sender();
        self.pipeline.sender.send_replace(Some(sender.clone()));
        let hands = &self.pipeline.runtime_state.hands;
        hands.session.send_replace(Some(matrix.hand()));
        let running = matrix.run(start, self.pipeline.batches.clone(), stop.clone());
        let beside =
            async { tokio::join!(self.part_with_others(), self.keep_showing(login, trust)) };
        let mut running = Box::pin(async {
            tokio::select! {
                result = running => result,
                ((), ()) = beside => Ok(()),
            }
        });
        let served = loop {
            tokio::select! {
                result = &mut running => break result.map_or_else(Served::Failed, |()| Served::Stopped),
                Some(reload) = reloads.recv() => {
                    if !self.reads_the_same(&reload.config) {
                        break Served::Until(reload);
                    }
                    stop.run_until_cancelled(self.pass_on(reload)).await;
                }
            }
        };
        // What was not committed is read again.
        drop(running);
        hands.session.send_replace(None);
        if !stop.is_cancelled() {
            self.pipeline.sender.send_replace(None);
        }
        if let Served::Until(_) = served {
            info!("the Matrix session is opened anew, for other rooms or settings");
            stop.run_until_cancelled(sender.close()).await;
        }
        served
    }

    /// Reads the account's sync position, or where its first run began, which may be `this` one; retries until the
    /// database can be read.
    async fn start(&self, account: OwnedUserId, this: Beginning) -> relay_matrix::Start {
        loop {
            let (account, ledger) = (account.clone(), Arc::clone(&self.pipeline.ledger));
            let this = this.clone();
            let start = self.pipeline.database.run(move |store| {
                Ledger::transaction(&ledger, store, |ledger, tx| {
                    let first = if single_values::has_synced(tx, &account)? {
                        None
                    } else {
                        Some(single_values::beginning(tx, &account, this)?)
                    };
                    // What was there before the account was may be unknown to its homeserver, and is after its database was put
                    // back.
                    let landmarks = match single_values::began(tx, &account)? {
                        Some(began) if first.is_none() => {
                            let after = single_values::measured_after(tx, &account)?;
                            message_map::confirmed(tx, began, after)?
                        }
                        Some(_) | None => Vec::new(),
                    };
                    let start = relay_matrix::Start {
                        position: single_values::sync_position(tx, &account)?,
                        first,
                        known: known_rooms::all(tx)?,
                        knows_all: known_rooms::are_readable(tx)?,
                        former: mapped_rooms::all(tx)?,
                        gaps: gaps::all(tx, &account)?,
                        kept: undecryptable::waiting(tx)?,
                        landmarks,
                        read_until: single_values::read_until(tx, &account)?,
                        clock: single_values::server_clock(tx)?,
                        avatars: avatars::all(tx, &account)?,
                    };
                    ledger.bridge.remember_own_user(account);
                    Ok(start)
                })
            });
            match start.await {
                Ok(start) => return start,
                Err(error) => error!(
                    error = &error as &dyn Error,
                    hint = error.hint(),
                    "cannot read the sync position, trying again"
                ),
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Signs out the devices of incomplete logins.
    async fn part_with_others(&self) {
        let parted = auth::part_with_others(&self.files, None).await;
        let parted = parted.inspect_err(|error| {
            warn!(
                error = error as &dyn Error,
                hint = error.hint(),
                "cannot look for devices of logins that came to no end"
            );
        });
        for parted in parted.into_iter().flatten() {
            match parted.left {
                None => {
                    info!(device = %parted.device, "a device of an earlier login is signed out");
                }
                Some(left) => info!(
                    device = %parted.device, error = &left as &dyn Error,
                    "a device of an earlier login is still there: remove it with another client"
                ),
            }
        }
    }

    /// Updates the session whenever the device's trust changes: after a login it takes a while until the device is signed.
    /// Never returns.
    async fn keep_showing(
        &self,
        mut login: LoginState,
        mut trust: BoxStream<'static, DeviceTrust>,
    ) {
        while let Some(now) = trust.next().await {
            login.trust = now;
            self.pipeline.runtime_state.session(Ok(login.clone()));
        }
    }
}
