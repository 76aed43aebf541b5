//! A frame for the client, before it is bytes.

use crate::radio::proto::{FromRadio, Message, from_radio::PayloadVariant, wire};

/// A frame for the client.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all frames are of the large kind"
)]
pub(super) enum Frame {
    /// One that the crate's types know.
    Known(PayloadVariant),
    /// One that is newer.
    Newer(wire::NewerFromRadio),
}

impl Frame {
    /// Returns its bytes.
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Known(variant) => FromRadio {
                id: 0,
                payload_variant: Some(variant),
            }
            .encode_to_vec(),
            Self::Newer(newer) => newer.encode_to_vec(),
        }
    }
}
