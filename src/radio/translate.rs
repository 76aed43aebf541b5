//! Protobuf to the shared words, and back. No protobuf leaves `radio`.
//!
//! Whatever comes from the mesh is untrusted: every field may be missing, absurd, or of the wrong kind. Cleaning a
//! text for people is the bridge's business; here invalid UTF-8 is replaced and nothing else.

use std::time::Duration;

use crate::model::{
    Channel, ChannelIndex, ChannelRole, Destination, NodeNum, PacketId, RadioMessage, RadioPayload,
    RadioText, TextPort, Timestamp,
};

use super::answer::Answer;
use super::names;
use super::nodedb::{Details, News, NodeDb};
use super::ports;
use super::proto::{self, Message as _, mesh_packet, wire};

/// The address of everyone, but not by radio.
const BROADCAST_NO_LORA: NodeNum = NodeNum(1);
/// Came by MQTT (`MeshPacket.transport_mechanism`).
const BY_MQTT: i32 = 5;
/// A radio's clock may be ahead of ours by so much.
const CLOCK_AHEAD: Duration = Duration::from_mins(10);
/// A packet that the radio kept for us may be so old; one that comes live, a day.
const KEPT_AT_MOST: Duration = Duration::from_hours(30 * 24);
const LIVE_AT_MOST: Duration = Duration::from_hours(24);

/// What is known when a packet comes.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// Our own node.
    pub(super) own: NodeNum,
    /// The radio's channels.
    pub(super) channels: &'a [Channel],
    /// The nodes.
    pub(super) nodes: &'a NodeDb,
    /// Further ports that carry text.
    pub(super) chat_ports: &'a [u32],
    /// The radio may still be handing over what it kept while we were away.
    pub(super) catching_up: bool,
    /// The time of arrival.
    pub(super) now: Timestamp,
}

/// What a packet is to us.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Translated {
    /// Something to read.
    Text(Box<RadioText>),
    /// A node told of itself.
    News(NodeNum, News),
    /// An answer to a packet of ours, or of somebody else.
    Answer(Answer),
    /// The radio's own measure of how busy the channel is, in percent.
    ChannelUse(f32),
    /// Nothing, and why.
    Ignored(&'static str),
}

/// Says what a packet is to us.
pub(super) fn packet(packet: &proto::MeshPacket, context: &Context<'_>) -> Translated {
    let data = match &packet.payload_variant {
        Some(mesh_packet::PayloadVariant::Decoded(data)) => data,
        Some(mesh_packet::PayloadVariant::Encrypted(_)) => return Translated::Ignored("encrypted"),
        None => return Translated::Ignored("empty"),
    };
    if packet.from == 0 {
        return Translated::Ignored("without a sender");
    }
    match data.portnum {
        // Also of nodes that talk to somebody else.
        ports::NODE_INFO => wire::User::decode(data.payload.as_slice())
            .map_or(Translated::Ignored("undecodable"), |user| {
                Translated::News(NodeNum(packet.from), news_of_user(&user))
            }),
        ports::ROUTING => answer(packet, data, context),
        ports::TELEMETRY if NodeNum(packet.from) == context.own => own_telemetry(data),
        ports::STORE_FORWARD => replay(packet, data, context),
        ports::REMOTE_SHELL => Translated::Ignored("remote shell"),
        ports::TEXT => readable(packet, data, TextPort::Text, context),
        ports::ALERT => readable(packet, data, TextPort::Alert, context),
        ports::DETECTION_SENSOR => readable(packet, data, TextPort::DetectionSensor, context),
        other => match u32::try_from(other) {
            Ok(port) if context.chat_ports.contains(&port) => {
                readable(packet, data, TextPort::Other(port), context)
            }
            Ok(_) | Err(_) => Translated::Ignored("another port"),
        },
    }
}

fn answer(packet: &proto::MeshPacket, data: &proto::Data, context: &Context<'_>) -> Translated {
    if data.request_id == 0 || NodeNum(packet.to) != context.own {
        return Translated::Ignored("routing of others");
    }
    let Ok(routing) = proto::Routing::decode(data.payload.as_slice()) else {
        return Translated::Ignored("undecodable");
    };
    let error = match routing.variant {
        // Nothing at all is "no error", the default that need not be written.
        None => 0,
        Some(proto::routing::Variant::ErrorReason(error)) => {
            u32::try_from(error).unwrap_or(u32::MAX)
        }
        Some(proto::routing::Variant::RouteRequest(_) | proto::routing::Variant::RouteReply(_)) => {
            return Translated::Ignored("routing of others");
        }
    };
    let (from, request) = (NodeNum(packet.from), PacketId(data.request_id));
    Translated::Answer(Answer::Routing {
        from,
        request,
        error,
    })
}

fn own_telemetry(data: &proto::Data) -> Translated {
    let telemetry = proto::Telemetry::decode(data.payload.as_slice());
    match telemetry.ok().and_then(|telemetry| telemetry.variant) {
        Some(proto::telemetry::Variant::DeviceMetrics(metrics)) => metrics
            .channel_utilization
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map_or(Translated::Ignored("another port"), Translated::ChannelUse),
        Some(_) | None => Translated::Ignored("another port"),
    }
}

/// A text that a store-and-forward server tells again: `from` and `id` are the original's.
fn replay(packet: &proto::MeshPacket, data: &proto::Data, context: &Context<'_>) -> Translated {
    use proto::store_and_forward::{RequestResponse, Variant};
    let Ok(stored) = proto::StoreAndForward::decode(data.payload.as_slice()) else {
        return Translated::Ignored("undecodable");
    };
    let direct = match RequestResponse::try_from(stored.rr) {
        Ok(RequestResponse::RouterTextDirect) => true,
        Ok(RequestResponse::RouterTextBroadcast) => false,
        Ok(_) | Err(_) => return Translated::Ignored("another port"),
    };
    let Some(Variant::Text(text)) = stored.variant else {
        return Translated::Ignored("empty");
    };
    let to = NodeNum(packet.to);
    // Both kinds are handed over as packets for us; a broadcast was one when it was said.
    let destination = if to != context.own && !is_broadcast(to) {
        return Translated::Ignored("for another node");
    } else if direct {
        Destination::Direct(context.own)
    } else {
        match ChannelIndex::try_from(packet.channel) {
            Ok(channel) => Destination::Channel(channel),
            Err(_) => return Translated::Ignored("no such channel"),
        }
    };
    let mut heard = text_of(packet, data, TextPort::Text, destination, context);
    heard.text = String::from_utf8_lossy(&text).into_owned();
    heard.port_name = ports::name(ports::TEXT);
    heard.heard_at = heard_at(packet.rx_time, KEPT_AT_MOST, context.now);
    heard.replayed = true;
    Translated::Text(Box::new(heard))
}

fn readable(
    packet: &proto::MeshPacket,
    data: &proto::Data,
    port: TextPort,
    context: &Context<'_>,
) -> Translated {
    let to = NodeNum(packet.to);
    let destination = if to == context.own {
        Destination::Direct(to)
    } else if !is_broadcast(to) {
        return Translated::Ignored("for another node");
    } else {
        match ChannelIndex::try_from(packet.channel) {
            Ok(channel) => Destination::Channel(channel),
            Err(_) => return Translated::Ignored("no such channel"),
        }
    };
    Translated::Text(Box::new(text_of(packet, data, port, destination, context)))
}

fn is_broadcast(to: NodeNum) -> bool {
    to == NodeNum::BROADCAST || to == BROADCAST_NO_LORA
}

fn text_of(
    packet: &proto::MeshPacket,
    data: &proto::Data,
    port: TextPort,
    destination: Destination,
    context: &Context<'_>,
) -> RadioText {
    let channel_name = match destination {
        Destination::Channel(index) => context
            .channels
            .iter()
            .find(|channel| channel.index == index)
            .map_or_else(String::new, |channel| channel.name.clone()),
        Destination::Direct(_) => String::new(),
    };
    let rssi = Some(packet.rx_rssi).filter(|rssi| *rssi != 0);
    let limit = if context.catching_up {
        KEPT_AT_MOST
    } else {
        LIVE_AT_MOST
    };
    RadioText {
        sender: context.nodes.node(NodeNum(packet.from)),
        packet: PacketId(packet.id),
        destination,
        channel_name,
        port,
        port_name: ports::name(data.portnum),
        text: text(data),
        reply_to: Some(PacketId(data.reply_id)).filter(|target| *target != PacketId::NONE),
        is_reaction: data.emoji != 0,
        heard_at: heard_at(packet.rx_time, limit, context.now),
        hops: hops(packet, data),
        snr: Some(packet.rx_snr).filter(|snr| snr.is_finite() && (*snr != 0.0 || rssi.is_some())),
        rssi,
        via_mqtt: packet.via_mqtt || packet.transport_mechanism == BY_MQTT,
        ok_to_mqtt: data.bitfield.is_some_and(|bits| bits & 1 != 0),
        replayed: false,
    }
}

/// The payload; some old clients put a tapback's code point into `emoji`, and nothing else anywhere.
fn text(data: &proto::Data) -> String {
    if data.payload.is_empty() && data.emoji > 1 {
        return char::from_u32(data.emoji)
            .map(String::from)
            .unwrap_or_default();
    }
    String::from_utf8_lossy(&data.payload).into_owned()
}

fn hops(packet: &proto::MeshPacket, data: &proto::Data) -> Option<u8> {
    // Old firmware sends no `hop_start`, newer always a `bitfield`.
    let told = packet.hop_start > 0 || data.bitfield.is_some();
    let made = packet
        .hop_start
        .checked_sub(packet.hop_limit)
        .filter(|made| *made <= 7);
    made.filter(|_| told)
        .and_then(|made| u8::try_from(made).ok())
}

/// The radio's own time where it is plausible, else the time of arrival.
fn heard_at(rx_time: u32, oldest: Duration, now: Timestamp) -> Timestamp {
    let told = Timestamp::from_secs(rx_time);
    if told < now - oldest || told > now + CLOCK_AHEAD {
        now
    } else {
        told.min(now)
    }
}

/// Returns what a `NodeInfo` tells.
pub(super) fn news_of_node(info: &wire::NodeInfo, now: Timestamp) -> News {
    let last_heard = Some(Timestamp::from_secs(info.last_heard))
        .filter(|at| info.last_heard > 0 && *at <= now + CLOCK_AHEAD);
    News {
        is_ignored: Some(info.is_ignored),
        last_heard,
        ..info.user.as_ref().map(news_of_user).unwrap_or_default()
    }
}

/// Returns what a `NodeInfo` tells beyond names.
pub(super) fn details_of_node(info: &wire::NodeInfo) -> Details {
    let percent = |value: Option<f32>| value.filter(|it| (0.0..=100.0).contains(it));
    let metrics = info.device_metrics.unwrap_or_default();
    Details {
        hardware: info
            .user
            .as_ref()
            .and_then(|user| names::hardware(user.hw_model)),
        role: info.user.as_ref().map(|user| names::role(user.role)),
        hops: info.hops_away.and_then(|hops| u8::try_from(hops).ok()),
        snr: Some(info.snr).filter(|snr| snr.is_finite() && *snr != 0.0),
        via_mqtt: info.via_mqtt,
        battery_percent: metrics.battery_level,
        voltage: metrics.voltage.filter(|volt| (0.0..1000.0).contains(volt)),
        channel_use_percent: percent(metrics.channel_utilization),
        air_use_percent: percent(metrics.air_util_tx),
    }
}

fn news_of_user(user: &wire::User) -> News {
    News {
        long_name: Some(lossy(&user.long_name)),
        short_name: Some(lossy(&user.short_name)),
        is_licensed: Some(user.is_licensed),
        ..News::default()
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the eight channels as people see them; a slot that the radio did not tell is disabled.
pub(super) fn channels(
    told: &[wire::Channel],
    lora: Option<&proto::config::LoRaConfig>,
) -> Vec<Channel> {
    ChannelIndex::all()
        .map(|index| {
            let told = told
                .iter()
                .rfind(|channel| channel.index == i32::from(index.number()));
            let role = match told.map_or(0, |channel| channel.role) {
                1 => ChannelRole::Primary,
                2 => ChannelRole::Secondary,
                _ => ChannelRole::Disabled,
            };
            let name = told
                .and_then(|channel| channel.settings.as_ref())
                .map(|set| &set.name);
            let name = match (role, name) {
                (ChannelRole::Disabled, _) => String::new(),
                (ChannelRole::Primary | ChannelRole::Secondary, Some(name)) if !name.is_empty() => {
                    lossy(name)
                }
                (ChannelRole::Primary | ChannelRole::Secondary, _) => {
                    names::default_channel(lora).to_owned()
                }
            };
            Channel { index, name, role }
        })
        .collect()
}

/// Makes the packet of a message: `own` is needed for the radio's refusals to come back, and `hop_limit` because
/// firmware fills in none.
pub(super) fn outgoing(
    own: NodeNum,
    hop_limit: u8,
    packet: PacketId,
    message: &RadioMessage,
) -> proto::MeshPacket {
    let (to, channel) = match message.destination {
        Destination::Channel(index) => (NodeNum::BROADCAST, u32::from(index.number())),
        Destination::Direct(node) => (node, 0),
    };
    let (reply_id, emoji) = match &message.payload {
        RadioPayload::Text { reply_to, .. } => (reply_to.map_or(0, |target| target.0), 0),
        RadioPayload::Tapback { target, .. } => (target.0, 1),
    };
    let data = proto::Data {
        portnum: ports::TEXT,
        payload: message.payload.bytes().to_vec(),
        reply_id,
        emoji,
        ..proto::Data::default()
    };
    proto::MeshPacket {
        from: own.0,
        to: to.0,
        channel,
        id: packet.0,
        hop_limit: u32::from(hop_limit),
        want_ack: true,
        payload_variant: Some(mesh_packet::PayloadVariant::Decoded(data)),
        ..proto::MeshPacket::default()
    }
}

/// Makes the packet that sets our own radio's clock; it never goes on the air.
pub(super) fn set_time(
    own: NodeNum,
    packet: PacketId,
    now: Timestamp,
) -> Option<proto::MeshPacket> {
    let seconds = u32::try_from(now.0 / 1000).ok()?;
    let admin = proto::AdminMessage {
        payload_variant: Some(proto::admin_message::PayloadVariant::SetTimeOnly(seconds)),
        ..proto::AdminMessage::default()
    };
    let data = proto::Data {
        portnum: ports::ADMIN,
        payload: admin.encode_to_vec(),
        ..proto::Data::default()
    };
    Some(proto::MeshPacket {
        from: own.0,
        to: own.0,
        id: packet.0,
        payload_variant: Some(mesh_packet::PayloadVariant::Decoded(data)),
        ..proto::MeshPacket::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeNum = NodeNum(0xA11C_E001);
    const BOB: NodeNum = NodeNum(0xB0B0_B002);
    const NOW: Timestamp = Timestamp(1_750_000_000_000);
    const NOW_SECONDS: u32 = 1_750_000_000;
    const DAY: u32 = 86_400;

    fn data(port: i32, payload: &[u8]) -> proto::Data {
        proto::Data {
            portnum: port,
            payload: payload.to_vec(),
            ..proto::Data::default()
        }
    }

    fn decoded(data: proto::Data) -> proto::MeshPacket {
        proto::MeshPacket {
            from: BOB.0,
            to: NodeNum::BROADCAST.0,
            channel: 1,
            id: 77,
            payload_variant: Some(mesh_packet::PayloadVariant::Decoded(data)),
            ..proto::MeshPacket::default()
        }
    }

    fn translated_with(
        packet: &proto::MeshPacket,
        chat_ports: &[u32],
        catching_up: bool,
    ) -> Translated {
        let nodes = NodeDb::default();
        let settings = wire::ChannelSettings {
            name: b"bridge".to_vec(),
        };
        let channels = channels(
            &[wire::Channel {
                index: 1,
                settings: Some(settings),
                role: 2,
            }],
            None,
        );
        let context = Context {
            own: OWN,
            channels: &channels,
            nodes: &nodes,
            chat_ports,
            catching_up,
            now: NOW,
        };
        super::packet(packet, &context)
    }

    fn translated(packet: &proto::MeshPacket) -> Translated {
        translated_with(packet, &[], false)
    }

    fn text_of(packet: &proto::MeshPacket) -> RadioText {
        match translated(packet) {
            Translated::Text(text) => *text,
            other => panic!("not a text: {other:?}"),
        }
    }

    fn hello() -> proto::MeshPacket {
        decoded(data(ports::TEXT, b"hello"))
    }

    #[test]
    fn what_is_not_meant_for_us_is_ignored_with_a_reason() {
        let encrypted = Some(mesh_packet::PayloadVariant::Encrypted(vec![1]));
        let table = [
            (
                proto::MeshPacket {
                    payload_variant: encrypted,
                    ..hello()
                },
                "encrypted",
            ),
            (
                proto::MeshPacket {
                    payload_variant: None,
                    ..hello()
                },
                "empty",
            ),
            (proto::MeshPacket { from: 0, ..hello() }, "without a sender"),
            (proto::MeshPacket { to: 5, ..hello() }, "for another node"),
            (proto::MeshPacket { to: 0, ..hello() }, "for another node"),
            (
                proto::MeshPacket {
                    channel: 8,
                    ..hello()
                },
                "no such channel",
            ),
            (
                proto::MeshPacket {
                    channel: u32::MAX,
                    ..hello()
                },
                "no such channel",
            ),
            (decoded(data(ports::REMOTE_SHELL, b"rm")), "remote shell"),
            (decoded(data(3, b"")), "another port"),
            (decoded(data(69, b"hello")), "another port"),
            (decoded(data(-1, b"hello")), "another port"),
            (decoded(data(ports::NODE_INFO, b"\xFF")), "undecodable"),
        ];
        for (packet, reason) in table {
            assert_eq!(translated(&packet), Translated::Ignored(reason));
        }
    }

    #[test]
    fn remote_shell_is_never_text_even_if_configured() {
        let packet = decoded(data(ports::REMOTE_SHELL, b"rm"));
        let translated = translated_with(&packet, &[13], false);
        assert_eq!(translated, Translated::Ignored("remote shell"));
    }

    #[test]
    fn each_readable_port_has_its_kind() {
        for (port, kind) in [
            (ports::TEXT, TextPort::Text),
            (ports::ALERT, TextPort::Alert),
            (ports::DETECTION_SENSOR, TextPort::DetectionSensor),
        ] {
            assert_eq!(text_of(&decoded(data(port, b"x"))).port, kind);
        }
        let packet = decoded(data(256, b"x"));
        let Translated::Text(text) = translated_with(&packet, &[256], false) else {
            panic!("not a text")
        };
        assert_eq!(
            (text.port, &*text.port_name),
            (TextPort::Other(256), "PRIVATE_APP")
        );
    }

    #[test]
    fn a_packet_to_our_own_node_is_direct_whatever_its_channel() {
        let text = text_of(&proto::MeshPacket {
            to: OWN.0,
            channel: 0,
            ..hello()
        });
        assert!(text.is_direct_to(OWN));
        assert_eq!(text.channel(), None);
        assert_eq!(text.channel_name, "");
        let text = text_of(&proto::MeshPacket { to: 1, ..hello() });
        assert_eq!(text.channel_name, "bridge");
    }

    #[test]
    fn invalid_utf8_is_replaced_and_nothing_else() {
        let text = text_of(&decoded(data(ports::TEXT, b"a\0\x07\xFF\x94\xC3")));
        assert_eq!(text.text, "a\0\x07\u{FFFD}\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn any_emoji_flag_makes_a_reaction_and_may_be_the_emoji_itself() {
        let reaction = |payload: &[u8], emoji| {
            let data = proto::Data {
                reply_id: 5,
                emoji,
                ..data(ports::TEXT, payload)
            };
            let text = text_of(&decoded(data));
            assert_eq!(text.reply_to, Some(PacketId(5)));
            (text.is_reaction, text.text)
        };
        assert_eq!(reaction("👍".as_bytes(), 1), (true, "👍".to_owned()));
        assert_eq!(reaction("👍".as_bytes(), 0x1F44D), (true, "👍".to_owned()));
        assert_eq!(reaction(b"", 0x1F44D), (true, "👍".to_owned()));
        assert_eq!(reaction(b"", 0xD800), (true, String::new()));
        assert_eq!(reaction(b"fine", 0), (false, "fine".to_owned()));
    }

    #[test]
    fn the_radios_time_counts_where_it_is_plausible() {
        let heard = |rx_time, catching_up| {
            let packet = proto::MeshPacket { rx_time, ..hello() };
            let Translated::Text(text) = translated_with(&packet, &[], catching_up) else {
                panic!("not a text")
            };
            (NOW.0 - text.heard_at.0) / 1000
        };
        assert_eq!(heard(NOW_SECONDS - 600, false), 600);
        assert_eq!(heard(NOW_SECONDS - 3 * DAY, false), 0);
        assert_eq!(heard(NOW_SECONDS - 3 * DAY, true), i64::from(3 * DAY));
        assert_eq!(heard(NOW_SECONDS - 31 * DAY, true), 0);
        for absurd in [
            0,
            1,
            946_684_800,
            NOW_SECONDS + 60,
            NOW_SECONDS + DAY,
            u32::MAX,
        ] {
            assert_eq!(heard(absurd, true), 0, "{absurd}");
        }
    }

    #[test]
    fn hops_are_known_only_where_the_sender_told_its_limit() {
        let hops = |hop_start, hop_limit, bitfield| {
            let data = proto::Data {
                bitfield,
                ..data(ports::TEXT, b"x")
            };
            text_of(&proto::MeshPacket {
                hop_start,
                hop_limit,
                ..decoded(data)
            })
            .hops
        };
        assert_eq!(hops(3, 3, None), Some(0));
        assert_eq!(hops(3, 1, None), Some(2));
        assert_eq!(hops(0, 0, Some(0)), Some(0));
        assert_eq!(hops(0, 0, None), None);
        assert_eq!(hops(2, 3, Some(0)), None);
        assert_eq!(hops(u32::MAX, 0, Some(0)), None);
    }

    #[test]
    fn signal_is_known_only_of_what_came_by_radio() {
        let signal = |rx_snr, rx_rssi| {
            let text = text_of(&proto::MeshPacket {
                rx_snr,
                rx_rssi,
                ..hello()
            });
            (text.snr, text.rssi)
        };
        assert_eq!(signal(0.0, 0), (None, None));
        assert_eq!(signal(0.0, -90), (Some(0.0), Some(-90)));
        assert_eq!(signal(-7.5, 0), (Some(-7.5), None));
        assert_eq!(signal(f32::NAN, -90), (None, Some(-90)));
    }

    #[test]
    fn consent_and_mqtt_are_told() {
        let text = text_of(&proto::MeshPacket {
            via_mqtt: true,
            ..hello()
        });
        assert!(text.via_mqtt && !text.ok_to_mqtt);
        assert!(
            text_of(&proto::MeshPacket {
                transport_mechanism: 5,
                ..hello()
            })
            .via_mqtt
        );
        let consent = |bits| {
            let data = proto::Data {
                bitfield: Some(bits),
                ..data(ports::TEXT, b"x")
            };
            text_of(&decoded(data)).ok_to_mqtt
        };
        assert!(consent(1) && consent(3));
        assert!(!consent(2) && !consent(0));
    }

    fn stored(rr: i32, to: NodeNum) -> proto::MeshPacket {
        let stored = proto::StoreAndForward {
            rr,
            variant: Some(proto::store_and_forward::Variant::Text(b"old\xFF".to_vec())),
        };
        let packet = decoded(data(ports::STORE_FORWARD, &stored.encode_to_vec()));
        proto::MeshPacket { to: to.0, ..packet }
    }

    #[test]
    fn texts_told_again_are_the_originals() {
        let text = text_of(&stored(9, OWN));
        assert_eq!((text.sender.num, text.packet), (BOB, PacketId(77)));
        assert_eq!(text.channel_name, "bridge");
        assert_eq!(
            (&*text.text, &*text.port_name),
            ("old\u{FFFD}", "TEXT_MESSAGE_APP")
        );
        assert_eq!(text.port, TextPort::Text);
        assert!(text.replayed);
        assert!(text_of(&stored(8, OWN)).is_direct_to(OWN));
        assert_eq!(
            translated(&stored(9, BOB)),
            Translated::Ignored("for another node")
        );
        assert_eq!(
            translated(&stored(2, OWN)),
            Translated::Ignored("another port")
        );
    }

    #[test]
    fn routing_is_an_answer_only_to_us() {
        let routing = |payload: &[u8], to: NodeNum, request_id| {
            let data = proto::Data {
                request_id,
                ..data(ports::ROUTING, payload)
            };
            translated(&proto::MeshPacket {
                to: to.0,
                ..decoded(data)
            })
        };
        let answer = |error| {
            Translated::Answer(Answer::Routing {
                from: BOB,
                request: PacketId(9),
                error,
            })
        };
        assert_eq!(routing(&[], OWN, 9), answer(0));
        assert_eq!(routing(&[0x18, 0], OWN, 9), answer(0));
        assert_eq!(routing(&[0x18, 38], OWN, 9), answer(38));
        assert_eq!(
            routing(&[0x18, 38], BOB, 9),
            Translated::Ignored("routing of others")
        );
        assert_eq!(
            routing(&[0x18, 38], OWN, 0),
            Translated::Ignored("routing of others")
        );
        assert_eq!(
            routing(&[0x0A, 0], OWN, 9),
            Translated::Ignored("routing of others")
        );
        assert_eq!(routing(&[0x18], OWN, 9), Translated::Ignored("undecodable"));
    }

    #[test]
    fn nodes_tell_their_names_also_to_others() {
        let user = proto::User {
            long_name: "Bob".to_owned(),
            short_name: "B".to_owned(),
            is_licensed: true,
            ..proto::User::default()
        };
        let packet = decoded(data(ports::NODE_INFO, &user.encode_to_vec()));
        let Translated::News(num, news) = translated(&proto::MeshPacket { to: 5, ..packet }) else {
            panic!("no news")
        };
        assert_eq!((num, news.long_name.as_deref()), (BOB, Some("Bob")));
        assert_eq!(news.is_licensed, Some(true));
        assert_eq!(news.is_ignored, None);
    }

    #[test]
    fn only_our_own_radios_telemetry_tells_how_busy_the_channel_is() {
        let metrics = proto::DeviceMetrics {
            channel_utilization: Some(12.5),
            ..Default::default()
        };
        let telemetry = proto::Telemetry {
            time: 0,
            variant: Some(proto::telemetry::Variant::DeviceMetrics(metrics)),
        };
        let packet = decoded(data(ports::TELEMETRY, &telemetry.encode_to_vec()));
        assert_eq!(translated(&packet), Translated::Ignored("another port"));
        let own = proto::MeshPacket {
            from: OWN.0,
            ..packet
        };
        assert_eq!(translated(&own), Translated::ChannelUse(12.5));
    }

    #[test]
    fn unnamed_channels_have_their_presets_name() {
        let unnamed = |role| wire::Channel {
            index: 0,
            settings: None,
            role,
        };
        let name = |use_preset, modem_preset| {
            let lora = proto::config::LoRaConfig {
                use_preset,
                modem_preset,
                ..Default::default()
            };
            channels(&[unnamed(1)], Some(&lora)).swap_remove(0).name
        };
        let names = [
            "LongFast",
            "LongSlow",
            "Invalid",
            "MediumSlow",
            "MediumFast",
            "ShortSlow",
            "ShortFast",
            "LongMod",
            "ShortTurbo",
            "LongTurbo",
            "LiteFast",
            "LiteSlow",
            "NarrowFast",
            "NarrowSlow",
            "TinyFast",
            "TinySlow",
            "MediumTurbo",
            "Invalid",
        ];
        for (preset, expected) in (0..).zip(names) {
            assert_eq!(name(true, preset), expected, "{preset}");
        }
        assert_eq!(name(false, 0), "Custom");
        assert_eq!(channels(&[unnamed(0)], None).swap_remove(0).name, "");
    }

    #[test]
    fn there_are_always_eight_channels() {
        assert_eq!(channels(&[], None).len(), 8);
        let odd = |index| wire::Channel {
            index,
            settings: None,
            role: 9,
        };
        let channels = channels(&[odd(-1), odd(99), odd(3), odd(3)], None);
        assert!(
            channels
                .iter()
                .all(|channel| channel.role == ChannelRole::Disabled)
        );
    }

    #[test]
    fn a_node_heard_in_the_future_was_not() {
        let heard = |last_heard| {
            let info = wire::NodeInfo {
                num: 5,
                last_heard,
                ..Default::default()
            };
            news_of_node(&info, NOW).last_heard
        };
        assert_eq!(heard(0), None);
        assert_eq!(heard(u32::MAX), None);
        assert_eq!(heard(NOW_SECONDS - 5), Some(NOW - Duration::from_secs(5)));
    }

    #[test]
    fn a_tapback_goes_out_as_one() {
        let message = RadioMessage {
            destination: Destination::Direct(BOB),
            lane: crate::model::Lane::Reaction,
            payload: RadioPayload::Tapback {
                emoji: "👍".to_owned(),
                target: PacketId(5),
            },
        };
        let packet = outgoing(OWN, 4, PacketId(6), &message);
        assert_eq!(
            (packet.from, packet.to, packet.channel, packet.id),
            (OWN.0, BOB.0, 0, 6)
        );
        assert_eq!((packet.hop_limit, packet.want_ack), (4, true));
        let Some(mesh_packet::PayloadVariant::Decoded(data)) = packet.payload_variant else {
            panic!("not decoded")
        };
        assert_eq!((data.portnum, data.reply_id, data.emoji), (1, 5, 1));
        assert_eq!(data.payload, "👍".as_bytes());
    }
}
