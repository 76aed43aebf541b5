//! The types of the `meshtastic` crate, named only here, and those of `proto/`.

pub use meshtastic::protobufs::*;
pub use prost::Message;

/// The nonce that requests everything but the other nodes.
pub const CONFIG_ONLY: u32 = 69420;
/// The nonce that requests only the nodes.
pub const NODES_ONLY: u32 = 69421;

/// The recording format of the simulated radio, `proto/recording.proto`.
#[expect(missing_docs, clippy::pedantic, reason = "generated code")]
pub mod recording {
    include!(concat!(env!("OUT_DIR"), "/relay.recording.rs"));
}

/// Messages that the crate lacks, `proto/wire.proto`.
#[expect(missing_docs, clippy::doc_markdown, reason = "generated code")]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/relay.wire.rs"));

    impl std::fmt::Debug for ChannelSettings {
        /// Omits the key.
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("ChannelSettings")
                .field("name", &String::from_utf8_lossy(&self.name))
                .finish_non_exhaustive()
        }
    }
}
