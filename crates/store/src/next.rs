//! The answer to a worker that polls a table.

use relay_model::Timestamp;

/// What a worker finds in a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<T> {
    /// This is due now.
    Due(T),
    /// Nothing is due before that time, by our clock.
    Later(Timestamp),
    /// Nothing waits: the worker is woken when something is added.
    Nothing,
}
