//! Edits: the versions of a Matrix message that wait or were sent, and edits that arrived before their message.
//!
//! A correction is an outbox message of its own under the event of the message that it corrects, so that redactions, replies
//! and reports find both.

use crate::columns::{Row, destination, identifier, source_of};
use crate::outbox::drafts::{self, are_unknown, packets};
use crate::{Result, Tx};
use relay_model::{
    EarlyEdit, EventId, MeshRowId, MeshState, NewVersion, OwnedEventId, OwnedUserId, RoomEdit,
    RoomId, RoomTextKind, Timestamp, UserId, Version,
};

/// Maximum number of early edits stored: anybody can write edits of messages that never come.
const MOST_EARLY: u32 = 1_000;

/// Returns the versions of a room's message that wait or were sent, oldest first.
pub fn versions(tx: &Tx<'_>, room: &RoomId, event: &EventId) -> Result<Vec<Version>> {
    tx.all(
        // SQLite takes the bare columns from the row with the minimum: the first part.
        concat!(
            "SELECT *, MIN(part), ",
            packets!(),
            " AS packets, ",
            are_unknown!(),
            " AS waits
             FROM mesh_outbox WHERE event = ?1 AND room = ?2 AND tapback = 0 AND state <> ?4
             GROUP BY message HAVING SUM(state NOT IN (?5, ?6)) > 0 ORDER BY message"
        ),
        (
            event.as_str(),
            room.as_str(),
            MeshState::Waiting,
            MeshState::Withdrawn,
            MeshState::Refused,
            MeshState::Expired,
        ),
        read_version,
    )
}

fn read_version(row: &Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        row: row.get("message")?,
        correction: row.get("correction")?,
        waits: row.get("waits")?,
        source: source_of(row)?,
        text: row.get("source_text")?,
        destination: destination(row)?,
        channel: row.get("channel")?,
        lane: row.get("lane")?,
        packet: row.get("packet")?,
        reply_to: row.get("reference")?,
        packets: row.get("packets")?,
        accepted_at: row.get("accepted_at")?,
        edited_at: row.get("edited_at")?,
    })
}

/// Changes a waiting message; it keeps its place. Fails as [`drafts::change`] does.
pub fn rewrite(tx: &Tx<'_>, message: MeshRowId, new: &NewVersion) -> Result<()> {
    drafts::change(tx, message, &new.draft)?;
    tx.execute(
        "UPDATE mesh_outbox SET lane = ?2, alert = ?3, not_before = COALESCE(?4, not_before)
         WHERE id = ?1",
        (message, new.lane, new.alert, new.not_before),
    )?;
    tx.run(
        "UPDATE message_pair SET alert = ?2 WHERE mesh_outbox = ?1",
        (message, new.alert),
    )
}

/// Records when a person last edited their message; edits written before that are ignored.
pub fn edited(
    tx: &Tx<'_>,
    room: &RoomId,
    event: &EventId,
    sender: &UserId,
    sent_at: Timestamp,
) -> Result<()> {
    tx.run(
        "UPDATE mesh_outbox SET edited_at = MAX(COALESCE(edited_at, ?4), ?4)
         WHERE event = ?1 AND room = ?2 AND sender = ?3 AND tapback = 0",
        (event.as_str(), room.as_str(), sender.as_str(), sent_at),
    )
}

/// Stores an edit that arrived before its message, or whose correction waits, replacing an older one by the same author.
pub fn keep_early(tx: &Tx<'_>, edit: &RoomEdit, now: Timestamp) -> Result<()> {
    let new = &edit.new;
    tx.execute(
        "INSERT OR REPLACE INTO early_edit (target, room, sender, event, emote, body, sent_at, kept_at)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS (
             SELECT 1 FROM early_edit WHERE target = ?1 AND sender = ?3 AND sent_at > ?7)",
        (
            edit.target.as_str(),
            new.room.as_str(),
            new.sender.as_str(),
            new.event.as_str(),
            new.kind == RoomTextKind::Emote,
            new.body.as_str(),
            new.sent_at.min(now),
            now,
        ),
    )?;
    tx.run(
        "DELETE FROM early_edit
         WHERE id <= (SELECT id FROM early_edit ORDER BY id DESC LIMIT 1 OFFSET ?1)",
        [MOST_EARLY],
    )
}

/// Returns the author's edit that arrived before its message.
pub fn early(
    tx: &Tx<'_>,
    target: &EventId,
    room: &RoomId,
    sender: &OwnedUserId,
) -> Result<Option<EarlyEdit>> {
    tx.first(
        "SELECT emote, body, sent_at FROM early_edit WHERE target = ?1 AND sender = ?2 AND room = ?3",
        (target.as_str(), sender.as_str(), room.as_str()),
        |row| {
            Ok(EarlyEdit {
                emote: row.get(0)?,
                body: row.get(1)?,
                sent_at: row.get(2)?,
            })
        },
    )
}

/// Returns the target of an edit stored by [`keep_early`], and the edit's author.
pub fn target_of(
    tx: &Tx<'_>,
    room: &RoomId,
    edit: &EventId,
) -> Result<Option<(OwnedEventId, OwnedUserId)>> {
    tx.first(
        "SELECT target, sender FROM early_edit WHERE event = ?1 AND room = ?2",
        (edit.as_str(), room.as_str()),
        |row| Ok((identifier(row, 0)?, identifier(row, 1)?)),
    )
}

/// Returns the waiting correction of a message, if the radio cannot know any of it.
pub fn waiting_correction(tx: &Tx<'_>, room: &RoomId, event: &EventId) -> Result<Option<Version>> {
    let newest = versions(tx, room, event)?.pop();
    Ok(newest.filter(|version| version.correction > 0 && version.waits))
}

/// Forgets the early edits of a message, or an early edit that was redacted.
pub fn forget_early(tx: &Tx<'_>, event: &EventId) -> Result<()> {
    tx.run(
        "DELETE FROM early_edit WHERE target = ?1 OR event = ?1",
        [event.as_str()],
    )
}

/// Forgets early edits stored before that time.
pub fn prune_early(tx: &Tx<'_>, before: Timestamp) -> Result<()> {
    tx.run("DELETE FROM early_edit WHERE kept_at < ?1", [before])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreError;
    use crate::messages::message_map;
    use crate::outbox::mesh_report::{self, Withdrawal, accepted, retry, submitted, withdraw};
    use crate::outbox::outbox_mesh;
    use crate::test_rows::*;
    use relay_model::{Draft, Lane, MeshContent, MeshMessage, OwnedRoomId, RoomText};

    fn edit_of(target: &EventId, by: &UserId, body: &str, sent_at: Timestamp) -> RoomEdit {
        RoomEdit {
            target: target.to_owned(),
            new: RoomText {
                room: here(),
                event: event("$edit:example.org"),
                sender: by.to_owned(),
                sender_name: String::new(),
                sender_power: 0,
                sent_at,
                kind: RoomTextKind::Text,
                body: body.to_owned(),
                reply_to: None,
                thread: None,
                relay: None,
                suppress: false,
                in_clear: false,
            },
        }
    }

    fn here() -> OwnedRoomId {
        ROOM.try_into().unwrap()
    }

    fn versions_of(tx: &Tx<'_>, name: &str) -> Result<Vec<Version>> {
        versions(tx, &here(), &event(name))
    }

    fn change(tx: &Tx<'_>, message: MeshRowId, packets: u8) -> Result<()> {
        let draft = Draft {
            packets,
            ..draft("new")
        };
        let new = NewVersion {
            draft,
            lane: Lane::Urgent,
            alert: true,
            not_before: None,
        };
        rewrite(tx, message, &new)
    }

    /// Sends everything that waits, and returns it in order.
    fn sent(tx: &Tx<'_>) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for lane in [Lane::Urgent, Lane::Message] {
            while let Some(row) = next_packet(tx, lane, later(60))? {
                submitted(tx, row.id, later(60))?;
                accepted(tx, row.id, later(60))?;
                texts.push(text_of(&row).to_owned());
            }
        }
        Ok(texts)
    }

    fn correct(tx: &Tx<'_>, name: &str, text: &str, number: u8) -> Result<MeshRowId> {
        let correction = Draft {
            correction: number,
            ..draft(text)
        };
        let message = MeshMessage {
            not_before: Some(later(10)),
            ..for_mesh(MeshContent::Text(correction), Some(source(name)))
        };
        Ok(outbox_mesh::insert(tx, RADIO, &message, NOON)?.0)
    }

    #[test]
    fn what_cannot_be_read_of_edits_costs_itself_alone() {
        on_empty(|tx| {
            let one = accept_for_mesh(tx, "$one:example.org", &["one"], NOW)?[0].0;
            let two = correct(tx, "$one:example.org", "two", 1)?;
            tx.execute(
                "UPDATE mesh_outbox SET sender = 'nobody' WHERE id = ?1",
                [one],
            )?;
            let rows: Vec<_> = versions_of(tx, "$one:example.org")?
                .iter()
                .map(|it| it.row)
                .collect();
            assert_eq!(rows, [two]);
            let alice = OwnedUserId::try_from("@alice:example.org").unwrap();
            let (target, name) = (event("$later:example.org"), event("$edit:example.org"));
            keep_early(tx, &edit_of(&target, &alice, "new", NOON), NOON)?;
            tx.execute(
                "UPDATE early_edit SET target = 'nothing', body = CAST(x'ff' AS TEXT)",
                (),
            )?;
            assert_eq!(target_of(tx, &here(), &name)?, None);
            tx.execute("UPDATE early_edit SET target = ?1", [target.as_str()])?;
            assert_eq!(early(tx, &target, &here(), &alice)?, None);
            Ok(())
        });
    }

    #[test]
    fn a_waiting_message_gets_its_new_text_and_keeps_its_place() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$zero:example.org", &["first"], NOW)?;
            let one = accept_for_mesh(tx, "$one:example.org", &["old"], NOW)?[0].0;
            accept_for_mesh(tx, "$two:example.org", &["next"], NOW)?;
            let version = &versions_of(tx, "$one:example.org")?[0];
            assert_eq!(
                (version.row, version.waits, version.packets),
                (one, true, 1)
            );
            drafts::change(tx, one, &draft("new"))?;
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            assert_eq!((pairs.len(), pairs[0].text.as_str()), (1, "new"));
            assert_eq!(versions_of(tx, "$one:example.org")?[0].text, "new");
            assert_eq!(sent(tx)?, ["first", "new", "next"]);
            Ok(())
        });
    }

    #[test]
    fn a_waiting_message_can_become_urgent() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$two:example.org", &["next"], NOW)?;
            let one = accept_for_mesh(tx, "$one:example.org", &["old"], NOW)?[0].0;
            change(tx, one, 1)?;
            assert!(message_map::by_event(tx, &event("$one:example.org"))?[0].alert);
            assert!(versions_of(tx, "$one:example.org")?[0].source.alert);
            assert_eq!(sent(tx)?, ["new", "next"]);
            Ok(())
        });
    }

    #[test]
    fn a_message_of_which_packets_were_made_becomes_others_as_long_as_the_radio_knows_none() {
        on_empty(|tx| {
            let parts = ["1/3", "2/3", "3/3"];
            let rows = accept_for_mesh(tx, "$one:example.org", &parts, NOW)?;
            accept_for_mesh(tx, "$two:example.org", &["next"], NOW)?;
            change(tx, rows[0].0, 2)?;
            let version = &versions_of(tx, "$one:example.org")?[0];
            assert_eq!((version.waits, version.packets), (true, 2));
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            assert_eq!(pairs.len(), 1);
            assert_eq!(crate::testing::waiting_packets(tx)?, 3);
            // Ids once chosen are never reused.
            assert!(message_map::is_own_packet(tx, RADIO, rows[2].1)?);
            assert_eq!(sent(tx)?, ["new", "next"]);
            Ok(())
        });
    }

    #[test]
    fn nothing_is_changed_that_the_radio_may_know() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            let (id, packet) = rows[0];
            submitted(tx, id, NOON)?;
            for step in 0..3 {
                let version = &versions_of(tx, "$one:example.org")?[0];
                assert!(!version.waits, "step {step}");
                let changed = change(tx, id, 1);
                assert!(matches!(changed, Err(StoreError::Known(_))), "step {step}");
                match step {
                    0 => drop(retry(tx, id, packet, NOON, false, "link lost")?),
                    _ => drop(accepted(tx, id, NOON)?),
                }
            }
            assert_eq!(sent(tx)?, ["2/2"]);
            Ok(())
        });
    }

    #[test]
    fn a_text_can_be_changed_until_the_radio_may_know_it() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["helo"], NOW)?[0];
            let change = |text: &str| drafts::change(tx, id, &draft(text));
            change("hello!")?;
            let row = submit_next(tx, NOON)?.unwrap();
            assert_eq!(text_of(&row), "hello!");
            assert!(matches!(change("late"), Err(StoreError::Known(it)) if it == id));
            // The radio may have sent this id, and would drop another text under it as a duplicate.
            retry(tx, id, packet, NOON, false, "link lost")?;
            assert!(matches!(change("late"), Err(StoreError::Known(it)) if it == id));
            submit_next(tx, NOON)?;
            retry(tx, id, packet, NOON, true, "too fast")?;
            change("in time")?;
            Ok(())
        });
    }

    #[test]
    fn what_was_refused_expired_or_taken_back_is_no_version() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["one"], NOW)?[0];
            submitted(tx, id, NOON)?;
            mesh_report::refused(tx, id, packet, "no channel")?;
            assert_eq!(versions_of(tx, "$one:example.org")?, []);
            accept_for_mesh(tx, "$two:example.org", &["two"], NOW)?;
            withdraw(tx, Withdrawal::Event(&here(), &event("$two:example.org")))?;
            assert_eq!(versions_of(tx, "$two:example.org")?, []);
            let other = RoomId::parse("!other:example.org").unwrap();
            accept_for_mesh(tx, "$three:example.org", &["three"], NOW)?;
            let elsewhere = versions(tx, &other, &event("$three:example.org"))?;
            assert_eq!(elsewhere, []);
            Ok(())
        });
    }

    #[test]
    fn a_correction_stands_for_the_message_and_answers_go_to_the_message() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["one"], NOW)?[0];
            submitted(tx, id, NOON)?;
            accepted(tx, id, NOON)?;
            let correction = correct(tx, "$one:example.org", "two", 1)?;
            let versions = versions_of(tx, "$one:example.org")?;
            assert_eq!(versions.len(), 2);
            assert_eq!((versions[0].correction, versions[0].waits), (0, false));
            assert_eq!((versions[1].correction, versions[1].waits), (1, true));
            assert_eq!(versions[1].row, correction);

            let pairs = message_map::by_packet(tx, RADIO, Some(FIRST), versions[1].packet)?;
            assert_eq!(pairs[0].event, Some(event("$one:example.org")));
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            let first = pairs.iter().min_by_key(|pair| pair.part).unwrap();
            assert_eq!(first.packet, packet);

            let one = event("$one:example.org");
            assert_eq!(withdraw(tx, Withdrawal::Event(&here(), &one))?.packets, 1);
            assert_eq!(versions_of(tx, "$one:example.org")?.len(), 1);
            Ok(())
        });
    }

    #[test]
    fn an_edit_that_came_first_waits_for_its_message_and_its_author() {
        on_empty(|tx| {
            let target = event("$one:example.org");
            let bob = source("$any:example.org").sender;
            let alice: OwnedUserId = "@alice:example.org".try_into().unwrap();
            for (user, body, sent_at) in [
                (&bob, "first", NOON),
                (&bob, "second", later(2)),
                (&bob, "between them", later(1)),
                (&alice, "foreign", later(3)),
            ] {
                keep_early(tx, &edit_of(&target, user, body, sent_at), later(9))?;
            }
            let found = early(tx, &target, &here(), &bob)?.unwrap();
            assert_eq!(found.body, "second");
            let other = RoomId::parse("!other:example.org").unwrap();
            assert_eq!(early(tx, &target, &other, &bob)?, None);
            forget_early(tx, &target)?;
            assert_eq!(early(tx, &target, &here(), &bob)?, None);
            Ok(())
        });
    }

    #[test]
    fn early_edits_are_bounded_and_do_not_stay() {
        on_empty(|tx| {
            let bob = source("$any:example.org").sender;
            for number in 0..=MOST_EARLY {
                let target = event(&format!("${number}:example.org"));
                let mut edit = edit_of(&target, &bob, "waves", later(5));
                edit.new.kind = RoomTextKind::Emote;
                edit.new.event = target;
                keep_early(tx, &edit, NOON)?;
            }
            let kept = |name: &str| early(tx, &event(name), &here(), &bob);
            assert_eq!(kept("$0:example.org")?, None);
            let edit = EarlyEdit {
                emote: true,
                body: "waves".to_owned(),
                // A server's clock may be ahead.
                sent_at: NOON,
            };
            assert_eq!(kept("$1:example.org")?, Some(edit));
            prune_early(tx, later(1))?;
            assert_eq!(kept("$1:example.org")?, None);
            Ok(())
        });
    }
}
