//! What is wrong with a configuration, or worth saying about it, and where.

use std::fmt;

use super::yaml::{Place, YamlError};

/// One thing that is wrong, or worth a warning. Prints as
/// `config.yaml:7:25: matrix_rooms[1].meshtastic_channel: 9 is out of range: a radio has channels 0 to 7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file's name, or the environment variable's.
    pub origin: String,
    /// Line and column in the file, both from 1.
    pub position: Option<(usize, usize)>,
    /// The key's path; empty where it concerns the whole file.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do, where we know it.
    pub hint: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a configuration, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// What is wrong.
    pub problems: Vec<Finding>,
    /// What else is worth saying.
    pub warnings: Vec<Finding>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let break_before = if index == 0 { "" } else { "\n" };
            write!(f, "{break_before}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The file, there.
    File(Place),
    /// The file, but nowhere in it.
    Nowhere,
    /// An environment variable.
    Variable(String),
}

/// What is wrong with one value: said by the code that knows what the value should be, placed by its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Where within the value: `[2]`, `.id`; empty for the value itself.
    pub(super) within: String,
    /// Its own place, if it is within the value.
    pub(super) place: Option<Place>,
    /// What is wrong.
    pub(super) message: String,
    /// What to do, where we know it.
    pub(super) hint: Option<String>,
}

impl Wrong {
    /// Says what is wrong with the value itself.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            within: String::new(),
            place: None,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that it is an item of a list.
    #[must_use]
    pub(super) fn item(mut self, index: usize, place: Place) -> Self {
        self.within = format!("[{index}]{}", self.within);
        self.place.get_or_insert(place);
        self
    }
}

impl From<YamlError> for Wrong {
    fn from(error: YamlError) -> Self {
        Self {
            within: String::new(),
            place: Some(error.place),
            message: error.message,
            hint: error.hint,
        }
    }
}

/// Collects what is found while a configuration is read.
#[derive(Debug)]
pub(super) struct Report {
    file: String,
    problems: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Report {
    /// Begins a report on a file of that name.
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Adds something wrong.
    pub(super) fn problem(&mut self, origin: &Origin, key: &str, wrong: Wrong) {
        let finding = self.finding(origin, key, wrong);
        self.problems.push(finding);
    }

    /// Adds a warning.
    pub(super) fn warning(&mut self, origin: &Origin, key: &str, wrong: Wrong) {
        let finding = self.finding(origin, key, wrong);
        self.warnings.push(finding);
    }

    fn finding(&self, origin: &Origin, key: &str, wrong: Wrong) -> Finding {
        let (name, position) = match origin {
            Origin::File(place) => (self.file.clone(), Some(wrong.place.unwrap_or(*place))),
            Origin::Nowhere => (self.file.clone(), wrong.place),
            Origin::Variable(name) => (name.clone(), None),
        };
        Finding {
            origin: name,
            position: position.map(|place| (place.line, place.column)),
            key: format!("{key}{}", wrong.within),
            message: wrong.message,
            hint: wrong.hint,
        }
    }

    /// Ends the report with the one thing that stands in the way of all others.
    pub(super) fn fatal(mut self, error: YamlError) -> Problems {
        self.problem(&Origin::Nowhere, "", Wrong::from(error));
        Problems {
            problems: self.problems,
            warnings: self.warnings,
        }
    }

    /// Ends the report: the warnings if nothing is wrong, in the order of the file.
    pub(super) fn finish(mut self) -> Result<Vec<Finding>, Problems> {
        let position = |finding: &Finding| finding.position.unwrap_or((usize::MAX, 0));
        self.problems.sort_by_key(position);
        self.warnings.sort_by_key(position);
        if self.problems.is_empty() {
            return Ok(self.warnings);
        }
        Err(Problems {
            problems: self.problems,
            warnings: self.warnings,
        })
    }
}

/// Returns `; did you mean …?`'s sentence for a word that nobody knows, if a known one is near.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    near(word, known).map(|known| format!("did you mean `{known}`?"))
}

/// Returns the known word that is nearest, if it differs by a slip of the fingers or lacks its beginning.
pub(super) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// More slips make another word.
    const MOST_SLIPS: usize = 2;
    let word = word.to_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    let ending = format!("_{word}");
    if let Some(longer) = known
        .iter()
        .find(|known| known.to_lowercase().ends_with(&ending))
    {
        return Some(longer);
    }
    known
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
            (distance, candidate)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= MOST_SLIPS.min(1 + candidate.len() / 4))
        .map(|(_, candidate)| candidate)
}

/// Returns the beginning of a text that we did not expect, in quotes, fit for a sentence.
pub(super) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text))
}

/// Returns the beginning of a text without what a terminal would act on.
pub(super) fn printable(text: &str) -> String {
    let mut short: String = text
        .chars()
        .filter(|character| !character.is_control() && !is_direction_mark(*character))
        .take(60)
        .collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Returns whether a character turns the direction of what follows it.
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_prints_as_place_key_message_and_hint() {
        let mut report = Report::new("config.yaml");
        let place = Place {
            line: 12,
            column: 3,
        };
        let wrong = Wrong::new("unknown key").hint("did you mean `host`?");
        report.problem(&Origin::File(place), "meshtastic.hots", wrong);
        report.problem(
            &Origin::Variable("RELAY_X".to_owned()),
            "x",
            Wrong::new("bad"),
        );
        assert_eq!(
            report.finish().unwrap_err().to_string(),
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
