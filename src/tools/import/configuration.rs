//! The configuration: MMRelay's becomes ours, unless ours is there.

use std::path::{Path, PathBuf};

use serde::Serialize;

use relay_config::{Config, Environment, Loaded, Problems, TextFileError, read_text, take_over};
use relay_disk::write_private;
use relay_model::{Explained as _, full_text};

/// Maximum size of a configuration, in bytes.
const LARGEST: u64 = 1024 * 1024;

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
    /// MMRelay has none.
    NoneFound,
    /// It cannot be read, or ours cannot be written.
    Failed,
}

impl TakenConfiguration {
    /// Reads MMRelay's configuration, and says what is to become of it; writes nothing.
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
        let is_there = file.symlink_metadata().is_ok();
        if is_there {
            let loaded = Config::load(file, environment);
            match loaded {
                Ok(loaded) => taken.loaded = Some(loaded),
                Err(error) => {
                    taken.problems = full_text(&error).lines().map(str::to_owned).collect();
                }
            }
        }
        let Some(from) = from else {
            return taken;
        };
        match translated(from, environment) {
            Ok(translated) => {
                taken.database = translated.database;
                if !is_there {
                    taken.result = Taking::Written;
                    taken.changes = translated.changes;
                    taken.text = Some(translated.text);
                    match translated.loaded {
                        Ok(loaded) => taken.loaded = Some(loaded),
                        Err(wrong) => taken.problems = sentences(&wrong),
                    }
                }
            }
            Err(problems) if !is_there => {
                taken.result = Taking::Failed;
                taken.problems = problems;
            }
            Err(_its_place_is_taken) => {}
        }
        if is_there {
            let same = from.canonicalize().ok() == file.canonicalize().ok();
            taken.result = if same {
                Taking::Shared
            } else {
                Taking::OwnIsThere
            };
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
        let is_known = matches!(
            self.result,
            Taking::Written | Taking::Shared | Taking::OwnIsThere
        );
        self.problems.is_empty() && (is_known || self.result == Taking::NoneFound)
    }
}

fn translated(
    from: &Path,
    environment: &Environment,
) -> Result<relay_config::TakenOver, Vec<String>> {
    let of_file = |error: TextFileError| vec![full_text(&error)];
    let text = read_text(from, LARGEST).map_err(of_file)?;
    take_over(from, &text, environment).map_err(|wrong| sentences(&wrong))
}

fn sentences(wrong: &Problems) -> Vec<String> {
    let sentence = |it: &relay_config::Finding| match it.hint() {
        Some(hint) => format!("{it}; {hint}"),
        None => it.to_string(),
    };
    wrong.problems.iter().map(sentence).collect()
}
