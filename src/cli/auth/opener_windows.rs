//! Which program opens a page in a browser, on each system.

use std::env;

use tokio::process::Command;

/// Returns whether this machine is likely to have a browser that a person sees. Somebody who is here through SSH does not.
pub(super) fn has_browser() -> bool {
    env::var_os("SSH_CONNECTION").is_none_or(|value| value.is_empty())
}

/// Returns the command that opens a page. Not by `start`, for which an address is a line of the shell.
pub(super) fn command(url: &str) -> Command {
    let mut command = Command::new("rundll32");
    command.args(["url.dll,FileProtocolHandler", url]);
    command
}
