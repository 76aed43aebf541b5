//! Texts and names of strangers, both ways: what people are shown has no character that disguises it, and no packet has one.

use std::sync::LazyLock;

use relay_bridge::{Action, Bridge, Facts};
use relay_config::{Config, Environment};
use relay_model::{
    Channel, ChannelIndex, ChannelRole, Destination, Event, JoinedRoom, MatrixEvent, MeshContent,
    Node, NodeNum, PacketId, RadioEvent, RadioPayload, RadioProfile, RadioSetup, RadioText,
    RoomContent, RoomText, RoomTextKind, TextPort, Timestamp, is_invisible,
};

const NOON: Timestamp = Timestamp(1_750_000_000_000);
const ROOM: &str = "!club:example.org";
const CONFIG: &str = "
matrix_rooms:
  - id: '!club:example.org'
    meshtastic_channel: 0
meshtastic:
  connection_type: tcp
  host: 192.0.2.1
";

/// A bridge with its room joined and its radio ready.
static READY: LazyLock<Bridge> = LazyLock::new(|| {
    let loaded = Config::from_text("config.yaml", CONFIG, &Environment::default());
    let config = loaded.expect("the configuration").config;
    let mut bridge = Bridge::new(config, "@bot:example.org".try_into().ok());
    let profile = RadioProfile {
        own: Node::unknown(NodeNum(1)),
        firmware: "2.7.26".to_owned(),
        channels: vec![Channel {
            index: ChannelIndex::PRIMARY,
            name: "LongFast".to_owned(),
            role: ChannelRole::Primary,
            fingerprint: None,
        }],
        hop_limit: 3,
        region_set: true,
        transmit_enabled: true,
        reboot_count: 1,
        locked: false,
        setup: RadioSetup::default(),
    };
    let joined = JoinedRoom {
        room: ROOM.try_into().expect("a room's id"),
        configured: vec![ROOM.try_into().expect("a room's id")],
        name: "Club".to_owned(),
        own_name: "Relay Bot".to_owned(),
        encrypted: false,
        public: false,
        may_mention_room: false,
        may_write: true,
        may_react: true,
        tombstone: None,
        predecessor: None,
    };
    for event in [
        Event::Radio(RadioEvent::Ready(Box::new(profile))),
        Event::Matrix(MatrixEvent::Joined(joined)),
    ] {
        bridge.decide(&event, &Facts::default(), NOON);
    }
    bridge
});

/// Three texts, with a byte 0xFF between them: the author's long name, the short name, and the message. An odd first byte
/// makes the message a tapback or an emote.
pub fn bridge(input: &[u8]) {
    let Some((&choice, texts)) = input.split_first() else {
        return;
    };
    let mut texts = texts
        .splitn(3, |byte| *byte == 0xFF)
        .map(|it| String::from_utf8_lossy(it).into_owned());
    let mut next = || texts.next().unwrap_or_default();
    let (long, short, text) = (next(), next(), next());
    let is_odd = choice & 1 == 1;
    let packet = RadioText {
        sender: Node {
            long_name: Some(long.clone()),
            short_name: Some(short),
            ..Node::unknown(NodeNum(0xB0B0_0001))
        },
        packet: PacketId(77),
        destination: Destination::Channel(ChannelIndex::PRIMARY),
        channel_name: "LongFast".to_owned(),
        fingerprint: None,
        port: TextPort::Text,
        port_name: "TEXT_MESSAGE_APP".to_owned(),
        text: text.clone(),
        reply_to: is_odd.then_some(PacketId(50)),
        is_reaction: is_odd,
        heard_at: NOON,
        hops: Some(2),
        relayed_by: None,
        snr: Some(6.25),
        rssi: Some(-90),
        via_mqtt: false,
        ok_to_mqtt: false,
        replayed: false,
    };
    let message = RoomText {
        room: ROOM.try_into().expect("a room's id"),
        event: "$message".try_into().expect("an event's id"),
        sender: "@alice:example.org".try_into().expect("a user's id"),
        sender_name: long,
        sender_power: 0,
        sent_at: NOON,
        kind: if is_odd {
            RoomTextKind::Emote
        } else {
            RoomTextKind::Text
        },
        body: text,
        reply_to: None,
        thread: None,
        relay: None,
        suppress: false,
        in_clear: false,
    };
    for event in [
        Event::Radio(RadioEvent::Text(Box::new(packet))),
        Event::Matrix(MatrixEvent::Text(Box::new(message))),
    ] {
        let mut bridge = READY.clone();
        bridge.questions(&event, NOON);
        for action in bridge.decide(&event, &Facts::default(), NOON) {
            look_at(&action);
        }
    }
}

fn look_at(action: &Action) {
    match action {
        Action::ToRoom { message, .. } => match &message.content {
            RoomContent::Text { prefix, text, .. } => {
                plain(prefix);
                plain(text);
            }
            RoomContent::Reaction { key, .. } => plain(key),
            RoomContent::Redaction { .. } => {}
        },
        Action::ToMesh(message) => match &message.content {
            MeshContent::Text(draft) => {
                plain(&draft.heading.prefix);
                plain(&draft.heading.label);
                plain(&draft.text);
            }
            MeshContent::Packet(RadioPayload::Text { text, .. }) => plain(text),
            MeshContent::Packet(RadioPayload::Tapback { emoji, .. }) => plain(emoji),
        },
        _ => {}
    }
}

fn plain(text: &str) {
    let is_trick = |it: char| it != '\n' && (it.is_control() || is_invisible(it));
    assert!(!text.chars().any(is_trick), "{text:?}");
}
