//! The configurations under `tests/fixtures/config`: what is said about each stands beside it in
//! `snapshots`.

use std::fs;
use std::path::Path;

use super::{Config, Loaded, Problems};

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
