//! What the bridge wants done.

use std::time::Duration;

use super::dropped::DropReason;
use super::facts::SeenKey;
use super::notice::Refused;
use super::radio::Readiness;
use super::route::Spot;
use super::succession::Waiting;
use relay_model::{
    Channel, Chore, Draft, JoinedRoom, Jump, MeshMessage, MeshRowId, MeshSource, MessagePair,
    NewVersion, Node, NodeNum, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId, OwnedTransactionId,
    OwnedUserId, RadioText, RoomEdit, RoomMessage, SendReport, Sign, Synced, Timestamp, Tombstone,
    UndecryptableEvent,
};

/// Something to do; applied in order, in the transaction that also marks the event as seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send an event to a room.
    ToRoom {
        /// What.
        message: RoomMessage,
        /// The packet that it stands for, if it stands for one.
        pair: Option<Box<MessagePair>>,
    },
    /// Send a message to the mesh.
    ToMesh(MeshMessage),
    /// Remember to which of its room's channels a message of this person belongs that is not transmitted: what is said of it
    /// goes there too.
    KeepPlace(OwnedRoomId, OwnedEventId, OwnedUserId, Spot),
    /// Put the message of an event that was just accepted into its room's backlog, of which so many of the newest are kept.
    ToBacklog(OwnedRoomId, OwnedEventId, u32),
    /// Count a message of Matrix that came too late to be transmitted: its room is told of all such ones together.
    Expire(Box<MeshSource>),
    /// Keep a direct message to our node.
    KeepDirect(Box<RadioText>),
    /// Take back what waits for the mesh of an event (message, parts, tapback) of this room: an event of another room stays.
    Withdraw(OwnedRoomId, OwnedEventId),
    /// The same for an event that was taken away: nothing more is shown of it, an edit that came before it is
    /// forgotten, and its key brings nothing if it waits for that.
    TakeAway {
        /// Its room.
        room: OwnedRoomId,
        /// The event.
        event: OwnedEventId,
        /// It is an edit, and a correction made of it waits.
        correction: Option<MeshRowId>,
    },
    /// Take back a correction that waits; what else waits of its message stays.
    WithdrawCorrection(MeshRowId),
    /// Take back what waits for the mesh of a person in a room, written up to then: banned there.
    WithdrawSender(OwnedRoomId, OwnedUserId, Timestamp),
    /// Keep an event that cannot be decrypted, sent then by the server's clock, until its key comes.
    KeepUndecryptable(Box<UndecryptableEvent>, Timestamp),
    /// Change a message that waits for the mesh, for all its parts. It keeps its place.
    Rewrite(MeshRowId, NewVersion),
    /// Have a note that waits for the mesh tell of one more picture, and stand for its event, in that thread: who answers that
    /// answers the note.
    OneMore(MeshRowId, Draft, OwnedEventId, Option<OwnedEventId>),
    /// Keep an edit until the message comes that it changes, or until it is taken away itself.
    KeepEdit(Box<RoomEdit>),
    /// Show the sender of a message what became of it, where that does not follow from rows for the mesh.
    Sign(OwnedRoomId, OwnedEventId, Sign),
    /// Remember that something was said, so that it is not said again: [`super::Facts::told`].
    Remember {
        /// Its name: `dm_reply !a1b2c3d4`, `alert !a1b2c3d4`, `refused too_long !room:example.org`.
        what: String,
        /// Forgotten then.
        until: Timestamp,
    },
    /// Nothing is relayed. Counted by reason, and logged at debug.
    Drop(DropReason),
    /// The same, and the operator is told: a person has to act.
    DropAndTell(DropReason),
    /// Remember that an event was decided on, and wait no more for its key.
    Seen(SeenKey),
    /// Forget the edit that came before this message.
    ForgetEarlyEdit(OwnedEventId),
    /// Remember how the author of an event is called on the mesh.
    NoteAuthor(OwnedEventId, Vec<String>),
    /// Remember that the newest edit of a message was written then, by this person.
    NoteEdited(OwnedRoomId, OwnedEventId, OwnedUserId, Timestamp),
    /// A message came in, in that thread: it is to be read.
    Arrived(OwnedRoomId, OwnedEventId, Option<OwnedEventId>),
    /// A message is dealt with, and those that its packet stands for too.
    Read(OwnedEventId),
    /// The wanted sign of a message is this.
    Show(OwnedRoomId, OwnedEventId, Option<Sign>),
    /// What has changed was looked at.
    ForgetChanged,
    /// Give up every wish for this sign: people are not shown it.
    ForgetWishes(Sign),
    /// Signs may be shown in a room.
    PermitSigns(OwnedRoomId),
    /// They may not; the operator is told if that is new, and they are wanted.
    ForbidSigns(OwnedRoomId, bool),
    /// What went under this transaction is at the homeserver, as this event, which was shown perhaps before the answer came.
    CameBack(OwnedTransactionId, OwnedEventId),
    /// What was under way when the relay stopped may have got through or not: have it go again, under the same ids.
    Recover,
    /// Write down what became of a row.
    Report(SendReport),
    /// Have the rest of a packet's message expire no sooner.
    LetFinish(MeshRowId, Timestamp),
    /// Write down up to where the account's events are accepted.
    Position(OwnedUserId, Box<Synced>),
    /// Count a packet that is nobody's message.
    Ignore(&'static str),
    /// Keep what is known of nodes.
    KeepNodes(Vec<Node>),
    /// This radio is attached: what waits is its own now, and so are these channels, if it tells them.
    UseRadio(NodeNum, Option<Vec<Channel>>),
    /// The radio is ready.
    Ready(Box<Readiness>),
    /// Have packets that wait go to other slots, so many of them, or know what their channels are.
    Move(Vec<(MeshRowId, Spot)>, usize),
    /// Ask the radio to give a packet back, which is refused then, if that is set.
    CallBack(MeshRowId, bool),
    /// Refuse a packet that waits, for this reason; it is counted if it is the first of its message.
    RefuseWaiting(MeshRowId, Refused, bool),
    /// Nothing reaches the radio since then; `None`: it can be reached.
    RadioAway(Option<Timestamp>),
    /// After an outage: what waits for longer than `late` is a backlog, of which so many of the newest are kept.
    AfterOutage {
        /// How long it lasted.
        lasted: Duration,
        /// For longer than that.
        late: Duration,
        /// So many.
        newest: u32,
    },
    /// Write down how the radio's outage stands.
    Outage(OutageStep),
    /// The room has been told of so many that expired: they are forgotten.
    ForgetExpired(OwnedRoomId, u32),
    /// The keys of these events are not waited for any more, and the room has been told.
    GiveUpKeys(OwnedRoomId, Vec<OwnedEventId>),
    /// Forget events without keys, and edits without messages, that are older.
    PruneKeys {
        /// Events.
        events: Timestamp,
        /// Edits.
        edits: Timestamp,
    },
    /// End what waits and is worthless now, and wait no more for an answer to what was taken before then.
    EndOverdue(Timestamp),
    /// Keep what is known of a room that is joined, or has changed.
    Join {
        /// The room.
        room: Box<JoinedRoom>,
        /// That was not known.
        is_news: bool,
        /// Anyone may put messages on the air from there.
        is_open: bool,
    },
    /// An alias stands for this room; `None`: for one that we are not in.
    Alias(OwnedRoomOrAliasId, Option<OwnedRoomId>),
    /// A room that the bot is not in any more is replaced or closed.
    NoteTombstone(OwnedRoomId, Tombstone),
    /// What failed before for a room, or is parked, may work now; `None`: for all rooms, and for the account.
    TryAgain(Option<OwnedRoomOrAliasId>),
    /// Have what a room has waiting for the mesh wait for longer, whatever its turn, or end that.
    SetAside(OwnedRoomId, bool),
    /// What is for a room goes there, or waits.
    Hold(OwnedRoomId, Held),
    /// What waits for a room goes to this other one, which takes its place.
    HandOver(OwnedRoomId, OwnedRoomId),
    /// Give up what waits.
    GiveUp(Box<GivenUp>),
    /// Bring what waits along with the system's clock.
    FollowClock(Jump),
    /// Forget what is older than so many days, and pairs beyond so many.
    Prune {
        /// Days.
        days: u32,
        /// Pairs.
        pairs: u64,
    },
    /// Tell the operator that so many rows wait for rooms.
    SayBacklog(u64),
    /// Wake the workers for the mesh: one may have ended just when something came.
    WakeMesh,
    /// Wake the worker that shows signs.
    WakeSigns,
    /// Let the next round be no later than then.
    LookBy(Timestamp),
    /// Look at this next, in the same transaction.
    Next(Chore),
}

impl Action {
    /// Sends to a room what stands for no packet.
    pub(super) fn say(message: RoomMessage) -> Self {
        Self::ToRoom {
            message,
            pair: None,
        }
    }
}

/// What is to be written down of an outage of the radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutageStep {
    /// The link is lost.
    Lost,
    /// The link stands.
    Back,
    /// It is over since then: who knows of it is to be told.
    Over(Timestamp),
    /// It goes on, for those who were to be told of its end.
    GoesOn,
    /// A room is told of it: the radio is away since then.
    ToldAway(OwnedRoomId, Timestamp),
    /// A room is told that it is over.
    ToldBack(OwnedRoomId),
    /// Nobody in a room wants to know any more that it is over.
    OldNews(OwnedRoomId),
    /// Rooms are told nothing.
    ForgetAll,
}

/// For what it waits what is for a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// For nothing.
    No,
    /// For what is under way there; the rest goes to the room that takes its place.
    Followed(OwnedRoomId),
    /// For that. So many messages and packets wait, if the operator is to know of it.
    Waits(Waiting, Option<(u64, u64)>),
}

/// What is given up of a room, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// The room.
    pub room: OwnedRoomOrAliasId,
    /// Messages for this room; what became of messages from there is told there all the same, if that is set.
    pub messages: Option<(OwnedRoomOrAliasId, bool)>,
    /// Packets of these senders from there.
    pub packets: Vec<(OwnedRoomId, OwnedUserId)>,
    /// Why.
    pub why: WhyGivenUp,
}

/// Why what waits for a room, or from it, is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyGivenUp {
    /// The room that takes its place has another direction.
    Direction(OwnedRoomId),
    /// It is not in the configuration any more, nor this one, which replaces it: it is forgotten.
    Unmapped(Option<OwnedRoomId>),
    /// The configuration does not permit it any more.
    Forbidden,
}
