//! The configuration: MMRelay's becomes ours, unless ours is there.

use std::path::{Path, PathBuf};

use serde::Serialize;

use relay_config::{
    Config, Environment, Finding, LARGEST, Loaded, Problems, TakenOver, TextFileError,
    is_taken_over, read_text, take_over,
};
use relay_disk::write_private;
use relay_model::{Explained as _, full_text};

/// What became of the configuration.
#[derive(Debug, Serialize)]
pub(crate) struct TakenConfiguration {
    pub(super) result: Taking,
    /// MMRelay's file.
    pub(super) from: Option<PathBuf>,
    /// Ours.
    pub(super) file: PathBuf,
    /// What was changed in the text.
    pub(super) changes: Vec<String>,
    /// What is wrong with it and has to be corrected by hand.
    pub(super) problems: Vec<String>,
    /// What the relay reads from it.
    #[serde(skip)]
    pub(super) loaded: Option<Loaded>,
    /// Where MMRelay has its database, as its configuration says.
    #[serde(skip)]
    pub(super) database: Option<PathBuf>,
    #[serde(skip)]
    text: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Taking {
    /// It is written, translated.
    Written,
    /// It stays as it is: both relays use the same file.
    Shared,
    /// Ours is there already.
    OwnIsThere,
    /// Ours is there already: an import has written it.
    TakenBefore,
    /// MMRelay has none.
    NoneFound,
    /// It cannot be read, or ours cannot be written.
    Failed,
}

impl TakenConfiguration {
    /// Reads MMRelay's configuration and ours, and says what is to become of them; writes nothing.
    pub(super) fn plan(from: Option<&Path>, file: &Path, environment: &Environment) -> Self {
        let mut taken = Self {
            result: Taking::NoneFound,
            from: from.map(Path::to_owned),
            file: file.to_owned(),
            changes: Vec::new(),
            problems: Vec::new(),
            loaded: None,
            database: None,
            text: None,
        };
        let translated = from.map(|from| translated(from, environment));
        if let Some(Ok(translated)) = &translated {
            taken.database.clone_from(&translated.database);
        }
        if file.symlink_metadata().is_ok() {
            if let Some(from) = from {
                taken.result = beside(from, file);
            }
            match Config::load(file, environment) {
                Ok(loaded) => taken.loaded = Some(loaded),
                Err(error) => {
                    taken.problems = full_text(&error).lines().map(str::to_owned).collect();
                }
            }
            return taken;
        }
        match translated {
            None => {}
            Some(Err(problems)) => {
                taken.result = Taking::Failed;
                taken.problems = problems;
            }
            Some(Ok(translated)) => {
                taken.result = Taking::Written;
                taken.changes = translated.changes;
                taken.text = Some(translated.text);
                match translated.loaded {
                    Ok(loaded) => taken.loaded = Some(loaded),
                    Err(wrong) => taken.problems = sentences(&wrong),
                }
            }
        }
        taken
    }

    /// Writes what is to be written.
    pub(super) fn write(&mut self) {
        let Some(text) = &self.text else {
            return;
        };
        if let Err(error) = write_private(&self.file, text.as_bytes()) {
            self.result = Taking::Failed;
            let shown = self.file.display();
            self.problems
                .push(format!("cannot write `{shown}`: {error}"));
        }
    }

    /// Returns whether the relay can run with what is there.
    pub(super) fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.result != Taking::Failed
    }
}

/// Returns what becomes of MMRelay's file where ours is there.
fn beside(from: &Path, ours: &Path) -> Taking {
    let text = read_text(ours, LARGEST).unwrap_or_default();
    if from.canonicalize().ok() == ours.canonicalize().ok() {
        Taking::Shared
    } else if is_taken_over(&text) {
        Taking::TakenBefore
    } else {
        Taking::OwnIsThere
    }
}

fn translated(from: &Path, environment: &Environment) -> Result<TakenOver, Vec<String>> {
    let of_file = |error: TextFileError| vec![full_text(&error)];
    let text = read_text(from, LARGEST).map_err(of_file)?;
    take_over(from, &text, environment).map_err(|wrong| sentences(&wrong))
}

fn sentences(wrong: &Problems) -> Vec<String> {
    let sentence = |it: &Finding| match it.hint() {
        Some(hint) => format!("{it}; {hint}"),
        None => it.to_string(),
    };
    wrong.problems.iter().map(sentence).collect()
}
