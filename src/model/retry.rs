//! What the caller of something that failed can do.

/// Whether trying again can help; each error type says it in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Yes, after the caller's usual delay.
    Later,
    /// Not before a person has changed something.
    Never,
}
