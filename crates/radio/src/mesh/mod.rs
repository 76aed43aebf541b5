//! What a radio tells of its mesh, in the words of the relay.
//!
//! `translate.rs` turns packets into them, and messages into packets; `names.rs` has the protocol's own words for people,
//! and `fingerprint.rs` what a channel is. `nodedb.rs` remembers who is who.

pub(crate) mod fingerprint;
pub(crate) mod names;
pub(crate) mod nodedb;
pub(crate) mod translate;

pub use nodedb::{Details, KnownNode, NodeDb};
