//! From the YAML and the environment to [`Config`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::environment::Environment;
use super::finding::{Finding, Problems, ValueSource, Wrong, printable};
use super::reader::Reader;
use super::settings::{Setting, settings};
use super::table::paths;
use super::text_change::TextChange;
use super::text_file::{TextFileError, read_text};
use super::yaml;
use super::{Config, mmrelay};
use relay_model::Explained;

/// Maximum size of a configuration file, in bytes.
pub const LARGEST: u64 = 1024 * 1024;

/// A configuration, and what there is to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration, complete with defaults.
    pub config: Config,
    /// What is permitted, but probably not meant.
    pub warnings: Vec<Finding>,
    /// The file or the environment has keys that only MMRelay has, or the file was taken over from it.
    pub is_mmrelay: bool,
    /// What differs from MMRelay with this configuration; to be told where it came from there.
    pub differences: Vec<String>,
    /// Each key with its value in effect, in the order of the sample.
    pub settings: Vec<Setting>,
}

impl Loaded {
    /// Returns what is to be told about differences from MMRelay: all of them if the configuration has keys that only
    /// MMRelay has, or its files are in the home; else nothing.
    pub fn notes(&self, is_mmrelay_home: bool) -> &[String] {
        if self.is_mmrelay || is_mmrelay_home {
            &self.differences
        } else {
            &[]
        }
    }
}

/// Why there is no configuration to run with.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no file at this path.
    #[error("there is no configuration at `{}`", .0.display())]
    Missing(PathBuf),
    /// The file exists, but is no readable text.
    #[error(transparent)]
    Read(#[from] TextFileError),
    /// The file or the environment gives keys or values that are wrong.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

impl Explained for LoadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read(cause) => cause.hint(),
            Self::Missing(_) | Self::Wrong(_) => None,
        }
    }

    fn exit(&self) -> ExitCode {
        ExitCode::from(2)
    }
}

impl Config {
    /// Reads a configuration from a text and an environment, which beats the text, or tells everything that is wrong.
    /// Findings call the text by `name`.
    pub fn from_text(
        name: &str,
        text: &str,
        environment: &Environment,
    ) -> Result<Loaded, Problems> {
        Self::read_text(name, text, environment).0
    }

    /// Reads it likewise, and returns beside it what is to be changed in the text where it is taken over from MMRelay.
    pub(super) fn read_text(
        name: &str,
        text: &str,
        environment: &Environment,
    ) -> (Result<Loaded, Problems>, Vec<TextChange>) {
        let mut reader = Reader::new(name, environment.clone());
        let document = match yaml::parse(text) {
            Ok(document) => document,
            Err(wrong) => {
                reader.problem(&ValueSource::Nowhere, "", wrong);
                return (Err(reader.found()), Vec::new());
            }
        };
        for (place, key) in &document.repeated {
            let wrong = Wrong::new("is given twice: the last one counts");
            reader.warning(&ValueSource::File(*place), &printable(key), wrong);
        }
        // Where something required is missing, the report says so, and the result is never used.
        let config = reader.section(
            String::new(),
            ValueSource::Nowhere,
            document.root,
            Self::read,
        );
        for (variable, wrong) in environment.unknown(&paths()) {
            reader.warning(&ValueSource::Variable(variable), "", wrong);
        }
        let found = reader.found();
        let changes = std::mem::take(&mut reader.changes);
        if !found.problems.is_empty() {
            return (Err(found), changes);
        }
        let loaded = Loaded {
            config,
            warnings: found.warnings,
            is_mmrelay: reader.is_mmrelay || mmrelay::is_taken_over(text),
            differences: mmrelay::differences(&reader.given),
            settings: settings(&reader),
        };
        (Ok(loaded), changes)
    }

    /// Reads a configuration from its file; the environment beats the file, and replaces it when there is none.
    pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, LoadError> {
        let name = path.file_name().unwrap_or(path.as_os_str());
        let text = match read_text(path, LARGEST) {
            Ok(text) => text,
            Err(cause) if cause.is_missing && environment.has_keys(&paths()) => String::new(),
            Err(cause) if cause.is_missing => return Err(LoadError::Missing(path.to_owned())),
            Err(cause) => return Err(cause.into()),
        };
        let name = name.to_string_lossy();
        Ok(Self::from_text(&name, &text, environment)?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{ChannelRef, Component, Connection, Direction, Level, OkToMqtt, PortNum};
    use relay_model::{ChannelIndex, full_text};

    const SHORTEST: &str = "\
matrix_rooms:
  - {id: '#hiking:example.org', meshtastic_channel: 0}
meshtastic: {connection_type: tcp, host: 192.168.1.20}
";

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Environment::from_vars(variables.iter().map(owned))
    }

    fn with(variables: &[(&str, &str)]) -> Loaded {
        Config::from_text("config.yaml", SHORTEST, &environment(variables)).unwrap()
    }

    fn problems(text: &str) -> Vec<String> {
        let problems = Config::from_yaml(text).unwrap_err().problems;
        problems.iter().map(|it| full_text(it)).collect()
    }

    fn warnings(text: &str) -> Vec<String> {
        let loaded = Config::from_yaml(text).unwrap();
        loaded.warnings.iter().map(|it| full_text(it)).collect()
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let loaded = Config::from_yaml(SHORTEST).unwrap();
        let host = "192.168.1.20".to_owned();
        let expected = Config::new(
            Connection::Tcp { host, port: 4403 },
            loaded.config.matrix_rooms.clone(),
        );
        assert_eq!(loaded.config, expected);
        assert_eq!(loaded.warnings, []);
        assert!(loaded.notes(false).is_empty());
        assert!(!loaded.notes(true).is_empty());
        let room = &loaded.config.matrix_rooms[0];
        assert_eq!(room.direction, Direction::Both);
        assert_eq!(
            room.meshtastic_channel,
            ChannelRef::Index(ChannelIndex::PRIMARY)
        );
    }

    #[test]
    fn all_problems_are_reported_at_once_in_the_order_of_the_file() {
        let text = "\
matrix:
  allowed_users: [alice]
matrix_rooms:
  - id: '!a:example.org'
    meshtastic_channel: 9
meshtastic:
  connection_type: tcp
  hots: 192.168.1.20
";
        assert_eq!(
            problems(text),
            [
                "config.yaml:2:19: matrix.allowed_users[0]: `alice` is not a user id: expected `@name:server`, or a glob as in `@*:example.org`",
                "config.yaml:5:25: matrix_rooms[0].meshtastic_channel: 9 is out of range: a radio has channels 0 to 7",
                "config.yaml:6:1: meshtastic.host: is required for `connection_type: tcp`",
                "config.yaml:8:3: meshtastic.hots: unknown key; did you mean `host`?",
            ]
        );
    }

    #[test]
    fn the_environment_beats_the_file_and_the_file_the_default() {
        let loaded = with(&[
            ("RELAY_MESHTASTIC_HOST", "radio.example.org"),
            ("RELAY_MESHTASTIC_LONG_MESSAGES_PART_BYTES", "150"),
            ("RELAY_MATRIX_PASSWORD", "a: #b! {"),
            ("RELAY_MATRIX_ALLOWED_USERS", "['@*:example.org']"),
            (
                "RELAY_MATRIX_ROOMS",
                "[{id: '!b:example.org', meshtastic_channel: LongFast, direction: to_matrix}]",
            ),
            ("RELAY_MATRIX_E2EE", "{recipients: verified}"),
            ("MMRELAY_LOGGING_LEVEL", "warning"),
            ("RELAY_MESHTASTIC_PORT", ""),
        ]);
        let config = &loaded.config;
        let host = "radio.example.org".to_owned();
        assert_eq!(
            config.meshtastic.connection,
            Connection::Tcp { host, port: 4403 }
        );
        assert_eq!(config.meshtastic.long_messages.part_bytes, 150);
        assert_eq!(
            config.matrix.password.as_ref().unwrap().reveal(),
            "a: #b! {"
        );
        assert_eq!(config.matrix.allowed_users.as_ref().unwrap().len(), 1);
        assert_eq!(config.matrix_rooms.len(), 1);
        assert_eq!(config.matrix_rooms[0].direction, Direction::ToMatrix);
        assert_eq!(config.matrix.e2ee.recipients, crate::Recipients::Verified);
        assert_eq!(config.logging.level, Level::Warn);
        assert_eq!(loaded.warnings, []);
    }

    #[test]
    fn a_configuration_can_be_made_of_the_environment_alone() {
        let variables = environment(&[
            ("RELAY_MESHTASTIC_CONNECTION_TYPE", "tcp"),
            ("RELAY_MESHTASTIC_HOST", "radio"),
            (
                "RELAY_MATRIX_ROOMS",
                "[{id: '!b:example.org', meshtastic_channel: 1}]",
            ),
        ]);
        let nowhere = Path::new("/nonexistent/config.yaml");
        assert!(Config::load(nowhere, &variables).is_ok());
        let error = Config::load(nowhere, &Environment::default()).unwrap_err();
        assert!(matches!(error, LoadError::Missing(_)));
    }

    #[test]
    fn a_bad_variable_is_named_and_an_unknown_one_only_a_warning() {
        let variables = environment(&[
            ("RELAY_MESHTASTIC_PORT", "many"),
            ("RELAY_SERVICE_HOST", "x"),
        ]);
        let problems = Config::from_text("config.yaml", SHORTEST, &variables).unwrap_err();
        assert_eq!(
            problems.to_string(),
            "RELAY_MESHTASTIC_PORT: meshtastic.port: `many` is not a whole number"
        );
        assert_eq!(
            problems.warnings[0].to_string(),
            "RELAY_SERVICE_HOST: names no key"
        );
    }

    #[test]
    fn a_list_of_allowed_users_that_is_empty_by_mistake_never_means_everyone() {
        for text in [
            "allowed_users:",
            "allowed_users: ~",
            "allowed_users: #@alice:example.org",
        ] {
            let text = format!("matrix:\n  {text}\n{SHORTEST}");
            assert!(
                problems(&text)[0].contains("matrix.allowed_users: is empty"),
                "{text}"
            );
        }
        let variables = environment(&[("RELAY_MATRIX_ALLOWED_USERS", "")]);
        assert!(Config::from_text("config.yaml", SHORTEST, &variables).is_err());
        let nobody = format!("matrix: {{allowed_users: []}}\n{SHORTEST}");
        let config = Config::from_yaml(&nobody).unwrap().config;
        assert_eq!(config.matrix.allowed_users, Some(Vec::new()));
    }

    #[test]
    fn empty_prefixes_switch_them_off() {
        let text = format!("matrix: {{command_prefix: '', off_air_prefix: ''}}\n{SHORTEST}");
        let config = Config::from_yaml(&text).unwrap().config;
        assert_eq!(
            (config.matrix.command_prefix, config.matrix.off_air_prefix),
            (None, None)
        );
        let config = with(&[("RELAY_MESHTASTIC_DM_REPLY", "")]).config;
        assert_eq!(config.meshtastic.dm_reply, None);
    }

    #[test]
    fn a_delay_that_the_radio_would_refuse_is_raised_with_a_warning() {
        let text = SHORTEST.replace("host:", "message_delay: 1.5, host:");
        let config = Config::from_yaml(&text).unwrap().config;
        assert_eq!(config.meshtastic.message_delay, Duration::from_millis(2020));
        assert_eq!(warnings(&text).len(), 1);
    }

    #[test]
    fn a_key_given_twice_is_a_warning_and_the_last_counts() {
        let text = SHORTEST.replace("host:", "port: 1, port: 4404, host:");
        assert_eq!(
            warnings(&text),
            ["config.yaml:3:45: meshtastic.port: is given twice: the last one counts"]
        );
    }

    #[test]
    fn words_choose_their_variants() {
        let text = "\
matrix:
  invites: ['@alice:example.org', '@*:example.com']
matrix_rooms: [{id: '!abc', meshtastic_channel: '3'}]
meshtastic:
  connection_type: network
  host: '[fe80::1]'
  respect_ok_to_mqtt: public_rooms
  packet_routing: {chat_portnums: RANGE_TEST_APP, disabled_portnums: [3, 67]}
logging: {debug: {radio: true, matrix_sdk: false, store: trace}}
";
        let config = Config::from_yaml(text).unwrap().config;
        assert!(matches!(&config.matrix.invites, Some(users) if users.len() == 2));
        assert_eq!(config.meshtastic.respect_ok_to_mqtt, OkToMqtt::PublicRooms);
        assert_eq!(
            config.meshtastic.packet_routing.chat_portnums,
            [PortNum(66)]
        );
        assert_eq!(
            config.logging.debug,
            [
                (Component::Radio, Level::Debug),
                (Component::Store, Level::Trace),
                (Component::MatrixSdk, Level::Off),
            ]
        );
        let host = "fe80::1".to_owned();
        assert_eq!(
            config.meshtastic.connection,
            Connection::Tcp { host, port: 4403 }
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\PC\n\t]{0,200}") {
            drop(Config::from_yaml(&text));
        }

        #[test]
        fn no_change_of_a_good_file_makes_it_panic(
            at in 0_usize..8000,
            length in 0_usize..40,
            put in "[\\[\\]{}:#!&*'\"%@|>~, \n\t\\-a-f0-9]{0,12}",
        ) {
            let mut text: Vec<char> = uncomment(include_str!("../../../config.sample.yaml")).chars().collect();
            let from = at.min(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, put.chars());
            let text: String = text.into_iter().collect();
            if let Err(problems) = Config::from_yaml(&text) {
                proptest::prop_assert!(!problems.problems.is_empty());
            }
        }
    }

    #[test]
    fn the_sample_loads_and_each_value_in_it_is_one_that_its_key_takes() {
        let sample = include_str!("../../../config.sample.yaml");
        let loaded = Config::from_yaml(sample).unwrap();
        assert_eq!(loaded.warnings, []);
        let full = Config::from_yaml(&uncomment(sample)).unwrap().config;
        assert_eq!(full.database, loaded.config.database);
        assert!(full.matrix.password.is_some());
    }

    #[test]
    fn a_key_that_restricts_always_works() {
        let text = "\
matrix:
  allowed_users: ['@alice:example.org']
  ignored_users: ['@bob:example.org']
  min_power_level: 1
  urgent_power_level: 1
  sender_limit: {per_minute: 1, per_hour: 1}
  trusted_relays: ['@relay:example.org']
  e2ee: {enabled: true, recipients: verified}
  invites: none
matrix_rooms:
  - {id: '#hiking:example.org', meshtastic_channel: 0, direction: to_mesh}
meshtastic:
  connection_type: tcp
  host: 192.168.1.20
  broadcast_enabled: false
  ignore_nodes: ['!a1b2c3d4']
  respect_ok_to_mqtt: true
  relay_mqtt: false
  packet_routing: {disabled_portnums: [67]}
";
        assert_eq!(warnings(text), [""; 0]);
    }

    /// Turns `#key: value` into `key: value`; an explanation has a space after its `#`.
    fn uncomment(sample: &str) -> String {
        let line = |line: &str| match line.trim_start().strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => line.replacen('#', "", 1) + "\n",
            Some(_) | None => format!("{line}\n"),
        };
        sample.lines().map(line).collect()
    }
}
