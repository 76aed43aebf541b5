//! Writes down what an event means: asks the store for the facts, the bridge for the decision, and the store to
//! keep what follows. Runs on the SQLite thread, inside the batch's transaction.

mod apply;
mod backlog;
mod calendar;
mod changes;
mod channels;
mod chores;
mod feedback;
mod late;
mod outage;
mod reports;
mod rooms;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::bridge::{Bridge, Refused, RouteProblem, SeenKey, Waiting};
use crate::config::{Config, Feedback, MappedRoom};
use crate::model::{
    ClockReading, Destination, Event, Gap, JoinedRoom, Lane, MatrixEvent, MeshRowId, NodeNum,
    OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RadioEvent, RadioProfile, SendReport, Timestamp,
};
use crate::store::feedback as signs;
use crate::store::outbox_mesh::{self, UNKNOWN_RADIO};
use crate::store::{
    self, StoreError, Tx, gaps, known_rooms, mesh_report, meta, nodes, outbox_room, seen, told,
};

use self::calendar::Calendar;
use self::outage::Presence;
use super::counts::{Counts, Place, Way};
use super::facts;

/// Senders that the operator is told of: a hostile mesh or room can invent any number.
const MOST_TOLD: usize = 1_000;

/// Up to where the account's events are accepted.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    /// The place in the homeserver's stream.
    pub(super) position: String,
    /// What is missing before it.
    pub(super) gaps: Vec<Gap>,
    /// What the homeserver's clock showed last.
    pub(super) clock: Option<ClockReading>,
}

/// What a batch touched, for the workers to be woken.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Rooms for which something may be due.
    pub(super) rooms: BTreeSet<OwnedRoomOrAliasId>,
    /// Destinations and lanes for which something may be due.
    pub(super) mesh: HashSet<(Destination, Lane)>,
    /// Rooms of which something has changed: what failed before may work now.
    pub(super) changed: BTreeSet<OwnedRoomOrAliasId>,
    /// The radio that is ready now may transmit: no gate of the configuration or of its own holds it back.
    pub(super) may_transmit: bool,
    /// Why nothing is transmitted by the radio that is ready now; `None` if it may transmit.
    pub(super) silence: Option<String>,
    /// The mapped channels that cannot be used, if a radio has told its channels.
    pub(super) route_problems: Option<Vec<RouteProblem>>,
    /// Rows that the radio's pacer may still hold and that are not wanted any more.
    pub(super) withdrawn: Vec<MeshRowId>,
    /// Housekeeping has something to do then.
    pub(super) chores_at: Option<Timestamp>,
    /// A sign or a read receipt may be due.
    pub(super) feedback: bool,
    /// What became of messages.
    pub(super) counts: Counts,
    /// There is more to forget than one transaction should.
    pub(super) more_to_forget: bool,
}

impl Outcome {
    /// Adds what another batch touched.
    pub(super) fn add(&mut self, other: Self) {
        self.rooms.extend(other.rooms);
        self.changed.extend(other.changed);
        self.mesh.extend(other.mesh);
        self.may_transmit |= other.may_transmit;
        self.silence = other.silence.or(self.silence.take());
        self.route_problems = other.route_problems.or(self.route_problems.take());
        self.withdrawn.extend(other.withdrawn);
        self.chores_at = [self.chores_at, other.chores_at]
            .into_iter()
            .flatten()
            .min();
        self.feedback |= other.feedback;
        self.counts.add(other.counts);
        self.more_to_forget |= other.more_to_forget;
    }
}

/// Keeps the books: owns the bridge, and knows which radio and which account the entries are about.
#[derive(Debug)]
pub(super) struct Ledger {
    bridge: Bridge,
    radio: NodeNum,
    account: Option<OwnedUserId>,
    keep_days: u32,
    keep_pairs: u64,
    newest: u32,
    /// How long the daemon had run when parked rooms got their last try,
    unparked_at: Duration,
    /// and when rooms did that refused a sign.
    permitted_at: Duration,
    calendar: Calendar,
    operator_told: HashSet<(&'static str, String)>,
    /// The rooms that we are in.
    rooms: HashMap<OwnedRoomId, JoinedRoom>,
    /// The rooms that the names of the configuration stand for, as far as it is known.
    names: BTreeMap<OwnedRoomOrAliasId, OwnedRoomId>,
    /// The rooms of the configuration, and their names.
    mapped: Vec<MappedRoom>,
    configured: Vec<OwnedRoomOrAliasId>,
    /// The names of those that take other rooms' places.
    heirs: BTreeMap<OwnedRoomId, OwnedRoomOrAliasId>,
    /// What rooms wait for, as it was said.
    waits: HashMap<OwnedRoomId, Waiting>,
    /// Since when nothing is sent to rooms whose place others take, as far as something was sent there in this run.
    followed: HashMap<OwnedRoomId, Timestamp>,
    /// What was counted before there was anybody to tell.
    counts: Counts,
    chosen_senders: bool,
    feedback: Feedback,
    presence: Presence,
    radio_problems: RadioProblems,
}

/// What keeps messages from crossing over the radio that was ready last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct RadioProblems {
    routes: Vec<RouteProblem>,
    silence: Option<Refused>,
}

impl Ledger {
    /// Makes one, and tells its bridge what the tables remember. What was handed to the
    /// radio when the relay stopped goes back into the queue.
    pub(super) fn open(tx: &Tx<'_>, config: &Config, now: Timestamp) -> Result<Self, StoreError> {
        let mut bridge = Bridge::new(config.clone(), None);
        let radio = meta::own_radio(tx)?.unwrap_or(UNKNOWN_RADIO);
        if let Some(name) = meta::meshnet(tx)? {
            bridge.remember_meshnet(name);
        }
        bridge.remember_channels(meta::channels(tx, radio)?);
        let again = mesh_report::recover(tx)?;
        if again > 0 {
            info!(
                packets = again,
                "the radio may or may not have taken these, trying again under the same ids"
            );
            // It may have taken them this very moment: the next text keeps its distance.
            meta::set_last_acceptance(tx, now)?;
        }
        backlog::relay_was_away(tx)?;
        outbox_room::unpark_all(tx)?;
        signs::recover(tx)?;
        feedback::forget_unwanted(tx, config.meshtastic.delivery_feedback, now)?;
        let configured: Vec<_> = config.matrix_rooms.iter().map(|it| it.id.clone()).collect();
        known_rooms::keep_only(tx, &configured)?;
        let names: BTreeMap<_, _> = known_rooms::all(tx)?.into_iter().collect();
        for (name, room) in &names {
            if !name.is_room_id() {
                // An earlier version kept what came before the alias was asked for under the alias.
                outbox_room::rename_room(tx, name, (&**room).into())?;
            }
            bridge.remember_room(name.clone(), room.clone());
        }
        let mut ledger = Self {
            bridge,
            radio,
            account: None,
            keep_days: config.database.keep_days,
            newest: config.meshtastic.backlog.newest,
            // As in MMRelay, 0 is no limit.
            keep_pairs: match config.database.msg_map.msgs_to_keep {
                0 => u64::MAX,
                pairs => pairs,
            },
            unparked_at: Duration::ZERO,
            permitted_at: Duration::ZERO,
            calendar: Calendar::new(now),
            operator_told: HashSet::new(),
            rooms: HashMap::new(),
            names,
            mapped: config.matrix_rooms.clone(),
            configured,
            heirs: BTreeMap::new(),
            waits: HashMap::new(),
            followed: HashMap::new(),
            counts: Counts::default(),
            chosen_senders: config.matrix.allowed_users.is_some(),
            feedback: config.meshtastic.delivery_feedback,
            presence: Presence::default(),
            radio_problems: RadioProblems::default(),
        };
        let mut outcome = Outcome::default();
        ledger.settle_rooms(tx, now, &mut outcome)?;
        ledger.end_forbidden(tx, config, &mut outcome)?;
        ledger.counts = outcome.counts;
        Ok(ledger)
    }

    /// Returns the rooms that the names of the configuration stood for when we ran last.
    pub(super) fn names(&self) -> &BTreeMap<OwnedRoomOrAliasId, OwnedRoomId> {
        &self.names
    }

    /// Takes note of the account that the rooms are seen with.
    pub(super) fn use_account(&mut self, account: OwnedUserId) {
        self.bridge.remember_own_user(account.clone());
        self.account = Some(account);
    }

    /// Returns the radio that was attached last, or is now.
    pub(super) fn radio(&self) -> NodeNum {
        self.radio
    }

    /// Returns everything for which a worker is due after a start.
    pub(super) fn waiting(tx: &Tx<'_>) -> Result<Outcome, StoreError> {
        Ok(Outcome {
            rooms: outbox_room::waiting(tx)?
                .into_iter()
                .map(|it| it.room)
                .collect(),
            mesh: outbox_mesh::queues(tx)?.into_iter().collect(),
            ..Outcome::default()
        })
    }

    /// Stores up to where the account's events are accepted, and which of them are missing.
    pub(super) fn position(
        &mut self,
        tx: &Tx<'_>,
        reached: &Reached,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        let Some(account) = &self.account else {
            return Ok(());
        };
        gaps::replace(tx, account, &reached.gaps)?;
        if let Some(reading) = &reached.clock {
            meta::set_server_clock(tx, reading)?;
            if self.calendar.compare(reading) {
                outcome.chores_by(now);
            }
        }
        meta::set_sync_position(tx, account, &reached.position)
    }

    /// Decides on an event and stores what follows.
    pub(super) fn event(
        &mut self,
        tx: &Tx<'_>,
        event: &Event,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        self.note(tx, event, now, outcome)?;
        let questions = self.bridge.questions(event, now);
        let mut facts = facts::look_up(tx, self.radio, &questions, now)?;
        if let Some(reported) = &facts.reported {
            facts.told = told::told(
                tx,
                Bridge::notices_about(&reported.source)
                    .iter()
                    .map(String::as_str),
                now,
            )?;
        }
        let actions = self.bridge.decide(event, &facts, now);
        Self::note_reading(tx, event, &actions, now, outcome)?;
        for action in actions {
            self.apply(tx, event, action, now, outcome)?;
        }
        Self::note_edited(tx, event, &facts, now)?;
        if let Event::Radio(RadioEvent::Ready(profile)) = event {
            let silence = self.bridge.silence();
            outcome.may_transmit = silence.is_none();
            outcome.silence = silence.map(|reason| reason.to_string());
            outcome.route_problems = Some(self.bridge.route_problems());
            self.report_radio(tx, profile)?;
            if outcome.may_transmit {
                self.radio_is_back(tx, now, outcome)?;
            }
        }
        if let Event::Matrix(
            MatrixEvent::Joined(_) | MatrixEvent::AliasMoved { .. } | MatrixEvent::Left { .. },
        ) = event
        {
            self.settle_rooms(tx, now, outcome)?;
        }
        if let Event::Matrix(MatrixEvent::Joined(_)) = event {
            // It is known now which entries of the configuration are this room's.
            self.follow_channels(tx, None, (event, now), outcome)?;
        }
        match &questions.seen {
            Some(SeenKey::Packet { sender, packet }) if !facts.already_seen => {
                seen::mark_packet(tx, self.radio, *sender, *packet, now)
            }
            // One that could not be read is decided on when its key has come.
            Some(SeenKey::Event(_))
                if matches!(event, Event::Matrix(MatrixEvent::Undecryptable { .. })) =>
            {
                Ok(())
            }
            Some(SeenKey::Event(id)) => {
                store::late::forget(tx, id)?;
                if facts.early_edit.is_some() {
                    store::edits::forget_early(tx, id)?;
                }
                if facts.already_seen {
                    return Ok(());
                }
                if let Event::Matrix(MatrixEvent::Edit(edit)) = event {
                    return seen::mark_edit(tx, id, &edit.target, &edit.new.sender, now);
                }
                seen::mark_event(tx, id, now)
            }
            Some(SeenKey::Packet { .. }) | None => Ok(()),
        }
    }

    /// Stores what an event says by itself, whatever the bridge makes of it.
    fn note(
        &mut self,
        tx: &Tx<'_>,
        event: &Event,
        now: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), StoreError> {
        match event {
            Event::Radio(RadioEvent::Ready(profile)) => {
                self.radio = profile.own.num;
                meta::set_own_radio(tx, self.radio)?;
                // A locked radio does not tell its channels: they are as they were.
                if !profile.locked {
                    meta::set_channels(tx, self.radio, &profile.channels)?;
                }
                mesh_report::adopt_radio(tx, self.radio)?;
                // By the channels as they were: the bridge learns the new ones after that.
                if !profile.locked {
                    self.follow_channels(tx, Some(&profile.channels), (event, now), outcome)?;
                }
                outcome.mesh.extend(outbox_mesh::queues(tx)?);
                self.outage_ends(tx, now, outcome)
            }
            Event::Matrix(MatrixEvent::Left { room, tombstone }) => {
                self.left(tx, room, tombstone.as_ref())
            }
            Event::Matrix(MatrixEvent::AliasMoved { alias, room }) => {
                self.alias_moved(tx, alias, room)
            }
            Event::Radio(RadioEvent::Nodes(batch)) => nodes::update(tx, self.radio, batch, now),
            Event::Radio(RadioEvent::Ignored { reason }) => {
                outcome
                    .counts
                    .ignored(Place::Elsewhere, Way::ToMatrix, reason);
                Ok(())
            }
            Event::Matrix(MatrixEvent::Joined(room)) => self.joined(tx, room, outcome),
            Event::Matrix(MatrixEvent::Own {
                event,
                transaction: Some(transaction),
                ..
            }) => {
                if let Some((row, _)) = outbox_room::by_transaction(tx, transaction.as_str())? {
                    Self::room_sent(tx, row, event, outcome)?;
                    debug!(outbox = %row, %event, "an event of ours came back before the server's answer did");
                } else if signs::done(tx, transaction.as_str(), event, now)? {
                    outcome.feedback = true;
                }
                Ok(())
            }
            Event::Radio(RadioEvent::Lost { .. }) => {
                self.outage_begins(tx, now, outcome)?;
                backlog::radio_is_away(tx, now)
            }
            Event::Radio(RadioEvent::Text(_) | RadioEvent::ChannelUse { .. })
            | Event::Matrix(
                MatrixEvent::Own { .. }
                | MatrixEvent::Text(_)
                | MatrixEvent::Edit(_)
                | MatrixEvent::Reaction(_)
                | MatrixEvent::Undecryptable { .. }
                | MatrixEvent::Banned { .. },
            ) => Ok(()),
            Event::Matrix(MatrixEvent::Redaction(redaction)) => {
                Self::edit_taken_away(tx, &redaction.room, &redaction.target)?;
                signs::close(tx, &redaction.room, &redaction.target, now)
            }
            Event::Report(SendReport::Room {
                outbox,
                outcome: report,
            }) => Self::room_report(tx, *outbox, report, now, outcome),
            Event::Report(SendReport::Radio {
                outbox,
                packet,
                outcome: report,
            }) => {
                Self::radio_report(tx, *outbox, *packet, report, now, outcome)?;
                self.refuse_what_is_back(tx, *outbox, (event, now), outcome)
            }
        }
    }

    /// Returns whether the operator has not been told of this sender yet.
    fn tell_operator(&mut self, reason: &'static str, event: &Event) -> bool {
        self.operator_told.len() < MOST_TOLD && self.operator_told.insert((reason, sender(event)))
    }

    fn report_radio(&mut self, tx: &Tx<'_>, profile: &RadioProfile) -> Result<(), StoreError> {
        meta::set_meshnet(tx, &self.bridge.meshnet())?;
        info!(
            node = %profile.own.num,
            name = profile.own.long(),
            firmware = profile.told_firmware(),
            meshnet = self.bridge.meshnet(),
            "radio"
        );
        for renamed in self.bridge.renamed_channels() {
            warn!(%renamed, "a mapped channel has another name or key than before");
        }
        let news = self.new_radio_problems();
        for problem in news.routes {
            warn!(%problem, "a mapped channel cannot be used");
        }
        if let Some(silence) = news.silence {
            warn!(reason = %silence, "nothing is transmitted");
        }
        Ok(())
    }

    /// Returns what was not so when the radio was ready the last time: a link may come and go all day.
    fn new_radio_problems(&mut self) -> RadioProblems {
        let problems = RadioProblems {
            routes: self.bridge.route_problems(),
            silence: self.bridge.silence(),
        };
        let before = std::mem::replace(&mut self.radio_problems, problems.clone());
        let RadioProblems {
            mut routes,
            silence,
        } = problems;
        routes.retain(|it| !before.routes.contains(it));
        RadioProblems {
            routes,
            silence: silence.filter(|_| silence != before.silence),
        }
    }
}

/// Names an event for the log, without its text.
pub(super) fn describe(event: &Event) -> String {
    match event {
        Event::Radio(RadioEvent::Text(text)) => {
            format!("packet {} of {}", text.packet, text.sender.num)
        }
        Event::Radio(_) => "radio".to_owned(),
        Event::Matrix(MatrixEvent::Text(text)) => text.event.to_string(),
        Event::Matrix(MatrixEvent::Reaction(reaction)) => reaction.event.to_string(),
        Event::Matrix(MatrixEvent::Edit(edit)) => edit.new.event.to_string(),
        Event::Matrix(MatrixEvent::Redaction(redaction)) => redaction.event.to_string(),
        Event::Matrix(
            MatrixEvent::Joined(_)
            | MatrixEvent::AliasMoved { .. }
            | MatrixEvent::Left { .. }
            | MatrixEvent::Own { .. }
            | MatrixEvent::Undecryptable { .. }
            | MatrixEvent::Banned { .. },
        ) => "matrix".to_owned(),
        Event::Report(_) => "report".to_owned(),
    }
}

/// Returns where it is counted that an event is not relayed; `None` for a report, which is counted as what it tells.
fn place(event: &Event) -> Option<(Place, Way)> {
    let room = |room: &OwnedRoomId| Some((Place::Room(room.clone().into()), Way::ToMesh));
    match event {
        Event::Radio(RadioEvent::Text(text)) => Some((text.destination.into(), Way::ToMatrix)),
        Event::Radio(_) => Some((Place::Elsewhere, Way::ToMatrix)),
        Event::Matrix(MatrixEvent::Text(text)) => room(&text.room),
        Event::Matrix(MatrixEvent::Reaction(reaction)) => room(&reaction.room),
        Event::Matrix(MatrixEvent::Edit(edit)) => room(&edit.new.room),
        Event::Matrix(MatrixEvent::Redaction(redaction)) => room(&redaction.room),
        Event::Matrix(
            MatrixEvent::Left { room: id, .. }
            | MatrixEvent::AliasMoved { room: id, .. }
            | MatrixEvent::Own { room: id, .. }
            | MatrixEvent::Undecryptable { room: id, .. }
            | MatrixEvent::Banned { room: id, .. },
        ) => room(id),
        Event::Matrix(MatrixEvent::Joined(joined)) => room(&joined.room),
        Event::Report(_) => None,
    }
}

/// Names who an event is from, for the log.
fn sender(event: &Event) -> String {
    match event {
        Event::Radio(RadioEvent::Text(text)) => text.sender.num.to_string(),
        Event::Matrix(MatrixEvent::Text(text)) => text.sender.to_string(),
        Event::Matrix(MatrixEvent::Reaction(reaction)) => reaction.sender.to_string(),
        Event::Matrix(MatrixEvent::Edit(edit)) => edit.new.sender.to_string(),
        Event::Matrix(MatrixEvent::Redaction(redaction)) => redaction.sender.to_string(),
        Event::Matrix(MatrixEvent::Undecryptable { sender, .. }) => sender.to_string(),
        Event::Matrix(
            MatrixEvent::Joined(_)
            | MatrixEvent::AliasMoved { .. }
            | MatrixEvent::Left { .. }
            | MatrixEvent::Own { .. }
            | MatrixEvent::Banned { .. },
        )
        | Event::Radio(_)
        | Event::Report(_) => String::new(),
    }
}

#[cfg(test)]
mod tests;
