//! Corrects stored times after the system's clock was set, so that waiting messages neither expire early nor are delayed.

use rusqlite::named_params;

use super::{Result, Tx, columns::SLACK, single_values};
use relay_model::{Jump, Timestamp};

/// The columns to shift, with the condition that selects the affected rows.
const MOVES: [&str; 7] = [
    "UPDATE mesh_outbox SET sent_at = sent_at + :by, accepted_at = accepted_at + :by,
         active_at = active_at + :by, expires = expires + :by, edited_at = edited_at + :by,
         not_before = CASE WHEN :by < 0 OR not_before = 0 THEN not_before ELSE not_before + :by END
     WHERE id IN (SELECT id FROM mesh_open) AND accepted_at BETWEEN :began AND :expected
         AND accepted_at NOT BETWEEN :looked AND :now",
    // Rate limits and the correction window continue as before.
    "UPDATE mesh_outbox SET sent_at = sent_at + :by, edited_at = edited_at + :by
     WHERE id IN (SELECT id FROM mesh_closed) AND accepted_at BETWEEN MAX(:began, :expected - 3600000) AND :expected
         AND accepted_at NOT BETWEEN :looked AND :now",
    "UPDATE backlog_room SET opened_at = opened_at + :by, added_at = added_at + :by,
         handed_at = handed_at + :by
     WHERE added_at BETWEEN :began AND :expected AND added_at NOT BETWEEN :looked AND :now",
    "UPDATE expired_room SET oldest = oldest + :by, newest = newest + :by, since = since + :by,
         last = last + :by
     WHERE last BETWEEN :began AND :expected AND last NOT BETWEEN :looked AND :now",
    "UPDATE undecryptable SET sent_at = sent_at + :by, kept_at = kept_at + :by
     WHERE id IN (SELECT id FROM key_awaited) AND kept_at BETWEEN :began AND :expected
         AND kept_at NOT BETWEEN :looked AND :now",
    "UPDATE outage SET since = since + :by, back = back + :by
     WHERE since BETWEEN :began AND :expected AND since NOT BETWEEN :looked AND :now",
    "UPDATE outage_told SET since = since + :by, back = back + :by
     WHERE since BETWEEN :began AND :expected AND since NOT BETWEEN :looked AND :now",
];

/// Shifts the times of waiting rows that this run has written. Rows of an earlier run keep theirs: its clock may have been
/// right.
pub fn follow(tx: &Tx<'_>, jump: &Jump) -> Result<()> {
    let by = jump.now.0.saturating_sub(jump.expected.0);
    for sql in MOVES {
        tx.run(
            sql,
            named_params! {
                ":by": by,
                ":began": jump.began - SLACK,
                ":expected": jump.expected + SLACK,
                ":looked": jump.now.0.saturating_sub(jump.looked_ago),
                ":now": jump.now + SLACK,
            },
        )?;
    }
    if let Some(since) = single_values::radio_away_since(tx)?
        && (jump.began..=jump.expected).contains(&since)
    {
        single_values::set_radio_away_since(tx, Some(Timestamp(since.0.saturating_add(by))))?;
    }
    if by < 0 {
        // Regardless of acceptance time: a wait ends when it would have ended.
        tx.execute(
            "UPDATE mesh_outbox SET not_before = not_before + ?1 WHERE not_before > ?2 AND id IN (SELECT id FROM mesh_open)",
            (by, jump.now),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outbox::mesh_report::{accepted, next_expiry, retry, submitted};
    use crate::outbox::outbox_mesh::{self, next_due};
    use crate::test_rows::*;
    use relay_model::Lane;

    const DAY: Duration = Duration::from_hours(24);

    fn due(tx: &Tx<'_>, now: Timestamp) -> Result<Option<Timestamp>> {
        next_due(tx, CHANNEL, Lane::Message, &ORDER, now)
    }

    /// A jump 20 s after noon, in a run that began a minute earlier.
    fn jump_to(now: Timestamp) -> Jump {
        Jump {
            began: NOON - Duration::from_mins(1),
            expected: later(20),
            now,
            looked_ago: 20_000,
        }
    }

    #[test]
    fn what_waits_waits_as_long_as_it_would_have() {
        for now in [later(20) + DAY, later(20) - DAY] {
            on_empty(|tx| {
                let waits = When {
                    not_before: Some(later(30)),
                    ..NOW
                };
                accept_for_mesh(tx, "$one:example.org", &["hello"], waits)?;
                follow(tx, &jump_to(now))?;
                let soon = now + Duration::from_secs(10);
                assert_eq!(due(tx, now)?, Some(soon));
                let next = outbox_mesh::next(tx, CHANNEL, Lane::Message, &ORDER, soon)?;
                let row = next.unwrap();
                let expires = next_expiry(tx)?.unwrap();
                assert_eq!(expires.0 - now.0, NOW.expires.0 - later(20).0);
                assert_eq!(
                    row.source.map(|it| now.0 - it.sent_at.0),
                    Some(20_000),
                    "how old it is"
                );
                Ok(())
            });
        }
    }

    #[test]
    fn what_was_sent_counts_against_its_sender_as_before() {
        for now in [later(20) + DAY, later(20) - DAY] {
            on_empty(|tx| {
                let (id, _) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
                submitted(tx, id, NOON)?;
                accepted(tx, id, NOON)?;
                let sender = source("$one:example.org").sender;
                follow(tx, &jump_to(now))?;
                assert_eq!(outbox_mesh::sent_by(tx, &sender, now)?, (1, 1));
                assert_eq!(outbox_mesh::sent_by(tx, &sender, NOON)?, (0, 0));
                Ok(())
            });
        }
    }

    #[test]
    fn what_an_earlier_run_left_and_what_came_since_keeps_its_times() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            // Accepted by a clock that was right; this run's was a day behind.
            let behind = Jump {
                began: NOON - DAY,
                expected: later(20) - DAY,
                now: later(20),
                looked_ago: 20_000,
            };
            follow(tx, &behind)?;
            assert_eq!(next_expiry(tx)?, Some(NOW.expires));
            // A wait set now keeps its length, whichever clock set the others.
            submitted(tx, id, NOON - Duration::from_hours(1))?;
            retry(tx, id, packet, later(50), false, "busy")?;
            let back = Jump {
                began: later(5),
                ..jump_to(later(20) - Duration::from_mins(30))
            };
            follow(tx, &back)?;
            assert_eq!(due(tx, back.now)?, Some(back.now + Duration::from_secs(30)));
            Ok(())
        });
    }
}
