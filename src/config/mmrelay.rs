//! What a `config.yaml` of MMRelay brings along: keys that mean nothing here, and defaults that differ.

use std::collections::BTreeMap;

use super::finding::Origin;
use super::section::Section;

const PLUGINS: &str = "plugins are not available";
const LINK: &str = "the link is always checked";
const FOREVER: &str = "the relay tries to reach the radio for ever";
const DATABASE: &str = "the relay sets up its database itself";
const NAMES: &str = "names are taken as they come";
const MAP: &str = "replies across a restart need the map";
const PACKETS: &str = "set `logging.debug.radio` to `trace`";
const DEVICE: &str =
    "the relay logs in as a device of its own, and keeps its keys in its home directory";

/// Old names: the section that they stand in, and our names.
const OLD_NAMES: &[(&str, &str, &str)] = &[
    ("", "db", "database"),
    ("matrix", "encryption", "e2ee"),
    ("matrix", "user_id", "bot_user_id"),
    ("logging.debug", "matrix_nio", "matrix_sdk"),
    ("logging.debug", "meshtastic", "radio"),
];

/// Keys that mean nothing here: the section that they stand in, and why.
const MEANINGLESS: &[(&str, &str, &str)] = &[
    ("", "plugins", PLUGINS),
    ("", "community-plugins", PLUGINS),
    ("", "custom-plugins", PLUGINS),
    ("", "security", PLUGINS),
    ("", "credentials_path", DEVICE),
    ("", "data_dir", "use `--home`"),
    ("matrix", "credentials_path", DEVICE),
    ("matrix.e2ee", "store_path", DEVICE),
    ("meshtastic", "health_check", LINK),
    ("meshtastic", "heartbeat_interval", LINK),
    ("meshtastic", "timeout", "every wait has a limit of its own"),
    ("meshtastic", "retries", FOREVER),
    ("meshtastic", "retry_limit", FOREVER),
    ("meshtastic", "nodedb_refresh_interval", NAMES),
    ("meshtastic", "plugin_timeout", PLUGINS),
    ("meshtastic", "plugin_response_delay", PLUGINS),
    ("database", "enable_wal", DATABASE),
    ("database", "busy_timeout_ms", DATABASE),
    ("database", "pragmas", DATABASE),
    ("database.msg_map", "wipe_on_restart", MAP),
    ("logging", "rich_tracebacks", "there are no tracebacks"),
    ("logging.debug", "bleak", "there is no such library here"),
    ("logging.debug", "full_packets", PACKETS),
];

/// Takes a section's old names as ours, and warns of what means nothing here.
pub(super) fn adopt(section: &mut Section<'_>) {
    for (path, old, key) in OLD_NAMES {
        if *path == section.path {
            section.old_name(old, key);
        }
    }
    for (path, key, why) in MEANINGLESS {
        if *path == section.path {
            section.meaningless(key, why);
        }
    }
}

/// Defaults that differ from MMRelay's: the key, and what is different while it is not given; `{}` is the key again.
const DEFAULTS: &[(&str, &str)] = &[
    (
        "matrix.e2ee.enabled",
        "encrypted rooms are relayed (`{}: false` refuses them)",
    ),
    (
        "meshtastic.message_interactions.replies",
        "replies cross as replies (`{}`)",
    ),
    (
        "meshtastic.message_interactions.reactions",
        "reactions cross (`{}`)",
    ),
    (
        "meshtastic.reaction_style",
        "a Matrix reaction is a tapback on the mesh, not a text (`{}: text`)",
    ),
    (
        "meshtastic.message_delay",
        "texts follow each other after 2.05 s, not 2.5 s (`{}`)",
    ),
    (
        "meshtastic.long_messages",
        "a long text is split into up to 3 packets or refused, never silently cut (`{}`)",
    ),
    (
        "meshtastic.max_message_age",
        "what was said in Matrix while the relay was away is sent, if younger than 1 h (`{}`)",
    ),
    (
        "meshtastic.dm_reply",
        "a direct message to the radio is answered with a short note (`{}`)",
    ),
    (
        "matrix.relay_notices",
        "notices of other bots are not sent to the mesh (`{}: true`)",
    ),
    (
        "matrix.command_prefix",
        "commands (`!ping`, `!help` and the like) are not sent to the mesh, and not answered yet (`{}`)",
    ),
    (
        "matrix.off_air_prefix",
        "messages that begin with `//` are not sent to the mesh (`{}`)",
    ),
    (
        "matrix.trusted_relays",
        "messages of other relays are carried on only if `{}` names them",
    ),
    (
        "logging.log_to_file",
        "the log goes to standard error only (`{}: true`)",
    ),
];

/// What differs whatever the keys say.
const ALWAYS: &[&str] = &[
    "plugins do not run",
    "messages of the mesh are plain text in Matrix: no Markdown, no HTML",
    "the relay logs in as a device of its own: run `relay auth login` once",
];

/// Returns what differs from MMRelay with a configuration that gives these keys.
pub(super) fn differences(given: &BTreeMap<String, Origin>) -> Vec<String> {
    let is_given = |key: &str| {
        let inside = format!("{key}.");
        given
            .keys()
            .any(|path| path == key || path.starts_with(&inside))
    };
    let missing = DEFAULTS.iter().filter(|(key, _)| !is_given(key));
    let missing = missing.map(|(key, sentence)| sentence.replace("{}", key));
    let always = ALWAYS.iter().map(|sentence| (*sentence).to_owned());
    always.chain(missing).collect()
}
