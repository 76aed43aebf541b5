//! The reasons for which nothing is relayed, for counters, the log and `status`.

use std::fmt;

use super::lesson::{Lesson, Telling};
use super::notice::Refused;

/// Makes the reasons: who learns of each ([`Telling`]), its short name in counters, and its words in the log.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident: $who:ident $(($lesson:ident))?, $name:literal, $words:literal;)*) => {
        /// Why nothing is relayed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[$doc])* $reason,)*
            /// It cannot go on the air; its sender was told.
            Refused(Refused),
        }

        impl DropReason {
            /// Returns its short name, as used in counters; that of the refusal for a refused message.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                    Self::Refused(refused) => refused.name(),
                }
            }

            /// Returns who learns of it.
            pub(super) fn telling(self) -> Telling {
                match self {
                    $(Self::$reason => Telling::$who $((Lesson::$lesson))?,)*
                    Self::Refused(refused) => Telling::Author(Lesson::Refused(refused)),
                }
            }
        }

        impl fmt::Display for DropReason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$reason => f.write_str($words),)*
                    Self::Refused(refused) => write!(f, "refused: {refused}"),
                }
            }
        }
    };
}

reasons! {
    // It has crossed already, or is ours.
    /// Decided on before.
    Duplicate: Nobody, "duplicate", "decided on before";
    /// A packet of the mesh that we sent ourselves.
    OwnPacket: Nobody, "own_packet", "a packet of our own";
    /// An event of our own.
    OwnEvent: Nobody, "own_event", "an event of our own";
    /// A reaction with one of our own signs.
    FeedbackSign: Nobody, "feedback_sign", "a reaction with a sign of our own";
    // What a relay says of itself, by another account: a person forwards it, or another relay says it.
    /// It carries `mmrelay_suppress`.
    Suppressed: Nobody, "suppressed", "marked `mmrelay_suppress`";
    // A word to a node would cost everybody's air time; `status` counts it.
    /// A direct message between other nodes.
    ForAnotherNode: Nobody, "for_another_node", "a direct message for another node";
    /// The channel named `admin`.
    AdminChannel: Nobody, "admin_channel", "on the channel `admin`";
    /// The radio or `ignore_nodes` ignores its sender.
    IgnoredNode: Nobody, "ignored_node", "its node is ignored";
    /// Its port is in `disabled_portnums`, or is never relayed.
    DisabledPort: Nobody, "disabled_port", "its port is disabled";
    /// Its port carries no chat.
    OtherPort: Nobody, "other_port", "its port carries no chat";
    /// `detection_sensor` is off.
    SensorsOff: Nobody, "sensors_off", "detection sensors are not relayed";
    /// It came by MQTT, and `relay_mqtt` is off.
    MqttOff: Nobody, "mqtt_off", "packets by MQTT are not relayed";
    /// Its author did not consent (`respect_ok_to_mqtt`).
    NoConsent: Nobody, "no_consent", "its author did not consent to publication";
    /// No room is mapped to its channel, or none in this direction.
    UnmappedChannel: Nobody, "unmapped_channel", "no room for its channel";
    // Nobody there wants anything of the bridge, or the operator wants nothing of them.
    /// Its room is not mapped.
    UnmappedRoom: Nobody, "unmapped_room", "its room is not mapped";
    /// Neither text nor media: a request for verification, or an unknown kind without words.
    NotText: Nobody, "not_text", "not a text";
    /// Its sender is in `ignored_users`.
    IgnoredUser: Nobody, "ignored_user", "its sender is ignored";
    // A reaction has no sign, and is not worth a notice.
    /// `message_interactions.reactions` is off.
    ReactionsOff: Nobody, "reactions_off", "reactions are not relayed";
    /// A reaction on something that is not on the mesh, or an edit of something unknown.
    UnknownTarget: Nobody, "unknown_target", "on something that is not on the mesh";
    /// A reaction that is no emoji.
    NotEmoji: Nobody, "not_emoji", "a reaction that is no emoji";
    /// That emoji is on that packet already.
    RepeatedEmoji: Nobody, "repeated_emoji", "that emoji is on that message already";
    /// Three different emoji are on that packet already.
    TooManyEmoji: Nobody, "too_many_emoji", "three emoji are on that message already";
    // Clients show nothing of it, or a newer one counts.
    /// An edit by somebody else than the author.
    ForeignEdit: Nobody, "foreign_edit", "an edit by another person";
    /// An edit that was written before one that has come already.
    OlderEdit: Nobody, "older_edit", "an edit written before one that came already";
    /// An edit that does not change the text.
    SameText: Nobody, "same_text", "an edit that does not change the text";
    // Another relay is about.
    /// Another relay repeats on the mesh what we relayed.
    Echo: Operator, "echo", "another relay's echo of what we relayed";
    /// Another relay's message, and that relay is not in `trusted_relays`.
    UntrustedRelay: Operator, "untrusted_relay", "from another relay; to carry it on, list its user in matrix.trusted_relays";
    /// A trusted relay's message under the name of our own mesh.
    SameMeshnet: Operator, "same_meshnet", "from another relay whose mesh has the name of ours; if it is another mesh, change meshtastic.meshnet_name";
    /// A trusted relay's message that our own radio heard or sent.
    RelayOnOurMesh: Operator, "relay_on_our_mesh", "from another relay on our own mesh; two relays on one mesh and one room are not supported";
    // Its author is to know.
    /// It was written too long ago.
    TooOld: Expired, "too_old", "too old (meshtastic.max_message_age)";
    /// Nothing to read in it.
    Empty: Author(Empty), "empty", "nothing to read in it";
    /// Its sender is not in `allowed_users`, or lacks the power level.
    Denied: Author(Denied), "denied", "its sender may not transmit";
    /// Its room only listens (`direction: to_matrix`).
    OneWayRoom: Author(OneWayRoom), "one_way_room", "its room is one-way";
    /// `broadcast_enabled` is off.
    BroadcastOff: Author(BroadcastOff), "broadcast_off", "nothing is transmitted (meshtastic.broadcast_enabled)";
    /// A picture or the like, and `media` is `ignore`.
    MediaOff: Author(MediaOff), "media_off", "media are not relayed";
    /// A notice, and `relay_notices` is off.
    Notice: Author(Notice), "notice", "notices are not relayed";
    /// A live location: a mesh has no room for a place every few seconds.
    LiveLocation: Author(LiveLocation), "live_location", "live locations are not relayed";
    /// It begins with `off_air_prefix`.
    OffAir: Author(OffAir), "off_air", "meant to stay off the air";
    /// An edit of what is not on the mesh.
    Edit: Author(UnsentEdit), "edit", "an edit of what is not on the mesh";
    /// An edit, or one of what was sent already, and `edits` is not `resend`.
    EditsOff: Author(EditsOff), "edits_off", "edits are not relayed (meshtastic.edits)";
    /// An edit that came too long after the message was sent.
    LateEdit: Author(LateEdit), "late_edit", "an edit long after the message was sent";
    /// The message was corrected twice already.
    TooManyEdits: Author(TooManyEdits), "too_many_edits", "its message was corrected twice already";
    /// An edit that would take back what was sent: it makes a command of it, or keeps it off the air.
    Unsaid: Author(Unsaid), "unsaid", "an edit that would take back what was sent";
}

impl From<Refused> for DropReason {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
