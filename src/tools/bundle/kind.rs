//! What is taken out of a bundle, by kinds.

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Kind {
    User,
    Room,
    Node,
    Channel,
    Mesh,
    Device,
    Event,
    Host,
    Port,
    /// A hardware address.
    Address,
    Path,
    /// A name of which it is not known whose it is.
    Name,
}
