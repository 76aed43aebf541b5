//! What is known of a question that is asked at the terminal, on each system.

use std::sync::atomic::{AtomicBool, Ordering};

/// Maximum length of a line, longer than any password or key.
pub(super) const LONGEST_LINE: u64 = 4096;

static ASKING: AtomicBool = AtomicBool::new(false);

/// Whether the terminal shows what is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    Shown,
    Hidden,
}

/// Returns whether a question stands on the terminal.
pub(super) fn is_asking() -> bool {
    ASKING.load(Ordering::Relaxed)
}

pub(super) fn set_asking(asking: bool) {
    ASKING.store(asking, Ordering::Relaxed);
}
