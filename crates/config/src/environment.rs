//! Environment variables that override keys: `RELAY_` (or MMRelay's `MMRELAY_`) and the key's path in capitals.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::finding::{Finding, ValueSource, Wrong, near};
use super::text_file::read_text;
use super::values::truth;
use relay_model::Explained as _;

const PREFIX: &str = "RELAY_";
const ALIAS_PREFIX: &str = "MMRELAY_";

/// The keys that MMRelay's own variables override: `MMRELAY_` instead of our prefix.
const MMRELAY_KEYS: [&str; 14] = [
    "database.path",
    "logging.level",
    "matrix.homeserver",
    "matrix.bot_user_id",
    "matrix.password",
    "matrix.access_token",
    "meshtastic.connection_type",
    "meshtastic.host",
    "meshtastic.port",
    "meshtastic.serial_port",
    "meshtastic.ble_address",
    "meshtastic.broadcast_enabled",
    "meshtastic.meshnet_name",
    "meshtastic.message_delay",
];

/// Those of them whose variable MMRelay leaves out, and says so, if its value is wrong.
const SKIPPED_IF_WRONG: [&str; 4] = [
    "logging.level",
    "meshtastic.port",
    "meshtastic.broadcast_enabled",
    "meshtastic.message_delay",
];

/// What a `_FILE` variable's file may hold at most, in bytes.
const LARGEST_FILE: u64 = 64 * 1024;

/// Variables that mean something else than a key.
const NO_KEYS: [&str; 5] = [
    "RELAY_HOME",
    "RELAY_CONFIG",
    "MMRELAY_HOME",
    "MMRELAY_BASE_DIR",
    "MMRELAY_DATA_DIR",
];

/// Names that do not follow from a key's path, and the keys that they stand for.
const ALIASES: [(&str, &str); 11] = [
    ("MMRELAY_LOG_PATH", "logging.filename"),
    ("MMRELAY_LOG_FILE", "logging.filename"),
    // As the flag of `relay auth login` is called.
    ("RELAY_MATRIX_USERNAME", "matrix.bot_user_id"),
    // As other programs call them; ours win.
    ("MATRIX_HOMESERVER", "matrix.homeserver"),
    ("MATRIX_USER", "matrix.bot_user_id"),
    ("MATRIX_PASSWORD", "matrix.password"),
    ("KEYCLOAK_URL", "matrix.keycloak_url"),
    ("KEYCLOAK_REALM", "matrix.keycloak_realm"),
    ("KEYCLOAK_CLIENT_ID", "matrix.keycloak_client_id"),
    ("KEYCLOAK_CLIENT_SECRET", "matrix.keycloak_client_secret"),
    ("JWT_LOGIN_TYPE", "matrix.jwt_login_type"),
];

/// The environment, as far as it concerns the configuration.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

/// A key's value from the environment.
#[derive(Debug)]
pub(super) struct Setting {
    /// Name of the variable, for messages.
    pub(super) variable: String,
    /// Its text, or why it cannot be had (a file that cannot be read).
    pub(super) text: Result<String, Wrong>,
}

/// What a variable means.
#[derive(Debug)]
pub(super) enum MeaningOfVariable {
    /// It gives the key of this path.
    Key(String),
    /// It is MMRelay's, and means nothing here, for this reason.
    Nothing(&'static str),
}

impl Environment {
    /// Takes what concerns us of the given variables.
    pub fn from_vars(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let is_alias = |name: &str| ALIASES.iter().any(|(alias, _)| *alias == name);
        let concerns =
            |name: &str| is_prefixed(name) || is_alias(name.strip_suffix("_FILE").unwrap_or(name));
        let ours = variables.into_iter().filter(|(name, _)| concerns(name));
        let variables = ours.collect();
        Self { variables }
    }

    /// Takes what concerns us of the process's own variables.
    pub fn of_process() -> Self {
        Self::from_vars(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// Returns whether any variable means to give one of these keys, so that a file may be missing.
    pub(super) fn has_keys(&self, paths: &[String]) -> bool {
        let names = names(paths);
        // One that is misspelled counts too: what is told then names it.
        let is_ours = |name: &str| name.starts_with(PREFIX) && !NO_KEYS.contains(&name);
        // What has neither prefix may be meant for another program.
        let mut given = self.variables.keys().filter(|name| is_prefixed(name));
        given.any(|name| names.contains(name) || is_ours(name))
    }

    /// Returns a variable's value, an empty one as none.
    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// Returns the text that the environment gives a key under any of its names, an empty one as none; or why it cannot
    /// be had, with the name of the variable.
    pub fn text(&self, path: &str) -> Result<Option<String>, Box<Finding>> {
        let text = self
            .setting(path)
            .map(|Setting { variable, text }| text.or_else(|wrong| of_variable(variable, wrong)));
        Ok(text.transpose()?.filter(|text| !text.is_empty()))
    }

    /// Returns the yes or no that the environment gives a key, likewise.
    pub fn truth(&self, path: &str) -> Result<Option<bool>, Box<Finding>> {
        let hint = "set it to one of these, or take it out of the environment";
        let wrong = |text: &str| Wrong::not(text, "`true` or `false`").hint(hint);
        let truth =
            |it: String| truth(&it).map_or_else(|| of_variable(variable_of(path), wrong(&it)), Ok);
        self.text(path)?.map(truth).transpose()
    }

    /// Returns the variables that give a key, in the order in which they count; none for a key of an entry.
    pub(super) fn names_of(path: &str) -> Vec<String> {
        if path.contains('[') {
            return Vec::new();
        }
        variables_of(path).collect()
    }

    /// Returns what a variable of this name means, if one of this name means anything.
    pub(super) fn meaning_of(name: &str, paths: &[String]) -> Option<MeaningOfVariable> {
        if let Some(why) = meaningless(name) {
            return Some(MeaningOfVariable::Nothing(why));
        }
        let own = name.strip_suffix("_FILE");
        let gives = |path: &&String| {
            variables_of(path).any(|it| it == name || own.is_some_and(|own| it == own))
        };
        let path = paths.iter().find(gives)?;
        Some(MeaningOfVariable::Key(path.clone()))
    }

    /// Returns whether a variable of MMRelay is set.
    pub(super) fn has_mmrelay(&self) -> bool {
        let mut names = self.variables.keys();
        names.any(|name| name.starts_with(ALIAS_PREFIX))
    }

    /// Returns the value that the environment gives a key.
    pub(super) fn setting(&self, path: &str) -> Option<Setting> {
        let setting = |variable: &str, text: &str| Setting {
            variable: variable.to_owned(),
            text: Ok(text.to_owned()),
        };
        for variable in variables_of(path) {
            if let Some(text) = self.variable(&variable) {
                return Some(setting(&variable, text));
            }
            let variable = format!("{variable}_FILE");
            if let Some(file) = self.variable(&variable) {
                let text = read_value(Path::new(file));
                return Some(Setting { variable, text });
            }
        }
        if path == "logging.log_to_file" && self.variable("MMRELAY_LOG_FILE").is_some() {
            return Some(setting("MMRELAY_LOG_FILE", "true"));
        }
        // An empty one says only what nothing else says: templates set each variable.
        let own = variable_of(path);
        self.variables.get(&own).map(|_| setting(&own, ""))
    }

    /// Returns the variable that gives a key a text, and the text.
    pub(super) fn variable_of(&self, path: &str) -> Option<(String, String)> {
        let Setting { variable, text } = self.setting(path)?;
        let text = text.ok().filter(|text| !text.is_empty())?;
        Some((variable, text))
    }

    /// Returns whether a wrong value of this variable is no mistake: MMRelay goes on without it, too.
    pub(super) fn may_be_wrong(variable: &str, path: &str) -> bool {
        let is_theirs = variable.starts_with(ALIAS_PREFIX) && !variable.ends_with("_FILE");
        is_theirs && SKIPPED_IF_WRONG.contains(&path)
    }

    /// Has a variable count as not set.
    pub(super) fn forget(&mut self, variable: &str) {
        self.variables.remove(variable);
    }

    /// Returns the variables that give none of these keys, which are all, each with what to say about it.
    pub(super) fn unknown(&self, paths: &[String]) -> Vec<(String, Wrong)> {
        let mut known = names(paths);
        known.extend(NO_KEYS.map(str::to_owned));
        let about = |name: &String| {
            if let Some(why) = meaningless(name) {
                return Some(Wrong::new(format!("has no meaning here: {why}")));
            }
            if known.contains(name) {
                return None;
            }
            // The prefix is common to all of them and says nothing about nearness.
            let word = name
                .strip_prefix(ALIAS_PREFIX)
                .or_else(|| name.strip_prefix(PREFIX))?;
            let near = near(word, known.iter().filter_map(|it| it.strip_prefix(PREFIX)));
            Some(Wrong {
                hint: near.map(|it| format!("did you mean `{PREFIX}{it}`?")),
                ..Wrong::new("names no key")
            })
        };
        let names = self.variables.keys();
        let unknown = names.filter_map(|name| Some((name.clone(), about(name)?)));
        unknown.collect()
    }
}

fn is_prefixed(name: &str) -> bool {
    name.starts_with(PREFIX) || name.starts_with(ALIAS_PREFIX)
}

/// Returns why a variable of MMRelay means nothing here, if it does not.
fn meaningless(name: &str) -> Option<&'static str> {
    Some(match name {
        "MMRELAY_MESHTASTIC_NODEDB_REFRESH_INTERVAL" => {
            "names are taken as they come, not asked for at intervals"
        }
        "MMRELAY_CREDENTIALS_PATH" => {
            "the relay logs in as a device of its own: `relay auth login`"
        }
        "MMRELAY_READY_FILE" | "MMRELAY_READY_HEARTBEAT_SECONDS" => {
            "there is no ready file: `relay doctor --quick` tells whether all is well"
        }
        "MMRELAY_DEBUG_NIO" => "use `logging.debug.matrix_sdk`",
        "MMRELAY_SERVICE_OVERRIDE" => "the relay runs in the same way under every service manager",
        "MMRELAY_HOST_HOME" => "it is for MMRelay's compose file alone",
        _ => return None,
    })
}

/// Returns the names of all variables that give one of these keys.
fn names(paths: &[String]) -> BTreeSet<String> {
    let own = paths.iter().flat_map(|path| variables_of(path));
    own.flat_map(|name| [format!("{name}_FILE"), name])
        .collect()
}

/// Returns the variables that override a key, our own first, and MMRelay's after it.
fn variables_of(path: &str) -> impl Iterator<Item = String> {
    let aliases = ALIASES.iter().filter(move |(_, key)| *key == path);
    let own = variable_of(path);
    let theirs = MMRELAY_KEYS.contains(&path);
    let theirs = theirs.then(|| own.replacen(PREFIX, ALIAS_PREFIX, 1));
    [Some(own), theirs]
        .into_iter()
        .flatten()
        .chain(aliases.map(|(alias, _)| (*alias).to_owned()))
}

/// Returns our own name of the variable that overrides a key.
fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace(['.', '-'], "_").to_uppercase())
}

fn of_variable<T>(variable: String, wrong: Wrong) -> Result<T, Box<Finding>> {
    let place = ValueSource::Variable(variable);
    Err(Box::new(Finding::of("", &place, "", wrong)))
}

/// Reads a value from a file, as Docker and Kubernetes hand in secrets; a last line break is not part of it.
fn read_value(path: &Path) -> Result<String, Wrong> {
    let text = read_text(path, LARGEST_FILE).map_err(|error| Wrong {
        hint: error.hint(),
        ..Wrong::new(error.to_string())
    })?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    Ok(value.strip_suffix('\r').unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::paths;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Environment::from_vars(variables.iter().map(owned))
    }

    #[test]
    fn our_own_name_beats_the_alias() {
        let both = environment(&[
            ("MMRELAY_MESHTASTIC_HOST", "old"),
            ("RELAY_MESHTASTIC_HOST", "new"),
        ]);
        assert_eq!(
            both.setting("meshtastic.host").unwrap().text.unwrap(),
            "new"
        );
        assert!(both.unknown(&paths()).is_empty());
        let alias = environment(&[("MMRELAY_MESHTASTIC_HOST", "old")]);
        assert_eq!(
            alias.setting("meshtastic.host").unwrap().text.unwrap(),
            "old"
        );
    }

    #[test]
    fn a_yes_is_said_in_the_words_of_the_configuration() {
        let truth = |text: &str| {
            environment(&[("RELAY_MATRIX_ALLOW_HTTP", text)]).truth("matrix.allow_http")
        };
        for yes in ["True", "TRUE", "Yes", "on", "1"] {
            assert_eq!(truth(yes), Ok(Some(true)), "{yes}");
        }
        assert_eq!(truth("No"), Ok(Some(false)));
        assert_eq!(truth(""), Ok(None));
        let error = truth("perhaps").unwrap_err();
        assert_eq!(
            relay_model::full_text(&*error),
            "RELAY_MATRIX_ALLOW_HTTP: `perhaps` is not `true` or `false`; set it to one of these, or take it out of \
             the environment"
        );
        assert_eq!(error.exit(), std::process::ExitCode::from(2));
    }

    #[test]
    fn an_empty_variable_hides_neither_its_file_nor_another_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("host");
        std::fs::write(&path, "file\n").unwrap();
        let own = ("RELAY_MESHTASTIC_HOST", "");
        let file = ("RELAY_MESHTASTIC_HOST_FILE", path.to_str().unwrap());
        let alias = ("MMRELAY_MESHTASTIC_HOST", "alias");
        let alias_file = ("MMRELAY_MESHTASTIC_HOST_FILE", path.to_str().unwrap());
        let value = |variables: &[(&str, &str)]| {
            let setting = environment(variables).setting("meshtastic.host").unwrap();
            setting.text.unwrap()
        };
        assert_eq!(value(&[own, file, alias]), "file");
        assert_eq!(value(&[own, alias]), "alias");
        let empty_file = ("RELAY_MESHTASTIC_HOST_FILE", "");
        assert_eq!(value(&[own, empty_file, alias_file]), "file");
        // Where nothing else says anything, it still overrides the configuration.
        assert_eq!(value(&[own, empty_file]), "");
    }

    #[test]
    fn a_value_is_read_from_a_file_without_its_last_line_break() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "\u{feff}s3cret \n").unwrap();
        let name = "RELAY_MATRIX_PASSWORD_FILE";
        for name in [name, "MMRELAY_MATRIX_PASSWORD_FILE"] {
            let found = environment(&[(name, path.to_str().unwrap())]);
            assert_eq!(
                found.setting("matrix.password").unwrap().text.unwrap(),
                "s3cret "
            );
        }
        let missing = environment(&[(name, "/nonexistent/secret")]);
        let error = missing
            .setting("matrix.password")
            .unwrap()
            .text
            .unwrap_err()
            .message;
        assert!(
            error.starts_with("cannot read `/nonexistent/secret`"),
            "{error}"
        );
    }

    #[test]
    fn a_variable_that_names_no_key_is_told_with_the_nearest() {
        let found = environment(&[
            ("RELAY_MESHTASTIC_HOTS", "x"),
            ("RELAY_HOME", "/x"),
            ("PATH", "/bin"),
        ]);
        let unknown = found.unknown(&paths());
        assert_eq!(unknown.len(), 1, "{unknown:?}");
        assert_eq!(
            unknown[0].1.hint.as_deref(),
            Some("did you mean `RELAY_MESHTASTIC_HOST`?")
        );
    }

    #[test]
    fn without_a_file_a_misspelled_variable_counts_as_one_so_that_it_is_named() {
        let has_keys = |name| environment(&[(name, "x")]).has_keys(&paths());
        assert!(has_keys("RELAY_MESHTASTIC_HOTS"));
        assert!(has_keys("MMRELAY_MESHTASTIC_HOST"));
        assert!(!has_keys("RELAY_HOME"));
        assert!(!has_keys("PATH"));
    }

    #[test]
    fn the_names_that_other_programs_use_count_after_ours_and_do_not_stand_for_a_configuration() {
        let found = environment(&[
            ("MATRIX_USER", "theirs"),
            ("MATRIX_PASSWORD", "theirs"),
            ("RELAY_MATRIX_PASSWORD", "ours"),
            ("KEYCLOAK_URL", "https://id.example.org"),
            ("JWT_LOGIN_TYPE", "org.matrix.login.jwt"),
        ]);
        let text = |path: &str| found.text(path).unwrap().unwrap();
        assert_eq!(text("matrix.bot_user_id"), "theirs");
        assert_eq!(text("matrix.password"), "ours");
        assert_eq!(text("matrix.keycloak_url"), "https://id.example.org");
        assert_eq!(text("matrix.jwt_login_type"), "org.matrix.login.jwt");
        assert!(found.unknown(&paths()).is_empty());
        let theirs = environment(&[("MATRIX_USER", "theirs"), ("KEYCLOAK_URL", "x")]);
        assert!(!theirs.has_keys(&paths()));
    }

    #[test]
    fn variables_that_mmrelay_does_not_know_override_nothing() {
        let found = environment(&[
            ("MMRELAY_MATRIX_ALLOWED_USERS", "[]"),
            ("MMRELAY_LOGGING_FORMAT", "jsn"),
        ]);
        let all = paths();
        assert!(all.iter().all(|path| found.setting(path).is_none()));
        assert!(
            MMRELAY_KEYS
                .iter()
                .all(|it| all.iter().any(|path| path == it))
        );
    }

    #[test]
    fn only_a_near_variable_is_suggested() {
        let hint = |name: &str| {
            let unknown = environment(&[(name, "x")]).unknown(&paths());
            unknown.into_iter().next().and_then(|(_, wrong)| wrong.hint)
        };
        for odd in [
            "RELAY_FOO",
            "RELAY_SERVICE_HOST",
            "RELAY_MESHTASTIC_FOO",
            // An entry of a list has no variable.
            "RELAY_MATRIX_ROOMS_ID",
        ] {
            assert_eq!(hint(odd), None, "{odd}");
        }
        let host = "did you mean `RELAY_MESHTASTIC_HOST`?";
        assert_eq!(hint("RELAY_HOST").as_deref(), Some(host));
    }
}
