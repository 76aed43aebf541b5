//! `relay config explain`: what the table of keys knows of one key, the value in effect, and where that was given.

use std::path::Path;

use serde::Serialize;

use super::Config;
use super::environment::{Environment, MeaningOfVariable};
use super::file::LARGEST;
use super::finding::{Finding, ValueSource, near};
use super::key_row::{KeyRow, Requirement};
use super::mmrelay;
use super::reader::Reader;
use super::settings::{Setting, settings};
use super::table::{paths, table};
use super::text_file::read_text;
use super::yaml;
use relay_model::{Chain, Explained};

/// What there is to say of a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Explanation {
    /// It is a key with a value.
    Key(KeyExplanation),
    /// It is a section, or a list of entries.
    Section {
        /// Its path.
        key: String,
        /// What it is for.
        about: String,
        /// The keys in it.
        keys: Vec<ListedKey>,
        /// Why nothing of the file counts, if nothing does.
        file_problem: Option<String>,
    },
    /// It is a key, or a variable, of MMRelay that means nothing here.
    Meaningless {
        /// The word.
        key: String,
        /// Why it means nothing.
        why: String,
    },
}

/// A key with a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyExplanation {
    /// Its path, as in `meshtastic.long_messages.part_bytes`; `matrix_rooms[].id` is a key of each entry.
    pub key: String,
    /// What it is for.
    pub about: String,
    /// What it takes: type, range and unit.
    pub takes: String,
    /// Its default as it is written in a file; `None`: it has none.
    pub default: Option<String>,
    /// When it has to be given; `None`: never.
    pub required: Option<String>,
    /// An example, where there is no default.
    pub example: Option<String>,
    /// The variables that give it, the first of them first.
    pub variables: Vec<String>,
    /// MMRelay's name of it, if that is another.
    pub mmrelay: Option<String>,
    /// What is different from MMRelay as long as it is not given.
    pub differs: Option<String>,
    /// The values in effect: one, but of a key of entries one for each of them.
    pub now: Vec<Setting>,
    /// What is wrong with it in the configuration that is there, or deserves attention.
    pub findings: Vec<Finding>,
    /// Why nothing of the file counts, if nothing does.
    pub file_problem: Option<String>,
}

/// A key of a section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedKey {
    /// Its path.
    pub key: String,
    /// What it is for.
    pub about: String,
    /// The value in effect; `None`: there is none, or several.
    pub value: Option<String>,
    /// Where it is given; `None`: nowhere.
    pub origin: Option<String>,
}

/// A word that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no key `{word}`")]
pub struct UnknownKey {
    /// The word.
    pub word: String,
    /// The keys that are nearest.
    pub nearest: Vec<String>,
}

impl Explained for UnknownKey {
    fn hint(&self) -> Option<String> {
        let nearest: Vec<_> = self.nearest.iter().map(|it| format!("`{it}`")).collect();
        Some(if nearest.is_empty() {
            "`relay config generate --output -` prints all of them".to_owned()
        } else {
            format!("did you mean {}?", nearest.join(" or "))
        })
    }

    fn exit(&self) -> std::process::ExitCode {
        std::process::ExitCode::from(2)
    }
}

/// Explains a key, by our name or MMRelay's, or a variable. The file need not be there, nor be right.
pub fn explain(
    word: &str,
    path: &Path,
    environment: &Environment,
) -> Result<Explanation, UnknownKey> {
    let keys = table();
    let word = word.trim();
    let path_of_key = match Environment::meaning_of(word, &paths()) {
        Some(MeaningOfVariable::Key(path)) => path,
        Some(MeaningOfVariable::Nothing(why)) => return Ok(meaningless(word, why)),
        None => match find(&keys, word) {
            Found::Key(path) => path,
            Found::Meaningless(why) => return Ok(meaningless(word, why)),
            Found::Nothing => return Err(unknown(&keys, word)),
        },
    };
    let current = Current::read(path, environment);
    let row = keys.iter().find(|row| row.path == path_of_key);
    let row = row.ok_or_else(|| unknown(&keys, word))?;
    Ok(match &row.doc {
        Some(doc) if inside(&keys, row).next().is_none() => {
            Explanation::Key(of_key(row, &doc.text, &current))
        }
        Some(_) | None => Explanation::Section {
            key: row.path.clone(),
            about: row.about.to_owned(),
            keys: inside(&keys, row).map(|it| current.listed(it)).collect(),
            file_problem: current.file_problem,
        },
    })
}

fn meaningless(word: &str, why: &str) -> Explanation {
    let (key, why) = (word.to_owned(), why.to_owned());
    Explanation::Meaningless { key, why }
}

/// What a word turned out to be.
enum Found {
    Key(String),
    Meaningless(&'static str),
    Nothing,
}

/// Follows a path part by part, under our names or MMRelay's.
fn find(keys: &[KeyRow], word: &str) -> Found {
    let word = word.to_lowercase();
    let (mut section, mut path) = (String::new(), String::new());
    for part in word.split('.') {
        // The index of an entry says nothing.
        let part = part.split('[').next().unwrap_or_default();
        let named = join(&section, part);
        if let Some(why) = mmrelay::meaningless(&named).or_else(|| mmrelay::meaningless(&word)) {
            return Found::Meaningless(why);
        }
        let row = keys.iter().find(|row| {
            let (parent, key) = row.path.rsplit_once('.').unwrap_or(("", &row.path));
            parent.trim_end_matches("[]") == section && (key == part || row.old == Some(part))
        });
        let Some(row) = row else {
            return Found::Nothing;
        };
        path.clone_from(&row.path);
        section = row.path.replace("[]", "");
    }
    Found::Key(path)
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// Returns the keys right inside a section, or of a list's entries.
fn inside<'a>(keys: &'a [KeyRow], row: &'a KeyRow) -> impl Iterator<Item = &'a KeyRow> {
    keys.iter().filter(move |it| {
        let parent = it.path.rsplit_once('.').map(|(parent, _)| parent);
        let parent = parent.map(|parent| parent.trim_end_matches("[]"));
        parent == Some(row.path.as_str()) && !it.about.is_empty()
    })
}

fn unknown(keys: &[KeyRow], word: &str) -> UnknownKey {
    let word_of = |row: &KeyRow| row.path.rsplit(['.', ']']).next().map(str::to_owned);
    let last = word.rsplit('.').next().unwrap_or(word).to_lowercase();
    let known = || keys.iter().filter(|row| !row.about.is_empty());
    let paths = || known().map(|row| row.path.as_str());
    let ending = format!(".{}", word.to_lowercase());
    let mut nearest: Vec<String> = paths()
        .filter(|path| path.ends_with(&ending))
        .map(str::to_owned)
        .collect();
    if nearest.is_empty() {
        nearest.extend(near(word, paths()).map(str::to_owned));
    }
    if nearest.is_empty() {
        let words: Vec<String> = known().filter_map(word_of).collect();
        let meant = near(&last, words.iter().map(String::as_str));
        let rows = known().filter(|row| meant.is_some() && word_of(row).as_deref() == meant);
        nearest.extend(rows.map(|row| row.path.clone()));
    }
    nearest.truncate(3);
    UnknownKey {
        word: word.to_owned(),
        nearest,
    }
}

/// What the configuration that is there gives.
struct Current {
    settings: Vec<Setting>,
    findings: Vec<Finding>,
    file_problem: Option<String>,
}

impl Current {
    fn read(path: &Path, environment: &Environment) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str());
        let name = name.to_string_lossy();
        let mut reader = Reader::new(&name, environment.clone());
        let (text, is_there) = match read_text(path, LARGEST) {
            Ok(text) => (Ok(text), true),
            Err(error) if error.is_missing => (Ok(String::new()), false),
            Err(error) => (Err(Chain(&error).to_string()), false),
        };
        let parsed = text.and_then(|text| {
            let parsed = yaml::parse(&text);
            parsed.map_err(|wrong| format!("the configuration is no YAML: {}", wrong.message))
        });
        let (root, file_problem) = match parsed {
            Ok(document) => (document.root, None),
            Err(problem) => (yaml::Node::NOTHING, Some(problem)),
        };
        reader.section(String::new(), ValueSource::Nowhere, root, |it| {
            drop(Config::read(it));
        });
        let found = reader.found();
        let findings = found.problems.into_iter().chain(found.warnings);
        Self {
            settings: settings(&reader),
            // A file that is not there lacks nothing.
            findings: findings
                .filter(|it| is_there || it.origin != name)
                .collect(),
            file_problem,
        }
    }

    fn of(&self, path: &str) -> Vec<Setting> {
        let settings = self.settings.iter();
        let of_key = settings.filter(|it| without_index(&it.key) == path);
        of_key.cloned().collect()
    }

    fn listed(&self, row: &KeyRow) -> ListedKey {
        let mut now = self.of(&row.path);
        let now = if now.len() == 1 { now.pop() } else { None };
        let (value, origin) = now.map(|it| (it.value, it.origin)).unwrap_or_default();
        ListedKey {
            key: row.path.clone(),
            about: row.about.to_owned(),
            value,
            origin,
        }
    }
}

/// Returns `matrix_rooms[].id` for `matrix_rooms[3].id`.
fn without_index(path: &str) -> String {
    match path.split_once('[').zip(path.split_once(']')) {
        Some(((before, _), (_, after))) => format!("{before}[]{after}"),
        None => path.to_owned(),
    }
}

fn of_key(row: &KeyRow, takes: &str, current: &Current) -> KeyExplanation {
    let (default, required, example) = match row.given {
        Requirement::Section => (None, None, None),
        Requirement::Default(it) => (Some(it), None, None),
        Requirement::Example(it) => (None, None, Some(it)),
        Requirement::Required(it) => (None, Some("always".to_owned()), Some(it)),
        Requirement::RequiredWith(it, other, word) => {
            (None, Some(format!("with `{other}: {word}`")), Some(it))
        }
    };
    let about = match mmrelay::successor(&row.path) {
        Some(ours) => {
            format!(
                "An old key of MMRelay: here it is `{ours}`, which counts where both are given."
            )
        }
        None => row.about.to_owned(),
    };
    let findings = current.findings.iter();
    let findings = findings.filter(|it| without_index(&it.key) == row.path);
    KeyExplanation {
        key: row.path.clone(),
        about,
        takes: takes.to_owned(),
        default: default.map(str::to_owned),
        required,
        example: example.map(str::to_owned),
        variables: Environment::names_of(&row.path),
        mmrelay: row.old.map(str::to_owned),
        differs: mmrelay::difference(&row.path),
        now: current.of(&row.path),
        findings: findings.cloned().collect(),
        file_problem: current.file_problem.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(word: &str, text: &str) -> Result<Explanation, UnknownKey> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        std::fs::write(&path, text).unwrap();
        let variables = [("RELAY_LOGGING_LEVEL".to_owned(), "debug".to_owned())];
        explain(word, &path, &Environment::from_vars(variables))
    }

    fn key(word: &str, text: &str) -> KeyExplanation {
        match explained(word, text) {
            Ok(Explanation::Key(key)) => key,
            other => panic!("{word}: {other:?}"),
        }
    }

    fn value(word: &str, text: &str) -> (Option<String>, Option<String>) {
        let key = key(word, text);
        (key.now[0].value.clone(), key.now[0].origin.clone())
    }

    #[test]
    fn every_key_of_the_table_is_explained() {
        for row in table() {
            let explanation = explained(&row.path, "");
            assert!(explanation.is_ok(), "{}", row.path);
        }
    }

    #[test]
    fn an_old_key_of_mmrelay_names_ours_that_takes_its_place() {
        for row in table().iter().filter(|row| row.about.is_empty()) {
            let ours = mmrelay::successor(&row.path).unwrap();
            assert!(table().iter().any(|it| it.path == ours), "{ours}");
            assert!(key(&row.path, "").about.contains(&format!("`{ours}`")));
        }
    }

    #[test]
    fn the_value_in_effect_is_told_with_its_origin_also_beside_mistakes() {
        let text = "meshtastic: {port: 4404, hots: x}\nmatrix: {password: hunter2}\n";
        let some = |value: &str| Some(value.to_owned());
        let port = (some("4404"), some("config.yaml:1:20"));
        assert_eq!(value("meshtastic.port", text), port);
        let level = (some("debug"), some("RELAY_LOGGING_LEVEL"));
        assert_eq!(value("logging.level", text), level);
        assert_eq!(value("meshtastic.edits", text), (some("resend"), None));
        let secret = (some("…"), some("config.yaml:2:20"));
        assert_eq!(value("matrix.password", text), secret);
        let wrong = key("meshtastic.port", "meshtastic: {port: many}");
        assert!(wrong.findings[0].message.contains("not a whole number"));
    }

    #[test]
    fn it_works_without_a_file_and_with_one_that_is_no_yaml() {
        let nowhere = Path::new("/nonexistent/config.yaml");
        let told = explain("meshtastic.port", nowhere, &Environment::default());
        assert!(matches!(told, Ok(Explanation::Key(key)) if key.file_problem.is_none()));
        let broken = key("meshtastic.port", "a: [");
        assert!(broken.file_problem.is_some());
        assert_eq!(broken.now[0].value.as_deref(), Some("4403"));
    }

    #[test]
    fn names_of_mmrelay_variables_and_indices_lead_to_our_keys() {
        for (word, path) in [
            ("matrix.user_id", "matrix.bot_user_id"),
            ("db.msg_map.msgs_to_keep", "database.msg_map.msgs_to_keep"),
            ("matrix.encryption.enabled", "matrix.e2ee.enabled"),
            ("MMRELAY_LOG_PATH", "logging.filename"),
            ("RELAY_MESHTASTIC_HOST", "meshtastic.host"),
            ("RELAY_MATRIX_PASSWORD_FILE", "matrix.password"),
            ("matrix_rooms[2].id", "matrix_rooms[].id"),
            ("matrix_rooms.id", "matrix_rooms[].id"),
            ("Meshtastic.Host", "meshtastic.host"),
        ] {
            assert_eq!(key(word, "").key, path, "{word}");
        }
    }

    #[test]
    fn keys_of_mmrelay_without_meaning_answer_why() {
        for word in [
            "meshtastic.retries",
            "plugins.weather.active",
            "db.enable_wal",
            "MMRELAY_READY_FILE",
        ] {
            let told = explained(word, "");
            assert!(
                matches!(&told, Ok(Explanation::Meaningless { why, .. }) if !why.is_empty()),
                "{word}: {told:?}"
            );
        }
    }

    #[test]
    fn what_is_no_key_is_told_with_the_nearest() {
        for (word, hint) in [
            (
                "part_bytes",
                "did you mean `meshtastic.long_messages.part_bytes`?",
            ),
            ("meshtastic.hots", "did you mean `meshtastic.host`?"),
            ("logging.levle", "did you mean `logging.level`?"),
            (
                "elephants",
                "`relay config generate --output -` prints all of them",
            ),
        ] {
            let error = explained(word, "").unwrap_err();
            assert_eq!(error.hint().as_deref(), Some(hint), "{word}");
        }
    }

    #[test]
    fn a_section_lists_its_keys_and_a_list_those_of_its_entries() {
        for (word, listed) in [
            ("meshtastic.backlog", "meshtastic.backlog.newest"),
            ("matrix_rooms", "matrix_rooms[].direction"),
            ("logging", "logging.debug"),
        ] {
            let Ok(Explanation::Section { keys, .. }) = explained(word, "") else {
                panic!("{word} is no section");
            };
            assert!(keys.iter().any(|it| it.key == listed), "{word}: {keys:?}");
        }
    }
}
