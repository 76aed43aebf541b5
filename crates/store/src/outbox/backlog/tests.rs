//! The backlog after an outage.

use super::*;
use crate::outbox::mesh_report::{Retried, accepted, expire, let_finish, retry, state, submitted};
use crate::outbox::outbox_mesh;
use crate::test_rows::{self, *};
use relay_model::{MeshContent, MeshSource, MeshState, PacketId};

const LATE: Duration = Duration::from_mins(2);
/// When a backlog that began at noon is complete.
const COMPLETE: u64 = 10;

fn room_of(name: &str) -> OwnedRoomId {
    name.try_into().unwrap()
}

/// Accepts a message of a room with that time.
fn accept(
    tx: &Tx<'_>,
    room: &str,
    text: &str,
    written: Timestamp,
    parts: usize,
) -> Result<Vec<(MeshRowId, PacketId)>> {
    let source = MeshSource {
        room: room_of(room),
        sent_at: written,
        ..source(&format!("${text}:example.org"))
    };
    let message = for_mesh(MeshContent::Text(draft(text)), Some(source));
    accept_in_parts(tx, &message, &vec![text; parts])
}

/// Accepts a late message.
fn late(tx: &Tx<'_>, room: &str, text: &str) -> Result<Vec<Ended>> {
    accept(tx, room, text, NOON - LATE * 2, 1)?;
    add_late(tx, room, text, 3)
}

fn add_late(tx: &Tx<'_>, room: &str, text: &str, newest: u32) -> Result<Vec<Ended>> {
    let event = event(&format!("${text}:example.org"));
    add(tx, &room_of(room), &event, newest, GATHERING, NOON)
}

/// Has the radio take the next packet; returns its text.
fn send(tx: &Tx<'_>, now: Timestamp) -> Result<Option<String>> {
    let Some(row) = outbox_mesh::next(tx, CHANNEL, Lane::Message, &ORDER, now)? else {
        return Ok(None);
    };
    assert!(submitted(tx, row.id, now)?);
    accepted(tx, row.id, now)?;
    Ok(Some(text_of(&row).to_owned()))
}

fn due(tx: &Tx<'_>, now: Timestamp) -> Result<Option<Timestamp>> {
    outbox_mesh::next_due(tx, CHANNEL, Lane::Message, &ORDER, now)
}

#[test]
fn the_newest_of_a_backlog_go_oldest_first_and_spaced_once_it_is_complete() {
    on_empty(|tx| {
        let mut expired = Vec::new();
        for text in ["1", "2", "3", "4", "5"] {
            expired.extend(late(tx, ROOM, text)?);
        }
        let events: Vec<_> = expired
            .iter()
            .map(|row| row.about.as_ref().unwrap().source.event.as_str())
            .collect();
        assert_eq!(events, ["$1:example.org", "$2:example.org"]);
        assert_eq!(send(tx, later(COMPLETE - 1))?, None);
        assert_eq!(due(tx, NOON)?, Some(later(COMPLETE)));
        assert_eq!(send(tx, later(COMPLETE))?.as_deref(), Some("3"));
        assert_eq!(send(tx, later(COMPLETE + 9))?, None);
        assert_eq!(due(tx, later(COMPLETE))?, Some(later(COMPLETE + 10)));
        assert_eq!(send(tx, later(COMPLETE + 10))?.as_deref(), Some("4"));
        assert_eq!(send(tx, later(COMPLETE + 20))?.as_deref(), Some("5"));
        assert_eq!(due(tx, later(COMPLETE + 20))?, None);
        Ok(())
    });
}

#[test]
fn what_is_new_goes_before_any_backlog_and_without_spacing() {
    on_empty(|tx| {
        late(tx, ROOM, "old 1")?;
        late(tx, "!other:example.org", "old 2")?;
        accept(tx, ROOM, "new 1", NOON, 1)?;
        accept(tx, "!other:example.org", "new 2", NOON, 1)?;
        let now = later(COMPLETE);
        for expected in ["new 1", "new 2", "old 1", "old 2"] {
            assert_eq!(send(tx, now)?.as_deref(), Some(expected));
        }
        Ok(())
    });
}

#[test]
fn an_old_message_that_comes_last_pushes_out_no_newer_one() {
    on_empty(|tx| {
        for (text, minutes) in [("1", 30), ("2", 20), ("3", 10)] {
            accept(tx, ROOM, text, NOON - Duration::from_mins(minutes), 1)?;
            assert_eq!(add_late(tx, ROOM, text, 3)?, []);
        }
        let rows = accept(tx, ROOM, "0", NOON - Duration::from_mins(40), 2)?;
        let expired = add_late(tx, ROOM, "0", 3)?;
        let ids: Vec<_> = expired.iter().map(|row| row.id).collect();
        assert_eq!(ids, [rows[0].0, rows[1].0]);
        Ok(())
    });
}

#[test]
fn the_parts_of_a_message_stay_together_and_count_once() {
    on_empty(|tx| {
        for text in ["1", "2", "3"] {
            accept(tx, ROOM, text, NOON - LATE * 2, 2)?;
            assert_eq!(
                add_late(tx, ROOM, text, 2)?.len(),
                usize::from(text == "3") * 2
            );
        }
        let now = later(COMPLETE);
        assert_eq!(send(tx, now)?.as_deref(), Some("2"));
        accept(tx, ROOM, "new", NOON, 1)?;
        assert_eq!(send(tx, now)?.as_deref(), Some("2"));
        assert_eq!(send(tx, now)?.as_deref(), Some("new"));
        assert_eq!(send(tx, now)?, None);
        assert_eq!(send(tx, later(COMPLETE + 10))?.as_deref(), Some("3"));
        Ok(())
    });
}

#[test]
fn a_packet_of_a_backlog_that_was_tried_is_overtaken_by_nothing() {
    on_empty(|tx| {
        late(tx, ROOM, "old")?;
        late(tx, ROOM, "old too")?;
        let row = outbox_mesh::next(tx, CHANNEL, Lane::Message, &ORDER, later(COMPLETE))?.unwrap();
        submitted(tx, row.id, later(COMPLETE))?;
        accept(tx, ROOM, "new", NOON, 1)?;
        let again = retry(tx, row.id, row.packet, later(300), true, "duty cycle")?;
        assert!(matches!(again, Retried::Waits(_)));
        assert_eq!(send(tx, later(60))?, None);
        assert_eq!(due(tx, later(60))?, Some(later(300)));
        assert_eq!(send(tx, later(300))?.as_deref(), Some("old"));
        assert_eq!(send(tx, later(300))?.as_deref(), Some("new"));
        Ok(())
    });
}

#[test]
fn the_views_hold_what_they_are_named_after() {
    on_empty(|tx| {
        let (id, _) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
        for (backlog, in_turn, waits) in [
            (IN_TURN, true, false),
            (GATHERED, false, true),
            (super::COMPLETE, false, true),
            (-1 - GATHERED, false, false),
        ] {
            let set = "UPDATE mesh_outbox SET backlog = ?2 WHERE id = ?1";
            tx.execute(set, (id, backlog))?;
            assert_eq!(tx.exists("SELECT 1 FROM mesh_in_turn", ())?, in_turn);
            assert_eq!(tx.exists("SELECT 1 FROM mesh_backlog", ())?, waits);
        }
        Ok(())
    });
}

#[test]
fn a_backlog_is_gathered_as_long_as_more_comes_but_not_for_ever() {
    on_empty(|tx| {
        let here = room_of(ROOM);
        assert_eq!(gathering(tx, &here, GATHERING, NOON)?, None);
        for second in 0..119 {
            gather(tx, &here, GATHERING, later(second))?;
            assert_eq!(gathering(tx, &here, GATHERING, later(second))?, Some(NOON));
        }
        assert_eq!(gathering(tx, &here, GATHERING, later(120))?, None);
        gather(tx, &here, GATHERING, later(200))?;
        assert_eq!(
            gathering(tx, &here, GATHERING, later(209))?,
            Some(later(200))
        );
        assert_eq!(gathering(tx, &here, GATHERING, later(210))?, None);
        assert_eq!(
            gathering(tx, &here, GATHERING, NOON)?,
            None,
            "the clock was set back"
        );
        Ok(())
    });
}

#[test]
fn what_has_been_gathered_goes_while_more_keeps_coming() {
    on_empty(|tx| {
        let add_one = |text: &str, second| {
            accept(tx, ROOM, text, NOON - LATE * 2, 1)?;
            let event = event(&format!("${text}:example.org"));
            add(tx, &room_of(ROOM), &event, 1000, GATHERING, later(second)).map(drop)
        };
        let mut sent = Vec::new();
        for second in 0..240 {
            if second % 9 == 0 {
                add_one(&second.to_string(), second)?;
            }
            sent.extend(send(tx, later(second))?.map(|text| (second, text)));
        }
        let times: Vec<u64> = sent.iter().map(|(second, _)| *second).collect();
        assert_eq!(
            times,
            [120, 130, 140, 150, 160, 170, 180, 190, 200, 210, 220, 230]
        );
        let texts = sent.iter().map(|(_, text)| text.parse().unwrap());
        assert!(texts.is_sorted_by_key(|text: u64| text), "{sent:?}");
        Ok(())
    });
}

#[test]
fn what_comes_too_late_keeps_nothing_waiting() {
    on_empty(|tx| {
        let here = room_of(ROOM);
        late(tx, ROOM, "1")?;
        late(tx, ROOM, "2")?;
        let mut sent = Vec::new();
        for second in 0..30 {
            if second % 9 == 0 {
                expect_more(tx, &here, GATHERING, later(second))?;
            }
            sent.extend(send(tx, later(second))?.map(|text| (second, text)));
        }
        assert_eq!(
            sent,
            [(COMPLETE, "1".to_owned()), (COMPLETE + 10, "2".to_owned())]
        );
        assert_eq!(gathering(tx, &here, GATHERING, later(27))?, Some(later(18)));
        Ok(())
    });
}

#[test]
fn what_waited_for_the_radio_becomes_a_backlog_room_by_room() {
    on_empty(|tx| {
        let begun = accept(tx, ROOM, "begun", NOON - LATE * 2, 2)?;
        submitted(tx, begun[0].0, NOON)?;
        accepted(tx, begun[0].0, NOON)?;
        for text in ["1", "2", "3"] {
            accept(tx, ROOM, text, NOON - LATE * 2, 1)?;
        }
        accept(tx, ROOM, "4", NOON, 1)?;
        accept(tx, "!other:example.org", "fresh", NOON, 1)?;
        let expired = after_outage(tx, LATE, 2, GATHERING, NOON)?;
        assert_eq!(expired.len(), 2);
        let mut sent = Vec::new();
        for second in 0..60 {
            sent.extend(send(tx, later(second))?);
        }
        assert_eq!(sent, ["begun", "fresh", "3", "4"]);
        Ok(())
    });
}

#[test]
fn a_clock_that_is_set_holds_a_backlog_up_no_longer_than_its_spacing() {
    on_empty(|tx| {
        late(tx, ROOM, "1")?;
        late(tx, ROOM, "2")?;
        late(tx, ROOM, "3")?;
        assert_eq!(send(tx, later(COMPLETE))?.as_deref(), Some("1"));
        // Hours back, then hours ahead.
        let back = NOON - Duration::from_hours(5);
        assert!(due(tx, back)?.unwrap() <= back);
        assert_eq!(send(tx, back)?.as_deref(), Some("2"));
        assert_eq!(send(tx, back + Duration::from_secs(9))?, None);
        assert_eq!(send(tx, later(1800))?.as_deref(), Some("3"));
        Ok(())
    });
}

#[test]
fn what_expired_is_summed_up_by_room_until_it_is_told() {
    on_empty(|tx| {
        let at = |name: &str, seconds| MeshSource {
            sent_at: later(seconds),
            ..source(name)
        };
        note_expired(tx, &at("$second:example.org", 20), false, later(100))?;
        note_expired(tx, &at("$third:example.org", 30), true, later(101))?;
        note_expired(tx, &at("$first:example.org", 10), false, later(102))?;
        let expected = Expired {
            room: room_of(ROOM),
            messages: 3,
            edits: 1,
            oldest: later(10),
            newest: later(30),
            event: test_rows::event("$third:example.org"),
            thread: None,
            since: later(100),
            last: later(102),
            more_waits: false,
        };
        assert_eq!(expired(tx)?, [expected]);
        accept(tx, ROOM, "more", NOON, 1)?;
        assert!(expired(tx)?[0].more_waits);
        forget_expired(tx, &room_of(ROOM))?;
        assert_eq!(expired(tx)?, []);
        Ok(())
    });
}

#[test]
fn a_message_of_which_a_part_was_sent_is_given_time_for_the_rest() {
    on_empty(|tx| {
        let rows = accept(tx, ROOM, "x", NOON, 2)?;
        let end = NOW.expires;
        submitted(tx, rows[0].0, end - SLACK)?;
        accepted(tx, rows[0].0, end - SLACK)?;
        let_finish(tx, rows[0].0, end + SLACK)?;
        assert_eq!(expire(tx, end)?, []);
        assert_eq!(send(tx, end)?.as_deref(), Some("x"));
        assert_eq!(state(tx, rows[1].0)?, Some(MeshState::Accepted));
        Ok(())
    });
}
