//! Frames for the client, as bytes.

use relay_wire::proto::{FromRadio, Message, from_radio::PayloadVariant, wire::NewerFromRadio};

pub(crate) fn encode(variant: PayloadVariant) -> Vec<u8> {
    FromRadio {
        id: 0,
        payload_variant: Some(variant),
    }
    .encode_to_vec()
}

pub(super) fn encode_newer(fill: impl FnOnce(&mut NewerFromRadio)) -> Vec<u8> {
    let mut frame = NewerFromRadio::default();
    fill(&mut frame);
    frame.encode_to_vec()
}

/// Decodes a frame; `None` if its content is unknown.
pub(crate) fn decode(frame: &[u8]) -> Option<PayloadVariant> {
    FromRadio::decode(frame).ok()?.payload_variant
}

pub(crate) fn is_complete(frame: &[u8]) -> bool {
    matches!(decode(frame), Some(PayloadVariant::ConfigCompleteId(_)))
}
