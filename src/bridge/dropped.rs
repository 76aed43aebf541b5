//! The reasons for which nothing is relayed, for counters, the log and `status`.

use std::fmt;

use super::lesson::{Lesson, Telling};
use super::notice::Refused;

/// Why nothing is relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// Decided on before.
    Duplicate,
    /// A packet of the mesh that we sent ourselves.
    OwnPacket,
    /// A direct message between other nodes.
    ForAnotherNode,
    /// The channel named `admin`.
    AdminChannel,
    /// The radio or `ignore_nodes` ignores its sender.
    IgnoredNode,
    /// Its port is in `disabled_portnums`, or is never relayed.
    DisabledPort,
    /// Its port carries no chat.
    OtherPort,
    /// `detection_sensor` is off.
    SensorsOff,
    /// It came by MQTT, and `relay_mqtt` is off.
    MqttOff,
    /// Its author did not consent (`respect_ok_to_mqtt`).
    NoConsent,
    /// Another relay repeats on the mesh what we relayed.
    Echo,
    /// No room is mapped to its channel, or none in this direction.
    UnmappedChannel,
    /// Nothing to read in it.
    Empty,
    /// `message_interactions.reactions` is off.
    ReactionsOff,
    /// An event of our own.
    OwnEvent,
    /// It carries `mmrelay_suppress`.
    Suppressed,
    /// Its room is not mapped.
    UnmappedRoom,
    /// Its room only listens (`direction: to_matrix`).
    OneWayRoom,
    /// A notice, and `relay_notices` is off.
    Notice,
    /// Neither text nor media: a request for verification, or an unknown kind without words.
    NotText,
    /// A picture or the like, and `media` is `ignore`.
    MediaOff,
    /// A live location: a mesh has no room for a place every few seconds.
    LiveLocation,
    /// It begins with `off_air_prefix`.
    OffAir,
    /// Another relay's message, and that relay is not in `trusted_relays`.
    UntrustedRelay,
    /// A trusted relay's message under the name of our own mesh.
    SameMeshnet,
    /// A trusted relay's message that our own radio heard or sent.
    RelayOnOurMesh,
    /// `broadcast_enabled` is off.
    BroadcastOff,
    /// Its sender is in `ignored_users`.
    IgnoredUser,
    /// Its sender is not in `allowed_users`, or lacks the power level.
    Denied,
    /// A reaction on something that is not on the mesh, or an edit of something unknown.
    UnknownTarget,
    /// A reaction that is no emoji.
    NotEmoji,
    /// A reaction with one of our own signs.
    FeedbackSign,
    /// That emoji is on that packet already.
    RepeatedEmoji,
    /// Three different emoji are on that packet already.
    TooManyEmoji,
    /// An edit of what is not on the mesh.
    Edit,
    /// An edit, or one of what was sent already, and `edits` is not `resend`.
    EditsOff,
    /// An edit that would take back what was sent: it makes a command of it, or keeps it off the air.
    Unsaid,
    /// An edit by somebody else than the author.
    ForeignEdit,
    /// An edit that was written before one that has come already.
    OlderEdit,
    /// An edit that does not change the text.
    SameText,
    /// An edit that came too long after the message was sent.
    LateEdit,
    /// The message was corrected twice already.
    TooManyEdits,
    /// It was written too long ago.
    TooOld,
    /// It cannot go on the air; its sender was told.
    Refused(Refused),
}

impl DropReason {
    /// Returns its short name, as used in counters; that of the refusal for a refused message.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::OwnPacket => "own_packet",
            Self::ForAnotherNode => "for_another_node",
            Self::AdminChannel => "admin_channel",
            Self::IgnoredNode => "ignored_node",
            Self::DisabledPort => "disabled_port",
            Self::OtherPort => "other_port",
            Self::SensorsOff => "sensors_off",
            Self::MqttOff => "mqtt_off",
            Self::NoConsent => "no_consent",
            Self::Echo => "echo",
            Self::UnmappedChannel => "unmapped_channel",
            Self::Empty => "empty",
            Self::ReactionsOff => "reactions_off",
            Self::OwnEvent => "own_event",
            Self::Suppressed => "suppressed",
            Self::UnmappedRoom => "unmapped_room",
            Self::OneWayRoom => "one_way_room",
            Self::Notice => "notice",
            Self::NotText => "not_text",
            Self::MediaOff => "media_off",
            Self::LiveLocation => "live_location",
            Self::OffAir => "off_air",
            Self::UntrustedRelay => "untrusted_relay",
            Self::SameMeshnet => "same_meshnet",
            Self::RelayOnOurMesh => "relay_on_our_mesh",
            Self::BroadcastOff => "broadcast_off",
            Self::IgnoredUser => "ignored_user",
            Self::Denied => "denied",
            Self::UnknownTarget => "unknown_target",
            Self::NotEmoji => "not_emoji",
            Self::FeedbackSign => "feedback_sign",
            Self::RepeatedEmoji => "repeated_emoji",
            Self::TooManyEmoji => "too_many_emoji",
            Self::Edit => "edit",
            Self::EditsOff => "edits_off",
            Self::Unsaid => "unsaid",
            Self::ForeignEdit => "foreign_edit",
            Self::OlderEdit => "older_edit",
            Self::SameText => "same_text",
            Self::LateEdit => "late_edit",
            Self::TooManyEdits => "too_many_edits",
            Self::TooOld => "too_old",
            Self::Refused(refused) => refused.name(),
        }
    }

    /// Returns whether the operator should hear of it, once for each sender: another relay is about, and something may have to
    /// be set.
    #[must_use]
    pub fn concerns_operator(self) -> bool {
        self.telling() == Telling::Operator
    }

    /// Decides who learns of it.
    pub(super) fn telling(self) -> Telling {
        match self {
            // It has crossed already, or is ours.
            Self::Duplicate
            | Self::OwnPacket
            | Self::OwnEvent
            | Self::FeedbackSign
            // What a relay says of itself, by another account: a person forwards it, or another relay says it.
            | Self::Suppressed
            // A word to a node would cost everybody's air time; `status` counts it.
            | Self::ForAnotherNode
            | Self::AdminChannel
            | Self::IgnoredNode
            | Self::DisabledPort
            | Self::OtherPort
            | Self::SensorsOff
            | Self::MqttOff
            | Self::NoConsent
            | Self::UnmappedChannel
            // Nobody there wants anything of the bridge, or the operator wants nothing of them.
            | Self::UnmappedRoom
            | Self::NotText
            | Self::IgnoredUser
            // A reaction has no sign, and is not worth a notice.
            | Self::ReactionsOff
            | Self::UnknownTarget
            | Self::NotEmoji
            | Self::RepeatedEmoji
            | Self::TooManyEmoji
            // Clients show nothing of it, or a newer one counts.
            | Self::ForeignEdit
            | Self::OlderEdit
            | Self::SameText => Telling::Nobody,
            Self::Echo | Self::UntrustedRelay | Self::SameMeshnet | Self::RelayOnOurMesh => {
                Telling::Operator
            }
            Self::TooOld => Telling::Expired,
            Self::Refused(refused) => Telling::Author(Lesson::Refused(refused)),
            Self::Empty => Telling::Author(Lesson::Empty),
            Self::Denied => Telling::Author(Lesson::Denied),
            Self::OneWayRoom => Telling::Author(Lesson::OneWayRoom),
            Self::BroadcastOff => Telling::Author(Lesson::BroadcastOff),
            Self::MediaOff => Telling::Author(Lesson::MediaOff),
            Self::Notice => Telling::Author(Lesson::Notice),
            Self::LiveLocation => Telling::Author(Lesson::LiveLocation),
            Self::OffAir => Telling::Author(Lesson::OffAir),
            Self::Edit => Telling::Author(Lesson::UnsentEdit),
            Self::EditsOff => Telling::Author(Lesson::EditsOff),
            Self::LateEdit => Telling::Author(Lesson::LateEdit),
            Self::TooManyEdits => Telling::Author(Lesson::TooManyEdits),
            Self::Unsaid => Telling::Author(Lesson::Unsaid),
        }
    }
}

impl From<Refused> for DropReason {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Duplicate => "decided on before",
            Self::OwnPacket => "a packet of our own",
            Self::ForAnotherNode => "a direct message for another node",
            Self::AdminChannel => "on the channel `admin`",
            Self::IgnoredNode => "its node is ignored",
            Self::DisabledPort => "its port is disabled",
            Self::OtherPort => "its port carries no chat",
            Self::SensorsOff => "detection sensors are not relayed",
            Self::MqttOff => "packets by MQTT are not relayed",
            Self::NoConsent => "its author did not consent to publication",
            Self::Echo => "another relay's echo of what we relayed",
            Self::UnmappedChannel => "no room for its channel",
            Self::Empty => "nothing to read in it",
            Self::ReactionsOff => "reactions are not relayed",
            Self::OwnEvent => "an event of our own",
            Self::Suppressed => "marked `mmrelay_suppress`",
            Self::UnmappedRoom => "its room is not mapped",
            Self::OneWayRoom => "its room is one-way",
            Self::Notice => "notices are not relayed",
            Self::NotText => "not a text",
            Self::MediaOff => "media are not relayed",
            Self::LiveLocation => "live locations are not relayed",
            Self::OffAir => "meant to stay off the air",
            Self::UntrustedRelay => {
                "from another relay; to carry it on, list its user in matrix.trusted_relays"
            }
            Self::SameMeshnet => {
                "from another relay whose mesh has the name of ours; if it is another mesh, change meshtastic.meshnet_name"
            }
            Self::RelayOnOurMesh => {
                "from another relay on our own mesh; two relays on one mesh and one room are not supported"
            }
            Self::BroadcastOff => "nothing is transmitted (meshtastic.broadcast_enabled)",
            Self::IgnoredUser => "its sender is ignored",
            Self::Denied => "its sender may not transmit",
            Self::UnknownTarget => "on something that is not on the mesh",
            Self::NotEmoji => "a reaction that is no emoji",
            Self::FeedbackSign => "a reaction with a sign of our own",
            Self::RepeatedEmoji => "that emoji is on that message already",
            Self::TooManyEmoji => "three emoji are on that message already",
            Self::Edit => "an edit of what is not on the mesh",
            Self::EditsOff => "edits are not relayed (meshtastic.edits)",
            Self::Unsaid => "an edit that would take back what was sent",
            Self::ForeignEdit => "an edit by another person",
            Self::OlderEdit => "an edit written before one that came already",
            Self::SameText => "an edit that does not change the text",
            Self::LateEdit => "an edit long after the message was sent",
            Self::TooManyEdits => "its message was corrected twice already",
            Self::TooOld => "too old (meshtastic.max_message_age)",
            Self::Refused(refused) => return write!(f, "refused: {refused}"),
        })
    }
}
