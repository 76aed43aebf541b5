//! Looks up what the bridge asks about an event.

use std::time::Duration;

use crate::bridge::{Facts, Questions, Reported, SeenKey, Target};
use crate::model::{Destination, NodeNum, Timestamp};
use crate::store::{StoreError, Tx, backlog, edits, message_map, outbox_mesh, relayed, seen, told};

/// How far back an echo of what we relayed is recognised (design: 10 minutes).
const ECHO_WINDOW: Duration = Duration::from_mins(10);

/// Answers the bridge's questions about an event. `radio` is our own node's number.
pub(super) fn look_up(
    tx: &Tx<'_>,
    radio: NodeNum,
    questions: &Questions,
    now: Timestamp,
) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    match &questions.seen {
        Some(SeenKey::Packet { sender, packet }) => {
            facts.already_seen = seen::has_packet(tx, *sender, *packet)?;
        }
        Some(SeenKey::Event(event)) => facts.already_seen = seen::has_event(tx, event)?,
        None => {}
    }
    if facts.already_seen {
        // Nothing else matters then, and most look-ups are spared.
        return Ok(facts);
    }
    if let Some((sender, packet)) = questions.sent_by_us {
        facts.sent_by_us = message_map::is_own_packet(tx, sender, packet)?;
    }
    match &questions.target {
        Some(Target::Packet { channel, packet }) => {
            facts.target = message_map::by_packet(tx, radio, *channel, *packet)?;
        }
        Some(Target::Event(event)) => facts.target = message_map::by_message(tx, event)?,
        None => {}
    }
    if let Some((room, event)) = &questions.versions {
        facts.versions = edits::versions(tx, room, event)?;
        facts.target_seen = seen::has_event(tx, event)?;
    }
    if let Some((room, event, sender)) = &questions.early_edit {
        facts.early_edit = edits::early(tx, event, room, sender)?;
    }
    if let Some(root) = &questions.thread {
        facts.thread = message_map::by_event(tx, root)?;
    }
    if let Some(event) = &questions.tapbacks {
        for pair in message_map::by_message(tx, event)? {
            for emoji in outbox_mesh::tapbacks(tx, pair.channel, pair.packet)? {
                if !facts.tapbacks.contains(&emoji) {
                    facts.tapbacks.push(emoji);
                }
            }
        }
    }
    if let Some(channel) = questions.relayed {
        let channel = Destination::Channel(channel);
        facts.relayed = relayed::on(tx, radio, channel, now - ECHO_WINDOW)?;
    }
    if let Some((room, sender)) = &questions.waiting_media {
        facts.waiting_media = outbox_mesh::newest_waiting_of(tx, room, sender, now)?;
    }
    if let Some(relay_id) = &questions.relay_id {
        facts.is_our_post = message_map::has_relay_id(tx, relay_id)?;
    }
    if let Some(packet) = questions.heard_by_our_radio {
        facts.heard_by_our_radio =
            seen::was_heard(tx, radio, packet)? || message_map::is_own_packet(tx, radio, packet)?;
    }
    if let Some((room, lane)) = &questions.waiting_for_mesh {
        facts.waiting_for_mesh = outbox_mesh::waiting_of_room(tx, room, *lane)?;
    }
    if let Some(room) = &questions.gathering {
        facts.gathering = backlog::gathering(tx, room, now)?;
    }
    if let Some((sender, at)) = &questions.sender_sent {
        facts.sender_sent = outbox_mesh::sent_by(tx, sender, *at)?;
    }
    if let Some((sender, at, but)) = &questions.urgent_sent {
        facts.urgent_sent = outbox_mesh::urgent_by(tx, sender, *at, but)?;
    }
    facts.told = told::told(tx, questions.told.iter().map(String::as_str), now)?;
    if let Some(outbox) = questions.reported {
        facts.reported = outbox_mesh::message_of(tx, outbox)?
            .map(|(source, lane)| Box::new(Reported { source, lane }));
    }
    Ok(facts)
}
