//! Timed input lines. Pure: the time is passed in.

use std::collections::VecDeque;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::input::{self, Command};
use super::report::{Connection, Report};

/// Longest delay of a step.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// The steps of a script. The delay of each counts from the step before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script {
    steps: VecDeque<Step>,
    /// When the previous step ran, or when the awaited report came; `None` while it is awaited.
    since: Option<Instant>,
}

/// A command, and when it is due.
#[derive(Debug, Clone, Default, PartialEq)]
struct Step {
    when: Option<Awaited>,
    after: Duration,
    /// `None` only waits.
    command: Option<Command>,
}

/// The reports that a step can wait for; only those after the previous step count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Awaited {
    Connected,
    Configured,
    Closed,
    /// The client sent a packet, or the fate of one has changed.
    Transmitted,
}

impl Script {
    /// Starts the clock of the first step.
    pub fn start(&mut self, now: Instant) {
        let step = self.steps.front();
        self.since = step.is_none_or(|step| step.when.is_none()).then_some(now);
    }

    /// Takes a report, which may be the awaited one.
    pub fn on_report(&mut self, report: &Report, now: Instant) {
        let happened = match report {
            Report::Client(Connection::Connected) => Awaited::Connected,
            Report::Client(Connection::Configured) => Awaited::Configured,
            Report::Client(Connection::Closed) => Awaited::Closed,
            Report::Transmitted(..) => Awaited::Transmitted,
            _ => return,
        };
        let waited_for = self.steps.front().and_then(|step| step.when);
        if waited_for == Some(happened) {
            self.since.get_or_insert(now);
        }
    }

    /// Returns when the next step is due; `None` while it awaits a report.
    pub fn deadline(&self) -> Option<Instant> {
        self.since?.checked_add(self.steps.front()?.after)
    }

    /// Takes the next step that is due; `Some(None)` for one that only waits.
    pub fn next(&mut self, now: Instant) -> Option<Option<Command>> {
        let due = self.deadline().filter(|due| *due <= now)?;
        let step = self.steps.pop_front()?;
        // Counted from the due time, so that a script always takes equally long.
        self.start(due);
        Some(step.command)
    }

    /// Returns whether all steps have run.
    pub fn is_over(&self) -> bool {
        self.steps.is_empty()
    }
}

impl FromStr for Script {
    /// The error, with its line.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lines = (1_usize..).zip(text.lines().map(str::trim));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let steps = lines.map(|(line, step)| {
            let wrong = |reason| format!("line {line}: {}", input::shortened(reason));
            step.parse::<Step>().map_err(wrong)
        });
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
            ..Self::default()
        })
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        if !line.starts_with('{') {
            let command = Some(line.parse()?);
            return Ok(Self {
                command,
                ..Self::default()
            });
        }
        let mut object = input::object(line)?;
        let when = object.remove("when").map(serde_json::from_value);
        let when = when.transpose().map_err(|error| error.to_string())?;
        let after = match object.remove("after") {
            None => Duration::ZERO,
            Some(Value::String(text)) => span(&text)?,
            Some(other) => return Err(format!("`after` is {other}: write it like \"2s\"")),
        };
        let command = (!object.is_empty()).then(|| Command::from_object(object));
        Ok(Self {
            when,
            after,
            command: command.transpose()?,
        })
    }
}

/// Parses a duration: a number and `ms`, `s`, `m` or `h`; at most a week.
fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no span of time: write it like 500ms, 2s, 10m or 1h");
    let digits = text.find(|it: char| !it.is_ascii_digit());
    let (number, unit) = text.split_at(digits.filter(|digits| *digits > 0).ok_or_else(wrong)?);
    let unit = match unit {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        _ => return Err(wrong()),
    };
    // Only digits are left: an error is an overflow.
    let number: u32 = number.parse().unwrap_or(u32::MAX);
    let span = unit.saturating_mul(number);
    if span > LONGEST {
        return Err(format!(
            "`{text}` is too long: no step waits for more than 168h"
        ));
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::super::fault::Fault;
    use super::*;

    fn text(command: Option<Command>) -> String {
        match command {
            Some(Command::Say(say)) => say.text.unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_step_counts_from_the_one_before_however_late_that_was_noticed() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut script: Script = "# a comment\n\n{\"after\": \"2s\", \"text\": \"one\"}\ntwo\n\
                                  {\"after\": \"500ms\", \"fault\": \"half_open\"}\n"
            .parse()
            .unwrap();
        assert_eq!(script.deadline(), None, "before its start");
        script.start(start);
        assert_eq!(script.next(at(1999)), None);
        assert_eq!(text(script.next(at(2400)).unwrap()), "one");
        assert_eq!(text(script.next(at(2400)).unwrap()), "two");
        assert_eq!(script.deadline(), Some(at(2500)));
        assert_eq!(script.next(at(2400)), None);
        let fault = Some(Command::Fault(Fault::HalfOpen {}));
        assert_eq!(script.next(at(2500)), Some(fault));
        assert!(script.is_over());
        assert_eq!(script.next(at(9000)), None);
    }

    #[test]
    fn a_step_can_wait_for_the_client_and_only_what_comes_then_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let configured = Report::Client(Connection::Configured);
        let mut script: Script =
            "one\n{\"when\": \"configured\", \"after\": \"3s\", \"text\": \"two\"}\n\
                                  {\"when\": \"closed\"}\nthree"
                .parse()
                .unwrap();
        script.start(start);
        script.on_report(&configured, at(0));
        assert_eq!(text(script.next(at(0)).unwrap()), "one");
        assert_eq!(script.deadline(), None);
        script.on_report(&Report::Client(Connection::Connected), at(5));
        assert_eq!(script.deadline(), None);
        script.on_report(&configured, at(6));
        script.on_report(&configured, at(8));
        assert_eq!(script.deadline(), Some(at(9)));
        assert_eq!(text(script.next(at(9)).unwrap()), "two");
        script.on_report(&Report::Client(Connection::Closed), at(20));
        assert_eq!(script.next(at(20)), Some(None));
        assert_eq!(text(script.next(at(20)).unwrap()), "three");
    }

    #[test]
    fn a_line_that_is_wrong_is_named() {
        for (script, line, reason) in [
            ("one\n{\"after\": 2, \"text\": \"x\"}", 2, "`after` is 2"),
            ("{\"after\": \"2\"}", 1, "`2` is no span of time"),
            ("{\"after\": \"2d\"}", 1, "`2d` is no span of time"),
            ("{\"after\": \"s\"}", 1, "`s` is no span of time"),
            (
                "{\"after\": \"169h\"}",
                1,
                "`169h` is too long: no step waits for more than 168h",
            ),
            (
                "{\"after\": \"99999999999999999999ms\"}",
                1,
                "no step waits for more than 168h",
            ),
            ("#\n\n{\"when\": \"noon\"}", 3, "unknown variant `noon`"),
            ("{\"fault\": \"flood\"}", 1, "unknown variant `flood`"),
            ("{\"text\": ", 1, "not JSON"),
        ] {
            let error = script.parse::<Script>().unwrap_err();
            let place = format!("line {line}: ");
            assert!(error.starts_with(&place), "{script}: {error}");
            assert!(error.contains(reason), "{script}: {error}");
        }
    }
}
