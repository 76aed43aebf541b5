//! The bridge's decisions: an event and the facts about it in, actions out. No I/O, no clock, no await.

use crate::model::{
    Destination, Lane, MatrixEvent, MessagePair, NodeNum, OutboxId, OwnedEventId, OwnedRoomId,
    OwnedUserId, PacketId, RadioPayload, RadioText, RoomContent, RoomMessage, Timestamp,
};

/// What the store knows of an event, looked up before the decision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// This event, or this (sender, packet id), was decided on before.
    pub already_seen: bool,
    /// The packet's id is one that we sent from our own node.
    pub sent_by_us: bool,
    /// Pairs of the message that this one answers, reacts to, changes or takes away; newest first. For a packet's
    /// `reply_to` they are looked up by (channel, packet id), for an event's target by event id. Empty if unknown.
    pub target: Vec<MessagePair>,
    /// Pairs of the thread's root, likewise.
    pub thread: Vec<MessagePair>,
    /// The emoji that we have put on the target's packet so far, waiting ones included.
    pub tapbacks: Vec<String>,
    /// What we relayed from Matrix to this channel in the last 10 minutes: (our text with its prefix, text without).
    pub recent_to_mesh: Vec<(String, String)>,
    /// `dm_reply` was sent to this node in the last 24 hours.
    pub direct_answered: bool,
    /// An alert of this node mentioned a room in the last 10 minutes.
    pub alert_mentioned: bool,
    /// Pictures of this sender that wait in the outbox to be told as one: the row, and how many so far.
    pub waiting_media: Option<(OutboxId, u32)>,
    /// The packet id in `meshtastic_id` is one that our radio heard.
    pub heard_by_our_radio: bool,
    /// Rows of this room that wait for the mesh.
    pub waiting_for_mesh: u64,
    /// The sender's messages that went on the air in the last minute and hour, by their own time stamps.
    pub sender_sent: (u32, u32),
    /// A notice with this sender or room, reason and time span was given already: names of notices.
    pub told: Vec<String>,
}

/// Something to do; applied in order, in the transaction that also marks the event as seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send an event to a room.
    ToRoom {
        /// What.
        message: RoomMessage,
        /// The packet that it stands for, if it stands for one.
        pair: Option<Box<NewPair>>,
        /// The target of `content` is the event that will stand for this packet in this room: it waits in our outbox
        /// still. Filled in by the store just before sending.
        target_packet: Option<(NodeNum, PacketId)>,
    },
    /// Send packets to the mesh, one for each part, in order.
    ToMesh {
        /// To whom.
        destination: Destination,
        /// How urgent.
        lane: Lane,
        /// What each part carries.
        parts: Vec<RadioPayload>,
        /// The event that they stand for; `None` for `dm_reply`.
        source: Option<Box<MeshSource>>,
        /// Not before.
        not_before: Option<Timestamp>,
        /// Worthless after that.
        expires: Timestamp,
    },
    /// Keep a direct message to our node.
    KeepDirect(Box<RadioText>),
    /// Take back what waits for the mesh of this event (message, parts, tapback).
    Withdraw {
        /// The event.
        event: OwnedEventId,
    },
    /// Change the text of a row that waits for the mesh: one more picture, an edit before sending.
    Rewrite {
        /// The row.
        outbox: OutboxId,
        /// The new payload.
        payload: RadioPayload,
    },
    /// Remember that something was said, so that it is not said again: `Facts::told`, `direct_answered`, `alert_mentioned`.
    Remember {
        /// Its name: `dm_reply !a1b2c3d4`, `alert !a1b2c3d4`, `refused !room:example.org too long`.
        what: String,
        /// Forgotten then.
        until: Timestamp,
    },
    /// Nothing is relayed. Counted by reason, and logged at debug.
    Drop(DropReason),
}

/// The message behind the pair that an event for a room will make.
#[derive(Debug, Clone, PartialEq)]
pub struct NewPair {
    /// The packet's sender.
    pub sender: NodeNum,
    /// The packet's id.
    pub packet: PacketId,
    /// Where the packet was sent.
    pub destination: Destination,
    /// Its text, without prefix.
    pub text: String,
    /// It was an alert.
    pub alert: bool,
}

/// The Matrix message behind packets for the mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct MeshSource {
    /// Its room.
    pub room: OwnedRoomId,
    /// The event.
    pub event: OwnedEventId,
    /// Its thread.
    pub thread: Option<OwnedEventId>,
    /// Who wrote it.
    pub sender: OwnedUserId,
    /// When, by the server's clock.
    pub sent_at: Timestamp,
    /// Its text, without prefix.
    pub text: String,
}

/// Why nothing is relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// Decided on before.
    Duplicate,
}

/// The bridge: its settings, and what it was told of the radio and the rooms.
#[derive(Debug)]
pub struct Bridge {}

#[expect(dead_code, reason = "named in the contract")]
fn uses(_: MatrixEvent, _: RoomContent) {}
