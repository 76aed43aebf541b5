//! What stands behind a path, whichever path it is.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Major numbers of pseudo-terminals. Each container may have its own with the same numbers; other devices are the host's.
const PSEUDO_TERMINALS: std::ops::RangeInclusive<u32> = 136..=143;

/// Names a serial port; `None`: there is none.
pub(crate) fn port(path: &Path) -> Option<String> {
    let it = fs::metadata(path).ok()?;
    let device = it.rdev();
    let of_mount = PSEUDO_TERMINALS
        .contains(&rustix::fs::major(device))
        .then(|| (it.dev(), it.ino()));
    Some(format!("{device} {of_mount:?}"))
}

/// Names a directory; `None`: there is none.
pub(crate) fn directory(path: &Path) -> Option<String> {
    let it = fs::metadata(path).ok()?;
    Some(format!("{} {} ", it.dev(), it.ino()))
}
