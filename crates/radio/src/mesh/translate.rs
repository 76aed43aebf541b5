//! Converts protobufs to the types of `relay-model`, and back. No protobuf leaves this crate.
//!
//! Data of the mesh is untrusted: every field may be missing, absurd or of the wrong kind. Invalid UTF-8 is replaced
//! here; all other cleaning of text is the bridge's.

use std::time::Duration;

use relay_model::{
    Channel, ChannelIndex, ChannelRole, Destination, NodeNum, PacketId, RadioMessage, RadioPayload,
    RadioText, TextPort, Timestamp,
};

use super::nodedb::{Details, NodeChange, NodeDb};
use super::{fingerprint, names};
use crate::pacer::mesh_answer::{MeshAnswer, Routing};
use relay_wire::proto::channel::Role;
use relay_wire::proto::mesh_packet::{PayloadVariant, TransportMechanism};
use relay_wire::proto::{self, Message as _, PortNum, wire};

/// The broadcast address for everything but `LoRa`.
const BROADCAST_NO_LORA: NodeNum = NodeNum(1);
/// Maximum lead of a radio's clock over ours.
const CLOCK_AHEAD: Duration = Duration::from_mins(10);
/// Maximum age of a packet that the radio stored for us; that of a live packet is a day.
const KEPT_AT_MOST: Duration = Duration::from_hours(30 * 24);
const LIVE_AT_MOST: Duration = Duration::from_hours(24);

/// The reason for ignoring a packet on an unused port.
const ANOTHER_PORT: &str = "another port";

/// The context of a packet.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) own: NodeNum,
    pub(crate) channels: &'a [Channel],
    pub(crate) nodes: &'a NodeDb,
    pub(crate) chat_ports: &'a [u32],
    /// The radio may still be delivering packets that it stored while no client was connected.
    pub(crate) catching_up: bool,
    /// Time of arrival.
    pub(crate) now: Timestamp,
}

/// A converted packet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Translated {
    Text(Box<RadioText>),
    NodeChange(NodeNum, NodeChange),
    /// An answer to a packet of this client or of another one.
    Answer(MeshAnswer),
    /// The radio's own measurement of the channel utilisation, in percent.
    ChannelUse(f32),
}

/// A converted packet, or why it is ignored.
type Meaning = Result<Translated, &'static str>;

pub(crate) fn packet(packet: &proto::MeshPacket, context: &Context<'_>) -> Meaning {
    let data = match &packet.payload_variant {
        Some(PayloadVariant::Decoded(data)) => data,
        Some(PayloadVariant::Encrypted(_)) => return Err("encrypted"),
        None => return Err("empty"),
    };
    let from = NodeNum(packet.from);
    if from == NodeNum(0) {
        return Err("without a sender");
    }
    let port = match PortNum::try_from(data.portnum) {
        _ if data.portnum == names::REMOTE_SHELL => return Err("remote shell"),
        // Packets between other nodes included.
        Ok(PortNum::NodeinfoApp) => {
            let user: wire::User = parsed(&data.payload)?;
            return Ok(Translated::NodeChange(from, news_of_user(&user)));
        }
        Ok(PortNum::RoutingApp) => return answer(packet, data, context),
        Ok(PortNum::TelemetryApp) if from == context.own => return own_telemetry(data),
        Ok(PortNum::StoreForwardApp) => return replay(packet, data, context),
        Ok(PortNum::TextMessageApp) => TextPort::Text,
        Ok(PortNum::AlertApp) => TextPort::Alert,
        Ok(PortNum::DetectionSensorApp) => TextPort::DetectionSensor,
        Ok(_) | Err(_) => match u32::try_from(data.portnum) {
            Ok(port) if context.chat_ports.contains(&port) => TextPort::Other(port),
            Ok(_) | Err(_) => return Err(ANOTHER_PORT),
        },
    };
    let destination = destination(packet, context, None)?;
    let text = text_of(packet, data, port, destination, context);
    Ok(Translated::Text(Box::new(text)))
}

fn parsed<T: proto::Message + Default>(payload: &[u8]) -> Result<T, &'static str> {
    T::decode(payload).map_err(|_| "undecodable")
}

fn answer(packet: &proto::MeshPacket, data: &proto::Data, context: &Context<'_>) -> Meaning {
    const OF_OTHERS: &str = "routing of others";
    if data.request_id == 0 || NodeNum(packet.to) != context.own {
        return Err(OF_OTHERS);
    }
    let routing: proto::Routing = parsed(&data.payload)?;
    let error = match routing.variant {
        // An empty `Routing` is "no error": protobuf omits the default.
        None => 0,
        Some(proto::routing::Variant::ErrorReason(error)) => {
            u32::try_from(error).unwrap_or(u32::MAX)
        }
        Some(_) => return Err(OF_OTHERS),
    };
    Ok(Translated::Answer(MeshAnswer::Routing(Routing {
        from: NodeNum(packet.from),
        request: PacketId(data.request_id),
        error,
    })))
}

fn own_telemetry(data: &proto::Data) -> Meaning {
    let telemetry = proto::Telemetry::decode(data.payload.as_slice());
    match telemetry.ok().and_then(|telemetry| telemetry.variant) {
        Some(proto::telemetry::Variant::DeviceMetrics(metrics)) => {
            let percent = metrics.channel_utilization.and_then(percent);
            percent.map(Translated::ChannelUse).ok_or(ANOTHER_PORT)
        }
        Some(_) | None => Err(ANOTHER_PORT),
    }
}

/// A text replayed by a store-and-forward server; `from` and `id` are those of the original.
fn replay(packet: &proto::MeshPacket, data: &proto::Data, context: &Context<'_>) -> Meaning {
    use proto::store_and_forward::{RequestResponse, Variant};
    let stored: proto::StoreAndForward = parsed(&data.payload)?;
    let is_direct = match RequestResponse::try_from(stored.rr) {
        Ok(RequestResponse::RouterTextDirect) => true,
        Ok(RequestResponse::RouterTextBroadcast) => false,
        Ok(_) | Err(_) => return Err(ANOTHER_PORT),
    };
    let Some(Variant::Text(text)) = stored.variant else {
        return Err("empty");
    };
    let destination = destination(packet, context, Some(is_direct))?;
    let mut heard = text_of(packet, data, TextPort::Text, destination, context);
    heard.text = lossy(&text);
    heard.port_name = names::port(PortNum::TextMessageApp.into());
    heard.heard_at = heard_at(packet.rx_time, KEPT_AT_MOST, context.now);
    heard.replayed = true;
    Ok(Translated::Text(Box::new(heard)))
}

/// Returns the destination of a text. A replayed text counts as direct or broadcast by its replay.
fn destination(
    packet: &proto::MeshPacket,
    context: &Context<'_>,
    was_direct: Option<bool>,
) -> Result<Destination, &'static str> {
    let to = NodeNum(packet.to);
    let is_for_us = to == context.own;
    if !is_for_us && to != NodeNum::BROADCAST && to != BROADCAST_NO_LORA {
        return Err("for another node");
    }
    if was_direct.unwrap_or(is_for_us) {
        return Ok(Destination::Direct(context.own));
    }
    let channel = ChannelIndex::try_from(packet.channel);
    let channel = channel.map_err(|_| "no such channel")?;
    Ok(Destination::Channel(channel))
}

fn text_of(
    packet: &proto::MeshPacket,
    data: &proto::Data,
    port: TextPort,
    destination: Destination,
    context: &Context<'_>,
) -> RadioText {
    let channel = match destination {
        Destination::Channel(index) => context.channels.iter().find(|it| it.index == index),
        Destination::Direct(_) => None,
    };
    let rssi = Some(packet.rx_rssi).filter(|rssi| *rssi != 0);
    let by_mqtt = i32::from(TransportMechanism::TransportMqtt);
    let is_live = !context.catching_up;
    let limit = if is_live { LIVE_AT_MOST } else { KEPT_AT_MOST };
    RadioText {
        sender: context.nodes.node(NodeNum(packet.from)),
        packet: PacketId(packet.id),
        destination,
        channel_name: channel.map_or_else(String::new, |it| it.name.clone()),
        fingerprint: channel.and_then(|it| it.fingerprint),
        port,
        port_name: names::port(data.portnum),
        text: text(data),
        reply_to: Some(PacketId(data.reply_id)).filter(|target| *target != PacketId::NONE),
        is_reaction: data.emoji != 0,
        heard_at: heard_at(packet.rx_time, limit, context.now),
        hops: hops(packet, data),
        relayed_by: relayed_by(packet, data),
        snr: Some(packet.rx_snr).filter(|snr| snr.is_finite() && (*snr != 0.0 || rssi.is_some())),
        rssi,
        via_mqtt: packet.via_mqtt || packet.transport_mechanism == by_mqtt,
        ok_to_mqtt: data.bitfield.is_some_and(|bits| bits & 1 != 0),
        replayed: false,
    }
}

/// Returns the text; some old clients put the code point of a tapback into `emoji`, and send no payload.
fn text(data: &proto::Data) -> String {
    if data.payload.is_empty() && data.emoji > 1 {
        let tapback = char::from_u32(data.emoji);
        return tapback.map(String::from).unwrap_or_default();
    }
    lossy(&data.payload)
}

fn hops(packet: &proto::MeshPacket, data: &proto::Data) -> Option<u8> {
    // Old firmware sends no `hop_start`; newer firmware always sends a `bitfield`.
    let is_known = packet.hop_start > 0 || data.bitfield.is_some();
    let made = packet.hop_start.checked_sub(packet.hop_limit);
    let made = made.filter(|made| is_known && *made <= 7)?;
    u8::try_from(made).ok()
}

/// Returns the last byte of the relaying node's number, as firmware since 2.6 tells it of a packet that was relayed.
fn relayed_by(packet: &proto::MeshPacket, data: &proto::Data) -> Option<u8> {
    let byte = u8::try_from(packet.relay_node).ok()?;
    (byte != 0 && hops(packet, data).is_some_and(|hops| hops > 0)).then_some(byte)
}

/// Returns the radio's time of reception if plausible, else the time of arrival.
fn heard_at(rx_time: u32, oldest: Duration, now: Timestamp) -> Timestamp {
    let rx_time = Timestamp::from_secs(rx_time);
    let is_plausible = (now - oldest..=now + CLOCK_AHEAD).contains(&rx_time);
    if is_plausible { rx_time.min(now) } else { now }
}

pub(crate) fn news_of_node(info: &wire::NodeInfo, now: Timestamp) -> NodeChange {
    let last_heard = Some(Timestamp::from_secs(info.last_heard))
        .filter(|at| info.last_heard > 0 && *at <= now + CLOCK_AHEAD);
    NodeChange {
        is_ignored: Some(info.is_ignored),
        last_heard,
        ..info.user.as_ref().map(news_of_user).unwrap_or_default()
    }
}

pub(crate) fn details_of_node(info: &wire::NodeInfo) -> Details {
    let (user, metrics) = (info.user.as_ref(), info.device_metrics.unwrap_or_default());
    Details {
        hardware: user.and_then(|user| names::hardware(user.hw_model)),
        role: user.map(|user| names::role(user.role)),
        hops: info.hops_away.and_then(|hops| u8::try_from(hops).ok()),
        snr: Some(info.snr).filter(|snr| snr.is_finite() && *snr != 0.0),
        via_mqtt: info.via_mqtt,
        battery_percent: metrics.battery_level,
        voltage: metrics.voltage.filter(|volt| (0.0..1000.0).contains(volt)),
        channel_use_percent: metrics.channel_utilization.and_then(percent),
        air_use_percent: metrics.air_util_tx.and_then(percent),
    }
}

fn news_of_user(user: &wire::User) -> NodeChange {
    NodeChange {
        long_name: Some(lossy(&user.long_name)),
        short_name: Some(lossy(&user.short_name)),
        is_licensed: Some(user.is_licensed),
        ..NodeChange::default()
    }
}

fn percent(value: f32) -> Option<f32> {
    (0.0..=100.0).contains(&value).then_some(value)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns the eight channels with displayed names; a slot that the radio did not send is disabled.
pub(crate) fn channels(
    channels: &[wire::Channel],
    lora: Option<&proto::config::LoRaConfig>,
) -> Vec<Channel> {
    let primary_key = channels
        .iter()
        .find(|channel| channel.role == i32::from(Role::Primary))
        .and_then(|channel| channel.settings.as_ref())
        .map_or(&[][..], |settings| &settings.psk);
    let channel = |index: ChannelIndex| {
        let number = i32::from(index.number());
        let channel = channels.iter().rfind(|channel| channel.index == number);
        let role = match channel.and_then(|channel| Role::try_from(channel.role).ok()) {
            Some(Role::Primary) => ChannelRole::Primary,
            Some(Role::Secondary) => ChannelRole::Secondary,
            Some(Role::Disabled) | None => ChannelRole::Disabled,
        };
        let is_used = role != ChannelRole::Disabled;
        let settings = channel.and_then(|channel| channel.settings.as_ref());
        let name = settings.map(|it| it.name.as_slice());
        let name = name.filter(|name| !name.is_empty());
        let name = name.unwrap_or(names::default_channel(lora).as_bytes());
        let key = settings.map_or(&[][..], |it| &it.psk);
        // Firmware lets a secondary channel without a key share the key of the primary one.
        let shares = role == ChannelRole::Secondary && key.is_empty();
        let key = if shares { primary_key } else { key };
        Channel {
            index,
            name: lossy(if is_used { name } else { b"" }),
            role,
            fingerprint: is_used.then(|| fingerprint::of(name, key)),
        }
    };
    ChannelIndex::all().map(channel).collect()
}

/// Builds the packet of a message. Without `own` the radio's refusals do not come back; firmware does not fill in
/// `hop_limit`.
pub(crate) fn outgoing(
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
        portnum: PortNum::TextMessageApp.into(),
        payload: message.payload.bytes().to_vec(),
        reply_id,
        emoji,
        ..proto::Data::default()
    };
    proto::MeshPacket {
        channel,
        hop_limit: u32::from(hop_limit),
        want_ack: true,
        ..packet_of(own, to, packet, data)
    }
}

/// Builds the packet that sets the connected radio's clock; it is not transmitted.
pub(crate) fn set_time(own: NodeNum, id: PacketId, now: Timestamp) -> Option<proto::MeshPacket> {
    let seconds = u32::try_from(now.0 / 1000).ok()?;
    let admin = proto::AdminMessage {
        payload_variant: Some(proto::admin_message::PayloadVariant::SetTimeOnly(seconds)),
        ..proto::AdminMessage::default()
    };
    let data = proto::Data {
        portnum: PortNum::AdminApp.into(),
        payload: admin.encode_to_vec(),
        ..proto::Data::default()
    };
    Some(packet_of(own, own, id, data))
}

fn packet_of(from: NodeNum, to: NodeNum, id: PacketId, data: proto::Data) -> proto::MeshPacket {
    proto::MeshPacket {
        from: from.0,
        to: to.0,
        id: id.0,
        payload_variant: Some(PayloadVariant::Decoded(data)),
        ..proto::MeshPacket::default()
    }
}

#[cfg(test)]
mod tests;
