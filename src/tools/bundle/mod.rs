//! `relay doctor --bundle FILE`: what a report of a defect needs, in one file that a person can read before sending it.
//!
//! Without the daemon, or with a wrong configuration, it holds what there is. `redact` and `patterns` take out what tells who
//! and where somebody is, `known` knows whom, `words` finds them, `values` and
//! `lines` know where it stands.

mod kind;
mod known;
mod lines;
mod patterns;
mod redact;
mod values;
mod words;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::task::yield_now;

use super::{control, doctor, printable};
use crate::home::{Home, in_container, rename_new, system_name, utc};
use kind::Kind;
use redact::{GONE, Redactor};
use relay_config::{Database, Finding, LoadError, Loaded, Logging};
use relay_disk::{cure, make_private, private_file};
use relay_model::{Chain, Explained, Timestamp};

/// Maximum number of lines of a log.
const MOST_LINES: usize = 500;
/// How much of the end of a log file is read, in bytes.
const LOG_TAIL: u64 = 4 * 1024 * 1024;

const ABOUT: &str = "\
Support bundle of the relay. Read it before you send it.
People, rooms, nodes, hosts, addresses and paths were replaced by placeholders (user-1, room-2 …), the same thing by the
same one throughout; secrets, places and texts of messages by `…`. A name that is not in the relay's configuration or
database, and looks like an ordinary word, cannot be recognised.
";

/// Why no bundle was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    #[error("`{}` is there already", .0.display())]
    Exists(PathBuf),
    #[error("cannot write `{}`", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

impl Explained for BundleError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists(_) => {
                Some("nothing is replaced: name another file, or remove that one".to_owned())
            }
            Self::Write(_, cause) => cure(cause),
        }
    }
}

/// The configuration as it was found.
pub(crate) struct Configuration<'a> {
    pub(crate) path: &'a Path,
    pub(crate) loaded: &'a Result<Loaded, LoadError>,
    /// What is logged where, also if the rest is wrong.
    pub(crate) logging: &'a Logging,
}

/// A bundle that is being written beside its place: what is there under its name is whole. Removed on drop; what a killed run
/// has left is replaced.
pub(crate) struct Bundle {
    file: PathBuf,
    part: PathBuf,
    written: File,
}

impl Bundle {
    /// Begins a new file that only its owner may read. Before anything is asked: who names a file that is there, or one that
    /// cannot be written, shall not wait.
    pub(crate) fn begin(file: &Path) -> Result<Self, BundleError> {
        if file.symlink_metadata().is_ok() {
            return Err(BundleError::Exists(file.to_owned()));
        }
        let mut part = file.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        drop(fs::remove_file(&part));
        let mut options = private_file();
        options.write(true).create_new(true);
        let file = file.to_owned();
        match options.open(&part) {
            Ok(written) => {
                // Some file systems have no modes.
                make_private(&written).ok();
                Ok(Self {
                    file,
                    part,
                    written,
                })
            }
            Err(cause) => Err(BundleError::Write(file, cause)),
        }
    }

    /// Writes the bundle of a home, with the doctor's report, or why there is none, and gives the file its name, unless that
    /// has been taken meanwhile.
    pub(crate) async fn write(
        mut self,
        home: &Home,
        configuration: &Configuration<'_>,
        report: Result<doctor::Report, String>,
    ) -> Result<(), BundleError> {
        let text = compose(home, configuration, report).await;
        let all = self.written.write_all(text.as_bytes());
        let whole = all
            .and_then(|()| self.written.sync_all())
            .and_then(|()| rename_new(&self.part, &self.file));
        whole.map_err(|cause| match cause.kind() {
            io::ErrorKind::AlreadyExists => BundleError::Exists(self.file.clone()),
            _ => BundleError::Write(self.file.clone(), cause),
        })
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // Not there any more if it has its name.
        drop(fs::remove_file(&self.part));
    }
}

/// Leaves out what the doctor says of the configuration, which quotes it: its section stands above.
fn without_mistakes(mut report: Value) -> Value {
    let checks = report["checks"].as_array_mut();
    for check in checks.into_iter().flatten() {
        if check["name"] == "configuration" {
            check["text"] = "see above".into();
        }
    }
    report
}

async fn compose(
    home: &Home,
    configuration: &Configuration<'_>,
    report: Result<doctor::Report, String>,
) -> String {
    let status = control::status(home).await;
    let status = status.map_err(|error| Chain(&error).to_string());
    let status = status.and_then(|it| serde_json::to_value(it).map_err(|it| it.to_string()));
    let met: Vec<String> = report
        .iter()
        .flat_map(|it| &it.checks)
        .flat_map(|it| it.names.clone())
        .collect();
    let report = report.and_then(|it| serde_json::to_value(it).map_err(|it| it.to_string()));
    let report = report.map(without_mistakes);
    let log = control::log(home).await;
    let log = log.map_err(|error| Chain(&error).to_string());

    let mut redactor = Redactor::new();
    let unknown = learn(&mut redactor, home, configuration, status.as_ref().ok());
    let redactor = &mut redactor;
    for name in &met {
        redactor.know(Kind::Name, [name.as_str()]);
    }
    let mut page = Page::default();
    page.section("versions", &versions(status.as_ref().ok()));
    if !unknown.is_empty() {
        let unknown: Vec<_> = unknown.iter().map(|it| redactor.redact(it)).collect();
        let text = format!(
            "Could not be read, so that names from there may not have been recognised:\n{}",
            unknown.join("\n")
        );
        page.section("not known", &text);
    }
    page.section("configuration", &configured(configuration.loaded, redactor));
    // Between the sections there is a moment to show the progress in.
    yield_now().await;
    page.section("status", &answered(status, redactor));
    page.section("examination", &answered(report, redactor));
    yield_now().await;
    let recent = match log {
        Ok(lines) => {
            let lines = lines.iter().map(String::as_str);
            lines::redacted(lines, MOST_LINES, redactor).join("\n")
        }
        Err(error) => redactor.redact(&error),
    };
    page.section("log of the running relay, the last lines", &recent);
    yield_now().await;
    if configuration.logging.log_to_file {
        let path = home.resolve(&configuration.logging.filename);
        let text = match tail(&path) {
            Ok(text) => lines::redacted(text.lines(), MOST_LINES, redactor).join("\n"),
            Err(error) => redactor.redact(&format!("cannot be read: {error}")),
        };
        page.section("log file, the last lines", &text);
    }
    // Also where a secret happens to be a word of ours.
    format!("{ABOUT}{}", redactor.without_secrets(&page.0))
}

/// Learns all that is known to be taken out; returns what could not be read.
fn learn(
    redactor: &mut Redactor,
    home: &Home,
    configuration: &Configuration<'_>,
    status: Option<&Value>,
) -> Vec<String> {
    known::of_host(redactor, home, configuration.path);
    known::of_sources(redactor, configuration.path);
    let mut database = Database::default().path;
    if let Ok(loaded) = configuration.loaded {
        known::of_config(redactor, &loaded.config);
        database.clone_from(&loaded.config.database.path);
    }
    let database = home.database(&database, Database::APPLICATION_ID);
    let login = known::of_login(redactor, home);
    let database = known::of_database(redactor, &database.path);
    if let Some(status) = status {
        known::of_status(redactor, status);
    }
    login.into_iter().chain(database).collect()
}

fn versions(status: Option<&Value>) -> String {
    let distribution = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let distribution = distribution
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("not known")
        .trim_matches('"');
    let of_radio = |key: &str| status.and_then(|it| it["radio"][key].as_str());
    let running = status.and_then(|it| it["version"].as_str());
    let bluetooth = if cfg!(feature = "ble") {
        "built in"
    } else {
        "not built in"
    };
    let lines = [
        ("relay", env!("CARGO_PKG_VERSION").to_owned()),
        ("running", running.unwrap_or("none").to_owned()),
        (
            "firmware",
            of_radio("firmware").unwrap_or("not known").to_owned(),
        ),
        ("system", system_name()),
        ("distribution", distribution.to_owned()),
        (
            "container",
            if in_container() { "yes" } else { "not seen" }.to_owned(),
        ),
        ("SQLite", relay_store::sqlite_version().to_owned()),
        ("Bluetooth", bluetooth.to_owned()),
        ("made at", utc(Timestamp::now().into())),
    ];
    let lines = lines.map(|(what, text)| format!("{what:<13} {}", printable(&text)));
    lines.join("\n")
}

/// The checked values, without comments and unknown keys; or what is wrong, without the file.
fn configured(loaded: &Result<Loaded, LoadError>, redactor: &mut Redactor) -> String {
    let (settings, findings) = match loaded {
        Ok(loaded) => (&*loaded.settings, loaded.warnings.iter().collect()),
        Err(LoadError::Wrong(wrong)) => {
            let findings = wrong.problems.iter().chain(&wrong.warnings);
            (&[][..], findings.collect::<Vec<_>>())
        }
        Err(error) => return redactor.redact(&Chain(error).to_string()),
    };
    let settings = settings.iter().map(|it| values::setting(it, redactor));
    let mut lines: Vec<_> = settings.collect();
    lines.extend(findings.iter().map(|it| finding(it, redactor)));
    lines.join("\n")
}

/// What is wrong with a configuration, without the words that stand there.
fn finding(finding: &Finding, redactor: &mut Redactor) -> String {
    let place = match finding.line {
        Some(line) => format!("line {line}"),
        None => "the environment, or the whole file".to_owned(),
    };
    let key = if relay_config::is_key(&finding.key) {
        finding.key.clone()
    } else {
        GONE.to_owned()
    };
    let message = without_quoted(&finding.message);
    format!("{place}: {key}: {}", redactor.redact(&message))
}

/// Takes out what is quoted: somebody wrote it, perhaps in the wrong place.
fn without_quoted(text: &str) -> String {
    let (mut told, mut quote) = (String::new(), None);
    for character in text.chars() {
        match quote {
            Some(open) if character == open => {
                quote = None;
                told.push_str(GONE);
            }
            Some(_) => continue,
            None if ['`', '"'].contains(&character) => {
                quote = Some(character);
            }
            None => {
                told.push(character);
                continue;
            }
        }
        told.push(character);
    }
    told
}

fn answered(answer: Result<Value, String>, redactor: &mut Redactor) -> String {
    match answer {
        Ok(answer) => format!("{:#}", values::answer(&answer, redactor)),
        Err(error) => redactor.redact(&error),
    }
}

/// Returns the end of a file, from a line's beginning.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if length <= LOG_TAIL {
        return Ok(text);
    }
    Ok(text
        .split_once('\n')
        .map_or(String::new(), |(_, rest)| rest.to_owned()))
}

/// A text with headings.
#[derive(Default)]
struct Page(String);

impl Page {
    fn section(&mut self, heading: &str, text: &str) {
        // Newlines between lines are ours; all else that a terminal would act on is somebody's.
        let lines = text.lines().map(printable).collect::<Vec<_>>().join("\n");
        // Writing to a string cannot fail.
        let _ = write!(self.0, "\n== {heading}\n\n{lines}\n");
    }
}

#[cfg(test)]
mod tests;
