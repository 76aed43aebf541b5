//! `matrix`: the account, who may transmit, what messages of the mesh look like.

use std::path::PathBuf;
use std::time::Duration;

use strum::IntoStaticStr;
use url::{Host, Url};

use super::choice::choices;
use super::finding::{Wrong, quoted};
use super::keys::keys;
use super::pattern::UserPattern;
use super::rooms::Appearance;
use super::secret::Secret;
use super::section::Section;
use super::template::{ReactionVariable, RoomVariable, Template};
use super::value_types::{
    ValueDoc, ValueType, boolean, choice, duration_or_off, path, patterns, patterns_doc, secret,
    shown_name, template, text_or_none, user_ids, whole,
};
use super::values::{self, Checked, hinted, list_of, nonblank, pattern, structured, user_id};
use super::yaml::{Node, Value};
use relay_model::{OwnedServerName, OwnedUserId, UserId};

keys! {
    /// The section `matrix`.
    pub Matrix {
        /// Whether passwords and messages may go to a homeserver over plain HTTP (loopback always may).
        #[changed = "needs a restart"]
        allow_http: bool = get("false", boolean());
        /// The homeserver of a first login without a terminal; at a terminal run `relay auth login`. A login goes on there once
        /// this is changed, if that homeserver knows it.
        #[changed = "needs a restart"]
        homeserver: Option<String> = value("https://matrix.example.org", login_server(allow_http));
        /// The account of a first login without a terminal.
        #[mmrelay = "user_id"]
        #[changed = "needs a restart"]
        bot_user_id: Option<String> = value(r#""@bot:example.org""#, login_user());
        /// The account's password, for a first login without a terminal: with it the relay makes a device of its own. Also for
        /// a login as the same device where the homeserver wants one.
        #[changed = "needs a restart"]
        password: Option<Secret<String>> = value(r#""secret""#, secret());
        /// An access token instead of a password, for a first login without a terminal: that of a device that no other program
        /// has used for encryption.
        #[changed = "needs a restart"]
        access_token: Option<Secret<String>> = value(r#""secret""#, secret());
        /// Address of a Keycloak, up to `/realms`, for a login without a terminal where the homeserver takes its tokens in
        /// place of a password: the relay asks it for one by the account's name and `matrix.password`.
        #[changed = "needs a restart"]
        keycloak_url: Option<Url> = value("https://id.example.org", web_address(allow_http));
        /// The account's realm at that Keycloak.
        #[changed = "needs a restart"]
        keycloak_realm: Option<String> = value("club", shown_name());
        /// The client there as which the relay asks for a token; it needs direct access grants.
        #[changed = "needs a restart"]
        keycloak_client_id: Option<String> = value("relay", shown_name());
        /// That client's secret; without the key it is a public client.
        #[changed = "needs a restart"]
        keycloak_client_secret: Option<Secret<String>> = value(r#""secret""#, secret());
        /// A file that holds a JSON web token, for a login without a terminal; it is read at each login.
        #[changed = "needs a restart"]
        jwt_file: Option<PathBuf> = value("token.jwt", path());
        /// As what the homeserver takes such a token.
        #[changed = "needs a restart"]
        jwt_login_type: JwtLogin = get("com.famedly.login.token.oauth", choice());
        /// Name that the bot shows, in every room without one of its own. Without the key it keeps the one it has.
        display_name: Option<String> = value(r#""Mesh relay""#, shown_name());
        /// Picture that the bot shows, in every room without one of its own: a PNG, JPEG, GIF or WebP file of at most 1 MiB.
        /// Without the key it keeps the one it has.
        avatar: Option<PathBuf> = value("avatar.png", path());
        /// Encryption.
        #[mmrelay = "encryption"]
        e2ee: E2ee = within(E2ee::read);
        /// Whether messages of the mesh get a prefix.
        prefix_enabled: bool = get("true", boolean());
        /// Prefix of a mesh message in Matrix.
        #[wrong = "is left out"]
        prefix_format: Template<RoomVariable> = text(r#""[{long}/{mesh}]: ""#, template());
        /// Reaction that stands for a mesh reaction; in encrypted rooms always `{emoji}`, because reactions are not encrypted.
        reaction_format: Template<ReactionVariable> = get(r#""{emoji} {short}""#, template());
        /// The sender of a mesh message as the message's own name and picture.
        per_message_profiles: PerMessageProfiles = within(PerMessageProfiles::read);
        /// Who may transmit: user ids, or globs as in `"@*:example.org"`. Without the key everyone in the room; `[]` is nobody.
        allowed_users: Option<Vec<UserPattern>> = by(allowed_users);
        /// Who may not, even if allowed.
        ignored_users: Vec<UserPattern> = get("[]", patterns());
        /// Power level in the room that a sender needs at least.
        min_power_level: i64 = restricting("0", whole(-1_000_000..=1_000_000, ""));
        /// Power level that a sender needs for a text that begins with 🚨 to go before others, three times an hour; an answer to
        /// such a text always does. Without the key: whoever may write in the room.
        urgent_power_level: Option<i64> = restriction("50", whole(-1_000_000..=1_000_000, ""));
        /// Packets that one person may put on the air, by the messages' own time stamps.
        sender_limit: SenderLimit = within(SenderLimit::read);
        /// Other relays (user ids) whose messages are carried on.
        trusted_relays: Vec<OwnedUserId> = get("[]", user_ids());
        /// Whether notices (`m.notice`), which bots write, are transmitted.
        relay_notices: bool = get("false", boolean());
        /// Begins a command: it and, at once behind it, a command's name (`!help`). Commands are never transmitted, and none is
        /// answered yet; what else begins so is a text. `""` switches it off.
        command_prefix: Option<String> = text(r#""!""#, text_or_none());
        /// What begins so is never transmitted; `""` switches it off.
        off_air_prefix: Option<String> = text(r#""//""#, text_or_none());
        /// Which invites are accepted.
        invites: Option<Vec<UserPattern>> = get("mapped", invites());
        /// Users (ids) from whom emoji verification is accepted, and an invite to the direct room that it takes. The log
        /// shows the emoji; compare them. The bot's other devices are verified by `relay auth verify` only.
        verify_with: Vec<OwnedUserId> = get("[]", user_ids());
        /// After how long without the radio its rooms are told, once and at most once an hour, and again when it is back.
        radio_notices: Option<Duration> = get("10m", duration_or_off());
    }

    /// Encryption.
    #[derive(Copy, Eq)]
    pub E2ee {
        /// Whether encrypted rooms are relayed; `false` refuses them.
        enabled: bool = restricting("true", boolean());
        /// For whose devices messages are encrypted.
        recipients: Recipients = restricting("all", choice());
        /// Whether what comes unencrypted into an encrypted room is refused: a homeserver could have written it.
        require: bool = restricting("false", boolean());
    }

    /// The sender of a mesh message as the message's own name and picture (MSC4144).
    pub PerMessageProfiles {
        /// Whether mesh messages name their sender in a way (MSC4144, not yet part of Matrix) that some apps show in place of
        /// the bot's name. The others go on to show the prefix.
        enabled: bool = get("false", boolean());
        /// Name that these apps show.
        name_format: Template<RoomVariable> = get(r#""{long}""#, template());
        /// Whether they also get a picture in the node's colour, which is uploaded once for each node; in encrypted rooms it is
        /// encrypted.
        avatars: bool = get("true", boolean());
    }

    /// How many packets one person may put on the air.
    #[derive(Copy, Eq)]
    pub SenderLimit {
        /// In a minute.
        per_minute: u32 = get("20", whole(1..=100_000, " packets"));
        /// In an hour.
        per_hour: u32 = get("120", whole(1..=100_000, " packets"));
    }
}

choices! {
    /// As what a homeserver takes a JSON web token: the type of the login.
    #[derive(IntoStaticStr)]
    pub JwtLogin {
        /// The access token of an OAuth provider, by synapse-token-authenticator.
        #[strum(to_string = "com.famedly.login.token.oauth")]
        FamedlyOAuth,
        /// A token signed for the homeserver, by synapse-token-authenticator.
        #[strum(to_string = "com.famedly.login.token")]
        Famedly,
        /// By Synapse's `jwt_config`.
        #[strum(to_string = "org.matrix.login.jwt")]
        Synapse,
    }

    /// For whose devices messages are encrypted.
    pub Recipients {
        /// Everyone's.
        All,
        /// Those that their owners have verified.
        Verified,
    }

    /// Whose invites are accepted.
    Invites {
        /// Those to the rooms of this file.
        Mapped,
        /// None at all.
        None,
    }
}

impl Matrix {
    /// Returns how the bot shows itself where a room has nothing of its own.
    pub fn appearance(&self) -> Appearance {
        Appearance {
            display_name: self.display_name.clone(),
            avatar: self.avatar.clone(),
        }
    }

    /// Returns whether a user may transmit, as far as `allowed_users` and `ignored_users` say.
    pub fn permits(&self, user: &UserId) -> bool {
        let ignored = self.ignored_users.iter().any(|it| it.matches(user));
        let allowed = self.allowed_users.as_ref();
        !ignored && allowed.is_none_or(|list| list.iter().any(|it| it.matches(user)))
    }
}

fn allowed_users(section: &mut Section<'_>, key: &'static str) -> Option<Vec<UserPattern>> {
    let allowed = section.restriction(key, r#"["@*:example.org"]"#, patterns());
    for user in allowed.iter().flatten().map(|user| user.0.to_string()) {
        // No server is named.
        if !user.contains(':') {
            let sentence = format!("{} allows users of any server", quoted(&user));
            section.warning(key, sentence);
        }
    }
    allowed
}

fn invites() -> ValueType<Option<Vec<UserPattern>>> {
    let doc = || {
        let users = patterns_doc();
        let text = format!("{}, whose invites are", users.text);
        ValueDoc::choice::<Invites>().or(&ValueDoc::new(text, users.schema))
    };
    ValueType::new(doc, |node| {
        if structured(node).is_ok_and(|it| matches!(it.value, Value::List(_))) {
            return list_of(pattern)(node).map(Some);
        }
        let hint = "it can also be a list of users whose invites are accepted";
        hinted(hint, values::choice(node)).map(|word| match word {
            Invites::Mapped => Some(Vec::new()),
            Invites::None => None,
        })
    })
}

fn login_user() -> ValueType<String> {
    let doc = || {
        ValueDoc::text(
            "user id, or its part before the server",
            "^(@[^:]*:.+|[^@:]+)$",
        )
    };
    ValueType::new(doc, |node| {
        let text = nonblank(node)?;
        if text.starts_with('@') {
            return user_id(node).map(OwnedUserId::into);
        }
        if OwnedUserId::try_from(format!("@{text}:localhost")).is_err() || text.contains(':') {
            let wrong = Wrong::not(&text, "a user id");
            return Err(wrong.hint("write it as `@bot:example.org`").into());
        }
        Ok(text)
    })
}

fn login_server(allow_http: bool) -> ValueType<String> {
    let text = "`https://matrix.example.org`, or its name as in `example.org`";
    let doc = move || ValueDoc::text(text, r"^ *(https?://|[^/\s]+ *$)");
    ValueType::new(doc, move |node| homeserver(node, allow_http))
}

fn web_address(allow_http: bool) -> ValueType<Url> {
    let doc = || {
        ValueDoc::text(
            "an address, as in `https://id.example.org`",
            r"^ *https?://",
        )
    };
    ValueType::new(doc, move |node| address(nonblank(node)?.trim(), allow_http))
}

fn homeserver(node: &Node, allow_http: bool) -> Checked<String> {
    let text = nonblank(node)?;
    let text = text.trim();
    if !text.contains("://") {
        let name = OwnedServerName::try_from(text).map_err(|_| {
            let hint = "write it as `example.org` or `https://matrix.example.org`";
            Wrong::not(text, "a server's name").hint(hint)
        })?;
        return Ok(name.into());
    }
    address(text, allow_http).map(Url::into)
}

fn address(text: &str, allow_http: bool) -> Checked<Url> {
    let url =
        Url::parse(text).map_err(|error| Wrong::not(text, &format!("an address: {error}")))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_loopback(&url) => Ok(url),
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
