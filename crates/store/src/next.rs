//! What a worker finds that asks a table.

use relay_model::Timestamp;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<T> {
    /// This is to be done.
    Due(T),
    /// Nothing before then.
    Later(Timestamp),
    /// Nothing at all.
    Nothing,
}
