//! What the running daemon says of itself: it holds the radio and the SDK's store, so what it knows of them comes from it.

use std::time::Duration;

use super::limit::{failed_by, within};
use super::report::{Finding, Side};
use crate::daemon::checks::{check, ok, skipped, warning};
use crate::daemon::status::{Check, CheckResult, Health, Status};
use crate::home::Home;
use crate::tools::control::{self, ControlError};

/// Maximum time for the daemon's answers; its own limit for a slow database is shorter.
const LIMIT: Duration = Duration::from_secs(8);

/// The daemon's checks that are told, with their names here; the examination has finer ones for the others.
const TOLD: [(&str, &str); 7] = [
    ("daemon", "daemon"),
    ("event_loop", "event_loop"),
    ("database", "storing"),
    ("outbox", "outbox"),
    ("matrix", "sync"),
    ("rate_limit", "rate_limit"),
    ("other_relays", "other_relays"),
];

/// The daemon of a home.
#[derive(Debug)]
pub(super) enum Daemon {
    /// None runs; the sentence says so.
    Absent(String),
    Answers(Box<Status>, Health),
    /// One runs, and does not answer as it should.
    Mute(Check),
}

impl Daemon {
    pub(super) async fn ask(home: &Home) -> Self {
        let asked = async {
            let status = control::status(home).await?;
            Ok((status, control::health(home).await?))
        };
        let cure = "look into its log, and start it again";
        match within(LIMIT, "the running relay", cure, asked).await {
            Ok(Ok((status, health))) => Self::Answers(Box::new(status), health),
            Ok(Err(error @ ControlError::NotRunning { .. })) => Self::Absent(error.to_string()),
            Ok(Err(error)) => Self::Mute(failed_by(&error)),
            Err(late) => Self::Mute(late),
        }
    }

    pub(super) fn status(&self) -> Option<&Status> {
        match self {
            Self::Answers(status, _) => Some(status),
            Self::Absent(_) | Self::Mute(_) => None,
        }
    }

    /// Returns a check of the daemon by its own name.
    pub(super) fn check(&self, name: &str) -> Option<Check> {
        let Self::Answers(_, health) = self else {
            return None;
        };
        health.checks.iter().find(|it| it.name == name).cloned()
    }

    /// Returns whether the daemon follows another configuration than the file that was changed at `changed_at` (UTC).
    pub(super) fn is_behind(&self, changed_at: Option<&str>) -> bool {
        let read_at = self.status().map(|it| it.configuration.read_at.as_str());
        read_at.is_some_and(|read_at| changed_at.is_some_and(|changed_at| changed_at > read_at))
    }

    /// Returns whether the daemon follows the configuration's file.
    pub(super) fn followed(&self, changed_at: Option<&str>) -> Option<Finding> {
        let followed = &self.status()?.configuration;
        let read_at = &followed.read_at;
        let check = if let Some(failed) = &followed.failed {
            let (at, cause) = (&failed.at, &failed.cause);
            let text = format!(
                "what was read at {at} could not be taken over ({cause}): the relay follows what it read before"
            );
            check(CheckResult::Warning, text, failed.hint.clone())
        } else if self.is_behind(changed_at) {
            let text = format!(
                "the file was changed after the relay had read it at {read_at}: what is said of rooms and radio is of what it follows"
            );
            warning(
                text,
                "have it read again: `systemctl reload relay`, or send the relay SIGHUP",
            )
        } else if followed.need_restart.is_empty() {
            ok(format!("read at {read_at}"))
        } else {
            let keys = followed.need_restart.join(", ");
            warning(
                format!("changed, and not followed before a restart: {keys}"),
                "start the relay again",
            )
        };
        Some(Side::Relay.finds("followed", check))
    }

    /// Returns the daemon's checks that are about this side.
    pub(super) fn findings(&self, side: Side) -> Vec<Finding> {
        let is_of = |told: &&(&str, &str)| {
            let is_matrix = matches!(told.0, "matrix" | "rate_limit" | "other_relays");
            (side == Side::Matrix) == is_matrix && side != Side::Radio
        };
        let told = TOLD.iter().filter(is_of);
        match self {
            Self::Answers(..) => {
                let told = told.filter_map(|(theirs, ours)| Some((ours, self.check(theirs)?)));
                told.map(|(ours, check)| side.finds(ours, check)).collect()
            }
            Self::Absent(_) | Self::Mute(_) if side != Side::Relay => Vec::new(),
            Self::Absent(why) => {
                let text = format!("{why}: the radio and the homeserver are asked without it");
                vec![side.finds("daemon", skipped(text))]
            }
            Self::Mute(check) => vec![side.finds("daemon", check.clone())],
        }
    }
}
