//! What a radio reports of its mesh, converted to the types of `relay-model`.
//!
//! `translate.rs` converts packets and messages, `names.rs` has the protocol's names for people, `fingerprint.rs` the
//! identity of a channel, and `nodedb.rs` the known nodes.

pub(crate) mod fingerprint;
pub(crate) mod names;
pub(crate) mod nodedb;
pub(crate) mod translate;

pub use nodedb::{Details, KnownNode, NodeDb};
