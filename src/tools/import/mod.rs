//! `relay import mmrelay`: takes over what MMRelay has left: its configuration, the names of nodes, and which packet and which
//! event are the same message, so that what is said of a message from before the move finds it. MMRelay's files are only read,
//! and its login is not used.

mod configuration;
mod error;
mod old_home;
mod report;
mod running;
mod tables;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use crate::home::{Home, Lock, quoted};
use configuration::TakenConfiguration;
use old_home::{OldHome, last_written};
use relay_config::{Database, Environment, Loaded};
use relay_matrix::Files;
use relay_model::{Timestamp, full_text};
use relay_store::Store;
use relay_store::mmrelay::{OldDatabase, OldDatabaseError};
use report::Step;
use tables::{messages, names};

pub(crate) use error::ImportError;
pub(crate) use report::{ImportReport, report_lines};

/// The private copy of a database that a crash has left with a WAL, in our home, or among temporary files in a dry run.
const COPY: &str = ".import";

/// What is to be imported, and where to.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) home: Home,
    pub(crate) allow_network_home: bool,
    /// Where our configuration is, or will be.
    pub(crate) config: PathBuf,
    pub(crate) from: Option<PathBuf>,
    pub(crate) dry_run: bool,
    pub(crate) now: Timestamp,
}

/// What the import does at the moment.
#[derive(Debug, Default)]
pub(crate) struct Progress(AtomicUsize);

impl Progress {
    const TEXTS: [&'static str; 4] = [
        "looking for MMRelay",
        "opening MMRelay's database",
        "taking over the names of nodes",
        "taking over the message map",
    ];

    /// Returns it in words.
    pub(crate) fn text(&self) -> &'static str {
        let index = self.0.load(Ordering::Relaxed);
        Self::TEXTS.get(index).copied().unwrap_or_default()
    }

    fn next(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Imports. `variable` is the process's environment, as far as it names places.
pub(crate) fn import(
    request: &Request,
    environment: &Environment,
    variable: impl Fn(&str) -> Option<OsString>,
    stop: &CancellationToken,
    progress: &Progress,
) -> Result<ImportReport, ImportError> {
    let Request { home, dry_run, .. } = request;
    let old = OldHome::find(request.from.as_deref(), &variable)?;
    let config = TakenConfiguration::plan(old.config.as_deref(), &request.config, environment);
    let place = |name: &str| {
        variable(name)
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    };
    let configured = place("MMRELAY_DATABASE_PATH").or_else(|| config.database.clone());
    let databases = old.databases(configured.as_deref(), place("HOME").as_deref());
    if let Some(running) = running::find(&old.path, &databases) {
        return Err(ImportError::Running(running));
    }
    let lock = if *dry_run {
        Lock::holder(home).map_or(Ok(None), |holder| Err(ImportError::OwnRunning(holder)))?
    } else {
        home.prepare(request.allow_network_home)?;
        Some(Lock::acquire(home, request.now.into())?)
    };
    let mut report = ImportReport {
        dry_run: *dry_run,
        home: home.path().to_owned(),
        configuration: config,
        old_database: None,
        other_databases: Vec::new(),
        names: tables::Counted::default(),
        messages: tables::Counted::default(),
        rooms: std::collections::BTreeMap::new(),
        not_taken: Vec::new(),
        failures: Vec::new(),
        next: Vec::new(),
        old_home: old.path.clone(),
    };
    if !dry_run {
        report.configuration.write();
    }
    progress.next();
    let mut databases = databases.into_iter();
    if let Some(path) = databases.next() {
        report.other_databases = databases.collect();
        read_database(request, &path, &mut report, stop, progress)?;
        report.old_database = Some(path);
    }
    drop(lock);
    say_what_is_left(&mut report, &old, home);
    Ok(report)
}

/// Takes over what is in MMRelay's database. What is wrong with that is told in the report; an error is one of our own.
fn read_database(
    request: &Request,
    path: &Path,
    report: &mut ImportReport,
    stop: &CancellationToken,
    progress: &Progress,
) -> Result<(), ImportError> {
    let home = &request.home;
    let copies = if request.dry_run {
        std::env::temp_dir().join(format!("relay-import-{}", std::process::id()))
    } else {
        home.path().join(COPY)
    };
    let database = match OldDatabase::open(path, &copies, || !stop.is_cancelled()) {
        Ok(database) => database,
        Err(OldDatabaseError::Interrupted) => return Err(ImportError::Interrupted),
        Err(OldDatabaseError::Open(error)) => {
            report.failures.push(full_text(&error));
            return Ok(());
        }
        Err(error @ OldDatabaseError::Copy(..)) => {
            report.failures.push(relay_model::Chain(&error).to_string());
            return Ok(());
        }
    };
    let mut store = if request.dry_run {
        None
    } else {
        let loaded = report.configuration.loaded.as_ref();
        let configured = loaded.map(|it| it.config.database.path.clone());
        let configured = configured.unwrap_or_else(|| Database::default().path);
        let place = home.database(&configured, Database::APPLICATION_ID);
        home.prepare_file(&place.path)?;
        Some(Store::open(&place.path)?)
    };
    // Nothing in it is younger than the file.
    let at = last_written(path).map_or(request.now, |it| Timestamp::from(it).min(request.now));
    progress.next();
    report.names = names(&database, store.as_mut(), at, stop)?;
    progress.next();
    (report.messages, report.rooms) = messages(&database, store.as_mut(), at, stop)?;
    let records = database.plugin_data();
    if records > 0 {
        let sentence =
            format!("the data of plugins (records: {records}): plugins are not available");
        report.not_taken.push(sentence);
    }
    Ok(())
}

/// Says what is not taken over by design, and what is to be done next.
fn say_what_is_left(report: &mut ImportReport, old: &OldHome, home: &Home) {
    report.not_taken.push(
        "MMRelay's login and its keys: the relay logs in as a device of its own, so that you can go back".to_owned(),
    );
    let loaded = report.configuration.loaded.as_ref();
    if let Some(loaded) = loaded.filter(|_| report.messages.found > 0) {
        report.not_taken.extend(rooms_of_several_channels(loaded));
    }
    let step = |hint: String| Step { hint };
    let session = Files::new(home.matrix()).session();
    if session.exists() {
        let account = "the login is there already: `relay auth status` tells how it stands";
        report.next.push(step(account.to_owned()));
    } else {
        report.next.push(step(login(old, loaded)));
    }
    let config = &report.configuration;
    if matches!(config.result, configuration::Taking::OwnIsThere) {
        let own = crate::home::quoted(&home.config());
        let hint = format!(
            "to take over MMRelay's configuration, too, move {own} away, and run this again: what is there already is not taken twice"
        );
        report.next.push(step(hint));
    }
    if !config.problems.is_empty() {
        let hint =
            "correct the configuration: `relay config check` tells each mistake with its place";
        report.next.push(step(hint.to_owned()));
    } else if loaded.is_none() {
        let hint = "write a configuration: `relay config generate`";
        report.next.push(step(hint.to_owned()));
    }
    let hint = "keep MMRelay stopped, and start the relay: `relay run`; `relay status` tells how it stands";
    report.next.push(step(hint.to_owned()));
}

/// Returns what to type to log in, with the account that MMRelay had.
fn login(home: &OldHome, loaded: Option<&Loaded>) -> String {
    let old = home.account();
    let matrix = loaded.map(|it| &it.config.matrix);
    let server = old
        .homeserver
        .clone()
        .or_else(|| matrix?.homeserver.clone());
    let user = old.user_id.clone().or_else(|| matrix?.bot_user_id.clone());
    let flag = |name: &str, value: Option<String>| {
        let value = value.map(|it| quoted(Path::new(&it)));
        value.map_or_else(String::new, |value| format!(" --{name} {value}"))
    };
    let (server, user) = (flag("homeserver", server), flag("username", user));
    let browser = if old.is_oauth() {
        "; MMRelay logged in by OAuth: the account needs a password for that"
    } else {
        ""
    };
    let identity = if home.has_identity() {
        " --reset-cross-signing"
    } else {
        ""
    };
    format!("log in, as a new device: `relay auth login{server}{user}{identity}`{browser}")
}

/// Returns a sentence for each room that has several channels: MMRelay does not record on which one a message was.
fn rooms_of_several_channels(loaded: &Loaded) -> Vec<String> {
    let rooms = &loaded.config.matrix_rooms;
    let has_several = |index: usize, room: &relay_config::MappedRoom| {
        let first = rooms.iter().position(|it| it.id == room.id) == Some(index);
        let other = |it: &relay_config::MappedRoom| {
            it.id == room.id && it.meshtastic_channel != room.meshtastic_channel
        };
        first && rooms.iter().any(other)
    };
    let several = rooms
        .iter()
        .enumerate()
        .filter(|(index, room)| has_several(*index, room));
    several
        .map(|(_, room)| {
            format!(
                "to which channel the messages of {} belong: it has several, and MMRelay does not record it. What the mesh \
                 answers to a message from before is a plain text there, and what Matrix answers to one is refused with a word",
                room.id
            )
        })
        .collect()
}
