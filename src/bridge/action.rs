//! What the bridge wants done.

use crate::model::{
    EarlyEdit, MeshMessage, MeshRowId, MeshSource, MessagePair, NewVersion, OwnedEventId,
    OwnedRoomId, OwnedUserId, RadioPayload, RadioText, RoomMessage, Sign, Timestamp,
};

use super::dropped::DropReason;
use super::route::Spot;

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
    /// Send packets to the mesh, one for each part, in order.
    ToMesh(MeshMessage),
    /// Remember to which of its room's channels a message belongs that is not transmitted: what is said of it goes there too.
    KeepPlace {
        /// Its room.
        room: OwnedRoomId,
        /// The event.
        event: OwnedEventId,
        /// Who wrote it.
        sender: OwnedUserId,
        /// Its channel.
        spot: Spot,
    },
    /// Count a message of Matrix that came too late to be transmitted: its room is told of all such ones together.
    Expire(Box<MeshSource>),
    /// Keep a direct message to our node.
    KeepDirect(Box<RadioText>),
    /// Take back what waits for the mesh of this event (message, parts, tapback).
    Withdraw {
        /// The room in which it was taken away: an event of another room stays.
        room: OwnedRoomId,
        /// The event.
        event: OwnedEventId,
    },
    /// Take back what waits for the mesh of a person in a room: banned there.
    WithdrawSender {
        /// The room.
        room: OwnedRoomId,
        /// Who.
        sender: OwnedUserId,
    },
    /// Keep the event, which cannot be decrypted, until its key comes.
    KeepUndecryptable,
    /// What follows from the edit of a message.
    Change(Change),
    /// Change the text of a row that waits for the mesh: one more picture.
    Rewrite {
        /// The row.
        outbox: MeshRowId,
        /// The new payload.
        payload: RadioPayload,
    },
    /// Show the sender of a message what became of it, where that does not follow from rows for the mesh.
    Sign {
        /// Its room.
        room: OwnedRoomId,
        /// The event.
        event: OwnedEventId,
        /// The sign.
        sign: Sign,
    },
    /// Remember that something was said, so that it is not said again: [`super::Facts::told`].
    Remember {
        /// Its name: `dm_reply !a1b2c3d4`, `alert !a1b2c3d4`, `refused too_long !room:example.org`.
        what: String,
        /// Forgotten then.
        until: Timestamp,
    },
    /// Nothing is relayed. Counted by reason, and logged at debug.
    Drop(DropReason),
}

/// What follows from the edit of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Change a message that waits for the mesh, for all its parts. It keeps its place.
    Rewrite {
        /// The row of its first part.
        row: MeshRowId,
        /// What it is now.
        new: NewVersion,
    },
    /// Send a correction of a message that was sent.
    Correct {
        /// Which correction of the message, from 1.
        number: u8,
        /// The correction; the message that it corrects stands behind it, with the correction's text and time.
        message: MeshMessage,
    },
    /// Take back a correction that waits; what else waits of its message stays.
    Withdraw {
        /// The row of its first part.
        row: MeshRowId,
    },
    /// Keep an edit until the message comes that it changes.
    Keep {
        /// The room.
        room: OwnedRoomId,
        /// The message.
        target: OwnedEventId,
        /// Who wrote the edit.
        sender: OwnedUserId,
        /// The edit's own event.
        event: OwnedEventId,
        /// What it says.
        edit: EarlyEdit,
    },
}
