//! Fixtures of the bridge's tests: a bridge with rooms and a radio, a packet, a message.

use super::{Action, Bridge, DropReason, Facts, Refused, RenamedChannel, RouteProblem};
use relay_config::{ChannelRef, Config, Connection, Direction, LongMessages, MappedRoom};
use relay_model::{
    Channel, ChannelIndex, ChannelRole, Destination, Draft, Event, Fingerprint, Heading,
    JoinedRoom, MatrixEvent, MeshContent, MessagePair, Node, NodeNum, Origin, OwnedEventId,
    OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, PacketId, RadioEvent, RadioPayload, RadioProfile,
    RadioText, RoomContent, RoomReaction, RoomText, RoomTextKind, Sign, TextPort, Timestamp,
};

pub(super) const NOON: Timestamp = Timestamp(1_750_000_000_000);
pub(super) const OWN: NodeNum = NodeNum(0x0BAD_CAFE);
pub(super) const BOB: NodeNum = NodeNum(0xB0B0_0001);
pub(super) const ROOM: &str = "!club:example.org";
pub(super) const OTHER_ROOM: &str = "!search:example.org";

pub(super) fn user(id: &str) -> OwnedUserId {
    OwnedUserId::try_from(id).unwrap()
}

pub(super) fn alice() -> OwnedUserId {
    user("@alice:example.org")
}

pub(super) fn bot() -> OwnedUserId {
    user("@bot:example.org")
}

pub(super) fn event(id: &str) -> OwnedEventId {
    OwnedEventId::try_from(id).unwrap()
}

pub(super) fn room(id: &str) -> OwnedRoomId {
    OwnedRoomId::try_from(id).unwrap()
}

pub(super) fn named(id: &str) -> OwnedRoomOrAliasId {
    OwnedRoomOrAliasId::try_from(id).unwrap()
}

pub(super) fn slot(index: u32) -> ChannelIndex {
    ChannelIndex::try_from(index).unwrap()
}

pub(super) fn route(id: &str, channel: u32, direction: Direction) -> MappedRoom {
    MappedRoom {
        id: named(id),
        via: Vec::new(),
        meshtastic_channel: ChannelRef::Index(slot(channel)),
        direction,
        appearance: relay_config::Appearance::default(),
    }
}

/// One room on channel 0, one on channel 1.
pub(super) fn config() -> Config {
    config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(OTHER_ROOM, 1, Direction::Both),
    ])
}

pub(super) fn config_with(rooms: Vec<MappedRoom>) -> Config {
    let connection = Connection::Tcp {
        host: "127.0.0.1".into(),
        port: 4403,
    };
    Config::new(connection, rooms)
}

pub(super) fn channel(index: u32, name: &str, role: ChannelRole) -> Channel {
    Channel {
        index: slot(index),
        name: name.into(),
        role,
        fingerprint: (role != ChannelRole::Disabled).then(|| print_of(name)),
    }
}

/// The fingerprint of a channel of that name; all have the same key.
pub(super) fn print_of(name: &str) -> Fingerprint {
    let mut print = [0; 32];
    for (place, byte) in print.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    Fingerprint(print)
}

pub(super) fn profile() -> RadioProfile {
    RadioProfile {
        own: Node::unknown(OWN),
        firmware: "2.7.26".into(),
        channels: vec![
            channel(0, "LongFast", ChannelRole::Primary),
            channel(1, "Search", ChannelRole::Secondary),
            channel(2, "", ChannelRole::Disabled),
            channel(3, "admin", ChannelRole::Secondary),
        ],
        hop_limit: 3,
        region_set: true,
        transmit_enabled: true,
        reboot_count: 1,
        setup: relay_model::RadioSetup::default(),
        locked: false,
    }
}

pub(super) fn joined(id: &str) -> JoinedRoom {
    JoinedRoom {
        room: room(id),
        configured: vec![named(id)],
        name: "Club".into(),
        own_name: "Relay Bot".into(),
        encrypted: false,
        public: false,
        may_mention_room: false,
        may_write: true,
        tombstone: None,
        predecessor: None,
        may_react: true,
    }
}

/// A bridge with its rooms joined and its radio ready.
pub(super) fn bridge_of(config: Config) -> Bridge {
    let mut bridge = bridge_alone(config);
    ready(&mut bridge, profile());
    for id in [ROOM, OTHER_ROOM] {
        join(&mut bridge, joined(id));
    }
    bridge
}

/// A bridge without rooms and radio.
pub(super) fn bridge_alone(config: Config) -> Bridge {
    Bridge::new(config, Some(bot()))
}

pub(super) fn bridge() -> Bridge {
    bridge_of(config())
}

pub(super) fn ready(bridge: &mut Bridge, profile: RadioProfile) {
    let event = Event::Radio(RadioEvent::Ready(Box::new(profile)));
    bridge.decide(&event, &Facts::default(), NOON);
}

pub(super) fn join(bridge: &mut Bridge, room: JoinedRoom) {
    let event = Event::Matrix(MatrixEvent::Joined(room));
    bridge.decide(&event, &Facts::default(), NOON);
}

impl Bridge {
    pub(super) fn route_problems(&self) -> Vec<RouteProblem> {
        self.routes.problems()
    }

    pub(super) fn renamed_channels(&self) -> &[RenamedChannel] {
        &self.routes.renamed
    }

    pub(super) fn silence(&self) -> Option<Refused> {
        self.radio_problems.silence
    }
}

/// A text of Bob on channel 0.
pub(super) fn packet(text: &str) -> RadioText {
    RadioText {
        sender: Node {
            long_name: Some("Bob".into()),
            short_name: Some("BOB1".into()),
            ..Node::unknown(BOB)
        },
        packet: PacketId(77),
        destination: Destination::Channel(ChannelIndex::PRIMARY),
        channel_name: "LongFast".into(),
        fingerprint: Some(print_of("LongFast")),
        port: TextPort::Text,
        port_name: "TEXT_MESSAGE_APP".into(),
        text: text.into(),
        reply_to: None,
        is_reaction: false,
        heard_at: NOON,
        hops: Some(2),
        relayed_by: None,
        snr: Some(6.25),
        rssi: Some(-90),
        via_mqtt: false,
        ok_to_mqtt: false,
        replayed: false,
    }
}

/// A text of Alice in [`ROOM`].
pub(super) fn message(body: &str) -> RoomText {
    RoomText {
        room: room(ROOM),
        event: event("$message"),
        sender: alice(),
        sender_name: "Alice".into(),
        sender_power: 0,
        sent_at: NOON,
        kind: RoomTextKind::Text,
        body: body.into(),
        reply_to: None,
        thread: None,
        relay: None,
        suppress: false,
        in_clear: false,
    }
}

/// Alice's reaction on `$target` in [`ROOM`].
pub(super) fn reaction(key: &str) -> RoomReaction {
    RoomReaction {
        room: room(ROOM),
        event: event("$reaction"),
        sender: alice(),
        sender_name: "Alice".into(),
        sender_power: 0,
        sent_at: NOON,
        target: event("$target"),
        key: key.into(),
        suppress: false,
    }
}

/// Bob's packet 50 on channel 0, and the event `$target` in [`ROOM`] that stands for it.
pub(super) fn pair() -> MessagePair {
    MessagePair {
        origin: Origin::Mesh,
        sender: BOB,
        packet: PacketId(50),
        destination: Destination::Channel(ChannelIndex::PRIMARY),
        channel: Some(print_of("LongFast")),
        room: named(ROOM),
        event: Some(event("$target")),
        thread: None,
        author: None,
        text: "is anybody there?".into(),
        alert: false,
        part: 0,
        at: NOON,
    }
}

/// Alice's `$target`, and our packet 60 that stands for it.
pub(super) fn pair_of_alice() -> MessagePair {
    MessagePair {
        origin: Origin::Matrix,
        sender: OWN,
        packet: PacketId(60),
        author: Some(alice()),
        ..pair()
    }
}

pub(super) fn knowing(target: Vec<MessagePair>) -> Facts {
    Facts {
        target,
        ..Facts::default()
    }
}

pub(super) fn heard(bridge: &mut Bridge, packet: &RadioText, facts: &Facts) -> Vec<Action> {
    let event = Event::Radio(RadioEvent::Text(Box::new(packet.clone())));
    bridge.verdict(&event, facts, NOON)
}

pub(super) fn said(bridge: &mut Bridge, text: &RoomText, facts: &Facts) -> Vec<Action> {
    let event = Event::Matrix(MatrixEvent::Text(Box::new(text.clone())));
    bridge.verdict(&event, facts, NOON)
}

pub(super) fn reacted(bridge: &mut Bridge, reaction: &RoomReaction, facts: &Facts) -> Vec<Action> {
    let event = Event::Matrix(MatrixEvent::Reaction(Box::new(reaction.clone())));
    bridge.verdict(&event, facts, NOON)
}

/// Returns the texts posted to rooms, without notices: room, prefix and text.
pub(super) fn posted(actions: &[Action]) -> Vec<(String, String)> {
    let texts = actions.iter().filter_map(|action| match action {
        Action::ToRoom { message, .. } => match &message.content {
            RoomContent::Text {
                prefix,
                text,
                suppress: false,
                ..
            } => Some((message.room.to_string(), format!("{prefix}{text}"))),
            _ => None,
        },
        _ => None,
    });
    texts.collect()
}

/// Returns the bot's notices.
pub(super) fn notices(actions: &[Action]) -> Vec<String> {
    let texts = actions.iter().filter_map(|action| match action {
        Action::ToRoom { message, .. } => match &message.content {
            RoomContent::Text {
                notice: true,
                text,
                suppress: true,
                ..
            } => Some(text.clone()),
            _ => None,
        },
        _ => None,
    });
    texts.collect()
}

/// Returns the packets for the mesh.
pub(super) fn on_air(actions: &[Action]) -> Vec<RadioPayload> {
    on_air_by(actions, &config().meshtastic.long_messages)
}

/// Returns the packets for the mesh, made under these settings for long messages.
pub(super) fn on_air_by(actions: &[Action], rules: &LongMessages) -> Vec<RadioPayload> {
    let packets = actions.iter().filter_map(|action| match action {
        Action::ToMesh(message) => Some(packets(&message.content, rules)),
        _ => None,
    });
    packets.flatten().collect()
}

fn packets(content: &MeshContent, rules: &LongMessages) -> Vec<RadioPayload> {
    match content {
        MeshContent::Packet(payload) => vec![payload.clone()],
        MeshContent::Text(draft) => rendered(draft, rules),
    }
}

/// Returns the packets of a text that is sent at once; the first carries the relation.
pub(super) fn rendered(draft: &Draft, rules: &LongMessages) -> Vec<RadioPayload> {
    let mut reply_to = draft.reply_to;
    let texts = super::render(draft, None, rules).all().into_iter();
    let packets = texts.map(|text| RadioPayload::Text {
        text,
        reply_to: reply_to.take(),
    });
    packets.collect()
}

/// Alice's text, in one packet.
pub(super) fn draft(text: &str) -> Draft {
    Draft {
        heading: Heading {
            prefix: "Alice[M]: ".into(),
            label: "Alice".into(),
        },
        text: text.into(),
        packets: 1,
        ..Draft::default()
    }
}

/// Returns the texts for the mesh.
pub(super) fn spoken(actions: &[Action]) -> Vec<String> {
    let texts = on_air(actions).into_iter().filter_map(|it| match it {
        RadioPayload::Text { text, .. } => Some(text),
        RadioPayload::Tapback { .. } => None,
    });
    texts.collect()
}

/// Only the action that nothing is relayed.
pub(super) fn dropped(reason: DropReason) -> Vec<Action> {
    vec![Action::Drop(reason)]
}

/// Returns why a message was refused, if it was.
pub(super) fn refused(actions: &[Action]) -> Option<Refused> {
    match actions.first() {
        Some(Action::Drop(DropReason::Refused(refused))) => Some(*refused),
        _ => None,
    }
}

/// The sign on Alice's message.
pub(super) fn signed(sign: Sign) -> Action {
    Action::Sign(room(ROOM), event("$message"), sign)
}

/// Alice's reply to `$target` in [`ROOM`].
pub(super) fn reply(body: &str) -> RoomText {
    RoomText {
        reply_to: Some(event("$target")),
        ..message(body)
    }
}

/// Alice's message of another kind in [`ROOM`].
pub(super) fn of_kind(kind: RoomTextKind, body: &str) -> RoomText {
    RoomText {
        kind,
        ..message(body)
    }
}
