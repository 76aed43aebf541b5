//! How the SDK's requests find the gate, on Windows.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use matrix_sdk::reqwest::ClientBuilder;

/// Gates that this process has opened.
static OPENED: AtomicU32 = AtomicU32::new(0);

/// Returns what the gate's pipe is called after: each has a name of its own, since none takes the place of another that is
/// still open.
pub(super) fn socket(directory: &Path) -> PathBuf {
    let number = OPENED.fetch_add(1, Ordering::Relaxed);
    directory.join(format!("requests-{}-{number}", std::process::id()))
}

/// Has a client send its requests through the pipe of this name.
pub(super) fn through(client: ClientBuilder, name: &Path) -> ClientBuilder {
    client.windows_named_pipe(name)
}
