//! The message map: which packet and which event are the same message. Replies, reactions, edits and redactions find their
//! targets here.
//!
//! A pair is inserted with the outbox row (`outbox_room::insert`, `outbox_mesh::insert`) and completed when the row is sent.

use rusqlite::params;

use crate::columns::{Row, TO_CHANNEL, destination, identifier, optional, target};
use crate::{Result, Tx};
use relay_model::{
    EventId, Fingerprint, MeshRowId, MessagePair, NodeNum, OwnedEventId, OwnedRoomId, PacketId,
    RoomOrAliasId, RoomRowId, Timestamp,
};

/// Maximum number of pairs returned: a hostile mesh could use one id for many packets.
const MOST_PAIRS: u8 = 64;

/// Maximum number of confirmed messages returned: the newest ones tell what a homeserver has forgotten.
const MOST_CONFIRMED: u32 = 10_000;

/// Returns the pairs of an event, newest first; a split message has one for each part.
pub fn by_event(tx: &Tx<'_>, event: &EventId) -> Result<Vec<MessagePair>> {
    tx.all(
        "SELECT * FROM message_pair WHERE event = ?1 ORDER BY id DESC LIMIT ?2",
        (event.as_str(), MOST_PAIRS),
        read,
    )
}

/// Returns the pairs of an event or, if it is its author's edit, of the edited message; newest first.
pub fn by_message(tx: &Tx<'_>, event: &EventId) -> Result<Vec<MessagePair>> {
    let own = by_event(tx, event)?;
    if !own.is_empty() {
        return Ok(own);
    }
    tx.all(
        "SELECT message_pair.* FROM seen_event AS edit JOIN message_pair ON message_pair.event = edit.edits
         WHERE edit.event = ?1 AND message_pair.author = edit.author
         ORDER BY message_pair.id DESC LIMIT ?2",
        (event.as_str(), MOST_PAIRS),
        read,
    )
}

/// Returns whether a post of ours has this `relay_id`.
pub fn has_relay_id(tx: &Tx<'_>, relay_id: &str) -> Result<bool> {
    tx.exists("SELECT 1 FROM message_pair WHERE relay_id = ?1", [relay_id])
}

/// Returns the pairs of a packet on that channel from any sender: this radio's first, then newest first. A message in several
/// rooms has one for each. Pairs without a known channel are included.
pub fn by_packet(
    tx: &Tx<'_>,
    radio: NodeNum,
    channel: Option<Fingerprint>,
    packet: PacketId,
) -> Result<Vec<MessagePair>> {
    tx.all(
        "SELECT * FROM message_pair
         WHERE packet = ?1 AND target_kind = ?5 AND (channel IS ?2 OR channel IS NULL)
         ORDER BY radio = ?3 DESC, id DESC LIMIT ?4",
        (packet, channel, radio, MOST_PAIRS, TO_CHANNEL),
        read,
    )
}

/// Records that a mesh row stands for a further event of its room: one more picture of its note.
pub fn stands_too(
    tx: &Tx<'_>,
    outbox: MeshRowId,
    event: &EventId,
    thread: Option<&EventId>,
) -> Result<()> {
    tx.run(
        "INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, channel, room,
             event, thread, author, text, alert, part, at, room_outbox, mesh_outbox)
         SELECT origin, radio, sender, packet, target_kind, target, channel, room, ?2, ?3, author,
             text, alert, part, at, room_outbox, mesh_outbox
         FROM message_pair WHERE mesh_outbox = ?1 ORDER BY id LIMIT 1",
        (outbox, event.as_str(), thread.map(EventId::as_str)),
    )
}

/// Returns the further events of an event's rows: the other pictures of its note.
pub fn joined(tx: &Tx<'_>, event: &EventId) -> Result<Vec<OwnedEventId>> {
    tx.all(
        "SELECT DISTINCT pair.event FROM mesh_outbox JOIN message_pair AS pair ON pair.mesh_outbox = mesh_outbox.id
         WHERE mesh_outbox.event = ?1 AND pair.event <> ?1",
        [event.as_str()],
        |row| identifier(row, 0),
    )
}

/// Returns the newest messages of the rooms that the homeserver has confirmed since a time, oldest first; only of pairs behind
/// this one ([`last_pair`]).
pub fn confirmed(
    tx: &Tx<'_>,
    since: Timestamp,
    after: i64,
) -> Result<Vec<(OwnedRoomId, OwnedEventId)>> {
    let pairs = tx.all(
        "SELECT coalesce(known_room.room, pair.room) AS room, pair.event AS event
         FROM message_pair AS pair LEFT JOIN known_room ON known_room.name = pair.room
         WHERE pair.event IS NOT NULL AND pair.at >= ?1 AND pair.id > ?2 ORDER BY pair.id DESC LIMIT ?3",
        (since, after, MOST_CONFIRMED),
        |row| Ok((identifier(row, "room").ok(), identifier(row, "event").ok())),
    )?;
    let read = |(room, event): (Option<_>, Option<_>)| Some((room?, event?));
    Ok(pairs.into_iter().rev().filter_map(read).collect())
}

/// Returns the id of the newest pair; 0 if there is none.
pub fn last_pair(tx: &Tx<'_>) -> Result<i64> {
    let last = tx.first("SELECT max(id) FROM message_pair", (), |row| row.get(0))?;
    Ok(last.flatten().unwrap_or_default())
}

/// Returns whether this is the id of a packet of ours, sent or not.
pub fn is_own_packet(tx: &Tx<'_>, radio: NodeNum, packet: PacketId) -> Result<bool> {
    tx.exists(
        "SELECT 1 FROM own_packet WHERE radio = ?1 AND packet = ?2",
        (radio, packet),
    )
}

/// Returns the event of a packet in a room, once it is sent.
pub(crate) fn event_of(
    tx: &Tx<'_>,
    room: &RoomOrAliasId,
    sender: NodeNum,
    packet: PacketId,
) -> Result<Option<OwnedEventId>> {
    let found = tx.first(
        "SELECT event FROM message_pair
         WHERE packet = ?1 AND sender = ?2 AND room = ?3 AND event IS NOT NULL
         ORDER BY id DESC LIMIT 1",
        (packet, sender, room.as_str()),
        |row| optional(row, 0),
    )?;
    Ok(found.flatten())
}

/// Records the channel of a message that is not transmitted and so has no packet.
pub fn keep_place(tx: &Tx<'_>, radio: NodeNum, pair: &MessagePair) -> Result<()> {
    insert(tx, radio, pair, PairOf::default())
}

/// Returns the row of the room outbox for which the post with this `relay_id` waits; `None`: it is there, or not ours.
pub fn row_of_post(tx: &Tx<'_>, relay_id: &str) -> Result<Option<RoomRowId>> {
    let sql =
        "SELECT room_outbox FROM message_pair WHERE relay_id = ?1 AND room_outbox IS NOT NULL";
    tx.first(sql, [relay_id], |row| row.get(0))
}

/// Records that a notice belongs to the channel of the message that it is about.
pub(crate) fn stands_beside(tx: &Tx<'_>, notice: &EventId, message: &EventId) -> Result<()> {
    tx.run(
        "INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, channel, room,
             event, thread, author, text, alert, part, at, room_outbox, mesh_outbox)
         SELECT origin, radio, sender, ?3, target_kind, target, channel, room, ?2, thread, NULL, '', 0, 0, at, NULL, NULL
         FROM message_pair WHERE event = ?1 ORDER BY part, id DESC LIMIT 1",
        (message.as_str(), notice.as_str(), PacketId::NONE),
    )
}

/// The outbox row for which a pair waits: of a room, with its `relay_id`, or of the mesh.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PairOf<'a> {
    pub(crate) room: Option<RoomRowId>,
    pub(crate) relay_id: Option<&'a str>,
    pub(crate) mesh: Option<MeshRowId>,
}

pub(crate) fn insert(
    tx: &Tx<'_>,
    radio: NodeNum,
    pair: &MessagePair,
    link: PairOf<'_>,
) -> Result<()> {
    let (kind, target) = target(pair.destination);
    tx.run(
        "INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, channel, room,
             event, thread, author, text, alert, part, at, room_outbox, mesh_outbox, relay_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        params![
            pair.origin,
            radio,
            pair.sender,
            pair.packet,
            kind,
            target,
            pair.channel,
            pair.room.as_str(),
            pair.event.as_ref().map(|event| event.as_str()),
            pair.thread.as_ref().map(|thread| thread.as_str()),
            pair.author.as_ref().map(|author| author.as_str()),
            &pair.text,
            pair.alert,
            pair.part,
            pair.at,
            link.room,
            link.mesh,
            link.relay_id,
        ],
    )
}

/// Completes the pair of a row of the room outbox.
pub(crate) fn set_event(tx: &Tx<'_>, outbox: RoomRowId, event: &EventId) -> Result<()> {
    tx.run(
        "UPDATE message_pair SET event = ?2, room_outbox = NULL WHERE room_outbox = ?1",
        (outbox, event.as_str()),
    )
}

/// Removes the packets of an unsent mesh row, or one of them, from the map: nobody can refer to them. The message's channel
/// stays known, for replies from Matrix.
pub(crate) fn forget_mesh_row(
    tx: &Tx<'_>,
    outbox: MeshRowId,
    packet: Option<PacketId>,
) -> Result<()> {
    tx.execute(
        "DELETE FROM message_pair WHERE mesh_outbox = ?1 AND packet = coalesce(?2, packet) AND part > 0",
        (outbox, packet),
    )?;
    tx.run(
        "UPDATE message_pair SET packet = ?3, text = '', alert = 0
         WHERE mesh_outbox = ?1 AND packet = coalesce(?2, packet)",
        (outbox, packet, PacketId::NONE),
    )
}

/// Removes the pair of a room row that will never be sent.
pub(crate) fn forget_room_row(tx: &Tx<'_>, outbox: RoomRowId) -> Result<()> {
    tx.run("DELETE FROM message_pair WHERE room_outbox = ?1", [outbox])
}

fn read(row: &Row<'_>) -> rusqlite::Result<MessagePair> {
    Ok(MessagePair {
        origin: row.get("origin")?,
        sender: row.get("sender")?,
        packet: row.get("packet")?,
        destination: destination(row)?,
        channel: row.get("channel")?,
        room: identifier(row, "room")?,
        event: optional(row, "event")?,
        thread: optional(row, "thread")?,
        author: optional(row, "author")?,
        text: row.get("text")?,
        alert: row.get("alert")?,
        part: row.get("part")?,
        at: row.get("at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreError;
    use crate::known_rooms;
    use crate::messages::seen;
    use crate::outbox::mesh_report::{retry, submitted};
    use crate::outbox::outbox_mesh;
    use crate::outbox::outbox_room;
    use crate::test_rows::*;
    use relay_model::{Lane, MeshContent, MeshMessage, OwnedUserId, RadioPayload, RoomContent};

    #[test]
    fn a_packet_finds_its_pair_at_once_and_its_event_once_it_is_sent() {
        on_empty(|tx| {
            let id = accept_for_room(tx, ROOM, 7, "hello")?;
            let waiting = by_packet(tx, RADIO, Some(FIRST), PacketId(7))?;
            assert_eq!(waiting, [pair_of(ROOM, 7, "hello")]);
            outbox_room::sent(tx, id, Some(&event("$one:example.org")))?;
            let expected = MessagePair {
                event: Some(event("$one:example.org")),
                ..pair_of(ROOM, 7, "hello")
            };
            assert_eq!(
                by_packet(tx, RADIO, Some(FIRST), PacketId(7))?,
                std::slice::from_ref(&expected)
            );
            assert_eq!(by_event(tx, &event("$one:example.org"))?, [expected]);
            Ok(())
        });
    }

    #[test]
    fn what_a_homeserver_has_confirmed_since_a_time_is_known_by_its_room() {
        on_empty(|tx| {
            let id = OwnedRoomId::try_from(ROOM).unwrap();
            let alias = "#hill:example.org";
            known_rooms::remember(tx, &id, &[room(ROOM), room(alias)])?;
            for (packet, name) in [(7, ROOM), (8, alias), (9, ROOM)] {
                let row = accept_for_room(tx, name, packet, "hello")?;
                if packet < 9 {
                    let sent = format!("${packet}:example.org");
                    outbox_room::sent(tx, row, Some(&event(&sent)))?;
                }
            }
            let of_room = |sent: &str| (id.clone(), event(sent));
            let expected = ["$7:example.org", "$8:example.org"].map(of_room);
            assert_eq!(confirmed(tx, Timestamp(0), 0)?, expected);
            assert_eq!(confirmed(tx, Timestamp(i64::MAX), 0)?, []);
            // Its database was put back since.
            let last = last_pair(tx)?;
            assert_eq!(confirmed(tx, Timestamp(0), last - 2)?, expected[1..]);
            assert_eq!(confirmed(tx, Timestamp(0), last)?, []);
            Ok(())
        });
    }

    #[test]
    fn a_packet_is_found_only_on_its_channel_but_whoever_sent_it() {
        on_empty(|tx| {
            accept_for_room(tx, ROOM, 7, "hello")?;
            // In the same slot.
            let other = Fingerprint([2; 32]);
            assert_eq!(by_packet(tx, RADIO, Some(other), PacketId(7))?, []);
            assert_eq!(by_packet(tx, RADIO, None, PacketId(7))?, []);
            assert_eq!(
                by_packet(tx, NodeNum(99), Some(FIRST), PacketId(7))?.len(),
                1
            );
            Ok(())
        });
    }

    #[test]
    fn what_an_earlier_relay_carried_is_found_with_any_channel() {
        on_empty(|tx| {
            let old = MessagePair {
                channel: None,
                ..pair_of(ROOM, 7, "hello")
            };
            insert(
                tx,
                RADIO,
                &old,
                PairOf {
                    room: Some(RoomRowId(0)),
                    ..PairOf::default()
                },
            )?;
            for channel in [Some(FIRST), Some(Fingerprint([2; 32])), None] {
                let found = by_packet(tx, RADIO, channel, PacketId(7))?;
                assert_eq!(found, std::slice::from_ref(&old));
            }
            Ok(())
        });
    }

    #[test]
    fn the_newest_pair_comes_first_and_those_of_this_radio_before_others() {
        on_empty(|tx| {
            accept_for_room(tx, ROOM, 7, "first")?;
            accept_for_room(tx, "!other:example.org", 7, "second")?;
            let elsewhere = pair_of(ROOM, 7, "another mesh");
            insert(
                tx,
                NodeNum(99),
                &elsewhere,
                PairOf {
                    room: Some(RoomRowId(0)),
                    ..PairOf::default()
                },
            )?;
            let texts: Vec<String> = by_packet(tx, RADIO, Some(FIRST), PacketId(7))?
                .into_iter()
                .map(|pair| pair.text)
                .collect();
            assert_eq!(texts, ["second", "first", "another mesh"]);
            Ok(())
        });
    }

    #[test]
    fn a_row_that_stands_for_several_events_is_found_by_each_and_under_each_id() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["[image]"], NOW)?[0];
            for other in ["$two:example.org", "$three:example.org"] {
                stands_too(tx, id, &event(other), None)?;
            }
            submitted(tx, id, NOON)?;
            retry(tx, id, packet, NOON, true, "the queue is full")?;
            for name in ["$one:example.org", "$two:example.org", "$three:example.org"] {
                assert_eq!(by_event(tx, &event(name))?.len(), 2, "{name}");
            }
            let others = ["$two:example.org", "$three:example.org"].map(event);
            assert_eq!(joined(tx, &event("$one:example.org"))?, others);
            assert_eq!(joined(tx, &others[0])?, [""; 0]);
            let pairs = by_packet(tx, RADIO, Some(FIRST), packet)?;
            assert_eq!(pairs[0].event, Some(event("$three:example.org")));
            assert_eq!(pairs.len(), 3);
            Ok(())
        });
    }

    #[test]
    fn each_part_of_a_message_has_a_pair_with_its_event() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["1/2 a", "2/2 b"], NOW)?;
            let pairs = by_event(tx, &event("$one:example.org"))?;
            let found: Vec<(PacketId, u8)> =
                pairs.iter().map(|pair| (pair.packet, pair.part)).collect();
            assert_eq!(found, [(rows[1].1, 1), (rows[0].1, 0)]);
            for (_, packet) in rows {
                assert!(is_own_packet(tx, RADIO, packet)?);
                assert!(!is_own_packet(tx, NodeNum(99), packet)?);
            }
            Ok(())
        });
    }

    #[test]
    fn an_answer_of_our_own_and_a_tapback_have_no_pair_but_their_ids_are_ours() {
        on_empty(|tx| {
            let tapback = MeshContent::Packet(RadioPayload::Tapback {
                emoji: "👍".to_owned(),
                target: PacketId(7),
            });
            let answer = packet("This node is a bridge");
            let reaction = source("$reaction:example.org");
            for (content, source) in [(tapback, Some(reaction)), (answer, None)] {
                let message = MeshMessage {
                    lane: Lane::Reaction,
                    ..for_mesh(content, source)
                };
                let (_, packet) = outbox_mesh::insert(tx, RADIO, &message, NOON)?;
                assert_eq!(by_packet(tx, RADIO, Some(FIRST), packet)?, []);
                assert!(is_own_packet(tx, RADIO, packet)?);
            }
            Ok(())
        });
    }

    #[test]
    fn an_edit_by_its_messages_author_is_found_as_that_message_and_one_by_anybody_else_is_not() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$one:example.org", &["1/2 a", "2/2 b"], NOW)?;
            let message = by_event(tx, &event("$one:example.org"))?;
            let author = message[0].author.clone().unwrap();
            let other = OwnedUserId::try_from("@other:example.org").unwrap();
            for (edit, author) in [
                ("$edit:example.org", author),
                ("$forged:example.org", other),
            ] {
                let target = event("$one:example.org");
                seen::mark_edit(tx, &event(edit), &target, &author, NOON)?;
            }
            assert_eq!(by_message(tx, &event("$one:example.org"))?, message);
            assert_eq!(by_message(tx, &event("$edit:example.org"))?, message);
            assert_eq!(by_message(tx, &event("$forged:example.org"))?, []);
            assert_eq!(by_message(tx, &event("$none:example.org"))?, []);
            Ok(())
        });
    }

    #[test]
    fn each_post_has_a_relay_id_of_its_own_for_all_its_tries() {
        on_empty(|tx| {
            let relay_id = |tx: &Tx<'_>| {
                let row = outbox_room::next(tx, &room(ROOM))?.expect("it waits");
                let RoomContent::Text { fields, .. } = row.content else {
                    panic!("not a text")
                };
                Ok::<_, StoreError>((row.id, fields.and_then(|it| it.relay_id).unwrap()))
            };
            let mut ids = Vec::new();
            for number in [7, 8] {
                let mut message = text_for(ROOM, "hello");
                if let RoomContent::Text { fields, .. } = &mut message.content {
                    *fields = Some(Box::default());
                }
                let pair = pair_of(ROOM, number, "hello");
                outbox_room::insert(tx, &message, Some((RADIO, &pair)), NOON)?;
                let (id, first) = relay_id(tx)?;
                assert_eq!(relay_id(tx)?, (id, first.clone()));
                assert!(has_relay_id(tx, &first)?);
                assert_eq!(row_of_post(tx, &first)?, Some(id));
                outbox_room::sent(tx, id, Some(&event(&format!("${number}:example.org"))))?;
                assert!(has_relay_id(tx, &first)?);
                ids.push(first);
            }
            assert_ne!(ids[0], ids[1]);
            assert!(!has_relay_id(tx, "0")?);
            Ok(())
        });
    }

    #[test]
    fn an_event_without_a_pair_is_unknown() {
        on_empty(|tx| {
            assert_eq!(by_event(tx, &event("$none:example.org"))?, []);
            Ok(())
        });
    }
}
