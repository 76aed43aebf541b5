//! What `relay doctor` has found: one check after the other, and a summary.

use serde::Serialize;

use crate::daemon::status::{Check, CheckResult};

/// The side of the relay that a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// The relay itself: its configuration, its home, the running daemon.
    Relay,
    /// The homeserver, the account, the rooms.
    Matrix,
    /// The radio, and its channels.
    Radio,
}

/// The object that `relay doctor --json` prints. Its keys are documented in `docs/reference/doctor.md` and stay stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// No check has failed or timed out.
    pub(crate) healthy: bool,
    /// The sentence for people that ends the lines.
    pub(crate) summary: String,
    pub(crate) checks: Vec<Finding>,
}

/// A check, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) side: Side,
    /// The room of a check of a room, as configured; `None` for all others.
    pub(crate) subject: Option<String>,
    #[serde(flatten)]
    pub(crate) check: Check,
    /// The names of nodes, channels and rooms that it may quote, which a support bundle takes out.
    #[serde(skip)]
    pub(crate) names: Vec<String>,
}

impl Side {
    /// Makes a finding of this side; `name` is a key of `docs/reference/doctor.md`.
    pub(super) fn finds(self, name: &str, check: Check) -> Finding {
        Finding {
            side: self,
            subject: None,
            check: Check {
                name: name.to_owned(),
                ..check
            },
            names: Vec::new(),
        }
    }
}

impl Report {
    pub(super) fn of(checks: Vec<Finding>) -> Self {
        let healthy = !checks.iter().any(|it| it.check.result.is_sick());
        let summary = summary(&checks);
        Self {
            healthy,
            summary,
            checks,
        }
    }

    /// Returns the report for people.
    pub(crate) fn lines(&self) -> String {
        let lines = self.checks.iter().map(|it| super::line(&it.check, 13, 9));
        format!("{}\n{}\n", lines.collect::<String>(), self.summary)
    }
}

fn summary(checks: &[Finding]) -> String {
    let named = |result, word: &str| {
        let mut names: Vec<String> = Vec::new();
        for Finding { subject, check, .. } in checks.iter().filter(|it| it.check.result == result) {
            let name = check.name.replace('_', " ");
            let subject = subject.as_ref().map(|it| format!(" {it}"));
            let name = format!("{name}{}", subject.unwrap_or_default());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then(|| format!("{word}: {}", names.join(", ")))
    };
    let sick = [
        named(CheckResult::Failed, "failed"),
        named(CheckResult::TimedOut, "timed out"),
    ];
    let count = |result| checks.iter().filter(|it| it.check.result == result).count();
    let counts = [
        (count(CheckResult::Ok), "ok"),
        (count(CheckResult::Warning), "to be looked at"),
        (count(CheckResult::Skipped), "skipped"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let sick: Vec<String> = sick.into_iter().flatten().collect();
    if sick.is_empty() {
        format!("healthy: {}", counts.join(", "))
    } else {
        let counts = counts.join(", ");
        let rest = if counts.is_empty() {
            String::new()
        } else {
            format!(" ({counts})")
        };
        format!("not healthy: {}{rest}", sick.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::checks::{failed, ok, skipped, warning};

    #[test]
    fn a_report_ends_with_what_is_not_well() {
        let mut room =
            Side::Matrix.finds("room", failed("!a:b: the bot is banned", "ask an admin"));
        room.subject = Some("!a:b".to_owned());
        let late = Check {
            result: CheckResult::TimedOut,
            ..failed("no answer within 10 s", "is it on?")
        };
        let report = Report::of(vec![
            Side::Relay.finds("configuration", ok("no mistakes")),
            Side::Relay.finds("home", warning("others may read it", "start it")),
            Side::Relay.finds("daemon", skipped("no relay is running")),
            room,
            Side::Radio.finds("radio", late),
        ]);
        assert!(!report.healthy);
        insta::assert_snapshot!(report.lines(), @r#"
        configuration ok        no mistakes
        home          warning   others may read it
                                hint: start it
        daemon        skipped   no relay is running
        room          FAILED    !a:b: the bot is banned
                                hint: ask an admin
        radio         TIMED OUT no answer within 10 s
                                hint: is it on?

        not healthy: failed: room !a:b; timed out: radio (1 ok, 1 to be looked at, 1 skipped)
        "#);
    }

    #[test]
    fn warnings_are_no_disease() {
        let report = Report::of(vec![
            Side::Relay.finds("disk", warning("10 MB are free", "make room")),
            Side::Radio.finds("radio", ok("there")),
        ]);
        assert!(report.healthy);
        assert_eq!(report.summary, "healthy: 1 ok, 1 to be looked at");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["checks"][0]["side"], "relay");
        assert_eq!(json["checks"][0]["result"], "warning");
        assert!(json["checks"][0]["subject"].is_null());
    }
}
