//! `meshtastic`: the radio, and what goes on the air.

use std::time::Duration;

use super::connection::{Connection, connection};
use super::finding::Wrong;
use super::section::{Section, keys, words};
use super::template::{MeshVariable, Template};
use super::values::{
    Checked, boolean, choice, duration, list_of, node_num, one_or_list_of, port_num, some_duration,
    some_text, template, text_or_none, whole,
};
use super::yaml::Node;
use relay_model::{NodeNum, Sign};

const DM_REPLY: &str = "This node is a bridge to Matrix and cannot deliver private messages. \
                        Please write on the channel.";

keys! {
    /// The section `meshtastic`.
    Meshtastic {
        /// `connection_type`, with `host` and `port`, `serial_port`, or `ble_address` and `ble_pin`.
        connection: Connection = by(connection);
        /// The mesh's name in prefixes and event fields; `None`: the primary channel's name.
        meshnet_name: Option<String> = value(some_text);
        /// What crosses beside texts.
        message_interactions: MessageInteractions = by(message_interactions);
        /// What a Matrix reaction becomes on the mesh.
        reaction_style: ReactionStyle = get(ReactionStyle::Tapback, choice);
        /// Messages go from Matrix to the mesh at all.
        broadcast_enabled: bool = get(true, boolean);
        /// Texts of detection sensors are relayed.
        detection_sensor: bool = get(true, boolean);
        /// As what.
        detection_sensor_type: SensorType = get(SensorType::Text, choice);
        /// Alerts mention the room.
        alert_mentions_room: bool = get(false, boolean);
        /// Which ports are relayed.
        packet_routing: PacketRouting = within(PacketRouting::read);
        /// Nodes whose messages are not relayed.
        ignore_nodes: Vec<NodeNum> = get(Vec::new(), list_of(node_num));
        /// Packets that came by MQTT are relayed.
        relay_mqtt: bool = restricting(true, boolean);
        /// Whether only authors who consent are relayed.
        respect_ok_to_mqtt: OkToMqtt = restricting(OkToMqtt::Off, choice);
        /// From the radio's acceptance of a text to the next; never under [`Meshtastic::SHORTEST_DELAY`].
        message_delay: Duration = by(message_delay);
        /// Messages of Matrix get a prefix.
        prefix_enabled: bool = get(true, boolean);
        /// That prefix.
        prefix_format: Template<MeshVariable> = text(Template::of("{display5}[M]: "), template);
        /// Texts longer than a packet.
        long_messages: LongMessages = within(LongMessages::read);
        /// When a Matrix message is too old to transmit.
        max_message_age: Duration = get(Duration::from_hours(1), some_duration);
        /// What is sent after an outage.
        backlog: Backlog = within(Backlog::read);
        /// When traffic is spaced or waits.
        channel_use: ChannelUse = within(ChannelUse::read);
        /// What an edit after sending does.
        edits: Edits = get(Edits::Resend, choice);
        /// What media become.
        media: Media = get(Media::Note, choice);
        /// Which signs the sender of a Matrix message sees.
        delivery_feedback: Feedback = get(Feedback::Reactions, choice);
        /// The answer to a direct message; `None`: none.
        dm_reply: Option<String> = text(Some(DM_REPLY.to_owned()), dm_reply);
        /// The radio is given the time after connecting.
        set_time: bool = get(true, boolean);
    }

    /// What crosses beside texts, both ways.
    #[derive(Copy, Eq)]
    MessageInteractions {
        /// Replies.
        replies: bool = get(true, boolean);
        /// Reactions.
        reactions: bool = get(true, boolean);
    }

    /// Which ports are relayed.
    PacketRouting {
        /// Further ports relayed like texts.
        chat_portnums: Vec<PortNum> = get(Vec::new(), one_or_list_of(port_num));
        /// Ports never relayed.
        disabled_portnums: Vec<PortNum> = get(Vec::new(), one_or_list_of(port_num));
        /// What happens to packets that the radio could not decrypt.
        encrypted_action: EncryptedAction = get(EncryptedAction::Drop, choice);
    }

    /// Texts longer than a packet.
    #[derive(Copy, Eq)]
    LongMessages {
        /// They are split.
        split: bool = get(true, boolean);
        /// Into parts of at most so many bytes, prefix and counter included.
        part_bytes: usize = get(200, whole(40..=232, " bytes"));
        /// Into at most so many parts.
        max_parts: usize = get(3, whole(1..=9, " parts"));
        /// What happens to what needs more.
        overflow: Overflow = get(Overflow::Refuse, choice);
    }

    /// What is sent after an outage, per room.
    #[derive(Copy, Eq)]
    Backlog {
        /// So many of the newest messages.
        newest: u32 = get(20, whole(0..=1000, " messages"));
        /// So far apart.
        spacing: Duration = get(Duration::from_secs(10), duration);
    }

    /// Percent of channel utilisation from which traffic waits.
    #[derive(Copy, Eq)]
    ChannelUse {
        /// Above it, texts are spaced to 10 seconds.
        slow_above: u8 = get(25, whole(1..=100, " percent"));
        /// Above it, texts wait.
        stop_above: u8 = by(|it, key| stop_above(it, key, slow_above));
    }
}

words! {
    /// What a Matrix reaction becomes on the mesh.
    ReactionStyle {
        /// A tapback.
        Tapback,
        /// A text.
        Text,
    }

    /// As what a detection sensor's text is posted.
    SensorType {
        /// `m.text`.
        Text,
        /// `m.notice`.
        Notice,
    }

    /// Whether the author's consent to publication outside the mesh is asked for.
    OkToMqtt {
        /// Everything is relayed.
        #[strum(serialize = "false")]
        Off,
        /// To rooms that anyone may join, only with consent.
        PublicRooms,
        /// Everywhere only with consent.
        #[strum(serialize = "true")]
        Always,
    }

    /// What happens to packets that the radio could not decrypt.
    EncryptedAction {
        /// They are counted and forgotten; `plugin_only` is MMRelay's word: there are no plugins to hand them to.
        #[strum(to_string = "drop", serialize = "plugin_only")]
        Drop,
    }

    /// What happens to a text that is too long even when split.
    Overflow {
        /// It is refused whole, and its sender told why.
        Refuse,
        /// It is cut, and its sender told.
        Cut,
    }

    /// What an edit does to a message that was sent already.
    Edits {
        /// The new text is sent as a reply to the original.
        Resend,
        /// Nothing; only what is still queued is changed.
        Queued,
        /// Nothing, not even to what is queued.
        Ignore,
    }

    /// What media become on the mesh.
    Media {
        /// A note with the caption.
        Note,
        /// Nothing.
        Ignore,
    }

    /// Which signs the sender of a Matrix message sees.
    Feedback {
        /// All.
        Reactions,
        /// Only ⏳ ❌ 🚫 ⌛.
        Failures,
        /// None.
        Off,
    }
}

/// A port number of the mesh's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortNum(pub u32);

impl Feedback {
    /// Returns whether people are shown this sign.
    pub fn shows(self, sign: Sign) -> bool {
        let is_success = matches!(sign, Sign::Heard | Sign::Unheard | Sign::Delivered);
        self == Self::Reactions || (self == Self::Failures && !is_success)
    }
}

impl Meshtastic {
    /// The firmware takes one text in two seconds; anything closer is refused by it.
    pub const SHORTEST_DELAY: Duration = Duration::from_millis(2020);

    /// Makes the section with everything but the connection at its default.
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            ..Self::default()
        }
    }
}

fn message_interactions(section: &mut Section<'_>, key: &'static str) -> MessageInteractions {
    // MMRelay's old switch, for reactions alone.
    section.reader.is_mmrelay |= section.is_given("relay_reactions");
    let old = section.get("relay_reactions", true, boolean);
    let mut crossing = section.within(key, MessageInteractions::read);
    let new = "meshtastic.message_interactions.reactions";
    if !section.reader.given.contains_key(new) {
        crossing.reactions = old;
    }
    crossing
}

fn message_delay(section: &mut Section<'_>, key: &'static str) -> Duration {
    let delay = section.get(key, Duration::from_millis(2050), duration);
    if delay < Meshtastic::SHORTEST_DELAY {
        let sentence = "is raised to 2.02 s: the radio refuses texts that follow faster";
        section.warning(key, sentence);
    }
    delay.max(Meshtastic::SHORTEST_DELAY)
}

fn stop_above(section: &mut Section<'_>, key: &'static str, slow_above: u8) -> u8 {
    let stop_above = section.get(key, 40, whole(1..=100, " percent"));
    if slow_above > stop_above {
        let sentence = "is less than `slow_above`: traffic would stop before it is slowed";
        section.problem(key, Wrong::new(sentence));
    }
    stop_above
}

/// Returns the answer to a direct message, which must fit into one packet.
fn dm_reply(node: &Node) -> Checked<Option<String>> {
    const MOST: usize = 200;
    let reply = text_or_none(node)?;
    let bytes = reply.as_ref().map_or(0, String::len);
    if bytes > MOST {
        let sentence = format!("has {bytes} bytes, and a packet takes {MOST}");
        return Err(Wrong::new(sentence).into());
    }
    Ok(reply)
}
