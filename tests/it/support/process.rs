//! Paths of the programs under test, temporary directories, and other programs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::fs::{FlockOperation, flock};
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

/// Another program, which has a serial port open until it is dropped.
///
/// The tests' own process is not taken for one: it makes pseudo-terminals, as a simulated radio does.
pub(crate) struct PortHolder(Child);

impl PortHolder {
    pub(crate) fn open(port: &Path, locked: bool) -> Self {
        let file = File::options().read(true).write(true).open(port);
        let file = file.expect("the port can be opened");
        if locked {
            let lock = FlockOperation::NonBlockingLockExclusive;
            flock(&file, lock).expect("the port can be locked");
        }
        let child = Command::new("sleep").arg("3600").stdin(file).spawn();
        Self(child.expect("there is such a program"))
    }

    /// Returns how the relay names it.
    pub(crate) fn name(&self) -> String {
        format!("sleep (process {})", self.0.id())
    }
}

impl Drop for PortHolder {
    fn drop(&mut self) {
        // It has nothing to end first.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
