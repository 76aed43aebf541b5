//! What the ledger does from time to time, and once at a start: ends what is over, forgets what is old.

use std::time::Duration;

use tracing::warn;

use crate::model::{MeshState, Timestamp};
use crate::store::feedback as signs;
use crate::store::{StoreError, Tx, clock, mesh_report, outbox_mesh, outbox_room, retention, told};

use super::super::health::MANY_ROWS;
use super::{Ledger, Outcome};

/// After that nothing more is expected to be heard of a packet (design: 180 s on slow presets).
const UNKNOWN_AFTER: Duration = Duration::from_mins(3);
/// A parked room gets one try after that, in case nothing told us of a change.
const PARKED_RETRY: Duration = Duration::from_mins(5);
/// And signs get one in a room that refused them though its power levels allow them.
const SIGNS_RETRY: Duration = Duration::from_hours(24);
/// Under this name it is remembered that a long queue was reported.
const BACKLOG: &str = "backlog to matrix";
/// When it is reported again.
const BACKLOG_AGAIN: Duration = Duration::from_hours(1);

impl Ledger {
    /// Ends what has expired, forgets what is too old, and gives parked rooms another try.
    pub(in crate::daemon) fn housekeeping(
        &mut self,
        tx: &Tx<'_>,
        now: Timestamp,
        up: Duration,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        if let Some(jump) = self.calendar.look(now, up) {
            clock::follow(tx, &jump)?;
        }
        outcome.counts.add(std::mem::take(&mut self.counts));
        self.settle_rooms(tx, now, outcome)?;
        Self::expire(tx, now, outcome)?;
        outbox_mesh::end_reactions_on_nothing(tx)?;
        for row in mesh_report::unanswered(tx, now - UNKNOWN_AFTER)? {
            mesh_report::outcome(tx, row, MeshState::Unknown)?;
        }
        self.show_waiting(tx, now, outcome)?;
        self.give_up_unread(tx, now, outcome)?;
        // A worker that ended just when something came is started again.
        outcome.mesh.extend(outbox_mesh::queues(tx)?);
        self.tell_expired(tx, now, outcome)?;
        self.tell_outage(tx, now, up, outcome)?;
        if self.calendar.is_steady(up) {
            let days = self.keep_days.saturating_add(self.calendar.days_ahead());
            outcome.more_to_forget = retention::prune(tx, now, days, self.keep_pairs)?;
        }
        report_backlog(tx, MANY_ROWS, now)?;
        if up.saturating_sub(self.permitted_at) >= SIGNS_RETRY {
            self.permitted_at = up;
            for room in self.rooms.values().filter(|room| room.may_react) {
                signs::permit(tx, Some(&room.room))?;
            }
            outcome.feedback = true;
        }
        if up.saturating_sub(self.unparked_at) >= PARKED_RETRY {
            self.unparked_at = up;
            for entry in outbox_room::parked(tx)? {
                outbox_room::unpark(tx, entry.room.as_deref())?;
            }
            outcome
                .changed
                .extend(outbox_room::waiting(tx)?.into_iter().map(|it| it.room));
        }
        Ok(())
    }
}

/// Says once an hour that a very long queue waits for Matrix: the disk is its only bound.
/// Returns whether it was said now.
fn report_backlog(tx: &Tx<'_>, many: u64, now: Timestamp) -> Result<bool, StoreError> {
    let rows = outbox_room::count(tx)?;
    if rows <= many || told::is_told(tx, BACKLOG, now)? {
        return Ok(false);
    }
    warn!(
        rows,
        "very much waits for Matrix, and fills the disk: `relay status` says for which rooms, and since when"
    );
    told::remember(tx, BACKLOG, now + BACKLOG_AGAIN)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOON, config, joined, text_of_alice};
    use super::*;
    use crate::model::{EventRef, RoomContent, RoomMessage};
    use crate::store::Store;
    use crate::store::outbox_room::NewRoomRow;

    #[test]
    fn a_clock_that_is_set_right_lets_nothing_expire_that_was_just_written() {
        let hours = Duration::from_hours(3);
        for wrong in [NOON - hours, NOON + hours] {
            let mut store = Store::in_memory().unwrap();
            let seconds = Duration::from_secs;
            let waits = store.transaction(|tx| {
                let mut ledger = Ledger::open(tx, &config(), wrong)?;
                let mut outcome = Outcome::default();
                for event in [joined(), text_of_alice("hello", wrong)] {
                    ledger.event(tx, &event, wrong + seconds(2), &mut outcome)?;
                }
                let mut waits = Vec::new();
                for up in [seconds(20), seconds(3590), seconds(3620)] {
                    ledger.housekeeping(tx, NOON + up, up, &mut outcome)?;
                    waits.push(!outbox_mesh::queues(tx)?.is_empty());
                }
                Ok(waits)
            });
            assert_eq!(waits.unwrap(), [true, true, false]);
        }
    }

    #[test]
    fn a_very_long_queue_is_reported_once_an_hour() {
        let message = RoomMessage {
            room: "!room:example.org".try_into().unwrap(),
            content: RoomContent::Redaction {
                target: EventRef::Event("$event:example.org".try_into().unwrap()),
            },
        };
        let row = NewRoomRow::of_bot(&message);
        let mut store = Store::in_memory().unwrap();
        let said = store.transaction(|tx| {
            let mut said = Vec::new();
            for minutes in [0, 1, 2, 59, 62] {
                outbox_room::insert(tx, &row, NOON)?;
                let now = NOON + Duration::from_mins(minutes);
                said.push(report_backlog(tx, 1, now)?);
            }
            Ok(said)
        });
        assert_eq!(said.unwrap(), [false, true, false, false, true]);
    }
}
