//! What an import did, and what it could not do, for people and programs.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::configuration::{TakenConfiguration, Taking};
use super::tables::Counted;
use crate::tools::printable;

/// What an import did.
#[derive(Debug, Serialize)]
pub(crate) struct ImportReport {
    /// Nothing was written.
    pub(super) dry_run: bool,
    /// MMRelay's home.
    pub(super) old_home: PathBuf,
    /// Our home.
    pub(super) home: PathBuf,
    pub(super) configuration: TakenConfiguration,
    /// MMRelay's database; `None`: there is none.
    pub(super) old_database: Option<PathBuf>,
    /// Further ones, older, that were not read.
    pub(super) other_databases: Vec<PathBuf>,
    pub(super) names: Counted,
    pub(super) messages: Counted,
    /// How many messages of each room there are.
    pub(super) rooms: BTreeMap<String, u64>,
    /// What is not taken over by design, and why.
    pub(super) not_taken: Vec<String>,
    /// What could not be done.
    pub(super) failures: Vec<String>,
    /// What is to be done next.
    pub(super) next: Vec<Step>,
}

/// Something to do. An object and not a text: the relay's commands in a `hint` name the home.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// What, with the command.
    hint: String,
}

impl Step {
    pub(super) fn new(hint: String) -> Self {
        Self { hint }
    }
}

impl ImportReport {
    /// Returns a report of an import of which only the configuration is planned yet.
    pub(super) fn new(
        dry_run: bool,
        home: &Path,
        old_home: &Path,
        configuration: TakenConfiguration,
    ) -> Self {
        Self {
            dry_run,
            old_home: old_home.to_owned(),
            home: home.to_owned(),
            configuration,
            old_database: None,
            other_databases: Vec::new(),
            names: Counted::default(),
            messages: Counted::default(),
            rooms: BTreeMap::new(),
            not_taken: Vec::new(),
            failures: Vec::new(),
            next: Vec::new(),
        }
    }

    /// Returns whether all that there was could be read and taken over.
    pub(crate) fn is_whole(&self) -> bool {
        let is_read = |it: &Counted| it.damaged.is_empty();
        self.failures.is_empty()
            && self.configuration.is_sound()
            && is_read(&self.names)
            && is_read(&self.messages)
    }
}

/// Returns the report for people.
pub(crate) fn report_lines(report: &ImportReport) -> String {
    let mut page = Page(String::new());
    page.line("old home", report.old_home.display());
    configuration(&mut page, &report.configuration, report.dry_run);
    match &report.old_database {
        Some(path) => page.line("database", format!("read from {}", path.display())),
        None => page.line("database", "MMRelay has none"),
    }
    for path in &report.other_databases {
        let path = path.display();
        page.more(format!(
            "not read: {path}, which is older (`--from` names its directory)"
        ));
    }
    if report.old_database.is_some() {
        let is_dry = report.dry_run;
        counted(&mut page, "names", &report.names, is_dry, "");
        let rooms = match report.rooms.len() {
            0 => String::new(),
            1 => ", of 1 room".to_owned(),
            rooms => format!(", of {rooms} rooms"),
        };
        counted(&mut page, "messages", &report.messages, is_dry, &rooms);
    }
    page.all("not taken", &report.not_taken);
    page.all("FAILED", &report.failures);
    let next: Vec<_> = report.next.iter().map(|it| it.hint.clone()).collect();
    page.all("next", &next);
    if report.dry_run {
        page.line("dry run", "nothing was written");
    }
    page.0
}

fn configuration(page: &mut Page, taken: &TakenConfiguration, is_dry: bool) {
    let (file, from) = (taken.file.display(), taken.from.as_ref());
    let from = from.map_or_else(String::new, |it| it.display().to_string());
    let written = if is_dry {
        "would be written"
    } else {
        "written"
    };
    let sentence = match taken.result {
        Taking::Written => format!("{written} to {file}, from {from}"),
        Taking::Shared => format!("{file} stays as it is: the relay reads MMRelay's own"),
        Taking::OwnIsThere => {
            format!("{file} is there already and stays; {from} is not taken over")
        }
        Taking::TakenBefore => format!("{file} is there already: an import has written it"),
        Taking::NoneFound => "MMRelay has none".to_owned(),
        Taking::Failed => format!("FAILED: {from} is not taken over"),
    };
    page.line("configuration", sentence);
    for sentence in &taken.changes {
        page.more(sentence);
    }
    for problem in &taken.problems {
        page.more(format!("mistake: {problem}"));
    }
}

fn counted(page: &mut Page, heading: &str, counted: &Counted, is_dry: bool, rooms: &str) {
    let Counted {
        found,
        taken,
        unusable,
        damaged,
    } = counted;
    let there = found.saturating_sub(*taken);
    let sentence = match (is_dry, there) {
        (true, _) => format!("{found} found{rooms}"),
        (false, 0) => format!("{taken} taken over{rooms}"),
        (false, _) => format!("{taken} taken over{rooms}; {there} were there already"),
    };
    page.line(heading, sentence);
    if *unusable > 0 {
        page.more(format!(
            "{unusable} rows say nothing usable and are left out"
        ));
    }
    for table in damaged {
        page.more(format!("FAILED: the table `{table}` is damaged: only what lies before and behind the damage was read"));
    }
}

struct Page(String);

impl Page {
    fn line(&mut self, heading: &str, text: impl Display) {
        let text = printable(&text.to_string());
        let _ = writeln!(self.0, "{heading:<13} {text}");
    }

    fn more(&mut self, text: impl Display) {
        self.line("", text);
    }

    fn all(&mut self, heading: &str, texts: &[String]) {
        for (index, text) in texts.iter().enumerate() {
            self.line(if index == 0 { heading } else { "" }, text);
        }
    }
}
