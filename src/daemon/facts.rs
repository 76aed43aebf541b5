//! Looks up the answers to the bridge's questions about an event.

use relay_bridge::{Facts, GATHERING, Questions, SeenKey, Table, Target};
use relay_model::{NodeNum, Timestamp};
use relay_store::{
    Result, Tx, backlog, cooldown, edits, feedback, mapped_rooms, mesh_report, message_map, outage,
    outbox_mesh, outbox_room, relayed, seen, single_values, story, undecryptable,
};

/// Answers the questions. `radio` is our own node's number.
pub(super) fn look_up(
    tx: &Tx<'_>,
    radio: NodeNum,
    questions: &Questions,
    now: Timestamp,
) -> Result<Facts> {
    let mut facts = Facts::default();
    match &questions.seen {
        Some(SeenKey::Packet { sender, packet }) => {
            facts.already_seen = seen::has_packet(tx, *sender, *packet)?;
            // A radio that replaces another may hear packets that the other one sent.
            facts.sent_by_us = message_map::is_own_packet(tx, *sender, *packet)?;
        }
        Some(SeenKey::Event(event) | SeenKey::Edit { event, .. }) => {
            facts.already_seen = seen::has_event(tx, event)?;
        }
        None => {}
    }
    if facts.already_seen {
        // The other answers do not matter then.
        return Ok(facts);
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
    for pair in facts.target.iter().filter(|_| questions.tapbacks) {
        let emoji = outbox_mesh::tapbacks(tx, pair.channel, pair.packet)?;
        facts.tapbacks.extend(emoji);
    }
    if let Some((channel, since)) = questions.relayed {
        facts.relayed = relayed::on(tx, radio, channel, since)?;
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
        facts.gathering = backlog::gathering(tx, room, GATHERING, now)?;
    }
    if let Some((sender, at)) = &questions.sender_sent {
        facts.sender_sent = outbox_mesh::sent_by(tx, sender, *at)?;
    }
    if let Some((sender, at, but)) = &questions.urgent_sent {
        facts.urgent_sent = outbox_mesh::urgent_by(tx, sender, *at, but)?;
    }
    for name in &questions.cooldowns {
        if cooldown::is_running(tx, name, now)? {
            facts.cooldowns.push(name.clone());
        }
    }
    if let Some(outbox) = questions.reported {
        facts.reported = outbox_mesh::message_of(tx, outbox)?.map(Box::new);
    }
    if let Some((room, event)) = &questions.taken_edit
        && let Some((target, author)) = edits::target_of(tx, room, event)?
    {
        let correction = edits::waiting_correction(tx, room, &target)?;
        facts.taken_edit = correction.map(|correction| Box::new((author, correction)));
    }
    if let Some((room, event)) = &questions.story {
        facts.story = story::of_event(tx, event, Some(room))?;
    }
    for table in &questions.tables {
        look_into(tx, table, &mut facts, now)?;
    }
    Ok(facts)
}

fn look_into(tx: &Tx<'_>, table: &Table, facts: &mut Facts, now: Timestamp) -> Result<()> {
    match table {
        Table::Cooldowns(start) => facts
            .cooldowns
            .extend(cooldown::beginning_with(tx, start, now)?),
        Table::Packets(only) => facts.packets = mesh_report::on_channels(tx, *only)?,
        Table::RadioAway => facts.radio_away = single_values::radio_away_since(tx)?,
        Table::LastActive => facts.last_active = outbox_mesh::last_active(tx)?,
        Table::Rooms => facts.rooms = mapped_rooms::standing(tx)?,
        Table::Senders => facts.senders = outbox_mesh::waiting_senders(tx)?,
        Table::Busy => facts.busy = outbox_room::rooms(tx)?.into_iter().collect(),
        Table::RowsForRooms => facts.rows_for_rooms = outbox_room::count(tx)?,
        Table::Outage => {
            facts.outage = outage::current(tx)?;
            facts.told_rooms = outage::told_rooms(tx)?;
        }
        Table::Expired(few, sign) => {
            facts.expired = backlog::expired(tx)?;
            for expired in &facts.expired {
                for event in backlog::without_sign(tx, expired, *few, *sign)? {
                    facts.without_sign.push((expired.room.clone(), event));
                }
            }
        }
        Table::Unread(until) => facts.unread = undecryptable::overdue(tx, *until)?,
        Table::Changed => {
            for event in feedback::changed(tx)? {
                facts.fates.extend(feedback::message(tx, &event)?);
            }
        }
        Table::Waiting(before, sign) => {
            for event in feedback::waiting_without(tx, *sign, *before)? {
                facts.fates.extend(feedback::message(tx, &event)?);
            }
        }
    }
    Ok(())
}
