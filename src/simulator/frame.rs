//! Frames for the client, as bytes.

use crate::radio::proto::{FromRadio, Message, from_radio::PayloadVariant};

/// Returns the bytes of a frame. The frames of a newer firmware have types of their own.
pub(super) fn encode(variant: PayloadVariant) -> Vec<u8> {
    FromRadio {
        id: 0,
        payload_variant: Some(variant),
    }
    .encode_to_vec()
}

/// Returns what a frame holds, if that is known.
pub(super) fn decode(frame: &[u8]) -> Option<PayloadVariant> {
    FromRadio::decode(frame).ok()?.payload_variant
}

/// Returns whether a frame closes a configuration.
pub(super) fn is_complete(frame: &[u8]) -> bool {
    matches!(decode(frame), Some(PayloadVariant::ConfigCompleteId(_)))
}
