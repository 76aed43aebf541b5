//! The keys whose feature is not built yet: the one place that says so. A key that restricts who may transmit or
//! read is never among them.

use super::yaml::Value;

const UNBUILT: &[&str] = &["matrix.verify_with"];

/// Returns the sentence for a key that, set to this value, asks for something that is not built yet.
pub(super) fn unbuilt_sentence(path: &str, value: &Value) -> Option<&'static str> {
    is_unbuilt(path, value).then_some("is not built yet, and does nothing so far")
}

fn is_unbuilt(path: &str, value: &Value) -> bool {
    UNBUILT.contains(&path) && !asks_for_nothing(value)
}

fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null { .. } => true,
        Value::Scalar { text, .. } => ["off", "false", "no"].contains(&text.as_str()),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
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
            "matrix.urgent_power_level",
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
            let key = format!("{}:", unbuilt.rsplit('.').next().unwrap());
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
            assert!(says, "{unbuilt}: {comments:?}");
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
