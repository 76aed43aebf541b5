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
mod moves;
mod notice;
mod outage;
mod policy;
mod questions;
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

pub use action::{Action, Change, GivenUp, Held, OutageStep, RadioProblems, Readiness, WhyGivenUp};
pub use backlog::{GATHERING, finish_by, mesh_order};
pub use chores::MANY_ROWS;
pub use dropped::DropReason;
pub use facts::{Facts, Questions, SeenKey, Table, Target};
pub use notice::Refused;
pub use render::{render, told_age};
pub use route::{RenamedChannel, RouteProblem, Spot};
pub use split::PACKET_BYTES;
pub use succession::Waiting;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::model::{
    Channel, Chore, Event, JoinedRoom, Lane, MatrixEvent, NodeNum, OwnedRoomId, OwnedRoomOrAliasId,
    OwnedUserId, RadioEvent, RadioOutcome, RadioProfile, RoomEdit, RoomRedaction, RoomText,
    SendReport, Timestamp,
};
use calendar::Calendar;
use dropped::Telling;
use outage::Presence;
use route::Routes;

/// The mesh's name as long as none is known.
const NAMELESS_MESH: &str = "Meshtastic";

/// Senders that the operator is told of: a hostile mesh or room can invent any number.
const MOST_TOLD: usize = 1_000;

/// The bridge: its settings, and what it was told of the radio and the rooms. A decision changes it, so a transaction works
/// on a copy, which is cheap, and keeps that once it is committed.
#[derive(Debug, Clone)]
pub struct Bridge {
    config: Arc<Config>,
    own_user: Option<OwnedUserId>,
    /// The radio that is attached, or was last.
    radio: NodeNum,
    profile: Option<RadioProfile>,
    radio_problems: RadioProblems,
    presence: Presence,
    routes: Routes,
    remembered_meshnet: Option<String>,
    /// The rooms that we are in.
    rooms: BTreeMap<OwnedRoomId, JoinedRoom>,
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
    operator_told: BTreeSet<(&'static str, String)>,
}

impl Bridge {
    /// Makes a bridge that knows no radio and no room yet. `own_user` is the account of the bot, if there is a session.
    pub fn new(config: Config, own_user: Option<OwnedUserId>) -> Self {
        Self {
            routes: Routes::new(config.matrix_rooms.clone()),
            config: Arc::new(config),
            own_user,
            radio: NodeNum(0),
            profile: None,
            radio_problems: RadioProblems::default(),
            presence: Presence::default(),
            remembered_meshnet: None,
            rooms: BTreeMap::new(),
            waits: BTreeMap::new(),
            followed: BTreeMap::new(),
            calendar: Calendar::default(),
            up: Duration::ZERO,
            unparked_at: Duration::ZERO,
            permitted_at: Duration::ZERO,
            operator_told: BTreeSet::new(),
        }
    }

    /// Takes note of the bot's account, after a login.
    pub fn remember_own_user(&mut self, user: OwnedUserId) {
        self.own_user = Some(user);
    }

    /// Takes note of the radio of an earlier run.
    pub fn remember_radio(&mut self, radio: NodeNum) {
        self.radio = radio;
    }

    /// Returns the radio that is attached, or was last.
    pub fn radio(&self) -> NodeNum {
        self.radio
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

    /// Returns the rooms that the names of the configuration stand for, as far as that was ever known.
    pub fn names(&self) -> &BTreeMap<OwnedRoomOrAliasId, OwnedRoomId> {
        self.routes.names()
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
        for action in &mut actions {
            if let Action::Drop(reason) = action
                && reason.telling() == Telling::Operator
                && self.tell_operator(*reason, event)
            {
                *action = Action::DropAndTell(*reason);
            }
        }
        actions.extend(books);
        actions
    }

    /// Returns whether the operator has not been told of this sender yet: a person has to act, and knows from one line.
    fn tell_operator(&mut self, reason: DropReason, event: &Event) -> bool {
        self.operator_told.len() < MOST_TOLD
            && self.operator_told.insert((reason.name(), event.sender()))
    }

    /// Decides on the event itself.
    fn verdict(&mut self, event: &Event, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match event {
            Event::Radio(event) => self.radio_event(event, facts, now),
            Event::Matrix(event) => self.matrix(event, facts, now),
            Event::Report(report) => self.report(report, facts, now),
            Event::Chore(chore) => self.chore(*chore, facts, now),
        }
    }

    fn radio_event(&mut self, event: &RadioEvent, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match event {
            RadioEvent::Ready(profile) => self.radio_is_ready(profile, facts, now),
            RadioEvent::Lost { .. } => {
                let mut actions = self.link_is_lost(now);
                if facts.radio_away.is_none() {
                    actions.push(Action::RadioAway(Some(now)));
                }
                actions
            }
            RadioEvent::Nodes(nodes) => vec![Action::KeepNodes(nodes.clone())],
            RadioEvent::Ignored { reason } => vec![Action::Ignore(reason)],
            RadioEvent::ChannelUse { .. } => Vec::new(),
            RadioEvent::Text(packet) => self.packet(packet, facts, now),
        }
    }

    fn radio_is_ready(
        &mut self,
        profile: &RadioProfile,
        facts: &Facts,
        now: Timestamp,
    ) -> Vec<Action> {
        self.radio = profile.own.num;
        let mut actions = vec![Action::UseRadio(self.radio)];
        // A locked radio does not tell its channels: they are as they were.
        if !profile.locked {
            actions.push(Action::KeepChannels(profile.channels.clone()));
            // By the channels as they were: the new ones are learnt after that.
            actions.extend(self.follow_channels(Some(&profile.channels), facts, now));
            self.routes.follow(profile.channels.clone());
        }
        self.profile = Some(profile.clone());
        actions.push(Action::WakeMesh);
        actions.extend(self.link_stands(now));
        let problems = RadioProblems {
            routes: self.routes.problems(),
            silence: policy::check_radio(&self.config, self.profile.as_ref()).err(),
        };
        let before = std::mem::replace(&mut self.radio_problems, problems.clone());
        let is_silent = problems.silence.is_some();
        actions.push(Action::Ready(Box::new(Readiness {
            own: profile.own.clone(),
            firmware: profile.told_firmware().map(str::to_owned),
            meshnet: self.meshnet(),
            renamed: self.routes.renamed().to_vec(),
            news: problems.since(&before),
            problems,
        })));
        if !is_silent {
            actions.extend(self.radio_is_back(facts, now));
        }
        actions
    }

    fn matrix(&mut self, event: &MatrixEvent, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match event {
            MatrixEvent::Joined(room) => self.joined(room),
            MatrixEvent::AliasMoved { alias, room } => self.alias_moved(alias, room),
            MatrixEvent::Left { room, tombstone } => self.left(room, tombstone.as_ref()),
            MatrixEvent::Text(text) => {
                let text = &own_words(text, facts);
                let edit = facts.early_edit.as_ref();
                match edit.and_then(|edit| Self::changed_early(text, edit)) {
                    Some(changed) => self.room_message(&changed, facts, now),
                    None => self.room_message(text, facts, now),
                }
            }
            MatrixEvent::Reaction(reaction) => self.room_reaction(reaction, facts, now),
            MatrixEvent::Redaction(redaction) => taken_away(redaction, facts),
            MatrixEvent::Edit(edit) => {
                let new = own_words(&edit.new, facts).into_owned();
                let target = edit.target.clone();
                self.room_edit(&RoomEdit { target, new }, facts, now)
            }
            MatrixEvent::Undecryptable {
                event,
                sender_power,
                sent_at,
            } => vec![self.undecryptable(event, *sender_power, *sent_at, facts)],
            MatrixEvent::Banned { room, user } => self.banned(room, user),
            MatrixEvent::Own {
                event, transaction, ..
            } => match (facts.own_row, transaction) {
                (Some(row), _) => vec![Action::RoomSent(row, event.clone())],
                (None, Some(transaction)) => {
                    vec![Action::SignSent(transaction.clone(), event.clone())]
                }
                (None, None) => Vec::new(),
            },
            MatrixEvent::Synced(synced) => {
                let Some(account) = self.own_user.clone() else {
                    return Vec::new();
                };
                let reading = synced.clock.as_ref();
                let is_news = reading.is_some_and(|reading| self.calendar.compare(reading));
                let position = Action::Position(account, synced.clone());
                let look = is_news.then_some(Action::LookBy(now));
                std::iter::once(position).chain(look).collect()
            }
        }
    }

    /// The sender of a message that the radio refused is told; the rest is written down alone.
    fn report(&self, report: &SendReport, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let mut actions = vec![Action::Report(report.clone())];
        if let SendReport::Radio {
            outbox, outcome, ..
        } = report
        {
            match (outcome, facts.reported.as_deref()) {
                // Failed tapbacks are only counted.
                (RadioOutcome::Refused(refusal), Some((source, Lane::Urgent | Lane::Message))) => {
                    let refused = Refused::from(*refusal);
                    actions.extend(self.say(refused.into(), source, &facts.told, now));
                }
                // Its channel may be gone.
                (RadioOutcome::Retry { .. }, _) => {
                    actions.push(Action::Next(Chore::Channels(Some(*outbox))));
                }
                _ => {}
            }
        }
        actions
    }
}

impl RadioProblems {
    /// Returns what was not so before: a link may come and go all day.
    fn since(&self, before: &Self) -> Self {
        let is_new = |it: &&RouteProblem| !before.routes.contains(it);
        Self {
            routes: self.routes.iter().filter(is_new).cloned().collect(),
            silence: self.silence.filter(|_| self.silence != before.silence),
        }
    }
}

/// Takes back what waits of an event that was taken away: a message, an edit of one, or what has no key yet.
fn taken_away(redaction: &RoomRedaction, facts: &Facts) -> Vec<Action> {
    let (room, event) = (redaction.room.clone(), redaction.target.clone());
    let mut actions = Vec::new();
    // Anybody can write an edit of somebody else's message, and take it away.
    if let Some((author, correction)) = facts.taken_edit.as_deref()
        && correction.source.sender == *author
    {
        actions.push(Action::TakeEditBack(correction.row, event.clone()));
    }
    actions.push(Action::CloseSigns(room.clone(), event.clone()));
    if facts.kept {
        // The key brings nothing.
        actions.push(Action::TakeUnreadBack(event.clone()));
    }
    actions.push(Action::Withdraw(room, event.clone()));
    actions.push(Action::ForgetEarlyEdit(event));
    actions
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::*;
    use super::*;
    use crate::model::{
        MeshRowId, MeshSource, NodeNum, PacketId, RadioText, Refusal, Relayed, RoomContent,
        RoomRedaction, RoomText,
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
            reported: Some(Box::new((
                MeshSource {
                    room: room(ROOM),
                    event: event("$message"),
                    thread: None,
                    sender: alice(),
                    sent_at: NOON,
                    alert: false,
                },
                lane,
            ))),
            ..Facts::default()
        }
    }

    #[test]
    fn what_the_radio_refused_is_told_once_and_a_tapback_only_counted() {
        let refused = report(RadioOutcome::Refused(Refusal::NoChannel));
        let mut facts = behind_a_row(Lane::Message);
        let actions = bridge().verdict(&refused, &facts, NOON);
        assert_eq!(
            notices(&actions),
            [Refused::NoChannel.explanation(&config())]
        );
        facts.told = lesson::room_names(&room(ROOM)).collect();
        let is_only_noted = |event: &Event, facts: &Facts| {
            let actions = bridge().verdict(event, facts, NOON);
            matches!(actions.as_slice(), [Action::Report(_)])
        };
        assert!(is_only_noted(&refused, &facts));
        assert!(is_only_noted(&refused, &behind_a_row(Lane::Reaction)));
        assert!(is_only_noted(&refused, &Facts::default()));
        let heard = report(RadioOutcome::Heard);
        assert!(is_only_noted(&heard, &behind_a_row(Lane::Message)));
    }

    #[test]
    fn a_redaction_withdraws_what_is_queued_of_its_own_room() {
        let redaction = Event::Matrix(MatrixEvent::Redaction(Box::new(RoomRedaction {
            room: room(ROOM),
            event: event("$redaction"),
            sender: alice(),
            target: event("$message"),
        })));
        let actions = bridge().verdict(&redaction, &Facts::default(), NOON);
        assert!(actions.contains(&Action::Withdraw(room(ROOM), event("$message"))));
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
                .verdict(&event, &Facts::default(), NOON)
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
                author: super::echo::author_of(&message),
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
            prop_assert!(!bridge.verdict(&event, &Facts::default(), NOON).is_empty());
        }
    }
}
