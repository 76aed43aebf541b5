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
        in_clear: 3,
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
        configuration: ConfigurationStatus {
            read_at: "2026-01-31T12:00:00Z".to_owned(),
            need_restart: Vec::new(),
            failed: None,
        },
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
            region: Some("EU_868".to_owned()),
            channel_use_percent: Some(12.34),
            channel_use_age_seconds: Some(40),
            silence: None,
            silence_hint: None,
        },
        matrix: MatrixStatus {
            state: MatrixState::Connected,
            cause: None,
            hint: None,
            away_seconds: None,
            sync_age_seconds: Some(12),
            clock_ahead_seconds: Some(0),
            dates_ahead_seconds: 0,
            not_shown: None,
            account: Some("@relay:example.org".to_owned()),
            device: Some("DEVICE".to_owned()),
            device_trust: Some(DeviceTrust::Verified),
            limited: None,
            other_relays: Vec::new(),
            put_back: None,
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
            configured: Vec::new(),
            mapped: true,
            joined: true,
            encrypted: Some(true),
            channels: vec!["0".to_owned()],
            problems: Vec::new(),
            hint: None,
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
    configuration read at 2026-01-31T12:00:00Z
    radio         the serial port of a radio, ready for 2 h
                  Hill[2Jtop (!a11ce001), firmware 2.7.26
                  channel use 12.3 %, told 40 s ago
    matrix        connected, last answer 12 s ago
                  @relay:example.org, device DEVICE, verified by its owner
    waiting       0 for Matrix, 2 (oldest 65 s) for the mesh
    room          Hilltop, !room:example.org, channel 0, encrypted
                  to Matrix    12 relayed
                  to the mesh  7 relayed, 2 waiting (oldest 65 s), 1 expired, 3 taken that were not encrypted in this encrypted room; refused: 1 too long; not relayed: 2 suppressed
    channel       0 LongFast
                  to Matrix    12 relayed
                  to the mesh  7 relayed, 2 waiting (oldest 65 s), 1 expired, 3 taken that were not encrypted in this encrypted room; refused: 1 too long; not relayed: 2 suppressed
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
    let expected = "the clock of this machine is 2 h behind the homeserver's";
    assert!(
        lines.contains(expected) && lines.contains("hint: set it"),
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
    let lines = lines(&status);
    assert!(
        lines.contains("(!a11ce001), firmware not told\n"),
        "{lines}"
    );
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
    // A session may exist that is not accepted.
    for line in [
        "matrix        cannot be used now\n",
        " because: it is refused\n",
        " hint: wait\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
    status.matrix.state = MatrixState::Connected;
    let lines = lines(&status);
    assert!(lines.contains("NOT JOINED"), "{lines}");
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
        silence_hint: Some("set one".to_owned()),
        ..status.radio
    };
    status.matrix = MatrixStatus {
        state: MatrixState::Away,
        cause: Some("no answer".to_owned()),
        away_seconds: Some(130),
        parked: Some(ParkedStatus {
            reason: "M_UNKNOWN_TOKEN".to_owned(),
            hint: Some("wait".to_owned()),
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
    status.configuration.need_restart = ["meshtastic.host", "database.path"]
        .map(str::to_owned)
        .into();
    status.configuration.failed = Some(FailedReload {
        at: "2026-02-01T12:00:00Z".to_owned(),
        cause: "config.yaml:3:1: rooms: unknown key".to_owned(),
        hint: Some("correct it".to_owned()),
    });
    status.outbox = None;
    status.channels.clear();
    status.direct_messages = None;
    status.undecryptable = None;
    status.rooms[0].joined = false;
    status.rooms[0].encrypted = None;
    status.rooms[0].missing = Some(1);
    status.rooms[0].problems =
        vec!["matrix_rooms[0]: channel 0 is not in use on the radio; it has none".to_owned()];
    status.rooms[0].hint = Some("map another".to_owned());
    status.rooms[0].parked = Some(ParkedStatus {
        reason: "M_FORBIDDEN".to_owned(),
        hint: Some("ask an admin".to_owned()),
        for_seconds: 200,
    });
    insta::assert_snapshot!(lines(&status), @r#"
    relay         1.2.3, up for 3 days (since 2026-01-31T12:00:00Z), process 4711
    configuration read at 2026-01-31T12:00:00Z
                  needs a restart for meshtastic.host, database.path
                  read again at 2026-02-01T12:00:00Z, and not followed: config.yaml:3:1: rooms: unknown key
                  hint: correct it
    radio         the serial port of a radio, away for 13 min
                  because: cannot connect to 192.168.1.20:4403: connection refused
                  hint: switch it on
                  Hill[2Jtop (!a11ce001), firmware 2.7.26
                  restarted 3 times since the relay started
                  channel use 12.3 %, told 40 s ago
                  nothing is transmitted: the radio has no region
                  hint: set one
    matrix        the homeserver has been away for 2 min
                  because: no answer
                  @relay:example.org, device DEVICE, verified by its owner
                  PARKED for 4 s: M_UNKNOWN_TOKEN
                  hint: wait
    database      fails for 75 s: the disk that holds the database is full
                  hint: make room on the disk
    room          Hilltop, !room:example.org, channel 0, not known whether the bot is in it
                  PROBLEM: matrix_rooms[0]: channel 0 is not in use on the radio; it has none
                  hint: map another
                  PARKED for 3 min: M_FORBIDDEN
                  hint: ask an admin
                  a stretch of its history could not be fetched yet; it is tried again
                  to Matrix    12 relayed
                  to the mesh  7 relayed, 2 waiting (oldest 65 s), 1 expired, 3 taken that were not encrypted in this encrypted room; refused: 1 too long; not relayed: 2 suppressed
    not relayed   3 encrypted, 4 for another node
    echo          !0a0b0c0d (Valley) repeats what is relayed, as another relay does: 2 texts not posted
    "#);
}
