//! The transactions of those who send: each takes what is next from its outbox.

use std::time::Duration;

use super::edits::rewrite_message;
use super::mesh_waiting::packets_of;
use super::outbox_mesh::{self, MeshRow};
use super::outbox_room::{self, RoomRow};
use super::{Store, StoreError, Tx, feedback, mesh_report, meta, receipts};
use crate::model::{Destination, Lane, NewVersion, RadioPayload, RoomOrAliasId, Timestamp, UserId};

/// A text that goes on the air later than that says how old it is.
const LATE: Duration = Duration::from_mins(5);

/// How messages go to the mesh.
pub struct MeshPace<'a> {
    /// From one message of a room's backlog to the next.
    pub spacing: Duration,
    /// Has a message say how old it is: returns its packets anew, or `None` if there is no room for that.
    pub tell_age: &'a dyn Fn(&Aged) -> Option<Vec<String>>,
}

/// A message that goes on the air late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    /// Its packets as they are.
    pub packets: Vec<String>,
    /// Its text without prefix.
    pub text: String,
    /// The first packet answers another one.
    pub is_reply: bool,
    /// How old it is.
    pub age: Duration,
}

/// What is next, and whether it has to be changed first.
enum Found {
    Next(NextMesh),
    Late,
}

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
        self.commit(|tx| outbox_room::next(tx, room))
    }

    /// Returns the row that is to be handed to the radio next for a destination and lane, and notes that it is. A power
    /// cut can take the note back: then the row goes again under the same packet id, as it does after any other end. A
    /// text that has become old is changed first, which no power cut takes back: an id never stands for two texts.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub fn next_for_mesh(
        &mut self,
        to: Destination,
        lane: Lane,
        pace: &MeshPace<'_>,
        now: Timestamp,
    ) -> Result<NextMesh, StoreError> {
        let found = self.note(|tx| {
            let Some(row) = outbox_mesh::next(tx, to, lane, pace.spacing, now)? else {
                let due = outbox_mesh::next_due(tx, to, lane, pace.spacing, now)?;
                return Ok(Found::Next(due.map_or(NextMesh::Nothing, NextMesh::Later)));
            };
            if is_late(&row, now) {
                return Ok(Found::Late);
            }
            mesh_report::submitted(tx, row.id, now)?;
            Ok(Found::Next(NextMesh::Due(Box::new(row))))
        })?;
        match found {
            Found::Next(next) => Ok(next),
            Found::Late => self.transaction(|tx| {
                if let Some(row) = outbox_mesh::next(tx, to, lane, pace.spacing, now)? {
                    tell_age(tx, &row, pace, now)?;
                }
                let Some(row) = outbox_mesh::next(tx, to, lane, pace.spacing, now)? else {
                    return Ok(NextMesh::Nothing);
                };
                mesh_report::submitted(tx, row.id, now)?;
                Ok(NextMesh::Due(Box::new(row)))
            }),
        }
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

/// Returns whether a row is the beginning of a message that should say how old it is. What the radio knows already stays
/// as it is.
fn is_late(row: &MeshRow, now: Timestamp) -> bool {
    let untouched = row.part.0 == 0 && row.attempts == 0;
    let is_text = match row.message.payload {
        RadioPayload::Text { .. } => row.message.lane != Lane::Reaction,
        RadioPayload::Tapback { .. } => false,
    };
    let written = row.source.as_ref().map(|source| source.sent_at);
    untouched && is_text && written.is_some_and(|written| now.since(written) > LATE)
}

fn tell_age(
    tx: &Tx<'_>,
    row: &MeshRow,
    pace: &MeshPace<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let RadioPayload::Text { reply_to, .. } = &row.message.payload else {
        return Ok(());
    };
    let Some(source) = &row.source else {
        return Ok(());
    };
    let aged = Aged {
        packets: packets_of(tx, row.id)?,
        text: source.text.clone(),
        is_reply: reply_to.is_some(),
        age: now.since(source.sent_at),
    };
    let Some(packets) = (pace.tell_age)(&aged) else {
        return Ok(());
    };
    let mut reply_to = *reply_to;
    let parts = packets.into_iter().map(|text| RadioPayload::Text {
        text,
        reply_to: reply_to.take(),
    });
    let text = NewVersion {
        parts: parts.collect(),
        text: source.text.clone(),
        lane: row.message.lane,
        alert: source.alert,
        not_before: None,
    };
    rewrite_message(tx, row.id, &text, now)?;
    Ok(())
}
