//! Paths of the programs under test, and temporary directories.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Returns the built `relay`.
pub(crate) fn relay_program() -> PathBuf {
    env!("CARGO_BIN_EXE_relay").into()
}

/// Makes a temporary directory, removed on drop. Its path is short: a socket's name must fit in 107 bytes.
pub(crate) fn temporary_directory(name: &str) -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix(name);
    let made = match option_env!("CARGO_TARGET_TMPDIR") {
        Some(parent) if Path::new(parent).is_dir() => builder.tempdir_in(parent),
        Some(_) | None => builder.tempdir(),
    };
    made.expect("a temporary directory can be made")
}

/// Returns the virtual environment with the homeserver.
pub(crate) fn virtual_environment() -> PathBuf {
    let cache = || {
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(home)
    };
    let path = std::env::var_os("RELAY_TEST_VENV")
        .map(PathBuf::from)
        .or_else(|| Some(cache()?.join("relay/venv")))
        .expect("RELAY_TEST_VENV or HOME is set");
    assert!(
        path.join("bin/synapse_homeserver").exists(),
        "there is no homeserver in {}: run scripts/test once, it sets up what the tests need",
        path.display()
    );
    path
}
