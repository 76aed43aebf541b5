//! The bridge's decisions: an event and the facts about it in, actions out. No I/O, no clock, no await.
//!
//! [`Bridge::questions`] says what has to be looked up for an event, [`Bridge::decide`] what is to be done. What the bridge
//! keeps in memory it is told again after a restart: the radio as it is set up, and the rooms that are joined.

mod action;
mod backlog;
mod books;
mod calendar;
mod chores;
mod command;
mod dropped;
mod echo;
mod facts;
mod feedback;
mod format;
mod late;
mod lesson;
mod notice;
mod outage;
mod policy;
mod questions;
mod radio;
mod relation;
mod render;
mod rooms;
mod route;
mod split;
mod succession;
#[cfg(test)]
mod testing;
mod text;
mod to_matrix;
mod to_mesh;

pub use action::{Action, GivenUp, Held, OutageStep, WhyGivenUp};
pub use backlog::{GATHERING, mesh_order};
pub use chores::MANY_ROWS;
pub use dropped::DropReason;
pub use facts::{Facts, Questions, SeenKey, Table, Target};
pub use notice::Refused;
pub use radio::{RadioProblems, Readiness};
pub use render::render;
pub use route::{RenamedChannel, RouteProblem, Spot};
pub use split::{PACKET_BYTES, Packets};
pub use succession::Waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use calendar::Calendar;
use outage::Presence;
use relay_config::Config;
use relay_model::{
    Channel, Event, JoinedRoom, MatrixEvent, NodeNum, OwnedRoomId, OwnedRoomOrAliasId,
    OwnedTransactionId, OwnedUserId, RadioEvent, RadioProfile, Timestamp,
};
use route::Routes;

/// The mesh's name as long as none is known.
const NAMELESS_MESH: &str = "Meshtastic";

/// The bridge: its settings, and what it was told of the radio and the rooms. A decision changes it, so a transaction works
/// on a copy, and keeps that once it is committed. What is large is shared with the copy until it changes.
#[derive(Debug, Clone)]
pub struct Bridge {
    config: Arc<Config>,
    own_user: Option<OwnedUserId>,
    /// The radio that is attached, or was last.
    radio: NodeNum,
    profile: Option<Arc<RadioProfile>>,
    radio_problems: RadioProblems,
    presence: Presence,
    routes: Arc<Routes>,
    remembered_meshnet: Option<String>,
    /// The rooms that we are in.
    rooms: Arc<BTreeMap<OwnedRoomId, JoinedRoom>>,
    /// Aliases that stand for their rooms still, though those are replaced.
    kept: BTreeMap<OwnedRoomOrAliasId, OwnedRoomId>,
    /// What rooms wait for, as it was said.
    waits: BTreeMap<OwnedRoomId, Waiting>,
    /// Since when nothing is sent to rooms whose place others take, as far as something was sent there in this run.
    followed: BTreeMap<OwnedRoomId, Timestamp>,
    calendar: Calendar,
    /// How long the relay has run, as of the last round;
    up: Duration,
    /// when parked rooms got their last try,
    unparked_at: Duration,
    /// and when rooms did that refused a sign.
    permitted_at: Duration,
    operator_told: Arc<BTreeSet<(&'static str, String)>>,
}

impl Bridge {
    /// Makes a bridge that knows no radio and no room yet. `own_user` is the account of the bot, if there is a session.
    pub fn new(config: Config, own_user: Option<OwnedUserId>) -> Self {
        Self {
            routes: Arc::new(Routes::new(config.matrix_rooms.clone())),
            config: Arc::new(config),
            own_user,
            radio: NodeNum(0),
            profile: None,
            radio_problems: RadioProblems::default(),
            presence: Presence::default(),
            remembered_meshnet: None,
            rooms: Arc::default(),
            kept: BTreeMap::new(),
            waits: BTreeMap::new(),
            followed: BTreeMap::new(),
            calendar: Calendar::default(),
            up: Duration::ZERO,
            unparked_at: Duration::ZERO,
            permitted_at: Duration::ZERO,
            operator_told: Arc::default(),
        }
    }

    /// Takes note of the bot's account, after a login.
    pub fn remember_own_user(&mut self, user: OwnedUserId) {
        self.own_user = Some(user);
    }

    /// Returns the radio that is attached, or was last.
    pub fn radio(&self) -> NodeNum {
        self.radio
    }

    /// Takes note of the mesh's name in an earlier run, used until a radio tells its own.
    pub fn remember_meshnet(&mut self, name: Option<String>) {
        self.remembered_meshnet = name;
    }

    /// Takes note of the radio of an earlier run and its channels, used until a radio tells its own. Without them a channel
    /// mapped by name cannot be found while the radio is away.
    pub fn remember_radio(&mut self, radio: NodeNum, channels: Vec<Channel>) {
        self.radio = radio;
        Arc::make_mut(&mut self.routes).follow(channels);
    }

    /// Takes note of the room that a name of the configuration stood for in an earlier run: used until it is known for which
    /// it stands now. What is for it and what is said of its messages belongs there from the first moment on.
    pub fn remember_room(&mut self, name: OwnedRoomOrAliasId, room: OwnedRoomId) {
        let routes = Arc::make_mut(&mut self.routes);
        routes.known.entry(name).or_insert(room);
    }

    /// Returns the rooms that the names of the configuration stand for, as far as that was ever known.
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

    /// Decides what is to be done about an event, given what is known of it.
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
            MatrixEvent::AliasMoved { alias, room } => self.alias_moved(alias, room),
            MatrixEvent::AliasKept { alias, room } => self.alias_kept(alias, room),
            MatrixEvent::Left { room, tombstone } => self.left(room, tombstone.as_ref()),
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
                event, transaction, ..
            } => {
                let came_back =
                    |it: &OwnedTransactionId| Action::CameBack(it.clone(), event.clone());
                transaction.iter().map(came_back).collect()
            }
            MatrixEvent::Synced(synced) => self.synced(synced, now),
        }
    }
}

#[cfg(test)]
mod tests;
