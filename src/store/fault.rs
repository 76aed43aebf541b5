//! Faults for tests: a statement, or the commit, fails.

use std::cell::Cell;

use super::{Result, StoreError};

thread_local! {
    /// So many statements and commits of this thread succeed before one fails.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Has one of this thread's statements or commits fail, after so many more have succeeded; `None`: none fails.
pub(crate) fn after(successes: Option<u32>) {
    LEFT.set(successes);
}

/// Fails if it is this one's turn.
pub(super) fn pass() -> Result<()> {
    match LEFT.get() {
        Some(0) => {
            LEFT.set(None);
            Err(StoreError::Closed)
        }
        left => {
            LEFT.set(left.map(|left| left - 1));
            Ok(())
        }
    }
}
