//! Builds the parts, runs them, stops them. The only place that knows all of them.

mod account;
mod backoff;
mod event_loop;
mod facts;
mod ledger;
mod mesh_worker;
mod queues;
mod reports;
mod room_worker;
mod supervisor;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{Config, Direction, Invites, Recipients};
use crate::home::{Home, Lock};
use crate::matrix;
use crate::model::{Clock, RoomContent, RoomOrAliasId, RoomOutcome, Timestamp, TransactionId};
use crate::radio::{Radio, RadioOptions};
use crate::store::{self, Database, Store, meta, nodes};

use account::{Account, FirstLogin};
use event_loop::EventLoop;
use ledger::Ledger;
use mesh_worker::MeshRules;
use queues::{Queues, Shared};
use reports::Reports;
use room_worker::SendToRoom;
use supervisor::{End, Supervisor};

/// Events of the radio, and reports of the workers, that wait for the event loop: one transaction's worth, so that a
/// slow disk slows the adapters down instead of filling the memory.
const EVENTS: usize = 256;
/// How long the database may take to close after everything else has ended.
const DATABASE_ENDS_WITHIN: Duration = Duration::from_secs(1);
/// Packets between the workers and the pacer: it holds one for each destination and lane itself.
const SUBMISSIONS: usize = 8;

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

    let mut store = Store::open(&place_of_database(&home, &config))?;
    let (ledger, waiting, known_nodes, last_accepted) = store
        .transaction(|tx| {
            let ledger = Ledger::open(tx, &config, start)?;
            let known = nodes::all(tx, ledger.radio())?;
            Ok((
                ledger,
                Ledger::waiting(tx)?,
                known,
                meta::last_acceptance(tx)?,
            ))
        })
        .context("the database cannot be read")?;
    let (database, database_end) = Database::start(store)?;
    let ledger = Arc::new(Mutex::new(ledger));

    let (radio_events, take_radio_events) = mpsc::channel(EVENTS);
    let (reports, take_reports) = mpsc::channel(EVENTS);
    let (batches, take_batches) = mpsc::channel(1);
    let (submissions, take_submissions) = mpsc::channel(SUBMISSIONS);
    let (sender, take_sender) = watch::channel(None);
    let (radio_ready, is_radio_ready) = watch::channel(false);

    say_rooms(&config);
    let radio = Radio::new(RadioOptions {
        nodes: known_nodes,
        last_accepted,
        clock: clock.clone(),
        ..RadioOptions::new(&config.meshtastic)?
    });
    let mut queues = Queues::new(Shared {
        database: database.clone(),
        sender: take_sender,
        submissions,
        withdrawals: radio.withdrawals(),
        radio_ready: is_radio_ready,
        reports: Reports::new(reports),
        workers: supervisor.workers(),
        rules: MeshRules::of(&config.meshtastic),
        clock: clock.clone(),
        stop: stop.clone(),
    });
    queues.wake(&waiting);

    let radio_stop = stop.clone();
    supervisor.essential("radio", async move {
        if let Err(error) = radio.run(take_submissions, radio_events, radio_stop).await {
            error!(error = &error as &dyn Error, "the radio's side ended");
        }
    });
    let event_loop = EventLoop {
        database: database.clone(),
        ledger: Arc::clone(&ledger),
        radio: take_radio_events,
        reports: take_reports,
        batches: take_batches,
        queues,
        radio_ready,
        clock,
    };
    let loop_stop = stop.clone();
    supervisor.last("event loop", |finish| event_loop.run(loop_stop, finish));

    let account = Account {
        files: matrix::Files::new(home.matrix()),
        options: matrix_options(&config),
        login: FirstLogin::of(&config.matrix),
        lock,
        database,
        ledger,
        batches,
        sender,
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

fn place_of_database(home: &Home, config: &Config) -> PathBuf {
    let place = home.database(&config.database.path, store::APPLICATION_ID);
    if let Some(warning) = place.warning {
        warn!("{warning}");
    }
    place.path
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
}
