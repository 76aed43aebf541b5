//! The actions that a decision results in.

use std::time::Duration;

use super::{
    dropped::DropReason, facts::SeenKey, notice::Refused, other_relay::OtherRelay,
    readiness::Readiness, route::Spot, succession::Waiting,
};
use relay_model::{
    Channel, Chore, Draft, JoinedRoom, Jump, MeshMessage, MeshRowId, MeshSource, MessagePair,
    NewVersion, Node, NodeAvatar, NodeNum, OwnedEventId, OwnedRoomId, OwnedRoomOrAliasId,
    OwnedTransactionId, OwnedUserId, RadioText, RoomEdit, RoomMessage, SendReport, Sign, Synced,
    Timestamp, Tombstone, UndecryptableEvent,
};

/// An action; applied in order, in the transaction that also marks the event as seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Accept an event for a room into its outbox.
    ToRoom {
        /// The room, and what the event says.
        message: RoomMessage,
        /// The packet that the event stands for; `None` for reactions and notices.
        pair: Option<Box<MessagePair>>,
    },
    /// Accept a message for the mesh into its outbox.
    ToMesh(MeshMessage),
    /// Record the channel of a person's message that is not transmitted: notices about it belong there too.
    KeepPlace(OwnedRoomId, OwnedEventId, OwnedUserId, Spot),
    /// Add the message of a just accepted event to its room's backlog, of which this many of the newest are kept.
    ToBacklog(OwnedRoomId, OwnedEventId, u32),
    /// Count a Matrix message that came too late to be transmitted, for the room's combined notice.
    Expire(Box<MeshSource>),
    /// Store a direct message to our node: it is never published.
    KeepDirect(Box<RadioText>),
    /// Withdraw what waits for the mesh (message, parts, tapback) of this event of this room.
    Withdraw(OwnedRoomId, OwnedEventId),
    /// Withdraw what waits of a redacted event or on account of it: its message, its early edit, its wait for a key. Nothing
    /// more is shown on it.
    TakeAway {
        /// Id of the room that the event belongs to.
        room: OwnedRoomId,
        /// Id of the redacted event.
        event: OwnedEventId,
        /// The waiting correction, if the event is an edit of which one was made.
        correction: Option<MeshRowId>,
    },
    /// Withdraw a waiting correction; other rows of its message stay.
    WithdrawCorrection(MeshRowId),
    /// Withdraw what a banned person has waiting for the mesh in a room, written up to that time.
    WithdrawSender(OwnedRoomId, OwnedUserId, Timestamp),
    /// Keep an undecryptable event, sent at that time by the server's clock, until its key comes; and tell the operator, if it
    /// is the first of its sender in this run.
    KeepUndecryptable(Box<UndecryptableEvent>, Timestamp, bool),
    /// Change all parts of a waiting message. It keeps its place.
    Rewrite(MeshRowId, NewVersion),
    /// Add one more picture to a waiting note, which then stands for this event too, in that thread: replies to the picture
    /// reply to the note.
    OneMore(MeshRowId, Draft, OwnedEventId, Option<OwnedEventId>),
    /// Keep an edit until its message comes, or until it is redacted.
    KeepEdit(Box<RoomEdit>),
    /// Show a sign on a message that does not follow from its mesh rows.
    Sign(OwnedRoomId, OwnedEventId, Sign),
    /// Start a cooldown, so that a notice is not repeated: [`super::Facts::cooldowns`].
    StartCooldown {
        /// Its name: `dm_reply !a1b2c3d4`, `alert !a1b2c3d4`, `refused too_long !room:example.org`.
        what: String,
        /// Time from which the notice may be given again.
        until: Timestamp,
    },
    /// Relay nothing. Counted by reason, and logged at debug.
    Drop(DropReason),
    /// Relay nothing, and warn the operator, who has to act. Counted by reason, as for [`Action::Drop`].
    DropAndTell(DropReason),
    /// Mark an event as decided on, and stop waiting for its key.
    Seen(SeenKey),
    /// Delete the edit that waits for this message, or is this redacted event.
    ForgetEarlyEdit(OwnedEventId),
    /// Store the names of an event's author on the mesh.
    NoteAuthor(OwnedEventId, Vec<String>),
    /// Record when this person last edited a message.
    NoteEdited(OwnedRoomId, OwnedEventId, OwnedUserId, Timestamp),
    /// Record an incoming message, in that thread, for the read receipt.
    Arrived(OwnedRoomId, OwnedEventId, Option<OwnedEventId>),
    /// Mark a message as read, with those that its packet stands for.
    Read(OwnedEventId),
    /// Set the sign that a message is to show; `None`: none.
    Show(OwnedRoomId, OwnedEventId, Option<Sign>),
    /// Clear the list of messages whose sign has to be decided anew.
    ForgetChanged,
    /// Drop every wish for this sign, as `delivery_feedback` does not show it any more.
    ForgetWishes(Sign),
    /// Let signs be shown in a room, also in one that had refused them.
    PermitSigns(OwnedRoomId),
    /// Forbid signs in a room; if set, the operator is told in case that is new.
    ForbidSigns(OwnedRoomId, bool),
    /// Record the event sent under this transaction, whose sync may come before the response.
    CameBack(OwnedTransactionId, OwnedEventId),
    /// End the row of the post with this `relay_id`, if it waits: this event of ours is it.
    PostCameBack(String, OwnedEventId),
    /// Tell the operator of another relay with our account, which posts in this room.
    OtherRelay(OtherRelay, OwnedRoomId),
    /// Requeue what was in flight when the relay stopped, under the same ids.
    Recover,
    /// Note the outcome of an attempt in its row: it ends, waits again or changes its state.
    Report(SendReport),
    /// Extend the expiry of the rest of a packet's message.
    LetFinish(MeshRowId, Timestamp),
    /// Store the account's sync position, its open gaps and the reading of the homeserver's clock.
    Position(OwnedUserId, Box<Synced>),
    /// Count a packet that is no message, under this reason.
    Ignore(&'static str),
    /// Store names and state of these nodes for the attached radio.
    KeepNodes(Vec<Node>),
    /// Store where a node's picture is.
    KeepAvatar(Box<NodeAvatar>),
    /// Use this radio: waiting rows are assigned to it, and its channels are stored if it reports them.
    UseRadio(NodeNum, Option<Vec<Channel>>),
    /// The radio is ready: log what is known of it, and note for `status` what prevents relaying.
    Ready(Box<Readiness>),
    /// Set whether the radio may be given anything from now on.
    MayTransmit(bool),
    /// Move waiting packets to other slots, or record their channels; with how many moved, for the log.
    Move(Vec<(MeshRowId, Spot)>, usize),
    /// Call a packet back from the radio; true: it is refused then.
    CallBack(MeshRowId, bool),
    /// Refuse a waiting packet for this reason; true: it is the first of its message, which is counted.
    RefuseWaiting(MeshRowId, Refused, bool),
    /// Set since when the radio cannot be reached; `None`: it can.
    RadioAway(Option<Timestamp>),
    /// After an outage: messages that have waited longer than `late` form a backlog, of which the newest are kept.
    AfterOutage {
        /// Duration of the outage, for the log.
        lasted: Duration,
        /// Minimum time that a message has waited to belong to the backlog.
        late: Duration,
        /// Number of messages that each room's backlog keeps; older ones expire.
        newest: u32,
    },
    /// Store a step of the radio's outage, for notices in rooms.
    Outage(OutageStep),
    /// Forget this many expired messages, of which the room has been told.
    ForgetExpired(OwnedRoomId, u32),
    /// Stop waiting for the keys of these events, of which the room has been told.
    GiveUpKeys(OwnedRoomId, Vec<OwnedEventId>),
    /// Forget events without keys, and edits without messages, stored before these times.
    PruneKeys {
        /// Undecryptable events stored before this time are forgotten.
        events: Timestamp,
        /// Early edits stored before this time are forgotten.
        edits: Timestamp,
    },
    /// Expire overdue rows, and stop waiting for reports on packets taken before that time.
    EndOverdue(Timestamp),
    /// Store a room that was joined or has changed.
    Join {
        /// The room as it is now.
        room: Box<JoinedRoom>,
        /// Whether it is mapped and was not joined before: it is logged.
        is_news: bool,
        /// Set if anyone may join it and so transmit, or not any more, since it was last seen: the operator is told.
        opened: Option<bool>,
    },
    /// Set the room of an alias; `None`: a room that the bot is not in.
    Name(OwnedRoomOrAliasId, Option<OwnedRoomId>),
    /// Record that a room that the bot has left is replaced or closed.
    NoteTombstone(OwnedRoomId, Tombstone),
    /// Retry what failed or is parked for a room; `None`: for all rooms and the account.
    TryAgain(Option<OwnedRoomOrAliasId>),
    /// Set aside a room's messages for the mesh (true), or end that (false).
    SetAside(OwnedRoomId, bool),
    /// Hold sending to a room, change why it is held, or end that.
    Hold(OwnedRoomId, Held),
    /// Move what waits for the first room to the second, its successor.
    HandOver(OwnedRoomId, OwnedRoomId),
    /// Give up rows that wait for a room or from it.
    GiveUp(Box<GivenUp>),
    /// Shift stored times after the system's clock was set.
    FollowClock(Jump),
    /// Delete rows older than this many days, and pairs beyond this many.
    Prune {
        /// Maximum age in days of rows that are over.
        days: u32,
        /// Number of newest pairs and seen ids that stay whatever their age; `u64::MAX`: all of them.
        pairs: u64,
    },
    /// Warn the operator that this many rows wait for rooms.
    SayBacklog(u64),
    /// Wake the mesh workers: one may have ended just when a row was added.
    WakeMesh,
    /// Wake the feedback worker: signs or receipts may be due.
    WakeSigns,
    /// Run the next round no later than that time.
    LookBy(Timestamp),
    /// Decide on this chore next, in the same transaction.
    Next(Chore),
}

impl Action {
    /// Sends to a room a message without a packet.
    pub(super) fn say(message: RoomMessage) -> Self {
        Self::ToRoom {
            message,
            pair: None,
        }
    }
}

/// A step of a radio outage, as rooms are to be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutageStep {
    /// The link was lost: an outage begins, or the last one goes on.
    Lost,
    /// The link is up; the outage is over once it has stood for a moment.
    Back,
    /// The outage ended at that time: rooms that know of it are to be told.
    Over(Timestamp),
    /// The outage continues, after its end had been recorded.
    GoesOn,
    /// The room was told that the radio has been away since then.
    ToldAway(OwnedRoomId, Timestamp),
    /// The room was told that the outage is over.
    ToldBack(OwnedRoomId),
    /// The end of the outage is too old to be worth a notice in the room.
    OldNews(OwnedRoomId),
    /// Notices are off (`matrix.radio_notices`): forget the outage and who was told.
    ForgetAll,
}

/// Whether sending to a room is held, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Its rows are sent.
    No,
    /// For requests in flight; the rest goes to the room's successor.
    Followed(OwnedRoomId),
    /// For this condition, with the number of waiting messages and packets if the operator is to be told.
    Waits(Waiting, Option<(u64, u64)>),
}

/// Rows of a room that are given up, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Room that they waited for or come from; they are counted there.
    pub room: OwnedRoomOrAliasId,
    /// Messages for this room; if set, notices about the fate of its messages are still sent.
    pub messages: Option<(OwnedRoomOrAliasId, bool)>,
    /// Packets of these senders from these rooms.
    pub packets: Vec<(OwnedRoomId, OwnedUserId)>,
    /// Why they are given up, for the log; [`WhyGivenUp::Unmapped`] also forgets the room.
    pub why: WhyGivenUp,
}

/// Why a room's rows are given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyGivenUp {
    /// The room that takes its place has another direction (`direction` in `matrix_rooms`).
    Direction(OwnedRoomId),
    /// It is no longer configured, nor is this replacement, so it is forgotten.
    Unmapped(Option<OwnedRoomId>),
    /// The configuration has changed, and permits them no longer.
    Forbidden,
}
