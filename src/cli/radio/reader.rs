//! Detects a closed standard output.

use std::future::pending;
use std::io;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Completes when standard output has no reader any more; never, if that cannot be detected, as for a file.
pub(super) async fn gone() {
    if let Ok(output) = register()
        && output.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    pending::<()>().await;
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe; standard output stays what it is as long as the program runs"
)]
fn register() -> io::Result<AsyncFd<io::Stdout>> {
    AsyncFd::with_interest(io::stdout(), Interest::ERROR)
}
