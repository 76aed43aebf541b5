//! Whether MMRelay runs in the old home, on Windows: whether a program has one of its files open there. Which one is not told.

use std::fmt;
use std::fs::File;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::mmrelay::LOGS;

/// Whether a program uses the old home.
#[derive(Debug)]
pub(super) enum InUse {
    No,
    By(Running),
    #[expect(dead_code, reason = "as on other systems")]
    Perhaps(Vec<Hidden>),
}

/// A file that a program has open.
#[derive(Debug)]
pub(crate) struct Running(PathBuf);

/// An MMRelay whose files we may not see: there is none.
#[derive(Debug)]
pub(crate) enum Hidden {}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a program has `{}` open", self.0.display())
    }
}

impl fmt::Display for Hidden {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// Looks for a program that uses the logs or the databases.
pub(super) fn look(homes: &[&Path], databases: &[PathBuf]) -> InUse {
    let logs = homes
        .iter()
        .flat_map(|home| LOGS.map(|name| home.join(name)));
    let mut files = databases.iter().cloned().chain(logs);
    files
        .find(|it| is_open(it))
        .map_or(InUse::No, |it| InUse::By(Running(it)))
}

/// Returns whether a program has a file open: it cannot be had alone then.
fn is_open(path: &Path) -> bool {
    /// `ERROR_SHARING_VIOLATION`. Source: winerror.h.
    const SHARING_VIOLATION: i32 = 32;
    let alone = File::options().read(true).share_mode(0).open(path);
    alone.is_err_and(|error| error.raw_os_error() == Some(SHARING_VIOLATION))
}
