//! `relay backup` and `relay restore`: configuration and database in one file. Not the login: an older copy of it would
//! destroy its encryption, so a restored relay logs in as a new device.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, Entry, Header};

use super::database_of;
use crate::home::{Home, HomeError, Lock, LockError, utc};
use relay_config::{Config, LoadError};
use relay_disk::{cure, database_files, private_file, rename, sync_directory, write_private};
use relay_matrix::FilesError;
use relay_matrix::auth::Files;
use relay_model::{Beginning, Explained, Notice, OwnedUserId, Timestamp};
use relay_store::{Store, StoreError, restored};

/// The form of the file. Others are refused.
const FORMAT: u32 = 1;

// The names in the file.
const CONTENTS: &str = "backup.json";
const CONFIG: &str = "config.yaml";
const DATABASE: &str = "relay.sqlite";

/// Maximum size of a configuration in bytes.
const LARGEST_CONFIG: u64 = 16 * 1024 * 1024;

/// What a backup is of, as it says at its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    format: u32,
    /// The bot's account and the address of its homeserver; `None`: nobody had logged in.
    pub(crate) account: Option<(OwnedUserId, String)>,
    /// When, in UTC, as `2025-01-31T12:00:00Z`.
    pub(crate) at: String,
    /// Whether there was a configuration.
    pub(crate) config: bool,
    /// Whether there was a database.
    pub(crate) database: bool,
}

/// Why a backup was not made, or not restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("`{0}` exists already")]
    Exists(PathBuf),
    #[error("there is neither a configuration nor a database in `{0}`")]
    Nothing(PathBuf),
    #[error("`{0}` is no backup of the relay, or is damaged")]
    NotBackup(PathBuf),
    #[error("`{0}` was made by a later version of the relay")]
    Newer(PathBuf),
    #[error("there is a login in this home, and a restored relay needs a new one")]
    LoggedIn,
    #[error("there is a database in this home: `{0}`")]
    HasDatabase(PathBuf),
    #[error("cannot {0} `{1}`")]
    Use(&'static str, PathBuf, #[source] io::Error),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Config(#[from] LoadError),
    #[error(transparent)]
    Database(#[from] StoreError),
}

impl Explained for BackupError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Exists(_) => "name another file",
            Self::Nothing(_) => "name the relay's home with `--home DIR`",
            Self::NotBackup(_) => "take the file that `relay backup` has written, whole",
            Self::Newer(_) => "update the relay",
            Self::LoggedIn | Self::HasDatabase(_) => {
                "restore into an empty home: name one with `--home DIR`, or move this one away; if a restore was interrupted here, \
                 `relay auth recover` finishes it"
            }
            Self::Use(.., cause) => return cure(cause),
            Self::Lock(error) => return error.hint(),
            Self::Home(error) => return error.hint(),
            Self::Files(error) => return error.hint(),
            Self::Config(error) => return error.hint(),
            Self::Database(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}

impl BackupError {
    fn of(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Use(deed, path, cause)
    }
}

/// Writes configuration and database into a new file that only its owner may read, also while a relay runs. Blocks.
pub(crate) fn backup(
    home: &Home,
    config: (&Path, &Config),
    to: &Path,
    now: Timestamp,
) -> Result<Contents, BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let session = Files::new(home.matrix()).load_session().ok().flatten();
    let (copy, part) = (home.copied_database(), to.with_added_extension("part"));
    // Left behind by a backup that crashed.
    drop((fs::remove_file(&copy), fs::remove_file(&part)));
    let made = || {
        let contents = Contents {
            format: FORMAT,
            account: session.map(|it| (it.user_id, it.homeserver.to_string())),
            at: utc(now.into()),
            config: config.0.exists(),
            database: relay_store::copy(&database_of(home, config.1), &copy)?,
        };
        if !contents.config && !contents.database {
            return Err(BackupError::Nothing(home.path().to_owned()));
        }
        write(&part, &contents, config.0, &copy).map_err(BackupError::of("write", &part))?;
        let directory = to.parent().filter(|it| !it.as_os_str().is_empty());
        rename(&part, to)
            .and_then(|()| sync_directory(directory.unwrap_or(Path::new("."))))
            .map_err(BackupError::of("write", to))?;
        Ok(contents)
    };
    let made = made();
    drop((fs::remove_file(&copy), fs::remove_file(&part)));
    made
}

fn write(part: &Path, contents: &Contents, config: &Path, database: &Path) -> io::Result<()> {
    let file = private_file().write(true).create_new(true).open(part)?;
    let mut archive = Builder::new(GzEncoder::new(file, Compression::default()));
    let text = serde_json::to_vec_pretty(contents)?;
    let mut header = Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, CONTENTS, &text[..])?;
    if contents.config {
        archive.append_file(CONFIG, &mut File::open(config)?)?;
    }
    if contents.database {
        archive.append_file(DATABASE, &mut File::open(database)?)?;
    }
    archive.into_inner()?.finish()?.sync_all()
}

/// What was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) contents: Contents,
    /// A configuration was there already, and stays.
    pub(crate) kept_config: bool,
    /// Number of packets that waited for the mesh and are given up.
    pub(crate) given_up: usize,
}

/// Restores a backup into a home without login and database; a configuration that is there stays. `load` reads it, which
/// says where the database belongs. Blocks.
///
/// After a failure there is no database; a configuration may be restored.
pub(crate) fn restore(
    home: &Home,
    config: &Path,
    load: impl FnOnce() -> Result<Config, LoadError>,
    from: &Path,
    now: Timestamp,
) -> Result<Restored, BackupError> {
    let lock = Lock::acquire(home, now.into())?;
    lock.hold_store()?;
    if Files::new(home.matrix()).load_session()?.is_some() {
        return Err(BackupError::LoggedIn);
    }
    let not_backup = || BackupError::NotBackup(from.to_owned());
    let file = File::open(from).map_err(BackupError::of("read", from))?;
    let mut archive = Archive::new(GzDecoder::new(file));
    let mut entries = archive.entries().map_err(|_| not_backup())?;
    let mut next = |name: &str| {
        let entry = entries.next().and_then(Result::ok);
        let is_it = |it: &Entry<'_, _>| it.path().is_ok_and(|path| path == Path::new(name));
        entry.filter(is_it).ok_or_else(not_backup)
    };
    let contents: Contents = serde_json::from_reader(next(CONTENTS)?).map_err(|_| not_backup())?;
    if contents.format != FORMAT {
        return Err(BackupError::Newer(from.to_owned()));
    }
    let kept_config = config.exists();
    if contents.config {
        let mut text = Vec::new();
        let entry = next(CONFIG)?;
        entry
            .take(LARGEST_CONFIG)
            .read_to_end(&mut text)
            .map_err(|_| not_backup())?;
        if !kept_config {
            write_private(config, &text).map_err(BackupError::of("write", config))?;
        }
    }
    let mut given_up = 0;
    if contents.database {
        let loaded = match load() {
            Err(LoadError::Missing(_)) => Ok(Config::default()),
            loaded => loaded,
        };
        let place = database_of(home, &loaded?);
        home.prepare_file(&place)?;
        if database_files(&place).iter().any(|it| it.exists()) {
            return Err(BackupError::HasDatabase(place));
        }
        let new = place.with_added_extension("new");
        // Left behind by a restore that crashed.
        for left in database_files(&new) {
            drop(fs::remove_file(left));
        }
        unpack(&mut next(DATABASE)?, &new).map_err(BackupError::of("write", &new))?;
        if relay_store::examine(&new)?.is_none() {
            return Err(not_backup());
        }
        given_up = settle(&new, &contents, now)?;
        rename(&new, &place)
            .and_then(|()| sync_directory(place.parent().unwrap_or(Path::new("."))))
            .map_err(BackupError::of("write", &place))?;
    }
    Ok(Restored {
        contents,
        kept_config,
        given_up,
    })
}

fn unpack(entry: &mut impl Read, path: &Path) -> io::Result<()> {
    let mut file = private_file().write(true).create_new(true).open(path)?;
    io::copy(entry, &mut file)?;
    file.sync_all()
}

fn settle(database: &Path, contents: &Contents, now: Timestamp) -> Result<usize, BackupError> {
    let mut store = Store::open(database)?;
    let at = Beginning {
        ours: now,
        passed: 0,
        // The clocks of this boot say nothing about a start after the next one.
        boot: String::new(),
        position: None,
    };
    let readable = |time: &str| time.replace('T', " ").replace('Z', " UTC");
    let (backup, restored_at) = (readable(&contents.at), readable(&utc(now.into())));
    let notice = Notice {
        text: format!(
            "This relay was restored from a backup of {backup}. What was written here before {restored_at} and bears no sign of \
             the relay may not have been transmitted: say it again if it matters."
        ),
        ..Notice::default()
    };
    Ok(store.transaction(|tx| restored::settle(tx, &at, &notice))?)
}
