//! `relay status`: how the running daemon stands, for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::daemon::status::{
    ChannelStatus, Check, DatabaseStatus, EchoStatus, MatrixState, MatrixStatus, ParkedStatus,
    RadioStatus, RoomStatus, Status, Traffic, Waits,
};
use crate::daemon::{clock_off, limit_met, times};
use relay_matrix::DeviceTrust;
use relay_model::span;
use relay_radio::LinkState;

use super::{hint, printable};

/// What is counted and is nobody's loss: our own messages that come back, and signs of ours.
const NOT_WORTH_A_WORD: [&str; 4] = ["own_event", "own_packet", "feedback_sign", "duplicate"];

pub(crate) fn lines(status: &Status) -> String {
    let mut page = Page::default();
    let (version, since, pid) = (&status.version, &status.started_at, status.pid);
    let up = span::of_seconds(status.uptime_seconds);
    let about = format!("{version}, up for {up} (since {since}), process {pid}");
    page.line("relay", &about);
    radio(&mut page, &status.radio);
    matrix(&mut page, &status.matrix);
    database(&mut page, &status.database);
    if let Some(outbox) = &status.outbox {
        let (to_matrix, to_mesh) = (waits(&outbox.to_matrix), waits(&outbox.to_mesh));
        let waiting = format!("{to_matrix} for Matrix, {to_mesh} for the mesh");
        page.line("waiting", &waiting);
    }
    for it in &status.rooms {
        room(&mut page, it, status.matrix.state);
    }
    for it in &status.channels {
        channel(&mut page, it);
    }
    let others = reasons(&status.elsewhere);
    if !others.is_empty() {
        page.line("not relayed", &others);
    }
    for EchoStatus { node, name, count } in &status.echoes {
        let texts = if *count == 1 { "text" } else { "texts" };
        let repeats = "repeats what is relayed, as another relay does";
        let echo = format!("{node} ({name}) {repeats}: {count} {texts} not posted");
        page.line("echo", &echo);
    }
    if let Some(count @ 1..) = status.undecryptable {
        let waiting = format!("{count}: their keys have not arrived");
        page.line("undecryptable", &waiting);
    }
    if let Some(count @ 1..) = status.direct_messages {
        let kept = format!("{count} direct messages to our node are kept");
        page.line("direct", &kept);
    }
    page.0
}

fn radio(page: &mut Page, radio: &RadioStatus) {
    let time = span::of_seconds(radio.for_seconds);
    let state = match radio.state {
        LinkState::Ready => format!("ready for {time}"),
        LinkState::Connecting => format!("away for {time}, connecting"),
        LinkState::Configuring => format!("away for {time}, being configured"),
        LinkState::Lost => format!("away for {time}"),
    };
    page.line("radio", &format!("{}, {state}", radio.connection.place()));
    page.known("because", radio.cause.as_ref());
    page.cure(radio.hint.as_ref());
    if let Some(name) = &radio.name {
        let node = radio.node.as_deref().unwrap_or_default();
        let firmware = radio.firmware.as_deref().unwrap_or("not told");
        page.more(&format!("{name} ({node}), firmware {firmware}"));
    }
    if radio.restarts > 0 {
        let times = times(radio.restarts.into());
        page.more(&format!("restarted {times} since the relay started"));
    }
    if let (Some(percent), Some(age)) = (radio.channel_use_percent, radio.channel_use_age_seconds) {
        let age = span::of_seconds(age);
        page.more(&format!("channel use {percent:.1} %, told {age} ago"));
    }
    page.known("nothing is transmitted", radio.silence.as_ref());
}

fn matrix(page: &mut Page, matrix: &MatrixStatus) {
    let state = match matrix.state {
        MatrixState::Connected => {
            let age = span::of_seconds(matrix.sync_age_seconds.unwrap_or_default());
            format!("connected, last answer {age} ago")
        }
        MatrixState::Connecting => "waiting for the homeserver's first answer".to_owned(),
        MatrixState::Away => {
            let away = span::of_seconds(matrix.away_seconds.unwrap_or_default());
            match &matrix.hint {
                Some(_) => format!("what the homeserver says cannot be stored, for {away}"),
                None => format!("the homeserver has been away for {away}"),
            }
        }
        MatrixState::NoSession => "cannot be used now".to_owned(),
    };
    page.line("matrix", &state);
    page.known("because", matrix.cause.as_ref());
    page.cure(matrix.hint.as_ref());
    if let (Some(account), Some(device)) = (&matrix.account, &matrix.device) {
        let trust = match matrix.device_trust {
            Some(DeviceTrust::Verified) => "verified by its owner",
            Some(DeviceTrust::Unverified) => "not verified: see `relay auth status`",
            Some(DeviceTrust::Unknown) | None => "not known whether verified",
        };
        page.more(&format!("{account}, device {device}, {trust}"));
    }
    if let Some(ahead) = matrix.clock_ahead_seconds.filter(|ahead| *ahead != 0) {
        page.check(&clock_off(ahead));
    }
    if let Some(limited) = &matrix.limited {
        page.check(&limit_met(limited));
    }
    parked(page, matrix.parked.as_ref());
}

fn database(page: &mut Page, database: &DatabaseStatus) {
    if database.ok {
        return;
    }
    let error = database.error.as_deref().unwrap_or("it does not work");
    let time = database.for_seconds.map(span::of_seconds);
    let time = time.map(|time| format!(" for {time}")).unwrap_or_default();
    page.line("database", &format!("fails{time}: {error}"));
    page.cure(database.hint.as_ref());
}

fn room(page: &mut Page, room: &RoomStatus, matrix: MatrixState) {
    let name = room.name.as_ref().filter(|name| **name != room.room);
    let name = name.map(|name| format!("{name}, ")).unwrap_or_default();
    let mut about = format!("{name}{}", room.room);
    if !room.channels.is_empty() {
        let s = if room.channels.len() == 1 { "" } else { "s" };
        let _ = write!(about, ", channel{s} {}", room.channels.join(", "));
    }
    if !room.mapped {
        about.push_str(", not mapped");
    } else if !room.joined {
        about.push_str(match matrix {
            // As `doctor` sees it: perhaps the homeserver has not answered once since the start.
            MatrixState::NoSession | MatrixState::Connecting | MatrixState::Away => {
                ", not known whether the bot is in it"
            }
            MatrixState::Connected => ", NOT JOINED",
        });
    } else if room.encrypted == Some(true) {
        about.push_str(", encrypted");
    }
    page.line("room", &about);
    page.known("PROBLEM", room.trouble.as_ref().map(|it| &it.text));
    page.cure(room.trouble.as_ref().map(|it| &it.hint));
    for problem in &room.problems {
        page.known("PROBLEM", Some(problem));
    }
    parked(page, room.parked.as_ref());
    if let Some(count @ 1..) = room.missing {
        let stretches = match count {
            1 => "a stretch".to_owned(),
            count => format!("{count} stretches"),
        };
        let what = "of its history could not be fetched yet; it is tried again";
        page.more(&format!("{stretches} {what}"));
    }
    page.both_ways(&room.to_matrix, &room.to_mesh);
}

fn channel(page: &mut Page, channel: &ChannelStatus) {
    let name = channel.name.as_ref().filter(|name| !name.is_empty());
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    page.line("channel", &format!("{}{name}", channel.channel));
    page.both_ways(&channel.to_matrix, &channel.to_mesh);
}

fn parked(page: &mut Page, parked: Option<&ParkedStatus>) {
    if let Some(parked) = parked {
        let time = span::of_seconds(parked.for_seconds);
        page.more(&format!("PARKED for {time}: {}", parked.reason));
    }
}

fn traffic(traffic: &Traffic) -> String {
    let mut text = format!("{} relayed", traffic.relayed);
    if let Some(outbox) = traffic.outbox.as_ref().filter(|it| it.waiting > 0) {
        let age = span::of_seconds(outbox.oldest_seconds.unwrap_or_default());
        let _ = write!(text, ", {} waiting (oldest {age})", outbox.waiting);
    }
    if traffic.expired > 0 {
        let _ = write!(text, ", {} expired", traffic.expired);
    }
    for (word, counts) in [
        ("refused", &traffic.refused),
        ("not relayed", &traffic.dropped),
    ] {
        let reasons = reasons(counts);
        if !reasons.is_empty() {
            let _ = write!(text, "; {word}: {reasons}");
        }
    }
    text
}

fn waits(waits: &Waits) -> String {
    match waits.oldest_seconds {
        Some(age) => format!("{} (oldest {})", waits.waiting, span::of_seconds(age)),
        None => waits.waiting.to_string(),
    }
}

fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let is_told = |reason: &str| !NOT_WORTH_A_WORD.contains(&reason);
    let told = counts.iter().filter(|(reason, _)| is_told(reason));
    let told = told.map(|(reason, count)| format!("{count} {}", reason.replace('_', " ")));
    told.collect::<Vec<_>>().join(", ")
}

/// Lines with a heading each, aligned.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, heading: &str, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{heading:<13} {}", printable(text));
    }

    fn more(&mut self, text: &str) {
        self.line("", text);
    }

    fn known(&mut self, what: &str, text: Option<&String>) {
        if let Some(text) = text {
            self.more(&format!("{what}: {text}"));
        }
    }

    fn cure(&mut self, cure: Option<&String>) {
        if let Some(cure) = cure {
            self.more(&hint(cure));
        }
    }

    fn check(&mut self, check: &Check) {
        self.more(&check.text);
        self.cure(check.hint.as_ref());
    }

    fn both_ways(&mut self, to_matrix: &Traffic, to_mesh: &Traffic) {
        self.more(&format!("to Matrix    {}", traffic(to_matrix)));
        self.more(&format!("to the mesh  {}", traffic(to_mesh)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::status::{LimitedStatus, OutboxStatus};
    use relay_config::Connection;

    fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        let owned = counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        owned.collect()
    }

    fn waits(waiting: u64, oldest_seconds: Option<u64>) -> Waits {
        Waits {
            waiting,
            oldest_seconds,
        }
    }

    fn well() -> Status {
        let to_mesh = Traffic {
            relayed: 7,
            outbox: Some(waits(2, Some(65))),
            expired: 1,
            refused: counts(&[("too_long", 1)]),
            dropped: counts(&[("suppressed", 2), ("own_event", 12)]),
        };
        let to_matrix = Traffic {
            relayed: 12,
            outbox: Some(waits(0, None)),
            ..Traffic::default()
        };
        Status {
            version: "1.2.3".to_owned(),
            pid: 4711,
            started_at: "2026-01-31T12:00:00Z".to_owned(),
            uptime_seconds: 3 * 86_400,
            radio: RadioStatus {
                connection: Connection::Serial { serial_port: None },
                state: LinkState::Ready,
                for_seconds: 7_300,
                cause: None,
                hint: None,
                restarts: 0,
                node: Some("!a11ce001".to_owned()),
                name: Some("Hill\u{1b}[2Jtop".to_owned()),
                firmware: Some("2.7.26".to_owned()),
                channel_use_percent: Some(12.34),
                channel_use_age_seconds: Some(40),
                silence: None,
            },
            matrix: MatrixStatus {
                state: MatrixState::Connected,
                cause: None,
                hint: None,
                away_seconds: None,
                sync_age_seconds: Some(12),
                clock_ahead_seconds: Some(0),
                dates_ahead_seconds: 0,
                account: Some("@relay:example.org".to_owned()),
                device: Some("DEVICE".to_owned()),
                device_trust: Some(DeviceTrust::Verified),
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
                to_matrix: waits(0, None),
                to_mesh: waits(2, Some(65)),
            }),
            rooms: vec![RoomStatus {
                room: "!room:example.org".to_owned(),
                name: Some("Hilltop".to_owned()),
                mapped: true,
                joined: true,
                encrypted: Some(true),
                channels: vec!["0".to_owned()],
                problems: Vec::new(),
                trouble: None,
                parked: None,
                missing: Some(0),
                to_matrix: to_matrix.clone(),
                to_mesh: to_mesh.clone(),
            }],
            channels: vec![ChannelStatus {
                channel: 0,
                name: Some("LongFast".to_owned()),
                to_matrix: Traffic {
                    outbox: None,
                    ..to_matrix
                },
                to_mesh,
            }],
            elsewhere: counts(&[("encrypted", 3), ("for_another_node", 4)]),
            echoes: vec![EchoStatus {
                node: "!0a0b0c0d".to_owned(),
                name: "Valley".to_owned(),
                count: 2,
            }],
            undecryptable: Some(1),
            direct_messages: Some(2),
        }
    }

    #[test]
    fn a_relay_at_work_tells_what_it_carries() {
        insta::assert_snapshot!(lines(&well()), @r#"
        relay         1.2.3, up for 3 days (since 2026-01-31T12:00:00Z), process 4711
        radio         the serial port of a radio, ready for 2 h
                      Hill[2Jtop (!a11ce001), firmware 2.7.26
                      channel use 12.3 %, told 40 s ago
        matrix        connected, last answer 12 s ago
                      @relay:example.org, device DEVICE, verified by its owner
        waiting       0 for Matrix, 2 (oldest 65 s) for the mesh
        room          Hilltop, !room:example.org, channel 0, encrypted
                      to Matrix    12 relayed
                      to the mesh  7 relayed, 2 waiting (oldest 65 s), 1 expired; refused: 1 too long; not relayed: 2 suppressed
        channel       0 LongFast
                      to Matrix    12 relayed
                      to the mesh  7 relayed, 2 waiting (oldest 65 s), 1 expired; refused: 1 too long; not relayed: 2 suppressed
        not relayed   3 encrypted, 4 for another node
        echo          !0a0b0c0d (Valley) repeats what is relayed, as another relay does: 2 texts not posted
        undecryptable 1: their keys have not arrived
        direct        2 direct messages to our node are kept
        "#);
    }

    #[test]
    fn a_clock_that_differs_from_the_homeservers_is_told_with_the_cure() {
        let mut status = well();
        assert!(!lines(&status).contains("clock"));
        status.matrix.clock_ahead_seconds = Some(-7_200);
        let lines = lines(&status);
        let told = "the clock of this machine is 2 h behind the homeserver's";
        assert!(
            lines.contains(told) && lines.contains("hint: set it"),
            "{lines}"
        );
    }

    #[test]
    fn a_homeserver_that_wants_fewer_events_is_told_with_the_cure() {
        let mut status = well();
        assert!(!lines(&status).contains("429"));
        status.matrix.limited = Some(LimitedStatus {
            times: 1,
            last_seconds: 40,
        });
        let lines = lines(&status);
        assert!(
            lines.contains("(HTTP 429), last 40 s ago: once") && lines.contains("hint: messages"),
            "{lines}"
        );
    }

    #[test]
    fn restarts_of_the_radio_are_told_and_none_is_not() {
        let mut status = well();
        assert!(!lines(&status).contains("restarted"));
        status.radio.restarts = 1;
        assert!(lines(&status).contains("restarted once since"));
    }

    #[test]
    fn a_radio_that_does_not_tell_its_firmware_is_named_all_the_same() {
        let mut status = well();
        status.radio.firmware = None;
        let told = lines(&status);
        assert!(told.contains("(!a11ce001), firmware not told\n"), "{told}");
    }

    #[test]
    fn without_a_session_nobody_knows_which_rooms_the_bot_is_in() {
        let mut status = well();
        status.matrix.state = MatrixState::NoSession;
        status.matrix.cause = Some("it is refused".to_owned());
        status.matrix.hint = Some("wait".to_owned());
        status.rooms[0].joined = false;
        let told = lines(&status);
        assert!(
            told.contains("not known whether the bot is in it"),
            "{told}"
        );
        // There may be one that is not accepted.
        for line in [
            "matrix        cannot be used now\n",
            " because: it is refused\n",
            " hint: wait\n",
        ] {
            assert!(told.contains(line), "{told}");
        }
        status.matrix.state = MatrixState::Connected;
        let told = lines(&status);
        assert!(told.contains("NOT JOINED"), "{told}");
    }

    #[test]
    fn what_is_wrong_comes_with_its_reason_and_since_when() {
        let mut status = well();
        status.radio = RadioStatus {
            state: LinkState::Lost,
            for_seconds: 780,
            restarts: 3,
            cause: Some("cannot connect to 192.168.1.20:4403: connection refused".to_owned()),
            hint: Some("switch it on".to_owned()),
            silence: Some("the radio has no region".to_owned()),
            ..status.radio
        };
        status.matrix = MatrixStatus {
            state: MatrixState::Away,
            cause: Some("no answer".to_owned()),
            away_seconds: Some(130),
            parked: Some(ParkedStatus {
                reason: "M_UNKNOWN_TOKEN".to_owned(),
                for_seconds: 4,
            }),
            ..status.matrix
        };
        status.database = DatabaseStatus {
            ok: false,
            error: Some("the disk that holds the database is full".to_owned()),
            hint: Some("make room on the disk".to_owned()),
            for_seconds: Some(75),
        };
        status.outbox = None;
        status.channels.clear();
        status.direct_messages = None;
        status.undecryptable = None;
        status.rooms[0].joined = false;
        status.rooms[0].encrypted = None;
        status.rooms[0].missing = Some(1);
        status.rooms[0].problems =
            vec!["matrix_rooms[0]: channel 0 is not in use on the radio; it has none".to_owned()];
        status.rooms[0].parked = Some(ParkedStatus {
            reason: "M_FORBIDDEN".to_owned(),
            for_seconds: 200,
        });
        insta::assert_snapshot!(lines(&status), @r#"
        relay         1.2.3, up for 3 days (since 2026-01-31T12:00:00Z), process 4711
        radio         the serial port of a radio, away for 13 min
                      because: cannot connect to 192.168.1.20:4403: connection refused
                      hint: switch it on
                      Hill[2Jtop (!a11ce001), firmware 2.7.26
                      restarted 3 times since the relay started
                      channel use 12.3 %, told 40 s ago
                      nothing is transmitted: the radio has no region
        matrix        the homeserver has been away for 2 min
                      because: no answer
                      @relay:example.org, device DEVICE, verified by its owner
                      PARKED for 4 s: M_UNKNOWN_TOKEN
        database      fails for 75 s: the disk that holds the database is full
                      hint: make room on the disk
        room          Hilltop, !room:example.org, channel 0, not known whether the bot is in it
                      PROBLEM: matrix_rooms[0]: channel 0 is not in use on the radio; it has none
                      PARKED for 3 min: M_FORBIDDEN
                      a stretch of its history could not be fetched yet; it is tried again
                      to Matrix    12 relayed
                      to the mesh  7 relayed, 2 waiting (oldest 65 s), 1 expired; refused: 1 too long; not relayed: 2 suppressed
        not relayed   3 encrypted, 4 for another node
        echo          !0a0b0c0d (Valley) repeats what is relayed, as another relay does: 2 texts not posted
        "#);
    }
}
