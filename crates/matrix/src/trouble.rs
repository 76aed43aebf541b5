//! Why the bot is not in a configured room, or cannot write there: each reason with its message and hint.

use relay_model::{Explained, OwnedRoomId, OwnedUserId};

/// Why the bot is not in a configured room, or cannot write there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RoomTrouble {
    /// The homeserver knows no such alias.
    #[error("there is no such room alias")]
    NoSuchAlias,
    /// The alias no longer exists; the room that it pointed to goes on.
    #[error(
        "this room alias does not exist any more; the relay goes on with the room that it stood for, {0}"
    )]
    AliasGone(OwnedRoomId),
    /// The alias pointed to a room that was replaced by this one.
    #[error(
        "this room was replaced by {0}, and the homeserver does not tell whether this alias stands for that"
    )]
    AliasUnknown(OwnedRoomId),
    /// The homeserver knows no such room, or nobody of it is in there.
    #[error("there is no such room, or nobody of this homeserver is in it")]
    NoSuchRoom,
    /// The room can be joined by invite only, and this account, the bot's, has none.
    #[error("the bot is not invited")]
    NotInvited(OwnedUserId),
    /// This account, the bot's, was banned from the room.
    #[error("the bot is banned")]
    Banned(OwnedUserId),
    /// The bot was removed; it does not rejoin by itself, even if it could.
    #[error("the bot was put out of the room by {by}")]
    PutOut {
        /// Account of the bot.
        bot: OwnedUserId,
        /// Account of the user who removed it.
        by: OwnedUserId,
    },
    /// There is an invite, but the configuration forbids accepting it.
    #[error("the bot is invited, but `matrix.invites` is `none`")]
    InvitesOff,
    /// Sending would require plain text in an encrypted room.
    #[error("the room is encrypted, and `matrix.e2ee.enabled` is false")]
    Encrypted,
    /// The homeserver cannot reach the room's servers.
    #[error("the homeserver does not reach the server of the room: {0}")]
    ServerAway(String),
    /// Another reason, in the homeserver's words.
    #[error("the room cannot be joined: {0}")]
    Other(String),
    /// The homeserver does not answer; the sync loop reports it.
    #[error("the homeserver does not answer")]
    NoAnswer,
}

impl RoomTrouble {
    /// Returns the variant's name, for machines.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Returns whether the bot is joined despite the problem.
    pub fn concerns_joined(&self) -> bool {
        matches!(
            self,
            Self::AliasGone(_) | Self::AliasUnknown(_) | Self::Encrypted
        )
    }

    /// Returns whether the problem may go away by itself.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::AliasGone(_) | Self::AliasUnknown(_) | Self::ServerAway(_) | Self::NoAnswer
        )
    }
}

impl Explained for RoomTrouble {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoSuchAlias => {
                "check how it is written in `matrix_rooms`, or give the room's id (`!…`)"
            }
            Self::AliasGone(room) => {
                &format!("put {room} into `matrix_rooms` in its place, or set the alias again")
            }
            Self::AliasUnknown(by) => &format!(
                "what is for it waits until the homeserver does; if that lasts, put {by} into `matrix_rooms` in its place, \
                 invite the bot there, and start the relay again"
            ),
            Self::NoSuchRoom => {
                "check the id in `matrix_rooms`; if it is right, invite the bot there, or give the room's link, which names \
                 servers to join it over"
            }
            Self::NotInvited(bot) => &format!("invite {bot} there"),
            Self::Banned(bot) => {
                &format!("ask an admin of the room to lift the ban of {bot}, and then to invite it")
            }
            Self::PutOut { bot, .. } => &format!("ask an admin of the room to invite {bot} again"),
            Self::InvitesOff => {
                "set it to `mapped`, or join the room with another client of the bot's account"
            }
            Self::Encrypted => "set it to true, or map another room",
            Self::ServerAway(_) => {
                "check the server's name in `matrix_rooms`; if it is right, the relay goes on when that server is back"
            }
            Self::Other(_) => {
                "the homeserver's own words say what to change; the relay tries again"
            }
            Self::NoAnswer => "nothing is lost: the relay goes on when the homeserver is back",
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_the_cure_only_where_one_would_help() {
        let bot: OwnedUserId = "@relay:example.org".try_into().unwrap();
        let put_out = RoomTrouble::PutOut {
            bot: bot.clone(),
            by: "@alice:example.org".try_into().unwrap(),
        };
        let room: OwnedRoomId = "!abc:example.org".try_into().unwrap();
        for (trouble, cure) in [
            (RoomTrouble::NoSuchAlias, "check"),
            (RoomTrouble::AliasGone(room.clone()), "!abc:example.org"),
            (RoomTrouble::AliasUnknown(room), "!abc:example.org"),
            (RoomTrouble::NoSuchRoom, "check"),
            (
                RoomTrouble::NotInvited(bot.clone()),
                "invite @relay:example.org",
            ),
            (RoomTrouble::Banned(bot), "lift the ban"),
            (put_out, "invite @relay:example.org again"),
            (RoomTrouble::InvitesOff, "`mapped`"),
            (RoomTrouble::Encrypted, "true"),
            (
                RoomTrouble::ServerAway(String::new()),
                "check the server's name",
            ),
        ] {
            let hint = trouble.hint().unwrap();
            assert!(hint.contains(cure), "{trouble}: {hint}");
            let is_about_invites = hint.contains("invite");
            let helps = matches!(
                trouble.name(),
                "alias_unknown" | "no_such_room" | "not_invited" | "banned" | "put_out"
            );
            assert_eq!(is_about_invites, helps, "{trouble}: {hint}");
        }
    }
}
