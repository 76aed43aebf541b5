//! Builds the pipeline and the Matrix side, runs them, stops them. The only module that knows everything.
//!
//! # Layout
//!
//! - The way of a message: `event_loop` (batches, and their commit), `ledger` (look up, decide, apply), `facts`, `queues`, and
//!   the workers: `room_worker`, `mesh_worker`, `feedback_worker`, `account_limit`. `pipeline` joins them to the radio.
//! - The account: `account`, `first_login`, `verdict` (what follows from a login error).
//! - What is known of it all: `runtime_state` and `counts`, shown by `overview`, `health` and `room_trouble` as `status` (the
//!   JSON), through `control` (the socket) or in the log (`beginning`).
//! - `hold`: what no other relay may use. `reload`: reads the configuration again. `handed_over`: what a radio has handed over
//!   while no daemon ran.
//! - `service_manager`: what systemd is told, and its watchdog. `supervisor`: names, watches and stops the tasks.

mod account;
mod account_limit;
mod beginning;
mod control;
mod counts;
mod event_loop;
mod facts;
mod feedback_worker;
mod first_login;
mod handed_over;
mod health;
mod hold;
mod ledger;
mod mesh_worker;
mod overview;
mod pipeline;
mod queues;
mod reload;
mod room_trouble;
mod room_worker;
mod runtime_state;
#[cfg_attr(windows, path = "service_manager_windows.rs")]
mod service_manager;
pub(crate) mod status;
mod supervisor;
pub(crate) mod trace;
#[cfg(test)]
mod trial;
mod verdict;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::home::{Home, HomeError, Lock, LockError, utc};
use crate::signals::Signals;
use crate::telemetry;
use relay_claims::Holder;
use relay_config::Config;
use relay_model::{Backoff, Explained, Timestamp};
use relay_radio::{RadioError, RadioOptions};
use relay_store::{Database, DatabaseEnd, Store, StoreError, single_values};

pub(crate) use account::DeviceHeld;
pub(crate) use control::{ControlAnswer, ControlRequest};
pub(crate) use handed_over::accept;
pub(crate) use health::{
    another_relay, checks, clock_off, limit_met, merged, put_back, radio_away, room_check, times,
    trouble_check,
};
pub(crate) use hold::Hold;
pub(crate) use overview::route_cure;
pub(crate) use reload::ReadConfig;
pub(crate) use room_trouble::trouble_of;

use account::{Account, Tries};
use control::Control;
use first_login::FirstLogin;
use pipeline::{Pipeline, StoredState};
use reload::Reloading;
use supervisor::{DaemonEnd, Supervisor};

/// Maximum back-off between two tries of a worker, or of opening the database.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), LONGEST_PAUSE);
/// How long a worker waits before it reads the database again after an error.
const DATABASE_DELAY: Duration = Duration::from_secs(5);
/// Maximum time for the database to close after all tasks have ended.
const DATABASE_ENDS_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Another daemon runs in this home.
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Place(#[from] HomeError),
    /// Another relay on this host uses the database that this one is to use.
    #[error("the database `{}` is used by {holder}", path.display())]
    DatabaseHeld { path: PathBuf, holder: Holder },
    #[error("the relay cannot start")]
    Database(#[source] StoreError),
    /// This build does not support the configured kind of connection.
    #[error(transparent)]
    Radio(#[from] RadioError),
}

impl Explained for StartError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.hint(),
            Self::Signals(_) => None,
            Self::DatabaseHeld { .. } => Some(
                "give each relay a file of its own with `database.path`, or stop that relay"
                    .to_owned(),
            ),
            Self::Place(error) => error.hint(),
            Self::Database(error) => error.hint(),
            Self::Radio(error) => error.hint(),
        }
    }
}

/// Runs the daemon until it is told to stop. `read` reads the configuration again, when `signals` say so, also those that came
/// before; the `differences` from MMRelay are told once in a home's life.
pub(crate) async fn run(
    config: Config,
    differences: Vec<String>,
    read: ReadConfig,
    hold: Hold,
    signals: Signals,
) -> Result<ExitCode, StartError> {
    let _database = hold.claim_database(&config)?;
    let Hold {
        home,
        lock,
        claimant,
        clock,
        start,
        started,
    } = hold;
    let stop = CancellationToken::new();
    let mut signals = signals.and_to_ends().map_err(StartError::Signals)?;
    let wish = signals.reload();
    let supervisor = Supervisor::new(stop.clone());
    info!(version = env!("CARGO_PKG_VERSION"), home = %home.path().display(), "relay starts");

    let (database, database_end, stored) = tokio::select! {
        opened = open_database(&config, &home, &lock, start) => opened?,
        // The process may end in the middle of a write: each migration, and the start itself, is one transaction.
        signal = signals.asked_to_end() => {
            info!(signal, "asked to stop before the database was open");
            return Ok(ExitCode::SUCCESS);
        }
    };

    tell_differences(&database, differences).await;
    info!(link = %config.meshtastic.connection, "the radio is looked for");
    say_rooms(&config);
    let mut radio = RadioOptions::new(&config.meshtastic)?;
    radio.claimant = Some(claimant.clone());
    let pipeline = Pipeline::start(&supervisor, stored, database, radio, clock.clone());
    let pulse = relay_matrix::Pulse::default();
    let control = Arc::new(Control {
        runtime_state: Arc::clone(&pipeline.runtime_state),
        database: pipeline.database.clone(),
        config: pipeline.config.clone(),
        link: pipeline.link.clone(),
        pulse: pulse.clone(),
        limit: pipeline.limit.clone(),
        clock: clock.clone(),
        started,
        log: telemetry::recent,
        last: Mutex::default(),
    });
    let answering = Arc::clone(&control).run(control::open(&home), stop.clone());
    supervisor.workers.start("control", answering);

    let (reloads, take_reloads) = mpsc::channel(1);
    let read_at = utc(start.into());
    pipeline
        .runtime_state
        .configuration(|status| status.read_at = read_at);
    let reloading = Reloading {
        read,
        running: config.clone(),
        home: home.clone(),
        reloads,
        runtime_state: Arc::clone(&pipeline.runtime_state),
        clock: clock.clone(),
    };
    let mut account = Account {
        files: relay_matrix::Files::new(home.matrix()),
        pulse,
        clock,
        login: FirstLogin::of(&config.matrix, &home),
        lock: Arc::clone(&lock),
        claimant,
        device: None,
        pipeline,
        tries: Tries::new(),
        home: home.clone(),
    };
    let stopped = stop.clone();
    let working = async move {
        // Opening may be cancelled: the SDK's stores also migrate in transactions, and no request was sent yet.
        let opening = Box::pin(account.open());
        if let Some(opened) = stopped.run_until_cancelled(opening).await {
            let has_session = opened.is_ok();
            let workers = &supervisor.workers;
            let working = account.run(opened, take_reloads, stopped.clone());
            workers.start("matrix", working);
            service_manager::start(workers, &control);
            beginning::say_ready(&control, has_session);
            workers.start("configuration", reloading.run(wish, stopped.clone()));
            workers.errand("beginning", beginning::tell(control, stopped));
        }
        supervisor.run().await
    };
    let end = tokio::select! {
        end = Box::pin(working) => end,
        () = obey(signals, stop) => {
            // The tasks that still run, and the lock, end with the process. All accepted messages are stored.
            std::mem::forget(lock);
            return Ok(ExitCode::FAILURE);
        }
    };
    close(database_end).await;
    drop(lock);
    info!("relay ends");
    Ok(match end {
        DaemonEnd::Asked => ExitCode::SUCCESS,
        DaemonEnd::Failed => ExitCode::FAILURE,
    })
}

async fn close(database_end: DatabaseEnd) {
    let closed = timeout(DATABASE_ENDS_WITHIN, database_end.wait()).await;
    if closed.is_err() {
        // The remaining holders of the database do not write any more.
        warn!("the database is still in use: what was accepted is stored");
    }
}

type OpenDatabase = (Database, DatabaseEnd, StoredState);

/// Opens the database; retries after errors that pass (a full disk, another program that locks the file).
async fn open_database(
    config: &Config,
    home: &Home,
    lock: &Arc<Lock>,
    start: Timestamp,
) -> Result<OpenDatabase, StartError> {
    let place = home.database(
        &config.database.path,
        relay_config::Database::APPLICATION_ID,
    );
    if let Some(warning) = place.warning {
        warn!(
            problem = warning,
            "the place of the database deserves attention"
        );
    }
    home.prepare_file(&place.path)?;
    service_manager::say("the database is being opened");
    let mut backoff = PAUSES;
    loop {
        let (config, path, lock) = (config.clone(), place.path.clone(), Arc::clone(lock));
        // Migrating a large file on a slow card can take minutes and cannot be cancelled: the home stays locked until the end.
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends by itself, and holds the home until then"
        )]
        let opening = spawn_blocking(move || {
            let opened = try_database(&config, &path, start);
            drop(lock);
            opened
        });
        let opened = opening.await.unwrap_or_else(|_| {
            error!(
                task = "opening the database",
                "a task failed: the relay stops; please report this"
            );
            Err(StoreError::Closed)
        });
        let error = match opened {
            Ok(opened) => return Ok(opened),
            Err(error) if error.passes() => error,
            Err(error) => return Err(StartError::Database(error)),
        };
        let delay = backoff.grow(rand::random());
        service_manager::say("the database cannot be opened yet, trying again");
        error!(
            error = &error as &dyn Error,
            hint = error.hint(),
            delay_ms = delay.as_millis(),
            "the database cannot be opened, trying again"
        );
        sleep(delay).await;
    }
}

fn try_database(
    config: &Config,
    path: &Path,
    start: Timestamp,
) -> Result<OpenDatabase, StoreError> {
    let mut store = Store::open(path)?;
    let stored = StoredState::in_store(&mut store, config, start)?;
    let (database, database_end) = Database::start(store)?;
    Ok((database, database_end, stored))
}

/// Logs what differs from MMRelay, as far as it was never logged before.
async fn tell_differences(database: &Database, differences: Vec<String>) {
    if differences.is_empty() {
        return;
    }
    let told = database.run(move |store| {
        store.transaction(|tx| single_values::untold_differences(tx, &differences))
    });
    match told.await {
        Ok(untold) => {
            for difference in untold {
                info!(difference, "differs from MMRelay");
            }
        }
        // They are told at the next start.
        Err(error) => warn!(
            error = &error as &dyn Error,
            "cannot remember what was told"
        ),
    }
}

/// Stops the daemon gracefully at the first signal. Returns at the second, when the process must end at once.
async fn obey(mut signals: Signals, stop: CancellationToken) {
    let signal = signals.asked_to_end().await;
    info!(
        signal,
        "asked to stop: waiting for what is in flight; a second signal ends at once"
    );
    service_manager::say_stopping();
    stop.cancel();
    let signal = signals.asked_to_end().await;
    warn!(signal, "asked to stop again: ending at once");
}

fn say_rooms(config: &Config) {
    for mapped in &config.matrix_rooms {
        let direction = beginning::direction(mapped.direction);
        info!(room = %mapped.id, channel = %mapped.meshtastic_channel, direction, "room mapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_home_is_held_as_long_as_its_database_is_being_opened() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(directory.path()), |_| None).unwrap();
        home.prepare(true).unwrap();
        let lock = Arc::new(Lock::acquire(&home, std::time::UNIX_EPOCH).unwrap());
        let wire = relay_config::Connection::Serial { serial_port: None };
        let config = Config::new(wire, Vec::new());
        // Another connection locks the file: opening the database retries.
        let other = rusqlite::Connection::open(home.default_database()).unwrap();
        other.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let opening = open_database(&config, &home, &lock, Timestamp::now());
        let given_up = timeout(Duration::from_millis(100), opening).await;
        assert!(given_up.is_err());
        drop(lock);
        assert!(Lock::holder(&home).is_some());
        drop(other);
        while Lock::holder(&home).is_some() {
            sleep(Duration::from_millis(10)).await;
        }
    }
}
