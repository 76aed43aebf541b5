//! Which program opens a page in a browser, on each system.

use std::env;

use tokio::process::Command;

/// Returns whether this machine is likely to have a browser that a person sees. Somebody who is here through SSH does not.
pub(super) fn has_browser() -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let has_desktop = cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    has_desktop && !is_set("SSH_CONNECTION")
}

/// Returns the command that opens a page.
pub(super) fn command(url: &str) -> Command {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let mut command = Command::new(program);
    command.arg(url);
    command
}
