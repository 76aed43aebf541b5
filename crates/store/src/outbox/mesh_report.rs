//! Outcomes of packets that were handed to the radio.

use super::mesh_state::{Because, end_all, end_waiting, ended, set_state, set_state_as, step_to};
use super::own_packets::{free_packet_id, own_packet};
use super::{backlog, drafts, mesh_waiting::TAKE_BACK, turns};
use crate::{Result, Tx, messages::message_map, single_values, story};
use relay_model::{MeshRowId, MeshState, PacketId, StepKind, Timestamp};

pub use super::mesh_state::{Ended, state};
pub use super::mesh_waiting::{
    Withdrawal, adopt_radio, expire, move_to, next_expiry, on_channels, overdue, refuse_later,
    refuse_waiting, withdraw,
};

/// Records that a row is handed to the radio now. Returns false if it no longer waits: then it must not be sent.
pub fn submitted(tx: &Tx<'_>, id: MeshRowId, now: Timestamp) -> Result<bool> {
    if state(tx, id)? != Some(MeshState::Waiting) {
        return Ok(false);
    }
    set_state(tx, id, MeshState::Submitted)?;
    tx.execute(
        "UPDATE mesh_outbox SET tried = tried + 1, attempts = attempts + 1, active_at = ?2 WHERE id = ?1",
        (id, now),
    )?;
    backlog::release(tx, id, now)?;
    turns::count(tx, id)?;
    Ok(true)
}

/// Records that the radio took a packet, under any of its ids. Returns false if that was known, or the row has ended.
pub fn accepted(tx: &Tx<'_>, id: MeshRowId, at: Timestamp) -> Result<bool> {
    accepted_as(tx, id, at, StepKind::Taken)
}

/// Does as [`accepted`] where the radio was silent, as it is for a packet that it knows.
pub fn accepted_silently(tx: &Tx<'_>, id: MeshRowId, at: Timestamp) -> Result<bool> {
    accepted_as(tx, id, at, StepKind::TakenSilently)
}

fn accepted_as(tx: &Tx<'_>, id: MeshRowId, at: Timestamp, kind: StepKind) -> Result<bool> {
    let is_news = state(tx, id)?.is_some_and(MeshState::waits);
    if is_news {
        set_state_as(tx, id, MeshState::Accepted, (kind, None))?;
        tx.execute(
            "UPDATE mesh_outbox SET taken_at = ?2, active_at = ?2, error = NULL WHERE id = ?1",
            (id, at),
        )?;
    }
    single_values::set_last_acceptance(tx, at)?;
    Ok(is_news)
}

/// Extends the expiry of the waiting parts of a packet's message.
pub fn let_finish(tx: &Tx<'_>, id: MeshRowId, expires: Timestamp) -> Result<()> {
    tx.run(
        "UPDATE mesh_outbox SET expires = MAX(expires, ?2)
         WHERE id IN (SELECT id FROM mesh_waiting
             WHERE message = (SELECT message FROM mesh_outbox WHERE id = ?1))",
        (id, expires),
    )
}

/// Ends a packet whose report cannot be stored; its outcome is unknown, and the queue continues.
pub fn give_up(tx: &Tx<'_>, id: MeshRowId) -> Result<()> {
    if tx.exists("SELECT 1 FROM mesh_submitted WHERE id = ?1", [id])? {
        end_waiting(tx, id, MeshState::Unknown, (StepKind::GivenUp, None))?;
    }
    Ok(())
}

/// Records a later outcome: [`MeshState::Unknown`], `Unheard`, `Heard` or `Delivered`. Returns false, without changes, if it is
/// no improvement ([`MeshState::may_become`]).
pub fn outcome(tx: &Tx<'_>, id: MeshRowId, state: MeshState) -> Result<bool> {
    outcome_as(tx, id, state, (step_to(state), None))
}

fn outcome_as(tx: &Tx<'_>, id: MeshRowId, state: MeshState, because: Because<'_>) -> Result<bool> {
    let allowed = self::state(tx, id)?.is_some_and(|now| now.may_become(state));
    if allowed {
        set_state_as(tx, id, state, because)?;
    }
    Ok(allowed)
}

/// Records that the radio refused a packet for good; ignored unless the id is the row's current one. The waiting parts behind
/// it are refused too. Returns the rows refused.
pub fn refused(tx: &Tx<'_>, id: MeshRowId, packet: PacketId, error: &str) -> Result<Vec<Ended>> {
    let is_current = tx.exists(
        "SELECT 1 FROM mesh_outbox WHERE id = ?1 AND packet = ?2",
        (id, packet),
    )?;
    let because = (StepKind::RefusedByRadio, Some(error));
    if !is_current || !outcome_as(tx, id, MeshState::Refused, because)? {
        return Ok(Vec::new());
    }
    tx.execute(
        "UPDATE mesh_outbox SET error = ?2 WHERE id = ?1",
        (id, error),
    )?;
    message_map::forget_mesh_row(tx, id, Some(packet))?;
    let mut refused = tx.all("SELECT * FROM mesh_outbox WHERE id = ?1", [id], ended)?;
    refused.extend(end_all(
        tx,
        "SELECT * FROM mesh_waiting
         WHERE (message, part) > (SELECT message, part FROM mesh_outbox WHERE id = ?1)
             AND message = (SELECT message FROM mesh_outbox WHERE id = ?1) ORDER BY part",
        [id],
        MeshState::Refused,
        (StepKind::PartRefused, None),
    )?);
    Ok(refused)
}

/// Result of [`retry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It waits again; its packet has this id now.
    Waits(PacketId),
    /// It was withdrawn meanwhile; what the radio had taken keeps its state.
    Withdrawn,
    /// The report is outdated: the row has ended, or was sent under another id.
    Late,
}

/// Requeues a packet that the radio did not take, not before `not_before` (at most two hours ahead). With `new_id` the next
/// attempt uses another id, which is added to the message map.
pub fn retry(
    tx: &Tx<'_>,
    id: MeshRowId,
    packet: PacketId,
    not_before: Timestamp,
    new_id: bool,
    error: &str,
) -> Result<Retried> {
    // Under the same id: it is not known whether the radio took it.
    let kind = if new_id {
        StepKind::NotTaken
    } else {
        StepKind::Unanswered
    };
    retry_as(tx, id, packet, not_before, new_id, (kind, error))
}

fn retry_as(
    tx: &Tx<'_>,
    id: MeshRowId,
    packet: PacketId,
    not_before: Timestamp,
    new_id: bool,
    (kind, error): (StepKind, &str),
) -> Result<Retried> {
    let row = tx.first(
        // Up to `Unknown`: a radio can refuse later what it had taken.
        "SELECT radio, withdraw = ?4 FROM mesh_outbox WHERE id = ?1 AND packet = ?2 AND state <= ?3",
        (id, packet, MeshState::Unknown, TAKE_BACK),
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let Some((radio, withdraw)) = row else {
        return Ok(Retried::Late);
    };
    if withdraw {
        story::note(tx, id, kind, None, Some(error))?;
        outcome(tx, id, MeshState::Withdrawn)?;
        return Ok(Retried::Withdrawn);
    }
    set_state_as(tx, id, MeshState::Waiting, (kind, Some(error)))?;
    tx.execute(
        "UPDATE mesh_outbox SET not_before = ?2, error = ?3 WHERE id = ?1",
        (id, not_before, error),
    )?;
    if !new_id {
        return Ok(Retried::Waits(packet));
    }
    let next = free_packet_id(tx, radio)?;
    tx.execute(
        "UPDATE mesh_outbox SET packet = ?2, tried = 0 WHERE id = ?1",
        (id, next),
    )?;
    own_packet(tx, radio, next, id, not_before)?;
    tx.execute(
        "INSERT INTO message_pair (origin, radio, sender, packet, target_kind, target, channel, room,
             event, thread, author, text, alert, part, at, room_outbox, mesh_outbox)
         SELECT origin, radio, sender, ?3, target_kind, target, channel, room, event,
             thread, author, text, alert, part, at, room_outbox, mesh_outbox
         FROM message_pair WHERE mesh_outbox = ?1 AND packet = ?2",
        (id, packet, next),
    )?;
    Ok(Retried::Waits(next))
}

/// Requeues a packet that was handed over but never written to the radio: it can be changed again, and does not block the
/// queue. It has left its backlog, and its sender has used a turn. Returns the same as [`retry`].
pub fn not_tried(
    tx: &Tx<'_>,
    id: MeshRowId,
    packet: PacketId,
    not_before: Timestamp,
    reason: &str,
) -> Result<Retried> {
    tx.execute(
        "UPDATE mesh_outbox SET tried = tried - 1, attempts = attempts - 1
         WHERE id IN (SELECT id FROM mesh_submitted
             WHERE id = ?1 AND packet = ?2 AND tried > 0 AND attempts > 0)",
        (id, packet),
    )?;
    let retried = retry_as(
        tx,
        id,
        packet,
        not_before,
        false,
        (StepKind::NotTried, reason),
    )?;
    match retried {
        // Withdrawn before anybody could hear it.
        Retried::Withdrawn => {
            end_waiting(tx, id, MeshState::Withdrawn, (StepKind::Withdrawn, None))?;
        }
        Retried::Waits(_) => drafts::unmake_packets(tx, id)?,
        Retried::Late => {}
    }
    Ok(retried)
}

/// Returns the rows that the radio took before that time without a later report.
pub fn unanswered(tx: &Tx<'_>, before: Timestamp) -> Result<Vec<MeshRowId>> {
    tx.column(
        "SELECT id FROM mesh_accepted WHERE taken_at <= ?1 ORDER BY taken_at",
        [before],
    )
}

/// Requeues all packets in flight, but those withdrawn meanwhile, under the same ids, for a start: the radio drops duplicates.
/// Returns the number of rows.
pub fn recover(tx: &Tx<'_>) -> Result<usize> {
    let rows: Vec<(MeshRowId, bool)> = tx.all(
        "SELECT id, withdraw = ?1 FROM mesh_submitted",
        [TAKE_BACK],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    for (id, withdrawn) in &rows {
        let next = if *withdrawn {
            story::note(tx, *id, StepKind::Restarted, None, None)?;
            MeshState::Withdrawn
        } else {
            MeshState::Waiting
        };
        set_state(tx, *id, next)?;
    }
    Ok(rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rows::*;
    use relay_model::PacketId;

    /// How often a row was handed to the radio.
    fn attempts(tx: &Tx<'_>, id: MeshRowId) -> Result<u32> {
        tx.value("SELECT attempts FROM mesh_outbox WHERE id = ?1", [id])
    }

    #[test]
    fn a_packet_goes_from_waiting_to_heard() {
        on_empty(|tx| {
            let (id, _) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            assert_eq!(state(tx, id)?, Some(MeshState::Waiting));
            assert!(submitted(tx, id, NOON)?);
            assert!(!submitted(tx, id, NOON)?);
            assert!(accepted(tx, id, later(1))?);
            assert!(!accepted(tx, id, later(2))?);
            assert_eq!(state(tx, id)?, Some(MeshState::Accepted));
            assert!(outcome(tx, id, MeshState::Heard)?);
            assert!(!outcome(tx, id, MeshState::Unheard)?);
            assert_eq!(state(tx, id)?, Some(MeshState::Heard));
            assert_eq!(submit_next(tx, NOON)?, None);
            Ok(())
        });
    }

    #[test]
    fn the_last_acceptance_is_kept_for_the_pace() {
        on_empty(|tx| {
            let (id, _) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            accepted(tx, id, later(3))?;
            assert_eq!(single_values::last_acceptance(tx)?, Some(later(3)));
            Ok(())
        });
    }

    #[test]
    fn what_only_waited_for_its_turn_was_not_tried() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            let waits = not_tried(tx, id, packet, NOON, "the link was lost")?;
            assert_eq!(waits, Retried::Waits(packet));
            drafts::change(tx, id, &draft("hello!"))?;
            let again = submit_next(tx, NOON)?.unwrap();
            // Handed over again.
            assert_eq!((attempts(tx, id)?, text_of(&again)), (1, "hello!"));

            // It was written before, so what the radio may know is unchanged.
            retry(tx, id, packet, NOON, false, "the link was lost")?;
            submit_next(tx, NOON)?.unwrap();
            not_tried(tx, id, packet, NOON, "the link was lost")?;
            assert!(drafts::change(tx, id, &draft("hello?")).is_err());

            // Nobody knows a new id.
            submit_next(tx, NOON)?.unwrap();
            let Retried::Waits(next) = retry(tx, id, packet, NOON, true, "too fast")? else {
                panic!("it waits");
            };
            submit_next(tx, NOON)?.unwrap();
            not_tried(tx, id, next, NOON, "the link was lost")?;
            drafts::change(tx, id, &draft("hello."))?;

            let (id, packet) = accept_for_mesh(tx, "$two:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            let room = source("$two:example.org").room;
            withdraw(tx, Withdrawal::Event(&room, &event("$two:example.org")))?;
            let withdrawn = not_tried(tx, id, packet, NOON, "withdrawn")?;
            assert_eq!(withdrawn, Retried::Withdrawn);
            let pairs = message_map::by_event(tx, &event("$two:example.org"))?;
            let packets: Vec<PacketId> = pairs.iter().map(|pair| pair.packet).collect();
            assert_eq!(packets, [PacketId::NONE]);
            Ok(())
        });
    }

    #[test]
    fn a_retry_under_the_same_id_changes_nothing_else() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            let retried = retry(tx, id, packet, later(5), false, "queue full")?;
            assert_eq!(retried, Retried::Waits(packet));
            let row = submit_next(tx, later(5))?.unwrap();
            assert_eq!((row.packet, attempts(tx, id)?), (packet, 2));
            Ok(())
        });
    }

    #[test]
    fn every_id_that_was_tried_leads_to_the_message() {
        on_empty(|tx| {
            let (id, first) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            let Retried::Waits(second) = retry(tx, id, first, NOON, true, "too fast")? else {
                panic!("it waits");
            };
            assert_ne!(first, second);
            for packet in [first, second] {
                assert!(message_map::is_own_packet(tx, RADIO, packet)?);
                let pairs = message_map::by_packet(tx, RADIO, Some(FIRST), packet)?;
                assert_eq!(pairs[0].event, Some(event("$one:example.org")));
            }
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            assert_eq!(pairs[0].packet, second);
            Ok(())
        });
    }

    #[test]
    fn what_the_radio_took_and_then_refused_for_now_is_sent_again() {
        on_empty(|tx| {
            let (id, first) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            accepted(tx, id, NOON)?;
            let retried = retry(tx, id, first, NOON, true, "rate limit")?;
            assert!(
                matches!(retried, Retried::Waits(next) if next != first),
                "{retried:?}"
            );
            assert_eq!(state(tx, id)?, Some(MeshState::Waiting));
            Ok(())
        });
    }

    #[test]
    fn a_late_report_under_an_old_id_sends_nothing_twice() {
        on_empty(|tx| {
            let (id, first) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            retry(tx, id, first, NOON, true, "no answer")?;
            assert_eq!(
                retry(tx, id, first, NOON, true, "no answer")?,
                Retried::Late
            );
            assert_eq!(refused(tx, id, first, "no channel")?, []);
            assert_eq!(state(tx, id)?, Some(MeshState::Waiting));
            // The first attempt had succeeded after all.
            assert!(accepted(tx, id, NOON)?);
            assert_eq!(submit_next(tx, NOON)?, None);
            assert_eq!(retry(tx, id, first, NOON, false, "late")?, Retried::Late);
            Ok(())
        });
    }

    #[test]
    fn a_refused_part_takes_the_parts_behind_it_along_and_leaves_other_messages() {
        on_empty(|tx| {
            let parts = ["1/3", "2/3", "3/3"];
            let rows = accept_for_mesh(tx, "$one:example.org", &parts, NOW)?;
            accept_for_mesh(tx, "$two:example.org", &["next"], NOW)?;
            submitted(tx, rows[0].0, NOON)?;
            accepted(tx, rows[0].0, NOON)?;
            submitted(tx, rows[1].0, NOON)?;
            let ended = refused(tx, rows[1].0, rows[1].1, "too long")?;
            let parts: Vec<MeshRowId> = ended.iter().map(|row| row.id).collect();
            assert_eq!(parts, [rows[1].0, rows[2].0]);
            let about = ended[0].about.as_ref().unwrap();
            assert_eq!(about.source, source("$one:example.org"));
            // Only the part that was sent can be replied to.
            let pairs = message_map::by_event(tx, &event("$one:example.org"))?;
            let packets: Vec<PacketId> = pairs.iter().map(|pair| pair.packet).collect();
            assert_eq!(packets, [rows[0].1]);
            assert_eq!(text_of(&submit_next(tx, NOON)?.unwrap()), "next");
            Ok(())
        });
    }

    #[test]
    fn a_packet_can_be_refused_after_it_was_taken() {
        on_empty(|tx| {
            let (id, packet) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            accepted(tx, id, NOON)?;
            assert_eq!(refused(tx, id, packet, "no channel")?.len(), 1);
            assert_eq!(refused(tx, id, packet, "no channel")?, []);
            Ok(())
        });
    }

    #[test]
    fn what_was_in_flight_when_the_relay_died_goes_again_under_the_same_id() {
        on_empty(|tx| {
            let (_, packet) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            submit_next(tx, NOON)?;
            assert_eq!(submit_next(tx, NOON)?, None);
            assert_eq!(recover(tx)?, 1);
            assert_eq!(submit_next(tx, NOON)?.unwrap().packet, packet);
            Ok(())
        });
    }

    #[test]
    fn what_nobody_answered_is_found_after_its_time() {
        on_empty(|tx| {
            let (id, _) = accept_for_mesh(tx, "$one:example.org", &["hello"], NOW)?[0];
            submitted(tx, id, NOON)?;
            accepted(tx, id, NOON)?;
            assert_eq!(
                unanswered(tx, NOON - std::time::Duration::from_secs(1))?,
                []
            );
            assert_eq!(unanswered(tx, NOON)?, [id]);
            assert!(outcome(tx, id, MeshState::Unknown)?);
            assert_eq!(unanswered(tx, NOON)?, []);
            assert!(outcome(tx, id, MeshState::Heard)?);
            Ok(())
        });
    }
}
