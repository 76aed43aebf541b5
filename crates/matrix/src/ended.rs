//! What the SDK passes on of a login service that does not renew a login any more: the error of its store.

/// The words of a login service that does not renew a login any more.
#[derive(Debug, thiserror::Error)]
#[error("the login service does not renew the login any more: {0}")]
pub(super) struct Ended(pub(super) String);
