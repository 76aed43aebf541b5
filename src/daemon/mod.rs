//! Builds the pipeline and the two sides of it, runs them, stops them. The only module that knows all of them.

mod account;
mod account_limit;
mod beginning;
mod control;
mod counts;
mod event_loop;
mod facts;
mod feedback_worker;
mod first_login;
mod health;
mod ledger;
mod mesh_worker;
mod overview;
mod pipeline;
mod queues;
mod room_trouble;
mod room_worker;
mod runtime_state;
pub(crate) mod status;
mod supervisor;
#[cfg(test)]
mod trial;
mod verdict;

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::home::{Home, HomeError, Lock, LockError};
use crate::signals::{Hangup, Signals};
use relay_config::Config;
use relay_model::{Backoff, Clock, Explained, Timestamp};
use relay_radio::{RadioError, RadioOptions};
use relay_store::{Database, DatabaseEnd, Store, StoreError};

pub(crate) use control::{ControlAnswer, Request};
pub(crate) use health::{clock_off, limit_met, times};

use account::{Account, Tries};
use control::Control;
use first_login::FirstLogin;
use pipeline::{Pipeline, StoredState};
use supervisor::{End, Supervisor};

/// No pause between two tries is longer where nothing else is said.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), LONGEST_PAUSE);
/// How long the database may take to close after everything else has ended.
const DATABASE_ENDS_WITHIN: Duration = Duration::from_secs(1);

/// What keeps the daemon from starting.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Another one runs in this home.
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    /// The place of the database cannot be used.
    #[error(transparent)]
    Place(#[from] HomeError),
    #[error("the relay cannot start")]
    Database(#[source] StoreError),
    /// This program cannot use such a link to a radio.
    #[error(transparent)]
    Radio(#[from] RadioError),
}

impl Explained for StartError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.hint(),
            Self::Signals(_) => None,
            Self::Place(error) => error.hint(),
            Self::Database(error) => error.hint(),
            Self::Radio(error) => error.hint(),
        }
    }
}

/// Runs the daemon until it is told to stop.
pub(crate) async fn run(config: Config, home: Home) -> Result<ExitCode, StartError> {
    let clock = Clock::system();
    let (start, started) = (clock.now(), Instant::now());
    let lock = Arc::new(Lock::acquire(&home, start.into())?);
    let stop = CancellationToken::new();
    let mut signals = Signals::listen(Hangup::EndsOnTerminal).map_err(StartError::Signals)?;
    let supervisor = Supervisor::new(stop.clone());
    info!(version = env!("CARGO_PKG_VERSION"), home = %home.path().display(), "relay starts");

    let (database, database_end, stored) = tokio::select! {
        opened = open_database(&config, &home, &lock, start) => opened?,
        // What is written just then ends with the process: each migration, and what a start notes, is one transaction, which the
        // next start finds whole or not at all.
        signal = signals.asked_to_end() => {
            info!(signal, "asked to stop before the database was open");
            return Ok(ExitCode::SUCCESS);
        }
    };

    info!(link = %config.meshtastic.connection, "radio");
    say_rooms(&config);
    let radio = RadioOptions::new(&config.meshtastic)?;
    let pipeline = Pipeline::start(&supervisor, stored, database, radio, clock.clone());
    let pulse = relay_matrix::Pulse::default();
    let control = Arc::new(Control {
        runtime_state: Arc::clone(&pipeline.runtime_state),
        database: pipeline.database.clone(),
        config: config.clone(),
        link: pipeline.link.clone(),
        pulse: pulse.clone(),
        limit: pipeline.limit.clone(),
        clock: clock.clone(),
        started,
        last: Mutex::default(),
    });
    let answering = Arc::clone(&control).run(control::open(&home), stop.clone());
    supervisor.workers.start("control", answering);

    let mut account = Account {
        files: relay_matrix::Files::new(home.matrix()),
        options: matrix_options(&config, pulse, clock),
        login: FirstLogin::of(&config.matrix),
        lock: Arc::clone(&lock),
        pipeline,
        tries: Tries::new(),
    };
    let stopped = stop.clone();
    let working = async move {
        // The SDK's stores migrate in transactions, too, and nothing was asked of the server yet: opening may be dropped.
        let opening = Box::pin(account.open());
        if let Some(opened) = stopped.run_until_cancelled(opening).await {
            let has_session = opened.is_ok();
            let workers = &supervisor.workers;
            workers.start("matrix", account.run(opened, stopped.clone()));
            tell_service_manager(NotifyState::Ready);
            beginning::say_ready(&control, has_session);
            workers.errand("beginning", beginning::tell(control, stopped));
        }
        supervisor.run().await
    };
    let end = tokio::select! {
        end = Box::pin(working) => end,
        () = obey(signals, stop) => {
            // What still runs ends with the process, and so does the hold on the home: what is accepted is stored.
            std::mem::forget(lock);
            return Ok(ExitCode::FAILURE);
        }
    };
    close(database_end).await;
    // Nothing of ours works any more on what is in the home.
    drop(lock);
    info!("relay ends");
    Ok(match end {
        End::Asked => ExitCode::SUCCESS,
        End::Failed => ExitCode::FAILURE,
    })
}

/// Waits until the database is closed, but not for long.
async fn close(database_end: DatabaseEnd) {
    let closed = timeout(DATABASE_ENDS_WITHIN, database_end.wait()).await;
    if closed.is_err() {
        // What does not let go of it writes nothing any more.
        warn!("the database is still in use: what was accepted is stored");
    }
}

/// What the start needs of the database.
type Opened = (Database, DatabaseEnd, StoredState);

/// Opens the database. What passes by itself (a full disk, another program that holds the file) is waited for.
async fn open_database(
    config: &Config,
    home: &Home,
    lock: &Arc<Lock>,
    start: Timestamp,
) -> Result<Opened, StartError> {
    let place = home.database(
        &config.database.path,
        relay_config::Database::APPLICATION_ID,
    );
    if let Some(warning) = place.warning {
        warn!("{warning}");
    }
    home.prepare_file(&place.path)?;
    let mut backoff = PAUSES;
    loop {
        let (config, path, lock) = (config.clone(), place.path.clone(), Arc::clone(lock));
        // Migrations of a large file on a slow card can take minutes. Nobody can end them: the home is held as long.
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends by itself, and holds the home until then"
        )]
        let opening = spawn_blocking(move || {
            let opened = try_database(&config, &path, start);
            drop(lock);
            opened
        });
        let opened = opening.await.unwrap_or_else(|panic| {
            error!(%panic, "a task failed: the relay stops; please report this");
            Err(StoreError::Closed)
        });
        let error = match opened {
            Ok(opened) => return Ok(opened),
            Err(error) if error.passes() => error,
            Err(error) => return Err(StartError::Database(error)),
        };
        let delay = backoff.grow(rand::random());
        error!(
            error = &error as &dyn Error,
            hint = error.hint(),
            delay_ms = delay.as_millis(),
            "the database cannot be opened, trying again"
        );
        sleep(delay).await;
    }
}

fn try_database(config: &Config, path: &Path, start: Timestamp) -> Result<Opened, StoreError> {
    let mut store = Store::open(path)?;
    let stored = StoredState::in_store(&mut store, config, start)?;
    let (database, database_end) = Database::start(store)?;
    Ok((database, database_end, stored))
}

/// Asks the daemon to stop at the first signal. Returns at the second: then nothing is waited for any more.
async fn obey(mut signals: Signals, stop: CancellationToken) {
    let signal = signals.asked_to_end().await;
    info!(
        signal,
        "asked to stop: waiting for what is in flight; a second signal ends at once"
    );
    tell_service_manager(NotifyState::Stopping);
    stop.cancel();
    let signal = signals.asked_to_end().await;
    warn!(signal, "asked to stop again: ending at once");
}

fn tell_service_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot tell the service manager");
    }
}

/// One line for each mapped room.
fn say_rooms(config: &Config) {
    for mapped in &config.matrix_rooms {
        let direction = beginning::direction(mapped.direction);
        info!(room = %mapped.id, channel = %mapped.meshtastic_channel, direction, "mapped");
    }
}

fn matrix_options(
    config: &Config,
    pulse: relay_matrix::Pulse,
    clock: Clock,
) -> relay_matrix::Options {
    let mut rooms = Vec::new();
    let mut via: HashMap<_, Vec<_>> = HashMap::new();
    for mapped in &config.matrix_rooms {
        if !rooms.contains(&mapped.id) {
            rooms.push(mapped.id.clone());
        }
        let servers = via.entry(mapped.id.clone()).or_default();
        servers.extend_from_slice(&mapped.via);
    }
    relay_matrix::Options {
        rooms,
        via,
        invites: config.matrix.invites.clone(),
        e2ee: config.matrix.e2ee,
        pulse,
        clock,
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
        // Somebody has the file, for which opening it waits.
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
