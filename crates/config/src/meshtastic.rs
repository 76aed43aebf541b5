//! `meshtastic`: the radio, and what goes on the air.

use std::time::Duration;

use serde_json::json;

use super::choice::choices;
use super::connection::{Connection, connection};
use super::finding::Wrong;
use super::keys::keys;
use super::port::PortNum;
use super::section::Section;
use super::template::{MeshVariable, Template};
use super::value_types::{
    ValueDoc, ValueType, boolean, choice, duration, nodes, ports, some_duration, some_text,
    template, whole,
};
use super::values;
use relay_model::{NodeNum, Sign};

const DM_REPLY: &str = "\"This node is a bridge to Matrix and cannot deliver private messages. \
                        Please write on the channel.\"";

keys! {
    /// The section `meshtastic`.
    pub Meshtastic {
        /// How the radio is reached.
        #[changed = "needs a restart"]
        connection: Connection = by(connection);
        /// This mesh's name in prefixes and in the events; without it the primary channel's name.
        meshnet_name: Option<String> = value("Alpine Mesh", some_text());
        /// What crosses beside texts, both ways.
        message_interactions: MessageInteractions = by(message_interactions);
        /// What a Matrix reaction is on the mesh.
        reaction_style: ReactionStyle = get("tapback", choice());
        /// `false`: nothing goes from Matrix to the mesh.
        broadcast_enabled: bool = get("true", boolean());
        /// Whether texts of detection sensors are relayed.
        detection_sensor: bool = get("true", boolean());
        /// As what texts of detection sensors are relayed.
        detection_sensor_type: SensorType = get("text", choice());
        /// Whether an alert mentions everyone in the room; at most once per node in 10 minutes.
        alert_mentions_room: bool = get("false", boolean());
        /// Which ports are relayed.
        packet_routing: PacketRouting = within(PacketRouting::read);
        /// Nodes whose messages are not relayed, as in `["!a1b2c3d4"]`.
        ignore_nodes: Vec<NodeNum> = get("[]", nodes());
        /// Whether packets that came by MQTT are relayed.
        relay_mqtt: bool = restricting("true", boolean());
        /// Relay only authors who consent to publication ("OK to MQTT").
        respect_ok_to_mqtt: OkToMqtt = restricting("false", choice());
        /// Time from the radio's acceptance of a text to the next, at least 2.02 seconds.
        #[changed = "needs a restart"]
        message_delay: Duration = by(message_delay);
        /// Whether messages of Matrix get a prefix.
        prefix_enabled: bool = get("true", boolean());
        /// Prefix of a Matrix message on the mesh.
        #[wrong = "is left out"]
        prefix_format: Template<MeshVariable> = text(r#""{display5}[M]: ""#, template());
        /// Texts longer than a packet.
        long_messages: LongMessages = within(LongMessages::read);
        /// When a Matrix message is too old to transmit.
        max_message_age: Duration = get("1h", some_duration());
        /// What is sent after an outage of more than 2 minutes, for each room; the rest expires.
        backlog: Backlog = within(Backlog::read);
        /// Channel utilisation from which traffic is spaced, or waits.
        #[changed = "needs a restart"]
        channel_use: ChannelUse = within(ChannelUse::read);
        /// What an edit of a message does that was sent already.
        edits: Edits = get("resend", choice());
        /// What pictures, films and files become.
        media: Media = get("note", choice());
        /// Which signs the sender of a Matrix message sees.
        delivery_feedback: Feedback = get("reactions", choice());
        /// Answer to a direct message to the radio, once per node in 24 hours, of at most 200 bytes; `""` for none.
        dm_reply: Option<String> = text(DM_REPLY, dm_reply());
        /// Whether the radio is given the time after connecting.
        #[changed = "needs a restart"]
        set_time: bool = get("true", boolean());
    }

    /// What crosses beside texts, both ways.
    #[derive(Copy, Eq)]
    pub MessageInteractions {
        /// Whether replies cross.
        replies: bool = get("true", boolean());
        /// Whether reactions cross.
        reactions: bool = get("true", boolean());
    }

    /// Which ports are relayed.
    pub PacketRouting {
        /// Further ports relayed like texts, by name (`RANGE_TEST_APP`) or number.
        #[changed = "needs a restart"]
        #[wrong = "is left out"]
        chat_portnums: Vec<PortNum> = get("[]", ports());
        /// Ports never relayed, likewise.
        #[wrong = "is left out"]
        disabled_portnums: Vec<PortNum> = get("[]", ports());
        /// What happens to packets that the radio could not decrypt.
        #[wrong = "is left out"]
        encrypted_action: EncryptedAction = get("drop", choice());
    }

    /// Texts longer than a packet.
    #[derive(Copy, Eq)]
    pub LongMessages {
        /// Whether they are split.
        split: bool = get("true", boolean());
        /// Into parts of at most so many bytes, prefix and counter included.
        part_bytes: usize = get("200", whole(40..=232, " bytes"));
        /// Into at most so many parts.
        max_parts: usize = get("3", whole(1..=9, " parts"));
        /// What happens to what is longer still.
        overflow: Overflow = get("refuse", choice());
    }

    /// What is sent after an outage, per room.
    #[derive(Copy, Eq)]
    pub Backlog {
        /// So many of the newest messages.
        newest: u32 = get("20", whole(0..=1000, " messages"));
        /// So far apart.
        spacing: Duration = get("10s", duration());
    }

    /// Channel utilisation from which traffic waits.
    #[derive(Copy, Eq)]
    pub ChannelUse {
        /// Above it, texts are spaced to 10 seconds.
        slow_above: u8 = get("25", whole(1..=100, " percent"));
        /// Above it, texts wait; not less than `slow_above`.
        stop_above: u8 = by(|it, key| stop_above(it, key, slow_above));
    }
}

choices! {
    /// What a Matrix reaction becomes on the mesh.
    pub ReactionStyle {
        /// An emoji on the message.
        Tapback,
        /// A text of its own.
        Text,
    }

    /// As what a detection sensor's text is posted.
    pub SensorType {
        /// `m.text`.
        Text,
        /// `m.notice`.
        Notice,
    }

    /// Whether the author's consent to publication outside the mesh is asked for.
    pub OkToMqtt {
        /// Everyone is relayed.
        #[strum(serialize = "false")]
        Off,
        /// Only with consent to rooms that anyone may join.
        PublicRooms,
        /// Only with consent to any room.
        #[strum(serialize = "true")]
        Always,
    }

    /// What happens to packets that the radio could not decrypt.
    pub EncryptedAction {
        /// They are counted and forgotten, as with MMRelay's `plugin_only`.
        #[strum(to_string = "drop", serialize = "plugin_only")]
        Drop,
    }

    /// What happens to a text that is too long even when split.
    pub Overflow {
        /// It is refused whole, and its sender told why.
        Refuse,
        /// It is cut, and its sender told.
        Cut,
    }

    /// What an edit does to a message that was sent already.
    pub Edits {
        /// The new text is sent as a reply to the original.
        Resend,
        /// Nothing; it changes what still waits.
        Queued,
        /// Nothing, not even to what still waits.
        Ignore,
    }

    /// What media become on the mesh.
    pub Media {
        /// `[image] caption` and the like.
        Note,
        /// Nothing.
        Ignore,
    }

    /// Which signs the sender of a Matrix message sees.
    pub Feedback {
        /// All.
        Reactions,
        /// Only ⏳ ❌ 🚫 ⌛.
        Failures,
        /// None.
        Off,
    }
}

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
    let is_old_given = section.is_given("relay_reactions");
    section.reader.is_mmrelay |= is_old_given;
    let old = section.get("relay_reactions", "true", boolean());
    let mut crossing = section.within(key, MessageInteractions::read);
    let new = "meshtastic.message_interactions.reactions";
    if !section.reader.given.contains_key(new) {
        crossing.reactions = old;
    } else if is_old_given {
        let sentence =
            "is the old name of `message_interactions.reactions`, which is given too and counts";
        section.warning("relay_reactions", sentence);
    }
    crossing
}

fn message_delay(section: &mut Section<'_>, key: &'static str) -> Duration {
    let delay = section.get(key, "2.05", duration());
    if delay < Meshtastic::SHORTEST_DELAY {
        let sentence = "is raised to 2.02 s: the radio refuses texts that follow faster";
        section.warning(key, sentence);
    }
    delay.max(Meshtastic::SHORTEST_DELAY)
}

fn stop_above(section: &mut Section<'_>, key: &'static str, slow_above: u8) -> u8 {
    let stop_above = section.get(key, "40", whole(1..=100, " percent"));
    if slow_above > stop_above {
        let sentence = "is less than `slow_above`: traffic would stop before it is slowed";
        section.problem(key, Wrong::new(sentence));
    }
    stop_above
}

/// The answer to a direct message, which must fit into one packet.
fn dm_reply() -> ValueType<Option<String>> {
    const MOST: usize = 200;
    let doc = || {
        let schema = json!({ "type": ["string", "number"], "maxLength": MOST });
        ValueDoc::new("a text", schema)
    };
    ValueType::new(doc, |node| {
        let reply = values::text_or_none(node)?;
        let bytes = reply.as_ref().map_or(0, String::len);
        if bytes > MOST {
            let sentence = format!("has {bytes} bytes, and a packet takes {MOST}");
            return Err(Wrong::new(sentence).into());
        }
        Ok(reply)
    })
}
