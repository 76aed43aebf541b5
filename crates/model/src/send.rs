//! Who sends to rooms: the Matrix adapter, or a test.

use std::future::Future;

use super::{EventId, RoomContent, RoomOrAliasId, RoomOutcome, Timestamp, TransactionId};

/// Sends to the mapped rooms; cheap to clone, works from any task.
pub trait SendToRoom: Clone + Send + Sync + 'static {
    /// Sends one event, once, and returns what became of it. Encrypted or plain by the room's own state.
    ///
    /// The same transaction again after a crash makes no second event, as long as the server remembers it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may or may not have sent; try again under the same transaction.
    fn send(
        &self,
        room: &RoomOrAliasId,
        transaction: &TransactionId,
        content: &RoomContent,
        now: Timestamp,
    ) -> impl Future<Output = RoomOutcome> + Send;

    /// Marks a room as read up to an event, for everybody to see; with `thread`, the thread of that root.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may or may not have done so; it can be done again.
    fn mark_read(
        &self,
        room: &RoomOrAliasId,
        event: &EventId,
        thread: Option<&EventId>,
    ) -> impl Future<Output = RoomOutcome> + Send;
}
