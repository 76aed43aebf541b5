//! Builds the parts, runs them, stops them. The only place that knows all of them.

mod account;
mod account_limit;
mod backoff;
mod event_loop;
mod facts;
mod feedback_worker;
mod ledger;
mod mesh_worker;
mod parts;
mod queues;
mod reports;
mod room_worker;
mod supervisor;
#[cfg(test)]
mod trial;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, Direction, Invites, Recipients};
use crate::home::{Home, Lock};
use crate::matrix;
use crate::model::{
    Clock, EventId, RoomContent, RoomOrAliasId, RoomOutcome, Timestamp, TransactionId,
};
use crate::radio::RadioOptions;
use crate::store::{self, Database, Store};

use account::{Account, FirstLogin};
use parts::{Found, Parts};
use room_worker::SendToRoom;
use supervisor::{End, Supervisor};

/// How long the database may take to close after everything else has ended.
const DATABASE_ENDS_WITHIN: Duration = Duration::from_secs(1);

/// Runs the daemon until it is told to stop.
///
/// # Errors
///
/// What keeps it from starting, with the cure.
pub async fn run(config: Config, home: Home) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    let start = clock.now();
    let lock = Lock::acquire(&home, start.into())?;
    let stop = CancellationToken::new();
    let signals = Signals::listen()?;
    let mut supervisor = Supervisor::new(stop.clone());
    info!(version = env!("CARGO_PKG_VERSION"), home = %home.path().display(), "relay starts");

    let place = home.database(&config.database.path, store::APPLICATION_ID);
    if let Some(warning) = place.warning {
        warn!("{warning}");
    }
    let mut store = Store::open(&place.path)?;
    let found =
        Found::in_store(&mut store, &config, start).context("the database cannot be read")?;
    let (database, database_end) = Database::start(store)?;

    say_rooms(&config);
    let radio = RadioOptions::new(&config.meshtastic)?;
    let parts = Parts::start(&mut supervisor, found, database, radio, clock, &stop);
    let account = Account {
        files: matrix::Files::new(home.matrix()),
        options: matrix_options(&config),
        login: FirstLogin::of(&config.matrix),
        lock,
        database: parts.database,
        ledger: parts.ledger,
        batches: parts.batches,
        sender: parts.sender,
    };
    let opened = account.open().await;
    supervisor.essential("matrix", account.run(opened, stop.clone()));

    tell_service_manager(NotifyState::Ready);
    info!("relay is ready");
    let end = tokio::select! {
        end = supervisor.run() => end,
        end = signals.obey(stop) => end,
    };
    if tokio::time::timeout(DATABASE_ENDS_WITHIN, database_end.wait())
        .await
        .is_err()
    {
        // A send that the server never answers holds it; nothing is written any more.
        warn!("the database is still in use: what was accepted is stored");
    }
    info!("relay ends");
    Ok(match end {
        End::Asked => ExitCode::SUCCESS,
        End::Failed => ExitCode::FAILURE,
    })
}

/// The first signal asks the daemon to stop, the second ends the process at once: what is accepted is stored.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    async fn obey(mut self, stop: CancellationToken) -> End {
        self.next().await;
        info!("asked to stop: waiting for what is in flight; a second signal ends at once");
        tell_service_manager(NotifyState::Stopping);
        stop.cancel();
        self.next().await;
        warn!("asked to stop again: ending at once");
        std::process::exit(1)
    }
}

fn tell_service_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot tell the service manager");
    }
}

/// One line for each mapped room.
fn say_rooms(config: &Config) {
    for mapped in &config.matrix_rooms {
        let direction = match mapped.direction {
            Direction::Both => "both ways",
            Direction::ToMatrix => "to Matrix",
            Direction::ToMesh => "to the mesh",
        };
        info!(room = %mapped.id, channel = %mapped.meshtastic_channel, direction, "mapped");
    }
}

fn matrix_options(config: &Config) -> matrix::Options {
    let mut rooms = Vec::new();
    for mapped in &config.matrix_rooms {
        if !rooms.contains(&mapped.id) {
            rooms.push(mapped.id.clone());
        }
    }
    matrix::Options {
        rooms,
        invites: match &config.matrix.invites {
            Invites::Mapped => matrix::Invites::Mapped,
            Invites::None => matrix::Invites::None,
            Invites::From(patterns) => {
                matrix::Invites::From(patterns.iter().map(ToString::to_string).collect())
            }
        },
        encryption: config.matrix.e2ee.enabled,
        verified_recipients_only: config.matrix.e2ee.recipients == Recipients::Verified,
    }
}

impl SendToRoom for matrix::Sender {
    async fn send(
        &self,
        room: &RoomOrAliasId,
        transaction: &TransactionId,
        content: &RoomContent,
        now: Timestamp,
    ) -> RoomOutcome {
        matrix::Sender::send(self, room, transaction, content, now).await
    }

    async fn mark_read(
        &self,
        room: &RoomOrAliasId,
        event: &EventId,
        thread: Option<&EventId>,
    ) -> RoomOutcome {
        matrix::Sender::mark_read(self, room, event, thread).await
    }
}
