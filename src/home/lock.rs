//! `relay.lock`: one daemon per home, and one process at a time in the Matrix SDK's store.
//!
//! The lock is the kernel's (flock), so it ends with its process; the file's content tells other commands who holds it.
//! (On Windows a file beside it is locked in its place: `lockable`.)
//! The store is locked by its directory, `matrix`, which the daemon only locks while it has the store open: a login can
//! work beside a daemon whose session is dead.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::Home;
use super::files::{host_name, lockable, open_directory};
use relay_disk::{create_private_directory, cure, private_file};
use relay_model::Explained;

/// Attempts, and their interval: a command that inspects a lock holds it for an instant.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Maximum size of `relay.lock` in bytes.
const LARGEST: u64 = 4096;

/// The daemon that holds a home, as `relay.lock` tells other commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Name of its computer, or of its container (`uname`): two may share a directory.
    pub(crate) host: String,
    /// Process id on that host.
    pub(crate) pid: u32,
    /// When the daemon started, in UTC, as `2025-01-31T12:00:00Z`.
    pub(crate) started: String,
    /// Whether it has the SDK's store open, so that a login has to wait.
    pub(crate) store: StoreState,
}

/// Whether the daemon has the SDK's store open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreState {
    /// It has the store open.
    Held,
    /// The session is missing or dead: a login may work.
    Free,
}

/// Why the home or the SDK's store is not ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("another relay is running in `{}`{}", home.display(), by(holder.as_ref()))]
    Running {
        home: PathBuf,
        /// The daemon that holds it; `None` if the file cannot be read.
        holder: Option<Holder>,
    },
    #[error(
        "the Matrix session in `{}` is in use{}",
        home.display(),
        daemon.as_ref().map_or_else(|| " by another command".to_owned(), |it| by(Some(it)))
    )]
    StoreInUse {
        home: PathBuf,
        /// The daemon, if it has the store open; `None`: another command does.
        daemon: Option<Holder>,
    },
    #[error("cannot lock `{0}`")]
    Use(PathBuf, #[source] io::Error),
}

impl Explained for LockError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Running { .. } => {
                "`relay status` asks it how it stands; stop it first, or give this one a home of its own with `--home`"
            }
            Self::StoreInUse {
                daemon: Some(_), ..
            } => "stop the relay first",
            Self::StoreInUse { daemon: None, .. } => {
                "wait for the end of that command, or end it: `relay auth` uses the session until it is done, `relay doctor` and \
                 `relay config check --online` for a moment"
            }
            Self::Use(_, cause) => return cure(cause),
        };
        Some(hint.to_owned())
    }
}

fn by(holder: Option<&Holder>) -> String {
    holder.map_or_else(String::new, |holder| format!(" ({holder})"))
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pid, host, started) = (self.pid, &self.host, &self.started);
        write!(f, "process {pid} on {host}, since {started}")
    }
}

/// The daemon's lock on its home; released on drop, or with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    home: Home,
    /// Tells who holds the home.
    file: File,
    _locked: File,
    holder: Holder,
    store: Mutex<Option<StoreGuard>>,
}

/// A lock on the SDK's store; released on drop, or with the process.
#[derive(Debug)]
pub(crate) struct StoreGuard {
    _directory: File,
}

impl Lock {
    /// Locks the home for a daemon. The store stays unlocked.
    pub(crate) fn acquire(home: &Home, started: SystemTime) -> Result<Self, LockError> {
        let path = home.lock_file();
        let taken = take(open(&lockable(&path)), TRIES);
        let taken = taken.and_then(|(is_ours, locked)| Ok((is_ours, locked, open(&path)?)));
        let (is_ours, locked, file) = taken.map_err(|cause| LockError::Use(path, cause))?;
        if !is_ours {
            return Err(LockError::Running {
                home: home.path().to_owned(),
                holder: read(&file),
            });
        }
        let lock = Self {
            home: home.clone(),
            file,
            _locked: locked,
            holder: Holder {
                host: host_name(),
                pid: std::process::id(),
                started: utc(started),
                store: StoreState::Free,
            },
            store: Mutex::new(None),
        };
        lock.say(StoreState::Free)?;
        Ok(lock)
    }

    /// Locks the SDK's store, before it is opened. Does nothing if it is already locked. Fails if a command holds it
    /// (retry later), or if the file cannot be written.
    pub(crate) fn hold_store(&self) -> Result<(), LockError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if store.is_none() {
            *store = Some(StoreGuard::take(&self.home)?);
        }
        self.say(StoreState::Held)
    }

    /// Unlocks the SDK's store, after it was closed. It is unlocked even if the file cannot be written.
    pub(crate) fn release_store(&self) -> Result<(), LockError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        drop(store.take());
        self.say(StoreState::Free)
    }

    /// Returns the daemon that holds the home; `None` if none does, or if its entry cannot be read. Does not wait.
    pub(crate) fn holder(home: &Home) -> Option<Holder> {
        let path = home.lock_file();
        match File::open(lockable(&path)).ok()?.try_lock_shared() {
            // Nobody holds it; our own lock ends with the file.
            Ok(()) => None,
            Err(_) => read(&File::open(path).ok()?),
        }
    }

    /// Writes in place: a new file under this name would not be locked.
    fn say(&self, store: StoreState) -> Result<(), LockError> {
        let holder = Holder {
            store,
            ..self.holder.clone()
        };
        let write = || {
            let mut text = serde_json::to_vec(&holder)?;
            text.push(b'\n');
            let mut file = &self.file;
            file.rewind()?;
            file.write_all(&text)?;
            let length = u64::try_from(text.len()).unwrap_or(LARGEST);
            self.file.set_len(length)
        };
        write().map_err(|cause| LockError::Use(self.home.lock_file(), cause))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nobody holds the home any more. The file stays: a new one under its name would be another lock.
        self.file.set_len(0).ok();
    }
}

impl StoreGuard {
    /// Locks the SDK's store, before it is opened: for a login, a logout, or the daemon through [`Lock::hold_store`].
    pub(crate) fn take(home: &Home) -> Result<Self, LockError> {
        let path = home.matrix();
        let directory = create_private_directory(&path).and_then(|()| open_directory(&path));
        match take(directory, 1).map_err(|cause| LockError::Use(path, cause))? {
            (true, directory) => Ok(Self {
                _directory: directory,
            }),
            (false, _) => Err(LockError::StoreInUse {
                home: home.path().to_owned(),
                daemon: Lock::holder(home).filter(|it| it.store == StoreState::Held),
            }),
        }
    }
}

/// Opens a file, which is made if it is not there.
fn open(path: &Path) -> io::Result<File> {
    let mut options = private_file();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

/// Returns whether the lock was acquired, and the file.
fn take(file: io::Result<File>, tries: u32) -> io::Result<(bool, File)> {
    let file = file?;
    for attempt in 1..=tries {
        match file.try_lock() {
            Ok(()) => return Ok((true, file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if attempt < tries {
            std::thread::sleep(BETWEEN_TRIES);
        }
    }
    Ok((false, file))
}

fn read(mut file: &File) -> Option<Holder> {
    let mut text = String::new();
    let mut file = Read::by_ref(&mut file).take(LARGEST);
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Formats a time as `2025-01-31T12:00:00Z`.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(seconds.as_secs()).unwrap_or_default();
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second) = time.to_hms();
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", time.date())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(directory: &tempfile::TempDir) -> Home {
        let home = Home::locate(Some(directory.path()), |_| None).unwrap();
        home.prepare(true).unwrap();
        home
    }

    fn started() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_738_324_801)
    }

    #[test]
    fn a_second_daemon_is_told_who_holds_the_home() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(&directory);
        assert_eq!(Lock::holder(&home), None);
        let lock = Lock::acquire(&home, started()).unwrap();
        let error = Lock::acquire(&home, started()).unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("stop it")));
        let error = error.to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        assert!(error.contains("since 2025-01-31T12:00:01Z"), "{error}");
        drop(lock);
        assert_eq!(Lock::holder(&home), None);
        assert_eq!(std::fs::read(home.lock_file()).unwrap(), b"");
        Lock::acquire(&home, started()).unwrap();
    }

    #[test]
    fn a_login_works_beside_a_daemon_that_has_closed_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(&directory);
        let lock = Lock::acquire(&home, started()).unwrap();
        lock.hold_store().unwrap();
        lock.hold_store().unwrap();
        assert_eq!(Lock::holder(&home).unwrap().store, StoreState::Held);
        let hint = StoreGuard::take(&home).unwrap_err().hint().unwrap();
        assert!(hint.contains("stop the relay first"), "{hint}");
        lock.release_store().unwrap();
        assert_eq!(Lock::holder(&home).unwrap().store, StoreState::Free);
        let login = StoreGuard::take(&home).unwrap();
        // Not the daemon, which this hint is for.
        let error = lock.hold_store().unwrap_err();
        assert!(error.to_string().ends_with("is in use by another command"));
        assert!(error.hint().unwrap().contains("wait for the end"));
        drop(login);
        lock.hold_store().unwrap();
    }

    #[test]
    fn a_damaged_file_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let home = home(&directory);
        std::fs::write(home.lock_file(), [0xFF; 9000]).unwrap();
        let _lock = Lock::acquire(&home, started()).unwrap();
        assert_eq!(Lock::holder(&home).unwrap().pid, std::process::id());
    }

    #[test]
    fn a_time_is_told_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
