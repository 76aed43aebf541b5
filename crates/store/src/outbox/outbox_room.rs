//! The outbox for rooms: FIFO per room, rooms independent of each other.
//!
//! A row's transaction id is chosen on acceptance and kept for every retry, so that the server drops duplicates. Rows that are
//! sent, or can never be, are deleted; the message map keeps what is needed of them.

use tracing::error;

use super::room_content;
use crate::columns::{Row, identifier, unreadable};
use crate::messages::message_map::{self, PairOf};
use crate::{Result, Tx, story};
use relay_model::{
    Destination, EventId, EventRef, MessagePair, NodeNum, Origin, OwnedEventId, OwnedRoomOrAliasId,
    OwnedTransactionId, PacketId, RoomContent, RoomId, RoomMessage, RoomOrAliasId, RoomRowId,
    StepKind, Timestamp, span,
};

pub use super::parked::{Parked, park, parked, unpark, unpark_all};

/// A row of the outbox for rooms: one event to send. As stored it may refer to a packet, as returned by [`next`] to an event.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomRow<T = OwnedEventId> {
    /// Row number; the rows of a room are sent in this order.
    pub id: RoomRowId,
    /// Transaction id of all its attempts, by which the homeserver drops duplicates.
    pub transaction: OwnedTransactionId,
    /// Room that it is sent to; an alias only until it has been resolved.
    pub room: OwnedRoomOrAliasId,
    /// What is sent, with the event that it refers to.
    pub content: RoomContent<T>,
}

/// What became of a room's rows that were moved to its successor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Number of rows that wait for the successor now.
    pub rows: usize,
    /// Number of reactions and redactions that ended, as their targets are in the old room.
    pub ended: usize,
}

/// Accepts an event for a room under a new random transaction id; with the radio that heard its packet, and the pair to
/// complete, whose `event` is `None`.
pub fn insert(
    tx: &Tx<'_>,
    message: &RoomMessage,
    pair: Option<(NodeNum, &MessagePair)>,
    now: Timestamp,
) -> Result<RoomRowId> {
    let mut content = message.content.clone();
    let relay_id = relay_id_of(&mut content);
    let content = room_content::to_json(&content).map_err(unreadable)?;
    let id = tx.insert(
        "INSERT INTO room_outbox (room, txn, content, accepted_at) VALUES (?1, ?2, ?3, ?4)",
        (
            message.room.as_str(),
            format!("relay-{:032x}", rand::random::<u128>()),
            content,
            now,
        ),
    )?;
    let id = RoomRowId(id);
    if let Some((radio, pair)) = pair {
        if pair.origin == Origin::Mesh && matches!(pair.destination, Destination::Channel(_)) {
            let heard_at = match &message.content {
                RoomContent::Text { heard_at, .. } => *heard_at,
                RoomContent::Reaction { .. } | RoomContent::Redaction { .. } => None,
            };
            let late = heard_at.and_then(|at| span::lateness(at, now));
            let of = (pair.sender, pair.packet);
            story::posted(tx, id, of, message.room.as_str(), late)?;
        }
        let link = PairOf {
            room: Some(id),
            relay_id: relay_id.as_deref(),
            mesh: None,
        };
        message_map::insert(tx, radio, pair, link)?;
    }
    Ok(id)
}

/// Gives a mesh message a random `relay_id`, kept for every retry; returns it.
fn relay_id_of(content: &mut RoomContent<EventRef>) -> Option<String> {
    let RoomContent::Text {
        fields: Some(fields),
        ..
    } = content
    else {
        return None;
    };
    let relay_id = format!("{:032x}", rand::random::<u128>());
    Some(fields.relay_id.insert(relay_id).clone())
}

/// Returns the oldest row of a room with its target resolved; nothing for a parked or held room. Rows that can never be sent
/// are ended: reactions whose target never reached the room, and unreadable rows.
pub fn next(tx: &Tx<'_>, room: &RoomOrAliasId) -> Result<Option<RoomRow>> {
    while let Some(stored) = tx.first_due(
        "SELECT * FROM room_outbox WHERE room = ?1
             AND NOT EXISTS (SELECT 1 FROM parked WHERE parked.room IN ('', ?1))
             AND NOT EXISTS (SELECT 1 FROM mapped_room WHERE mapped_room.room = ?1 AND waits IS NOT NULL)
         ORDER BY id",
        [room.as_str()],
        read,
        |id| refuse(tx, id).map(drop),
    )? {
        let id = stored.id;
        match resolve(tx, stored)? {
            Ok(row) => return Ok(Some(row)),
            Err(target) => {
                let room = room.to_owned();
                tx.log(move || error!(outbox = %id, %room, event_id = %target, "given up: its target never got to the room"));
                refuse(tx, id)?;
            }
        }
    }
    Ok(None)
}

/// Ends a row that was sent: completes its pair, or records its channel if it is a notice. Without an event (the server already
/// had an equal reaction) the pair is removed. Returns false if the row had ended before.
pub fn sent(tx: &Tx<'_>, id: RoomRowId, event: Option<&EventId>) -> Result<bool> {
    end_sent(tx, id, event, StepKind::Sent)
}

/// Does as [`sent`] for a row whose event came back in the sync before the homeserver's answer did.
pub fn came_back(tx: &Tx<'_>, id: RoomRowId, event: &EventId) -> Result<bool> {
    end_sent(tx, id, Some(event), StepKind::CameBack)
}

fn end_sent(tx: &Tx<'_>, id: RoomRowId, event: Option<&EventId>, how: StepKind) -> Result<bool> {
    match event {
        Some(event) => {
            story::note_post(tx, id, how, Some(event.as_str()))?;
            message_map::set_event(tx, id, event)?;
            let sql = "SELECT content FROM room_outbox WHERE id = ?1";
            let notice = tx.first(sql, [id], content)?.filter(RoomContent::is_notice);
            if let Some(EventRef::Event(message)) = notice.as_ref().and_then(RoomContent::target) {
                message_map::stands_beside(tx, event, message)?;
            }
        }
        None => message_map::forget_room_row(tx, id)?,
    }
    delete(tx, id)
}

/// Ends a row that will never be sent, and removes its pair. Returns false if it had ended before.
pub fn refuse(tx: &Tx<'_>, id: RoomRowId) -> Result<bool> {
    refuse_as(tx, id, (StepKind::PostGivenUp, None))
}

/// Does as [`refuse`] for a row that the homeserver will never take, in its words.
pub fn refused_by_server(tx: &Tx<'_>, id: RoomRowId, error: &str) -> Result<bool> {
    refuse_as(tx, id, (StepKind::RefusedByServer, Some(error)))
}

fn refuse_as(tx: &Tx<'_>, id: RoomRowId, (kind, detail): (StepKind, Option<&str>)) -> Result<bool> {
    story::note_post(tx, id, kind, detail)?;
    message_map::forget_room_row(tx, id)?;
    delete(tx, id)
}

/// Returns the row of a transaction id, when its event comes back in sync.
pub fn by_transaction(tx: &Tx<'_>, transaction: &str) -> Result<Option<RoomRowId>> {
    let sql = "SELECT id FROM room_outbox WHERE txn = ?1";
    tx.first(sql, [transaction], |row| row.get(0))
}

/// Returns the room of a row; `None` if the row has ended.
pub fn room_of(tx: &Tx<'_>, id: RoomRowId) -> Result<Option<OwnedRoomOrAliasId>> {
    tx.first("SELECT room FROM room_outbox WHERE id = ?1", [id], |row| {
        identifier(row, 0)
    })
}

/// Ends a room's rows and removes their pairs: all, or all but the relay's own notices. Returns the number of rows.
pub fn refuse_room(tx: &Tx<'_>, room: &RoomOrAliasId, but_notices: bool) -> Result<usize> {
    let mut refused = 0;
    for (id, content) in contents(tx, room)? {
        if !(but_notices && content.is_some_and(|it| it.is_notice())) {
            refuse(tx, id)?;
            refused += 1;
        }
    }
    Ok(refused)
}

/// Returns a room's waiting contents; `None`: unreadable.
fn contents(
    tx: &Tx<'_>,
    room: &RoomOrAliasId,
) -> Result<Vec<(RoomRowId, Option<RoomContent<EventRef>>)>> {
    tx.all(
        "SELECT id, content FROM room_outbox WHERE room = ?1 ORDER BY id",
        [room.as_str()],
        |row| Ok((row.get("id")?, content(row).ok())),
    )
}

/// Returns the rooms that rows wait for, each once.
pub fn rooms(tx: &Tx<'_>) -> Result<Vec<OwnedRoomOrAliasId>> {
    tx.all("SELECT DISTINCT room FROM room_outbox", (), |row| {
        identifier(row, 0)
    })
}

/// Returns the number of waiting rows of all rooms.
pub fn count(tx: &Tx<'_>) -> Result<u64> {
    tx.value("SELECT COUNT(*) FROM room_outbox", ())
}

/// Moves an alias's rows and message map entries to the room that it resolves to, merged in order of acceptance.
pub fn rename_room(tx: &Tx<'_>, alias: &RoomOrAliasId, room: &RoomOrAliasId) -> Result<()> {
    let names = (alias.as_str(), room.as_str());
    tx.execute("UPDATE room_outbox SET room = ?2 WHERE room = ?1", names)?;
    tx.execute(
        "UPDATE message_pair SET room = ?2 WHERE room = ?1 AND substr(room, 1, 1) = '#'",
        names,
    )?;
    tx.run("DELETE FROM parked WHERE room = ?1", [alias.as_str()])
}

/// Moves a room's rows to its successor, where the old room's events do not exist: replies become messages of their own, and
/// reactions end. Rows that the new room gets anyway are dropped.
pub fn hand_over(tx: &Tx<'_>, from: &RoomId, to: &RoomId) -> Result<Moved> {
    if !tx.exists("SELECT 1 FROM room_outbox WHERE room = ?1", [from.as_str()])? {
        return Ok(Moved::default());
    }
    let twice: Vec<RoomRowId> = tx.column(
        "SELECT here.room_outbox FROM message_pair AS here JOIN message_pair AS there
             ON there.packet = here.packet AND there.sender = here.sender AND there.room = ?2
         WHERE here.room = ?1 AND here.room_outbox IS NOT NULL AND here.packet <> ?3",
        (from.as_str(), to.as_str(), PacketId::NONE),
    )?;
    for row in twice {
        refuse(tx, row)?;
    }
    let mut moved = Moved::default();
    for (id, content) in contents(tx, from.into())? {
        // Unreadable rows are moved too; the error is reported when they are due.
        let is_readable = content.is_some();
        let there = content.and_then(detached);
        if is_readable && there.is_none() {
            refuse(tx, id)?;
            moved.ended += 1;
            continue;
        }
        story::note_post(tx, id, StepKind::HandedOver, Some(to.as_str()))?;
        let there = there.as_ref().map(room_content::to_json).transpose();
        tx.execute(
            "UPDATE room_outbox SET room = ?2, content = COALESCE(?3, content) WHERE id = ?1",
            (id, to.as_str(), there.map_err(unreadable)?),
        )?;
        tx.execute(
            "UPDATE message_pair SET room = ?2, thread = NULL WHERE room_outbox = ?1",
            (id, to.as_str()),
        )?;
        moved.rows += 1;
    }
    tx.execute("DELETE FROM parked WHERE room = ?1", [from.as_str()])?;
    Ok(moved)
}

/// Rewrites a content for another room without the events of this one; `None` if it is about one of them. References to waiting
/// rows are kept, as those move as well.
fn detached(mut content: RoomContent<EventRef>) -> Option<RoomContent<EventRef>> {
    let is_there = matches!(content.target(), Some(EventRef::Event(_)));
    match &mut content {
        RoomContent::Text {
            reply_to,
            thread,
            mentions,
            ..
        } => {
            *thread = None;
            if is_there {
                *reply_to = None;
                mentions.clear();
            }
        }
        RoomContent::Reaction { .. } | RoomContent::Redaction { .. } if is_there => return None,
        RoomContent::Reaction { .. } | RoomContent::Redaction { .. } => {}
    }
    Some(content)
}

fn delete(tx: &Tx<'_>, id: RoomRowId) -> Result<bool> {
    tx.changes("DELETE FROM room_outbox WHERE id = ?1", [id])
}

fn read(row: &Row<'_>) -> rusqlite::Result<RoomRow<EventRef>> {
    Ok(RoomRow {
        id: row.get("id")?,
        room: identifier(row, "room")?,
        transaction: row.get::<_, String>("txn")?.into(),
        content: content(row)?,
    })
}

fn content(row: &Row<'_>) -> rusqlite::Result<RoomContent<EventRef>> {
    room_content::from_json(&row.get::<_, String>("content")?).map_err(unreadable)
}

/// Resolves the target. All earlier rows have been sent, so a target without an event will never have one; it is returned as
/// the error.
fn resolve(tx: &Tx<'_>, row: RoomRow<EventRef>) -> Result<Result<RoomRow, EventRef>> {
    let target = match row.content.target() {
        None => None,
        Some(EventRef::Event(event)) => Some(event.clone()),
        Some(EventRef::Packet { sender, packet }) => {
            message_map::event_of(tx, &row.room, *sender, *packet)?
        }
    };
    Ok(row.content.about(target).map(|content| RoomRow {
        id: row.id,
        transaction: row.transaction,
        room: row.room,
        content,
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::Store;
    use crate::StoreError;
    use crate::summary::{Queued, to_matrix};
    use crate::test_rows::*;
    use relay_model::{Notice, PacketId};

    const OTHER: &str = "!other:example.org";

    fn text_of(row: &RoomRow) -> &str {
        match &row.content {
            RoomContent::Text { text, .. } => text,
            RoomContent::Reaction { .. } | RoomContent::Redaction { .. } => "",
        }
    }

    fn on_packet(packet: u32) -> EventRef {
        EventRef::Packet {
            sender: ALICE,
            packet: PacketId(packet),
        }
    }

    fn insert_content(tx: &Tx<'_>, content: RoomContent<EventRef>) -> Result<RoomRowId> {
        let room = room(ROOM);
        insert(tx, &RoomMessage { room, content }, None, NOON)
    }

    fn insert_reply(tx: &Tx<'_>, to_packet: u32) -> Result<RoomRowId> {
        let mut reply = text_for(ROOM, "reply").content;
        if let RoomContent::Text { reply_to, .. } = &mut reply {
            *reply_to = Some(on_packet(to_packet));
        }
        insert_content(tx, reply)
    }

    #[test]
    fn a_row_keeps_its_transaction_id_for_every_try() {
        on_empty(|tx| {
            let id = accept_for_room(tx, ROOM, 1, "hello")?;
            let first = next(tx, &room(ROOM))?.unwrap();
            assert_eq!(first.id, id);
            assert_eq!(first.room, room(ROOM));
            assert_eq!(text_of(&first), "hello");
            let second = next(tx, &room(ROOM))?.unwrap();
            assert_eq!(second.transaction, first.transaction);
            let other = accept_for_room(tx, OTHER, 1, "hello")?;
            assert_ne!(
                next(tx, &room(OTHER))?.unwrap().transaction,
                first.transaction
            );
            assert!(id < other);
            Ok(())
        });
    }

    #[test]
    fn a_row_that_was_sent_is_gone_and_a_second_report_changes_nothing() {
        on_empty(|tx| {
            let id = accept_for_room(tx, ROOM, 1, "hello")?;
            assert_eq!(room_of(tx, id)?, Some(room(ROOM)));
            assert!(sent(tx, id, Some(&event("$one:example.org")))?);
            assert!(!sent(tx, id, Some(&event("$two:example.org")))?);
            assert!(!refuse(tx, id)?);
            assert_eq!(next(tx, &room(ROOM))?, None);
            assert_eq!(room_of(tx, id)?, None);
            assert_eq!(
                message_map::by_event(tx, &event("$one:example.org"))?.len(),
                1
            );
            assert_eq!(message_map::by_event(tx, &event("$two:example.org"))?, []);
            Ok(())
        });
    }

    #[test]
    fn a_row_that_cannot_be_read_ends_in_its_turn_and_holds_none_up() {
        on_empty(|tx| {
            let there = relay_model::RoomId::parse(OTHER).unwrap();
            let spoil = |id| {
                tx.run(
                    "UPDATE room_outbox SET content = CAST(x'ff' AS TEXT) WHERE id = ?1",
                    [id],
                )
            };
            spoil(accept_for_room(tx, ROOM, 1, "one")?)?;
            accept_for_room(tx, ROOM, 2, "two")?;
            let here = relay_model::RoomId::parse(ROOM).unwrap();
            assert_eq!(hand_over(tx, &here, &there)?.rows, 2);
            assert_eq!(text_of(&next(tx, &room(OTHER))?.unwrap()), "two");
            assert_eq!(count(tx)?, 1);
            spoil(accept_for_room(tx, OTHER, 3, "three")?)?;
            assert_eq!(refuse_room(tx, &room(OTHER), true)?, 2);
            Ok(())
        });
    }

    #[test]
    fn the_id_of_an_ended_row_is_never_given_again() {
        on_empty(|tx| {
            let first = accept_for_room(tx, ROOM, 1, "hello")?;
            refuse(tx, first)?;
            assert!(accept_for_room(tx, ROOM, 2, "hello")? > first);
            Ok(())
        });
    }

    #[test]
    fn an_event_of_ours_in_sync_finds_its_row_by_its_transaction_id() {
        on_empty(|tx| {
            let id = accept_for_room(tx, ROOM, 1, "hello")?;
            let transaction = next(tx, &room(ROOM))?.unwrap().transaction;
            assert_eq!(by_transaction(tx, transaction.as_str())?, Some(id));
            assert_eq!(by_transaction(tx, "another")?, None);
            Ok(())
        });
    }

    #[test]
    fn a_refused_row_lets_the_next_one_pass_and_leaves_no_pair() {
        on_empty(|tx| {
            let first = accept_for_room(tx, ROOM, 1, "too large")?;
            accept_for_room(tx, ROOM, 2, "next")?;
            assert!(refuse(tx, first)?);
            assert_eq!(text_of(&next(tx, &room(ROOM))?.unwrap()), "next");
            assert_eq!(
                message_map::by_packet(tx, RADIO, Some(FIRST), PacketId(1))?,
                []
            );
            Ok(())
        });
    }

    #[test]
    fn a_reply_to_a_message_that_waited_gets_its_event_just_before_sending() {
        on_empty(|tx| {
            let first = accept_for_room(tx, ROOM, 1, "hello")?;
            insert_reply(tx, 1)?;
            sent(tx, first, Some(&event("$one:example.org")))?;
            let row = next(tx, &room(ROOM))?.unwrap();
            assert!(matches!(
                row.content,
                RoomContent::Text { reply_to: Some(target), .. } if target == "$one:example.org"
            ));
            Ok(())
        });
    }

    #[test]
    fn a_reply_to_a_message_that_was_refused_becomes_a_plain_message() {
        on_empty(|tx| {
            let first = accept_for_room(tx, ROOM, 1, "hello")?;
            insert_reply(tx, 1)?;
            refuse(tx, first)?;
            let row = next(tx, &room(ROOM))?.unwrap();
            assert!(matches!(
                row.content,
                RoomContent::Text { reply_to: None, .. }
            ));
            Ok(())
        });
    }

    #[test]
    fn a_reaction_finds_its_target_or_ends() {
        on_empty(|tx| {
            let react = |packet| {
                let (target, key) = (on_packet(packet), "👍".to_owned());
                insert_content(tx, RoomContent::Reaction { target, key })
            };
            let first = accept_for_room(tx, ROOM, 1, "hello")?;
            let lost = react(99)?;
            let found = react(1)?;
            sent(tx, first, Some(&event("$one:example.org")))?;
            let row = next(tx, &room(ROOM))?.unwrap();
            assert_eq!(row.id, found);
            assert!(matches!(
                row.content,
                RoomContent::Reaction { target, .. } if target == "$one:example.org"
            ));
            assert_eq!(room_of(tx, lost)?, None);
            Ok(())
        });
    }

    #[test]
    fn a_row_that_cannot_be_read_ends_alone() {
        on_empty(|tx| {
            let broken = accept_for_room(tx, ROOM, 1, "broken")?;
            accept_for_room(tx, ROOM, 2, "next")?;
            tx.execute(
                "UPDATE room_outbox SET content = '{' WHERE id = ?1",
                [broken],
            )?;
            assert_eq!(text_of(&next(tx, &room(ROOM))?.unwrap()), "next");
            Ok(())
        });
    }

    #[test]
    fn a_reaction_that_the_server_had_already_ends_without_an_event() {
        on_empty(|tx| {
            let id = accept_for_room(tx, ROOM, 1, "👍")?;
            assert!(sent(tx, id, None)?);
            assert_eq!(
                message_map::by_packet(tx, RADIO, Some(FIRST), PacketId(1))?,
                []
            );
            Ok(())
        });
    }

    #[test]
    fn a_parked_room_holds_up_nobody_else_and_a_parked_account_everybody() {
        on_empty(|tx| {
            accept_for_room(tx, ROOM, 1, "hello")?;
            accept_for_room(tx, OTHER, 1, "hello")?;
            park(tx, Some(&room(ROOM)), "403", NOON)?;
            park(tx, Some(&room(ROOM)), "403 again", later(60))?;
            assert_eq!(next(tx, &room(ROOM))?, None);
            assert!(next(tx, &room(OTHER))?.is_some());
            let expected = Parked {
                room: Some(room(ROOM)),
                error: "403 again".to_owned(),
                since: NOON,
            };
            assert_eq!(parked(tx)?, [expected]);

            park(tx, None, "401", NOON)?;
            assert_eq!(next(tx, &room(OTHER))?, None);
            assert_eq!(parked(tx)?[0].room, None);

            assert!(unpark(tx, None)?);
            assert!(!unpark(tx, None)?);
            assert!(next(tx, &room(OTHER))?.is_some());
            assert_eq!(next(tx, &room(ROOM))?, None);
            unpark_all(tx)?;
            assert!(next(tx, &room(ROOM))?.is_some());
            Ok(())
        });
    }

    #[test]
    fn what_waits_for_an_alias_goes_to_its_room_in_the_order_of_acceptance() {
        on_empty(|tx| {
            let alias = room("#club:example.org");
            accept_for_room(tx, alias.as_str(), 1, "one")?;
            accept_for_room(tx, ROOM, 2, "two")?;
            accept_for_room(tx, alias.as_str(), 3, "three")?;
            park(tx, Some(&alias), "404", NOON)?;
            rename_room(tx, &alias, &room(ROOM))?;
            let mut texts = Vec::new();
            while let Some(row) = next(tx, &room(ROOM))? {
                texts.push(text_of(&row).to_owned());
                sent(tx, row.id, Some(&event("$any:example.org")))?;
            }
            assert_eq!(texts, ["one", "two", "three"]);
            assert_eq!(next(tx, &alias)?, None);
            assert_eq!(parked(tx)?, []);
            let pair = message_map::by_packet(tx, RADIO, Some(FIRST), PacketId(1))?;
            assert_eq!(pair[0].room, room(ROOM));
            Ok(())
        });
    }

    #[test]
    fn what_waits_is_counted_by_room_with_its_oldest() {
        on_empty(|tx| {
            accept_for_room(tx, ROOM, 1, "hello")?;
            accept_for_room(tx, ROOM, 2, "hello")?;
            let expected = Queued {
                room: Some(room(ROOM)),
                destination: None,
                count: 2,
                oldest: NOON,
            };
            assert_eq!(to_matrix(tx)?, [expected]);
            assert_eq!(rooms(tx)?, [room(ROOM)]);
            Ok(())
        });
    }

    #[derive(Debug, Clone)]
    enum Step {
        Accept(u8),
        Try { room: u8, fails: bool },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..3_u8).prop_map(Step::Accept),
            (0..3_u8, any::<bool>()).prop_map(|(room, fails)| Step::Try { room, fails }),
        ];
        prop::collection::vec(step, 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn each_room_gets_everything_once_and_in_order_whatever_fails(steps in steps()) {
            let names = ["!a:example.org", "!b:example.org", "!c:example.org"];
            let mut store = Store::in_memory().unwrap();
            let (accepted, got) = store
                .transaction(|tx| {
                    let mut accepted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
                    let mut got: BTreeMap<&str, Vec<String>> = BTreeMap::new();
                    let mut attempt = |name: &'static str, fails: bool| {
                        let Some(row) = next(tx, &room(name))? else {
                            return Ok::<_, StoreError>(false);
                        };
                        if !fails {
                            got.entry(name).or_default().push(text_of(&row).to_owned());
                            sent(tx, row.id, Some(&event("$any:example.org")))?;
                        }
                        Ok(true)
                    };
                    for (number, step) in (1_u32..).zip(steps) {
                        match step {
                            Step::Accept(index) => {
                                let name = names[usize::from(index)];
                                let text = format!("text {number}");
                                accept_for_room(tx, name, number, &text)?;
                                accepted.entry(name).or_default().push(text);
                            }
                            Step::Try { room, fails } => {
                                attempt(names[usize::from(room)], fails)?;
                            }
                        }
                    }
                    for name in names {
                        while attempt(name, false)? {}
                    }
                    Ok((accepted, got))
                })
                .unwrap();
            prop_assert_eq!(accepted, got);
        }
    }

    #[test]
    fn what_we_say_of_a_message_belongs_to_its_channel() {
        on_empty(|tx| {
            let message = event("$message:example.org");
            accept_for_mesh(tx, message.as_str(), &["1/2 a", "2/2 b"], NOW)?;
            for (name, about) in [("$notice:example.org", Some(message)), ("$other:x", None)] {
                let notice = Notice {
                    text: "Not sent to the mesh".to_owned(),
                    reply_to: about.clone(),
                    ..Notice::default()
                };
                let notice = notice.for_room(&ROOM.try_into().unwrap());
                let id = insert(tx, &notice, None, NOON)?;
                // Both its response and its echo report it.
                for first in [true, false] {
                    assert_eq!(sent(tx, id, Some(&event(name)))?, first);
                }
                let pairs = message_map::by_event(tx, &event(name))?;
                let found: Vec<_> = pairs
                    .iter()
                    .map(|it| (it.packet, it.destination, it.channel))
                    .collect();
                let expected = about.map(|_| (PacketId::NONE, CHANNEL, Some(FIRST)));
                assert_eq!(found, Vec::from_iter(expected));
            }
            Ok(())
        });
    }
}
