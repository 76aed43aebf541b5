//! What is not relayed, and why: loops, duplicates, ports, consent, and permission to transmit.

use super::{command::is_command, dropped::DropReason, facts::Facts, notice::Refused};
use relay_config::{Config, PortNum};
use relay_model::{
    JoinedRoom, RadioProfile, RadioText, RelayFields, RoomText, RoomTextKind, TextPort, UserId,
};

/// `REMOTE_SHELL_APP`, never relayed whatever `chat_portnums` says.
const NEVER_RELAYED: u32 = 13;

/// Name of the channel for remote administration.
const ADMIN_CHANNEL: &str = "admin";

/// Maximum number of urgent messages (🚨) per person and hour; replies to alerts are not limited.
const MOST_URGENT: u32 = 3;

/// Returns why a channel packet is not relayed to any room, regardless of its text.
pub(super) fn check_packet(
    config: &Config,
    profile: Option<&RadioProfile>,
    packet: &RadioText,
) -> Result<(), DropReason> {
    if is_admin(&packet.channel_name) {
        return Err(DropReason::AdminChannel);
    }
    if is_ignored(config, packet) {
        return Err(DropReason::IgnoredNode);
    }
    check_port(config, packet.port)?;
    let own = profile.is_some_and(|it| it.own.num == packet.sender.num);
    if packet.via_mqtt && !own && !config.meshtastic.relay_mqtt {
        return Err(DropReason::MqttOff);
    }
    Ok(())
}

/// Returns whether the radio or the configuration ignores a packet's sender.
pub(super) fn is_ignored(config: &Config, packet: &RadioText) -> bool {
    packet.sender.is_ignored || config.meshtastic.ignore_nodes.contains(&packet.sender.num)
}

/// Returns whether a channel of this name administers radios and so is never relayed; case does not matter.
pub(super) fn is_admin(channel_name: &str) -> bool {
    channel_name.eq_ignore_ascii_case(ADMIN_CHANNEL)
}

fn check_port(config: &Config, port: TextPort) -> Result<(), DropReason> {
    let routing = &config.meshtastic.packet_routing;
    let is_chat = |number| routing.chat_portnums.contains(&PortNum(number));
    let sensors = config.meshtastic.detection_sensor;
    let (number, reason) = match port {
        TextPort::Text => (1, None),
        TextPort::DetectionSensor => (10, (!sensors).then_some(DropReason::SensorsOff)),
        TextPort::Alert => (11, None),
        TextPort::Other(number) => (number, (!is_chat(number)).then_some(DropReason::OtherPort)),
    };
    if number == NEVER_RELAYED || routing.disabled_portnums.contains(&PortNum(number)) {
        return Err(DropReason::DisabledPort);
    }
    reason.map_or(Ok(()), Err)
}

/// Returns whether a packet's author consents to publication in a room. A room of which nothing is known counts as public.
pub(super) fn has_consent(config: &Config, packet: &RadioText, room: Option<&JoinedRoom>) -> bool {
    use relay_config::OkToMqtt;
    match config.meshtastic.respect_ok_to_mqtt {
        OkToMqtt::Off => true,
        OkToMqtt::PublicRooms => packet.ok_to_mqtt || room.is_some_and(|it| !it.public),
        OkToMqtt::Always => packet.ok_to_mqtt,
    }
}

/// Returns why a kind of message is not relayed, whoever wrote it. An unknown kind with a body is a text.
pub(super) fn check_kind(config: &Config, text: &RoomText) -> Result<(), DropReason> {
    use relay_config::Media;
    match &text.kind {
        RoomTextKind::Text | RoomTextKind::Emote | RoomTextKind::Location | RoomTextKind::Poll => {
            Ok(())
        }
        RoomTextKind::Notice if config.matrix.relay_notices => Ok(()),
        RoomTextKind::Notice => Err(DropReason::Notice),
        RoomTextKind::Media { .. } => match config.meshtastic.media {
            Media::Note => Ok(()),
            Media::Ignore => Err(DropReason::MediaOff),
        },
        RoomTextKind::LiveLocation => Err(DropReason::LiveLocation),
        RoomTextKind::Other if !text.body.trim().is_empty() => Ok(()),
        RoomTextKind::VerificationRequest | RoomTextKind::Other => Err(DropReason::NotText),
    }
}

/// Returns why a person's text is not relayed. `bot` are the bot's names.
pub(super) fn check_words(
    config: &Config,
    kind: &RoomTextKind,
    words: &str,
    bot: &[&str],
) -> Result<(), DropReason> {
    let off_air = config.matrix.off_air_prefix.as_deref().unwrap_or_default();
    if !off_air.is_empty() && words.starts_with(off_air) {
        return Err(DropReason::OffAir);
    }
    // Notices, locations and polls are no commands.
    let may_command = matches!(
        kind,
        RoomTextKind::Text | RoomTextKind::Emote | RoomTextKind::Media { .. } | RoomTextKind::Other
    );
    let prefix = config.matrix.command_prefix.as_deref().unwrap_or_default();
    if may_command && is_command(words, prefix, bot) {
        return Err(Refused::Command.into());
    }
    Ok(())
}

/// Returns why another relay's message is not carried on.
pub(super) fn check_relay(
    config: &Config,
    sender: &UserId,
    fields: &RelayFields,
    our_meshnet: Option<&str>,
    facts: &Facts,
) -> Result<(), DropReason> {
    if !config.matrix.trusted_relays.iter().any(|it| it == sender) {
        return Err(DropReason::UntrustedRelay);
    }
    let same_name = our_meshnet.is_some_and(|ours| ours.trim() == fields.meshnet.trim());
    if same_name {
        Err(DropReason::SameMeshnet)
    } else if facts.heard_by_our_radio {
        Err(DropReason::RelayOnOurMesh)
    } else {
        Ok(())
    }
}

pub(super) fn is_ignored_user(config: &Config, sender: &UserId) -> bool {
    let mut ignored = config.matrix.ignored_users.iter();
    ignored.any(|it| it.matches(sender))
}

pub(super) fn check_sender(config: &Config, sender: &UserId, power: i64) -> Result<(), DropReason> {
    if is_ignored_user(config, sender) {
        return Err(DropReason::IgnoredUser);
    }
    if !config.matrix.permits(sender) || power < config.matrix.min_power_level {
        return Err(DropReason::Denied);
    }
    Ok(())
}

/// Returns whether a message of a sender with this power level is urgent if it begins with 🚨.
pub(super) fn may_alert(config: &Config, power: i64, facts: &Facts) -> bool {
    let level = config.matrix.urgent_power_level;
    level.is_none_or(|level| power >= level) && facts.urgent_sent < MOST_URGENT
}

/// Returns why the radio does not transmit, as far as it has reported.
pub(super) fn check_radio(config: &Config, profile: Option<&RadioProfile>) -> Result<(), Refused> {
    let Some(profile) = profile else {
        return Ok(());
    };
    if profile.own.is_licensed && config.matrix.allowed_users.is_none() {
        Err(Refused::Licensed)
    } else if profile.locked {
        Err(Refused::Locked)
    } else if !profile.region_set {
        Err(Refused::NoRegion)
    } else if !profile.transmit_enabled {
        Err(Refused::TransmitOff)
    } else {
        Ok(())
    }
}
