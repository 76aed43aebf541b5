//! MMRelay's configuration as a text of ours: keys under our names, what means nothing here commented out with the reason, all
//! else as it was written, comments included.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::finding::{Finding, Problems, printable};
use super::mmrelay::TAKEN_OVER;
use super::text_change::{TextChange, UNKNOWN_KEY, apply};
use super::yaml::{self, Entry, Node, Value};
use super::{Config, Loaded};

/// Where MMRelay's database is.
const DATABASE: [&str; 2] = ["database.path", "db.path"];

/// Keys that are MMRelay's own business: which, and why they are not taken over.
const THEIR_OWN: [(&[&str], &str); 3] = [
    (
        &DATABASE,
        "it names MMRelay's database; the relay has its own",
    ),
    (
        &["logging.filename"],
        "it names MMRelay's log; the relay has its own",
    ),
    (
        &[ACCESS_TOKEN],
        "it belongs to MMRelay's device; the relay logs in as one of its own",
    ),
];

/// A secret: not even a comment keeps it.
const ACCESS_TOKEN: &str = "matrix.access_token";

/// A configuration that was taken over.
#[derive(Debug)]
pub struct TakenOver {
    /// The text to be written.
    pub text: String,
    /// What was changed in it, a sentence each, in the order of the old file.
    pub changes: Vec<String>,
    /// What reading the text gives.
    pub loaded: Result<Loaded, Problems>,
    /// Where the old configuration has its database, as written.
    pub database: Option<PathBuf>,
}

/// Translates a configuration of MMRelay, the file `from`, and says so in its first line. Where the translation would mean
/// something else than the original, the rest stays as it is. Fails if the text is no YAML.
pub fn take_over(
    from: &Path,
    text: &str,
    environment: &Environment,
) -> Result<TakenOver, Problems> {
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    let (before, changes) = Config::read_text(&name, text, environment);
    let Ok(document) = yaml::parse(text) else {
        return Err(before.err().unwrap_or_default());
    };
    let root = &document.root;
    let from = printable(&from.display().to_string());
    let with_heading = |text: &str| {
        let text =
            format!("{TAKEN_OVER} ({from}); `relay config check` tells what differs.\n{text}");
        let loaded = Config::from_text("config.yaml", &text, environment);
        (text, loaded)
    };
    let (translated, mut changes) = apply(text, root, &with_their_own(changes, root));
    let (mut taken, mut loaded) = with_heading(&translated);
    if !means_the_same(&before, &loaded) {
        (taken, loaded) = with_heading(text);
        changes.clear();
    }
    Ok(TakenOver {
        text: taken,
        changes,
        loaded,
        database: database(root),
    })
}

/// Returns where the configuration has MMRelay's database, as written.
fn database(root: &Node) -> Option<PathBuf> {
    DATABASE
        .iter()
        .find_map(|path| match &find(root, path)?.value.value {
            Value::Scalar { text, .. } if !text.is_empty() => Some(PathBuf::from(text)),
            _ => None,
        })
}

/// Adds to the changes that reading has found those at keys that mean something to us too, in the order of the text.
fn with_their_own(mut changes: Vec<TextChange>, root: &Node) -> Vec<TextChange> {
    for (paths, why) in THEIR_OWN {
        for (path, entry) in paths.iter().filter_map(|it| Some((*it, find(root, it)?))) {
            changes.retain(|it| it.place != entry.place);
            let change = TextChange::leave_out(path, entry.place, why, path == ACCESS_TOKEN);
            changes.push(change);
        }
    }
    if let Some(entry) = find(root, "meshtastic.relay_reactions")
        && find(root, "meshtastic.message_interactions").is_none()
        && let Value::Scalar { text, plain: true } = &entry.value.value
    {
        let end = entry.value.place.column + text.chars().count();
        changes.push(TextChange::reactions(entry.place, entry.value.place, end));
    }
    changes.sort_by_key(|it| it.place);
    changes
}

/// Returns whether a translation means what its original does, but for what is MMRelay's own.
fn means_the_same(before: &Result<Loaded, Problems>, after: &Result<Loaded, Problems>) -> bool {
    match (before, after) {
        (Ok(before), Ok(after)) => {
            let mut expected = before.config.clone();
            expected
                .database
                .path
                .clone_from(&after.config.database.path);
            expected
                .logging
                .filename
                .clone_from(&after.config.logging.filename);
            expected
                .matrix
                .access_token
                .clone_from(&after.config.matrix.access_token);
            expected == after.config
        }
        // Keys that nobody knows did nothing in MMRelay either.
        (Err(before), Ok(_)) => before.problems.iter().all(|it| it.message == UNKNOWN_KEY),
        (Ok(_), Err(_)) => false,
        (Err(before), Err(after)) => after.problems.iter().all(|new| {
            let is_it = |old: &Finding| (&old.key, &old.message) == (&new.key, &new.message);
            before.problems.iter().any(is_it)
        }),
    }
}

/// Returns an entry by its path.
fn find<'a>(root: &'a Node, path: &str) -> Option<&'a Entry> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let Value::Map(entries) = &root.value else {
        return None;
    };
    let entry = entries.iter().find(|it| it.key == first)?;
    rest.map_or(Some(entry), |rest| find(&entry.value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> (String, Vec<String>) {
        let taken = take_over(Path::new("config.yaml"), text, &Environment::default()).unwrap();
        taken
            .loaded
            .as_ref()
            .unwrap_or_else(|problems| panic!("{problems}\n{}", taken.text));
        let (heading, text) = taken.text.split_once('\n').unwrap();
        assert!(heading.starts_with(TAKEN_OVER), "{heading}");
        (text.to_owned(), taken.changes)
    }

    #[test]
    fn comments_and_order_stay_and_what_means_nothing_is_commented_out_with_the_reason() {
        let (text, changes) = taken(
            "\
# The club's relay.
matrix:
  user_id: '@bot:example.org' # the bot
  access_token: syt_secret
  encryption: {enabled: true}

# Rooms.
matrix_rooms:
  - id: '#hiking:example.org' # people
    meshtastic_channel: 0
meshtastic:
  connection_type: network
  host: radio
  relay_reactions: true # 👍
  health_check:
    enabled: true
    # Every minute.
    heartbeat_interval: 60
  # The name.
  meshnet_name: Alpine
  frobnicate: 1
db:
  path: /data/meshtastic.sqlite
  msg_map:
    msgs_to_keep: 100
    wipe_on_restart: true

plugins:
  ping:
    active: true
    channels:
    - 1
",
        );
        insta::assert_snapshot!(text);
        insta::assert_snapshot!(changes.join("\n"));
    }

    #[test]
    fn what_cannot_be_translated_safely_stays_as_it_is_written() {
        let flow = "{matrix_rooms: [{id: '#a:example.org', meshtastic_channel: 0}], \
                    meshtastic: {connection_type: tcp, host: radio, timeout: 3}, plugins: {ping: {active: true}}}";
        assert_eq!(taken(flow), (flow.to_owned(), vec![]));
        let anchor = "\
plugins: &all
  - {id: '#a:example.org', meshtastic_channel: 0}
matrix_rooms: *all
meshtastic: {connection_type: tcp, host: radio}
";
        assert_eq!(taken(anchor), (anchor.to_owned(), vec![]));
    }

    #[test]
    fn a_token_stays_in_no_comment_and_without_a_last_line_break_nothing_runs_together() {
        let (text, _) = taken(
            "\
matrix_rooms:
- id: '#a:example.org'
  meshtastic_channel: 0
meshtastic:
  connection_type: serial
matrix:
  password: secret
  access_token: >-
    syt_one
    syt_two
custom-plugins:
  mine:
    active: true",
        );
        assert!(!text.contains("syt"), "{text}");
        assert!(text.ends_with("#    active: true\n"), "{text}");
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_text_it_means_the_same_afterwards(
            at in 0_usize..1500,
            length in 0_usize..40,
            put in "[\\[\\]{}:#!&*'\"%@|>~, \n\r\t\u{a0}\\-a-f0-9]{0,12}",
        ) {
            let fixture = include_str!("../../../tests/fixtures/config/valid/mmrelay_plugins.yaml");
            let mut text: Vec<char> = fixture.chars().collect();
            let from = at.min(text.len());
            let to = (from + length).min(text.len());
            text.splice(from..to, put.chars());
            let text: String = text.into_iter().collect();
            let before = Config::from_yaml(&text);
            if let Ok(taken) = take_over(Path::new("config.yaml"), &text, &Environment::default()) {
                let after = Config::from_yaml(&taken.text);
                proptest::prop_assert!(means_the_same(&before, &after), "{}", taken.text);
            }
        }
    }

    #[test]
    fn mistakes_are_told_and_nothing_of_them_is_hidden() {
        let text = "\
matrix_rooms:
  - id: '#a:example.org'
    meshtastic_channel: 9
meshtastic:
  connection_type: tcp
plugins:
  ping: {active: true}
";
        let taken = take_over(Path::new("config.yaml"), text, &Environment::default()).unwrap();
        let problems = taken.loaded.unwrap_err().problems;
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(taken.text.contains("#plugins:"), "{}", taken.text);
        assert!(take_over(Path::new("config.yaml"), "a: [", &Environment::default()).is_err());
    }
}
