//! Rules for relaying from the mesh to rooms.

mod alerts;
mod direct;
mod dropped;
mod replies;
mod rooms;
mod tapbacks;
mod texts;

use proptest::prelude::*;

use super::super::{Action, DropReason, Facts};
use super::{super::testing::*, *};
use relay_config::{ChannelRef, Direction, OkToMqtt, PortNum};
use relay_model::{
    ChannelRole, Event, EventRef, JoinedRoom, MatrixEvent, MeshMessage, MessagePair, Node, Origin,
    OwnedEventId, OwnedUserId, PacketId, RadioEvent, RelayFields, Relayed, SenderProfile,
};

struct Posted {
    text: String,
    reply_to: Option<EventRef>,
    thread: Option<OwnedEventId>,
    mentions: Vec<OwnedUserId>,
    mentions_room: bool,
    notice: bool,
    fields: RelayFields,
    pair: Option<Box<MessagePair>>,
}

fn first(actions: &[Action]) -> Posted {
    let Some(Action::ToRoom { message, pair }) = actions.first() else {
        panic!("not posted: {actions:?}");
    };
    let RoomContent::Text {
        notice,
        prefix,
        text,
        reply_to,
        thread,
        mentions,
        mentions_room,
        fields: Some(fields),
        suppress: false,
        ..
    } = message.content.clone()
    else {
        panic!("no text of the mesh: {message:?}");
    };
    Posted {
        text: format!("{prefix}{text}"),
        reply_to,
        thread,
        mentions,
        mentions_room,
        notice,
        fields: *fields,
        pair: pair.clone(),
    }
}

/// The future event of the packet that is replied to.
fn waiting_event() -> EventRef {
    EventRef::Packet {
        sender: BOB,
        packet: PacketId(50),
    }
}

fn reactions(actions: &[Action]) -> Vec<(String, String)> {
    let reactions = actions.iter().filter_map(|action| match action {
        Action::ToRoom { message, .. } => match &message.content {
            RoomContent::Reaction { target, key } => match target {
                EventRef::Event(event) => Some((event.to_string(), key.clone())),
                EventRef::Packet { .. } => None,
            },
            RoomContent::Text { .. } | RoomContent::Redaction { .. } => None,
        },
        _ => None,
    });
    reactions.collect()
}

fn tapback(emoji: &str) -> RadioText {
    RadioText {
        reply_to: Some(PacketId(50)),
        is_reaction: true,
        ..packet(emoji)
    }
}

/// Alice has just said good morning in Matrix.
fn relayed_of_alice() -> Facts {
    let relayed = Relayed {
        author: vec!["Alice".into()],
        text: "good morning".into(),
        ..Relayed::default()
    };
    Facts {
        relayed: vec![relayed],
        ..Facts::default()
    }
}
