//! `matrix`: the account, who may transmit, what messages of the mesh look like.

use std::time::Duration;

use strum::{EnumString, VariantNames};
use url::{Host, Url};

use super::finding::{Wrong, quoted};
use super::pattern::UserPattern;
use super::secret::Secret;
use super::section::{Section, keys};
use super::template::{ReactionVariable, RoomVariable, Template};
use super::values::{
    Checked, boolean, choice, duration_or_off, hinted, list_of, pattern, secret, some, some_text,
    structured, template, text_or_none, user_id, whole,
};
use super::yaml::{Node, Value};
use relay_model::{OwnedServerName, OwnedUserId, UserId};

keys! {
    /// The section `matrix`.
    Matrix {
        /// Plain HTTP to a homeserver that is not on loopback is allowed.
        allow_http: bool = get(false, boolean);
        /// Where the first login without a terminal goes: an address, or a server name to be resolved by discovery.
        homeserver: Option<String> = value(|node| homeserver(node, allow_http));
        /// As whom: a full user id, or a localpart, whose domain the homeserver knows.
        bot_user_id: Option<String> = value(login_user);
        /// With which password.
        password: Option<Secret<String>> = value(secret);
        /// Or with which access token.
        access_token: Option<Secret<String>> = value(secret);
        /// Encryption.
        e2ee: E2ee = within(E2ee::read);
        /// Messages of the mesh get a prefix.
        prefix_enabled: bool = get(true, boolean);
        /// That prefix.
        prefix_format: Template<RoomVariable> = text(Template::of("[{long}/{mesh}]: "), template);
        /// The key of the reaction that stands for a tapback of the mesh; in encrypted rooms always the emoji alone.
        reaction_format: Template<ReactionVariable> = get(Template::of("{emoji} {short}"), template);
        /// Who may transmit; `None`: everyone in a mapped room; empty: nobody.
        allowed_users: Option<Vec<UserPattern>> = by(allowed_users);
        /// Who may not transmit, even if allowed.
        ignored_users: Vec<UserPattern> = get(Vec::new(), list_of(pattern));
        /// The power level in the room that a sender needs at least.
        min_power_level: i64 = restricting(0, whole(-1_000_000..=1_000_000, ""));
        /// The power level that a sender needs for 🚨 to put a text before others; `None`: that of sending messages.
        urgent_power_level: Option<i64> = restricting(None, some(whole(-1_000_000..=1_000_000, "")));
        /// How many packets one person may put on the air.
        sender_limit: SenderLimit = within(SenderLimit::read);
        /// Other relays whose messages are carried on.
        trusted_relays: Vec<OwnedUserId> = get(Vec::new(), list_of(user_id));
        /// `m.notice` is transmitted.
        relay_notices: bool = get(false, boolean);
        /// Messages that begin so are commands, never transmitted; `None`: off.
        command_prefix: Option<String> = text(Some("!".to_owned()), text_or_none);
        /// Messages that begin so are not for the mesh; `None`: off.
        off_air_prefix: Option<String> = text(Some("//".to_owned()), text_or_none);
        /// Whose invites are accepted beside those to rooms of the configuration; `None`: no invites at all.
        invites: Option<Vec<UserPattern>> = get(Some(Vec::new()), invites);
        /// From whom emoji verification is accepted.
        verify_with: Vec<OwnedUserId> = by(verify_with);
        /// After how long without the radio its rooms are told; `None`: never.
        radio_notices: Option<Duration> = get(Some(Duration::from_mins(10)), duration_or_off);
    }

    /// Encryption.
    #[derive(Copy, Eq)]
    E2ee {
        /// Encrypted rooms are relayed; otherwise they are refused.
        enabled: bool = restricting(true, boolean);
        /// For whose devices we encrypt.
        recipients: Recipients = restricting(Recipients::All, choice);
    }

    /// How many packets one person may put on the air, by the messages' own time stamps.
    #[derive(Copy, Eq)]
    SenderLimit {
        /// In a minute.
        per_minute: u32 = get(20, whole(1..=100_000, " packets"));
        /// In an hour.
        per_hour: u32 = get(120, whole(1..=100_000, " packets"));
    }
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

impl Matrix {
    /// Returns whether a user may transmit, as far as `allowed_users` and `ignored_users` say.
    pub fn permits(&self, user: &UserId) -> bool {
        let ignored = self.ignored_users.iter().any(|it| it.matches(user));
        let allowed = self.allowed_users.as_ref();
        !ignored && allowed.is_none_or(|list| list.iter().any(|it| it.matches(user)))
    }
}

fn allowed_users(section: &mut Section<'_>, key: &'static str) -> Option<Vec<UserPattern>> {
    let allowed = section.restricting(key, None, some(list_of(pattern)));
    for user in allowed.iter().flatten().map(|user| user.0.to_string()) {
        // No server is named.
        if !user.contains(':') {
            let sentence = format!("{} allows users of any server", quoted(&user));
            section.warning(key, sentence);
        }
    }
    allowed
}

fn verify_with(section: &mut Section<'_>, key: &'static str) -> Vec<OwnedUserId> {
    let users = section.get(key, Vec::new(), list_of(user_id));
    if !users.is_empty() {
        section.warning(key, "is not built yet, and does nothing so far");
    }
    users
}

fn invites(node: &Node) -> Checked<Option<Vec<UserPattern>>> {
    #[derive(EnumString, VariantNames)]
    #[strum(serialize_all = "snake_case", ascii_case_insensitive)]
    enum Word {
        Mapped,
        None,
    }
    if structured(node).is_ok_and(|it| matches!(it.value, Value::List(_))) {
        return list_of(pattern)(node).map(Some);
    }
    let hint = "it can also be a list of users whose invites are accepted";
    hinted(hint, choice(node)).map(|word| match word {
        Word::Mapped => Some(Vec::new()),
        Word::None => None,
    })
}

fn login_user(node: &Node) -> Checked<String> {
    let text = some_text(node)?;
    if text.starts_with('@') {
        return user_id(node).map(OwnedUserId::into);
    }
    if OwnedUserId::try_from(format!("@{text}:localhost")).is_err() || text.contains(':') {
        let wrong = Wrong::not(&text, "a user id");
        return Err(wrong.hint("write it as `@bot:example.org`").into());
    }
    Ok(text)
}

fn homeserver(node: &Node, allow_http: bool) -> Checked<String> {
    let text = some_text(node)?;
    let text = text.trim();
    if !text.contains("://") {
        let name = OwnedServerName::try_from(text).map_err(|_| {
            let hint = "write it as `example.org` or `https://matrix.example.org`";
            Wrong::not(text, "a server's name").hint(hint)
        })?;
        return Ok(name.into());
    }
    let url =
        Url::parse(text).map_err(|error| Wrong::not(text, &format!("an address: {error}")))?;
    match url.scheme() {
        "https" => Ok(url.into()),
        "http" if allow_http || is_loopback(&url) => Ok(url.into()),
        "http" => Err(
            Wrong::new("plain HTTP would show passwords and messages on the way")
                .hint("use `https://`, or set `matrix.allow_http: true`")
                .into(),
        ),
        other => Err(Wrong::not(other, "an address on the web: expected `https://`").into()),
    }
}

/// Returns whether an address stays on this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
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
