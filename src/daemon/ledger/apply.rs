//! Applies the bridge's actions to the store, one after the other.

mod mesh;
mod rooms;

use tracing::{debug, info, warn};

use super::super::counts::{Place, Way};
use super::{Outcome, outcome::place};
use relay_bridge::{Action, DropReason, GATHERING, OutageStep, Readiness, SeenKey};
use relay_model::{
    Chore, Destination, Event, Explained as _, Jump, MatrixEvent, MeshContent, MeshMessage,
    MessagePair, NodeNum, Origin, PacketId, RadioEvent, RadioText, SendReport, Sign, StepKind,
    Timestamp,
};
use relay_store::mesh_report::Withdrawal;
use relay_store::{
    Result, Tx, avatars, backlog, clock, cooldown, direct, drafts, edits, feedback, gaps,
    known_rooms, mapped_rooms, mesh_report, message_map, nodes, outage, outbox_mesh, outbox_room,
    receipts, relayed, retention, seen, single_values, story, undecryptable,
};

/// Carries out the actions of one event in the batch's transaction, one after the other.
pub(super) struct Applier<'a> {
    pub(super) tx: &'a Tx<'a>,
    /// Node number of the attached radio, or of the last one.
    pub(super) radio: NodeNum,
    pub(super) now: Timestamp,
    pub(super) outcome: &'a mut Outcome,
    /// Chores that actions ask for, to be decided in the same transaction.
    pub(super) next: Vec<Chore>,
    /// That the packet was heard is noted in its story.
    pub(super) is_heard: bool,
}

impl Applier<'_> {
    #[expect(
        clippy::too_many_lines,
        reason = "an arm for each action, and none does more than one thing"
    )]
    pub(super) fn apply(&mut self, event: &Event, action: Action) -> Result<()> {
        let (tx, radio, now) = (self.tx, self.radio, self.now);
        match action {
            Action::ToRoom { message, pair } => {
                if let (Event::Radio(RadioEvent::Text(text)), Some(_)) = (event, &pair) {
                    self.heard(text)?;
                }
                let pair = pair.as_deref().map(|pair| (radio, pair));
                let id = outbox_room::insert(tx, &message, pair, now)?;
                let room = message.room.clone();
                tx.log(move || debug!(outbox = %id, %room, "accepted for a room"));
                self.outcome.rooms.insert(message.room);
            }
            Action::ToMesh(message) => {
                self.accept(&message)?;
                if let (Event::Matrix(of_room), Some((place, _))) = (event, place(event))
                    && of_room.is_in_clear()
                {
                    self.outcome.counts.in_clear(place);
                }
            }
            Action::KeepPlace(room, event, sender, spot) => {
                let pair = MessagePair {
                    origin: Origin::Matrix,
                    sender: radio,
                    packet: PacketId::NONE,
                    destination: Destination::Channel(spot.slot),
                    channel: spot.channel,
                    room: room.into(),
                    event: Some(event),
                    thread: None,
                    author: Some(sender),
                    text: String::new(),
                    alert: false,
                    part: 0,
                    at: now,
                };
                message_map::keep_place(tx, radio, &pair)?;
            }
            Action::ToBacklog(room, event, newest) => {
                let expired = backlog::add(tx, &room, &event, newest, GATHERING, now)?;
                self.note_expired(&expired)?;
            }
            Action::Expire(source) => {
                backlog::expect_more(tx, &source.room, GATHERING, now)?;
                backlog::note_expired(tx, &source, false, now)?;
            }
            Action::KeepDirect(message) => {
                direct::keep(tx, radio, &message)?;
                let node = message.sender.num;
                tx.log(move || info!(%node, "a direct message to our node is kept"));
            }
            Action::Withdraw(room, event) => self.withdraw(&room, event)?,
            Action::TakeAway {
                room,
                event,
                correction,
            } => self.take_away(&room, event, correction)?,
            Action::WithdrawCorrection(row) => {
                let packets = self.take_back(Withdrawal::Message(row))?;
                tx.log(move || debug!(packets, outbox = %row, "a correction is taken back before it was transmitted"));
            }
            Action::WithdrawSender(room, sender, written_by) => {
                self.withdraw_sender(room, sender, written_by)?;
            }
            Action::KeepUndecryptable(event, sent_at, tell) => {
                if let Some(dropped) = undecryptable::keep(tx, &event, sent_at, now)? {
                    let of = (&*event.room, &*event.event);
                    story::of_room_event(tx, of, StepKind::Undecryptable, None)?;
                    tx.log(move || mesh::say_kept(&event, dropped, tell));
                }
            }
            Action::Rewrite(row, new) => self.rewrite(row, &new)?,
            Action::OneMore(row, draft, event, thread) => {
                drafts::change(tx, row, &draft)?;
                message_map::stands_too(tx, row, &event, thread.as_deref())?;
            }
            Action::KeepEdit(edit) => {
                edits::keep_early(tx, &edit, now)?;
                tx.log(move || debug!(event_id = %edit.target, "an edit is kept until its message comes, or is sent"));
            }
            Action::Sign(room, event, sign) => feedback::give(tx, &room, &event, sign, now)?,
            Action::StartCooldown { what, until } => cooldown::start(tx, &what, until)?,
            Action::Drop(reason) => self.dropped(event, reason, false)?,
            Action::DropAndTell(reason) => self.dropped(event, reason, true)?,
            Action::Seen(SeenKey::Packet { sender, packet }) => seen::mark_packet(tx, radio, sender, packet, now)?,
            Action::Seen(SeenKey::Event(event)) => {
                seen::mark_event(tx, &event, now)?;
                undecryptable::forget(tx, &event)?;
            }
            Action::Seen(SeenKey::Edit {
                event,
                target,
                sender,
            }) => {
                seen::mark_edit(tx, &event, &target, &sender, now)?;
                undecryptable::forget(tx, &event)?;
            }
            Action::ForgetEarlyEdit(event) => edits::forget_early(tx, &event)?,
            Action::NoteAuthor(event, names) => relayed::note_author(tx, &event, &names)?,
            Action::NoteEdited(room, event, sender, at) => edits::edited(tx, &room, &event, &sender, at)?,
            Action::Arrived(room, event, thread) => receipts::arrived(tx, &room, &event, thread.as_deref(), now)?,
            Action::Read(event) => {
                for event in message_map::joined(tx, &event)?.into_iter().chain([event]) {
                    self.outcome.feedback |= receipts::read(tx, &event, now)?;
                }
            }
            Action::Show(room, event, sign) => {
                self.outcome.feedback |= feedback::want(tx, &room, &event, sign, now)?;
            }
            Action::ForgetChanged => feedback::forget_changed(tx)?,
            Action::ForgetWishes(sign) => feedback::forget_wishes(tx, sign, Sign::Waiting, now)?,
            Action::PermitSigns(room) => feedback::permit(tx, Some(&room))?,
            Action::ForbidSigns(room, announce) => {
                if feedback::forbid(tx, &room)? && announce {
                    tx.log(move || warn!(%room, "signs cannot be shown in this room: the bot may not react there, or not take its reactions back"));
                }
            }
            Action::CameBack(transaction, event) => match outbox_room::by_transaction(tx, transaction.as_str())? {
                Some(row) => {
                    self.room_sent(row, &event, true)?;
                    tx.log(move || debug!(outbox = %row, event_id = %event, "an event of ours came back before the server's answer did"));
                }
                // The event is a sign, or the removal of one.
                None => self.outcome.feedback |= feedback::done(tx, transaction.as_str(), &event, now)?,
            },
            Action::PostCameBack(relay_id, event) => {
                if let Some(row) = message_map::row_of_post(tx, &relay_id)? {
                    self.room_sent(row, &event, true)?;
                    tx.log(move || debug!(outbox = %row, event_id = %event, "an event of ours came back before the server's answer did"));
                }
            }
            Action::OtherRelay(other, room) => self.outcome.others.push((other, room)),
            Action::Recover => self.recover()?,
            Action::LetFinish(row, expires) => mesh_report::let_finish(tx, row, expires)?,
            Action::Report(SendReport::Room { outbox, outcome }) => self.room_report(outbox, outcome)?,
            Action::Report(SendReport::Radio { outbox, packet, outcome }) => self.radio_report(outbox, packet, outcome)?,
            Action::Position(account, synced) => {
                gaps::replace(tx, &account, &synced.gaps)?;
                if let Some(reading) = &synced.clock {
                    single_values::set_server_clock(tx, reading)?;
                }
                if let Some(position) = &synced.position {
                    single_values::set_sync_position(tx, &account, position)?;
                }
                if let Some(at) = synced.read_until {
                    single_values::set_read_until(tx, &account, at)?;
                }
                if synced.is_anew {
                    single_values::set_measured_after(tx, &account, message_map::last_pair(tx)?)?;
                }
            }
            Action::Ignore(reason) => {
                let counts = &mut self.outcome.counts;
                counts.ignored(Place::Elsewhere, Way::ToMatrix, reason);
            }
            Action::KeepNodes(batch) => nodes::update(tx, radio, &batch, now)?,
            Action::KeepAvatar(avatar) => avatars::keep(tx, &avatar, now)?,
            Action::UseRadio(radio, channels) => {
                single_values::set_own_radio(tx, radio)?;
                mesh_report::adopt_radio(tx, radio)?;
                nodes::adopt(tx, radio)?;
                if let Some(channels) = channels {
                    single_values::set_channels(tx, radio, &channels)?;
                }
            }
            Action::Ready(readiness) => self.ready(*readiness)?,
            Action::MayTransmit(may) => self.outcome.may_transmit = Some(may),
            Action::Move(packets, moved) => self.move_packets(packets, moved)?,
            Action::CallBack(row, refuse) => {
                if refuse {
                    mesh_report::refuse_later(tx, row)?;
                }
                self.outcome.withdrawn.push(row);
            }
            Action::RefuseWaiting(row, refused, is_first) => self.refuse(row, refused, is_first)?,
            Action::RadioAway(since) => single_values::set_radio_away_since(tx, since)?,
            Action::AfterOutage {
                lasted,
                late,
                newest,
            } => {
                let seconds = lasted.as_secs();
                tx.log(move || info!(seconds, "the radio can be reached again: what waited for it goes spaced"));
                let expired = backlog::after_outage(tx, late, newest, GATHERING, now)?;
                self.note_expired(&expired)?;
            }
            Action::Outage(step) => self.outage_step(step)?,
            Action::ForgetExpired(room, messages) => {
                backlog::forget_expired(tx, &room)?;
                tx.log(move || {
                    warn!(
                        %room, messages,
                        "messages were too old, or too many after an outage, and were not transmitted; the room is told"
                    );
                });
            }
            Action::GiveUpKeys(room, events) => {
                for event in &events {
                    undecryptable::give_up(tx, event)?;
                    story::of_room_event(tx, (&room, event), StepKind::KeyGivenUp, None)?;
                    // The notice is final: a key that comes later is ignored.
                    seen::mark_event(tx, event, now)?;
                }
                let messages = events.len();
                tx.log(move || info!(%room, messages, "the keys of these messages did not arrive in time: the room is told"));
            }
            Action::PruneKeys {
                events,
                edits: early,
            } => {
                undecryptable::prune(tx, events)?;
                edits::prune_early(tx, early)?;
            }
            Action::EndOverdue(unanswered) => self.end_overdue(unanswered)?,
            Action::Join {
                room,
                is_news,
                opened,
            } => self.join(&room, is_news, opened)?,
            Action::Name(name, Some(room)) => known_rooms::remember(tx, &room, std::slice::from_ref(&name))?,
            Action::Name(name, None) => known_rooms::forget(tx, &name)?,
            Action::NoteTombstone(room, tombstone) => mapped_rooms::note_tombstone(tx, &room, &tombstone)?,
            Action::TryAgain(Some(room)) => {
                outbox_room::unpark(tx, Some(&room))?;
                self.outcome.changed.insert(room);
            }
            Action::TryAgain(None) => {
                outbox_room::unpark_all(tx)?;
                self.outcome.changed.extend(outbox_room::rooms(tx)?);
            }
            Action::SetAside(room, aside) => {
                if backlog::set_aside(tx, &room, aside)? > 0 && !aside {
                    self.outcome.mesh.extend(outbox_mesh::queues(tx)?);
                }
            }
            Action::Hold(room, held) => self.hold(room, held)?,
            Action::HandOver(from, to) => self.hand_room_over(from, to)?,
            Action::GiveUp(given_up) => self.give_up(*given_up)?,
            Action::FollowClock(jump) => {
                clock::follow(tx, &jump)?;
                tx.log(move || say_jump(&jump));
            }
            Action::Prune { days, pairs } => {
                self.outcome.more_to_forget = retention::prune(tx, now, days, pairs)?;
            }
            Action::SayBacklog(rows) => tx.log(move || {
                warn!(
                    rows,
                    "very much waits for Matrix, and fills the disk: `relay status` says for which rooms, and since when"
                );
            }),
            Action::WakeMesh => self.outcome.mesh.extend(outbox_mesh::queues(tx)?),
            Action::WakeSigns => self.outcome.feedback = true,
            Action::LookBy(time) => self.outcome.look_by(time),
            Action::Next(chore) => self.next.push(chore),
        }
        Ok(())
    }

    fn accept(&mut self, message: &MeshMessage) -> Result<()> {
        let (destination, lane) = (message.destination, message.lane);
        let (id, packet) = outbox_mesh::insert(self.tx, self.radio, message, self.now)?;
        let correction = matches!(&message.content, MeshContent::Text(it) if it.correction > 0);
        self.tx.log(
            move || debug!(outbox = %id, %packet, %destination, correction, "accepted for the mesh"),
        );
        self.outcome.mesh.insert((destination, lane));
        Ok(())
    }

    /// Notes once in its story that the radio delivered a packet.
    fn heard(&mut self, text: &RadioText) -> Result<()> {
        if std::mem::replace(&mut self.is_heard, true) {
            return Ok(());
        }
        story::heard(self.tx, text)
    }

    /// Counts and logs an event that is not relayed.
    fn dropped(&mut self, event: &Event, reason: DropReason, tell: bool) -> Result<()> {
        if let Some((place, way)) = place(event) {
            self.outcome.counts.dropped(place, way, reason);
        }
        if let (DropReason::Echo, Event::Radio(RadioEvent::Text(text))) = (reason, event) {
            self.outcome.counts.echo(&text.sender);
        }
        match event {
            Event::Radio(RadioEvent::Text(text))
                if matches!(reason, DropReason::Duplicate | DropReason::OwnPacket) =>
            {
                // After the commit: what changes nothing does not wait for the disk.
                self.outcome.heard_again.push(RadioText::clone(text));
            }
            Event::Matrix(MatrixEvent::Text(text)) if reason.ends_a_message() => {
                let why = Some(reason.name());
                let of = (&*text.room, &*text.event);
                story::of_room_event(self.tx, of, StepKind::NotRelayed, why)?;
            }
            Event::Radio(_) | Event::Matrix(_) | Event::Report(_) | Event::Chore(_) => {}
        }
        let (about, sender) = (event.name(), event.sender());
        self.tx.log(move || {
            if tell {
                warn!(%reason, about, sender, hint = reason.hint(), "not relayed to the other side");
            } else {
                debug!(%reason, about, "not relayed to the other side");
            }
        });
        Ok(())
    }

    fn ready(&mut self, readiness: Readiness) -> Result<()> {
        single_values::set_meshnet(self.tx, &readiness.meshnet)?;
        self.outcome.problems = Some(readiness.problems.clone());
        self.tx.log(move || {
            if readiness.is_news {
                info!(
                    node = %readiness.own.num,
                    name = readiness.own.long(),
                    firmware = readiness.firmware,
                    meshnet = readiness.meshnet,
                    "the radio is known"
                );
            }
            for renamed in readiness.renamed {
                warn!(problem = %renamed, hint = renamed.hint(), "a mapped channel has another name or key than before");
            }
            for problem in readiness.news.routes {
                warn!(%problem, hint = problem.hint(), "a mapped channel cannot be used");
            }
            if let Some(silence) = readiness.news.silence {
                warn!(reason = %silence, hint = silence.hint(), "nothing is transmitted");
            }
        });
        Ok(())
    }

    fn outage_step(&mut self, step: OutageStep) -> Result<()> {
        let (tx, now) = (self.tx, self.now);
        match step {
            OutageStep::Lost => outage::lost(tx, now),
            OutageStep::Back => outage::back(tx, now),
            OutageStep::Over(back) => outage::end(tx, back),
            OutageStep::GoesOn => outage::goes_on(tx),
            OutageStep::ToldAway(room, since) => {
                outage::told_of(tx, &room, since)?;
                let minutes = now.since(since).as_secs() / 60;
                tx.log(move || info!(%room, minutes, "the room is told that the radio is away"));
                Ok(())
            }
            OutageStep::ToldBack(room) => {
                outage::forget(tx, &room)?;
                tx.log(move || info!(%room, "the room is told that the radio is back"));
                Ok(())
            }
            OutageStep::OldNews(room) => outage::forget(tx, &room),
            OutageStep::ForgetAll => outage::forget_all(tx),
        }
    }
}

fn say_jump(jump: &Jump) {
    warn!(
        ahead_seconds = jump.now.since(jump.expected).as_secs(),
        behind_seconds = jump.expected.since(jump.now).as_secs(),
        "the system's clock has jumped: what waits expires as if it had not, and nothing is forgotten by its time for an hour"
    );
}
