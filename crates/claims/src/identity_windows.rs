//! What stands behind a path, on Windows: a port has one name there, and a directory's has been resolved.

use std::path::Path;

/// Names a serial port, there or not.
#[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
pub(crate) fn port(path: &Path) -> Option<String> {
    Some(path.to_string_lossy().to_uppercase())
}

/// Names a directory; `None`: there is none.
pub(crate) fn directory(path: &Path) -> Option<String> {
    path.is_dir().then(|| path.to_string_lossy().to_lowercase())
}
