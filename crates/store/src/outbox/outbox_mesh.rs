//! The outbox for the mesh: accepting messages and choosing the next packet. Reports on packets are handled in
//! `mesh_report.rs`, changes to waiting rows in `mesh_waiting.rs`.
//!
//! A row is one packet, or a draft that becomes packets when it is submitted (`drafts.rs`). Its first packet id is chosen on
//! acceptance and kept until the radio's report requires another.
//! Order is kept per destination and lane. A packet that failed and is retried blocks later ones; one that is not yet due does
//! not. Senders with many messages take turns (`turns.rs`). A part waits until the radio took the part before it. A backlog
//! comes after new messages (`backlog.rs`). A reaction waits until its target was taken, and ends with it.

use rusqlite::params;

use super::mesh_state::{end_waiting, readable};
use super::own_packets::{free_packet_id, own_packet};
use super::{backlog, drafts, turns};
use crate::columns::{LONGEST_WAIT, Row, SLACK, destination, mesh_source, target};
use crate::messages::message_map::{self, PairOf};
use crate::{Result, Tx, shown::feedback, story};
use relay_model::{
    Destination, Fingerprint, Lane, MeshContent, MeshMessage, MeshOrder, MeshRowId, MeshSource,
    MeshState, MessagePair, NodeNum, Origin, PacketId, RadioPayload, StepKind, Timestamp,
};

pub use super::mesh_facts::{
    message_of, newest_waiting_of, queue_of, sent_by, tapbacks, urgent_by, waiting_of_room,
    waiting_senders,
};
pub use super::own_packets::UNKNOWN_RADIO;

/// `not_before` of a row without a delay: earlier than any clock reading, even if the clock is set back.
const AT_ONCE: Timestamp = Timestamp(0);

/// Part numbers of corrections start here in the message map, so that replies go to the message itself.
const PARTS: u8 = 64;

/// A row to hand to the radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshRow {
    /// Row number: that of the packet, or of a draft and then of its first packet.
    pub id: MeshRowId,
    /// The id of its packet, or of its first packet.
    pub packet: PacketId,
    /// Fingerprint of the channel that it is meant for; `None` for a direct message, or if not known.
    pub channel: Option<Fingerprint>,
    /// The content. References to packets of ours use the id under which those were sent.
    pub content: MeshContent,
    /// Whether it may still be changed: a draft of which the radio was given nothing under this id.
    pub may_change: bool,
    /// The Matrix message behind it; `None` for a reply of our own to a node.
    pub source: Option<MeshSource>,
}

/// Accepts a message for the mesh: one row with a new random packet id and, for a text, its pair. Nothing can refer to a
/// tapback, so it has no pair.
pub fn insert(
    tx: &Tx<'_>,
    radio: NodeNum,
    new: &MeshMessage,
    now: Timestamp,
) -> Result<(MeshRowId, PacketId)> {
    let packet = free_packet_id(tx, radio)?;
    let (tapback, text, reference) = match &new.content {
        MeshContent::Text(draft) => (false, draft.text.as_str(), draft.reply_to),
        MeshContent::Packet(RadioPayload::Text { text, reply_to }) => {
            (false, text.as_str(), *reply_to)
        }
        MeshContent::Packet(RadioPayload::Tapback { emoji, target }) => {
            (true, emoji.as_str(), Some(*target))
        }
    };
    let (target_kind, target) = target(new.destination);
    let source = new.source.as_deref();
    let id = MeshRowId(tx.insert(
        "INSERT INTO mesh_outbox (message, part, parts, radio, target_kind, target, lane, tapback,
             text, reference, packet, not_before, expires, room, event, thread, sender, sent_at,
             source_text, alert, accepted_at, active_at, channel, bound)
         VALUES (0, 0, 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
             ?16, ?17, ?18, ?18, ?19, ?20)",
        params![
            radio,
            target_kind,
            target,
            new.lane,
            tapback,
            &text,
            reference,
            packet,
            new.not_before.unwrap_or(AT_ONCE),
            new.expires,
            source.map(|source| source.room.as_str()),
            source.map(|source| source.event.as_str()),
            source.and_then(|source| Some(source.thread.as_deref()?.as_str())),
            source.map(|source| source.sender.as_str()),
            source.map(|source| source.sent_at),
            source.map(|_| text),
            source.is_some_and(|source| source.alert),
            now,
            new.channel,
            new.bound,
        ],
    )?);
    tx.execute("UPDATE mesh_outbox SET message = id WHERE id = ?1", [id])?;
    story::note(tx, id, StepKind::Accepted, None, None)?;
    feedback::row_accepted(tx, id)?;
    let mut correction = 0;
    if let MeshContent::Text(draft) = &new.content {
        drafts::set(tx, id, draft)?;
        correction = draft.correction;
    }
    own_packet(tx, radio, packet, id, now)?;
    if let (Some(source), false) = (&new.source, tapback) {
        let pair = MessagePair {
            origin: Origin::Matrix,
            sender: radio,
            packet,
            destination: new.destination,
            channel: new.channel,
            room: source.room.clone().into(),
            event: Some(source.event.clone()),
            thread: source.thread.clone(),
            author: Some(source.sender.clone()),
            text: text.to_owned(),
            alert: source.alert,
            part: PARTS.saturating_mul(correction),
            at: now,
        };
        let link = PairOf {
            mesh: Some(id),
            ..PairOf::default()
        };
        message_map::insert(tx, radio, &pair, link)?;
    }
    Ok((id, packet))
}

/// Whether `row` refers to a packet of ours in one of these states.
macro_rules! refers_to_ours {
    ($view:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM own_packet JOIN ",
            $view,
            " AS aim ON aim.id = own_packet.outbox
             WHERE own_packet.radio = row.radio AND own_packet.packet = row.reference)"
        )
    };
}

/// Whether `row` is not blocked by an earlier part or by the target of a reaction.
macro_rules! is_free {
    ($reaction:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM mesh_open AS earlier
                 WHERE earlier.message = row.message AND earlier.part < row.part)
             AND (lane <> ",
            $reaction,
            " OR NOT (",
            refers_to_ours!("mesh_open"),
            " OR ",
            refers_to_ours!("mesh_failed"),
            "))"
        )
    };
}

/// Ends the reactions to messages of ours that will never be sent. Returns their number.
pub fn end_reactions_on_nothing(tx: &Tx<'_>) -> Result<usize> {
    let rows: Vec<MeshRowId> = tx.column(
        concat!(
            "SELECT id FROM mesh_waiting AS row WHERE lane = ?1 AND ",
            refers_to_ours!("mesh_failed")
        ),
        [Lane::Reaction],
    )?;
    for id in &rows {
        end_waiting(tx, *id, MeshState::Withdrawn, (StepKind::Withdrawn, None))?;
    }
    Ok(rows.len())
}

/// Returns whether a reaction waits for a destination: it may depend on another lane.
pub fn has_reactions(tx: &Tx<'_>, to: Destination) -> Result<bool> {
    let (kind, target) = target(to);
    tx.exists(
        "SELECT 1 FROM mesh_waiting WHERE target_kind = ?1 AND target = ?2 AND lane = ?3",
        (kind, target, Lane::Reaction),
    )
}

/// Returns whether a packet of a queue is in flight.
pub fn is_asked(tx: &Tx<'_>, to: Destination, lane: Lane) -> Result<bool> {
    let (kind, target) = target(to);
    tx.exists(
        "SELECT 1 FROM mesh_submitted WHERE target_kind = ?1 AND target = ?2 AND lane = ?3",
        (kind, target, lane),
    )
}

/// The sendable packets of a queue, new ones and retries, in the order given.
macro_rules! may_go {
    ($order:literal) => {
        concat!(
            "SELECT id, IFNULL(not_before <= ?4 OR not_before > ?5 OR active_at > ?6, 1) AS due
             FROM mesh_in_turn AS row
             WHERE target_kind = ?1 AND target = ?2 AND lane = ?3 AND expires > ?4
                 AND (attempts > 0 OR not_before <= ?4 OR not_before > ?5 OR active_at > ?6) AND ",
            is_free!("?7"),
            " ORDER BY ",
            $order,
            " LIMIT 1"
        )
    };
}

/// Returns the packet to hand to the radio next for a destination and lane, if one is due; new messages before the backlog.
/// Changes no state (`mesh_report::submitted` does), but unreadable rows are ended.
pub fn next(
    tx: &Tx<'_>,
    to: Destination,
    lane: Lane,
    order: &MeshOrder,
    now: Timestamp,
) -> Result<Option<MeshRow>> {
    let (kind, target) = target(to);
    let sql = if turns::are_taken(tx, to, lane, order.in_a_row)? {
        may_go!(
            "attempts = 0 AND part = 0,
             (SELECT turn FROM mesh_turn
                 WHERE mesh_turn.target_kind = row.target_kind AND mesh_turn.target = row.target
                     AND mesh_turn.lane = row.lane AND mesh_turn.sender = COALESCE(row.sender, '')),
             message, part"
        )
    } else {
        may_go!("message, part")
    };
    let new: Option<(MeshRowId, bool)> = tx.first(
        sql,
        (
            kind,
            target,
            lane,
            now,
            now + LONGEST_WAIT,
            now + SLACK,
            Lane::Reaction,
        ),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let id = match new {
        Some((id, true)) => Some(id),
        // A retry is not overtaken.
        Some((_, false)) => None,
        None => backlog::find(tx, backlog::NEXT, (to, lane), order, now)?,
    };
    let Some(id) = id else { return Ok(None) };
    let row = readable(
        tx,
        "SELECT *, COALESCE(
             (SELECT sent.packet FROM own_packet JOIN mesh_outbox AS sent ON sent.id = own_packet.outbox
              WHERE own_packet.radio = row.radio AND own_packet.packet = row.reference),
             reference) AS current_reference
         FROM mesh_outbox AS row WHERE id = ?1",
        [id],
        read,
    )?;
    Ok(row.into_iter().next())
}

/// Returns when [`next`] can have something for a destination and lane. A past time means now; `None`: nothing waits, or only
/// rows that need a report first.
pub fn next_due(
    tx: &Tx<'_>,
    to: Destination,
    lane: Lane,
    order: &MeshOrder,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let (kind, target) = target(to);
    let tried: Option<MeshRowId> = tx.value(
        "SELECT MIN(message) FROM mesh_in_turn
         WHERE target_kind = ?1 AND target = ?2 AND lane = ?3
             AND expires > ?4 AND attempts > 0",
        (kind, target, lane, now),
    )?;
    // The oldest retry is not overtaken; with turns, not even by older rows.
    let turns = turns::are_taken(tx, to, lane, order.in_a_row)?;
    let due: Option<Timestamp> = tx.value(
            concat!(
                "SELECT MIN(CASE WHEN not_before > ?5 OR active_at > ?6 THEN ?4 ELSE not_before END)
                 FROM mesh_in_turn AS row
                 WHERE target_kind = ?1 AND target = ?2 AND lane = ?3 AND expires > ?4
                     AND message <= COALESCE(?7, message) AND (?7 IS NULL OR NOT ?8 OR attempts > 0) AND ",
                is_free!("?9")
            ),
            (
                kind,
                target,
                lane,
                now,
                now + LONGEST_WAIT,
                now + SLACK,
                tried,
                turns,
                Lane::Reaction,
            ),
        )?;
    if tried.is_some() {
        return Ok(due);
    }
    let backlog = backlog::find(tx, backlog::NEXT_DUE, (to, lane), order, now)?;
    Ok([due, backlog].into_iter().flatten().min())
}

/// Returns when something was last accepted for the mesh, submitted or taken.
pub fn last_active(tx: &Tx<'_>) -> Result<Option<Timestamp>> {
    // SQLite sorts text above every number.
    let sql = "SELECT MAX(active_at) FROM mesh_outbox WHERE active_at < ?1";
    tx.value(sql, [Timestamp::NEVER])
}

/// Returns the destinations and lanes with waiting rows: each needs a worker.
pub fn queues(tx: &Tx<'_>) -> Result<Vec<(Destination, Lane)>> {
    tx.all(
        "SELECT DISTINCT target_kind, target, lane FROM mesh_waiting",
        (),
        |row| Ok((destination(row)?, row.get("lane")?)),
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<MeshRow> {
    let reference: Option<PacketId> = row.get("current_reference")?;
    let content = if row.get("draft")? {
        MeshContent::Text(drafts::read(row, reference)?)
    } else {
        let text = row.get("text")?;
        MeshContent::Packet(match reference {
            Some(target) if row.get("tapback")? => RadioPayload::Tapback {
                emoji: text,
                target,
            },
            reply_to => RadioPayload::Text { text, reply_to },
        })
    };
    let source = mesh_source(row)?;
    // The worker makes its packets.
    row.get::<_, NodeNum>("radio")?;
    let is_first = row.get::<_, u8>("part")? == 0 && row.get::<_, u32>("tried")? == 0;
    Ok(MeshRow {
        id: row.get("id")?,
        packet: row.get("packet")?,
        channel: row.get("channel")?,
        content,
        may_change: is_first && source.is_some() && !row.get::<_, bool>("tapback")?,
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::Store;
    use crate::StoreError;
    use crate::outbox::mesh_report::{self, accepted, retry, submitted};
    use crate::test_rows::*;
    use relay_model::{ChannelIndex, Draft};

    fn next_text(tx: &Tx<'_>, now: Timestamp) -> Result<Option<String>> {
        Ok(next(tx, CHANNEL, Lane::Message, &ORDER, now)?.map(|row| text_of(&row).to_owned()))
    }

    #[test]
    fn a_row_holds_everything_that_sending_needs() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["Bob[M]: hello"], NOW)?;
            let expected = MeshRow {
                id: rows[0].0,
                packet: rows[0].1,
                channel: Some(FIRST),
                content: packet("Bob[M]: hello"),
                may_change: true,
                source: Some(source("$one:example.org")),
            };
            assert_eq!(
                next(tx, CHANNEL, Lane::Message, &ORDER, NOON)?,
                Some(expected)
            );
            assert_ne!(rows[0].1, PacketId::NONE);
            Ok(())
        });
    }

    #[test]
    fn each_destination_and_lane_has_its_own_queue() {
        on_empty(|tx| {
            let second = Destination::Channel(ChannelIndex::try_from(1).unwrap());
            let direct = Destination::Direct(NodeNum::BROADCAST);
            let all = [
                (CHANNEL, Lane::Message),
                (CHANNEL, Lane::Urgent),
                (second, Lane::Message),
                (direct, Lane::Message),
            ];
            for (destination, lane) in all {
                let message = MeshMessage {
                    destination,
                    lane,
                    ..for_mesh(packet(&format!("{destination} {lane:?}")), None)
                };
                insert(tx, RADIO, &message, NOON)?;
            }
            for (destination, lane) in all {
                let row = next(tx, destination, lane, &ORDER, NOON)?.unwrap();
                assert_eq!(text_of(&row), format!("{destination} {lane:?}"));
                assert_eq!(row.source, None);
            }
            let queues = queues(tx)?;
            assert_eq!(queues.len(), all.len());
            assert!(all.iter().all(|queue| queues.contains(queue)));
            Ok(())
        });
    }

    #[test]
    fn a_row_that_is_not_due_yet_holds_nobody_up() {
        on_empty(|tx| {
            let waits = When {
                not_before: Some(later(10)),
                ..NOW
            };
            accept_for_mesh(tx, "$one:example.org", &["later"], waits)?;
            assert_eq!(next_text(tx, NOON)?, None);
            assert_eq!(
                next_due(tx, CHANNEL, Lane::Message, &ORDER, NOON)?,
                Some(later(10))
            );
            accept_for_mesh(tx, "$two:example.org", &["now"], NOW)?;
            assert_eq!(next_text(tx, NOON)?.as_deref(), Some("now"));
            assert_eq!(
                next_due(tx, CHANNEL, Lane::Message, &ORDER, NOON)?,
                Some(AT_ONCE)
            );
            assert_eq!(next_text(tx, later(10))?.as_deref(), Some("later"));
            Ok(())
        });
    }

    #[test]
    fn a_row_that_failed_keeps_its_place() {
        on_empty(|tx| {
            let first = accept_for_mesh(tx, "$one:example.org", &["first"], NOW)?;
            accept_for_mesh(tx, "$two:example.org", &["second"], NOW)?;
            submit_next(tx, NOON)?;
            retry(tx, first[0].0, first[0].1, later(2), true, "too fast")?;
            assert_eq!(next_text(tx, later(1))?, None);
            assert_eq!(
                next_due(tx, CHANNEL, Lane::Message, &ORDER, later(1))?,
                Some(later(2))
            );
            assert_eq!(next_text(tx, later(2))?.as_deref(), Some("first"));
            Ok(())
        });
    }

    #[test]
    fn a_part_waits_until_the_one_before_it_was_taken() {
        on_empty(|tx| {
            let rows = accept_for_mesh(tx, "$one:example.org", &["1/2", "2/2"], NOW)?;
            let first = submit_next(tx, NOON)?.unwrap();
            assert_eq!(first.id, rows[0].0);
            assert_eq!(next_text(tx, NOON)?, None);
            assert_eq!(next_due(tx, CHANNEL, Lane::Message, &ORDER, NOON)?, None);
            accepted(tx, rows[0].0, NOON)?;
            let second = submit_next(tx, NOON)?.unwrap();
            assert_eq!(second.id, rows[1].0);
            let parts = tx.all(
                "SELECT id, part, parts FROM mesh_outbox ORDER BY part",
                (),
                |row| {
                    Ok((
                        row.get::<_, MeshRowId>(0)?,
                        row.get::<_, u8>(1)?,
                        row.get::<_, u8>(2)?,
                    ))
                },
            )?;
            assert_eq!(parts, [(first.id, 0, 2), (second.id, 1, 2)]);
            Ok(())
        });
    }

    #[test]
    fn what_is_worthless_is_not_given_out() {
        on_empty(|tx| {
            accept_for_mesh(tx, "$one:example.org", &["old"], NOW)?;
            assert_eq!(next_text(tx, NOW.expires)?, None);
            assert_eq!(
                next_due(tx, CHANNEL, Lane::Message, &ORDER, NOW.expires)?,
                None
            );
            Ok(())
        });
    }

    #[test]
    fn a_time_that_a_wrong_clock_wrote_holds_nothing_up() {
        on_empty(|tx| {
            let next_year = NOON + Duration::from_hours(24 * 365);
            let when = When {
                not_before: Some(next_year),
                expires: next_year + Duration::from_hours(1),
            };
            accept_for_mesh(tx, "$one:example.org", &["hello"], when)?;
            assert_eq!(
                next_due(tx, CHANNEL, Lane::Message, &ORDER, NOON)?,
                Some(NOON)
            );
            assert_eq!(next_text(tx, NOON)?.as_deref(), Some("hello"));
            Ok(())
        });
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nothing_up() {
        on_empty(|tx| {
            let first = accept_for_mesh(tx, "$one:example.org", &["first"], NOW)?;
            submit_next(tx, NOON)?;
            retry(tx, first[0].0, first[0].1, later(2), true, "too fast")?;
            assert_eq!(next_text(tx, NOON)?, None);
            let back = NOON - Duration::from_mins(30);
            assert_eq!(
                next_due(tx, CHANNEL, Lane::Message, &ORDER, back)?,
                Some(back)
            );
            assert_eq!(next_text(tx, back)?.as_deref(), Some("first"));
            Ok(())
        });
    }

    #[test]
    fn a_reference_to_a_packet_of_ours_follows_it_to_its_new_id() {
        on_empty(|tx| {
            let first = accept_for_mesh(tx, "$one:example.org", &["first"], NOW)?;
            let answer = Draft {
                reply_to: Some(first[0].1),
                ..draft("answer")
            };
            let answer = for_mesh(MeshContent::Text(answer), None);
            insert(tx, RADIO, &answer, NOON)?;
            submit_next(tx, NOON)?;
            retry(tx, first[0].0, first[0].1, NOON, true, "too fast")?;
            let again = submit_next(tx, NOON)?.unwrap();
            assert_ne!(again.packet, first[0].1);
            accepted(tx, again.id, NOON)?;
            for row in [
                next(tx, CHANNEL, Lane::Message, &ORDER, NOON)?,
                next_packet(tx, Lane::Message, NOON)?,
            ] {
                let reply_to = match row.unwrap().content {
                    MeshContent::Text(Draft { reply_to, .. })
                    | MeshContent::Packet(RadioPayload::Text { reply_to, .. }) => reply_to,
                    other @ MeshContent::Packet(_) => panic!("{other:?}"),
                };
                assert_eq!(reply_to, Some(again.packet));
            }
            Ok(())
        });
    }

    #[test]
    fn a_reaction_waits_for_the_message_of_ours_that_it_is_on_and_ends_with_it() {
        type End = fn(&Tx<'_>, MeshRowId, PacketId) -> Result<()>;
        let taken: End = |tx, id, packet| {
            submitted(tx, id, NOON)?;
            // The message is sent under another id than the one reacted to.
            retry(tx, id, packet, NOON, true, "too fast")?;
            submitted(tx, id, NOON)?;
            accepted(tx, id, NOON).map(|_| ())
        };
        let expired: End = |tx, _, _| mesh_report::expire(tx, later(60)).map(|_| ());
        let refused: End = |tx, id, packet| mesh_report::refused(tx, id, packet, "no").map(|_| ());
        for (end, is_sent) in [(taken, true), (expired, false), (refused, false)] {
            on_empty(|tx| {
                let soon = When {
                    expires: later(60),
                    ..NOW
                };
                let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["hello"], soon)?[0];
                let reaction = MeshMessage {
                    lane: Lane::Reaction,
                    ..for_mesh(
                        MeshContent::Packet(RadioPayload::Tapback {
                            emoji: "👍".to_owned(),
                            target: packet,
                        }),
                        Some(source("$reaction:example.org")),
                    )
                };
                let (tapback, _) = insert(tx, RADIO, &reaction, NOON)?;
                let due = |tx: &Tx<'_>| {
                    let next = next(tx, CHANNEL, Lane::Reaction, &ORDER, later(60))?;
                    let due = next_due(tx, CHANNEL, Lane::Reaction, &ORDER, later(60))?;
                    assert_eq!(next.is_some(), due.is_some());
                    Ok::<_, StoreError>(next.is_some())
                };
                assert!(!due(tx)?);
                assert_eq!(end_reactions_on_nothing(tx)?, 0);
                end(tx, id, packet)?;
                assert_eq!(due(tx)?, is_sent);
                assert!(has_reactions(tx, CHANNEL)?);
                assert_eq!(end_reactions_on_nothing(tx)?, usize::from(!is_sent));
                let state = mesh_report::state(tx, tapback)?.unwrap();
                assert_eq!(state == MeshState::Withdrawn, !is_sent);
                Ok(())
            });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_part_goes_out_once_and_in_order_whatever_fails(
            messages in prop::collection::vec(1..4_usize, 1..8),
            failures in prop::collection::vec(any::<(bool, bool)>(), 0..40),
        ) {
            let mut store = Store::in_memory().unwrap();
            let (accepted_texts, taken) = store
                .transaction(|tx| {
                    let mut accepted_texts = Vec::new();
                    for (message, parts) in messages.iter().enumerate() {
                        let parts: Vec<String> =
                            (0..*parts).map(|part| format!("{message}.{part}")).collect();
                        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                        accept_for_mesh(tx, &format!("${message}:example.org"), &parts, NOW)?;
                        accepted_texts.extend(parts.into_iter().map(str::to_owned));
                    }
                    let mut taken = Vec::new();
                    let mut failures = failures.into_iter();
                    let mut now = NOON;
                    loop {
                        let Some(row) = next(tx, CHANNEL, Lane::Message, &ORDER, now)? else {
                            match next_due(tx, CHANNEL, Lane::Message, &ORDER, now)? {
                                Some(due) => now = due,
                                None => break,
                            }
                            continue;
                        };
                        assert!(submitted(tx, row.id, now)?);
                        if let Some((true, new_id)) = failures.next() {
                            let wait = now + Duration::from_secs(2);
                            retry(tx, row.id, row.packet, wait, new_id, "busy")?;
                        } else {
                            accepted(tx, row.id, now)?;
                            taken.push(text_of(&row).to_owned());
                        }
                    }
                    Ok((accepted_texts, taken))
                })
                .unwrap();
            prop_assert_eq!(accepted_texts, taken);
        }
    }
}
