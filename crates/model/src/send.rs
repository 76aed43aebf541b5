//! Sending to rooms, by the Matrix adapter or a test.

use std::future::Future;

use super::{EventId, RoomContent, RoomOrAliasId, RoomOutcome, Timestamp, TransactionId};

/// Sends to mapped rooms; cheap to clone, usable from any task.
pub trait SendToRoom: Clone + Send + Sync + 'static {
    /// Sends one event once and returns the outcome; encrypted according to the room's state.
    ///
    /// Idempotent by transaction id, as long as the server remembers it.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the event may or may not have been sent; retry with the same transaction id.
    fn send(
        &self,
        room: &RoomOrAliasId,
        transaction: &TransactionId,
        content: &RoomContent,
        now: Timestamp,
    ) -> impl Future<Output = RoomOutcome> + Send;

    /// Waits until all that the homeserver had to tell at the start is committed: rows whose events are in their rooms have
    /// ended by then. Returns also when the session cannot be used any more.
    ///
    /// # Cancel safety
    ///
    /// Can be dropped at any time.
    fn caught_up(&self) -> impl Future<Output = ()> + Send;

    /// Sends a public read receipt up to an event; with `thread`, for the thread of that root.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the receipt may or may not have been sent; retrying is safe.
    fn mark_read(
        &self,
        room: &RoomOrAliasId,
        event: &EventId,
        thread: Option<&EventId>,
    ) -> impl Future<Output = RoomOutcome> + Send;
}
