//! Whether the daemon does its work: what `relay doctor --quick`, and so the health check of a container, goes by.
//!
//! Unhealthy is what a person, or a restart, has to cure. A homeserver that is away is a warning: nothing is lost, and
//! the relay can do no more than try again.

use std::time::Duration;

use super::status::{
    Check, CheckResult, DatabaseStatus, Health, MatrixState, RadioState, RoomStatus, Status,
};

/// The event loop looks at its chores every 20 s: without a sign for longer than this it hangs.
const LOOP_HANGS_AFTER: Duration = Duration::from_secs(90);

/// Rows towards Matrix from which on they are worth a word.
pub(super) const MANY_ROWS: u64 = 100_000;

/// What was looked at for it.
pub(super) struct Examined<'a> {
    /// The status.
    pub(super) status: &'a Status,
    /// When the event loop was last seen at work.
    pub(super) beat: Duration,
    /// What came of writing to the database.
    pub(super) written: Result<(), DatabaseStatus>,
    /// After so long without the radio we are unhealthy.
    pub(super) radio_away: Duration,
}

impl Examined<'_> {
    /// Returns what the checks found.
    pub(super) fn health(&self) -> Health {
        let checks = vec![
            self.daemon(),
            self.event_loop(),
            self.database(),
            self.radio(),
            self.matrix(),
            self.rooms(),
            self.outbox(),
        ];
        Health {
            healthy: checks.iter().all(|it| it.result != CheckResult::Failed),
            checks,
        }
    }

    fn daemon(&self) -> Check {
        let Status {
            version,
            pid,
            uptime_seconds,
            ..
        } = self.status;
        let up = words(*uptime_seconds);
        ok(
            "daemon",
            format!("relay {version}, process {pid}, up for {up}"),
        )
    }

    fn event_loop(&self) -> Check {
        let name = "event_loop";
        if self.beat > LOOP_HANGS_AFTER && self.status.database.ok {
            let text = format!("no sign of life for {}", words(self.beat.as_secs()));
            return failed(name, text, "restart the relay, and please report this");
        }
        ok(name, "at work".to_owned())
    }

    fn database(&self) -> Check {
        let trouble = if self.status.database.ok {
            self.written.as_ref().err()
        } else {
            Some(&self.status.database)
        };
        let Some(trouble) = trouble else {
            return ok("database", "can be written".to_owned());
        };
        let error = trouble.error.as_deref().unwrap_or("it does not work");
        let since = trouble
            .for_seconds
            .map(|seconds| format!(", for {}", words(seconds)));
        Check {
            name: "database".to_owned(),
            result: CheckResult::Failed,
            text: format!("{error}{}", since.unwrap_or_default()),
            hint: trouble.hint.clone(),
        }
    }

    fn radio(&self) -> Check {
        let radio = &self.status.radio;
        let name = "radio";
        let time = words(radio.for_seconds);
        if radio.state == RadioState::Ready {
            return match &radio.silence {
                Some(silence) => Check {
                    name: name.to_owned(),
                    result: CheckResult::Warning,
                    text: format!("nothing is transmitted: {silence}"),
                    hint: None,
                },
                None => ok(name, format!("ready for {time}")),
            };
        }
        let cause = radio.cause.as_ref();
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        let text = format!("away for {time}{cause}");
        let hint = "check its power, its network, and `meshtastic.host`; a phone app may hold it";
        if Duration::from_secs(radio.for_seconds) >= self.radio_away {
            failed(name, text, hint)
        } else {
            warning(name, text, hint)
        }
    }

    fn matrix(&self) -> Check {
        let matrix = &self.status.matrix;
        let name = "matrix";
        let cause = matrix.cause.as_deref().unwrap_or("no reason is known");
        if let Some(parked) = &matrix.parked {
            let text = format!(
                "the homeserver lets the account send nothing, for {}: {}",
                words(parked.for_seconds),
                parked.reason
            );
            return failed(name, text, "look at `relay auth status`");
        }
        match matrix.state {
            MatrixState::NoSession => failed(name, cause.to_owned(), "look at `relay auth status`"),
            MatrixState::Away => {
                let away = words(matrix.away_seconds.unwrap_or_default());
                let text = format!("the homeserver cannot be read for {away}: {cause}");
                let hint = "nothing is lost: the relay goes on when the homeserver is back";
                warning(name, text, hint)
            }
            MatrixState::Connecting => ok(name, "waiting for the first answer".to_owned()),
            MatrixState::Connected => {
                let age = words(matrix.sync_age_seconds.unwrap_or_default());
                ok(name, format!("last answer {age} ago"))
            }
        }
    }

    fn rooms(&self) -> Check {
        let name = "rooms";
        let rooms = || self.status.rooms.iter().filter(|room| room.mapped);
        if let Some((room, parked)) = rooms().find_map(|it| Some((it, it.parked.as_ref()?))) {
            let text = format!(
                "the bot may not write in {}, for {}: {}",
                room.room,
                words(parked.for_seconds),
                parked.reason
            );
            return failed(name, text, "let the bot write there; the relay notices");
        }
        let answers = self.status.matrix.state == MatrixState::Connected;
        let missing: Vec<&str> = rooms()
            .filter(|room| !room.joined)
            .map(|room: &RoomStatus| room.room.as_str())
            .collect();
        if answers && !missing.is_empty() {
            let text = format!("the bot is not in {}", missing.join(", "));
            return failed(name, text, "invite the bot there; the log says more");
        }
        ok(name, format!("{} mapped", rooms().count()))
    }

    fn outbox(&self) -> Check {
        let name = "outbox";
        let Some(outbox) = &self.status.outbox else {
            return warning(
                name,
                "not known".to_owned(),
                "see the check of the database",
            );
        };
        let (rooms, mesh) = (outbox.to_matrix.waiting, outbox.to_mesh.waiting);
        let text = format!("{rooms} for Matrix, {mesh} for the mesh");
        if rooms > MANY_ROWS {
            let hint =
                "the disk fills up: bring the homeserver back, or free the rooms that are parked";
            return warning(name, text, hint);
        }
        ok(name, text)
    }
}

/// Returns a span for people: `12 s`, `3 min`, `5 h`, `9 days`.
pub fn words(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn ok(name: &str, text: String) -> Check {
    Check {
        name: name.to_owned(),
        result: CheckResult::Ok,
        text,
        hint: None,
    }
}

fn warning(name: &str, text: String, hint: &str) -> Check {
    Check {
        name: name.to_owned(),
        result: CheckResult::Warning,
        text,
        hint: Some(hint.to_owned()),
    }
}

fn failed(name: &str, text: String, hint: &str) -> Check {
    Check {
        result: CheckResult::Failed,
        ..warning(name, text, hint)
    }
}
