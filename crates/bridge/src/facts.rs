//! Inputs of a decision: the lookups that the bridge asks for an event, and their results.

use relay_model::{
    Destination, Draft, EarlyEdit, Event, Expired, Fingerprint, Lane, MatrixEvent, MeshFate,
    MeshRowId, MessagePair, NodeNum, Outage, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId,
    OwnedUserId, PacketId, RadioEvent, Relayed, RowMessage, Sign, Story, Timestamp, ToldRoom,
    Unread, Version, WaitingPacket, WaitsForRoom,
};

/// Lookups for an event; the result of each is in the field of [`Facts`] with the same name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Questions {
    /// Was this decided on before (marked in the decision's transaction)? Did any radio of ours with the sender's number send
    /// this packet?
    pub seen: Option<SeenKey>,
    /// Which pairs does the message have that this one refers to?
    pub target: Option<Target>,
    /// Which versions of this room's event wait for the mesh or were sent? Was it decided on?
    pub versions: Option<(OwnedRoomId, OwnedEventId)>,
    /// Did this person edit this room's event before it arrived?
    pub early_edit: Option<(OwnedRoomId, OwnedEventId, OwnedUserId)>,
    /// Which pairs does this event, a thread's root, have?
    pub thread: Option<OwnedEventId>,
    /// Which emoji did we put on the packets of the target's pairs?
    pub tapbacks: bool,
    /// What did we relay between this channel and Matrix since then?
    pub relayed: Option<(Destination, Timestamp)>,
    /// Which unsent text of this sender in this room has its `not_before` still ahead?
    pub waiting_media: Option<(OwnedRoomId, OwnedUserId)>,
    /// Does a post of ours have this `relay_id`?
    pub relay_id: Option<String>,
    /// Did our radio hear, or send, a packet with this id?
    pub heard_by_our_radio: Option<PacketId>,
    /// How many messages (or reactions, by lane) of this room wait for the mesh?
    pub waiting_for_mesh: Option<(OwnedRoomId, Lane)>,
    /// Since when is the backlog of this room gathered?
    pub gathering: Option<OwnedRoomId>,
    /// How many packets of this sender have a time stamp in the minute and in the hour before this time?
    pub sender_sent: Option<(OwnedUserId, Timestamp)>,
    /// How many urgent messages, beside this event, did this sender send in the hour before this time?
    pub urgent_sent: Option<(OwnedUserId, Timestamp, OwnedEventId)>,
    /// Which of these cooldowns are running?
    pub cooldowns: Vec<String>,
    /// Which message is behind the row that is reported?
    pub reported: Option<MeshRowId>,
    /// Which edit, by whom, has a waiting correction, if this event of this room is redacted?
    pub taken_edit: Option<(OwnedRoomId, OwnedEventId)>,
    /// What became of this event of this room, or of the packet that it stands for?
    pub story: Option<(OwnedRoomId, OwnedEventId)>,
    /// What else is needed of whole tables?
    pub tables: Vec<Table>,
}

/// A look-up that does not depend on an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// The running cooldowns whose names begin with this, for [`Facts::cooldowns`].
    Cooldowns(&'static str),
    /// For [`Facts::packets`]: those of all rows, or of this one.
    Packets(Option<MeshRowId>),
    /// For [`Facts::radio_away`].
    RadioAway,
    /// For [`Facts::last_active`].
    LastActive,
    /// For [`Facts::rooms`].
    Rooms,
    /// For [`Facts::senders`].
    Senders,
    /// For [`Facts::busy`].
    Busy,
    /// For [`Facts::rows_for_rooms`].
    RowsForRooms,
    /// [`Facts::outage`] and [`Facts::told_rooms`].
    Outage,
    /// [`Facts::expired`], and [`Facts::without_sign`] of rooms where at most this many expired.
    Expired(u32, Sign),
    /// [`Facts::unread`], of events written up to that time.
    Unread(Timestamp),
    /// [`Facts::fates`] of the messages that have changed.
    Changed,
    /// [`Facts::fates`] of messages that have waited since before that time without this sign.
    Waiting(Timestamp, Sign),
}

/// Key under which an event is marked as decided on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SeenKey {
    /// A packet of the mesh.
    Packet {
        /// Node that sent it.
        sender: NodeNum,
        /// Packet id; never [`PacketId::NONE`].
        packet: PacketId,
    },
    /// An event of Matrix that is no edit.
    Event(OwnedEventId),
    /// An edit, kept with its target, so that a redaction or a reply that names it finds the message.
    Edit {
        /// Id of the edit itself.
        event: OwnedEventId,
        /// Id of the edited message.
        target: OwnedEventId,
        /// User id of the person who wrote the edit.
        sender: OwnedUserId,
    },
}

impl SeenKey {
    /// Returns the key of an event; `None` for events without deduplication.
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

/// The target of a reply, reaction, edit or redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The newest packets with that id on that channel from any sender, and those without a known channel.
    Packet {
        /// Fingerprint of the channel that the reply or reaction was heard on; `None` if not known.
        channel: Option<Fingerprint>,
        /// Packet id that it names; never [`PacketId::NONE`].
        packet: PacketId,
    },
    /// An event of Matrix.
    Event(OwnedEventId),
}

/// What the store knows on account of an event; a field is empty unless it was asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// This event, or this (sender, packet id), was decided on before.
    pub already_seen: bool,
    /// The packet's id is one that we sent from our own node.
    pub sent_by_us: bool,
    /// Pairs of the event's target, newest first; empty if unknown. A packet's `reply_to` is looked up by channel and packet
    /// id, an event's target by event id.
    pub target: Vec<MessagePair>,
    /// The versions of the edited message, oldest first: the message and its corrections.
    pub versions: Vec<Version>,
    /// The edited message was decided on, whatever the decision.
    pub target_seen: bool,
    /// The author's edit that arrived before the message.
    pub early_edit: Option<EarlyEdit>,
    /// Pairs of the thread's root, in the same way.
    pub thread: Vec<MessagePair>,
    /// The emoji that we put on the target's packet, waiting ones included.
    pub tapbacks: Vec<String>,
    /// What was recently relayed between this channel and Matrix.
    pub relayed: Vec<Relayed>,
    /// This sender's text in this room whose `not_before` is ahead: the row and its draft.
    pub waiting_media: Option<(MeshRowId, Draft)>,
    /// The `relay_id` is that of a post of ours.
    pub is_our_post: bool,
    /// The packet id in `meshtastic_id` is one that our radio heard or sent.
    pub heard_by_our_radio: bool,
    /// Messages, or reactions, of this room that wait for the mesh.
    pub waiting_for_mesh: u64,
    /// Since when the room's backlog is being gathered.
    pub gathering: Option<Timestamp>,
    /// The sender's packets of the last minute and hour, by their messages' time stamps.
    pub sender_sent: (u32, u32),
    /// The sender's urgent messages of the last hour, beside this one.
    pub urgent_sent: u32,
    /// The running ones of the cooldowns asked for ([`super::Action::StartCooldown`]).
    pub cooldowns: Vec<String>,
    /// The message of the reported row; `None` if its fate concerns nobody.
    pub reported: Option<Box<RowMessage>>,
    /// The author of the redacted edit, and the waiting correction.
    pub taken_edit: Option<Box<(OwnedUserId, Version)>>,
    /// The stories of the event that is asked about.
    pub story: Vec<Story>,
    /// The packets of rooms that wait for a channel, the oldest first.
    pub packets: Vec<WaitingPacket>,
    /// Since when nothing reaches the radio, by our clock; `None`: it can be reached.
    pub radio_away: Option<Timestamp>,
    /// When something was last accepted for the mesh, handed to the radio or taken by it.
    pub last_active: Option<Timestamp>,
    /// The rooms ever mapped, and those with waiting rows.
    pub rooms: Vec<WaitsForRoom>,
    /// The senders with messages waiting for the mesh, by room.
    pub senders: Vec<(OwnedRoomId, OwnedUserId)>,
    /// The rooms with rows in the outbox for rooms: they get no notice of the radio's outage.
    pub busy: Vec<OwnedRoomOrAliasId>,
    /// Number of rows in the outbox for rooms.
    pub rows_for_rooms: u64,
    /// The outage that is open, or whose end has not yet been settled.
    pub outage: Option<Outage>,
    /// The rooms that were told of an outage, and not yet of its end.
    pub told_rooms: Vec<ToldRoom>,
    /// Expired messages of which their rooms have not been told.
    pub expired: Vec<Expired>,
    /// Expired messages that lack their sign, by room.
    pub without_sign: Vec<(OwnedRoomId, OwnedEventId)>,
    /// Events that have waited too long for their keys, by room.
    pub unread: Vec<Unread>,
    /// What is known of the messages whose sign is to be decided.
    pub fates: Vec<MeshFate>,
}
