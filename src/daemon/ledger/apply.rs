//! Has the store keep what the bridge decided, one action after the other.

mod mesh;
mod rooms;

use tracing::{debug, info, warn};

use super::outcome::place;
use super::{Ledger, Outcome};
use crate::bridge::{Action, DropReason, OutageStep, Readiness, SeenKey, Spot};
use crate::model::{
    Destination, Event, Jump, MessagePair, NodeNum, Origin, OwnedEventId, OwnedRoomId, OwnedUserId,
    PacketId, RadioEvent, Sign, Synced, Timestamp, UserId,
};
use crate::store::mesh_report::Withdrawal;
use crate::store::outbox_room::{self, NewRoomRow};
use crate::store::{
    StoreError, Tx, backlog, clock, direct, drafts, edits, feedback, gaps, known_rooms, late,
    mapped_rooms, mesh_report, message_map, meta, nodes, outage, outbox_mesh, receipts, relayed,
    retention, seen, told,
};

use super::super::counts::{Place, Way};

impl Ledger {
    #[expect(
        clippy::too_many_lines,
        reason = "an arm for each action, and none does more than one thing"
    )]
    pub(super) fn apply(
        &self,
        tx: &Tx<'_>,
        event: &Event,
        action: Action,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let radio = self.bridge.radio();
        match action {
            Action::ToRoom { message, pair } => {
                let row = NewRoomRow {
                    pair: pair.as_deref().map(|pair| (radio, pair)),
                    ..NewRoomRow::of_bot(&message)
                };
                let id = outbox_room::insert(tx, &row, now)?;
                let room = message.room.clone();
                outcome.log(move || debug!(outbox = %id, %room, "accepted for a room"));
                outcome.rooms.insert(message.room);
            }
            Action::ToMesh(message) => {
                let (destination, lane) = (message.destination, message.lane);
                let (id, packet) = outbox_mesh::insert(tx, radio, &message, now)?;
                outcome.log(
                    move || debug!(outbox = %id, %packet, %destination, "accepted for the mesh"),
                );
                outcome.mesh.insert((destination, lane));
            }
            Action::KeepPlace {
                room,
                event,
                sender,
                spot,
            } => {
                let pair = place_of(radio, room, (event, sender), spot, now);
                message_map::keep_place(tx, radio, &pair)?;
            }
            Action::ToBacklog(room, event, newest) => {
                if let Some(accepted) = edits::versions(tx, &room, &event)?.pop() {
                    let expired = backlog::add(tx, &room, accepted.row, newest, now)?;
                    mesh::note_expired(tx, &expired, now, outcome)?;
                }
            }
            Action::Expire(source) => {
                backlog::expect_more(tx, &source.room, now)?;
                backlog::note_expired(tx, &source, now)?;
            }
            Action::KeepDirect(message) => {
                direct::keep(tx, radio, &message)?;
                let node = message.sender.num;
                outcome.log(move || info!(%node, "a direct message to our node is kept"));
            }
            Action::Withdraw(room, event) => mesh::withdraw(tx, &room, event, outcome)?,
            Action::TakeEditBack(row, event) => {
                mesh_report::withdraw(tx, Withdrawal::Message(row))?;
                outcome.log(move || info!(event_id = %event, outbox = %row, "an edit was taken away: its correction is taken back before it was transmitted"));
            }
            Action::TakeUnreadBack(event) => {
                late::forget(tx, &event)?;
                seen::mark_event(tx, &event, now)?;
                outcome.log(move || info!(event_id = %event, "taken away before its key came"));
            }
            Action::WithdrawSender(room, sender) => {
                mesh::withdraw_sender(tx, room, sender, now, outcome)?;
            }
            Action::KeepUndecryptable(event, sent_at) => {
                let kept = late::keep(tx, &event, sent_at, now)?;
                outcome.log(move || mesh::say_kept(&event, kept));
            }
            Action::Change(change) => mesh::change(tx, radio, change, now, outcome)?,
            Action::Rewrite(outbox, draft) => {
                drafts::change(tx, outbox, &draft)?;
            }
            Action::StandsToo(outbox, event, thread) => message_map::stands_too(tx, outbox, &event, thread.as_deref())?,
            Action::Sign(room, event, sign) => {
                feedback::give(tx, &room, &event, sign, now)?;
            }
            Action::Remember { what, until } => told::remember(tx, &what, until)?,
            Action::Drop(reason) => dropped(event, reason, false, outcome),
            Action::DropAndTell(reason) => dropped(event, reason, true, outcome),
            Action::Seen(SeenKey::Packet { sender, packet }) => {
                seen::mark_packet(tx, radio, sender, packet, now)?;
            }
            Action::Seen(SeenKey::Event(event)) => seen::mark_event(tx, &event, now)?,
            Action::Seen(SeenKey::Edit {
                event,
                target,
                sender,
            }) => seen::mark_edit(tx, &event, &target, &sender, now)?,
            Action::ForgetUndecryptable(event) => {
                late::forget(tx, &event)?;
            }
            Action::ForgetEarlyEdit(event) => edits::forget_early(tx, &event)?,
            Action::NoteAuthor(event, names) => relayed::note_author(tx, &event, &names)?,
            Action::NoteEdited(room, event, sender, at) => edits::edited(tx, &room, &event, &sender, at)?,
            Action::Arrived(room, event, thread) => receipts::arrived(tx, &room, &event, thread.as_deref(), now)?,
            Action::Read(event) => {
                outcome.feedback |= receipts::read(tx, &event, now)?;
                for joined in message_map::joined(tx, &event)? {
                    outcome.feedback |= receipts::read(tx, &joined, now)?;
                }
            }
            Action::Show(room, event, sign) => {
                outcome.feedback |= feedback::want(tx, &room, &event, sign, now)?;
            }
            Action::ForgetChanged => feedback::forget_changed(tx)?,
            Action::CloseSigns(room, event) => feedback::close(tx, &room, &event, now)?,
            Action::ForgetWishes(sign) => {
                feedback::forget_wishes(tx, sign, Sign::Waiting, now)?;
            }
            Action::PermitSigns(room) => feedback::permit(tx, Some(&room))?,
            Action::ForbidSigns { room, wanted } => {
                if feedback::forbid(tx, &room)? && wanted {
                    outcome.log(move || warn!(%room, "signs cannot be shown in this room: the bot may not react there, or not take its reactions back"));
                }
            }
            Action::RoomSent(row, event) => {
                Self::room_sent(tx, row, &event, outcome)?;
                outcome.log(move || debug!(outbox = %row, %event, "an event of ours came back before the server's answer did"));
            }
            Action::SignSent(transaction, event) => {
                outcome.feedback |= feedback::done(tx, transaction.as_str(), &event, now)?;
            }
            Action::Report(report) => Self::report(tx, report, now, outcome)?,
            Action::Position(account, synced) => position(tx, &account, &synced)?,
            Action::Ignore(reason) => {
                let counts = &mut outcome.counts;
                counts.ignored(Place::Elsewhere, Way::ToMatrix, reason);
            }
            Action::KeepNodes(batch) => nodes::update(tx, radio, &batch, now)?,
            Action::UseRadio(radio) => {
                meta::set_own_radio(tx, radio)?;
                mesh_report::adopt_radio(tx, radio)?;
            }
            Action::KeepChannels(channels) => meta::set_channels(tx, radio, &channels)?,
            Action::Ready(readiness) => ready(tx, *readiness, outcome)?,
            Action::Move(packets, moved) => mesh::move_packets(tx, packets, moved, outcome)?,
            Action::CallBack(row) => outcome.withdrawn.push(row),
            Action::RefuseLater(row) => mesh_report::refuse_later(tx, row)?,
            Action::RefuseWaiting(row, refused, is_first) => mesh::refuse(tx, row, refused, is_first, outcome)?,
            Action::RadioAway(since) => meta::set_radio_away_since(tx, since)?,
            Action::AfterOutage {
                lasted,
                late,
                newest,
            } => {
                let seconds = lasted.as_secs();
                outcome.log(move || info!(seconds, "the radio can be reached again: what waited for it goes spaced"));
                let expired = backlog::after_outage(tx, late, newest, now)?;
                mesh::note_expired(tx, &expired, now, outcome)?;
            }
            Action::Outage(step) => outage_step(tx, step, now, outcome)?,
            Action::ForgetExpired(room, messages) => {
                backlog::forget_expired(tx, &room)?;
                outcome.log(move || {
                    warn!(
                        %room, messages,
                        "messages were too old, or too many after an outage, and were not transmitted; the room is told"
                    );
                });
            }
            Action::GiveUpKeys(room, events) => {
                for event in &events {
                    late::give_up(tx, event)?;
                    // Its sender is told now. A key that comes later changes nothing any more.
                    seen::mark_event(tx, event, now)?;
                }
                let messages = events.len();
                outcome.log(move || info!(%room, messages, "the keys of these messages did not arrive in time: the room is told"));
            }
            Action::PruneKeys {
                events,
                edits: early,
            } => {
                late::prune(tx, events)?;
                edits::prune_early(tx, early)?;
            }
            Action::EndOverdue(unanswered) => mesh::end_overdue(tx, unanswered, now, outcome)?,
            Action::Join {
                room,
                is_news,
                is_open,
            } => rooms::join(tx, &room, is_news, is_open, outcome)?,
            Action::KnowAlias(alias, room) => {
                known_rooms::note(tx, &room, std::slice::from_ref(&alias))?;
            }
            Action::ForgetAlias(alias) => known_rooms::forget(tx, &alias)?,
            Action::NoteTombstone(room, tombstone) => {
                mapped_rooms::note_tombstone(tx, &room, &tombstone)?;
            }
            Action::Unpark(room) => {
                outbox_room::unpark(tx, room.as_deref())?;
            }
            Action::TryAgain(rooms) => outcome.changed.extend(rooms),
            Action::SetAside(room) => {
                mapped_rooms::set_aside(tx, &room)?;
            }
            Action::TakeUp(room) => {
                if mapped_rooms::take_up(tx, &room)? > 0 {
                    outcome.mesh.extend(outbox_mesh::queues(tx)?);
                }
            }
            Action::Hold(room, held) => rooms::hold(tx, room, held, outcome)?,
            Action::HandOver { from, to } => rooms::hand_over(tx, from, to, outcome)?,
            Action::GiveUp(given_up) => rooms::give_up(tx, *given_up, outcome)?,
            Action::ForgetRoom(room) => mapped_rooms::forget(tx, &room)?,
            Action::FollowClock(jump) => {
                clock::follow(tx, &jump)?;
                outcome.log(move || say_jump(&jump));
            }
            Action::Prune { days, pairs } => {
                outcome.more_to_forget = retention::prune(tx, now, days, pairs)?;
            }
            Action::SayBacklog(rows) => outcome.log(move || {
                warn!(
                    rows,
                    "very much waits for Matrix, and fills the disk: `relay status` says for which rooms, and since when"
                );
            }),
            Action::WakeMesh => outcome.mesh.extend(outbox_mesh::queues(tx)?),
            Action::WakeSigns => outcome.feedback = true,
            Action::LookBy(time) => outcome.look_by(time),
            // The ledger looks at it itself.
            Action::Next(_) => {}
        }
        Ok(())
    }
}

/// Counts and logs what is not relayed.
fn dropped(event: &Event, reason: DropReason, tell: bool, outcome: &mut Outcome) {
    if let Some((place, way)) = place(event) {
        outcome.counts.dropped(place, way, reason);
    }
    if let (DropReason::Echo, Event::Radio(RadioEvent::Text(text))) = (reason, event) {
        outcome.counts.echo(&text.sender);
    }
    let (name, sender) = (event.name(), event.sender());
    outcome.log(move || {
        if tell {
            warn!(%reason, event = name, sender, "not relayed");
        } else {
            debug!(%reason, event = name, "not relayed");
        }
    });
}

/// Up to where the account's events are accepted, and which of them are missing.
fn position(tx: &Tx<'_>, account: &UserId, synced: &Synced) -> Result<(), StoreError> {
    gaps::replace(tx, account, &synced.gaps)?;
    if let Some(reading) = &synced.clock {
        meta::set_server_clock(tx, reading)?;
    }
    meta::set_sync_position(tx, account, &synced.position)
}

fn ready(tx: &Tx<'_>, readiness: Readiness, outcome: &mut Outcome) -> Result<(), StoreError> {
    meta::set_meshnet(tx, &readiness.meshnet)?;
    let problems = &readiness.problems;
    outcome.may_transmit = problems.silence.is_none();
    outcome.silence = problems.silence.map(|reason| reason.to_string());
    outcome.route_problems = Some(problems.routes.clone());
    outcome.log(move || {
        info!(
            node = %readiness.own.num,
            name = readiness.own.long(),
            firmware = readiness.firmware,
            meshnet = readiness.meshnet,
            "radio"
        );
        for renamed in readiness.renamed {
            warn!(%renamed, "a mapped channel has another name or key than before");
        }
        for problem in readiness.news.routes {
            warn!(%problem, "a mapped channel cannot be used");
        }
        if let Some(silence) = readiness.news.silence {
            warn!(reason = %silence, "nothing is transmitted");
        }
    });
    Ok(())
}

fn outage_step(
    tx: &Tx<'_>,
    step: OutageStep,
    now: Timestamp,
    outcome: &mut Outcome,
) -> Result<(), StoreError> {
    match step {
        OutageStep::Lost => outage::lost(tx, now),
        OutageStep::Back => outage::back(tx, now),
        OutageStep::Over(back) => outage::end(tx, back),
        OutageStep::GoesOn => outage::goes_on(tx),
        OutageStep::ToldAway(room, since) => {
            outage::told_of(tx, &room, since)?;
            let minutes = now.since(since).as_secs() / 60;
            outcome.log(move || info!(%room, minutes, "the room is told that the radio is away"));
            Ok(())
        }
        OutageStep::ToldBack(room) => {
            outage::forget(tx, &room)?;
            outcome.log(move || info!(%room, "the room is told that the radio is back"));
            Ok(())
        }
        OutageStep::OldNews(room) => outage::forget(tx, &room),
        OutageStep::ForgetAll => outage::forget_all(tx),
    }
}

fn say_jump(jump: &Jump) {
    warn!(
        ahead_seconds = jump.now.since(jump.expected).as_secs(),
        behind_seconds = jump.expected.since(jump.now).as_secs(),
        "the system's clock has jumped: what waits expires as if it had not, and nothing is forgotten by its time for an hour"
    );
}

/// Returns what stands for a message that is not transmitted.
fn place_of(
    radio: NodeNum,
    room: OwnedRoomId,
    (event, author): (OwnedEventId, OwnedUserId),
    spot: Spot,
    now: Timestamp,
) -> MessagePair {
    MessagePair {
        origin: Origin::Matrix,
        sender: radio,
        packet: PacketId::NONE,
        destination: Destination::Channel(spot.slot),
        channel: spot.channel,
        room: room.into(),
        event: Some(event),
        thread: None,
        author: Some(author),
        text: String::new(),
        alert: false,
        part: 0,
        at: now,
    }
}
