//! `relay import mmrelay`: takes over what MMRelay has left: its configuration, the names of nodes, and which packet and which
//! event are the same message, so that what is said of a message from before the move finds it. MMRelay's files are only read,
//! and its login is not used.

mod advice;
mod configuration;
mod error;
mod mmrelay;
mod old_home;
mod report;
#[cfg_attr(windows, path = "running_windows.rs")]
mod running;
mod tables;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use crate::home::{Home, Lock, path_of};
use configuration::TakenConfiguration;
use old_home::{OldHome, last_written};
use relay_config::{Database, Environment};
use relay_model::{Chain, Timestamp, full_text};
use relay_store::Store;
use relay_store::mmrelay::{OldDatabase, OldDatabaseError};
use running::InUse;
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
    /// Whether a person says that the MMRelay of that home is stopped.
    pub(crate) is_stopped: bool,
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
    let home = &request.home;
    let old = OldHome::find(request.from.as_deref(), &variable)?;
    let config = TakenConfiguration::plan(old.config.as_deref(), &request.config, environment);
    let place = |name: &str| path_of(variable(name));
    let configured = place("MMRELAY_DATABASE_PATH").or_else(|| config.database.clone());
    let databases = old.databases(configured.as_deref(), place("HOME").as_deref());
    check_that_mmrelay_is_stopped(request, &old, &databases)?;
    if stop.is_cancelled() {
        return Err(ImportError::Interrupted);
    }
    let lock = if request.dry_run {
        Lock::holder(home).map_or(Ok(None), |holder| Err(ImportError::OwnRunning(holder)))?
    } else {
        home.prepare(request.allow_network_home)?;
        Some(Lock::acquire(home, request.now.into())?)
    };
    let mut report = ImportReport::new(request.dry_run, home.path(), &old.path, config);
    if !request.dry_run {
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
    report.not_taken.extend(advice::not_taken(&report));
    report.next = advice::next(&report, &old, home);
    Ok(report)
}

fn check_that_mmrelay_is_stopped(
    request: &Request,
    old: &OldHome,
    databases: &[PathBuf],
) -> Result<(), ImportError> {
    match running::look(&old.directories(), databases) {
        InUse::By(running) => Err(ImportError::Running(running)),
        InUse::Perhaps(hidden) if !request.is_stopped => Err(ImportError::PerhapsRunning {
            home: old.path.clone(),
            hidden,
        }),
        InUse::Perhaps(_) | InUse::No => Ok(()),
    }
}

/// Takes over what is in MMRelay's database. What is wrong with that is told in the report; an error is one of our own.
fn read_database(
    request: &Request,
    path: &Path,
    report: &mut ImportReport,
    stop: &CancellationToken,
    progress: &Progress,
) -> Result<(), ImportError> {
    let copies = if request.dry_run {
        std::env::temp_dir().join(format!("relay-import-{}", std::process::id()))
    } else {
        request.home.path().join(COPY)
    };
    let database = match OldDatabase::open(path, &copies, || !stop.is_cancelled()) {
        Ok(database) => database,
        Err(OldDatabaseError::Interrupted) => return Err(ImportError::Interrupted),
        Err(OldDatabaseError::Open(error)) => {
            report.failures.push(full_text(&error));
            return Ok(());
        }
        Err(error @ OldDatabaseError::Copy(..)) => {
            report.failures.push(Chain(&error).to_string());
            return Ok(());
        }
    };
    let mut store = if request.dry_run {
        None
    } else {
        Some(own_store(&request.home, report)?)
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

/// Opens our own database, where the configuration of the report has it.
fn own_store(home: &Home, report: &ImportReport) -> Result<Store, ImportError> {
    let loaded = report.configuration.loaded.as_ref();
    let configured = loaded.map(|it| it.config.database.path.clone());
    let configured = configured.unwrap_or_else(|| Database::default().path);
    let place = home.database(&configured, Database::APPLICATION_ID);
    home.prepare_file(&place.path)?;
    Ok(Store::open(&place.path)?)
}
