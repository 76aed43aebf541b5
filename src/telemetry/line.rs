//! One event as one line, for people or as JSON.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::sanitize::{MORE, fixed, sanitized};
use crate::home::Home;
use relay_model::Chain;

/// Approximate maximum length of a line's content in bytes; the rest is left out.
const LONGEST: usize = 4_000;

/// The recorded fields of an event or a span.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// Records everything. Otherwise of a library: its own words, numbers, and known identifiers; other values may be
    /// texts of messages, or anything from a stranger.
    tells_all: bool,
    message: String,
    fields: Vec<(&'static str, Value)>,
    /// The target, if the event came through the `log` facade.
    pub(super) target: Option<String>,
    pub(super) source_line: Option<u64>,
    size: usize,
}

/// A field's value, sanitised.
#[derive(Debug)]
enum Value {
    /// Written without quotes, in JSON too.
    Number(String),
    Words(String),
    /// A string, written in quotes.
    Quoted(String),
}

impl Recorded {
    pub(super) fn new(tells_all: bool) -> Self {
        Self {
            tells_all,
            ..Self::default()
        }
    }

    pub(super) fn by(event: &Event<'_>, tells_all: bool) -> Self {
        let mut recorded = Self::new(tells_all);
        event.record(&mut recorded);
        recorded
    }

    /// Returns the content of a line that reports, in these words, lost lines.
    pub(super) fn missing(words: &str, lost: u64) -> Self {
        let mut recorded = Self::new(true);
        words.clone_into(&mut recorded.message);
        recorded.add("lost", Value::Number(lost.to_string()));
        recorded
    }

    /// Returns the content of a line that reports that another output of the log cannot be written.
    pub(super) fn unwritten(path: &str, error: &io::Error, hint: Option<String>) -> Self {
        let mut recorded = Self::new(true);
        "the log cannot be written, and goes on here".clone_into(&mut recorded.message);
        recorded.add("path", Value::Quoted(sanitized(path)));
        recorded.add("error", Value::Quoted(sanitized(error)));
        if let Some(hint) = hint {
            recorded.add("hint", Value::Quoted(hint));
        }
        recorded
    }

    fn take(&mut self, field: &Field, value: Value) {
        let name = field.name();
        match (name, self.tells_all) {
            ("log.target", _) => self.target = Some(value.text().to_owned()),
            ("log.module_path" | "log.file" | "log.line", _) => {}
            ("message", true) => {
                value.text().clone_into(&mut self.message);
                self.size += self.message.len();
            }
            ("message", false) => self.message = fixed(value.text()),
            (_, true) => self.add(name, value),
            (_, false) => {
                let known = value.text().trim_matches('"');
                if is_known(name, known) {
                    self.add(name, Value::Words(known.to_owned()));
                }
            }
        }
    }

    /// Names the home in the commands of the hint.
    pub(super) fn name(&mut self, home: &Home) {
        for (name, value) in &mut self.fields {
            if let ("hint", Value::Quoted(hint)) = (*name, value) {
                *hint = sanitized(home.named_in(hint));
            }
        }
    }

    fn number(&mut self, field: &Field, value: impl fmt::Display) {
        self.add(field.name(), Value::Number(value.to_string()));
    }

    fn add(&mut self, name: &'static str, value: Value) {
        let length = name.len() + value.text().len();
        if self.size + length <= LONGEST {
            self.size += length;
            self.fields.push((name, value));
        } else {
            self.size = LONGEST;
        }
    }

    /// Returns the fields in the text format.
    pub(super) fn fields(&self) -> String {
        let field = |(name, value): &(&str, Value)| match value {
            Value::Number(value) | Value::Words(value) => format!("{name}={value}"),
            Value::Quoted(value) => format!("{name}=\"{}\"", value.replace('"', "\\\"")),
        };
        let fields: Vec<_> = self.fields.iter().map(field).collect();
        fields.join(" ")
    }
}

impl Value {
    fn text(&self) -> &str {
        match self {
            Self::Number(text) | Self::Words(text) | Self::Quoted(text) => text,
        }
    }
}

impl Visit for Recorded {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, Value::Words(sanitized(format_args!("{value:?}"))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, Value::Quoted(sanitized(value)));
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        self.take(field, Value::Words(sanitized(Chain(error))));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "log.line" {
            self.source_line = Some(value);
        } else {
            self.number(field, value);
        }
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.number(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.number(field, value);
        } else {
            self.take(field, Value::Words(value.to_string()));
        }
    }
}

/// Returns whether a library's value is an identifier or an address: not secret, and of a known form.
fn is_known(name: &str, value: &str) -> bool {
    let names = ["sender", "user_id", "user", "room_id", "room"];
    let is_plain = |character: char| character.is_ascii_graphic() && !"\"\\`".contains(character);
    names.contains(&name)
        && value.starts_with(['@', '!'])
        && value.len() <= 255
        && value.chars().all(is_plain)
}

/// An event of the log, before it is written in a format.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) at: SystemTime,
    pub(super) level: Level,
    pub(super) target: String,
    /// The enclosing spans, outermost first.
    pub(super) spans: Vec<String>,
    pub(super) recorded: Recorded,
}

impl Line {
    pub(super) fn text(&self, colour: bool, time: &str, left_out: u64) -> String {
        let (dim, hue, plain) = if colour {
            ("\u{1b}[2m", hue(self.level), "\u{1b}[0m")
        } else {
            ("", "", "")
        };
        let mut parts = vec![
            format!("{dim}{}:{plain}", self.target),
            self.recorded.message.clone(),
            self.recorded.fields(),
        ];
        if self.recorded.size >= LONGEST {
            parts.push(MORE.to_string());
        }
        if left_out > 0 {
            parts.push(format!("left_out={left_out}"));
        }
        parts.retain(|part| !part.is_empty());
        let spans = self.spans.iter();
        let spans: String = spans.flat_map(|it| [it.as_str(), ": "]).collect();
        let (level, recorded) = (self.level.as_str(), parts.join(" "));
        format!("{dim}{time}{plain} {hue}{level:>5}{plain} {spans}{recorded}\n")
    }

    pub(super) fn json(&self, time: &str, left_out: u64) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut members = vec![
            ("timestamp", quoted(time)),
            ("level", quoted(self.level.as_str())),
            ("message", quoted(&self.recorded.message)),
        ];
        for (name, value) in &self.recorded.fields {
            // The first field of a name counts.
            let is_free = !["left_out", "target", "spans"].contains(name);
            if is_free && members.iter().all(|(known, _)| known != name) {
                let value = match value {
                    Value::Number(value) => value.clone(),
                    Value::Words(value) | Value::Quoted(value) => quoted(value),
                };
                members.push((name, value));
            }
        }
        if left_out > 0 {
            members.push(("left_out", left_out.to_string()));
        }
        members.push(("target", quoted(&self.target)));
        if !self.spans.is_empty() {
            let spans: Vec<_> = self.spans.iter().map(|span| quoted(span)).collect();
            members.push(("spans", format!("[{}]", spans.join(","))));
        }
        let member = |(name, value): &(&str, String)| format!("{}:{value}", quoted(name));
        let members: Vec<_> = members.iter().map(member).collect();
        format!("{{{}}}\n", members.join(","))
    }
}

fn hue(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}
