//! The configurations under `tests/fixtures/config`: what is said about each stands beside it in
//! `snapshots`.

use std::fs;
use std::path::Path;

use super::{Config, Environment, Loaded, Problems, take_over};

fn each(directory: &str, outcome: impl Fn(Result<Loaded, Problems>) -> String) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/config");
    let mut seen = 0;
    for entry in fs::read_dir(fixtures.join(directory)).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(fixtures.join("snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, outcome(Config::from_yaml(&text))));
        seen += 1;
    }
    assert!(seen > 0, "no fixtures in {directory}");
}

#[test]
fn each_mistake_is_told_as_its_snapshot_says() {
    each("invalid", |outcome| outcome.unwrap_err().to_string());
}

#[test]
fn each_good_configuration_gets_the_warnings_of_its_snapshot() {
    each("valid", |outcome| {
        let loaded = outcome.unwrap_or_else(|problems| panic!("{problems}"));
        let warnings: Vec<String> = loaded
            .warnings
            .iter()
            .map(|it| relay_model::full_text(it))
            .collect();
        let notes = if loaded.is_mmrelay {
            loaded.differences
        } else {
            Vec::new()
        };
        let rooms = loaded.config.matrix_rooms.iter().map(|room| {
            format!(
                "{} = {}, {}",
                room.id, room.meshtastic_channel, room.direction
            )
        });
        rooms
            .chain(warnings)
            .chain(notes.iter().map(|note| format!("note: {note}")))
            .collect::<Vec<_>>()
            .join("\n")
    });
}

#[test]
fn each_configuration_of_mmrelay_is_taken_over_whole_with_a_reason_for_each_key_that_is_left_out() {
    let valid = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/config/valid");
    for entry in fs::read_dir(valid).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("mmrelay") {
            continue;
        }
        let old = fs::read_to_string(&path).unwrap();
        let taken = take_over(&path, &old, &Environment::default()).unwrap();
        let loaded = taken
            .loaded
            .unwrap_or_else(|problems| panic!("{name}: {problems}"));
        let comments = |text: &str| {
            text.lines()
                .filter(|it| it.trim_start().starts_with("# "))
                .count()
        };
        assert!(
            comments(&taken.text) >= comments(&old),
            "{name}: {}",
            taken.text
        );
        assert!(!taken.text.contains("reaalllllyloooooong"), "{name}");
        let meaningless = loaded
            .warnings
            .iter()
            .filter(|it| it.message.contains("no meaning here"));
        // What stands in braces stays, with its warning.
        let left: Vec<_> = meaningless.map(|it| it.key.as_str()).collect();
        assert!(
            left.is_empty() || name == "mmrelay.yaml",
            "{name}: {left:?}\n{}",
            taken.text
        );
    }
}

#[test]
fn variables_of_mmrelay_give_keys_or_get_one_warning_each() {
    let variables = [
        ("MMRELAY_MESHTASTIC_CONNECTION_TYPE", "tcp"),
        ("MMRELAY_MESHTASTIC_HOST", "radio.example.org"),
        ("MMRELAY_MESHTASTIC_PORT", "4404"),
        ("MMRELAY_MESHTASTIC_SERIAL_PORT", "/dev/ttyUSB0"),
        ("MMRELAY_MESHTASTIC_BLE_ADDRESS", "Base_1234"),
        ("MMRELAY_MESHTASTIC_BROADCAST_ENABLED", "off"),
        ("MMRELAY_MESHTASTIC_MESHNET_NAME", "Hill"),
        ("MMRELAY_MESHTASTIC_MESSAGE_DELAY", "3"),
        ("MMRELAY_MESHTASTIC_NODEDB_REFRESH_INTERVAL", "15"),
        ("MMRELAY_MATRIX_HOMESERVER", "https://matrix.example.org"),
        ("MMRELAY_MATRIX_BOT_USER_ID", "@bot:example.org"),
        ("MMRELAY_MATRIX_PASSWORD", "secret"),
        ("MMRELAY_MATRIX_ACCESS_TOKEN", "secret"),
        ("MMRELAY_DATABASE_PATH", "/data/database/meshtastic.sqlite"),
        ("MMRELAY_LOG_PATH", "/data/logs/mmrelay.log"),
        ("MMRELAY_LOG_FILE", "/data/logs/mmrelay.log"),
        ("MMRELAY_LOGGING_LEVEL", "critical"),
        ("MMRELAY_CREDENTIALS_PATH", "/data/credentials.json"),
        ("MMRELAY_READY_FILE", "/tmp/mmrelay-ready"),
        ("MMRELAY_READY_HEARTBEAT_SECONDS", "60"),
        ("MMRELAY_SERVICE_OVERRIDE", "1"),
        ("MMRELAY_DEBUG_NIO", "1"),
        ("MMRELAY_HOST_HOME", "/home/club"),
        ("MMRELAY_HOME", "/data"),
        ("MMRELAY_BASE_DIR", "/data"),
        ("MMRELAY_DATA_DIR", "/data"),
        ("MMRELAY_MATRIX_ALLOWED_USERS", "['@alice:example.org']"),
        (
            "RELAY_MATRIX_ROOMS",
            "[{id: '#hill:example.org', meshtastic_channel: 0}]",
        ),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let environment = Environment::from_vars(variables.map(owned));
    let loaded = Config::from_text("config.yaml", "", &environment).unwrap();
    assert!(loaded.is_mmrelay);
    let warnings: Vec<_> = loaded
        .warnings
        .iter()
        .map(|it| relay_model::full_text(it))
        .collect();
    insta::assert_snapshot!(warnings.join("\n"));
    let config = loaded.config;
    insta::assert_debug_snapshot!((
        config.meshtastic.connection,
        config.meshtastic.broadcast_enabled,
        config.meshtastic.meshnet_name,
        config.meshtastic.message_delay,
        config.matrix.homeserver,
        config.matrix.bot_user_id,
        config.database.path,
        config.logging.level,
        config.logging.log_to_file
    ));
}

#[test]
fn a_wrong_variable_that_mmrelay_leaves_out_is_left_out_with_one_warning() {
    let variables = [
        ("MMRELAY_MESHTASTIC_PORT", "70000"),
        ("MMRELAY_MESHTASTIC_BROADCAST_ENABLED", "perhaps"),
        ("MMRELAY_MESHTASTIC_MESSAGE_DELAY", "soon"),
        ("MMRELAY_LOGGING_LEVEL", "loud"),
    ];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let text = "\
matrix_rooms: [{id: '!a:example.org', meshtastic_channel: 0}]
meshtastic: {connection_type: tcp, host: radio, port: 4404, broadcast_enabled: false}
";
    let environment = Environment::from_vars(variables.map(owned));
    let loaded = Config::from_text("config.yaml", text, &environment).unwrap();
    let warnings: Vec<_> = loaded
        .warnings
        .iter()
        .map(|it| relay_model::full_text(it))
        .collect();
    insta::assert_snapshot!(warnings.join("\n"));
    // What the file says counts, else the default.
    let mesh = &loaded.config.meshtastic;
    assert_eq!(mesh.connection.place(), "radio:4404");
    assert!(!mesh.broadcast_enabled);
    assert_eq!(mesh.message_delay.as_millis(), 2050);

    // Of our own variables, and where another radio would be used, a mistake is one.
    for (name, value) in [
        ("RELAY_MESHTASTIC_PORT", "70000"),
        ("MMRELAY_MESHTASTIC_CONNECTION_TYPE", "smoke"),
        ("MMRELAY_MESHTASTIC_HOST", "http://radio"),
    ] {
        let environment = Environment::from_vars([owned((name, value))]);
        let problems = Config::from_text("config.yaml", text, &environment).unwrap_err();
        assert_eq!(problems.problems[0].origin, name);
    }
}
