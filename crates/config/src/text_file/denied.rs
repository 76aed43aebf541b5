//! Why this user may not read a file.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Returns why, and the cure.
pub(super) fn explained(path: &Path) -> (String, String) {
    let user = rustix::process::geteuid().as_raw();
    let hint = match path.metadata() {
        Ok(it) => format!(
            "it belongs to uid {}: give it to the relay with `chown {user}`, or run the relay as its owner",
            it.uid()
        ),
        Err(_) => closed(path).map_or_else(
            || "let this user into the directories above it".to_owned(),
            |(directory, owner)| format!(
                "the directory `{}` belongs to uid {owner}, and is closed to others: give it to the relay with `chown -R {user}`, or run the relay as its owner",
                directory.display()
            ),
        ),
    };
    (format!("this user (uid {user}) may not read it"), hint)
}

/// Returns the directory above a path that this user may not enter, and its owner, if that is another user.
fn closed(path: &Path) -> Option<(&Path, u32)> {
    let above = path.ancestors().skip(1);
    let mut seen = above.filter_map(|it| Some((it, it.metadata().ok()?.uid())));
    let user = rustix::process::geteuid().as_raw();
    seen.next().filter(|(_, owner)| *owner != user)
}
