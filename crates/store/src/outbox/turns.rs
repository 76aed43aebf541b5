//! Fairness among senders on the way to the mesh.
//!
//! A queue (destination and lane) is FIFO until more than a few messages of one sender wait in it. Then the senders take turns,
//! each with their oldest message, so that a flood delays nobody else. A message counts once, however many parts it has, and a
//! started message is finished first. The backlog takes no part in it (`backlog.rs`).

use crate::{Result, Tx, columns::target};
use relay_model::{Destination, Lane, MeshRowId};

/// Returns whether the senders of a queue take turns, or one of its messages has been started.
pub(crate) fn are_taken(tx: &Tx<'_>, to: Destination, lane: Lane, in_a_row: u32) -> Result<bool> {
    let (kind, target) = target(to);
    tx.exists(
        "SELECT 1 FROM mesh_in_turn AS row
         WHERE target_kind = ?1 AND target = ?2 AND lane = ?3
         GROUP BY sender HAVING COUNT(DISTINCT message) > ?4 OR MAX(part > 0
             AND NOT EXISTS (SELECT 1 FROM mesh_open AS earlier
                 WHERE earlier.message = row.message AND earlier.part < row.part))",
        (kind, target, lane, in_a_row),
    )
}

/// Counts a turn of a packet's sender: it was handed to the radio.
pub(crate) fn count(tx: &Tx<'_>, id: MeshRowId) -> Result<()> {
    tx.execute(
        "INSERT INTO mesh_turn (target_kind, target, lane, sender, turn)
         SELECT target_kind, target, lane, COALESCE(sender, ''),
             (SELECT COALESCE(MAX(turn), 0) + 1 FROM mesh_turn)
         FROM mesh_outbox WHERE id = ?1
         ON CONFLICT DO UPDATE SET turn = excluded.turn",
        [id],
    )?;
    tx.run(
        "DELETE FROM mesh_turn
         WHERE (target_kind, target, lane) = (SELECT target_kind, target, lane FROM mesh_outbox WHERE id = ?1)
             AND NOT EXISTS (SELECT 1 FROM mesh_waiting AS row
                 WHERE row.target_kind = mesh_turn.target_kind
                     AND row.target = mesh_turn.target AND row.lane = mesh_turn.lane)",
        [id],
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::Store;
    use crate::outbox::mesh_report::{accepted, retry};
    use crate::outbox::outbox_mesh;
    use crate::test_rows::*;
    use relay_model::{MeshContent, MeshMessage, MeshSource, Timestamp};

    /// Accepts a message of a person whose texts are `name` and a number, in these parts.
    fn says(tx: &Tx<'_>, name: &str, number: u32, parts: &[&str]) -> Result<()> {
        let source = MeshSource {
            sender: format!("@{name}:example.org").try_into().unwrap(),
            ..source(&format!("${name}{number}:example.org"))
        };
        let message = MeshMessage {
            channel: None,
            ..for_mesh(MeshContent::Text(draft("hello")), Some(source))
        };
        accept_in_parts(tx, &message, parts)?;
        Ok(())
    }

    fn text(tx: &Tx<'_>, name: &str, number: u32) -> Result<()> {
        says(tx, name, number, &[&format!("{name}{number}")])
    }

    /// Has the radio take the next packet. Returns its text.
    fn take(tx: &Tx<'_>) -> Result<Option<String>> {
        let Some(row) = submit_next(tx, NOON)? else {
            return Ok(None);
        };
        accepted(tx, row.id, NOON)?;
        Ok(Some(text_of(&row).to_owned()))
    }

    fn take_all(tx: &Tx<'_>) -> Result<Vec<String>> {
        std::iter::from_fn(|| take(tx).transpose()).collect()
    }

    #[test]
    fn five_floods_hold_a_sixth_person_up_by_a_turn_each() {
        on_empty(|tx| {
            let crowd = ["a", "b", "c", "d", "e"];
            for name in crowd {
                for number in 0..20 {
                    text(tx, name, number)?;
                }
            }
            for _ in 0..7 {
                take(tx)?;
            }
            text(tx, "sixth", 0)?;
            text(tx, "sixth", 1)?;
            let rest = take_all(tx)?;
            let place = |text: &str| rest.iter().position(|it| it == text).unwrap();
            assert_eq!(place("sixth0"), 0, "{rest:?}");
            assert_eq!(place("sixth1"), 6, "{rest:?}");
            assert_eq!(rest.len(), 95);
            let mut last: HashMap<&str, u32> = HashMap::new();
            for text in rest.iter().filter(|text| !text.starts_with("sixth")) {
                let (name, number) = text.split_at(1);
                let number = number.parse().unwrap();
                assert!(
                    last.insert(name, number) < Some(number),
                    "each one's own order"
                );
            }
            assert!(!tx.exists("SELECT 1 FROM mesh_turn", ())?, "nothing waits");
            Ok(())
        });
    }

    #[test]
    fn a_conversation_keeps_its_order() {
        on_empty(|tx| {
            let said = ["a0", "a1", "b0", "a2", "b1", "b2"];
            for text in said {
                let (name, number) = text.split_at(1);
                super::tests::text(tx, name, number.parse().unwrap())?;
            }
            assert_eq!(take_all(tx)?, said);
            Ok(())
        });
    }

    #[test]
    fn a_long_message_counts_once_and_its_parts_stay_together() {
        on_empty(|tx| {
            for number in 0..3 {
                let part = |part| format!("a{number}.{part}");
                says(tx, "a", number, &[&part(1), &part(2), &part(3)])?;
            }
            text(tx, "b", 0)?;
            let three = take_all(tx)?;
            assert_eq!(
                three[2..5],
                ["a0.3", "a1.1", "a1.2"],
                "nobody has more than three"
            );
            assert_eq!(three[9], "b0");

            for number in 0..5 {
                let part = |part| format!("a{number}.{part}");
                says(tx, "a", number + 10, &[&part(1), &part(2)])?;
            }
            assert_eq!(take(tx)?.as_deref(), Some("a0.1"));
            text(tx, "b", 1)?;
            text(tx, "b", 2)?;
            let five = take_all(tx)?;
            assert_eq!(five[..4], ["a0.2", "b1", "a1.1", "a1.2"]);
            Ok(())
        });
    }

    #[test]
    fn turns_go_on_after_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("relay.sqlite");
        let mut order = Vec::new();
        for run in 0..4 {
            let mut store = Store::open(&path).unwrap();
            let taken = store.transaction(|tx| {
                if run == 0 {
                    for name in ["a", "b", "c"] {
                        for number in 0..6 {
                            text(tx, name, number)?;
                        }
                    }
                }
                Ok([take(tx)?, take(tx)?])
            });
            order.extend(taken.unwrap().into_iter().flatten());
        }
        assert_eq!(order, ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2"]);
    }

    #[test]
    fn what_the_radio_is_to_be_asked_again_is_not_overtaken_by_turns() {
        on_empty(|tx| {
            for number in 0..5 {
                text(tx, "a", number)?;
                text(tx, "b", number)?;
            }
            take(tx)?;
            let row = submit_next(tx, NOON)?.unwrap();
            let again = later(30);
            retry(tx, row.id, row.packet, again, false, "busy")?;
            let next = |now: Timestamp| outbox_mesh::next(tx, CHANNEL, Lane::Message, &ORDER, now);
            assert_eq!(next(NOON)?, None);
            let due = outbox_mesh::next_due(tx, CHANNEL, Lane::Message, &ORDER, NOON)?;
            assert_eq!(due, Some(again));
            assert_eq!(next(again)?.map(|it| it.id), Some(row.id));
            Ok(())
        });
    }

    #[test]
    fn a_flood_in_one_channel_changes_no_order_in_another() {
        on_empty(|tx| {
            for number in 0..9 {
                text(tx, "a", number)?;
            }
            assert!(are_taken(tx, CHANNEL, Lane::Message, 3)?);
            let other = Destination::Channel(1.try_into().unwrap());
            assert!(!are_taken(tx, other, Lane::Message, 3)?);
            assert!(!are_taken(tx, CHANNEL, Lane::Urgent, 3)?);
            Ok(())
        });
    }
}
