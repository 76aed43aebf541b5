use super::*;
use crate::daemon::status::{
    ConfigurationStatus, LimitedStatus, MatrixStatus, NotShownStatus, OtherRelayStatus,
    OutboxStatus, ParkedStatus, PutBackStatus, RadioStatus, RoomStatus, RoomTroubleStatus, Traffic,
    Waits,
};

fn well() -> Status {
    Status {
        version: "1.2.3".to_owned(),
        pid: 1,
        started_at: "2026-01-31T12:00:00Z".to_owned(),
        uptime_seconds: 60,
        configuration: ConfigurationStatus::default(),
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
            region: None,
            channel_use_percent: None,
            channel_use_age_seconds: None,
            silence: None,
            silence_hint: None,
        },
        matrix: MatrixStatus {
            state: MatrixState::Connected,
            cause: None,
            hint: None,
            away_seconds: None,
            sync_age_seconds: Some(3),
            clock_ahead_seconds: Some(0),
            dates_ahead_seconds: 0,
            not_shown: None,
            account: None,
            device: None,
            device_trust: None,
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
            to_matrix: Waits::default(),
            to_mesh: Waits::default(),
        }),
        rooms: vec![RoomStatus {
            room: "!room:example.org".to_owned(),
            name: None,
            configured: Vec::new(),
            mapped: true,
            joined: true,
            encrypted: None,
            channels: vec!["0".to_owned()],
            problems: Vec::new(),
            hint: None,
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
        hint: Some("ask an admin".to_owned()),
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

/// Returns the worst result and the name of its check.
fn worst(status: &Status, beat: u64) -> (String, CheckResult) {
    let health = examined(status, beat);
    let rank = |check: &&Check| match check.result {
        CheckResult::Ok | CheckResult::Skipped => 0,
        CheckResult::Warning => 1,
        CheckResult::Failed | CheckResult::TimedOut => 2,
    };
    let worst = health.checks.iter().max_by_key(rank).unwrap();
    assert_eq!(health.healthy, worst.result != CheckResult::Failed);
    if worst.result != CheckResult::Ok {
        assert!(worst.hint.is_some(), "{worst:?} names no cure");
    }
    (worst.name.clone(), worst.result)
}

#[test]
fn a_homeserver_whose_database_was_put_back_is_a_warning() {
    let mut status = well();
    status.matrix.put_back = Some(PutBackStatus {
        events: 7,
        last_seconds: 180,
    });
    let expected = ("matrix".to_owned(), CheckResult::Warning);
    assert_eq!(worst(&status, 0), expected);
}

#[test]
fn another_relay_with_the_account_is_a_warning_with_its_cure() {
    let mut status = well();
    let other = relay_bridge::OtherRelay::SameDevice;
    status.matrix.other_relays = vec![OtherRelayStatus {
        kind: other.name().to_owned(),
        room: "!room:example.org".to_owned(),
        last_seconds: 70,
        text: other.to_string(),
        hint: relay_model::Explained::hint(&other).unwrap(),
    }];
    let expected = ("other_relays".to_owned(), CheckResult::Warning);
    assert_eq!(worst(&status, 0), expected);
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
    let mut status = well();
    status.matrix.not_shown = Some(NotShownStatus {
        cause: "the picture `/x.png` cannot be used".to_owned(),
        hint: Some("give another one".to_owned()),
    });
    assert_eq!(worst(&status, 0), ("matrix".to_owned(), Warning));
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
            |it| {
                it.radio.silence = Some("no region".to_owned());
                it.radio.silence_hint = Some("set one".to_owned());
            },
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
                it.rooms[0].problems = vec!["no channel `club`".to_owned()];
                it.rooms[0].hint = Some("map another".to_owned());
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
                // The rooms are not known yet.
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
    // A room that is no longer mapped is reported while rows wait for it.
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
    assert_eq!(hint, "ask an admin");
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
