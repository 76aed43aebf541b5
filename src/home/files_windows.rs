//! The home's file system, owner and permissions, on Windows. Who may use a file follows from its directory there, and a user's
//! own profile, where the home is unless another one is named, is closed to other users.

use std::env::{self, consts};
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf, Prefix};

use relay_disk::rename;

/// `ERROR_INVALID_FUNCTION` (winerror.h).
const NO_LINKS: i32 = 1;

/// The variable that names a user's own directory.
pub(super) const USER_HOME: &str = "USERPROFILE";

/// Does nothing.
pub(super) fn make_new_files_private() {}

/// Returns the file that is locked for a file: one beside it, since a locked file cannot be read.
pub(super) fn lockable(path: &Path) -> PathBuf {
    path.with_added_extension("locked")
}

/// Opens what is locked for a directory: a file beside it, which is made if it is not there.
pub(super) fn open_directory(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    options.open(lockable(path))
}

/// Returns the name of this computer.
pub(crate) fn host_name() -> String {
    env::var("COMPUTERNAME").unwrap_or_default()
}

/// Returns the names of the system and of the processor.
pub(crate) fn system_name() -> String {
    format!("{} {}", consts::OS, consts::ARCH)
}

/// Gives a file another name, and replaces nothing.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        // A FAT file system has no links, as on a stick.
        Err(error) if error.raw_os_error() == Some(NO_LINKS) && !to.exists() => rename(from, to),
        linked => linked,
    }
}

/// Returns the network file system of a path; that behind a letter is not known.
pub(super) fn network_file_system(path: &Path) -> Option<&'static str> {
    let Some(Component::Prefix(prefix)) = path.components().next() else {
        return None;
    };
    matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..)).then_some("SMB")
}

pub(super) fn narrow(paths: &[PathBuf]) -> Option<String> {
    wide(paths)
}

/// Returns a sentence on the first of these that is there, and outside of the user's own profile.
pub(super) fn wide(paths: &[PathBuf]) -> Option<String> {
    let profile = PathBuf::from(env::var_os(USER_HOME)?);
    // A name may be written in several ways (`c:\USERS`, `PROGRA~1`), and lead elsewhere.
    let inside = fs::canonicalize(&profile).ok()?;
    let is_outside =
        |path: &&PathBuf| fs::canonicalize(path).is_ok_and(|it| !it.starts_with(&inside));
    let path = paths.iter().find(is_outside)?;
    let (path, profile) = (path.display(), profile.display());
    Some(format!(
        "others on this computer may be able to read `{path}`, which is outside of `{profile}`: in the properties of that folder, \
         under Security, leave it to your own account, or move the home into your profile"
    ))
}

pub(super) fn exposed(_: &[PathBuf]) -> Option<&PathBuf> {
    None
}

pub(super) fn other_owner(_: &Path) -> Option<(u32, u32)> {
    None
}

pub(super) fn barred(_: &[PathBuf]) -> Option<(&PathBuf, u32, u32)> {
    None
}
