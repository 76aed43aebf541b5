//! The bridge's decisions: an event and the facts about it in, actions out. No I/O, no clock, no await.
//!
//! [`Bridge::questions`] says what has to be looked up for an event, [`Bridge::decide`] what is to be done. What the bridge
//! keeps in memory it is told again after a restart: the radio as it is set up, and the rooms that are joined.

mod action;
mod facts;
mod format;
mod notice;
mod policy;
mod questions;
mod relation;
mod route;
mod split;
mod text;
mod to_matrix;
mod to_mesh;

pub use action::{Action, MeshSource, NewPair};
pub use facts::{Facts, Questions, Reported, SeenKey, Target};
pub use notice::Refused;
pub use policy::DropReason;
pub use route::RouteProblem;
pub use split::{Fitted, Heading, PACKET_BYTES, REPLY_BYTES, fit};

use crate::config::Config;
use crate::model::{
    Channel, Event, Lane, MatrixEvent, NodeNum, OwnedUserId, RadioEvent, RadioOutcome,
    RadioProfile, SendReport, Timestamp,
};
use notice::About;
use route::Routes;

/// The mesh's name as long as none is known.
const NAMELESS_MESH: &str = "Meshtastic";

/// The bridge: its settings, and what it was told of the radio and the rooms.
#[derive(Debug)]
pub struct Bridge {
    config: Config,
    own_user: Option<OwnedUserId>,
    profile: Option<RadioProfile>,
    routes: Routes,
    remembered_meshnet: Option<String>,
}

impl Bridge {
    /// Makes a bridge that knows no radio and no room yet. `own_user` is the account of the bot, if there is a session.
    #[must_use]
    pub fn new(config: Config, own_user: Option<OwnedUserId>) -> Self {
        Self {
            routes: Routes::new(config.matrix_rooms.clone()),
            config,
            own_user,
            profile: None,
            remembered_meshnet: None,
        }
    }

    /// Takes note of the bot's account, after a login.
    pub fn remember_own_user(&mut self, user: OwnedUserId) {
        self.own_user = Some(user);
    }

    /// Takes note of the mesh's name in an earlier run, used until a radio tells its own.
    pub fn remember_meshnet(&mut self, name: String) {
        self.remembered_meshnet = Some(name);
    }

    /// Takes note of the radio's channels in an earlier run, used until a radio tells its own. Without them a channel
    /// mapped by name cannot be found while the radio is away.
    pub fn remember_channels(&mut self, channels: Vec<Channel>) {
        if self.profile.is_none() {
            self.routes.follow(channels);
        }
    }

    /// Returns this mesh's name in prefixes and event fields.
    #[must_use]
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

    /// Returns the mapped channels that the radio does not have, to be reported after [`RadioEvent::Ready`].
    #[must_use]
    pub fn route_problems(&self) -> Vec<RouteProblem> {
        self.routes.problems()
    }

    /// Returns why the radio transmits nothing, with the cure, as far as it has told; `None` if it transmits.
    #[must_use]
    pub fn silence(&self) -> Option<Refused> {
        policy::check_radio(&self.config, self.profile.as_ref()).err()
    }

    /// Decides what is to be done about an event, given what is known of it.
    pub fn decide(&mut self, event: &Event, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match event {
            Event::Radio(event) => self.radio(event, facts, now),
            Event::Matrix(event) => self.matrix(event, facts, now),
            Event::Report(report) => self.report(report, facts, now),
        }
    }

    fn radio(&mut self, event: &RadioEvent, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match event {
            RadioEvent::Ready(profile) => {
                self.routes.follow(profile.channels.clone());
                self.profile = Some((**profile).clone());
                Vec::new()
            }
            RadioEvent::Text(packet) => self.packet(packet, facts, now),
            RadioEvent::Lost { .. } | RadioEvent::Nodes(_) | RadioEvent::Ignored { .. } => {
                Vec::new()
            }
        }
    }

    fn matrix(&mut self, event: &MatrixEvent, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match event {
            MatrixEvent::Joined(room) => {
                self.routes.join(room);
                Vec::new()
            }
            MatrixEvent::Text(text) => self.room_message(text, facts, now),
            MatrixEvent::Reaction(reaction) => self.room_reaction(reaction, facts, now),
            MatrixEvent::Redaction(redaction) => vec![Action::Withdraw {
                event: redaction.target.clone(),
            }],
            MatrixEvent::Edit(_) if facts.already_seen => vec![Action::Drop(DropReason::Duplicate)],
            MatrixEvent::Edit(_) => vec![Action::Drop(DropReason::Edit)],
            MatrixEvent::Undecryptable { .. } => vec![Action::Drop(DropReason::Undecryptable)],
            MatrixEvent::Own { .. } => Vec::new(),
        }
    }

    /// The sender of a message that the radio refused is told; what the rest of the reports change is in the tables alone.
    fn report(&self, report: &SendReport, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let (
            SendReport::Radio {
                outcome: RadioOutcome::Refused(refusal),
                ..
            },
            Some(reported),
        ) = (report, &facts.reported)
        else {
            return Vec::new();
        };
        match reported.lane {
            // Failed tapbacks are only counted.
            Lane::Reaction => Vec::new(),
            Lane::Urgent | Lane::Message => {
                let about = About {
                    room: &reported.source.room,
                    event: &reported.source.event,
                    thread: reported.source.thread.as_ref(),
                    sender: &reported.source.sender,
                };
                notice::refused(&self.config, (*refusal).into(), about, &facts.told, now)
            }
        }
    }
}
