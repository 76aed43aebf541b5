//! What a decision needs to know: the questions that the bridge puts for an event, and the answers.

use relay_model::{
    Destination, Draft, EarlyEdit, Event, Expired, Fingerprint, Lane, MatrixEvent, MeshFate,
    MeshRowId, MessagePair, NodeNum, Outage, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId,
    OwnedUserId, PacketId, RadioEvent, Relayed, RowMessage, Sign, Timestamp, ToldRoom, Unread,
    Version, WaitingPacket, WaitsForRoom,
};

/// What has to be looked up for an event before the decision; each field answers the field of [`Facts`] with the same name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Questions {
    /// Was this decided on before? The daemon marks it as seen in the same transaction. And did a radio of ours with the number
    /// of the packet's sender, not only the one that is attached, send it for us?
    pub seen: Option<SeenKey>,
    /// Which pairs does this message have?
    pub target: Option<Target>,
    /// How does this event, of this room, wait for the mesh, or was sent there? And was it decided on?
    pub versions: Option<(OwnedRoomId, OwnedEventId)>,
    /// Did this person change this event of this room before it came?
    pub early_edit: Option<(OwnedRoomId, OwnedEventId, OwnedUserId)>,
    /// Which pairs does this event, a thread's root, have?
    pub thread: Option<OwnedEventId>,
    /// Which emoji did we put on the packets of the target's pairs?
    pub tapbacks: bool,
    /// What did we relay between this channel and Matrix since then?
    pub relayed: Option<(Destination, Timestamp)>,
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
    /// Which message is behind this row?
    pub reported: Option<MeshRowId>,
    /// Of which edit, by whom, is a correction made that waits, if this event of this room is one that was taken away?
    pub taken_edit: Option<(OwnedRoomId, OwnedEventId)>,
    /// What else has to be looked up.
    pub tables: Vec<Table>,
}

/// What is looked up of whole tables, for what concerns more than one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// The remembered names that begin like this, for [`Facts::told`].
    Told(&'static str),
    /// [`Facts::packets`]: all, or this one.
    Packets(Option<MeshRowId>),
    /// [`Facts::radio_away`].
    RadioAway,
    /// [`Facts::last_active`].
    LastActive,
    /// [`Facts::rooms`].
    Rooms,
    /// [`Facts::senders`].
    Senders,
    /// [`Facts::busy`].
    Busy,
    /// [`Facts::rows_for_rooms`].
    RowsForRooms,
    /// [`Facts::outage`] and [`Facts::told_rooms`].
    Outage,
    /// [`Facts::expired`], and [`Facts::without_sign`] of rooms where so few expired.
    Expired(u32, Sign),
    /// [`Facts::unread`], of what was written up to then.
    Unread(Timestamp),
    /// [`Facts::fates`] of the messages that have changed.
    Changed,
    /// [`Facts::fates`] of those that have waited since before then, and are not shown with this sign.
    Waiting(Timestamp, Sign),
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
    /// The edit of a message.
    Edit {
        /// The edit.
        event: OwnedEventId,
        /// The message.
        target: OwnedEventId,
        /// Who wrote the edit.
        sender: OwnedUserId,
    },
}

impl SeenKey {
    /// Returns the key of an event; `None`: it is decided on as often as it comes.
    pub(super) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Radio(RadioEvent::Text(packet)) => {
                let (sender, packet) = (packet.sender.num, packet.packet);
                (packet != PacketId::NONE).then_some(Self::Packet { sender, packet })
            }
            Event::Matrix(MatrixEvent::Edit(edit)) => Some(Self::Edit {
                event: edit.new.event.clone(),
                target: edit.target.clone(),
                sender: edit.new.sender.clone(),
            }),
            Event::Matrix(event) => {
                let (_, id, _) = event.origin();
                id.map(|id| Self::Event(id.to_owned()))
            }
            Event::Radio(_) | Event::Report(_) | Event::Chore(_) => None,
        }
    }
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
    /// What we relayed between this channel and Matrix of late.
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
    pub reported: Option<Box<RowMessage>>,
    /// Who wrote the edit that was taken away, and the correction that waits of its message.
    pub taken_edit: Option<Box<(OwnedUserId, Version)>>,
    /// The packets of rooms that wait for a channel, the oldest first.
    pub packets: Vec<WaitingPacket>,
    /// Since when nothing reaches the radio.
    pub radio_away: Option<Timestamp>,
    /// When something was last accepted for the mesh, handed to the radio or taken by it.
    pub last_active: Option<Timestamp>,
    /// The rooms that were mapped once, and those that something waits for.
    pub rooms: Vec<WaitsForRoom>,
    /// Whose messages wait for the mesh, by room.
    pub senders: Vec<(OwnedRoomId, OwnedUserId)>,
    /// The rooms that something waits for.
    pub busy: Vec<OwnedRoomOrAliasId>,
    /// How many rows wait for rooms.
    pub rows_for_rooms: u64,
    /// The outage that is not over.
    pub outage: Option<Outage>,
    /// The rooms that were told of an outage.
    pub told_rooms: Vec<ToldRoom>,
    /// What expired, and its room does not know of.
    pub expired: Vec<Expired>,
    /// The messages that expired and are to have their sign, by room.
    pub without_sign: Vec<(OwnedRoomId, OwnedEventId)>,
    /// What waits for keys for too long, room by room.
    pub unread: Vec<Unread>,
    /// What became of messages.
    pub fates: Vec<MeshFate>,
}
