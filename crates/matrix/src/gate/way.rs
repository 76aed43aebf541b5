//! How the SDK's requests find the gate.

use std::path::{Path, PathBuf};

use matrix_sdk::reqwest::ClientBuilder;

/// Returns where the gate's socket is.
pub(super) fn socket(directory: &Path) -> PathBuf {
    directory.join("requests.sock")
}

/// Has a client send its requests through the socket of this name.
pub(super) fn through(client: ClientBuilder, name: &Path) -> ClientBuilder {
    client.unix_socket(name)
}
