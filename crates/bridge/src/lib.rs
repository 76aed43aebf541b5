//! The bridge's decisions: events and facts in, actions out. No I/O, no clock, no await.
//!
//! [`Bridge::questions`] returns the lookups for an event, [`Bridge::decide`] the actions. State kept in memory (the radio and
//! the joined rooms) is supplied again after a restart.
//!
//! # Layout
//!
//! - In and out: `questions` and `facts`, `action`.
//! - Decisions, by what they are on: `to_matrix` (a packet), `to_mesh` (an event of a room), `feedback` (a sign), `radio`
//!   (its channels, and what waits for them), `rooms` (its state, and what waits for it), `undecryptable`, `outage`, `backlog`,
//!   `other_relay`, `chores` (what time does). `books` adds what is remembered of each event.
//! - What they ask: `policy` (may it pass), `route` (where to), `relation` (what it answers), `echo`, `command`, `calendar`.
//! - `story`: what became of a message, in words, for whoever asks.
//! - `texts`: what a message looks like on the other side. `reasons`: why it is not relayed, and who is told.

mod action;
mod backlog;
mod books;
mod calendar;
mod chores;
mod command;
mod echo;
mod facts;
mod feedback;
mod other_relay;
mod outage;
mod policy;
mod questions;
mod radio;
mod reasons;
mod relation;
mod rooms;
mod route;
pub mod story;
#[cfg(test)]
mod testing;
mod texts;
mod to_matrix;
mod to_mesh;
mod undecryptable;

use radio::readiness;
use reasons::{author_notice, dropped, notice, telling};
use rooms::succession;
use texts::{format, render, split, text};

pub use action::{Action, GivenUp, Held, OutageStep, WhyGivenUp};
pub use backlog::{GATHERING, mesh_order};
pub use chores::MANY_ROWS;
pub use dropped::DropReason;
pub use facts::{Facts, Questions, SeenKey, Table, Target};
pub use notice::Refused;
pub use other_relay::OtherRelay;
pub use readiness::{RadioProblems, Readiness};
pub use render::render;
pub use route::{RenamedChannel, RouteProblem, Spot};
pub use split::{PACKET_BYTES, Packets};
pub use succession::{Waiting, WaitingRoom};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use calendar::Calendar;
use outage::Presence;
use relay_config::Config;
use relay_model::{
    Channel, Event, JoinedRoom, MatrixEvent, NodeNum, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId,
    RadioEvent, RadioProfile, Timestamp,
};
use route::Routes;

/// Default name of a mesh without a known one.
const NAMELESS_MESH: &str = "Meshtastic";

/// The bridge: settings and what it knows of the radio and the rooms. Decisions change it, so a transaction works on a copy
/// that replaces the original after the commit; large parts are copied on write.
#[derive(Debug, Clone)]
pub struct Bridge {
    config: Arc<Config>,
    own_user: Option<OwnedUserId>,
    /// Node number of the attached radio, or of the last one; 0: none is known.
    radio: NodeNum,
    profile: Option<Arc<RadioProfile>>,
    /// The link to that radio stands.
    linked: bool,
    radio_problems: RadioProblems,
    presence: Presence,
    routes: Arc<Routes>,
    remembered_meshnet: Option<String>,
    /// The mapped rooms that the bot is in, as last reported.
    rooms: Arc<BTreeMap<OwnedRoomId, JoinedRoom>>,
    /// Why rooms are held, as logged.
    waits: BTreeMap<OwnedRoomId, Waiting>,
    /// Since when nothing new is sent to replaced rooms, if anything was sent there in this run.
    followed: BTreeMap<OwnedRoomId, Timestamp>,
    calendar: Calendar,
    /// Uptime at the last round.
    up: Duration,
    /// Uptime at the last retry of parked rooms.
    unparked_at: Duration,
    /// Uptime at the last retry of rooms that refused a sign.
    permitted_at: Duration,
    operator_told: Arc<BTreeSet<(&'static str, String)>>,
    /// When the relay started.
    started: Option<Timestamp>,
}

impl Bridge {
    /// Makes a bridge that knows no radio and no room. `own_user` is the bot's account, if there is a session.
    pub fn new(config: Config, own_user: Option<OwnedUserId>) -> Self {
        Self {
            routes: Arc::new(Routes::new(config.matrix_rooms.clone())),
            config: Arc::new(config),
            own_user,
            radio: NodeNum(0),
            profile: None,
            linked: false,
            radio_problems: RadioProblems::default(),
            presence: Presence::default(),
            remembered_meshnet: None,
            rooms: Arc::default(),
            waits: BTreeMap::new(),
            followed: BTreeMap::new(),
            calendar: Calendar::default(),
            up: Duration::ZERO,
            unparked_at: Duration::ZERO,
            permitted_at: Duration::ZERO,
            operator_told: Arc::default(),
            started: None,
        }
    }

    /// Sets the bot's account, after a login.
    pub fn remember_own_user(&mut self, user: OwnedUserId) {
        self.own_user = Some(user);
    }

    /// Returns the attached radio, or the last one.
    pub fn radio(&self) -> NodeNum {
        self.radio
    }

    /// Sets the mesh's name of an earlier run, used until a radio reports one.
    pub fn remember_meshnet(&mut self, name: Option<String>) {
        self.remembered_meshnet = name;
    }

    /// Sets the radio of an earlier run and its channels, used until a radio reports its own: channels mapped by name could not
    /// be found otherwise.
    pub fn remember_radio(&mut self, radio: NodeNum, channels: Vec<Channel>) {
        self.radio = radio;
        Arc::make_mut(&mut self.routes).follow(channels);
    }

    /// Sets the room that a configured name resolved to in an earlier run, used until it is resolved again.
    pub fn remember_room(&mut self, name: OwnedRoomOrAliasId, room: OwnedRoomId) {
        let routes = Arc::make_mut(&mut self.routes);
        routes.known.entry(name).or_insert(room);
    }

    /// Goes on from another bridge, which had another configuration: with what a restart would have to learn again. Called
    /// after what the tables hold was restored.
    pub fn take_over(&mut self, before: Self) {
        let Self {
            own_user,
            profile,
            linked,
            radio_problems,
            presence,
            rooms,
            waits,
            followed,
            calendar,
            up,
            unparked_at,
            permitted_at,
            operator_told,
            started,
            // Those of the new configuration, and of the tables.
            config: _,
            radio: _,
            routes: _,
            remembered_meshnet: _,
        } = before;
        let mapped: BTreeSet<_> = self.routes.entries().cloned().collect();
        let mut rooms = Arc::unwrap_or_clone(rooms);
        rooms.retain(|_, room| {
            let was_mapped = !room.configured.is_empty();
            room.configured.retain(|name| mapped.contains(name));
            !was_mapped || !room.configured.is_empty()
        });
        let routes = Arc::make_mut(&mut self.routes);
        for room in rooms.values() {
            routes.join(room);
        }
        self.rooms = Arc::new(rooms);
        (self.own_user, self.profile, self.linked) = (own_user, profile, linked);
        (self.radio_problems, self.presence) = (radio_problems, presence);
        (self.waits, self.followed) = (waits, followed);
        (self.calendar, self.up) = (calendar, up);
        (self.unparked_at, self.permitted_at) = (unparked_at, permitted_at);
        (self.operator_told, self.started) = (operator_told, started);
    }

    /// Returns the event by which the radio became ready, while it is: for another look at it.
    pub fn ready_radio(&self) -> Option<RadioEvent> {
        let profile = self.profile.as_ref().filter(|_| self.linked)?;
        Some(RadioEvent::Ready(Box::new(RadioProfile::clone(profile))))
    }

    /// Returns the known rooms of the configured names.
    pub fn names(&self) -> &BTreeMap<OwnedRoomOrAliasId, OwnedRoomId> {
        &self.routes.known
    }

    /// Returns this mesh's name in prefixes and event fields.
    pub fn meshnet(&self) -> String {
        self.known_meshnet().unwrap_or(NAMELESS_MESH).to_owned()
    }

    fn known_meshnet(&self) -> Option<&str> {
        let configured = self.config.meshtastic.meshnet_name.as_deref();
        configured
            .or_else(|| self.routes.primary_name())
            .or(self.remembered_meshnet.as_deref())
    }

    fn own_node(&self) -> Option<NodeNum> {
        self.profile.as_ref().map(|it| it.own.num)
    }

    /// Decides on an event, with the results of its lookups.
    pub fn decide(&mut self, event: &Event, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let mut actions = self.verdict(event, facts, now);
        let books = self.books(event, facts, &actions, now);
        self.tell_operator(event, &mut actions);
        actions.extend(books);
        actions
    }

    /// Decides on the event itself.
    fn verdict(&mut self, event: &Event, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match event {
            Event::Radio(event) => self.radio_event(event, facts, now),
            Event::Matrix(event) => self.matrix(event, facts, now),
            Event::Report(report) => self.reported(report, facts, now),
            Event::Chore(chore) => self.chore(*chore, facts, now),
        }
    }

    fn radio_event(&mut self, event: &RadioEvent, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match event {
            RadioEvent::Ready(profile) => self.radio_is_ready(profile, facts, now),
            RadioEvent::Lost { .. } => self.link_is_lost(facts, now),
            RadioEvent::Nodes(nodes) => vec![Action::KeepNodes(nodes.clone())],
            RadioEvent::Ignored { reason } => vec![Action::Ignore(reason)],
            RadioEvent::ChannelUse { .. } => Vec::new(),
            RadioEvent::Text(packet) => self.packet(packet, facts, now),
        }
    }

    fn matrix(&mut self, event: &MatrixEvent, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match event {
            MatrixEvent::Joined(room) => self.joined(room),
            MatrixEvent::NameMoved { name, room } => self.name_moved(name, room),
            MatrixEvent::Left { room, tombstone } => self.left(room, tombstone.as_ref()),
            MatrixEvent::Avatar(avatar) => vec![Action::KeepAvatar(avatar.clone())],
            MatrixEvent::NoSigns { room } => vec![self.forbid_signs(room)],
            MatrixEvent::Text(text) => self.room_message(text, facts, now),
            MatrixEvent::Reaction(reaction) => self.room_reaction(reaction, facts, now),
            MatrixEvent::Redaction(redaction) => to_mesh::taken_away(redaction, facts),
            MatrixEvent::Edit(edit) => self.room_edit(edit, facts, now),
            MatrixEvent::Undecryptable {
                event,
                sender_power,
                sent_at,
            } => vec![self.undecryptable(event, *sender_power, *sent_at, facts)],
            MatrixEvent::Banned {
                room,
                user,
                sent_at,
                stands,
                ..
            } => self.banned(room, user, *sent_at, *stands && !facts.already_seen),
            MatrixEvent::Own {
                room,
                event: id,
                transaction,
                relay_id,
                ..
            } => {
                let came_back = match (transaction, relay_id) {
                    (Some(transaction), _) => {
                        Some(Action::CameBack(transaction.clone(), id.clone()))
                    }
                    // The homeserver has forgotten the transaction.
                    (None, Some(relay_id)) => {
                        Some(Action::PostCameBack(relay_id.clone(), id.clone()))
                    }
                    (None, None) => None,
                };
                let other = self.other_relay(event, facts);
                let other = other.map(|it| Action::OtherRelay(it, room.clone()));
                came_back.into_iter().chain(other).collect()
            }
            MatrixEvent::Synced(synced) => self.synced(synced, now),
        }
    }
}

#[cfg(test)]
mod tests;
