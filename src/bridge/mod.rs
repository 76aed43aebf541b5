//! The bridge's decisions: an event and the facts about it in, actions out. No I/O, no clock, no await.
//!
//! [`Bridge::questions`] says what has to be looked up for an event, [`Bridge::decide`] what is to be done. What the bridge
//! keeps in memory it is told again after a restart: the radio as it is set up, and the rooms that are joined.

mod action;
mod backlog;
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
mod relation;
mod route;
mod split;
mod succession;
#[cfg(test)]
mod testing;
mod text;
mod to_matrix;
mod to_mesh;

pub use action::{Action, Change};
pub use backlog::{OUTAGE, is_backlog, with_age};
pub use dropped::DropReason;
pub use echo::author_of;
pub use facts::{Facts, Questions, Reported, SeenKey, Target};
pub use feedback::{Fate, SHOWN_WAITING_AFTER};
pub use late::Unread;
pub use notice::Refused;

pub use route::{RenamedChannel, RouteProblem, Spot};
pub use split::{Fitted, Heading, PACKET_BYTES, REPLY_BYTES, fit};
pub use succession::{Mapping, Succession, Waiting};

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Config;
use crate::model::{
    Channel, Event, Expired, Lane, MatrixEvent, MeshSource, NodeNum, OwnedRoomId,
    OwnedRoomOrAliasId, OwnedUserId, RadioEvent, RadioOutcome, RadioProfile, RoomEdit, RoomId,
    RoomMessage, RoomText, SendReport, Timestamp,
};
use lesson::Lesson;
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

    /// Takes note of the room that a name of the configuration stood for in an earlier run: used until it is known for which
    /// it stands now. What is for it and what is said of its messages belongs there from the first moment on.
    pub fn remember_room(&mut self, name: OwnedRoomOrAliasId, room: OwnedRoomId) {
        self.routes.remember(name, room);
    }

    /// Takes note of the rooms whose place others take, with the names that the configuration has for those: what was said
    /// in them before goes their way.
    pub fn succeed(&mut self, heirs: BTreeMap<OwnedRoomId, OwnedRoomOrAliasId>) {
        self.routes.succeed(heirs);
    }

    /// Returns where what a room has waiting for a channel goes once the radio has these channels; with `bound`, to its
    /// channel or nowhere. `None`: those that it has, and nothing goes elsewhere until a radio has told them in this run.
    ///
    /// # Errors
    ///
    /// The channel cannot be used any more.
    pub fn moved(
        &self,
        room: &RoomId,
        from: Spot,
        bound: bool,
        channels: Option<&[Channel]>,
    ) -> Result<Spot, Refused> {
        let told = self.profile.as_ref().filter(|it| !it.locked);
        match channels.or(told.map(|it| it.channels.as_slice())) {
            Some(channels) => self.routes.moved(room, from, bound, channels),
            None => Ok(from),
        }
    }

    /// Tells the sender of a message that waited why it does not go on the air after all.
    #[must_use]
    pub fn refuse_waiting(
        &self,
        source: &MeshSource,
        refused: Refused,
        told: &[String],
        now: Timestamp,
    ) -> Vec<Action> {
        let lesson = Lesson::Refused(refused);
        self.say(lesson, about(source), told, now)
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

    /// Returns the channels mapped by their number that have another name than the radio told before, and the mapped ones that
    /// have another key, to be reported after [`RadioEvent::Ready`]: they are other channels.
    #[must_use]
    pub fn renamed_channels(&self) -> &[RenamedChannel] {
        self.routes.renamed()
    }

    /// Returns why the radio transmits nothing, with the cure, as far as it has told; `None` if it transmits.
    #[must_use]
    pub fn silence(&self) -> Option<Refused> {
        policy::check_radio(&self.config, self.profile.as_ref()).err()
    }

    /// Returns the notice that tells a room of what expired in it.
    #[must_use]
    pub fn expired_notice(&self, expired: &Expired, now: Timestamp) -> RoomMessage {
        backlog::expired_notice(&self.config, expired, now)
    }

    /// Returns after how long without the radio its rooms are told; `None`: never.
    #[must_use]
    pub fn radio_notices(&self) -> Option<Duration> {
        self.config.matrix.radio_notices
    }

    /// Returns the notice that tells a room that the radio is away.
    #[must_use]
    pub fn away_notice(&self, room: &OwnedRoomId, since: Timestamp, now: Timestamp) -> RoomMessage {
        let longest = self
            .check_room(room)
            .is_ok()
            .then_some(self.config.meshtastic.max_message_age);
        outage::away_notice(room, now.since(since), longest, now)
    }

    /// Returns the notice that tells a room that the radio is back.
    #[must_use]
    pub fn back_notice(
        &self,
        room: &OwnedRoomId,
        since: Timestamp,
        back: Timestamp,
    ) -> RoomMessage {
        outage::back_notice(room, since, back)
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
                // A locked radio does not tell its channels: they are as they were.
                if !profile.locked {
                    self.routes.follow(profile.channels.clone());
                }
                self.profile = Some((**profile).clone());
                Vec::new()
            }
            RadioEvent::Text(packet) => self.packet(packet, facts, now),
            RadioEvent::Lost { .. }
            | RadioEvent::Nodes(_)
            | RadioEvent::Ignored { .. }
            | RadioEvent::ChannelUse { .. } => Vec::new(),
        }
    }

    fn matrix(&mut self, event: &MatrixEvent, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match event {
            MatrixEvent::Joined(room) => {
                self.routes.join(room);
                Vec::new()
            }
            MatrixEvent::AliasMoved { alias, room } => {
                self.routes.alias(alias, room);
                Vec::new()
            }
            MatrixEvent::Text(text) => {
                let text = &own_words(text, facts);
                let edit = facts.early_edit.as_ref();
                match edit.and_then(|edit| Self::changed_early(text, edit)) {
                    Some(changed) => self.room_message(&changed, facts, now),
                    None => self.room_message(text, facts, now),
                }
            }
            MatrixEvent::Reaction(reaction) => self.room_reaction(reaction, facts, now),
            MatrixEvent::Redaction(redaction) => vec![Action::Withdraw {
                room: redaction.room.clone(),
                event: redaction.target.clone(),
            }],
            MatrixEvent::Edit(edit) => {
                let new = own_words(&edit.new, facts).into_owned();
                let target = edit.target.clone();
                self.room_edit(&RoomEdit { target, new }, facts, now)
            }
            MatrixEvent::Undecryptable {
                room,
                sender,
                sender_power,
                ..
            } => vec![self.undecryptable(room, sender, *sender_power, facts)],
            MatrixEvent::Banned { room, user } => vec![Action::WithdrawSender {
                room: room.clone(),
                sender: user.clone(),
            }],
            MatrixEvent::Left { .. } | MatrixEvent::Own { .. } => Vec::new(),
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
                self.refuse_waiting(&reported.source, (*refusal).into(), &facts.told, now)
            }
        }
    }
}

/// Returns a message as what its sender says: where a person has forwarded a post of ours, clients copy the fields of a relay
/// along, and they make no relay of that person.
fn own_words<'a>(text: &'a RoomText, facts: &Facts) -> Cow<'a, RoomText> {
    if !facts.is_our_post {
        return Cow::Borrowed(text);
    }
    Cow::Owned(RoomText {
        relay: None,
        ..text.clone()
    })
}

fn about(source: &MeshSource) -> About<'_> {
    About {
        room: &source.room,
        event: &source.event,
        thread: source.thread.as_ref(),
        sender: &source.sender,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::*;
    use super::*;
    use crate::model::{
        MeshRowId, NodeNum, PacketId, RadioText, Refusal, Relayed, RoomContent, RoomRedaction,
        RoomText,
    };

    fn report(outcome: RadioOutcome) -> Event {
        Event::Report(SendReport::Radio {
            outbox: MeshRowId(1),
            packet: PacketId(60),
            outcome,
        })
    }

    fn behind_a_row(lane: Lane) -> Facts {
        Facts {
            reported: Some(Box::new(Reported {
                source: MeshSource {
                    room: room(ROOM),
                    event: event("$message"),
                    thread: None,
                    sender: alice(),
                    sent_at: NOON,
                    text: "hi".into(),
                    alert: false,
                },
                lane,
            })),
            ..Facts::default()
        }
    }

    #[test]
    fn what_the_radio_refused_is_told_once_and_a_tapback_only_counted() {
        let refused = report(RadioOutcome::Refused(Refusal::NoChannel));
        let mut facts = behind_a_row(Lane::Message);
        let actions = bridge().decide(&refused, &facts, NOON);
        assert_eq!(
            notices(&actions),
            [Refused::NoChannel.explanation(&config())]
        );
        facts.told = Bridge::notices_about(&facts.reported.as_ref().unwrap().source);
        assert_eq!(bridge().decide(&refused, &facts, NOON), []);
        let tapback = behind_a_row(Lane::Reaction);
        assert_eq!(bridge().decide(&refused, &tapback, NOON), []);
        let nobody = Facts::default();
        assert_eq!(bridge().decide(&refused, &nobody, NOON), []);
        let heard = report(RadioOutcome::Heard);
        assert_eq!(
            bridge().decide(&heard, &behind_a_row(Lane::Message), NOON),
            []
        );
    }

    #[test]
    fn a_redaction_withdraws_what_is_queued_of_its_own_room() {
        let redaction = Event::Matrix(MatrixEvent::Redaction(Box::new(RoomRedaction {
            room: room(ROOM),
            event: event("$redaction"),
            sender: alice(),
            target: event("$message"),
        })));
        assert_eq!(
            bridge().decide(&redaction, &Facts::default(), NOON),
            [Action::Withdraw {
                room: room(ROOM),
                event: event("$message"),
            }]
        );
    }

    /// Every name that a decision remembers is one that is asked for.
    #[test]
    fn what_is_remembered_is_asked_for() {
        let mut bridge = bridge();
        let text = Event::Matrix(MatrixEvent::Text(Box::new(message(&"x".repeat(900)))));
        let direct = Event::Radio(RadioEvent::Text(Box::new(RadioText {
            destination: crate::model::Destination::Direct(OWN),
            ..packet("psst")
        })));
        for event in [text, direct] {
            let asked = bridge.questions(&event, NOON).told;
            let remembered: Vec<String> = bridge
                .decide(&event, &Facts::default(), NOON)
                .into_iter()
                .filter_map(|action| match action {
                    Action::Remember { what, .. } => Some(what),
                    _ => None,
                })
                .collect();
            assert!(!remembered.is_empty());
            assert!(remembered.iter().all(|it| asked.contains(it)));
        }
    }

    #[test]
    fn a_packet_without_id_is_never_looked_up_as_a_duplicate() {
        let event = |id: u32| {
            Event::Radio(RadioEvent::Text(Box::new(RadioText {
                packet: PacketId(id),
                reply_to: Some(PacketId(id)),
                ..packet("hi")
            })))
        };
        let none = bridge().questions(&event(0), NOON);
        assert_eq!((none.seen, none.target), (None, None));
        let some = bridge().questions(&event(5), NOON);
        assert_eq!(
            some.seen,
            Some(SeenKey::Packet {
                sender: BOB,
                packet: PacketId(5)
            })
        );
        assert_eq!(
            some.target,
            Some(Target::Packet {
                channel: Some(print_of("LongFast")),
                packet: PacketId(5)
            })
        );
    }

    /// Returns what the rooms see of a packet: body and fields.
    fn seen_in_room(actions: &[Action]) -> Option<RoomText> {
        actions.iter().find_map(|action| match action {
            Action::ToRoom { message: sent, .. } => match &sent.content {
                RoomContent::Text {
                    prefix,
                    text,
                    fields,
                    suppress,
                    ..
                } => Some(RoomText {
                    relay: fields.clone(),
                    suppress: *suppress,
                    ..message(&format!("{prefix}{text}"))
                }),
                _ => None,
            },
            _ => None,
        })
    }

    proptest! {
        #[test]
        fn what_we_sent_to_the_mesh_is_never_bridged_back(
            body in "[ -~äß👍漢\n]{1,400}",
            name in "[ -~äß]{0,20}",
        ) {
            let mut bridge = bridge();
            let text = RoomText { sender_name: name, ..message(&body) };
            let sent = said(&mut bridge, &text, &Facts::default());
            for part in spoken(&sent) {
                let mut heard_again = packet(&part);
                heard_again.sender.num = OWN;
                let ours = Facts { sent_by_us: true, ..Facts::default() };
                prop_assert_eq!(
                    heard(&mut bridge, &heard_again, &ours),
                    [Action::Drop(DropReason::OwnPacket)]
                );
            }
        }

        #[test]
        fn what_another_relay_repeats_on_the_mesh_is_never_bridged_back(
            body in "[a-z][ -~äß漢]{10,120}[a-z]",
            prefix in "(\\[Alice/[A-Za-z]{1,8}\\]: |Alice: |\\[Alice\\]: |<Alice> |Ali\\[M\\]: )",
        ) {
            let mut bridge = bridge();
            let message = message(&body);
            let sent = said(&mut bridge, &message, &Facts::default());
            let Some(ours) = spoken(&sent).pop() else { return Ok(()) };
            let relayed = Relayed {
                author: author_of(&message),
                node: None,
                text: body.clone(),
                carried: ours.clone(),
            };
            let facts = Facts { relayed: vec![relayed], ..Facts::default() };
            for echo in [ours, format!("{prefix}{body}")] {
                prop_assert_eq!(
                    heard(&mut bridge, &packet(&echo), &facts),
                    [Action::Drop(DropReason::Echo)]
                );
            }
        }

        #[test]
        fn what_we_posted_is_never_transmitted_again(body in "[a-z][ -~äß👍漢\n]{0,200}") {
            let mut config = config();
            config.matrix.trusted_relays = vec![alice()];
            let mut bridge = bridge_of(config);
            let actions = heard(&mut bridge, &packet(&body), &Facts::default());
            let Some(posted) = seen_in_room(&actions) else { return Ok(()) };
            // By our own account, and word for word by another relay's that is trusted.
            let own = RoomText { sender: bot(), ..posted.clone() };
            prop_assert_eq!(
                said(&mut bridge, &own, &Facts::default()),
                [Action::Drop(DropReason::OwnEvent)]
            );
            prop_assert_eq!(
                said(&mut bridge, &posted, &Facts::default()),
                [Action::Drop(DropReason::SameMeshnet)]
            );
        }

        #[test]
        fn notices_of_the_bot_are_never_transmitted(long in 700_usize..2000) {
            let mut bridge = bridge();
            let actions = said(&mut bridge, &message(&"x".repeat(long)), &Facts::default());
            let notice = seen_in_room(&actions).unwrap();
            prop_assert_eq!(
                said(&mut bridge, &notice, &Facts::default()),
                [Action::Drop(DropReason::Suppressed)]
            );
        }

        #[test]
        fn a_packet_of_any_node_is_asked_for_without_a_panic(num in any::<u32>(), text in any::<String>()) {
            let mut bridge = bridge();
            let mut any = packet(&text);
            any.sender.num = NodeNum(num);
            let event = Event::Radio(RadioEvent::Text(Box::new(any)));
            let questions = bridge.questions(&event, NOON);
            prop_assert!(questions.told.len() == 1);
            prop_assert!(!bridge.decide(&event, &Facts::default(), NOON).is_empty());
        }
    }
}
