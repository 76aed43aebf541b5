//! What is wrong with a configuration, or worth saying about it, and where.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

use relay_model::{Explained, full_text, without_tricks};

/// One thing that is wrong, or worth a warning. Prints as
/// `config.yaml:7:25: matrix_rooms[1].meshtastic_channel: 9 is out of range: a radio has channels 0 to 7`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub struct Finding {
    /// The file's name, or the environment variable's.
    pub origin: String,
    /// The line in the file, from 1; `None` for a variable, or if no place fits.
    pub line: Option<usize>,
    /// The column in that line, from 1, in characters.
    pub column: Option<usize>,
    /// The key's path; empty where it concerns the whole file.
    pub key: String,
    /// What is wrong with the key or its value, in words.
    pub message: String,
    /// What a person can do; `None` if nothing is known to help.
    pub hint: Option<String>,
}

impl Finding {
    /// Returns what is wrong with a key, or worth saying about it, in a file of that name.
    pub(super) fn of(file: &str, origin: &ValueSource, key: &str, wrong: Wrong) -> Self {
        let (name, place) = match origin {
            ValueSource::File(place) => (file, Some(wrong.place.unwrap_or(*place))),
            ValueSource::Nowhere => (file, wrong.place),
            ValueSource::Variable(name) => (name.as_str(), None),
        };
        Self {
            origin: name.to_owned(),
            line: place.map(|it| it.line),
            column: place.map(|it| it.column),
            key: format!("{key}{}", wrong.within),
            message: wrong.message,
            hint: wrong.hint,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, ":{line}:{column}")?;
        }
        let key = if self.key.is_empty() { "" } else { ": " };
        write!(f, "{key}{}: {}", self.key, self.message)
    }
}

impl Explained for Finding {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn exit(&self) -> ExitCode {
        ExitCode::from(2)
    }
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.iter().map(|it| full_text(it)).collect::<Vec<_>>().join("\n"))]
pub struct Problems {
    /// What keeps the configuration from being used.
    pub problems: Vec<Finding>,
    /// What is permitted, but probably not meant.
    pub warnings: Vec<Finding>,
}

/// Where something stands in the text, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ValueSource {
    /// In the file, at this place.
    File(Position),
    /// In the file, which lacks the key.
    Nowhere,
    Variable(String),
}

impl ValueSource {
    /// Returns where something within it comes from; what a variable gives has no places.
    pub(super) fn at(&self, place: Position) -> Self {
        match self {
            Self::Variable(name) => Self::Variable(name.clone()),
            Self::File(_) | Self::Nowhere => Self::File(place),
        }
    }
}

/// What is wrong with one value: said by the code that knows what the value should be, placed by its caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Where within the value: `[2]`, `.id`; empty for the value itself.
    pub(super) within: String,
    /// Its own place, if it is within the value.
    pub(super) place: Option<Position>,
    pub(super) message: String,
    /// What a person can do; `None` if nothing is known to help.
    pub(super) hint: Option<String>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    /// Says that a text is not what it should be.
    pub(super) fn not(text: &str, expected: &str) -> Self {
        Self::new(format!("{} is not {expected}", quoted(text)))
    }

    #[must_use]
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self { hint, ..self }
    }

    /// Says where it is, if that is not where the value begins.
    #[must_use]
    pub(super) fn at(self, place: Position) -> Self {
        let place = Some(place);
        Self { place, ..self }
    }

    #[must_use]
    pub(super) fn item(mut self, index: usize, place: Position) -> Self {
        self.within = format!("[{index}]{}", self.within);
        self.place.get_or_insert(place);
        self
    }
}

impl From<Wrong> for Vec<Wrong> {
    fn from(wrong: Wrong) -> Self {
        vec![wrong]
    }
}

/// Returns a question for a word that nobody knows, if a known one is near.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    near(word, known).map(|known| format!("did you mean `{known}`?"))
}

/// Returns the known word that is nearest, if it differs by a slip of the fingers or lacks its beginning.
pub(super) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// More slips make another word.
    const MOST_SLIPS: usize = 2;
    let word = word.to_lowercase();
    let ending = format!("_{word}");
    let slips = |known: &str| match known.to_lowercase() {
        longer if longer.ends_with(&ending) => 0,
        other => strsim::damerau_levenshtein(&word, &other),
    };
    let nearest = known.into_iter().min_by_key(|known| slips(known))?;
    (slips(nearest) <= MOST_SLIPS.min(1 + nearest.len() / 4)).then_some(nearest)
}

/// Returns the beginning of a text that we did not expect, in quotes, fit for a sentence.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text))
}

/// Returns the beginning of a text without what a terminal would act on.
pub(super) fn printable(text: &str) -> String {
    let mut short: String = without_tricks(text).take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_prints_as_place_key_message_and_hint() {
        let place = Position {
            line: 12,
            column: 3,
        };
        let wrong = Wrong::new("unknown key").hint("did you mean `host`?");
        let file = ValueSource::File(place);
        let variable = ValueSource::Variable("RELAY_X".to_owned());
        let problems = Problems {
            problems: vec![
                Finding::of("config.yaml", &file, "meshtastic.hots", wrong),
                Finding::of("config.yaml", &variable, "x", Wrong::new("bad")),
            ],
            warnings: Vec::new(),
        };
        assert_eq!(
            problems.to_string(),
            "config.yaml:12:3: meshtastic.hots: unknown key; did you mean `host`?\nRELAY_X: x: bad"
        );
    }

    #[test]
    fn only_a_near_word_is_suggested() {
        assert_eq!(
            nearest("hots", ["host", "port"]).as_deref(),
            Some("did you mean `host`?")
        );
        assert_eq!(nearest("elephant", ["host", "port"]), None);
        assert_eq!(
            nearest("prt", ["host", "port"]).as_deref(),
            Some("did you mean `port`?")
        );
    }
}
