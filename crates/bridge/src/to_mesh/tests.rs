//! Rules for relaying from rooms to the mesh.

mod channels;
mod reactions;
mod refusals;
mod relays;
mod replies;
mod texts;
mod urgent;

use proptest::prelude::*;

use super::super::{Action, DropReason, Facts, author_notice};
use super::{super::testing::*, *};
use relay_config::{ChannelRef, Direction, Overflow, ReactionStyle};
use relay_model::{
    ChannelIndex, ChannelRole, Event, Explained as _, JoinedRoom, MatrixEvent, MeshMessage,
    MeshRowId, MeshSource, MessagePair, PacketId, RadioPayload, RadioProfile, RelayFields,
    RoomReaction, Sign, full_text,
};

fn air(text: &str, reply_to: Option<u32>) -> RadioPayload {
    RadioPayload::Text {
        text: text.into(),
        reply_to: reply_to.map(PacketId),
    }
}

fn tapback(emoji: &str, target: u32) -> RadioPayload {
    RadioPayload::Tapback {
        emoji: emoji.into(),
        target: PacketId(target),
    }
}
