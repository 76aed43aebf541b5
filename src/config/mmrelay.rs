//! What a `config.yaml` of MMRelay brings along: keys that mean nothing here, and defaults that differ.

use std::collections::BTreeSet;

use super::section::Section;

const PLUGINS: &str = "plugins are not available";
const LINK: &str = "the link is always checked";
const FOREVER: &str = "the relay tries to reach the radio for ever";
const DATABASE: &str = "the relay sets up its database itself";
const DEVICE: &str =
    "the relay logs in as a device of its own, and keeps its keys in its home directory";

/// Takes the top level's keys of MMRelay.
pub(super) fn take_top(root: &mut Section<'_, '_>) {
    root.old_name("db", "database");
    root.meaningless(&[
        ("plugins", PLUGINS),
        ("community-plugins", PLUGINS),
        ("custom-plugins", PLUGINS),
        ("security", PLUGINS),
        ("credentials_path", DEVICE),
        ("data_dir", "use `--home`"),
    ]);
}

/// Takes those of `matrix`.
pub(super) fn take_matrix(matrix: &mut Section<'_, '_>) {
    matrix.old_name("encryption", "e2ee");
    matrix.old_name("user_id", "bot_user_id");
    matrix.meaningless(&[("credentials_path", DEVICE)]);
}

/// Takes those of `matrix.e2ee`.
pub(super) fn take_e2ee(e2ee: &mut Section<'_, '_>) {
    e2ee.meaningless(&[("store_path", DEVICE)]);
}

/// Takes those of `meshtastic`.
pub(super) fn take_meshtastic(meshtastic: &mut Section<'_, '_>) {
    meshtastic.meaningless(&[
        ("health_check", LINK),
        ("heartbeat_interval", LINK),
        ("timeout", "every wait has a limit of its own"),
        ("retries", FOREVER),
        ("retry_limit", FOREVER),
        ("nodedb_refresh_interval", "names are taken as they come"),
        ("plugin_timeout", PLUGINS),
        ("plugin_response_delay", PLUGINS),
    ]);
}

/// Takes those of `database`.
pub(super) fn take_database(database: &mut Section<'_, '_>) {
    database.meaningless(&[
        ("enable_wal", DATABASE),
        ("busy_timeout_ms", DATABASE),
        ("pragmas", DATABASE),
    ]);
}

/// Takes those of `database.msg_map`.
pub(super) fn take_msg_map(msg_map: &mut Section<'_, '_>) {
    let why = "replies across a restart need the map";
    msg_map.meaningless(&[("wipe_on_restart", why)]);
}

/// Takes those of `logging`.
pub(super) fn take_logging(logging: &mut Section<'_, '_>) {
    logging.meaningless(&[("rich_tracebacks", "there are no tracebacks")]);
}

/// Takes those of `logging.debug`.
pub(super) fn take_debug(debug: &mut Section<'_, '_>) {
    debug.old_name("matrix_nio", "matrix_sdk");
    debug.old_name("meshtastic", "radio");
    debug.meaningless(&[
        ("bleak", "there is no such library here"),
        ("full_packets", "set `logging.debug.radio` to `trace`"),
    ]);
}

/// Defaults that differ from MMRelay's: the key, and what is different while it is not given.
const DEFAULTS: &[(&str, &str)] = &[
    (
        "matrix.e2ee.enabled",
        "encrypted rooms are relayed (`matrix.e2ee.enabled: false` refuses them)",
    ),
    (
        "meshtastic.message_interactions.replies",
        "replies cross as replies (`meshtastic.message_interactions.replies`)",
    ),
    (
        "meshtastic.message_interactions.reactions",
        "reactions cross (`meshtastic.message_interactions.reactions`)",
    ),
    (
        "meshtastic.reaction_style",
        "a Matrix reaction is a tapback on the mesh, not a text (`meshtastic.reaction_style: text`)",
    ),
    (
        "meshtastic.message_delay",
        "texts follow each other after 2.05 s, not 2.5 s (`meshtastic.message_delay`)",
    ),
    (
        "meshtastic.long_messages",
        "a long text is split into up to 3 packets or refused, never silently cut (`meshtastic.long_messages`)",
    ),
    (
        "meshtastic.max_message_age",
        "what was said in Matrix while the relay was away is sent, if younger than 1 h (`meshtastic.max_message_age`)",
    ),
    (
        "meshtastic.dm_reply",
        "a direct message to the radio is answered with a short note (`meshtastic.dm_reply`)",
    ),
    (
        "matrix.relay_notices",
        "notices of other bots are not sent to the mesh (`matrix.relay_notices: true`)",
    ),
    (
        "matrix.command_prefix",
        "commands (`!ping`, `!help` and the like) are not sent to the mesh, and not answered yet (`matrix.command_prefix`)",
    ),
    (
        "matrix.off_air_prefix",
        "messages that begin with `//` are not sent to the mesh (`matrix.off_air_prefix`)",
    ),
    (
        "matrix.trusted_relays",
        "messages of other relays are carried on only if `matrix.trusted_relays` names them",
    ),
    (
        "logging.log_to_file",
        "the log goes to standard error only (`logging.log_to_file: true`)",
    ),
];

/// What differs whatever the keys say.
const ALWAYS: &[&str] = &[
    "plugins do not run",
    "messages of the mesh are plain text in Matrix: no Markdown, no HTML",
    "the relay logs in as a device of its own: run `relay auth login` once",
];

/// Returns what differs from MMRelay with a configuration that gives these keys.
pub(super) fn differences(given: &BTreeSet<&str>) -> Vec<String> {
    let is_given = |key: &str| {
        let inside = format!("{key}.");
        given.contains(key) || given.iter().any(|path| path.starts_with(&inside))
    };
    let defaults = DEFAULTS
        .iter()
        .filter(|(key, _)| !is_given(key))
        .map(|(_, sentence)| *sentence);
    ALWAYS
        .iter()
        .copied()
        .chain(defaults)
        .map(str::to_owned)
        .collect()
}
