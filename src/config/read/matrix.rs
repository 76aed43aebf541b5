//! Reads `matrix`.

use std::time::Duration;

use strum::{EnumString, VariantNames};
use url::{Host, Url};

use super::super::finding::{Wrong, quoted};
use super::super::section::Section;
use super::super::template::Template;
use super::super::values::{
    Checked, boolean, choice, duration_or_off, hinted, list_of, pattern, secret, some, some_text,
    template, text_or_none, user_id, whole,
};
use super::super::yaml::{Node, Value};
use super::super::{E2ee, Invites, Matrix, Recipients, SenderLimit, UserPattern};
use crate::model::{OwnedServerName, OwnedUserId};

/// Reads the section `matrix`.
pub(in super::super) fn matrix(it: &mut Section<'_>) -> Matrix {
    let allow_http = it.get("allow_http", false, boolean);
    let levels = whole(-1_000_000..=1_000_000, "");
    let matrix = Matrix {
        allow_http,
        homeserver: it.value("homeserver", |node| homeserver(node, allow_http)),
        bot_user_id: it.value("bot_user_id", login_user),
        password: it.value("password", secret),
        access_token: it.value("access_token", secret),
        e2ee: it.within("e2ee", |it| E2ee {
            enabled: it.restricting("enabled", true, boolean),
            recipients: it.restricting("recipients", Recipients::All, choice),
        }),
        prefix_enabled: it.get("prefix_enabled", true, boolean),
        prefix_format: it.text("prefix_format", Template::of("[{long}/{mesh}]: "), template),
        reaction_format: it.get("reaction_format", Template::of("{emoji} {short}"), template),
        allowed_users: allowed_users(it),
        ignored_users: it.get("ignored_users", Vec::new(), list_of(pattern)),
        min_power_level: it.restricting("min_power_level", 0, &levels),
        urgent_power_level: it.restricting("urgent_power_level", None, some(&levels)),
        sender_limit: it.within("sender_limit", |it| SenderLimit {
            per_minute: it.get("per_minute", 20, whole(1..=100_000, " packets")),
            per_hour: it.get("per_hour", 120, whole(1..=100_000, " packets")),
        }),
        trusted_relays: it.get("trusted_relays", Vec::new(), list_of(user_id)),
        relay_notices: it.get("relay_notices", false, boolean),
        command_prefix: it.text("command_prefix", Some("!".to_owned()), text_or_none),
        off_air_prefix: it.text("off_air_prefix", Some("//".to_owned()), text_or_none),
        invites: it.get("invites", Invites::Mapped, invites),
        verify_with: it.get("verify_with", Vec::new(), list_of(user_id)),
        radio_notices: it.get(
            "radio_notices",
            Some(Duration::from_mins(10)),
            duration_or_off,
        ),
    };
    if !matrix.verify_with.is_empty() {
        it.warning("verify_with", "is not built yet, and does nothing so far");
    }
    matrix
}

fn allowed_users(section: &mut Section<'_>) -> Option<Vec<UserPattern>> {
    let allowed = section.restricting("allowed_users", None, some(list_of(pattern)));
    for user in allowed.iter().flatten() {
        if user.is_server_open() {
            let user = quoted(&user.to_string());
            section.warning(
                "allowed_users",
                format!("{user} allows users of any server"),
            );
        }
    }
    allowed
}

fn invites(node: &Node) -> Checked<Invites> {
    #[derive(EnumString, VariantNames)]
    #[strum(serialize_all = "snake_case", ascii_case_insensitive)]
    enum Word {
        Mapped,
        None,
    }
    let is_list = match &node.value {
        Value::List(_) => true,
        // From the environment.
        Value::Scalar { text, plain } => *plain && text.trim_start().starts_with('['),
        Value::Null { .. } | Value::Map(_) => false,
    };
    if is_list {
        return list_of(pattern)(node).map(Invites::From);
    }
    let hint = "it can also be a list of users whose invites are accepted";
    hinted(hint, choice(node)).map(|word| match word {
        Word::Mapped => Invites::Mapped,
        Word::None => Invites::None,
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
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
