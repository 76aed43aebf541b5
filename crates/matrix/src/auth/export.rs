//! A login in one file, encrypted by a passphrase (age), to take it to another home. It goes there once: two relays with one
//! device destroy its encryption, so the home that it came from is marked, and does not use it any more.

use std::fs::{self, File};
use std::io::{self, Read};
use std::iter;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use age::{DecryptError, Decryptor, Encryptor, Identity, Recipient, scrypt};
use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, Entry, Header};
use url::Url;

use super::Files;
use crate::files::{FilesError, Moved, create_directory, replace};
use crate::session::StoredSession;
use relay_config::Secret;
use relay_disk::{UnpackError, cure, database_files, private_file, rename, sync_directory, unpack};
use relay_model::Explained;

/// The form of the file. Others are refused.
const FORMAT: u32 = 1;
/// How hard a passphrase is to try out, as a power of two: 64 MB of memory, and less than a second on a small computer. What
/// the library chooses by itself suits the computer that exports, and can be more than the one that imports has.
const WORK: u8 = 16;
/// Maximum size of the small files in bytes: what the file holds, the session, the keys.
const LARGEST_SMALL: u64 = 1024 * 1024;
/// Maximum number of files in it. Their size needs no bound: nothing in it is packed, so that all of them together are no
/// larger than the file itself.
const MOST_FILES: usize = 100;
/// The hardest that is accepted, from `age` itself: 256 MB of memory.
const MOST_WORK: u8 = 18;

// The names in the file.
const CONTENTS: &str = "contents.json";
const SESSION: &str = "session.json";
const KEY: &str = "sdk.key";
const STORE: &str = "sdk";
const RECOVERY_KEY: &str = "recovery.key";
const DATABASE: &str = "relay.sqlite";

/// What an exported file holds, as it says at its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    format: u32,
    /// The account.
    pub user: OwnedUserId,
    /// Its device.
    pub device: OwnedDeviceId,
    /// Address of its homeserver.
    pub homeserver: Url,
    /// When, in UTC, as `2025-01-31T12:00:00Z`.
    pub at: String,
    /// Whether the relay's database is in it.
    pub database: bool,
}

/// Why a login was not exported or imported. The home is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no login.
    #[error("not logged in: there is nothing to export")]
    NotLoggedIn,
    /// Something has the name of the file to be written.
    #[error("`{0}` exists already")]
    Exists(PathBuf),
    /// There is a login, which an import does not replace.
    #[error("already logged in as {0} (device {1}), and an import does not replace a login")]
    LoggedIn(OwnedUserId, OwnedDeviceId),
    /// There is a database, of which nobody knows what happened since it was written.
    #[error("there is a database already, `{0}`, which is not that of this login")]
    HasDatabase(PathBuf),
    /// The login was exported from this home, and the file is not from later; file, its time, and that of the export.
    #[error(
        "`{0}` was written on {1}, and this home's login was exported on {2}: the file does not come back from elsewhere"
    )]
    NotLater(PathBuf, String, String),
    /// The file is something else.
    #[error("`{0}` is no exported login of the relay")]
    NotExported(PathBuf),
    /// The file is one, and not whole.
    #[error("`{0}` is cut off or damaged: it cannot be read to its end")]
    Cut(PathBuf),
    /// The passphrase opens nothing.
    #[error("the passphrase is wrong, or `{0}` is damaged")]
    Passphrase(PathBuf),
    /// The file has a form that this version does not know.
    #[error("`{0}` was exported by a later version of the relay")]
    Newer(PathBuf),
    /// The action that failed, the file, and the cause.
    #[error("cannot {0} `{1}`")]
    Use(&'static str, PathBuf, #[source] io::Error),
    /// A file of the login cannot be used.
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl Explained for ExportError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotLoggedIn => "run `relay auth login`",
            Self::Exists(_) => "name another file",
            Self::LoggedIn(..) => {
                "end that login with `relay auth logout`, or give this one a home of its own with `--home`"
            }
            Self::HasDatabase(_) => {
                "export the login with `--database`; or move this one away, with `-wal` and `-shm` beside it, if what waits in it may be \
                 lost; or give the login a home of its own with `--home`"
            }
            Self::NotLater(..) => {
                "export the login where it is used now, and import that file; if this file was imported nowhere, say so with \
                 `--imported-nowhere`"
            }
            Self::NotExported(_) => "take the file as the export has written it",
            Self::Cut(_) => {
                "copy it anew from where it was exported, and compare the sizes; if that one is damaged too, `relay auth recover` makes \
                 a new login"
            }
            Self::Passphrase(_) => "try it again; without its passphrase the file is of no use",
            Self::Newer(_) => "update the relay",
            Self::Use(.., cause) => return cure(cause),
            Self::Files(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}

impl ExportError {
    fn of(deed: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Use(deed, path, cause)
    }
}

/// Returns the login, if there is one and the file is new.
pub fn may_export(files: &Files, to: &Path) -> Result<StoredSession, ExportError> {
    let session = files.load_session()?.ok_or(ExportError::NotLoggedIn)?;
    if to.exists() {
        return Err(ExportError::Exists(to.to_owned()));
    }
    Ok(session)
}

/// Writes the login into a new file, with a copy of the relay's database if one is given, and marks the home: it does not use
/// the login any more. `at`: now, in UTC.
///
/// The caller holds the home and the store. Blocks for about a second and as long as the files take. After a failure the login
/// is as it was; after a crash it may be marked, with the whole file beside its place as `….part`.
pub fn export(
    files: &Files,
    to: &Path,
    passphrase: &Secret<String>,
    database: Option<&Path>,
    at: &str,
) -> Result<Exported, ExportError> {
    let session = may_export(files, to)?;
    let exported = Exported {
        format: FORMAT,
        user: session.user_id,
        device: session.device_id,
        homeserver: session.homeserver,
        at: at.to_owned(),
        database: database.is_some(),
    };
    let part = to.with_added_extension("part");
    let moved = Moved {
        to: to.to_owned(),
        at: at.to_owned(),
    };
    let written = write(files, &part, passphrase, database, &exported)
        .map_err(ExportError::of("write", &part))
        .and_then(|()| Ok(files.mark_moved(&moved)?))
        .and_then(|()| rename(&part, to).map_err(ExportError::of("write", to)));
    if let Err(error) = written {
        drop(files.delete_mark());
        // It may not exist.
        drop(fs::remove_file(&part));
        return Err(error);
    }
    // The file is there: whatever fails now, the login is not used here any more.
    let directory = to.parent().filter(|it| !it.as_os_str().is_empty());
    sync_directory(directory.unwrap_or(Path::new("."))).map_err(ExportError::of("write", to))?;
    Ok(exported)
}

fn write(
    files: &Files,
    part: &Path,
    passphrase: &Secret<String>,
    database: Option<&Path>,
    exported: &Exported,
) -> io::Result<()> {
    // Left behind by an export that crashed.
    drop(fs::remove_file(part));
    let file = private_file().write(true).create_new(true).open(part)?;
    let mut recipient = scrypt::Recipient::new(secret(passphrase));
    recipient.set_work_factor(WORK);
    let recipients = iter::once(&recipient as &dyn Recipient);
    let encryptor = Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
    let mut archive = Builder::new(encryptor.wrap_output(file)?);
    archive.sparse(false);
    let contents = serde_json::to_vec_pretty(exported)?;
    let mut header = Header::new_gnu();
    header.set_size(contents.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, CONTENTS, &contents[..])?;
    let mut add = |name: &str, path: &Path| archive.append_file(name, &mut File::open(path)?);
    add(SESSION, &files.session())?;
    add(KEY, &files.key())?;
    let recovery_key = files.recovery_key();
    if recovery_key.exists() {
        add(RECOVERY_KEY, &recovery_key)?;
    }
    for entry in fs::read_dir(files.sdk())? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        add(&format!("{STORE}/{name}"), &entry.path())?;
    }
    if let Some(database) = database {
        add(DATABASE, database)?;
    }
    let file = archive.into_inner()?.finish()?;
    file.sync_all()
}

fn secret(passphrase: &Secret<String>) -> SecretString {
    passphrase.reveal().clone().into()
}

/// Takes an exported login into this home, with its database to that place, and returns what it is. A home whose login was
/// exported takes one that was exported elsewhere since, or if it `is_imported_nowhere` the same file: its database is kept
/// as `….old`.
///
/// The caller holds the home and the store. Blocks like [`export`]. After a failure or a crash there is either no login, or
/// the whole one.
pub fn import(
    files: &Files,
    from: &Path,
    passphrase: &Secret<String>,
    database: &Path,
    is_imported_nowhere: bool,
) -> Result<Exported, ExportError> {
    let taken = take_in(files, from, passphrase, database, is_imported_nowhere);
    if taken.is_err() {
        // What was unpacked holds keys. It may not exist.
        drop(files.delete_fresh());
        drop(fs::remove_file(unpacked(database)));
    }
    taken
}

/// Returns whether a home can take in a login, and the file is one that is encrypted by a passphrase.
pub fn may_import(files: &Files, from: &Path) -> Result<(), ExportError> {
    moved(files)?;
    encrypted(from)?;
    Ok(())
}

/// Returns where the home's login went, if it was exported; fails if it is in use here.
fn moved(files: &Files) -> Result<Option<Moved>, ExportError> {
    match files.load_session() {
        Ok(Some(session)) => Err(ExportError::LoggedIn(session.user_id, session.device_id)),
        Ok(None) => Ok(None),
        Err(FilesError::Moved(moved)) => Ok(Some(moved)),
        Err(error) => Err(error.into()),
    }
}

fn encrypted(from: &Path) -> Result<Decryptor<File>, ExportError> {
    let file = File::open(from).map_err(ExportError::of("read", from))?;
    Decryptor::new(file).map_err(|error| match error {
        DecryptError::Io(error) => unreadable(from, error),
        _ => ExportError::NotExported(from.to_owned()),
    })
}

fn unreadable(from: &Path, error: io::Error) -> ExportError {
    match UnpackError::of_archive(error) {
        UnpackError::Read(cause) => ExportError::Use("read", from.to_owned(), cause),
        UnpackError::Cut | UnpackError::Write(_) => ExportError::Cut(from.to_owned()),
    }
}

fn unpacked(database: &Path) -> PathBuf {
    database.with_added_extension("new")
}

fn take_in(
    files: &Files,
    from: &Path,
    passphrase: &Secret<String>,
    database: &Path,
    is_imported_nowhere: bool,
) -> Result<Exported, ExportError> {
    let moved = moved(files)?;
    let not_exported = || ExportError::NotExported(from.to_owned());
    let cut = || ExportError::Cut(from.to_owned());
    let unreadable = |error| unreadable(from, error);
    let mut identity = scrypt::Identity::new(secret(passphrase));
    identity.set_max_work_factor(MOST_WORK);
    let opened = encrypted(from)?.decrypt(iter::once(&identity as &dyn Identity));
    let opened = opened.map_err(|_| ExportError::Passphrase(from.to_owned()))?;
    let mut archive = Archive::new(opened);
    // Raw: the names are short, and a long one would be read into memory.
    let mut entries = archive.entries().map_err(unreadable)?.raw(true);
    let first = entries.next().ok_or_else(cut)?.map_err(unreadable)?;
    let exported = contents(first).map_err(unreadable)?;
    let exported: Exported = exported.ok_or_else(not_exported)?;
    if exported.format != FORMAT {
        return Err(ExportError::Newer(from.to_owned()));
    }
    if let Some(moved) = &moved
        && moved.at >= exported.at
        && !is_imported_nowhere
    {
        let (at, left) = (exported.at, moved.at.clone());
        return Err(ExportError::NotLater(from.to_owned(), at, left));
    }
    // A home gets its database back, newer; that of an export without one is still there, and as it was.
    let is_back = moved.is_some() && (exported.database || is_imported_nowhere);
    let may_be_there = is_back || files.was_importing(database);
    if !may_be_there && database_files(database).iter().any(|it| it.exists()) {
        return Err(ExportError::HasDatabase(database.to_owned()));
    }
    files.delete_fresh()?;
    let fresh = files.fresh();
    create_directory(&fresh.sdk())?;
    let new_database = unpacked(database);
    for (count, entry) in entries.enumerate() {
        if count == MOST_FILES {
            return Err(cut());
        }
        let mut entry = entry.map_err(unreadable)?;
        let name = entry.path().map_err(|_| cut())?;
        let name = name.to_str().ok_or_else(cut)?.to_owned();
        let (path, is_small) = match name.split_once('/') {
            None if name == SESSION => (fresh.session(), true),
            None if name == KEY => (fresh.key(), true),
            None if name == RECOVERY_KEY => (fresh.recovery_key(), true),
            None if name == DATABASE => (new_database.clone(), false),
            Some((STORE, file)) if is_file_name(file) => (fresh.sdk().join(file), false),
            Some(_) | None => return Err(cut()),
        };
        let size = entry.size();
        // A sparse file could be of any size.
        if !entry.header().entry_type().is_file() || is_small && size > LARGEST_SMALL {
            return Err(cut());
        }
        unpack(&mut entry, size, &path).map_err(|error| match error {
            UnpackError::Cut => cut(),
            UnpackError::Read(cause) => ExportError::Use("read", from.to_owned(), cause),
            UnpackError::Write(cause) => ExportError::Use("write", path, cause),
        })?;
    }
    let session = fresh.load_session()?;
    let is_whole = session.is_some_and(|it| it.device_id == exported.device);
    if !is_whole || exported.database && !new_database.exists() {
        return Err(cut());
    }
    fresh.load_key()?;
    if exported.database {
        files.note_import(database)?;
        keep_old(database)
            .and_then(|()| rename(&new_database, database))
            .and_then(|()| sync_directory(database.parent().unwrap_or(Path::new("."))))
            .map_err(ExportError::of("write", database))?;
    }
    let recovery_key = fresh.recovery_key();
    if recovery_key.exists() && !files.recovery_key().exists() {
        let key = fs::read(&recovery_key).map_err(ExportError::of("read", &recovery_key))?;
        replace(&files.recovery_key(), &key)?;
    }
    files.put_in_place(&fresh)?;
    Ok(exported)
}

fn contents(entry: Entry<'_, impl Read>) -> io::Result<Option<Exported>> {
    if !entry.path().is_ok_and(|path| path == Path::new(CONTENTS)) {
        return Ok(None);
    }
    let mut text = Vec::new();
    entry.take(LARGEST_SMALL).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\'])
}

/// Keeps a database and its logs beside their place.
fn keep_old(database: &Path) -> io::Result<()> {
    let kept = database_files(&database.with_added_extension("old"));
    let is_there = database.exists();
    for (path, kept) in database_files(database).iter().zip(kept) {
        if path.exists() {
            rename(path, &kept)?;
        } else if is_there {
            // A log of one that was kept before. It may not exist.
            drop(fs::remove_file(kept));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tar::EntryType;

    use super::*;
    use crate::session::test_session::session;

    fn passphrase(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    /// A home with a login and a database.
    struct House {
        directory: tempfile::TempDir,
        files: Files,
        is_second: bool,
    }

    impl House {
        fn empty() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let files = Files::new(directory.path().join("matrix"));
            create_directory(&directory.path().join("matrix")).unwrap();
            Self {
                directory,
                files,
                is_second: true,
            }
        }

        fn logged_in() -> Self {
            let mut house = Self::empty();
            house.is_second = false;
            house.files.create_key().unwrap();
            fs::write(house.files.sdk().join("crypto.sqlite3"), "keys").unwrap();
            fs::write(house.files.recovery_key(), "EsTc\n").unwrap();
            house.files.save_session(&session()).unwrap();
            fs::write(house.database(), "rows").unwrap();
            house
        }

        fn database(&self) -> PathBuf {
            self.directory.path().join("relay.sqlite")
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join("login.age")
        }

        fn export(&self) -> Result<Exported, ExportError> {
            let database = self.database();
            let secret = passphrase("correct horse");
            let at = if self.is_second {
                "2025-02-28T12:00:00Z"
            } else {
                "2025-01-31T12:00:00Z"
            };
            export(&self.files, &self.file(), &secret, Some(&database), at)
        }

        fn import(&self, from: &Self, secret: &str) -> Result<Exported, ExportError> {
            let secret = passphrase(secret);
            import(&self.files, &from.file(), &secret, &self.database(), false)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.directory.path().join("matrix")).unwrap();
            let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_login_goes_to_another_home_whole_and_is_not_used_where_it_was() {
        let (old, new) = (House::logged_in(), House::empty());
        let exported = old.export().unwrap();
        let moved = old.files.load_session().unwrap_err();
        assert!(matches!(&moved, FilesError::Moved(it) if it.to == old.file()));
        assert!(matches!(
            old.export(),
            Err(ExportError::Files(FilesError::Moved(_)))
        ));

        assert_eq!(new.import(&old, "correct horse").unwrap(), exported);
        assert_eq!(new.files.load_session().unwrap(), Some(session()));
        let key = |house: &House| fs::read(house.files.key()).unwrap();
        assert_eq!(key(&new), key(&old));
        let text = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(text(new.files.sdk().join("crypto.sqlite3")), "keys");
        assert_eq!(text(new.database()), "rows");
        assert_eq!(
            new.names(),
            ["recovery.key", "sdk", "sdk.key", "session.json"]
        );
        let again = new.import(&old, "correct horse").unwrap_err();
        assert!(matches!(again, ExportError::LoggedIn(..)), "{again}");
    }

    #[test]
    fn a_login_that_comes_back_brings_its_database_and_keeps_the_stale_one() {
        let (old, new) = (House::logged_in(), House::empty());
        old.export().unwrap();
        new.import(&old, "correct horse").unwrap();
        fs::write(new.database(), "newer rows").unwrap();
        // Its own file does not bring it back: the login may have been used elsewhere since.
        let same = old.import(&old, "correct horse").unwrap_err();
        assert!(matches!(same, ExportError::NotLater(..)), "{same}");
        new.export().unwrap();
        old.import(&new, "correct horse").unwrap();
        assert_eq!(old.files.load_session().unwrap(), Some(session()));
        let text = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(text(old.database()), "newer rows");
        assert_eq!(text(old.database().with_added_extension("old")), "rows");
    }

    #[test]
    fn nothing_is_taken_in_from_a_file_that_cannot_be_read_to_its_end() {
        let (old, new) = (House::logged_in(), House::empty());
        old.export().unwrap();
        let wrong = new.import(&old, "wrong horse").unwrap_err();
        assert!(matches!(wrong, ExportError::Passphrase(_)), "{wrong}");
        let whole = fs::read(old.file()).unwrap();
        for length in [0, 10, 200, whole.len() / 2, whole.len() - 1] {
            fs::write(old.file(), &whole[..length]).unwrap();
            let cut = new.import(&old, "correct horse").unwrap_err();
            // A file that is cut within its header says nothing about the passphrase either.
            assert!(matches!(cut, ExportError::Cut(_)), "{length}: {cut}");
            assert_eq!(new.files.load_session().unwrap(), None);
            assert!(!new.database().exists());
        }
        fs::write(old.file(), &whole).unwrap();
        let log = new.directory.path().join("relay.sqlite-wal");
        fs::write(&log, "left behind").unwrap();
        let kept = new.import(&old, "correct horse").unwrap_err();
        assert!(matches!(kept, ExportError::HasDatabase(_)), "{kept}");
        fs::remove_file(log).unwrap();
        fs::write(new.database(), "mine").unwrap();
        let kept = new.import(&old, "correct horse").unwrap_err();
        assert!(matches!(kept, ExportError::HasDatabase(_)), "{kept}");
        fs::remove_file(new.database()).unwrap();
        new.import(&old, "correct horse").unwrap();
    }

    /// Writes a file as an export does, with these entries behind what it holds.
    fn forged(house: &House, entries: &[(&str, EntryType, u64)]) {
        let exported = Exported {
            format: FORMAT,
            user: session().user_id,
            device: session().device_id,
            homeserver: session().homeserver,
            at: "2025-01-31T12:00:00Z".to_owned(),
            database: false,
        };
        let mut recipient = scrypt::Recipient::new(secret(&passphrase("correct horse")));
        recipient.set_work_factor(1);
        let recipients = iter::once(&recipient as &dyn Recipient);
        let encryptor = Encryptor::with_recipients(recipients).unwrap();
        let file = File::create(house.file()).unwrap();
        let mut archive = Builder::new(encryptor.wrap_output(file).unwrap());
        let contents = serde_json::to_vec(&exported).unwrap();
        let whole = (CONTENTS, EntryType::Regular, contents.len() as u64);
        for (name, kind, size) in iter::once(&whole).chain(entries) {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(*size);
            let zeros = io::repeat(0).take(*size);
            let text = if *name == CONTENTS {
                &contents[..]
            } else {
                &[]
            };
            archive
                .append_data(&mut header, name, text.chain(zeros))
                .unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
    }

    #[test]
    fn a_file_with_what_no_export_writes_is_refused_and_leaves_nothing() {
        let many: Vec<String> = (0..=MOST_FILES).map(|it| format!("sdk/{it}")).collect();
        let many: Vec<_> = (many.iter().map(|it| (&**it, EntryType::Regular, 1))).collect();
        let house = House::empty();
        for entries in [
            &[("sdk/a/b", EntryType::Regular, 1)][..],
            &[("other", EntryType::Regular, 1)],
            &[("sdk/link", EntryType::Symlink, 0)],
            &[("sdk/sparse", EntryType::GNUSparse, 10)],
            &[(SESSION, EntryType::Regular, LARGEST_SMALL + 1)],
            &many,
        ] {
            forged(&house, entries);
            let refused = house.import(&house, "correct horse").unwrap_err();
            assert!(matches!(refused, ExportError::Cut(_)), "{refused}");
            assert_eq!(house.names(), [""; 0]);
        }
    }

    #[test]
    fn an_import_that_stopped_behind_its_database_starts_over() {
        let (old, new) = (House::logged_in(), House::empty());
        old.export().unwrap();
        // The login cannot take its place.
        let in_the_way = new.directory.path().join("matrix/next");
        create_directory(&in_the_way.join("something")).unwrap();
        let failed = new.import(&old, "correct horse").unwrap_err();
        assert!(matches!(failed, ExportError::Files(_)), "{failed}");
        assert!(new.database().exists() && new.files.load_session().unwrap().is_none());
        fs::remove_dir_all(in_the_way).unwrap();
        fs::write(new.database(), "rows and what came since").unwrap();
        new.import(&old, "correct horse").unwrap();
        assert_eq!(new.files.load_session().unwrap(), Some(session()));
        let text = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(text(new.database()), "rows");
        let kept = text(new.database().with_added_extension("old"));
        assert_eq!(kept, "rows and what came since");
        let left = ["recovery.key", "sdk", "sdk.key", "session.json"];
        assert_eq!(new.names(), left);
    }

    #[test]
    fn what_stands_in_the_way_is_said_before_a_passphrase_is_typed() {
        let (old, new) = (House::logged_in(), House::empty());
        let none = may_export(&new.files, &new.file());
        assert!(matches!(none, Err(ExportError::NotLoggedIn)));
        may_export(&old.files, &old.file()).unwrap();
        old.export().unwrap();
        may_import(&new.files, &old.file()).unwrap();
        let again = may_export(&House::logged_in().files, &old.file());
        assert!(matches!(again, Err(ExportError::Exists(_))));
        let in_use = may_import(&House::logged_in().files, &old.file());
        assert!(matches!(in_use, Err(ExportError::LoggedIn(..))));
        let missing = may_import(&new.files, &new.file());
        assert!(matches!(missing, Err(ExportError::Use("read", ..))));
        fs::write(new.file(), "a letter to somebody\n".repeat(20)).unwrap();
        let other = may_import(&new.files, &new.file());
        assert!(matches!(other, Err(ExportError::NotExported(_))));
    }

    #[test]
    fn an_export_that_fails_leaves_the_login_as_it_was() {
        let house = House::logged_in();
        fs::write(house.file(), "something else").unwrap();
        assert!(matches!(house.export(), Err(ExportError::Exists(_))));
        fs::remove_file(house.file()).unwrap();
        fs::remove_file(house.database()).unwrap();
        assert!(matches!(house.export(), Err(ExportError::Use(..))));
        assert_eq!(house.files.load_session().unwrap(), Some(session()));
        assert!(!house.file().exists());
        let left = house.directory.path().join("login.age.part");
        assert!(!left.exists());
    }
}
