//! The transactions of those who send: each takes what is next from its outbox.

use super::outbox_mesh::{self, MeshRow};
use super::outbox_room::{self, RoomRow};
use super::{Store, StoreError, Tx, feedback, mesh_report, meta, receipts};
use crate::model::{Destination, Lane, RoomOrAliasId, Timestamp, UserId};

/// What a worker for the mesh finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextMesh {
    /// This row is due; it is noted as submitted.
    Due(Box<MeshRow>),
    /// Nothing before then.
    Later(Timestamp),
    /// Nothing waits.
    Nothing,
}

impl Store {
    /// Returns the row that is to be sent to a room next; writes nothing, normally. A room's worker asks again only after
    /// that row's outcome is stored.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn next_for_room(&mut self, room: &RoomOrAliasId) -> Result<Option<RoomRow>, StoreError> {
        self.in_place(|store| store.commit(|tx| outbox_room::next(tx, room)))
    }

    /// Returns the row that is to be handed to the radio next for a destination and lane, and notes that it is. A power
    /// cut can take the note back: then the row goes again under the same packet id, as it does after any other end.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn next_for_mesh(
        &mut self,
        to: Destination,
        lane: Lane,
        now: Timestamp,
    ) -> Result<NextMesh, StoreError> {
        self.note(|tx| {
            if let Some(row) = outbox_mesh::next(tx, to, lane, now)? {
                mesh_report::submitted(tx, row.id, now)?;
                return Ok(NextMesh::Due(Box::new(row)));
            }
            let due = outbox_mesh::next_due(tx, to, lane, now)?;
            Ok(due.map_or(NextMesh::Nothing, NextMesh::Later))
        })
    }

    /// Returns what is to be shown next of what became of messages, and stores under which transaction. A power cut can take
    /// the note back: then the server says that the reaction is there already.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn next_sign(
        &mut self,
        now: Timestamp,
    ) -> Result<feedback::Next<feedback::Request>, StoreError> {
        self.note(|tx| feedback::next(tx, now))
    }

    /// Returns the read receipt that is to be sent next.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn next_receipt(
        &mut self,
        now: Timestamp,
    ) -> Result<feedback::Next<receipts::Receipt>, StoreError> {
        self.note(|tx| receipts::next(tx, now))
    }

    /// Notes what became of a sign or a receipt, in a commit that does not wait for the disk: what a power cut takes back is
    /// found out again.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn note_shown<T>(
        &mut self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.note(work)
    }

    /// Returns up to where an account's events were accepted; `None` before the first sync.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn sync_position(&mut self, account: &UserId) -> Result<Option<String>, StoreError> {
        self.read(|tx| meta::sync_position(tx, account))
    }
}
