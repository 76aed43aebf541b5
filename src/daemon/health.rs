//! The health checks of `relay doctor --quick`, which a container's health check runs.
//!
//! A check fails if a person or a restart must cure the fault. A homeserver that is away is a warning: nothing is lost, and
//! the relay retries.

pub(crate) mod checks;
mod rooms;

use std::time::Duration;

use super::status::{Check, CheckResult, DatabaseStatus, Health, MatrixState, RadioStatus, Status};
use relay_bridge::MANY_ROWS;
use relay_config::Connection;
use relay_model::span;
use relay_radio::LinkState;

use checks::{check, clock_apart, failed, ok, silent, warning};

pub(crate) use checks::{another_relay, clock_off, limit_met, put_back, times};
pub(crate) use rooms::{merged, room_check, trouble_check};

/// Time without an iteration after which the event loop counts as hung; it does chores every 20 s.
const LOOP_HANGS_AFTER: Duration = Duration::from_secs(90);

/// How long a 429 answer is reported.
const LIMIT_CONCERNS: Duration = Duration::from_hours(1);

/// What `relay doctor` judges a running daemon by.
pub(super) struct Examined<'a> {
    pub(super) status: &'a Status,
    /// Time since the event loop's last iteration.
    pub(super) beat: Duration,
    /// The result of a test write to the database.
    pub(super) written: Result<(), DatabaseStatus>,
    /// Time without the radio after which its check fails.
    pub(super) radio_away: Duration,
}

impl Examined<'_> {
    pub(super) fn health(&self) -> Health {
        let checks = [
            ("daemon", self.daemon()),
            ("event_loop", self.event_loop()),
            ("database", self.database()),
            ("radio", self.radio()),
            ("matrix", self.matrix()),
            ("clock", self.clock()),
            ("rate_limit", self.rate_limit()),
            ("other_relays", self.other_relays()),
            ("rooms", self.rooms()),
            ("outbox", self.outbox()),
        ];
        let checks = checks.map(|(name, check)| Check {
            name: name.to_owned(),
            ..check
        });
        Health {
            healthy: !checks.iter().any(|it| it.result.is_sick()),
            checks: checks.into(),
        }
    }

    fn daemon(&self) -> Check {
        let Status { version, pid, .. } = self.status;
        let up = span::of_seconds(self.status.uptime_seconds);
        ok(format!("relay {version}, process {pid}, up for {up}"))
    }

    fn event_loop(&self) -> Check {
        if self.beat > LOOP_HANGS_AFTER && self.status.database.ok {
            let text = format!("no sign of life for {}", span::short(self.beat));
            return failed(text, "restart the relay, and please report this");
        }
        ok("at work")
    }

    fn database(&self) -> Check {
        let trouble = match (&self.status.database, &self.written) {
            (DatabaseStatus { ok: true, .. }, Ok(())) => return ok("can be written"),
            (DatabaseStatus { ok: true, .. }, Err(trouble)) | (trouble, _) => trouble,
        };
        let error = trouble.error.as_deref().unwrap_or("it does not work");
        let since = trouble.for_seconds.map(span::of_seconds);
        let since = since.map(|since| format!(", for {since}"));
        let text = format!("{error}{}", since.unwrap_or_default());
        check(CheckResult::Failed, text, trouble.hint.clone())
    }

    fn radio(&self) -> Check {
        let radio = &self.status.radio;
        match &radio.silence {
            _ if radio.state != LinkState::Ready => radio_away(radio, self.radio_away),
            Some(silence) => {
                let hint = radio.silence_hint.as_ref();
                silent(CheckResult::Warning, silence, hint)
            }
            None => ok(format!("ready for {}", span::of_seconds(radio.for_seconds))),
        }
    }

    fn matrix(&self) -> Check {
        let matrix = &self.status.matrix;
        let cause = matrix.cause.as_deref().unwrap_or("no reason is known");
        let away = span::of_seconds(matrix.away_seconds.unwrap_or_default());
        match (matrix.state, &matrix.parked, &matrix.hint) {
            (MatrixState::NoSession, _, hint) => failed(
                cause,
                hint.as_deref().unwrap_or("look at `relay auth status`"),
            ),
            (_, Some(parked), _) => {
                let since = span::of_seconds(parked.for_seconds);
                let why = &parked.reason;
                let text =
                    format!("the homeserver lets the account send nothing, for {since}: {why}");
                check(CheckResult::Failed, text, parked.hint.clone())
            }
            (MatrixState::Away, None, Some(hint)) => {
                let text =
                    format!("what the homeserver says cannot be stored, for {away}: {cause}");
                failed(text, hint)
            }
            (MatrixState::Away, None, None) => warning(
                format!("the homeserver cannot be read for {away}: {cause}"),
                "nothing is lost: the relay goes on when the homeserver is back",
            ),
            (MatrixState::Connecting, None, _) => ok("waiting for the first answer"),
            (MatrixState::Connected, None, _) => {
                if let Some(it) = &matrix.not_shown {
                    return check(CheckResult::Warning, &it.cause, it.hint.clone());
                }
                if let Some(it) = &matrix.put_back {
                    return put_back(it);
                }
                let age = span::of_seconds(matrix.sync_age_seconds.unwrap_or_default());
                ok(format!("last answer {age} ago"))
            }
        }
    }

    fn clock(&self) -> Check {
        let matrix = &self.status.matrix;
        match (matrix.clock_ahead_seconds, matrix.dates_ahead_seconds) {
            (None, _) => ok("not compared with the homeserver's yet"),
            (Some(0), 0) => ok("agrees with the homeserver's"),
            (Some(0), ahead) => {
                let clock = "the clock of the proxy that dates the homeserver's answers";
                let hint = "set the clock of that proxy; nothing is dated by it, but by what the homeserver says of the bot's own messages";
                warning(clock_apart(clock, ahead), hint)
            }
            (Some(ahead), _) => clock_off(ahead),
        }
    }

    fn rate_limit(&self) -> Check {
        match &self.status.matrix.limited {
            Some(limited) if limited.last_seconds < LIMIT_CONCERNS.as_secs() => limit_met(limited),
            Some(_) | None => ok("the homeserver takes what the bot sends"),
        }
    }

    fn other_relays(&self) -> Check {
        let others = self.status.matrix.other_relays.iter().map(another_relay);
        merged(others.collect())
            .unwrap_or_else(|| ok("no other relay is seen to post with the account"))
    }

    fn outbox(&self) -> Check {
        let Some(outbox) = &self.status.outbox else {
            return warning("not known", "see the check of the database");
        };
        let (rooms, mesh) = (outbox.to_matrix.waiting, outbox.to_mesh.waiting);
        let text = format!("{rooms} for Matrix, {mesh} for the mesh");
        if rooms > MANY_ROWS {
            let hint =
                "the disk fills up: bring the homeserver back, or free the rooms that are parked";
            return warning(text, hint);
        }
        ok(text)
    }
}

/// The check of a radio that is not ready; it fails once the radio has been away for that long.
pub(crate) fn radio_away(radio: &RadioStatus, fails_after: Duration) -> Check {
    let cause = radio.cause.as_ref();
    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
    let text = format!("away for {}{cause}", span::of_seconds(radio.for_seconds));
    let ours = match &radio.connection {
        Connection::Tcp { .. } => {
            "check its power, its network, and `meshtastic.host`; a phone app may hold it"
        }
        Connection::Serial { .. } => {
            "check its power, its cable, and `meshtastic.serial_port`; another program may hold the port"
        }
        Connection::Ble { .. } => {
            "check its power, whether it is in reach, and `meshtastic.ble_address`; a phone app may hold it"
        }
    };
    let hint = radio.hint.clone().unwrap_or_else(|| ours.to_owned());
    let result = if Duration::from_secs(radio.for_seconds) >= fails_after {
        CheckResult::Failed
    } else {
        CheckResult::Warning
    };
    check(result, text, Some(hint))
}

#[cfg(test)]
mod tests;
