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
    /// The homeserver knows no such room, or nobody of it is in there.
    #[error("there is no such room, or nobody of this homeserver is in it")]
    NoSuchRoom,
    /// The room can be joined by invite only, and this account, the bot's, has none.
    #[error("the bot is not invited")]
    NotInvited(OwnedUserId),
    /// Only members of certain other rooms may join, and this account, the bot's, is in none of them.
    #[error("the bot is in none of the rooms whose members may join")]
    Restricted(OwnedUserId),
    /// This account, the bot's, has asked to be let in.
    #[error("the bot has knocked, and nobody has let it in yet")]
    Knocked(OwnedUserId),
    /// This account, the bot's, was banned from the room.
    #[error("the bot is banned")]
    Banned(OwnedUserId),
    /// The bot was removed, or its knock refused; it does not rejoin or knock again by itself, even if it could.
    #[error("the bot was put out of the room by {by}, or its knock refused")]
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
    /// The homeserver says that it failed. Some say so of a room that does not exist.
    #[error("the homeserver fails to let the bot in: {0}")]
    ServerFailed(String),
    /// This room is to take the place of the one that the name stands for, and this is in the way.
    #[error("{0} is to take this room's place: {1}")]
    Next(OwnedRoomId, Box<Self>),
    /// A room that is to take an encrypted one's place is not encrypted.
    #[error("it is not encrypted, unlike this room")]
    SuccessorUnencrypted(OwnedRoomId),
    /// A room that is to take a private one's place is public.
    #[error("anyone may join it, unlike this room")]
    SuccessorPublic(OwnedRoomId),
    /// A room that a tombstone names does not name the replaced room.
    #[error("it does not say that it replaces this room")]
    SuccessorUnconfirmed(OwnedRoomId),
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
        match self {
            Self::Next(_, trouble) => trouble.name(),
            alone => alone.into(),
        }
    }

    /// Returns the room that is to take this one's place.
    pub fn successor(&self) -> Option<&OwnedRoomId> {
        if let Self::Next(room, _) = self {
            Some(room)
        } else {
            None
        }
    }

    /// Returns whether the bot is joined despite the problem.
    pub fn concerns_joined(&self) -> bool {
        matches!(
            self,
            Self::AliasGone(_) | Self::Next(_, _) | Self::Encrypted
        )
    }

    /// Returns whether the problem may go away by itself.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Next(_, trouble) => trouble.may_pass(),
            alone => matches!(
                alone,
                Self::AliasGone(_) | Self::ServerAway(_) | Self::ServerFailed(_) | Self::NoAnswer
            ),
        }
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
            Self::NoSuchRoom => {
                "check the id in `matrix_rooms`; if it is right, invite the bot there, or give the room's link, which names \
                 servers to join it over"
            }
            Self::NotInvited(bot) => &format!("invite {bot} there"),
            Self::Restricted(bot) => &format!("let {bot} into one of those rooms, or invite it"),
            Self::Knocked(bot) => {
                &format!("let {bot} in: accept its request to join, or invite it")
            }
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
            Self::ServerFailed(_) => {
                "the relay tries again; if it stays so, check the room's name in `matrix_rooms`, and the homeserver's log"
            }
            Self::Next(_, trouble) => return trouble.hint(),
            Self::SuccessorUnencrypted(room) | Self::SuccessorPublic(room) => &format!(
                "if what is said here may be read there, put the id {room} into `matrix_rooms` in the place of this room; \
                 until then nothing goes there"
            ),
            Self::SuccessorUnconfirmed(room) => &format!(
                "if {room} takes this room's place, put it into `matrix_rooms` instead; until then nothing goes there"
            ),
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
            (
                RoomTrouble::SuccessorPublic(room.clone()),
                "!abc:example.org",
            ),
            (RoomTrouble::SuccessorUnconfirmed(room), "!abc:example.org"),
            (RoomTrouble::NoSuchRoom, "check"),
            (
                RoomTrouble::NotInvited(bot.clone()),
                "invite @relay:example.org",
            ),
            (RoomTrouble::Restricted(bot.clone()), "one of those rooms"),
            (
                RoomTrouble::Knocked(bot.clone()),
                "let @relay:example.org in",
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
                "no_such_room" | "not_invited" | "restricted" | "knocked" | "banned" | "put_out"
            );
            assert_eq!(is_about_invites, helps, "{trouble}: {hint}");
        }
    }
    #[test]
    fn what_keeps_the_bot_from_a_successor_is_told_as_what_it_is() {
        let bot: OwnedUserId = "@relay:example.org".try_into().unwrap();
        let room: OwnedRoomId = "!new:example.org".try_into().unwrap();
        let next = |trouble| RoomTrouble::Next(room.clone(), Box::new(trouble));
        let trouble = next(RoomTrouble::NotInvited(bot));
        assert_eq!(trouble.name(), "not_invited");
        assert_eq!(
            trouble.to_string(),
            "!new:example.org is to take this room's place: the bot is not invited"
        );
        assert!(trouble.hint().unwrap().contains("invite @relay"));
        assert!(trouble.concerns_joined() && !trouble.may_pass());
        assert!(next(RoomTrouble::NoAnswer).may_pass());
    }
}
