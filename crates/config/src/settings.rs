//! Every key with its value in effect: as it was written if it is given and right, else its default. Secrets are `…`.

use serde::Serialize;
use serde_json::json;

use super::key_row::{KeyRow, Requirement};
use super::reader::Reader;
use super::table::table;
use super::yaml::{Node, Value};

/// A key with its value in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key's path, as in `matrix_rooms[0].id`.
    pub key: String,
    /// Its value as YAML in one line, `…` for a secret; `None`: nothing is given, and there is no default.
    pub value: Option<String>,
    /// Where it is given: a place in the file, or a variable; `None`: nowhere.
    pub origin: Option<String>,
}

/// Returns whether a path is that of a key of ours.
pub fn is_key(path: &str) -> bool {
    let path = without_index(path);
    table().iter().any(|row| row.path == path)
}

/// Returns `matrix_rooms[].id` for `matrix_rooms[3].id`.
pub(super) fn without_index(path: &str) -> String {
    match path.split_once('[').zip(path.split_once(']')) {
        Some(((list, _), (_, key))) => format!("{list}[]{key}"),
        None => path.to_owned(),
    }
}

/// Returns each key with its value, in the order of the sample. Keys that only MMRelay has are there if they are given.
pub(super) fn settings(reader: &Reader) -> Vec<Setting> {
    let table = table();
    let is_list = |row: &&KeyRow| {
        let items = format!("{}[].", row.path);
        table.iter().any(|it| it.path.starts_with(&items))
    };
    let is_value = |row: &&KeyRow| row.doc.is_some() && !row.path.contains('[');
    let mut settings = Vec::new();
    for row in table.iter().filter(is_value) {
        if is_list(&row) {
            settings.extend(entries(reader, &table, row));
        } else {
            let setting = of(reader, row, row.path.clone());
            settings.extend(setting.filter(|it| it.origin.is_some() || !row.about.is_empty()));
        }
    }
    settings
}

/// Returns the keys of each entry of a list.
fn entries(reader: &Reader, table: &[KeyRow], list: &KeyRow) -> Vec<Setting> {
    let items = format!("{}[]", list.path);
    let keys: Vec<_> = table
        .iter()
        .filter(|row| row.path.starts_with(&items))
        .collect();
    let is_given = |entry: &str| reader.given.keys().any(|path| path.starts_with(entry));
    let mut settings = Vec::new();
    for index in 0..reader.given.len() {
        let entry = format!("{}[{index}]", list.path);
        if !is_given(&entry) {
            break;
        }
        let keys = keys.iter();
        settings.extend(keys.filter_map(|row| of(reader, row, row.path.replace(&items, &entry))));
    }
    settings
}

fn of(reader: &Reader, row: &KeyRow, key: String) -> Option<Setting> {
    let is_secret = row.doc.as_ref()?.is_secret;
    let given = reader.values.get(&key).map(|node| {
        if is_secret {
            "…".to_owned()
        } else {
            in_one_line(node)
        }
    });
    let origin = given.as_ref().and_then(|_| reader.given.get(&key));
    let origin = origin.map(|origin| reader.place(origin));
    let default = match row.given {
        Requirement::Default(default) => Some(default.to_owned()),
        Requirement::Section
        | Requirement::Example(_)
        | Requirement::Required(_)
        | Requirement::RequiredWith(..) => None,
    };
    let value = given.or(default);
    Some(Setting { key, value, origin })
}

/// Writes a value as YAML in one line.
fn in_one_line(node: &Node) -> String {
    match &node.value {
        Value::Null { .. } => "~".to_owned(),
        Value::Scalar { text, plain: true } if !text.contains(char::is_control) => text.clone(),
        Value::Scalar { text, .. } => json!(text).to_string(),
        Value::List(items) => {
            let items: Vec<_> = items.iter().map(in_one_line).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let entry =
                |it: &super::yaml::Entry| format!("{}: {}", json!(it.key), in_one_line(&it.value));
            let entries: Vec<_> = entries.iter().map(entry).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Environment};

    const TEXT: &str = "\
matrix: {password: hunter2, allowed_users: ['@alice:example.org', \"@*:example.com\"]} # mine alone
matrix_rooms:
  - {id: '#hiking:example.org', meshtastic_channel: 0}
  - {id: '!b:example.org', meshtastic_channel: Club, direction: to_mesh}
meshtastic: {connection_type: tcp, host: 192.168.1.20, retries: 3, ble_pin: 123456}
";

    fn settings() -> Vec<Setting> {
        let variables = [("RELAY_LOGGING_LEVEL", "debug")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = Environment::from_vars(variables);
        let loaded = Config::from_text("config.yaml", TEXT, &environment);
        loaded.unwrap().settings
    }

    #[test]
    fn each_key_is_told_with_its_value_and_where_it_was_given() {
        let settings = settings();
        let of = |key: &str| {
            let it = settings.iter().find(|it| it.key == key).unwrap();
            (it.value.as_deref(), it.origin.as_deref())
        };
        assert_eq!(of("meshtastic.port"), (Some("4403"), None));
        assert_eq!(of("meshtastic.serial_port"), (None, None));
        let host = (Some("192.168.1.20"), Some("config.yaml:5:42"));
        assert_eq!(of("meshtastic.host"), host);
        let level = (Some("debug"), Some("RELAY_LOGGING_LEVEL"));
        assert_eq!(of("logging.level"), level);
        let room = (Some("to_mesh"), Some("config.yaml:4:65"));
        assert_eq!(of("matrix_rooms[1].direction"), room);
        assert_eq!(of("matrix_rooms[0].direction"), (Some("both"), None));
        let users = Some("[\"@alice:example.org\", \"@*:example.com\"]");
        assert_eq!(of("matrix.allowed_users").0, users);
    }

    #[test]
    fn neither_secrets_nor_comments_nor_keys_without_meaning_are_told() {
        let settings = settings();
        let hidden = |key: &str| {
            let it = settings.iter().find(|it| it.key == key).unwrap();
            it.value.as_deref() == Some("…") && it.origin.is_some()
        };
        assert!(hidden("matrix.password") && hidden("meshtastic.ble_pin"));
        let all = format!("{settings:?}");
        for word in ["hunter2", "123456", "mine alone", "retries"] {
            assert!(!all.contains(word), "{word} in {all}");
        }
    }
}
