//! Whether the daemon does its work: what `relay doctor --quick`, and so the health check of a container, goes by.
//!
//! Unhealthy is what a person, or a restart, has to cure. A homeserver that is away is a warning: nothing is lost, and
//! the relay can do no more than try again.

use std::time::Duration;

use crate::bridge::MANY_ROWS;

use super::status::{
    Check, CheckResult, DatabaseStatus, Health, LimitedStatus, MatrixState, RoomStatus, Status,
};
use crate::config::Connection;
use crate::model::span;
use crate::radio::LinkState;

/// The event loop looks at its chores every 20 s: without a sign for longer than this it hangs.
const LOOP_HANGS_AFTER: Duration = Duration::from_secs(90);

/// How long a complaint of the homeserver is worth a word.
const LIMIT_CONCERNS: Duration = Duration::from_hours(1);

/// Where the account, or a room, takes nothing.
const OWN_WORDS: &str = "the homeserver's own words say what to change; the relay tries again";

/// What was looked at for it.
pub(super) struct Examined<'a> {
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
        let checks = [
            ("daemon", self.daemon()),
            ("event_loop", self.event_loop()),
            ("database", self.database()),
            ("radio", self.radio()),
            ("matrix", self.matrix()),
            ("clock", self.clock()),
            ("rate_limit", self.rate_limit()),
            ("rooms", self.rooms()),
            ("outbox", self.outbox()),
        ];
        let checks = checks.map(|(name, check)| Check {
            name: name.to_owned(),
            ..check
        });
        Health {
            healthy: checks.iter().all(|it| it.result != CheckResult::Failed),
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
        found(CheckResult::Failed, text, trouble.hint.clone())
    }

    fn radio(&self) -> Check {
        let radio = &self.status.radio;
        let time = span::of_seconds(radio.for_seconds);
        if radio.state == LinkState::Ready {
            return match &radio.silence {
                Some(silence) => {
                    let text = format!("nothing is transmitted: {silence}");
                    found(CheckResult::Warning, text, None)
                }
                None => ok(format!("ready for {time}")),
            };
        }
        let cause = radio.cause.as_ref();
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        let text = format!("away for {time}{cause}");
        let (way, key, holder) = match &radio.connection {
            Connection::Tcp { .. } => ("its network", "host", "a phone app may hold it"),
            Connection::Serial { .. } => (
                "its cable",
                "serial_port",
                "another program may hold the port",
            ),
            Connection::Ble { .. } => (
                "whether it is in reach",
                "ble_address",
                "a phone app may hold it",
            ),
        };
        let ours = || format!("check its power, {way}, and `meshtastic.{key}`; {holder}");
        let hint = radio.hint.clone().unwrap_or_else(ours);
        let result = if Duration::from_secs(radio.for_seconds) >= self.radio_away {
            CheckResult::Failed
        } else {
            CheckResult::Warning
        };
        found(result, text, Some(hint))
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
                failed(text, OWN_WORDS)
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

    fn rooms(&self) -> Check {
        let mapped = || self.status.rooms.iter().filter(|room| room.mapped);
        let count = mapped().count();
        let mut troubles: Vec<Check> = self.status.rooms.iter().filter_map(room_check).collect();
        let absent = mapped().filter(|room| !room.joined && room.trouble.is_none());
        let absent: Vec<&str> = absent.map(|room| room.room.as_str()).collect();
        match self.status.matrix.state {
            _ if absent.is_empty() => {}
            // Nobody tells us of our rooms.
            MatrixState::NoSession if troubles.is_empty() => {
                let text = format!("{count} mapped; not known whether the bot is in them");
                return warning(text, "see the check of Matrix");
            }
            MatrixState::Connecting | MatrixState::Away if troubles.is_empty() => {
                return ok(format!(
                    "{count} mapped; not known yet whether the bot is in them"
                ));
            }
            MatrixState::NoSession | MatrixState::Connecting | MatrixState::Away => {}
            MatrixState::Connected => {
                let text = format!("the bot is not in {}", absent.join(", "));
                let hint = "the relay is about to join; if this stays, the log says more";
                troubles.push(failed(text, hint));
            }
        }
        for problem in mapped().flat_map(|room| &room.problems) {
            let hint =
                "correct matrix_rooms, or the radio's channels; other rooms are not affected";
            troubles.push(warning(problem, hint));
        }
        // What a person has to cure comes first.
        troubles.sort_by_key(|it| it.result != CheckResult::Failed);
        let Some(worst) = troubles.first().map(|it| it.result) else {
            return ok(format!("{count} mapped"));
        };
        let mut hints: Vec<String> = Vec::new();
        for it in &troubles {
            let mut hint = it.hint.clone().unwrap_or_default();
            if troubles.len() > 1 && !it.name.is_empty() {
                hint = format!("{}: {hint}", it.name);
            }
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
        let texts: Vec<&str> = troubles.iter().map(|it| it.text.as_str()).collect();
        found(worst, texts.join("; "), Some(hints.join("; ")))
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

/// Returns what is wrong with a room, under the room's name: its cure does not say it.
fn room_check(room: &RoomStatus) -> Option<Check> {
    let waiting = room.to_matrix.outbox.as_ref().map_or(0, |it| it.waiting);
    let waiting = match waiting {
        0 => String::new(),
        waiting => format!(" ({waiting} waiting)"),
    };
    let name = &room.room;
    let check = if let Some(trouble) = &room.trouble {
        let text = format!("{name}: {}{waiting}", trouble.text);
        if trouble.may_pass {
            warning(text, &trouble.hint)
        } else {
            failed(text, &trouble.hint)
        }
    } else {
        let parked = room.parked.as_ref().filter(|_| room.mapped)?;
        let (since, why) = (span::of_seconds(parked.for_seconds), &parked.reason);
        failed(
            format!("{name} takes nothing, for {since}: {why}{waiting}"),
            OWN_WORDS,
        )
    };
    Some(Check {
        name: name.clone(),
        ..check
    })
}

/// Returns how the homeserver has limited the account.
pub(crate) fn limit_met(limited: &LimitedStatus) -> Check {
    let hint = "messages wait for it in their order; the homeserver's administrator can lift its limit for the bot, as the README says under \"A homeserver that slows the bot down\"";
    let text = format!(
        "the homeserver wanted fewer events (HTTP 429), last {} ago: {} since the start",
        span::of_seconds(limited.last_seconds),
        times(limited.times)
    );
    warning(text, hint)
}

/// Returns how often something was, for people.
pub(crate) fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// Returns how this machine's clock goes, by how many seconds it is ahead of the homeserver's.
pub(crate) fn clock_off(ahead: i64) -> Check {
    let hint = "set it, for example with `timedatectl set-ntp true`, unless the homeserver's is the wrong one; messages of rooms are dated by the homeserver's meanwhile";
    warning(clock_apart("the clock of this machine", ahead), hint)
}

fn clock_apart(clock: &str, ahead: i64) -> String {
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    // Whole minutes, so that two hours but for a second are two hours.
    let off = match ahead.unsigned_abs() {
        seconds @ 0..120 => seconds,
        seconds => seconds.saturating_add(30) / 60 * 60,
    };
    format!(
        "{clock} is {} {way} the homeserver's",
        span::of_seconds(off)
    )
}

/// A check whose name is given later, as of the others.
fn found(result: CheckResult, text: impl Into<String>, hint: Option<String>) -> Check {
    Check {
        name: String::new(),
        result,
        text: text.into(),
        hint,
    }
}

fn ok(text: impl Into<String>) -> Check {
    found(CheckResult::Ok, text, None)
}

fn warning(text: impl Into<String>, hint: &str) -> Check {
    found(CheckResult::Warning, text, Some(hint.to_owned()))
}

fn failed(text: impl Into<String>, hint: &str) -> Check {
    found(CheckResult::Failed, text, Some(hint.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::status::{
        MatrixStatus, OutboxStatus, ParkedStatus, RadioStatus, RoomTroubleStatus, Traffic, Waits,
    };

    fn well() -> Status {
        Status {
            version: "1.2.3".to_owned(),
            pid: 1,
            started_at: "2026-01-31T12:00:00Z".to_owned(),
            uptime_seconds: 60,
            radio: RadioStatus {
                connection: Connection::Serial { serial_port: None },
                state: LinkState::Ready,
                for_seconds: 50,
                cause: None,
                hint: None,
                restarts: 0,
                node: None,
                name: None,
                firmware: None,
                channel_use_percent: None,
                channel_use_age_seconds: None,
                silence: None,
            },
            matrix: MatrixStatus {
                state: MatrixState::Connected,
                cause: None,
                hint: None,
                away_seconds: None,
                sync_age_seconds: Some(3),
                clock_ahead_seconds: Some(0),
                dates_ahead_seconds: 0,
                account: None,
                device: None,
                device_trust: None,
                limited: None,
                parked: None,
            },
            database: DatabaseStatus {
                ok: true,
                error: None,
                hint: None,
                for_seconds: None,
            },
            outbox: Some(OutboxStatus {
                to_matrix: Waits::default(),
                to_mesh: Waits::default(),
            }),
            rooms: vec![RoomStatus {
                room: "!room:example.org".to_owned(),
                name: None,
                mapped: true,
                joined: true,
                encrypted: None,
                channels: vec!["0".to_owned()],
                problems: Vec::new(),
                trouble: None,
                parked: None,
                missing: Some(0),
                to_matrix: Traffic::default(),
                to_mesh: Traffic::default(),
            }],
            channels: Vec::new(),
            elsewhere: std::collections::BTreeMap::new(),
            echoes: Vec::new(),
            undecryptable: None,
            direct_messages: None,
        }
    }

    fn parked() -> ParkedStatus {
        ParkedStatus {
            reason: "M_FORBIDDEN".to_owned(),
            for_seconds: 9,
        }
    }

    fn examined(status: &Status, beat: u64) -> Health {
        let examined = Examined {
            status,
            beat: Duration::from_secs(beat),
            written: Ok(()),
            radio_away: Duration::from_mins(10),
        };
        examined.health()
    }

    /// Returns the worst result, and which check had it.
    fn worst(status: &Status, beat: u64) -> (String, CheckResult) {
        let health = examined(status, beat);
        let rank = |check: &&Check| match check.result {
            CheckResult::Ok => 0,
            CheckResult::Warning => 1,
            CheckResult::Failed => 2,
        };
        let worst = health.checks.iter().max_by_key(rank).unwrap();
        assert_eq!(health.healthy, worst.result != CheckResult::Failed);
        if worst.result == CheckResult::Failed {
            assert!(worst.hint.is_some(), "{worst:?} names no cure");
        }
        (worst.name.clone(), worst.result)
    }

    #[test]
    fn a_clock_that_is_off_is_said_in_whole_hours() {
        for (ahead, words) in [
            (-7_199, "2 h behind"),
            (3_601, "60 min ahead of"),
            (45, "45 s ahead of"),
            (-1_767_225_600, "20454 days behind"),
        ] {
            assert_eq!(
                clock_off(ahead).text,
                format!("the clock of this machine is {words} the homeserver's")
            );
        }
    }

    #[test]
    fn what_an_administrator_can_mend_is_a_warning_while_it_matters() {
        use CheckResult::{Ok, Warning};
        let told = |ahead, last_seconds| {
            let mut status = well();
            status.matrix.clock_ahead_seconds = ahead;
            status.matrix.limited = Some(LimitedStatus {
                times: 3,
                last_seconds,
            });
            worst(&status, 0)
        };
        assert_eq!(told(Some(-7_199), 3_600), ("clock".to_owned(), Warning));
        assert_eq!(told(Some(0), 3_599), ("rate_limit".to_owned(), Warning));
        assert_eq!(told(None, 3_600), ("outbox".to_owned(), Ok));
        let mut status = well();
        status.matrix.dates_ahead_seconds = 7_199;
        assert_eq!(worst(&status, 0), ("clock".to_owned(), Warning));
    }

    #[test]
    fn each_fault_has_its_check() {
        use CheckResult::{Failed, Ok, Warning};
        type Change = fn(&mut Status);
        let cases: [(Change, &str, CheckResult); 16] = [
            (|_| {}, "outbox", Ok),
            (
                |it| it.radio.state = LinkState::Connecting,
                "radio",
                Warning,
            ),
            (
                |it| {
                    it.radio.state = LinkState::Lost;
                    it.radio.for_seconds = 599;
                },
                "radio",
                Warning,
            ),
            (
                |it| {
                    it.radio.state = LinkState::Configuring;
                    it.radio.for_seconds = 600;
                },
                "radio",
                Failed,
            ),
            (
                |it| it.radio.silence = Some("no region".to_owned()),
                "radio",
                Warning,
            ),
            (|it| it.matrix.state = MatrixState::Away, "matrix", Warning),
            (
                |it| {
                    it.matrix.state = MatrixState::Away;
                    it.matrix.hint = Some("make room".to_owned());
                },
                "matrix",
                Failed,
            ),
            (
                |it| it.matrix.state = MatrixState::NoSession,
                "matrix",
                Failed,
            ),
            (|it| it.matrix.parked = Some(parked()), "matrix", Failed),
            (|it| it.rooms[0].parked = Some(parked()), "rooms", Failed),
            (|it| it.rooms[0].joined = false, "rooms", Failed),
            (
                |it| {
                    let problem = "the radio has no channel named `club`";
                    it.rooms[0].problems = vec![problem.to_owned()];
                },
                "rooms",
                Warning,
            ),
            (
                |it| {
                    it.rooms[0].joined = false;
                    it.rooms[0].mapped = false;
                },
                "outbox",
                Ok,
            ),
            (
                |it| {
                    // The server has not told the rooms yet.
                    it.rooms[0].joined = false;
                    it.matrix.state = MatrixState::Connecting;
                },
                "outbox",
                Ok,
            ),
            (
                |it| {
                    it.rooms[0].joined = false;
                    it.matrix.state = MatrixState::NoSession;
                },
                "matrix",
                Failed,
            ),
            (
                |it| {
                    let outbox = it.outbox.as_mut().unwrap();
                    outbox.to_matrix.waiting = MANY_ROWS + 1;
                },
                "outbox",
                Warning,
            ),
        ];
        for (number, (change, name, result)) in cases.into_iter().enumerate() {
            let mut status = well();
            change(&mut status);
            assert_eq!(
                worst(&status, 1),
                (name.to_owned(), result),
                "case {number}"
            );
        }
    }

    #[test]
    fn each_room_in_trouble_is_told_with_its_own_cure_and_what_waits_for_it() {
        let trouble = |text: &str, may_pass| RoomTroubleStatus {
            reason: text.to_owned(),
            text: text.to_owned(),
            hint: format!("cure of {text}"),
            successor: None,
            may_pass,
        };
        let mut status = well();
        status.rooms[0].joined = false;
        status.rooms[0].trouble = Some(trouble("server away", true));
        assert_eq!(
            worst(&status, 1),
            ("rooms".to_owned(), CheckResult::Warning)
        );
        // A room that is not mapped any more is somebody's business as long as something waits for it.
        let mut old = status.rooms[0].clone();
        old.room = "!old:example.org".to_owned();
        old.mapped = false;
        old.trouble = Some(trouble("replaced", false));
        old.to_matrix.outbox = Some(Waits {
            waiting: 7,
            oldest_seconds: Some(1),
        });
        status.rooms.push(old);
        assert_eq!(worst(&status, 1), ("rooms".to_owned(), CheckResult::Failed));
        let examined = Examined {
            status: &status,
            beat: Duration::ZERO,
            written: Ok(()),
            radio_away: Duration::from_mins(10),
        };
        let check = examined.rooms();
        assert_eq!(
            check.text,
            "!old:example.org: replaced (7 waiting); !room:example.org: server away"
        );
        assert_eq!(
            check.hint.as_deref(),
            Some("!old:example.org: cure of replaced; !room:example.org: cure of server away")
        );
    }

    #[test]
    fn the_cure_of_a_radio_that_is_away_is_that_of_its_connection() {
        let tcp = Connection::Tcp {
            host: "radio".to_owned(),
            port: 4403,
        };
        let ble = Connection::Ble {
            ble_address: "Base_1234".to_owned(),
            ble_pin: None,
        };
        for (connection, key) in [
            (tcp, "`meshtastic.host`"),
            (
                Connection::Serial { serial_port: None },
                "`meshtastic.serial_port`",
            ),
            (ble, "`meshtastic.ble_address`"),
        ] {
            let mut status = well();
            status.radio.connection = connection;
            status.radio.state = LinkState::Lost;
            let health = examined(&status, 1);
            let radio = health.checks.iter().find(|it| it.name == "radio");
            let hint = radio.unwrap().hint.as_deref().unwrap();
            assert!(hint.contains(key), "{hint}");
            assert_eq!(hint.matches("meshtastic.").count(), 1, "{hint}");

            status.radio.cause = Some("it is barred".to_owned());
            status.radio.hint = Some("unbar it".to_owned());
            let health = examined(&status, 1);
            let radio = health.checks.iter().find(|it| it.name == "radio").unwrap();
            assert!(radio.text.ends_with(": it is barred"), "{}", radio.text);
            assert_eq!(radio.hint.as_deref(), Some("unbar it"));
        }
    }

    #[test]
    fn what_keeps_the_account_from_its_work_has_its_own_cure() {
        let mut status = well();
        status.matrix.state = MatrixState::NoSession;
        status.matrix.cause = Some("not logged in".to_owned());
        status.matrix.hint = Some("log in".to_owned());
        let matrix = |status: &Status| {
            let mut checks = examined(status, 1).checks.into_iter();
            let check = checks.find(|it| it.name == "matrix").unwrap();
            (check.text, check.hint.unwrap_or_default())
        };
        let told = ("not logged in".to_owned(), "log in".to_owned());
        assert_eq!(matrix(&status), told);
        let mut status = well();
        status.matrix.parked = Some(parked());
        let (_, hint) = matrix(&status);
        assert!(hint.contains("own words"), "{hint}");
    }

    #[test]
    fn rooms_that_nobody_has_told_of_are_not_said_to_be_fine() {
        for (state, joined, said) in [
            (MatrixState::Connected, true, "1 mapped"),
            (MatrixState::NoSession, true, "1 mapped"),
            (
                MatrixState::NoSession,
                false,
                "1 mapped; not known whether the bot is in them",
            ),
            (
                MatrixState::Away,
                false,
                "1 mapped; not known yet whether the bot is in them",
            ),
        ] {
            let mut status = well();
            status.matrix.state = state;
            status.rooms[0].joined = joined;
            let health = examined(&status, 1);
            let rooms = health.checks.iter().find(|it| it.name == "rooms");
            assert_eq!(rooms.unwrap().text, said);
        }
    }

    #[test]
    fn an_event_loop_that_hangs_is_told_from_one_that_waits_for_the_disk() {
        let mut status = well();
        assert_eq!(worst(&status, 91).0, "event_loop");
        status.database = DatabaseStatus {
            ok: false,
            error: Some("the disk is full".to_owned()),
            hint: Some("make room".to_owned()),
            for_seconds: Some(300),
        };
        assert_eq!(
            worst(&status, 300),
            ("database".to_owned(), CheckResult::Failed)
        );
    }
}
