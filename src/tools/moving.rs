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

/// Writes the login of a home, with its database if asked, into a new file, and marks the home. Blocks.
pub(crate) fn export(
    home: &Home,
    config: &Config,
    to: &Path,
    passphrase: &Secret<String>,
    with_database: bool,
) -> Result<Exported, MovingError> {
    let (_lock, files) = take(home)?;
    let at = utc(Timestamp::now().into());
    if !with_database {
        return Ok(auth::export(&files, to, passphrase, None, &at)?);
    }
    let copy = home.copied_database();
    // Left behind by a command that crashed.
    drop(fs::remove_file(&copy));
    let found = relay_store::copy(&database_of(home, config), &copy);
    let exported = found.map_err(MovingError::from).and_then(|is_there| {
        let copy = is_there.then_some(&*copy);
        Ok(auth::export(&files, to, passphrase, copy, &at)?)
    });
    drop(fs::remove_file(&copy));
    exported
}

/// Takes an exported login into a home. Blocks.
pub(crate) fn import(
    home: &Home,
    config: &Config,
    from: &Path,
    passphrase: &Secret<String>,
    is_imported_nowhere: bool,
) -> Result<Exported, MovingError> {
    let (_lock, files) = take(home)?;
    let database = database_of(home, config);
    home.prepare_file(&database)?;
    let imported = auth::import(&files, from, passphrase, &database, is_imported_nowhere);
    Ok(imported?)
}

/// Takes the whole home: no daemon may run in it.
fn take(home: &Home) -> Result<(Lock, Files), MovingError> {
    let lock = Lock::acquire(home, Timestamp::now().into())?;
    lock.hold_store()?;
    let files = Files::new(home.matrix());
    files.finish()?;
    Ok((lock, files))
}
