//! Why something is not relayed: for counters, the log and `status`, and who is told.

use self::Often::{Each, FirstInRoom, FirstOfPerson, Once};
use self::Telling::{Author, Expired, Nobody, Operator};
use crate::notice::{Refused, filled_in};
use crate::telling::{Often, Telling, reasons};
use relay_config::Config;
use relay_model::{Sign, UserId};

impl DropReason {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let refusals = Refused::ALL.iter().map(|refused| Self::Refused(*refused));
        Self::ALL.iter().copied().chain(refusals)
    }

    pub(crate) fn telling(self) -> Telling {
        self.texts().telling
    }

    pub(crate) fn sentences(self, config: &Config, author: &UserId) -> String {
        filled_in(self.texts().sentences, config).replace("{author}", author.as_str())
    }

    /// Returns how often its author is told; `None`: never.
    pub(crate) fn often(self) -> Option<Often> {
        match self.telling() {
            Author(often, _) => Some(often),
            Nobody | Operator | Expired => None,
        }
    }

    /// Returns whether a person's message ends by it: it was decided on, and does not go to the mesh.
    pub fn ends_a_message(self) -> bool {
        !matches!(
            self,
            Self::Duplicate
                | Self::OwnEvent
                | Self::Suppressed
                | Self::UnmappedRoom
                | Self::IgnoredUser
                | Self::NotText
                | Self::Refused(Refused::Cut)
        )
    }

    /// Returns whether it concerns an edit rather than a message, and its author is told.
    pub(crate) fn is_of_edits(self) -> bool {
        matches!(
            self,
            Self::Edit | Self::EditsOff | Self::LateEdit | Self::TooManyEdits | Self::Unsaid
        )
    }
}

reasons! {
    /// Why nothing is relayed.
    DropReason and Refused;

    // Already relayed, or our own.
    Duplicate: Nobody, "duplicate", "decided on before";
    OwnPacket: Nobody, "own_packet", "a packet of our own";
    OwnEvent: Nobody, "own_event", "an event of our own";
    FeedbackSign: Nobody, "feedback_sign", "a reaction with a sign of our own";
    // Another relay's own messages, posted by it or forwarded by a person.
    Suppressed: Nobody, "suppressed", "marked `mmrelay_suppress`";
    // A notice to the node would cost air time; `status` counts it.
    ForAnotherNode: Nobody, "for_another_node", "a direct message for another node";
    AdminChannel: Nobody, "admin_channel", "on the channel `admin`";
    /// The radio or `ignore_nodes` ignores its sender.
    IgnoredNode: Nobody, "ignored_node", "its node is ignored";
    /// Its port is in `disabled_portnums`, or is never relayed.
    DisabledPort: Nobody, "disabled_port", "its port is disabled";
    OtherPort: Nobody, "other_port", "its port carries no chat";
    /// `detection_sensor` is off.
    SensorsOff: Nobody, "sensors_off", "detection sensors are not relayed";
    /// It came by MQTT, and `relay_mqtt` is off.
    MqttOff: Nobody, "mqtt_off", "packets by MQTT are not relayed";
    /// Its author did not consent (`respect_ok_to_mqtt`).
    NoConsent: Nobody, "no_consent", "its author did not consent to publication";
    /// No room is mapped to its channel, or none in this direction.
    UnmappedChannel: Nobody, "unmapped_channel", "no room for its channel";
    // No notice: nobody there expects one, or the operator has excluded them.
    UnmappedRoom: Nobody, "unmapped_room", "its room is not mapped";
    /// Neither text nor media: a request for verification, or an unknown kind without words.
    NotText: Nobody, "not_text", "not a text";
    /// Its sender is in `ignored_users`.
    IgnoredUser: Nobody, "ignored_user", "its sender is ignored";
    // Reactions have no sign, and are not worth a notice.
    /// `message_interactions.reactions` is off.
    ReactionsOff: Nobody, "reactions_off", "reactions are not relayed";
    /// A reaction on something that is not on the mesh, or an edit of something unknown.
    UnknownTarget: Nobody, "unknown_target", "on something that is not on the mesh";
    NotEmoji: Nobody, "not_emoji", "a reaction that is no emoji";
    RepeatedEmoji: Nobody, "repeated_emoji", "that emoji is on that message already";
    TooManyEmoji: Nobody, "too_many_emoji", "three emoji are on that message already";
    // Clients ignore such edits, or a newer one counts.
    ForeignEdit: Nobody, "foreign_edit", "an edit by another person";
    OlderEdit: Nobody, "older_edit", "an edit written before one that came already";
    SameText: Nobody, "same_text", "an edit that does not change the text";
    /// A question for a message's story by 🔍, of a room that was answered less than a minute ago.
    AskedAgain: Nobody, "asked_again", "a question for a message's story, in a room that was just answered";
    /// Such a question that came more than ten minutes late.
    LateQuestion: Nobody, "late_question", "a question for a message's story from long ago";
    // Another relay is present.
    Echo: Operator, "echo", "another relay's echo of what we relayed";
    UntrustedRelay: Operator, "untrusted_relay", "from another relay" => "to carry it on, list its user in matrix.trusted_relays";
    SameMeshnet: Operator, "same_meshnet", "from another relay whose mesh has the name of ours" => "if it is another mesh, change meshtastic.meshnet_name";
    /// A trusted relay's message that our own radio heard or sent.
    RelayOnOurMesh: Operator, "relay_on_our_mesh", "from another relay on our own mesh" => "two relays on one mesh and one room are not supported";
    // The author is told.
    TooOld: Expired, "too_old", "too old (meshtastic.max_message_age)";
    Empty: Author(Each, Some(Sign::Refused)), "empty", "nothing to read in it",
        "Not sent to the mesh: there is nothing in it that can be read there.";
    /// Its sender is not in `allowed_users`, or lacks the power level.
    Denied: Author(FirstOfPerson, Some(Sign::Denied)), "denied", "its sender may not transmit",
        "Not sent to the mesh: {author} may not transmit here. The operator of this bridge decides who may.";
    /// It came unencrypted into an encrypted room, and `matrix.e2ee.require` is set.
    InClear: Author(FirstOfPerson, Some(Sign::Denied)), "in_clear", "not encrypted in an encrypted room (matrix.e2ee.require)",
        "Not sent to the mesh: this room is encrypted, and the message was not. Please write with an app that encrypts.";
    /// Its room only listens (`direction: to_matrix`).
    OneWayRoom: Author(FirstInRoom, Some(Sign::Denied)), "one_way_room", "its room is one-way",
        "Not sent to the mesh: this room shows what the mesh says, and nothing that is written here is transmitted.";
    BroadcastOff: Author(FirstInRoom, Some(Sign::Denied)), "broadcast_off", "nothing is transmitted (meshtastic.broadcast_enabled)",
        "Not sent to the mesh: this bridge only listens, and nothing that is written here is transmitted \
         (meshtastic.broadcast_enabled).";
    /// A picture or the like, and `media` is `ignore`.
    MediaOff: Author(FirstInRoom, Some(Sign::Refused)), "media_off", "media are not relayed",
        "Not sent to the mesh: nothing is said there of pictures and files, captions included (meshtastic.media). Please write \
         the words as a message of their own.";
    /// A notice, and `relay_notices` is off.
    Notice: Author(Once, Some(Sign::Refused)), "notice", "notices are not relayed",
        "Not sent to the mesh: it is a notice, as programs write them. Please send an ordinary message; the operator of this \
         bridge can have notices sent, too (matrix.relay_notices). This is said once.";
    /// A live location: a mesh has no room for a place every few seconds.
    LiveLocation: Author(FirstOfPerson, None), "live_location", "live locations are not relayed",
        "Not sent to the mesh: live locations are not sent there. Please send where you are as a location, once, or write it.";
    /// It begins with `off_air_prefix`.
    OffAir: Author(Once, None), "off_air", "meant to stay off the air",
        "Not sent to the mesh: what begins with `{off_air_prefix}` stays in Matrix. Without `{off_air_prefix}` it is sent. This \
         is said once.";
    Edit: Author(FirstOfPerson, None), "edit", "an edit of what is not on the mesh",
        "Not sent to the mesh: the message that was edited was not sent there either. Please write it as a new message.";
    /// An edit, or one of what was sent already, and `edits` is not `resend`.
    EditsOff: Author(FirstOfPerson, None), "edits_off", "edits are not relayed (meshtastic.edits)",
        "On the mesh the text stays as it was: edits are not sent there (meshtastic.edits). To correct it, please write a new \
         message.";
    LateEdit: Author(FirstOfPerson, None), "late_edit", "an edit long after the message was sent",
        "On the mesh the text stays as it was: the edit came too long after the message. To correct it, please write a new \
         message.";
    TooManyEdits: Author(FirstOfPerson, None), "too_many_edits", "its message was corrected twice already",
        "On the mesh the text stays as it was: a message is corrected there twice at most. To correct it again, please write a \
         new message.";
    /// An edit that would take back what was sent: it makes a command of it, or keeps it off the air.
    Unsaid: Author(FirstOfPerson, None), "unsaid", "an edit that would take back what was sent",
        "On the mesh the text stays as it was: what was transmitted cannot be taken back.";
}

impl From<Refused> for DropReason {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{alice, config};
    use relay_model::{Explained as _, full_text};

    #[test]
    fn what_can_be_done_is_the_hint_of_a_reason_and_no_part_of_its_words() {
        for (reason, words, hint) in [
            (
                Refused::Locked,
                "the radio is locked and tells its client nothing",
                Some("switch lockdown off in the app"),
            ),
            (Refused::Radio, "the radio refused it", None),
        ] {
            assert_eq!(reason.to_string(), words);
            assert_eq!(reason.hint().as_deref(), hint);
            assert_eq!(DropReason::from(reason).hint(), reason.hint());
        }
        assert_eq!(
            full_text(&DropReason::UntrustedRelay),
            "from another relay; to carry it on, list its user in matrix.trusted_relays"
        );
        for reason in DropReason::all() {
            assert!(!reason.to_string().contains(';') || reason.hint().is_none());
        }
    }

    #[test]
    fn every_setting_that_a_sentence_names_is_filled_in() {
        for reason in DropReason::all() {
            let sentences = reason.sentences(&config(), &alice());
            assert!(!sentences.contains(['{', '}']), "{sentences}");
        }
    }

    #[test]
    fn the_names_of_reasons_differ() {
        fn differ(names: &[&str]) -> bool {
            names.iter().collect::<BTreeSet<_>>().len() == names.len()
        }

        assert!(differ(
            &Refused::ALL.iter().map(|it| it.name()).collect::<Vec<_>>()
        ));
        assert!(differ(
            &DropReason::ALL
                .iter()
                .map(|it| it.name())
                .collect::<Vec<_>>()
        ));
    }
}
