//! Reads `matrix`.

use url::{Host, Url};

use super::super::finding::{Wrong, quoted};
use super::super::mmrelay;
use super::super::section::Section;
use super::super::values::{
    Checked, boolean, choice, duration_or_off, list_of, parsed, secret, some_text, text_or_none,
    user_id, whole,
};
use super::super::yaml::{Node, Value};
use super::super::{Homeserver, Invites, LoginUser, Matrix, Recipients, UserPattern};
use crate::model::{OwnedServerName, OwnedUserId};

const RECIPIENTS: &[(&str, Recipients)] =
    &[("all", Recipients::All), ("verified", Recipients::Verified)];

/// Reads the section `matrix`.
pub(in super::super) fn matrix(mut section: Section<'_, '_>) -> Matrix {
    mmrelay::take_matrix(&mut section);
    let mut matrix = Matrix::default();
    account(&mut section, &mut matrix);
    let mut e2ee = section.section("e2ee");
    mmrelay::take_e2ee(&mut e2ee);
    e2ee.set_restricting("enabled", &mut matrix.e2ee.enabled, boolean);
    e2ee.set_restricting(
        "recipients",
        &mut matrix.e2ee.recipients,
        choice(RECIPIENTS),
    );
    e2ee.finish();
    section.set("prefix_enabled", &mut matrix.prefix_enabled, boolean);
    section.set_text("prefix_format", &mut matrix.prefix_format, template);
    section.set("reaction_format", &mut matrix.reaction_format, template);
    permissions(&mut section, &mut matrix);
    section.set("relay_notices", &mut matrix.relay_notices, boolean);
    section.set_text("command_prefix", &mut matrix.command_prefix, text_or_none);
    section.set_text("off_air_prefix", &mut matrix.off_air_prefix, text_or_none);
    section.set("invites", &mut matrix.invites, invites);
    section.set("verify_with", &mut matrix.verify_with, list_of(user_id));
    section.set("radio_notices", &mut matrix.radio_notices, duration_or_off);
    section.finish();
    matrix
}

fn account(section: &mut Section<'_, '_>, matrix: &mut Matrix) {
    section.set("allow_http", &mut matrix.allow_http, boolean);
    let allow_http = matrix.allow_http;
    matrix.homeserver = section.value("homeserver", |node| homeserver(node, allow_http));
    matrix.bot_user_id = section.value("bot_user_id", login_user);
    matrix.password = section.value("password", secret);
    matrix.access_token = section.value("access_token", secret);
}

fn permissions(section: &mut Section<'_, '_>, matrix: &mut Matrix) {
    section.set_restricting("allowed_users", &mut matrix.allowed_users, |node| {
        list_of(pattern)(node).map(Some)
    });
    for user in matrix.allowed_users.iter().flatten() {
        if user.is_server_open() {
            let sentence = format!("{} allows users of any server", quoted(&user.to_string()));
            section.warning("allowed_users", Wrong::new(sentence));
        }
    }
    section.set("ignored_users", &mut matrix.ignored_users, list_of(pattern));
    let levels = whole(-1_000_000..=1_000_000, "");
    section.set_restricting("min_power_level", &mut matrix.min_power_level, &levels);
    section.set_restricting(
        "urgent_power_level",
        &mut matrix.urgent_power_level,
        |node| levels(node).map(Some),
    );
    let mut limit = section.section("sender_limit");
    let packets = whole(1..=100_000, " packets");
    limit.set("per_minute", &mut matrix.sender_limit.per_minute, &packets);
    limit.set("per_hour", &mut matrix.sender_limit.per_hour, &packets);
    limit.finish();
    section.set(
        "trusted_relays",
        &mut matrix.trusted_relays,
        list_of(user_id),
    );
}

/// Returns a template; an empty one is fine.
pub(super) fn template<T>(node: &Node) -> Checked<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let text = super::super::values::text(node)?;
    text.parse()
        .map_err(|error: T::Err| vec![Wrong::new(error.to_string())])
}

fn pattern(node: &Node) -> Checked<UserPattern> {
    parsed(node)
}

fn invites(node: &Node) -> Checked<Invites> {
    const WORDS: &[(&str, bool)] = &[("mapped", true), ("none", false)];
    let is_list = match &node.value {
        Value::List(_) => true,
        // From the environment.
        Value::Scalar { text, plain } => *plain && text.trim_start().starts_with('['),
        Value::Null { .. } | Value::Map(_) => false,
    };
    if is_list {
        return list_of(pattern)(node).map(Invites::From);
    }
    match choice(WORDS)(node) {
        Ok(true) => Ok(Invites::Mapped),
        Ok(false) => Ok(Invites::None),
        Err(all) => {
            let hint = "it can also be a list of users whose invites are accepted";
            Err(all.into_iter().map(|wrong| wrong.hint(hint)).collect())
        }
    }
}

fn login_user(node: &Node) -> Checked<LoginUser> {
    let text = some_text(node)?;
    if text.starts_with('@') {
        let id = user_id(node)?;
        return Ok(LoginUser::Id(id));
    }
    if OwnedUserId::try_from(format!("@{text}:localhost")).is_err() || text.contains(':') {
        let wrong = Wrong::new(format!("{} is not a user id", quoted(&text)));
        return Err(vec![wrong.hint("write it as `@bot:example.org`")]);
    }
    Ok(LoginUser::Localpart(text))
}

fn homeserver(node: &Node, allow_http: bool) -> Checked<Homeserver> {
    let text = some_text(node)?;
    let text = text.trim();
    if !text.contains("://") {
        return OwnedServerName::try_from(text)
            .map(Homeserver::Name)
            .map_err(|_| {
                let wrong = Wrong::new(format!("{} is not a server's name", quoted(text)));
                vec![wrong.hint("write it as `example.org` or `https://matrix.example.org`")]
            });
    }
    let url = Url::parse(text).map_err(|error| {
        vec![Wrong::new(format!(
            "{} is not an address: {error}",
            quoted(text)
        ))]
    })?;
    match url.scheme() {
        "https" => Ok(Homeserver::Url(url)),
        "http" if allow_http || is_loopback(&url) => Ok(Homeserver::Url(url)),
        "http" => {
            let wrong = Wrong::new("plain HTTP would show passwords and messages on the way");
            Err(vec![
                wrong.hint("use `https://`, or set `matrix.allow_http: true`"),
            ])
        }
        other => Err(vec![Wrong::new(format!(
            "{} is not an address on the web: expected `https://`",
            quoted(other)
        ))]),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
