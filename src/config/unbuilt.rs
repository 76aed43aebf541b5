//! The keys whose feature is not built yet: the one place that says so. A key that restricts who may transmit or
//! read is never among them.

use super::finding::quoted;
use super::yaml::Value;

/// A key that does nothing yet.
struct Unbuilt {
    key: &'static str,
    /// The values that ask for something not built; empty: any.
    values: &'static [&'static str],
}

const UNBUILT: &[Unbuilt] = &[unbuilt("matrix.verify_with", &[])];

const fn unbuilt(key: &'static str, values: &'static [&'static str]) -> Unbuilt {
    Unbuilt { key, values }
}

/// Returns the sentence for a key that, set to this value, asks for something that is not built yet.
pub(super) fn unbuilt_sentence(path: &str, value: &Value) -> Option<String> {
    if !is_unbuilt(path, value) {
        return None;
    }
    let is_choice = UNBUILT
        .iter()
        .any(|it| it.key == path && !it.values.is_empty());
    Some(match value {
        Value::Scalar { text, .. } if is_choice => format!("{} is not built yet", quoted(text)),
        Value::Scalar { .. } | Value::Null { .. } | Value::List(_) | Value::Map(_) => {
            "is not built yet, and does nothing so far".to_owned()
        }
    })
}

fn is_unbuilt(path: &str, value: &Value) -> bool {
    let asked = |it: &Unbuilt| {
        if it.values.is_empty() {
            !asks_for_nothing(value)
        } else {
            is_one_of(value, it.values)
        }
    };
    UNBUILT.iter().any(|it| it.key == path && asked(it))
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null { .. } => true,
        Value::Scalar { .. } => is_one_of(value, &["off", "false", "no"]),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
    }
}

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    match value {
        Value::Scalar { text, .. } => words.contains(&text.as_str()),
        Value::Null { .. } | Value::List(_) | Value::Map(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_restricts_always_works() {
        for key in [
            "matrix.allowed_users",
            "matrix.ignored_users",
            "matrix.min_power_level",
            "matrix.sender_limit",
            "matrix.trusted_relays",
            "matrix.e2ee",
            "matrix.e2ee.enabled",
            "matrix.e2ee.recipients",
            "matrix.invites",
            "matrix_rooms",
            "matrix_rooms[0].direction",
            "meshtastic.broadcast_enabled",
            "meshtastic.ignore_nodes",
            "meshtastic.respect_ok_to_mqtt",
            "meshtastic.relay_mqtt",
            "meshtastic.packet_routing.disabled_portnums",
        ] {
            assert!(!is_unbuilt(key, &word("x")), "{key}");
        }
    }

    #[test]
    fn the_sample_says_of_each_key_that_it_is_not_built_yet() {
        let sample = include_str!("../../config.sample.yaml");
        for unbuilt in UNBUILT {
            let key = format!("{}:", unbuilt.key.rsplit('.').next().unwrap());
            let is_key = |line: &str| line.trim_start_matches([' ', '#']).starts_with(&key);
            let lines: Vec<&str> = sample.lines().collect();
            let at = lines.iter().position(|line| is_key(line)).unwrap();
            let comments = lines[..at].iter().rev();
            let comments: Vec<&str> = comments
                .take_while(|line| line.trim_start().starts_with("# "))
                .copied()
                .collect();
            let says = comments
                .iter()
                .any(|it| it.to_lowercase().contains("not built yet"));
            assert!(says, "{}: {comments:?}", unbuilt.key);
            for value in unbuilt.values {
                assert!(comments.iter().any(|it| it.contains(value)), "{value}");
            }
        }
    }

    #[test]
    fn what_is_switched_off_is_not_missed() {
        assert!(!is_unbuilt("matrix.verify_with", &Value::List(Vec::new())));
    }

    fn word(text: &str) -> Value {
        Value::Scalar {
            text: text.to_owned(),
            plain: true,
        }
    }
}
