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
use relay_disk::{
    UnpackError, cure, database_files, private_file, rename, sync_directory, unpack, write_private,
};
use relay_matrix::FilesError;
use relay_matrix::auth::Files;
use relay_model::{Beginning, Explained, Notice, OwnedRoomOrAliasId, OwnedUserId, Timestamp};
use relay_store::{Store, StoreError, restored};

/// The form of the file. Others are refused.
const FORMAT: u32 = 1;

// The names in the file.
const CONTENTS: &str = "backup.json";
const CONFIG: &str = "config.yaml";
const DATABASE: &str = "relay.sqlite";

/// Maximum size of the file's own description in bytes.
const LARGEST_CONTENTS: u64 = 1024 * 1024;
/// Maximum size of a configuration in bytes.
const LARGEST_CONFIG: u64 = 16 * 1024 * 1024;
/// Maximum size of a database in bytes: a hundred times what a busy relay has. A small file can be packed from any size.
const LARGEST_DATABASE: u64 = 16 * 1024 * 1024 * 1024;

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
    #[error("`{0}` is no backup of the relay")]
    NotBackup(PathBuf),
    #[error("`{0}` is cut off or damaged: it cannot be read to its end")]
    Cut(PathBuf),
    #[error("the backup is of {1}, and `--username` says {0}")]
    OtherAccount(String, OwnedUserId),
    #[error(
        "--recovery-key-file is missing, and there is no terminal to ask on: the login of {0} is made anew"
    )]
    NoKey(OwnedUserId),
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
            Self::NotBackup(_) => "take the file as the backup has written it",
            Self::Cut(_) => {
                "copy it anew from where it was made, and compare the sizes, or take an earlier backup"
            }
            Self::OtherAccount(..) => {
                "leave `--username` out; what waits in a database belongs to its account, so another account needs a home of its own"
            }
            Self::NoKey(_) => "give the account's recovery key in a file; nothing is restored yet",
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
    archive.sparse(false);
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
/// says where the database belongs. `user`: the account, if a person has named it. `may_unlock`: whether there is a recovery
/// key for the new login, or somebody who can be asked for it. Blocks.
///
/// After a failure there is no database; a configuration may be restored.
pub(crate) fn restore(
    home: &Home,
    config: &Path,
    load: impl FnOnce() -> Result<Config, LoadError>,
    from: &Path,
    (user, may_unlock): (Option<&str>, bool),
    now: Timestamp,
) -> Result<Restored, BackupError> {
    let lock = Lock::acquire(home, now.into())?;
    lock.hold_store()?;
    if Files::new(home.matrix()).load_session()?.is_some() {
        return Err(BackupError::LoggedIn);
    }
    let not_backup = || BackupError::NotBackup(from.to_owned());
    let file = File::open(from).map_err(BackupError::of("read", from))?;
    let cut = || BackupError::Cut(from.to_owned());
    let unreadable = |error| match error {
        UnpackError::Read(cause) => BackupError::Use("read", from.to_owned(), cause),
        UnpackError::Cut | UnpackError::Write(_) => cut(),
    };
    let unreadable_archive = |error| unreadable(UnpackError::of_archive(error));
    let packed = GzDecoder::new(file);
    if packed.header().is_none() {
        return Err(not_backup());
    }
    let mut archive = Archive::new(packed);
    // Raw: the names are short, and a long one would be read into memory.
    let mut entries = archive.entries().map_err(unreadable_archive)?.raw(true);
    let mut next = |name: &str, largest: u64| {
        let entry = entries.next().ok_or_else(cut)?;
        let entry = entry.map_err(unreadable_archive)?;
        let is_it = entry.path().is_ok_and(|path| path == Path::new(name));
        // A sparse file could be of any size.
        let is_file = entry.header().entry_type().is_file() && entry.size() <= largest;
        if is_it && is_file {
            Ok(entry)
        } else {
            Err(cut())
        }
    };
    let contents = whole(next(CONTENTS, LARGEST_CONTENTS)?).map_err(unreadable_archive)?;
    let contents: Contents = serde_json::from_slice(&contents).map_err(|_| not_backup())?;
    if contents.format != FORMAT {
        return Err(BackupError::Newer(from.to_owned()));
    }
    if let (Some(given), Some((user, _))) = (user, &contents.account)
        && given != user.as_str()
        && given != user.localpart()
    {
        return Err(BackupError::OtherAccount(given.to_owned(), user.clone()));
    }
    if let Some((user, _)) = &contents.account
        && !may_unlock
    {
        return Err(BackupError::NoKey(user.clone()));
    }
    let kept_config = config.exists();
    if contents.config {
        let text = whole(next(CONFIG, LARGEST_CONFIG)?).map_err(unreadable_archive)?;
        if !kept_config {
            write_private(config, &text).map_err(BackupError::of("write", config))?;
        }
    }
    let mut given_up = 0;
    if contents.database {
        let (config, mapped) = match load() {
            // Which rooms will be mapped is not known yet.
            Err(LoadError::Missing(_)) => (Config::default(), None),
            loaded => {
                let config = loaded?;
                let names = config.matrix_rooms.iter().map(|it| it.id.clone());
                let names: Vec<_> = names.collect();
                (config, Some(names))
            }
        };
        let place = database_of(home, &config);
        home.prepare_file(&place)?;
        if database_files(&place).iter().any(|it| it.exists()) {
            return Err(BackupError::HasDatabase(place));
        }
        let new = place.with_added_extension("new");
        let clean = || {
            for left in database_files(&new) {
                // It may not exist.
                drop(fs::remove_file(left));
            }
        };
        // Left behind by a restore that crashed.
        clean();
        let mut entry = next(DATABASE, LARGEST_DATABASE)?;
        let size = entry.size();
        let settled = unpack(&mut entry, size, &new)
            .map_err(|error| match error {
                UnpackError::Write(cause) => BackupError::Use("write", new.clone(), cause),
                error => unreadable(error),
            })
            .and_then(|()| match relay_store::examine(&new)? {
                Some(_) => settle(&new, &contents, mapped.as_deref(), now),
                None => Err(cut()),
            });
        given_up = settled.inspect_err(|_| clean())?;
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

fn whole(mut entry: Entry<'_, impl Read>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    entry.read_to_end(&mut text)?;
    if text.len() as u64 == entry.size() {
        Ok(text)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// `mapped`: the names of the rooms that are told; `None`: of all.
fn settle(
    database: &Path,
    contents: &Contents,
    mapped: Option<&[OwnedRoomOrAliasId]>,
    now: Timestamp,
) -> Result<usize, BackupError> {
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
    Ok(store.transaction(|tx| restored::settle(tx, &at, mapped, &notice))?)
}

#[cfg(test)]
mod tests {
    use tar::EntryType;

    use super::*;

    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    /// A home that a backup can be restored into, and a place for the backup.
    struct House {
        directory: tempfile::TempDir,
        home: Home,
    }

    impl House {
        fn empty() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let home = Home::locate(Some(&directory.path().join("home")), |_| None).unwrap();
            home.prepare(true).unwrap();
            Self { directory, home }
        }

        /// Returns a home with a database and a backup of it.
        fn backed_up() -> Self {
            let house = Self::empty();
            let database = house.home.default_database();
            house.home.prepare_file(&database).unwrap();
            drop(Store::open(&database).unwrap());
            let config = (house.home.config(), Config::default());
            let made = backup(&house.home, (&config.0, &config.1), &house.file(), NOW);
            made.unwrap();
            house
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join("backup.tar.gz")
        }

        fn restore(&self, from: &Self, user: Option<&str>) -> Result<Restored, BackupError> {
            let config = self.home.config();
            let load = || Err(LoadError::Missing(config.clone()));
            restore(&self.home, &config, load, &from.file(), (user, true), NOW)
        }

        /// Returns the names of what is in the directory of the database.
        fn names(&self) -> Vec<String> {
            let database = self.home.default_database();
            let entries = fs::read_dir(database.parent().unwrap());
            let entries = entries.into_iter().flatten().flatten();
            entries
                .map(|it| it.file_name().into_string().unwrap())
                .collect()
        }
    }

    /// Writes a file as a backup is, with these entries, each with its type, the size that it says, and what is in it.
    fn forged(house: &House, entries: &[(&str, EntryType, u64, &[u8])]) {
        let file = File::create(house.file()).unwrap();
        let mut archive = Builder::new(GzEncoder::new(file, Compression::fast()));
        for (name, kind, size, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(*size);
            archive.append_data(&mut header, name, *content).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
    }

    fn described(account: Option<&str>) -> Vec<u8> {
        let account = account.map(|it| (it.try_into().unwrap(), "https://example.org".to_owned()));
        let contents = Contents {
            format: FORMAT,
            account,
            at: "2025-01-31T12:00:00Z".to_owned(),
            config: false,
            database: true,
        };
        serde_json::to_vec(&contents).unwrap()
    }

    #[test]
    fn a_backup_that_is_not_whole_is_called_that_and_leaves_nothing() {
        let (old, new) = (House::backed_up(), House::empty());
        let whole = fs::read(old.file()).unwrap();
        for length in [12, 200, whole.len() / 2, whole.len() - 20] {
            fs::write(old.file(), &whole[..length]).unwrap();
            let cut = new.restore(&old, None).unwrap_err();
            assert!(matches!(cut, BackupError::Cut(_)), "{length}: {cut}");
            assert_eq!(new.names(), [""; 0]);
        }
        fs::write(old.file(), "something else").unwrap();
        let other = new.restore(&old, None).unwrap_err();
        assert!(matches!(other, BackupError::NotBackup(_)), "{other}");
        fs::write(old.file(), &whole).unwrap();
        new.restore(&old, None).unwrap();
        assert_eq!(new.names(), ["relay.sqlite"]);
    }

    #[test]
    fn a_file_that_unpacks_to_more_than_a_relay_has_is_refused_before_it_is_written() {
        let house = House::empty();
        let contents = described(None);
        let whole = (
            CONTENTS,
            EntryType::Regular,
            contents.len() as u64,
            &contents[..],
        );
        for (name, kind, size) in [
            (DATABASE, EntryType::Regular, LARGEST_DATABASE + 1),
            (DATABASE, EntryType::GNUSparse, 10),
            (DATABASE, EntryType::Symlink, 0),
            ("other", EntryType::Regular, 1),
        ] {
            forged(&house, &[whole, (name, kind, size, b"x")]);
            let refused = house.restore(&house, None).unwrap_err();
            assert!(matches!(refused, BackupError::Cut(_)), "{refused}");
            assert_eq!(house.names(), [""; 0]);
        }
        forged(
            &house,
            &[(CONTENTS, EntryType::Regular, LARGEST_CONTENTS + 1, b"")],
        );
        let refused = house.restore(&house, None).unwrap_err();
        assert!(matches!(refused, BackupError::Cut(_)), "{refused}");
        forged(&house, &[whole, (DATABASE, EntryType::Regular, 4, b"none")]);
        let refused = house.restore(&house, None).unwrap_err();
        assert_eq!(house.names(), [""; 0], "{refused}");
    }

    #[test]
    fn nothing_is_restored_as_long_as_the_key_of_the_new_login_is_missing() {
        let house = House::empty();
        let contents = described(Some("@relay:example.org"));
        let size = contents.len() as u64;
        forged(&house, &[(CONTENTS, EntryType::Regular, size, &contents)]);
        let config = house.home.config();
        let load = || Err(LoadError::Missing(config.clone()));
        let restored = restore(
            &house.home,
            &config,
            load,
            &house.file(),
            (None, false),
            NOW,
        );
        let refused = restored.unwrap_err();
        assert!(matches!(refused, BackupError::NoKey(_)), "{refused}");
        assert_eq!(house.names(), [""; 0]);
    }

    #[test]
    fn a_backup_is_restored_for_its_own_account_alone() {
        let house = House::empty();
        let contents = described(Some("@relay:example.org"));
        let size = contents.len() as u64;
        forged(&house, &[(CONTENTS, EntryType::Regular, size, &contents)]);
        for other in ["@other:example.org", "other", "@relay:elsewhere.org"] {
            let refused = house.restore(&house, Some(other)).unwrap_err();
            assert!(
                matches!(refused, BackupError::OtherAccount(..)),
                "{refused}"
            );
        }
        for own in ["@relay:example.org", "relay"] {
            let further = house.restore(&house, Some(own)).unwrap_err();
            assert!(matches!(further, BackupError::Cut(_)), "{further}");
        }
    }
}
