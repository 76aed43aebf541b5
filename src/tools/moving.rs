//! Takes a login from one home to another, in a file.

use std::fs;
use std::path::Path;

use super::database_of;
use crate::home::{Home, HomeError, Lock, LockError, utc};
use relay_config::{Config, Secret};
use relay_matrix::FilesError;
use relay_matrix::auth::{self, ExportError, Exported, Files};
use relay_model::{Explained, Timestamp};
use relay_store::StoreError;

/// Why a login was not taken along.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MovingError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Database(#[from] StoreError),
}

impl Explained for MovingError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Lock(error) => error.hint(),
            Self::Home(error) => error.hint(),
            Self::Files(error) => error.hint(),
            Self::Export(error) => error.hint(),
            Self::Database(error) => error.hint(),
        }
    }
}

/// A whole home, held: no daemon runs in it.
pub(crate) struct Held<'a> {
    home: &'a Home,
    files: Files,
    _lock: Lock,
}

impl<'a> Held<'a> {
    /// Takes a home whose login can be exported into this file, as far as can be seen before a passphrase is typed.
    pub(crate) fn to_export(home: &'a Home, to: &Path) -> Result<Self, MovingError> {
        let held = Self::take(home)?;
        auth::may_export(&held.files, to)?;
        Ok(held)
    }

    /// Takes a home that can import a login from this file, as far as can be seen before a passphrase is typed.
    pub(crate) fn to_import(home: &'a Home, from: &Path) -> Result<Self, MovingError> {
        let held = Self::take(home)?;
        auth::may_import(&held.files, from)?;
        Ok(held)
    }

    fn take(home: &'a Home) -> Result<Self, MovingError> {
        let lock = Lock::acquire(home, Timestamp::now().into())?;
        lock.hold_store()?;
        let files = Files::new(home.matrix());
        files.finish()?;
        Ok(Self {
            home,
            files,
            _lock: lock,
        })
    }
}

/// Writes the login of a home, with its database if asked, into a new file, and marks the home. Blocks.
pub(crate) fn export(
    Held { home, files, .. }: &Held<'_>,
    config: &Config,
    to: &Path,
    passphrase: &Secret<String>,
    with_database: bool,
) -> Result<Exported, MovingError> {
    let at = utc(Timestamp::now().into());
    if !with_database {
        return Ok(auth::export(files, to, passphrase, None, &at)?);
    }
    let copy = home.copied_database();
    // Left behind by a command that crashed.
    drop(fs::remove_file(&copy));
    let found = relay_store::copy(&database_of(home, config), &copy);
    let exported = found.map_err(MovingError::from).and_then(|is_there| {
        let copy = is_there.then_some(&*copy);
        Ok(auth::export(files, to, passphrase, copy, &at)?)
    });
    drop(fs::remove_file(&copy));
    exported
}

/// Takes an exported login into a home. Blocks.
pub(crate) fn import(
    Held { home, files, .. }: &Held<'_>,
    config: &Config,
    from: &Path,
    passphrase: &Secret<String>,
    is_imported_nowhere: bool,
) -> Result<Exported, MovingError> {
    let database = database_of(home, config);
    home.prepare_file(&database)?;
    let imported = auth::import(files, from, passphrase, &database, is_imported_nowhere);
    Ok(imported?)
}
