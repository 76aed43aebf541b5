//! What a `config.yaml` of MMRelay brings along: keys that mean nothing here, and defaults that differ.

use std::collections::BTreeMap;

use super::finding::ValueSource;

/// How a file begins that was taken over: what differs goes on being told for it.
pub(super) const TAKEN_OVER: &str = "# Taken over from MMRelay";

/// Returns whether a configuration was taken over from MMRelay, by [`take_over`](fn@crate::take_over).
pub fn is_taken_over(text: &str) -> bool {
    text.starts_with(TAKEN_OVER)
}

/// Keys of MMRelay that mean nothing here: which, and why.
pub(super) const MEANINGLESS: &[(&str, &str)] = &[
    (
        "plugins community-plugins custom-plugins security meshtastic.plugin_timeout \
         meshtastic.plugin_response_delay",
        "plugins are not available",
    ),
    (
        "credentials_path matrix.credentials_path matrix.e2ee.store_path",
        "the relay logs in as a device of its own, and keeps its keys in its home directory",
    ),
    ("data_dir", "use `--home`"),
    (
        "meshtastic.health_check meshtastic.heartbeat_interval",
        "the link is always checked",
    ),
    ("meshtastic.timeout", "every wait has a limit of its own"),
    (
        "meshtastic.retries meshtastic.retry_limit",
        "the relay tries to reach the radio for ever",
    ),
    (
        "meshtastic.nodedb_refresh_interval",
        "names are taken as they come",
    ),
    (
        "database.enable_wal database.busy_timeout_ms database.pragmas",
        "the relay sets up its database itself",
    ),
    (
        "database.msg_map.wipe_on_restart",
        "replies across a restart need the map",
    ),
    ("logging.rich_tracebacks", "there are no tracebacks"),
    ("logging.debug.bleak", "there is no such library here"),
    (
        "logging.debug.full_packets",
        "set `logging.debug.radio` to `trace`",
    ),
];

/// Keys of MMRelay that count only where ours, which stands behind it, is not given.
pub(super) const REPLACED: &[(&str, &str)] = &[(
    "meshtastic.relay_reactions",
    "meshtastic.message_interactions.reactions",
)];

/// Returns the key of ours that takes the place of one of those.
pub(super) fn successor(path: &str) -> Option<&'static str> {
    let mut all = REPLACED.iter();
    all.find_map(|(old, ours)| (*old == path).then_some(*ours))
}

/// Returns why a key means nothing here, if it is one of those.
pub(super) fn meaningless(path: &str) -> Option<&'static str> {
    let mut all = MEANINGLESS.iter();
    let (_, why) = all.find(|(keys, _)| keys.split(' ').any(|it| it == path))?;
    Some(why)
}

/// Defaults that differ from MMRelay's: the key, and behind it what is different while it is not given; `{}` is the key
/// again.
pub(super) const DEFAULTS: &[&str] = &[
    "matrix.e2ee.enabled: encrypted rooms are relayed (`{}: false` refuses them)",
    "meshtastic.message_interactions.replies: replies cross as replies (`{}`)",
    "meshtastic.message_interactions.reactions: reactions cross (`{}`)",
    "meshtastic.reaction_style: a Matrix reaction is a tapback on the mesh, not a text (`{}: text`)",
    "meshtastic.message_delay: texts follow each other after 2.05 s, not 2.5 s (`{}`)",
    "meshtastic.long_messages: a long text is split into up to 3 packets or refused, never silently cut (`{}`)",
    "meshtastic.max_message_age: what was said in Matrix while the relay was away is sent, if younger than 1 h (`{}`)",
    "meshtastic.dm_reply: a direct message to the radio is answered with a short note (`{}`)",
    "matrix.relay_notices: notices of other bots are not sent to the mesh (`{}: true`)",
    "matrix.command_prefix: commands (`!ping`, `!help` and the like) are not sent to the mesh, and not answered yet (`{}`)",
    "matrix.off_air_prefix: messages that begin with `//` are not sent to the mesh (`{}`)",
    "matrix.trusted_relays: messages of other relays are carried on only if `{}` names them",
    "logging.log_to_file: the log goes to standard error only (`{}: true`)",
];

/// Returns what is different from MMRelay as long as a key is not given.
pub(super) fn difference(path: &str) -> Option<String> {
    let mut all = DEFAULTS.iter().filter_map(|it| it.split_once(": "));
    let (key, sentence) = all.find(|(key, _)| *key == path)?;
    Some(sentence.replace("{}", key))
}

/// What differs whatever the keys say.
const ALWAYS: &[&str] = &[
    "plugins do not run",
    "messages of the mesh are plain text in Matrix: no Markdown, no HTML",
    "the relay logs in as a device of its own: run `relay auth login` once",
];

/// Returns what differs from MMRelay with a configuration that gives these keys.
pub(super) fn differences(given: &BTreeMap<String, ValueSource>) -> Vec<String> {
    let is_given = |key: &str| {
        let inside = format!("{key}.");
        let mut paths = given.keys();
        paths.any(|path| path == key || path.starts_with(&inside))
    };
    let defaults = DEFAULTS.iter().filter_map(|it| it.split_once(": "));
    let missing = defaults.filter(|(key, _)| !is_given(key));
    let missing = missing.map(|(key, sentence)| sentence.replace("{}", key));
    let always = ALWAYS.iter().map(|sentence| (*sentence).to_owned());
    always.chain(missing).collect()
}
