//! `relay doctor`: whether the relay, its homeserver and its radio work. This file: `--quick`, which asks the running daemon
//! only, for health checks, and the lines of a check for people.
//!
//! - `report`: what the examination has found. `examination`: makes it, both sides at the same time.
//! - `local`: the home, the disk, the database. `daemon`: what the running relay says. `homeserver`, `account`, `rooms`: the
//!   Matrix side. `radio`: the other; `handed_over`: what it hands over.
//! - Deciding (from facts to a check) stands apart from doing in each of them.

mod account;
mod daemon;
mod examination;
mod handed_over;
mod homeserver;
mod limit;
mod local;
mod radio;
mod report;
mod rooms;

use std::fmt::Write as _;

use crate::daemon::status::{Check, CheckResult, Health};
use crate::home::Home;
use relay_model::{Chain, Explained as _};

use super::{control, hint, printable};

pub(crate) use examination::{Extent, Patient};
pub(crate) use report::{Report, Side};

/// Requests the daemon's health; without an answer it is unhealthy.
pub(crate) async fn examine(home: &Home) -> Health {
    control::health(home).await.unwrap_or_else(|error| Health {
        healthy: false,
        checks: vec![Check {
            name: "daemon".to_owned(),
            result: CheckResult::Failed,
            text: Chain(&error).to_string(),
            hint: error.hint(),
        }],
    })
}

/// Returns the checks for people: a line each, with the hints below.
pub(crate) fn lines(health: &Health) -> String {
    health.checks.iter().map(|it| line(it, 12, 8)).collect()
}

/// Returns a check as a line, with its name and its result in columns of these widths, and its hint below.
fn line(check: &Check, names: usize, results: usize) -> String {
    let result = match check.result {
        CheckResult::Ok => "ok",
        CheckResult::Warning => "warning",
        CheckResult::Failed => "FAILED",
        CheckResult::TimedOut => "TIMED OUT",
        CheckResult::Skipped => "skipped",
    };
    let name = check.name.replace('_', " ");
    let found = printable(&check.text);
    let mut text = format!("{name:<names$} {result:<results$} {found}\n");
    if check.result != CheckResult::Ok
        && let Some(cure) = &check.hint
    {
        let (indent, cure) = (names + results + 1, hint(cure));
        let _ = writeln!(text, "{:<indent$} {cure}", "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_a_line_and_what_is_not_well_has_its_cure() {
        let check = |name: &str, result, text: &str, hint: Option<&str>| Check {
            name: name.to_owned(),
            result,
            text: text.to_owned(),
            hint: hint.map(str::to_owned),
        };
        let health = Health {
            healthy: false,
            checks: vec![
                check(
                    "event_loop",
                    CheckResult::Ok,
                    "at work",
                    Some("never shown"),
                ),
                check(
                    "matrix",
                    CheckResult::Warning,
                    "away\u{1b}[2J",
                    Some("it comes back"),
                ),
                check(
                    "radio",
                    CheckResult::Failed,
                    "away for 12 min",
                    Some("check its power"),
                ),
            ],
        };
        insta::assert_snapshot!(lines(&health), @r#"
        event loop   ok       at work
        matrix       warning  away[2J
                              hint: it comes back
        radio        FAILED   away for 12 min
                              hint: check its power
        "#);
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_unhealthy_and_the_cure_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(directory.path()), |_| None).unwrap();
        let health = examine(&home).await;
        assert!(!health.healthy);
        let text = lines(&health);
        assert!(text.contains("no relay is running"), "{text}");
        assert!(text.contains("hint: start it with `relay run`"), "{text}");
    }
}
