//! The transactions of those who send: each takes what is next from its outbox.

use super::outbox_room::{self, RoomRow};
use super::{Store, StoreError, feedback, meta, receipts};
use crate::model::{RoomOrAliasId, Timestamp, UserId};

impl Store {
    /// Returns the row that is to be sent to a room next; writes nothing, normally. A room's worker asks again only after
    /// that row's outcome is stored.
    pub fn next_for_room(&mut self, room: &RoomOrAliasId) -> Result<Option<RoomRow>, StoreError> {
        self.commit(|tx| outbox_room::next(tx, room))
    }

    /// Returns what is to be shown next of what became of messages, and stores under which transaction. A power cut can take
    /// the note back: then the server says that the reaction is there already.
    pub fn next_sign(
        &mut self,
        now: Timestamp,
    ) -> Result<feedback::Next<feedback::Request>, StoreError> {
        self.note(|tx| feedback::next(tx, now))
    }

    /// Returns the read receipt that is to be sent next.
    pub fn next_receipt(
        &mut self,
        now: Timestamp,
    ) -> Result<feedback::Next<receipts::Receipt>, StoreError> {
        self.note(|tx| receipts::next(tx, now))
    }

    /// Returns up to where an account's events were accepted; `None` before the first sync.
    pub fn sync_position(&mut self, account: &UserId) -> Result<Option<String>, StoreError> {
        self.read(|tx| meta::sync_position(tx, account))
    }
}
