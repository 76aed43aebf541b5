//! Why a message cannot be transmitted, with the sentences for its author.

use crate::telling::{Often, Telling, reasons};
use relay_config::Config;
use relay_model::{NodeNum, Refusal, Sign};

/// The author is told each time.
const AUTHOR: Telling = Telling::Author(Often::Each, Some(Sign::Refused));

reasons! {
    /// Why a room's message cannot be transmitted.
    Refused;

    TooLong: AUTHOR, "too_long", "it is too long (meshtastic.long_messages)",
        "Not sent to the mesh: it does not fit into {room}. Please send it again, shorter.";
    Cut: AUTHOR, "cut", "it is too long and goes without its end (meshtastic.long_messages)",
        "Goes to the mesh without its end: it is too long. Please shorten long messages.";
    NoChannel: AUTHOR, "no_channel", "the radio has no such channel, or it is switched off" => "correct matrix_rooms or the radio",
        "Not sent to the mesh: the radio has no such channel, or it is switched off. The operator of this bridge \
         can correct matrix_rooms or the radio's channels.";
    ChannelGone: AUTHOR, "channel_gone", "its channel is gone from the radio, or has another name or key; it goes to no other",
        "Not sent to the mesh: there is no such channel any more as the one that this belongs to, or it has another \
         name or key now, and it does not go to another one. If it is meant for the channel that this room has now, \
         please write it as a new message.";
    ChannelNotSpoken: AUTHOR, "channel_not_spoken", "its room does not speak on its channel (matrix_rooms); it goes to no other",
        "Not sent to the mesh: nothing of this room goes to the channel that this belongs to, and it does not go to \
         another one. If it is meant for the channel to which this room speaks, please write it as a new message.";
    ChannelForgotten: AUTHOR, "channel_forgotten", "it is not known to which of its room's channels the message belongs that it is about",
        "Not sent to the mesh: it is not known to which of this room's channels the message belongs that this is about. \
         If it is meant for the first of them, please write it as a new message.";
    AdminChannel: AUTHOR, "admin_channel", "the channel `admin` is never relayed" => "map another one in matrix_rooms",
        "Not sent to the mesh: this room is mapped to the channel that administers radios, which is never relayed.";
    ChannelsUnknown: AUTHOR, "channels_unknown", "no radio has told its channels yet",
        "Not sent to the mesh: the radio has not been reached yet, so its channels are not known. Please try later.";
    Licensed: AUTHOR, "licensed", "the radio is a licensed (ham) station" => "say who may transmit in matrix.allowed_users",
        "Not sent to the mesh: the radio is a licensed (ham) station. Its operator must say who may transmit \
         (matrix.allowed_users).";
    Locked: AUTHOR, "locked", "the radio is locked and tells its client nothing" => "switch lockdown off in the app",
        "Not sent to the mesh: the radio is locked. The operator of this bridge can switch its lockdown off.";
    NoRegion: AUTHOR, "no_region", "the radio has no region" => "set lora.region on it",
        "Not sent to the mesh: the radio has no region set (lora.region), so it may not transmit.";
    TransmitOff: AUTHOR, "transmit_off", "the radio's transmitter is switched off" => "set lora.tx_enabled on it",
        "Not sent to the mesh: the radio's transmitter is switched off (lora.tx_enabled).";
    QueueFull: AUTHOR, "queue_full", "too many messages of its room are waiting",
        "Not sent to the mesh: too many messages of this room are waiting. Please try later.";
    SenderLimit: AUTHOR, "sender_limit", "its sender was on the air too often (matrix.sender_limit)",
        "Not sent to the mesh: nobody may send more than {per_minute} packets a minute and {per_hour} an hour. Please try later.";
    Radio: AUTHOR, "radio", "the radio refused it",
        "Not sent to the mesh: the radio refused it.";
    Command: AUTHOR, "command", "it is a command that is not built yet (matrix.command_prefix)",
        "Not sent to the mesh: it is a command (`{command_prefix}help`, `{command_prefix}ping` and the like), and this bridge does \
         not answer that one yet. To send the words, please write them without `{command_prefix}`.";
}

impl Refused {
    /// Returns whether it concerns the channel of the message's target.
    pub(crate) fn is_of_its_target(self) -> bool {
        matches!(
            self,
            Self::ChannelGone | Self::ChannelNotSpoken | Self::ChannelForgotten
        )
    }

    /// Returns the sentences for the sender: what happened, and the cure.
    #[cfg(any(test, feature = "testing"))]
    pub fn explanation(self, config: &Config) -> String {
        filled_in(self.texts().sentences, config)
    }
}

/// Returns sentences with the placeholders of settings replaced.
pub(crate) fn filled_in(sentences: &str, config: &Config) -> String {
    let (long, matrix) = (&config.meshtastic.long_messages, &config.matrix);
    let room = if long.split && long.max_parts > 1 {
        format!("{} packets of {} bytes", long.max_parts, long.part_bytes)
    } else {
        "one packet".to_owned()
    };
    let prefix = |prefix: &Option<String>| prefix.clone().unwrap_or_default();
    let settings = [
        ("{room}", room),
        ("{per_minute}", matrix.sender_limit.per_minute.to_string()),
        ("{per_hour}", matrix.sender_limit.per_hour.to_string()),
        ("{command_prefix}", prefix(&matrix.command_prefix)),
        ("{off_air_prefix}", prefix(&matrix.off_air_prefix)),
    ];
    let fill_in = |text: String, (name, value): (&str, String)| text.replace(name, &value);
    settings.into_iter().fold(sentences.to_owned(), fill_in)
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLong => Self::TooLong,
            Refusal::NoChannel => Self::NoChannel,
            Refusal::TransmitOff | Refusal::NoInterface => Self::TransmitOff,
            Refusal::NoKey | Refusal::Other(_) => Self::Radio,
        }
    }
}

/// Cooldown name of `dm_reply` to any node.
pub(crate) const ANY_DIRECT: &str = "dm_reply";

pub(crate) fn direct_name(node: NodeNum) -> String {
    format!("dm_reply {node}")
}

/// Returns the cooldown name of room mentions by a node's alerts.
pub(crate) fn alert_name(node: NodeNum) -> String {
    format!("alert {node}")
}
