//! What a decision needs to know: the questions that the bridge puts for an event, and the answers.

use crate::model::{
    ChannelIndex, Draft, EarlyEdit, Fingerprint, Lane, MeshRowId, MeshSource, MessagePair, NodeNum,
    OwnedEventId, OwnedRoomId, OwnedUserId, PacketId, Relayed, Timestamp, Version,
};

/// What has to be looked up for an event before the decision; each field answers the field of [`Facts`] with the same name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Questions {
    /// Was this decided on before? The daemon marks it as seen in the same transaction.
    pub seen: Option<SeenKey>,
    /// Did a radio of ours with this number send this packet for us?
    pub sent_by_us: Option<(NodeNum, PacketId)>,
    /// Which pairs does this message have?
    pub target: Option<Target>,
    /// How does this event, of this room, wait for the mesh, or was sent there? And was it decided on?
    pub versions: Option<(OwnedRoomId, OwnedEventId)>,
    /// Did this person change this event of this room before it came?
    pub early_edit: Option<(OwnedRoomId, OwnedEventId, OwnedUserId)>,
    /// Which pairs does this event, a thread's root, have?
    pub thread: Option<OwnedEventId>,
    /// Which emoji did we put on the packets of this event's pairs?
    pub tapbacks: Option<OwnedEventId>,
    /// What did we relay between this channel and Matrix in the last 10 minutes?
    pub relayed: Option<ChannelIndex>,
    /// Which text of this sender in this room waits for the mesh, not tried yet, with its time (`not_before`) still to come?
    pub waiting_media: Option<(OwnedRoomId, OwnedUserId)>,
    /// Does a post of ours have this `relay_id`?
    pub relay_id: Option<String>,
    /// Did our radio hear, or send, a packet with this id?
    pub heard_by_our_radio: Option<PacketId>,
    /// How many messages of this room wait for the mesh, or how many reactions if that is the lane?
    pub waiting_for_mesh: Option<(OwnedRoomId, Lane)>,
    /// Since when is the backlog of this room gathered?
    pub gathering: Option<OwnedRoomId>,
    /// How many packets of this sender carry a time stamp of the minute and of the hour before this moment?
    pub sender_sent: Option<(OwnedUserId, Timestamp)>,
    /// How many messages of this sender, beside this event, went before others in the hour before this moment?
    pub urgent_sent: Option<(OwnedUserId, Timestamp, OwnedEventId)>,
    /// Which of these names are remembered?
    pub told: Vec<String>,
    /// Which message is behind this row? Once it is known, [`super::Bridge::notices_about`] tells the names for `told`.
    pub reported: Option<MeshRowId>,
}

/// Under which key an event is remembered as decided on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SeenKey {
    /// A packet.
    Packet {
        /// Its sender.
        sender: NodeNum,
        /// Its id; never [`PacketId::NONE`].
        packet: PacketId,
    },
    /// An event of Matrix.
    Event(OwnedEventId),
}

/// The message that is answered, reacted to, changed or taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The newest packets with that id on that channel, whoever sent them, and those of which the channel is not known.
    Packet {
        /// The channel.
        channel: Option<Fingerprint>,
        /// The id; never [`PacketId::NONE`].
        packet: PacketId,
    },
    /// An event of Matrix.
    Event(OwnedEventId),
}

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
    /// The versions of the message that an edit changes, the oldest first: the message, and corrections of it.
    pub versions: Vec<Version>,
    /// The message that an edit changes was decided on.
    pub target_seen: bool,
    /// What the author changed the message to before it came.
    pub early_edit: Option<EarlyEdit>,
    /// Pairs of the thread's root, likewise.
    pub thread: Vec<MessagePair>,
    /// The emoji that we have put on the target's packet so far, waiting ones included.
    pub tapbacks: Vec<String>,
    /// What we relayed between this channel and Matrix in the last 10 minutes.
    pub relayed: Vec<Relayed>,
    /// A text of this sender in this room whose time is still to come: the row, and what it says.
    pub waiting_media: Option<(MeshRowId, Draft)>,
    /// The `relay_id` is that of a post of ours.
    pub is_our_post: bool,
    /// The packet id in `meshtastic_id` is one that our radio heard or sent.
    pub heard_by_our_radio: bool,
    /// Messages, or reactions, of this room that wait for the mesh.
    pub waiting_for_mesh: u64,
    /// Messages of this room come late, since then.
    pub gathering: Option<Timestamp>,
    /// The sender's packets of the last minute and of the last hour, by their messages' own time stamps.
    pub sender_sent: (u32, u32),
    /// The sender's messages of the last hour, beside this one, that went before others by their 🚨.
    pub urgent_sent: u32,
    /// What was said already: those of the names asked for that are remembered ([`super::Action::Remember`]).
    pub told: Vec<String>,
    /// The message behind the row that a report is about; `None` if nobody waits for its fate.
    pub reported: Option<Box<Reported>>,
}

/// The message behind a row for the mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    /// What stands behind it in Matrix.
    pub source: MeshSource,
    /// Its lane.
    pub lane: Lane,
}
