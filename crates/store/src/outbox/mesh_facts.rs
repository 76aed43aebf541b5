//! Queries on waiting and sent mesh rows, for decisions and `status`.

use std::time::Duration;

use super::drafts::{self, packets};
use crate::columns::{Row, destination, identifier, source_of};
use crate::{Result, Tx};
use relay_model::{
    Destination, Draft, EventId, Fingerprint, Lane, MeshRowId, OwnedRoomId, OwnedUserId, PacketId,
    RoomId, RowMessage, Timestamp, UserId,
};

/// Returns the number of a room's messages in this lane that wait for the mesh or for the radio's answer. A message of which
/// the radio took a part is not counted.
pub fn waiting_of_room(tx: &Tx<'_>, room: &RoomId, lane: Lane) -> Result<u64> {
    tx.value(
        "SELECT COUNT(*) FROM mesh_open
         WHERE room = ?1 AND part = 0 AND (lane = ?3) = (?2 = ?3)",
        (room.as_str(), lane, Lane::Reaction),
    )
}

/// Returns the number of packets a person sent or queued within a minute and within an hour of `at`, by the messages' own time
/// stamps, before or after it: time stamps may come out of order.
pub fn sent_by(tx: &Tx<'_>, sender: &UserId, at: Timestamp) -> Result<(u32, u32)> {
    tx.first(
        concat!(
            "SELECT COALESCE(",
            packets!(),
            " FILTER (WHERE sent_at > ?2 AND sent_at < ?3), 0), COALESCE(",
            packets!(),
            ", 0) FROM mesh_counted
             WHERE sender = ?1 AND sent_at > ?4 AND sent_at < ?5"
        ),
        (
            sender.as_str(),
            at - Duration::from_mins(1),
            at + Duration::from_mins(1),
            at - Duration::from_hours(1),
            at + Duration::from_hours(1),
        ),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .map(Option::unwrap_or_default)
}

/// Returns the number of a person's urgent messages beside `but` within an hour of `at`, counted as in [`sent_by`]. Replies to
/// another's alert and corrections of urgent messages are not counted.
pub fn urgent_by(tx: &Tx<'_>, sender: &UserId, at: Timestamp, but: &EventId) -> Result<u32> {
    tx.value(
        "SELECT COUNT(DISTINCT event) FROM mesh_counted AS row
         WHERE sender = ?1 AND sent_at > ?2 AND sent_at < ?3
             AND lane = ?5 AND part = 0 AND event <> ?4
             AND CASE WHEN correction = 0
                 THEN NOT EXISTS (SELECT 1 FROM message_pair
                     WHERE message_pair.packet = row.reference AND message_pair.alert = 1
                         AND message_pair.author IS NOT ?1)
                 ELSE NOT EXISTS (SELECT 1 FROM mesh_outbox AS first
                     WHERE first.event = row.event AND first.correction = 0 AND first.lane = ?5) END",
        (
            sender.as_str(),
            at - Duration::from_hours(1),
            at + Duration::from_hours(1),
            but.as_str(),
            Lane::Urgent,
        ),
    )
}

/// Returns the distinct emoji that we put on a packet of a channel, waiting ones included.
pub fn tapbacks(
    tx: &Tx<'_>,
    channel: Option<Fingerprint>,
    packet: PacketId,
) -> Result<Vec<String>> {
    tx.column(
        "SELECT DISTINCT text FROM mesh_counted
         WHERE tapback = 1 AND reference = ?1 AND (channel IS ?2 OR channel IS NULL OR ?2 IS NULL)",
        (packet, channel),
    )
}

/// Returns a person's newest text in a room whose `not_before` is still ahead: the note to which a further picture may be
/// added.
pub fn newest_waiting_of(
    tx: &Tx<'_>,
    room: &RoomId,
    sender: &UserId,
    now: Timestamp,
) -> Result<Option<(MeshRowId, Draft)>> {
    tx.first(
        "SELECT * FROM mesh_waiting
         WHERE room = ?1 AND sender = ?2 AND draft = 1 AND not_before > ?3
         ORDER BY id DESC LIMIT 1",
        (room.as_str(), sender.as_str(), now),
        |row| Ok((row.get("id")?, drafts::read(row, row.get("reference")?)?)),
    )
}

/// Returns the message of a row; `None` for a reply of our own.
pub fn message_of(tx: &Tx<'_>, id: MeshRowId) -> Result<Option<RowMessage>> {
    tx.first(
        "SELECT * FROM mesh_outbox WHERE id = ?1 AND room IS NOT NULL",
        [id],
        row_message,
    )
}

/// Reads the message of a complete row.
pub(crate) fn row_message(row: &Row<'_>) -> rusqlite::Result<RowMessage> {
    Ok(RowMessage {
        source: source_of(row)?,
        lane: row.get("lane")?,
        is_edit: row.get::<_, u8>("correction")? > 0,
    })
}

/// Returns the senders with messages waiting for the mesh, by room.
pub fn waiting_senders(tx: &Tx<'_>) -> Result<Vec<(OwnedRoomId, OwnedUserId)>> {
    tx.all(
        "SELECT DISTINCT room, sender FROM mesh_open WHERE room IS NOT NULL",
        (),
        |row| Ok((identifier(row, "room")?, identifier(row, "sender")?)),
    )
}

/// Returns the destination and lane of a row.
pub fn queue_of(tx: &Tx<'_>, id: MeshRowId) -> Result<Option<(Destination, Lane)>> {
    tx.first(
        "SELECT target_kind, target, lane FROM mesh_outbox WHERE id = ?1",
        [id],
        |row| Ok((destination(row)?, row.get("lane")?)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreError;
    use crate::messages::edits::versions;
    use crate::outbox::drafts::make_packets;
    use crate::outbox::mesh_report::{Withdrawal, accepted, expire, refused, submitted, withdraw};
    use crate::outbox::outbox_mesh::insert;
    use crate::summary::{Queued, to_mesh};
    use crate::test_rows::*;
    use relay_model::{Media, MeshContent, MeshMessage, MeshSource, RadioPayload};

    fn bob() -> relay_model::OwnedUserId {
        source("$any:example.org").sender
    }

    fn room_id() -> relay_model::OwnedRoomId {
        source("$any:example.org").room
    }

    #[test]
    fn what_waits_is_counted_by_room_and_by_destination_until_the_radio_took_it() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            assert_eq!(waiting_of_room(tx, &room_id(), Lane::Message)?, 1);
            let expected = Queued {
                room: Some(room_id().into()),
                destination: Some(CHANNEL),
                count: 2,
                oldest: NOON,
            };
            assert_eq!(to_mesh(tx)?, [expected]);
            submit_next(tx, NOON)?;
            assert_eq!(waiting_of_room(tx, &room_id(), Lane::Message)?, 1);
            let other = RoomId::parse("!other:example.org").unwrap();
            assert_eq!(waiting_of_room(tx, &other, Lane::Message)?, 0);
            let reaction = MeshMessage {
                lane: Lane::Reaction,
                ..for_mesh(packet("👍"), Some(source("$two:example.org")))
            };
            insert(tx, RADIO, &reaction, NOON)?;
            assert_eq!(waiting_of_room(tx, &room_id(), Lane::Message)?, 1);
            assert_eq!(waiting_of_room(tx, &room_id(), Lane::Urgent)?, 1);
            assert_eq!(waiting_of_room(tx, &room_id(), Lane::Reaction)?, 1);
            accepted(tx, rows[0].0, NOON)?;
            assert_eq!(waiting_of_room(tx, &room_id(), Lane::Message)?, 0);
            Ok(())
        });
    }

    #[test]
    fn a_persons_packets_are_counted_by_the_messages_own_time() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            assert_eq!(sent_by(tx, &bob(), NOON)?, (2, 2));
            assert_eq!(sent_by(tx, &bob(), later(59))?, (2, 2));
            assert_eq!(sent_by(tx, &bob(), later(60))?, (0, 2));
            assert_eq!(sent_by(tx, &bob(), later(3_600))?, (0, 0));
            // It arrived after one with a later time stamp.
            assert_eq!(sent_by(tx, &bob(), NOON - Duration::from_secs(59))?, (2, 2));
            assert_eq!(sent_by(tx, &bob(), NOON - Duration::from_mins(1))?, (0, 2));
            assert_eq!(sent_by(tx, &bob(), NOON - Duration::from_hours(1))?, (0, 0));
            let alice = UserId::parse("@alice:example.org").unwrap();
            assert_eq!(sent_by(tx, &alice, NOON)?, (0, 0));
            Ok(())
        });
    }

    #[test]
    fn a_text_counts_as_the_packets_that_it_will_be() {
        on_empty(|tx| {
            let long = Draft {
                packets: 3,
                ..draft("long")
            };
            let long = for_mesh(MeshContent::Text(long), Some(source("$one:example.org")));
            let (row, _) = insert(tx, RADIO, &long, NOON)?;
            for parts in [3, 4] {
                assert_eq!(sent_by(tx, &bob(), NOON)?, (parts, parts));
                assert_eq!(to_mesh(tx)?[0].count, u64::from(parts));
                let version = &versions(tx, &room_id(), &event("$one:example.org"))?[0];
                assert_eq!(u32::from(version.packets), parts);
                let further = ["2/4", "3/4", "4/4"].map(str::to_owned);
                make_packets(tx, row, ("1/4", &further), NOON)?;
            }
            Ok(())
        });
    }

    #[test]
    fn a_persons_alerts_are_counted_but_not_what_answers_anothers_or_corrects_one() {
        on_empty(|tx| {
            let say = |name: &str, lane, alert, reply_to, sent_at| {
                let mut source = MeshSource {
                    sent_at,
                    alert,
                    ..source(name)
                };
                if name.starts_with("$carols") {
                    source.sender = "@carol:example.org".try_into().unwrap();
                }
                let draft = Draft {
                    reply_to,
                    ..draft("🚨")
                };
                let message = MeshMessage {
                    channel: None,
                    lane,
                    ..for_mesh(MeshContent::Text(draft), Some(source))
                };
                accept_in_parts(tx, &message, &["1/2", "2/2"])
            };
            let correct = |name: &str, of: PacketId| {
                let rows = say(name, Lane::Urgent, true, Some(of), NOON)?;
                for (id, _) in rows {
                    tx.execute("UPDATE mesh_outbox SET correction = 1 WHERE id = ?1", [id])?;
                }
                Ok::<_, StoreError>(())
            };
            let count = |at| urgent_by(tx, &bob(), at, &event("$this:example.org"));
            let alert = say("$alert:example.org", Lane::Urgent, true, None, NOON)?[0].1;
            assert_eq!((count(NOON)?, count(later(3_600))?), (1, 0));
            // Not counted: a reply to another's alert, corrections of both, and the current event.
            let carols = say("$carols:example.org", Lane::Urgent, true, None, NOON)?[0].1;
            let answer = say(
                "$answer:example.org",
                Lane::Urgent,
                true,
                Some(carols),
                NOON,
            )?[0]
                .1;
            correct("$alert:example.org", alert)?;
            correct("$answer:example.org", answer)?;
            say("$this:example.org", Lane::Urgent, true, None, NOON)?;
            let plain = say("$plain:example.org", Lane::Message, false, None, NOON)?[0].1;
            assert_eq!(count(NOON)?, 1);
            // Counted: a correction that becomes an alert, and an alert in reply to an ordinary text.
            correct("$plain:example.org", plain)?;
            say(
                "$other:example.org",
                Lane::Urgent,
                true,
                Some(plain),
                later(60),
            )?;
            assert_eq!(count(NOON)?, 3);
            withdraw(
                tx,
                Withdrawal::Event(&room_id(), &event("$other:example.org")),
            )?;
            assert_eq!(count(NOON)?, 2);
            // A reply to an own alert continues it.
            say("$own:example.org", Lane::Urgent, false, Some(alert), NOON)?;
            assert_eq!(count(NOON)?, 3);
            Ok(())
        });
    }

    #[test]
    fn what_never_goes_on_the_air_does_not_count_against_its_sender() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?;
            withdraw(
                tx,
                Withdrawal::Event(&room_id(), &event("$one:example.org")),
            )?;
            assert_eq!(sent_by(tx, &bob(), NOON)?, (0, 0));
            Ok(())
        });
    }

    #[test]
    fn the_emoji_on_a_packet_are_known_unless_they_never_got_there() {
        on_empty(|tx| {
            let put = |emoji: &str, reaction: &str, expires| {
                let message = MeshMessage {
                    lane: Lane::Reaction,
                    expires,
                    ..for_mesh(
                        MeshContent::Packet(RadioPayload::Tapback {
                            emoji: emoji.to_owned(),
                            target: PacketId(7),
                        }),
                        Some(source(reaction)),
                    )
                };
                insert(tx, RADIO, &message, NOON)
            };
            put("👍", "$a:example.org", later(600))?;
            put("👍", "$b:example.org", later(600))?;
            put("🎉", "$c:example.org", later(600))?;
            put("😱", "$d:example.org", later(1))?;
            let no_channel = put("🦊", "$e:example.org", later(600))?;
            withdraw(tx, Withdrawal::Event(&room_id(), &event("$c:example.org")))?;
            expire(tx, later(1))?;
            submitted(tx, no_channel.0, NOON)?;
            refused(tx, no_channel.0, no_channel.1, "no such channel")?;
            assert_eq!(tapbacks(tx, Some(FIRST), PacketId(7))?, ["👍"]);
            assert_eq!(
                tapbacks(tx, Some(FIRST), PacketId(8))?,
                Vec::<String>::new()
            );
            Ok(())
        });
    }

    #[test]
    fn a_further_picture_finds_the_newest_text_that_is_not_due_yet() {
        on_empty(|tx| {
            let find = |now| newest_waiting_of(tx, &room_id(), &bob(), now);
            accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?;
            assert_eq!(find(NOON)?, None);
            let note = Draft {
                media: Some(Media {
                    word: "image".to_owned(),
                    count: 2,
                }),
                ..draft("[2 images]")
            };
            let message = MeshMessage {
                not_before: Some(later(10)),
                ..for_mesh(
                    MeshContent::Text(note.clone()),
                    Some(source("$two:example.org")),
                )
            };
            let (row, _) = insert(tx, RADIO, &message, NOON)?;
            assert_eq!(find(NOON)?, Some((row, note.clone())));
            assert_eq!(find(later(10))?, None);
            // As stored by an earlier version: the same text, with an unknown kind.
            tx.run("UPDATE mesh_outbox SET media_word = NULL", ())?;
            let text = Draft {
                media: None,
                ..note
            };
            assert_eq!(find(NOON)?, Some((row, text)));
            Ok(())
        });
    }

    #[test]
    fn a_row_tells_its_message_and_its_queue_even_after_it_was_refused() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["Bob[M]: hello"], NOW)?;
            let (id, packet) = rows[0];
            submitted(tx, id, NOON)?;
            refused(tx, id, packet, "too long")?;
            let message = RowMessage {
                source: source("$one:example.org"),
                lane: Lane::Message,
                is_edit: false,
            };
            assert_eq!(message_of(tx, id)?, Some(message));
            assert_eq!(queue_of(tx, id)?, Some((CHANNEL, Lane::Message)));
            assert_eq!(message_of(tx, MeshRowId(999))?, None);
            assert_eq!(queue_of(tx, MeshRowId(999))?, None);
            Ok(())
        });
    }
}
