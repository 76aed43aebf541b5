//! Names, prefixes and bodies: how messages of one network look on the other.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation as _;

use crate::text::{clean_name, clean_text, excerpt, first_graphemes, fitting, folded, one_emoji};
use relay_config::{
    Config, MeshVariable, Meshtastic, Piece, ReactionVariable, RoomVariable, Template, Variable,
};
use relay_model::{
    Heading, Media, Node, PacketId, RadioText, RelayFields, RoomText, RoomTextKind, SenderProfile,
    TextPort, UserId,
};

/// Prefix of an alert, and mark of an urgent Matrix message.
pub(crate) const ALERT: &str = "🚨";

/// Placeholder for an unknown measurement.
const UNKNOWN: &str = "?";
/// Maximum bytes of a name in a per-message profile (MSC4144).
const PROFILE_NAME_BYTES: usize = 255;
/// Maximum grapheme clusters of a display name that are considered.
const LONGEST_NAME: usize = 64;
/// Maximum grapheme clusters of a display name before a part counter.
const LABEL_GRAPHEMES: usize = 5;
/// Maximum grapheme clusters quoted by a reaction in words.
const QUOTED: usize = 40;

/// A packet with sanitised names of its sender and mesh.
#[derive(Debug, Clone)]
pub(crate) struct Speaker<'a> {
    packet: &'a RadioText,
    long: String,
    short: String,
    mesh: String,
}

impl<'a> Speaker<'a> {
    pub(crate) fn of(packet: &'a RadioText, meshnet: &str) -> Self {
        let (long, short) = node_names(&packet.sender);
        Self {
            packet,
            long,
            short,
            mesh: clean_name(meshnet),
        }
    }

    /// Returns the prefix of its text in a room.
    pub(crate) fn prefix(&self, config: &Config) -> String {
        if config.matrix.prefix_enabled {
            render(&config.matrix.prefix_format, |it| self.value(it))
        } else {
            String::new()
        }
    }

    /// Returns its name and picture for apps that show them with the message, if that is wanted.
    pub(crate) fn profile(&self, config: &Config) -> Option<SenderProfile> {
        let wanted = &config.matrix.per_message_profiles;
        let name = || {
            let name = clean_name(&render(&wanted.name_format, |it| self.value(it)));
            let name = fitting(&name, PROFILE_NAME_BYTES);
            if name.is_empty() { &self.long } else { name }.to_owned()
        };
        wanted.enabled.then(|| SenderProfile {
            node: self.packet.sender.num,
            name: name(),
            avatar: wanted.avatars,
        })
    }

    /// Returns the key of the `m.reaction` for its tapback; without names in encrypted rooms, because reactions are never
    /// encrypted.
    pub(crate) fn reaction_key(&self, config: &Config, emoji: &str, encrypted: bool) -> String {
        if encrypted {
            return emoji.to_owned();
        }
        let key = render(&config.matrix.reaction_format, |it| match it {
            ReactionVariable::Emoji => emoji.into(),
            ReactionVariable::Packet(variable) => self.value(variable),
        });
        match key.trim() {
            "" => emoji.to_owned(),
            key => key.to_owned(),
        }
    }

    /// Returns MMRelay's fields for its event.
    pub(crate) fn fields(&self, text: &str) -> RelayFields {
        let packet = self.packet;
        RelayFields {
            id: Some(packet.packet).filter(|it| *it != PacketId::NONE),
            longname: self.long.clone(),
            shortname: self.short.clone(),
            meshnet: self.mesh.clone(),
            portnum: packet.port_name.clone(),
            text: Some(text.to_owned()),
            reply_id: packet.reply_to,
            emoji: false,
            hops: packet.hops,
            snr: packet.snr.filter(|it| it.is_finite()),
            rssi: packet.rssi,
            via_mqtt: packet.via_mqtt,
            // Chosen when the post is stored.
            relay_id: None,
        }
    }

    fn value(&self, variable: RoomVariable) -> Cow<'_, str> {
        let packet = self.packet;
        let measured = |value: Option<String>| value.map_or(UNKNOWN.into(), Cow::from);
        let snr = packet.snr.filter(|it| it.is_finite());
        match variable {
            RoomVariable::Long => (&self.long).into(),
            RoomVariable::Short => (&self.short).into(),
            RoomVariable::Mesh => (&self.mesh).into(),
            RoomVariable::Channel => clean_name(&packet.channel_name).into(),
            RoomVariable::Hops => measured(packet.hops.map(|it| it.to_string())),
            RoomVariable::Snr => measured(snr.map(|it| it.to_string())),
            RoomVariable::Rssi => measured(packet.rssi.map(|it| it.to_string())),
            RoomVariable::Mqtt => if packet.via_mqtt { "MQTT" } else { "" }.into(),
        }
    }
}

/// Returns a node's sanitised long and short name. A missing long name is replaced by the short one, or else by the firmware's
/// default.
pub(crate) fn node_names(node: &Node) -> (String, String) {
    let nameless = Node::unknown(node.num);
    let seen = |name: &Option<String>| {
        let clean = name.as_deref().map(clean_name);
        clean.filter(|it| !it.is_empty())
    };
    let short = seen(&node.short_name);
    let long = seen(&node.long_name).or_else(|| short.clone());
    (
        long.unwrap_or_else(|| nameless.long()),
        short.unwrap_or_else(|| nameless.short()),
    )
}

pub(crate) fn shown_text(packet: &RadioText, clean: &str) -> String {
    match packet.port {
        TextPort::Alert if !clean.starts_with(ALERT) => format!("{ALERT} {clean}"),
        TextPort::Alert | TextPort::Text | TextPort::DetectionSensor | TextPort::Other(_) => {
            clean.to_owned()
        }
    }
}

/// Returns the heading of a user's packets.
pub(crate) fn user_heading(config: &Config, user: &UserId, display_name: &str) -> Heading {
    if !config.meshtastic.prefix_enabled {
        return Heading::default();
    }
    let clean = match clean_name(display_name).as_str() {
        "" => clean_name(user.localpart()),
        name => name.to_owned(),
    };
    let name = first_graphemes(&clean, LONGEST_NAME);
    let limit = longest_prefix(&config.meshtastic);
    Heading {
        prefix: user_prefix(&config.meshtastic.prefix_format, user, name, limit),
        label: within(first_graphemes(name, LABEL_GRAPHEMES), limit),
    }
}

/// Returns the prefix, with the name shortened until a text fits into the shortest part.
fn user_prefix(
    template: &Template<MeshVariable>,
    user: &UserId,
    mut name: &str,
    limit: usize,
) -> String {
    let (id, localpart) = (clean_name(user.as_str()), clean_name(user.localpart()));
    loop {
        let prefix = render(template, |it| match it {
            MeshVariable::Display => name.into(),
            MeshVariable::User => (&id).into(),
            MeshVariable::Username => (&localpart).into(),
            MeshVariable::Server => user.server_name().as_str().into(),
        });
        if prefix.len() <= limit {
            return prefix;
        }
        match name.grapheme_indices(true).next_back() {
            Some((last, _)) => name = name.get(..last).unwrap_or_default(),
            None => return format!("{}: ", within(&prefix, limit).trim_end()),
        }
    }
}

/// Returns the maximum length of a prefix: a third of a part.
fn longest_prefix(meshtastic: &Meshtastic) -> usize {
    meshtastic.long_messages.part_bytes / 3
}

/// Returns as much of a name as leaves room for `: `.
fn within(name: &str, limit: usize) -> String {
    fitting(name, limit.saturating_sub(": ".len())).to_owned()
}

/// Returns the heading of packets that carry on another relay's message.
pub(crate) fn relay_heading(config: &Config, fields: &RelayFields) -> Heading {
    let beginning = |name: &str| first_graphemes(&clean_name(name), 4).trim_end().to_owned();
    let short = match beginning(&fields.shortname).as_str() {
        "" => first_graphemes(&clean_name(&fields.longname), 4).to_owned(),
        name => name.to_owned(),
    };
    let short = if short.is_empty() { "???" } else { &*short };
    let limit = longest_prefix(&config.meshtastic);
    let who = match beginning(&fields.meshnet).as_str() {
        "" => short.to_owned(),
        mesh => format!("{short}/{mesh}"),
    };
    Heading {
        prefix: format!("{}: ", within(&who, limit)),
        label: within(short, limit),
    }
}

/// Returns the heading of an emote, which reads as one sentence: `* Alice[M] waves`.
pub(crate) fn emote_heading(heading: &Heading) -> Heading {
    let name = heading.prefix.trim_end().trim_end_matches(':');
    Heading {
        prefix: if name.is_empty() {
            "* ".to_owned()
        } else {
            format!("* {name} ")
        },
        label: heading.label.clone(),
    }
}

/// Returns a room message's text for the mesh, without prefix; empty if nothing is readable.
pub(crate) fn spoken_text(text: &RoomText) -> String {
    let clean = clean_text(&text.body);
    match &text.kind {
        RoomTextKind::Text | RoomTextKind::Emote | RoomTextKind::Notice | RoomTextKind::Other => {
            clean
        }
        RoomTextKind::Media { word } if clean.is_empty() => format!("[{word}]"),
        RoomTextKind::Media { word } => format!("[{word}] {clean}"),
        RoomTextKind::Location | RoomTextKind::Poll if clean.is_empty() => clean,
        RoomTextKind::Location => format!("[location] {clean}"),
        RoomTextKind::Poll => format!("[poll] {clean}"),
        RoomTextKind::LiveLocation | RoomTextKind::VerificationRequest => String::new(),
    }
}

/// Returns another relay's text for the mesh, without that relay's prefix.
pub(crate) fn carried_text(text: &RoomText, fields: &RelayFields) -> String {
    let body = clean_text(&text.body);
    if fields.emoji {
        let reaction = body.find("reacted ").and_then(|at| body.get(at..));
        return reaction.unwrap_or(&body).to_owned();
    }
    match fields.text.as_deref().map(clean_text) {
        Some(raw) if !raw.is_empty() => raw,
        Some(_) | None => body,
    }
}

/// Returns the note for pictures and the like without captions.
pub(crate) fn media_note(media: &Media) -> String {
    let several = match media.word.as_str() {
        "video" => "videos",
        "image" => "images",
        "file" => "files",
        "sticker" => "stickers",
        "voice" => "voice messages",
        "audio" => "audio files",
        _ => "media",
    };
    format!("[{} {several}]", media.count)
}

pub(crate) fn reaction_in_words(emoji: &str, target: &str) -> String {
    format!(
        "reacted {emoji} to \"{}\"",
        excerpt(&clean_text(target), QUOTED)
    )
}

/// Returns the emoji of a reaction key: the key itself, or that of a key we made (`👍 KK7S`).
pub(crate) fn emoji_of_key(format: &Template<ReactionVariable>, key: &str) -> Option<String> {
    if let Some(emoji) = one_emoji(key) {
        return Some(emoji.to_owned());
    }
    let emoji = key.graphemes(true).find_map(one_emoji)?;
    let made = render(format, |it| match it {
        ReactionVariable::Emoji => emoji.into(),
        ReactionVariable::Packet(_) => ANYTHING.into(),
    });
    is_made_of(&folded(key), folded(made.trim()).split(ANYTHING)).then(|| emoji.to_owned())
}

/// Returns whether a text consists of these pieces with something between each two.
fn is_made_of<'a>(text: &str, mut pieces: impl Iterator<Item = &'a str>) -> bool {
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let last = pieces.peek().is_none();
        let gap = if last {
            rest.strip_suffix(piece).map(str::len)
        } else {
            rest.find(piece)
        };
        let Some(gap) = gap.filter(|gap| (1..=LONGEST_GAP).contains(gap)) else {
            return false;
        };
        rest = rest.get(gap + piece.len()..).unwrap_or_default();
    }
    rest.is_empty()
}

/// Wildcard for the name of the node in a key.
const ANYTHING: &str = "\0";
/// Maximum bytes of a value in a reaction key: a long name has at most 39.
const LONGEST_GAP: usize = 40;

fn render<'a, V: Variable>(template: &Template<V>, value: impl Fn(V) -> Cow<'a, str>) -> String {
    let mut text = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Value { variable, limit } => {
                let whole = value(*variable);
                text.push_str(limit.map_or(&*whole, |limit| first_graphemes(&whole, limit)));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    #[test]
    fn a_prefix_for_a_room_may_hold_all_that_is_known_of_a_packet() {
        let mut config = config();
        config.matrix.prefix_format = "{long} {short} {mesh} {channel} {hops} {snr} {rssi} {mqtt}"
            .parse()
            .unwrap();
        let mut packet = packet("x");
        packet.via_mqtt = true;
        let speaker = Speaker::of(&packet, "Valley");
        assert_eq!(
            speaker.prefix(&config),
            "Bob BOB1 Valley LongFast 2 6.25 -90 MQTT"
        );
        packet.via_mqtt = false;
        (packet.hops, packet.snr, packet.rssi) = (None, Some(f32::NAN), None);
        let speaker = Speaker::of(&packet, "Valley");
        assert_eq!(speaker.prefix(&config), "Bob BOB1 Valley LongFast ? ? ? ");
        config.matrix.prefix_enabled = false;
        assert_eq!(speaker.prefix(&config), "");
    }

    #[test]
    fn a_profile_names_the_sender_by_its_format_where_that_is_wanted() {
        let mut config = config();
        let packet = packet("x");
        let profile = |config: &Config| Speaker::of(&packet, "Valley").profile(config);
        assert_eq!(profile(&config), None);
        config.matrix.per_message_profiles.enabled = true;
        let by_default = SenderProfile {
            node: packet.sender.num,
            name: "Bob".to_owned(),
            avatar: true,
        };
        assert_eq!(profile(&config), Some(by_default));
        let mut named = |format: &str| {
            config.matrix.per_message_profiles.name_format = format.parse().unwrap();
            profile(&config).unwrap().name
        };
        assert_eq!(named("{long} ({mesh})"), "Bob (Valley)");
        // Nothing of it would be shown.
        assert_eq!(named(" {mqtt} "), "Bob");
        assert_eq!(named(&"ö".repeat(200)), "ö".repeat(127));
    }

    #[test]
    fn a_cut_value_counts_grapheme_clusters() {
        let mut config = config();
        config.matrix.prefix_format = "[{long2}/{mesh3}] ".parse().unwrap();
        let mut packet = packet("x");
        packet.sender.long_name = Some("👨‍👩‍👧e\u{301}x".into());
        assert_eq!(
            Speaker::of(&packet, "Valley").prefix(&config),
            "[👨‍👩‍👧e\u{301}/Val] "
        );
    }

    #[test]
    fn a_prefix_for_the_mesh_may_name_the_user_in_every_way() {
        let mut config = config();
        config.meshtastic.prefix_format = "{display} {display3} {user} {username} {server}> "
            .parse()
            .unwrap();
        let heading = user_heading(&config, &alice(), "Alice B");
        assert_eq!(
            heading.prefix,
            "Alice B Ali @alice:example.org alice example.org> "
        );
        assert_eq!(heading.label, "Alice");
    }

    #[test]
    fn a_long_name_leaves_room_for_the_text() {
        let mut config = config();
        config.meshtastic.prefix_format = "{display}[M]: ".parse().unwrap();
        let heading = user_heading(&config, &alice(), &"ö".repeat(500));
        assert_eq!(heading.prefix, format!("{}[M]: ", "ö".repeat(30)));
        config.meshtastic.prefix_format = "{user}: ".parse().unwrap();
        config.meshtastic.long_messages.part_bytes = 40;
        let heading = user_heading(&config, &alice(), "Alice");
        assert_eq!(heading.prefix, "@alice:exam: ");
    }

    #[test]
    fn a_reactions_key_follows_its_format_and_is_read_back_as_its_emoji() {
        for (format, key) in [
            ("{emoji} {short}", "👍 BOB1"),
            ("{short}: {emoji}", "BOB1: 👍"),
            ("{emoji}", "👍"),
            ("({long}/{mesh}) {emoji}!", "(Bob/Valley) 👍!"),
        ] {
            let mut config = config();
            config.matrix.reaction_format = format.parse().unwrap();
            let packet = packet("👍");
            let speaker = Speaker::of(&packet, "Valley");
            assert_eq!(speaker.reaction_key(&config, "👍", false), key);
            assert_eq!(speaker.reaction_key(&config, "👍", true), "👍");
            let format = &config.matrix.reaction_format;
            assert_eq!(emoji_of_key(format, key).as_deref(), Some("👍"));
            assert_eq!(emoji_of_key(format, &format!("x{key}x")), None);
        }
    }

    #[test]
    fn another_relays_prefix_is_short_whatever_its_fields_hold() {
        let of = |short: &str, long: &str, mesh: &str| {
            let fields = RelayFields {
                shortname: short.into(),
                longname: long.into(),
                meshnet: mesh.into(),
                ..RelayFields::default()
            };
            relay_heading(&config(), &fields).prefix
        };
        assert_eq!(of("CRL7", "Carol", "Mountains"), "CRL7/Moun: ");
        assert_eq!(of("", "Carol", "Hi"), "Caro/Hi: ");
        assert_eq!(of("\u{202e}", "", ""), "???: ");
        assert_eq!(of("far too long", "", "\0"), "far: ");
        assert!(of(&"👨‍👩‍👧".repeat(9), "", "x").len() <= 66);
    }
}
