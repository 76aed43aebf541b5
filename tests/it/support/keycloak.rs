//! A stand-in of Keycloak (`keycloak.py`): its token endpoint, with its own answers.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::process::{temporary_directory, virtual_environment};

/// The password of every account there.
pub(crate) const PASSWORD: &str = "a password at the identity provider";
/// The secret of the client `secret-relay`.
pub(crate) const SECRET: &str = "a secret for tests only";

/// An identity provider with one realm, `club`; it ends when this process ends.
#[derive(Debug)]
pub(crate) struct Keycloak {
    port: u16,
    directory: TempDir,
    _process: Child,
}

impl Keycloak {
    pub(crate) fn start() -> Self {
        let directory = temporary_directory("keycloak");
        let mut process = Command::new(virtual_environment().join("bin/python"))
            .args(["-c", include_str!("keycloak.py")])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut port = String::new();
        let output = process.stdout.take().expect("its output is a pipe");
        let read = BufReader::new(output).read_line(&mut port);
        read.expect("it says its port");
        Self {
            port: port.trim().parse().expect("a port"),
            directory,
            _process: process,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// File with its public key.
    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("public.pem")
    }
}
