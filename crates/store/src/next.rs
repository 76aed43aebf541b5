//! The answer to a worker that polls a table.

use relay_model::Timestamp;

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<T> {
    /// Due now.
    Due(T),
    /// Nothing before that time.
    Later(Timestamp),
    /// Nothing queued.
    Nothing,
}
