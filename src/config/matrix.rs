//! `matrix`: the account, who may transmit, what messages of the mesh look like.

use std::time::Duration;

use strum::{EnumString, VariantNames};

use super::pattern::UserPattern;
use super::read;
use super::secret::Secret;
use super::template::{ReactionVariable, RoomVariable, Template};
use crate::model::{OwnedUserId, UserId};

/// The section `matrix`.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Where the first login without a terminal goes: an address, or a server name to be resolved by discovery.
    pub homeserver: Option<String>,
    /// As whom: a full user id, or a localpart, whose domain the homeserver knows.
    pub bot_user_id: Option<String>,
    /// With which password.
    pub password: Option<Secret<String>>,
    /// Or with which access token.
    pub access_token: Option<Secret<String>>,
    /// Plain HTTP to a homeserver that is not on loopback is allowed.
    pub allow_http: bool,
    /// Encryption.
    pub e2ee: E2ee,
    /// Messages of the mesh get a prefix.
    pub prefix_enabled: bool,
    /// That prefix.
    pub prefix_format: Template<RoomVariable>,
    /// The key of the reaction that stands for a tapback of the mesh; in encrypted rooms always the emoji alone.
    pub reaction_format: Template<ReactionVariable>,
    /// Who may transmit; `None`: everyone in a mapped room; empty: nobody.
    pub allowed_users: Option<Vec<UserPattern>>,
    /// Who may not transmit, even if allowed.
    pub ignored_users: Vec<UserPattern>,
    /// The power level in the room that a sender needs at least.
    pub min_power_level: i64,
    /// The power level that a sender needs for 🚨 to put a text before others; `None`: that of sending messages.
    pub urgent_power_level: Option<i64>,
    /// How many packets one person may put on the air.
    pub sender_limit: SenderLimit,
    /// Other relays whose messages are carried on.
    pub trusted_relays: Vec<OwnedUserId>,
    /// `m.notice` is transmitted.
    pub relay_notices: bool,
    /// Messages that begin so are commands, never transmitted; `None`: off.
    pub command_prefix: Option<String>,
    /// Messages that begin so are not for the mesh; `None`: off.
    pub off_air_prefix: Option<String>,
    /// Which invites are accepted.
    pub invites: Invites,
    /// From whom emoji verification is accepted.
    pub verify_with: Vec<OwnedUserId>,
    /// After how long without the radio its rooms are told; `None`: never.
    pub radio_notices: Option<Duration>,
}

/// Encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct E2ee {
    /// Encrypted rooms are relayed; otherwise they are refused.
    pub enabled: bool,
    /// For whose devices we encrypt.
    pub recipients: Recipients,
}

/// For whose devices messages are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", ascii_case_insensitive)]
pub enum Recipients {
    /// Everyone's.
    All,
    /// Those that their owners have verified (the identity-based strategy).
    Verified,
}

/// How many packets one person may put on the air, by the messages' own time stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderLimit {
    /// In a minute.
    pub per_minute: u32,
    /// In an hour.
    pub per_hour: u32,
}

/// Which invites are accepted.
#[derive(Debug, Clone, PartialEq)]
pub enum Invites {
    /// Those to rooms of the configuration.
    Mapped,
    /// None.
    None,
    /// Those by these users, and those to rooms of the configuration.
    From(Vec<UserPattern>),
}

impl Matrix {
    /// Returns whether a user may transmit, as far as `allowed_users` and `ignored_users` say.
    #[must_use]
    pub fn permits(&self, user: &UserId) -> bool {
        let ignored = self.ignored_users.iter().any(|it| it.matches(user));
        let allowed = self
            .allowed_users
            .as_ref()
            .is_none_or(|list| list.iter().any(|it| it.matches(user)));
        allowed && !ignored
    }
}

impl Default for Matrix {
    fn default() -> Self {
        read::defaults(read::matrix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> OwnedUserId {
        OwnedUserId::try_from(id).unwrap()
    }

    #[test]
    fn ignored_wins_over_allowed_and_an_empty_list_allows_nobody() {
        let alice = user("@alice:example.org");
        let mut matrix = Matrix::default();
        assert!(matrix.permits(&alice));
        matrix.ignored_users = vec!["@alice:*".parse().unwrap()];
        assert!(!matrix.permits(&alice));
        matrix.allowed_users = Some(vec!["@*:example.org".parse().unwrap()]);
        assert!(!matrix.permits(&alice));
        assert!(matrix.permits(&user("@bob:example.org")));
        matrix.allowed_users = Some(Vec::new());
        assert!(!matrix.permits(&user("@bob:example.org")));
    }
}
