//! The files of a login: the session, the key of the SDK's store, the recovery key. No network access.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::session::StoredSession;
use relay_config::Secret;
use relay_disk::{create_private_directory, cure, rename, sync_directory, write_private};
use relay_model::Explained;

/// Hint for a login that cannot be used any more.
pub(super) const LOG_IN_ANEW: &str =
    "run `relay auth recover`, which logs in anew and keeps the account's identity";

/// Why a file below `matrix/` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The action that failed, the file, and the cause.
    #[error("cannot {0} `{1}`")]
    Use(&'static str, PathBuf, #[source] io::Error),
    /// The file is not as we wrote it; the cause does not quote the file.
    #[error("`{0}` is damaged")]
    Damaged(PathBuf, #[source] io::Error),
    /// The login was exported: a relay that goes on with it here destroys the encryption of the one that took it in.
    #[error("the login of this home was exported to `{}` on {}, and is not used here any more", .0.to.display(), .0.at)]
    Moved(Moved),
}

/// Where a login has gone; stands in `moved.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The exported file.
    pub to: PathBuf,
    /// When, in UTC, as `2025-01-31T12:00:00Z`.
    pub at: String,
}

impl Explained for FilesError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Use(.., cause) => cure(cause),
            Self::Damaged(..) => Some(LOG_IN_ANEW.to_owned()),
            Self::Moved(_) => Some(
                "run the relay where it was imported; `relay auth import` takes it back from a file that is exported there; `relay auth \
                 recover` makes a login of its own for this home"
                    .to_owned(),
            ),
        }
    }
}

impl FilesError {
    pub(super) fn of(
        deed: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Use(deed, path, cause)
    }

    pub(super) fn damaged(path: PathBuf, what: impl Into<String>) -> Self {
        let cause = io::Error::new(io::ErrorKind::InvalidData, what.into());
        Self::Damaged(path, cause)
    }
}

/// The parts of a login, in the order of their replacement: the session comes last and makes the login valid.
const PARTS: [&str; 3] = ["sdk", "sdk.key", "session.json"];

/// Says that the login here was exported.
const MOVED: &str = "moved.json";

/// Says where an import has put the database of a login that is not in its place yet.
const IMPORTING: &str = "importing";

/// The directory `<home>/matrix` and the files in it.
///
/// A login is created in `new/`, beside the current one. When complete, `new/` is renamed to `next/` in one step, which
/// makes it valid; the holder of the store lock then moves its parts into place with [`Files::finish`]. A crash at any
/// point leaves either the old login or the new one.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
}

impl Files {
    /// Names the directory of the login; creates nothing on disk.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Returns the path of `session.json`, the stored session.
    pub fn session(&self) -> PathBuf {
        self.directory.join("session.json")
    }

    /// Returns the path of `sdk/`, the SDK's stores.
    pub fn sdk(&self) -> PathBuf {
        self.directory.join("sdk")
    }

    /// `sdk.key`, the encryption key of the SDK's stores.
    pub fn key(&self) -> PathBuf {
        self.directory.join("sdk.key")
    }

    /// `recovery.key`, the default place of a recovery key that could not be shown.
    pub fn recovery_key(&self) -> PathBuf {
        self.directory.join("recovery.key")
    }

    /// `store/`, where MMRelay keeps its keys in a home that both use.
    pub(super) fn store_of_mmrelay(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// `devices/`, notes of the devices that logins created or replaced.
    pub(super) fn devices(&self) -> PathBuf {
        self.directory.join("devices")
    }

    /// Fails if the login was exported.
    fn check_not_moved(&self) -> Result<(), FilesError> {
        let path = self.directory.join(MOVED);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(FilesError::of("read", path)(error)),
        };
        let moved = serde_json::from_slice(&text).unwrap_or_else(|_| Moved {
            to: "?".into(),
            at: "an unknown day".to_owned(),
        });
        Err(FilesError::Moved(moved))
    }

    /// Marks the login as exported.
    pub(super) fn mark_moved(&self, moved: &Moved) -> Result<(), FilesError> {
        let path = self.directory.join(MOVED);
        let text = serde_json::to_vec(moved)
            .map_err(|error| FilesError::of("write", &path)(error.into()))?;
        replace(&path, &text)
    }

    pub(super) fn delete_mark(&self) -> Result<(), FilesError> {
        delete(&self.directory.join(MOVED))
    }

    /// Notes that an import puts a database there: it is not one of somebody else if the import has to start over.
    pub(super) fn note_import(&self, database: &Path) -> Result<(), FilesError> {
        let path = self.directory.join(IMPORTING);
        replace(&path, database.as_os_str().as_encoded_bytes())
    }

    /// Returns whether an import that did not come to its end may have put this database in its place.
    pub(super) fn was_importing(&self, database: &Path) -> bool {
        let noted = fs::read(self.directory.join(IMPORTING));
        noted.is_ok_and(|noted| noted == database.as_os_str().as_encoded_bytes())
    }

    /// `new/`, where a login is created.
    pub(super) fn fresh(&self) -> Self {
        Self::new(self.directory.join("new"))
    }

    /// `next/`, a complete login on the way to its place.
    fn next(&self) -> Self {
        Self::new(self.directory.join("next"))
    }

    /// Returns the session, or `None` where nobody has logged in. Fails with [`FilesError::Moved`] if it was exported.
    pub fn load_session(&self) -> Result<Option<StoredSession>, FilesError> {
        if let Some(session) = self.next().load_own_session()? {
            return Ok(Some(session));
        }
        self.check_not_moved()?;
        self.load_own_session()
    }

    fn load_own_session(&self) -> Result<Option<StoredSession>, FilesError> {
        let path = self.session();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(FilesError::of("read", path)(error)),
        };
        let session = serde_json::from_slice(&text).map_err(|error| {
            // The parser's own message could quote a token.
            let place = format!("line {}, column {}", error.line(), error.column());
            FilesError::damaged(path, place)
        })?;
        Ok(Some(session))
    }

    /// Replaces the session file atomically, readable for its owner only. On failure the old file is untouched.
    pub fn save_session(&self, session: &StoredSession) -> Result<(), FilesError> {
        let path = self.session();
        let mut text = serde_json::to_vec_pretty(session)
            .map_err(|error| FilesError::of("write", &path)(error.into()))?;
        text.push(b'\n');
        create_directory(&self.directory)?;
        replace(&path, &text)
    }

    /// Replaces the current login by one created in [`Files::fresh`]. Fails if the new login could not be made valid,
    /// or is valid but could not be moved into place.
    pub(super) fn put_in_place(&self, fresh: &Self) -> Result<(), FilesError> {
        let next = self.next().directory;
        let counts = || {
            sync_directory(&fresh.directory)?;
            rename(&fresh.directory, &next)?;
            sync_directory(&self.directory)
        };
        counts().map_err(FilesError::of("write", &next))?;
        self.finish()
    }

    /// Moves the parts of a valid login into place. The caller holds the store lock. Can be repeated after a failure.
    pub fn finish(&self) -> Result<(), FilesError> {
        let next = self.next().directory;
        if !self.is_on_the_way() {
            return Ok(());
        }
        self.delete_mark()?;
        delete(&self.directory.join(IMPORTING))?;
        for part in PARTS {
            let (from, to) = (next.join(part), self.directory.join(part));
            if !from.exists() {
                continue;
            }
            if to.is_dir() {
                delete(&to)?;
            }
            rename(&from, &to)
                .and_then(|()| sync_directory(&self.directory))
                .map_err(FilesError::of("write", to))?;
        }
        delete(&next)
    }

    /// Returns whether a valid login is on the way to its place, so that its parts stand in two places until
    /// [`Files::finish`].
    pub(super) fn is_on_the_way(&self) -> bool {
        self.next().directory.is_dir()
    }

    /// Deletes an unfinished login.
    pub(super) fn delete_fresh(&self) -> Result<(), FilesError> {
        delete(&self.fresh().directory)
    }

    pub(super) fn load_key(&self) -> Result<[u8; 32], FilesError> {
        let path = self.key();
        match fs::read(&path) {
            Ok(bytes) => bytes.try_into().map_err(|wrong: Vec<u8>| {
                FilesError::damaged(path, format!("{} bytes instead of 32", wrong.len()))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(FilesError::damaged(path, "it is missing"))
            }
            Err(error) => Err(FilesError::of("read", path)(error)),
        }
    }

    /// Prepares a new store: deletes the session, key and store of an earlier login, and writes a new key.
    pub(super) fn create_key(&self) -> Result<[u8; 32], FilesError> {
        delete(&self.session())?;
        self.delete_store()?;
        create_directory(&self.directory)?;
        let mut key = [0_u8; 32];
        rand::rng().fill_bytes(&mut key);
        replace(&self.key(), &key)?;
        create_directory(&self.sdk())?;
        Ok(key)
    }

    /// Deletes `sdk.key`, `sdk/` and any unfinished login.
    pub(super) fn delete_store(&self) -> Result<(), FilesError> {
        self.delete_fresh()?;
        delete(&self.key())?;
        delete(&self.sdk())
    }

    /// Returns the files that hold recovery keys.
    pub fn recovery_keys(&self) -> Vec<PathBuf> {
        let newest = self.recovery_key();
        let older = newest.with_added_extension("old");
        let all = [newest, older].into_iter();
        all.filter(|path| path.exists()).collect()
    }

    /// Writes a recovery key, readable for its owner only. An older key in that file is kept beside it as `….old`:
    /// there may be no other copy.
    pub(super) fn save_recovery_key(
        &self,
        path: &Path,
        key: &Secret<String>,
    ) -> Result<(), FilesError> {
        create_directory(&self.directory)?;
        if path.exists() {
            let old = path.with_added_extension("old");
            rename(path, &old).map_err(FilesError::of("write", old))?;
        }
        replace(path, format!("{}\n", key.reveal()).as_bytes())
    }
}

pub(super) fn create_directory(path: &Path) -> Result<(), FilesError> {
    create_private_directory(path).map_err(FilesError::of("write", path))
}

/// Deletes a file, or a directory with its contents. Succeeds if it does not exist.
pub(super) fn delete(path: &Path) -> Result<(), FilesError> {
    let deleted = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match deleted {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FilesError::of("delete", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Replaces a file atomically, readable for its owner only.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<(), FilesError> {
    write_private(path, content).map_err(FilesError::of("write", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::session::test_session::session;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_session_that_is_saved_loads_again_and_only_its_owner_can_read_it() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path().join("matrix"));
        assert_eq!(files.load_session().unwrap(), None);
        files.save_session(&session()).unwrap();
        files.save_session(&session()).unwrap();
        assert_eq!(files.load_session().unwrap(), Some(session()));
        assert_eq!(mode(&files.session()), 0o600);
        assert_eq!(mode(&home.path().join("matrix")), 0o700);
    }

    #[test]
    fn a_token_is_never_printed() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        fs::write(files.session(), r#"{"access_token": "syt_secret", "#).unwrap();
        let error = files.load_session().unwrap_err();
        assert!(!format!("{error:?}").contains("syt_secret"));
        let hint = error.hint().unwrap();
        assert!(hint.contains("relay auth recover"));
    }

    /// A home with a login of device `OLD`, and a complete one of device `NEW` in `new/`.
    fn two_logins() -> (tempfile::TempDir, Files) {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        for (files, name) in [(&files, "OLD"), (&files.fresh(), "NEW")] {
            files.create_key().unwrap();
            fs::write(files.key(), name).unwrap();
            fs::write(files.sdk().join(name), "").unwrap();
            let mut session = session();
            session.device_id = name.into();
            files.save_session(&session).unwrap();
        }
        (home, files)
    }

    /// Returns the device of the login, asserting that its parts belong together.
    #[track_caller]
    fn whole(files: &Files) -> String {
        let device = files.load_session().unwrap().unwrap().device_id.to_string();
        assert_eq!(fs::read_to_string(files.key()).unwrap(), device);
        let stores: Vec<_> = fs::read_dir(files.sdk()).unwrap().collect();
        assert_eq!(stores.len(), 1);
        assert!(files.sdk().join(&device).exists());
        device
    }

    #[test]
    fn a_login_that_is_not_whole_leaves_the_old_one() {
        let (_home, files) = two_logins();
        files.finish().unwrap();
        assert_eq!(whole(&files), "OLD");
        files.delete_fresh().unwrap();
        assert_eq!(whole(&files), "OLD");
    }

    #[test]
    fn a_login_takes_the_place_of_the_old_one_whole_and_leaves_nothing_behind() {
        let (home, files) = two_logins();
        files.put_in_place(&files.fresh()).unwrap();
        assert_eq!(whole(&files), "NEW");
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().collect();
        assert_eq!(left.len(), PARTS.len());
    }

    #[test]
    fn after_a_crash_at_any_point_of_the_exchange_the_new_login_counts_and_is_finished() {
        for moved in 0..=PARTS.len() {
            for half_way in [false, true] {
                let (_home, files) = two_logins();
                let next = files.next().directory;
                fs::rename(files.fresh().directory, &next).unwrap();
                for part in &PARTS[..moved] {
                    let to = files.directory.join(part);
                    delete(&to).unwrap();
                    fs::rename(next.join(part), to).unwrap();
                }
                if half_way && moved == 0 {
                    fs::remove_file(files.sdk().join("OLD")).unwrap();
                } else if half_way && moved == PARTS.len() {
                    fs::remove_dir_all(&next).unwrap();
                }
                let device = files.load_session().unwrap().unwrap().device_id;
                assert_eq!(device, "NEW", "after {moved} parts");
                files.finish().unwrap();
                assert_eq!(whole(&files), "NEW", "after {moved} parts");
                assert!(!next.exists());
            }
        }
    }

    #[tokio::test]
    async fn whoever_only_looks_at_a_login_does_not_move_it() {
        let (_home, files) = two_logins();
        fs::rename(files.fresh().directory, files.next().directory).unwrap();
        assert_eq!(crate::auth::damage(&files, true).await.unwrap(), None);
        assert!(files.is_on_the_way());
        assert!(files.sdk().join("OLD").exists());
    }

    #[test]
    fn a_new_key_replaces_everything_of_the_earlier_login() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        files.save_session(&session()).unwrap();
        let first = files.create_key().unwrap();
        fs::write(files.sdk().join("old"), "old").unwrap();
        let second = files.create_key().unwrap();
        assert_ne!(first, second);
        assert_eq!(files.load_key().unwrap(), second);
        assert!(!files.sdk().join("old").exists());
        assert_eq!(files.load_session().unwrap(), None);
        assert_eq!(mode(&files.key()), 0o600);
        assert_eq!(mode(&files.sdk()), 0o700);
    }

    #[test]
    fn an_earlier_recovery_key_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::new(home.path());
        let path = files.recovery_key();
        files
            .save_recovery_key(&path, &Secret::new("one".to_owned()))
            .unwrap();
        files
            .save_recovery_key(&path, &Secret::new("two".to_owned()))
            .unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        let old = home.path().join("recovery.key.old");
        assert_eq!(fs::read_to_string(old).unwrap(), "one\n");
        assert_eq!(mode(&path), 0o600);
    }
}
