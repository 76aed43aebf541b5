//! What a running relay takes over from a configuration that was read again, by the table of keys.

use super::Config;
use super::key_row::Key;

/// The keys whose values differ, by their paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that were taken over.
    pub taken: Vec<String>,
    /// Those that keep their value until a restart.
    pub need_restart: Vec<String>,
}

/// A section of the configuration that follows another reading of it.
pub(super) trait Follow {
    /// Takes over what may change while the relay runs. `section` is the path before a key, with its dot.
    fn follow(&mut self, new: &Self, section: &str, changes: &mut Changes);
}

impl Changes {
    /// Has one key follow, unless it is one that needs a restart.
    pub(super) fn value<T: Clone + PartialEq>(
        &mut self,
        own: &mut T,
        new: &T,
        path: String,
        restart: Option<Key>,
    ) {
        if own == new {
            return;
        }
        if restart.is_some() {
            self.need_restart.push(path);
        } else {
            own.clone_from(new);
            self.taken.push(path);
        }
    }
}

impl Config {
    /// Takes over from another reading of the configuration what may change while the relay runs; the rest keeps its value.
    pub fn take_over(&mut self, new: &Self) -> Changes {
        const LINK: &str = "meshtastic.connection";
        let mut changes = Changes::default();
        self.follow(new, "", &mut changes);
        // In a file it is several keys.
        let named = |path: String| match path.as_str() {
            LINK => {
                let (before, now) = (&self.meshtastic.connection, &new.meshtastic.connection);
                let keys = before.keys_that_differ(now);
                keys.into_iter()
                    .map(|key| format!("meshtastic.{key}"))
                    .collect()
            }
            _ => vec![path],
        };
        changes.need_restart = changes.need_restart.into_iter().flat_map(named).collect();
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Component, Connection, Level, Secret};

    const BEFORE: &str = "\
matrix_rooms:
  - {id: '!a:example.org', meshtastic_channel: 0}
meshtastic: {connection_type: tcp, host: 192.168.1.20}
";

    fn config(text: &str) -> Config {
        Config::from_yaml(text).unwrap().config
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        let mut running = config(BEFORE);
        assert_eq!(running.take_over(&config(BEFORE)), Changes::default());
        assert_eq!(running, config(BEFORE));
    }

    #[test]
    fn what_may_change_is_taken_over_and_the_rest_keeps_its_value_and_is_named() {
        let new = config(
            "
matrix: {allowed_users: ['@alice:example.org'], homeserver: example.org, sender_limit: {per_minute: 3}}
matrix_rooms:
  - {id: '!a:example.org', meshtastic_channel: 0, direction: to_mesh}
meshtastic:
  connection_type: tcp
  host: 192.168.1.21
  port: 4404
  prefix_format: '{display}: '
  long_messages: {max_parts: 2}
  channel_use: {slow_above: 10}
database: {path: other.sqlite, keep_days: 3}
logging: {level: debug, debug: {radio: trace}}
",
        );
        let mut running = config(BEFORE);
        let changes = running.take_over(&new);
        assert_eq!(
            changes.taken,
            [
                "matrix_rooms",
                "meshtastic.prefix_format",
                "meshtastic.long_messages.max_parts",
                "matrix.allowed_users",
                "matrix.sender_limit.per_minute",
                "database.keep_days",
                "logging.level",
                "logging.debug",
            ]
        );
        assert_eq!(
            changes.need_restart,
            [
                "meshtastic.host",
                "meshtastic.port",
                "meshtastic.channel_use",
                "matrix.homeserver",
                "database.path",
            ]
        );
        assert_eq!(running.matrix_rooms, new.matrix_rooms);
        assert_eq!(running.logging.debug, [(Component::Radio, Level::Trace)]);
        assert_eq!(running.database.keep_days, 3);
        let before = config(BEFORE);
        assert_eq!(running.database.path, before.database.path);
        assert_eq!(running.meshtastic.connection, before.meshtastic.connection);
        // Only a restart is missing, however often it is read.
        let again = running.take_over(&new);
        assert_eq!(again.taken, [""; 0]);
        assert_eq!(again.need_restart, changes.need_restart);
    }

    #[test]
    fn another_kind_of_link_is_named_by_its_type() {
        let tcp = config(BEFORE).meshtastic.connection;
        let serial = Connection::Serial { serial_port: None };
        assert_eq!(tcp.keys_that_differ(&serial), ["connection_type"]);
        let ble = |pin| Connection::Ble {
            ble_address: "Base".to_owned(),
            ble_pin: Some(Secret::new(pin)),
        };
        assert_eq!(ble(1).keys_that_differ(&ble(2)), ["ble_pin"]);
    }
}
