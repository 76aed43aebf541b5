//! The one place that names the `meshtastic` crate's types, and those of `proto/`.

pub use meshtastic::protobufs::*;
pub use prost::Message;

/// The recording format of the simulated radio, `proto/recording.proto`.
#[expect(missing_docs, clippy::pedantic, reason = "generated code")]
pub mod recording {
    include!(concat!(env!("OUT_DIR"), "/relay.recording.rs"));
}

/// What the crate's types lack, `proto/wire.proto`.
#[expect(missing_docs, reason = "generated code")]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/relay.wire.rs"));
}
