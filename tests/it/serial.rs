//! The radio on a serial port: a pseudo-terminal behind a symbolic link with a stable name, as in `/dev/serial/by-id`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::process::PortHolder;
use crate::support::radio::{BASE, Radio};
use crate::support::scene::Plan;
use crate::support::user::Kind;
use crate::text::carries_text_both_ways;

fn device_behind(link: &Path) -> PathBuf {
    std::fs::read_link(link).expect("the link leads somewhere")
}

#[tokio::test]
async fn a_text_crosses_both_ways_over_a_cable() {
    let scene = Plan::one_room(Kind::Plain).over_serial().start().await;
    carries_text_both_ways(scene, Kind::Plain).await;
}

#[tokio::test]
async fn what_the_radio_prints_is_in_the_log_line_by_line_without_texts_of_messages() {
    let mut scene = Plan::one_room(Kind::Plain).over_serial().start().await;
    scene.carries("hello").await;
    scene
        .relay
        .logs("INFO | 12:00:08 68 [DeviceTelemetry] Send packet to phone")
        .await;
    let log = scene.relay.log();
    let link = scene.home.path("radio");
    assert!(log.contains(&format!(
        "the radio is looked for link=serial {}",
        link.display()
    )));
    let printed = log
        .lines()
        .filter(|line| line.contains("relay::radio::console"));
    for line in printed {
        assert!(line.contains("DEBUG"), "{line}");
        assert!(!line.contains("[32m"), "{line}");
    }
    assert!(log.contains("Received text msg from=0x1, id=0x2, msg=…"));
    assert!(!log.contains("secret of the mesh"));
}

#[tokio::test]
async fn a_text_that_the_radio_prints_is_neither_in_the_log_nor_taken_for_a_start() {
    let mut scene = Plan::one_room(Kind::Plain).over_serial().start().await;
    scene.carries("before").await;
    let text = "one line\nrst:0x1 another\n//\\ E S H T";
    scene.radio.says(BASE, 0, text).await;
    let shown = format!("[Base Camp/LongFast]: {text}");
    scene.alice.sees_text(&scene.room, &shown).await;
    scene.carries("after").await;
    let log = scene.relay.log();
    assert!(log.contains("Received text msg from="), "it was printed");
    for word in ["one line", "another", "E S H T", "looking whether"] {
        assert!(!log.contains(word), "{word}");
    }
}

#[tokio::test]
async fn a_radio_that_was_unplugged_is_found_under_its_new_name() {
    let mut scene = Plan::one_room(Kind::Plain).over_serial().start().await;
    let link = scene.home.path("radio");
    for round in 0..3 {
        scene.carries(&format!("before {round}")).await;
        let device = device_behind(&link);
        scene
            .radio
            .fault(json!({"fault": "away", "seconds": 2}))
            .await;
        let gone = "there is no serial port";
        scene.relay.logs_times(gone, round + 1).await;
        scene
            .alice
            .send(&scene.room, &format!("while it was away {round}"))
            .await;
        let waited = format!("Alice[M]: while it was away {round}");
        scene.radio.transmits(&waited).await;
        assert_ne!(device_behind(&link), device);
    }
}

#[tokio::test]
async fn the_relay_waits_for_a_port_that_is_not_there_yet() {
    let stage = Plan::one_room(Kind::Plain).over_serial().set_up().await;
    let link = stage.home.path("radio");
    let config = std::fs::read_to_string(stage.home.path("config.yaml")).expect("it was written");
    let later = stage.home.path("later");
    stage
        .home
        .configure(&config.replace(&link.display().to_string(), &later.display().to_string()));
    let mut scene = stage.raise_the_curtain().await;
    scene.relay.logs("there is no serial port").await;
    scene.radio = Radio::start_at(&later).await;
    scene.carries("here I am").await;
}

#[tokio::test]
async fn a_radio_that_restarts_in_the_middle_of_a_frame_is_asked_again() {
    let mut scene = Plan::one_room(Kind::Plain).over_serial().start().await;
    for round in 0..2 {
        scene.carries(&format!("before restart {round}")).await;
        scene
            .radio
            .fault(json!({"fault": "reboot", "seconds": 1}))
            .await;
        scene
            .alice
            .send(&scene.room, &format!("meanwhile {round}"))
            .await;
        let meanwhile = format!("Alice[M]: meanwhile {round}");
        scene.radio.transmits(&meanwhile).await;
        scene.carries(&format!("after restart {round}")).await;
    }
    scene.relay.logs("entry 0x403c98d0").await;
    let lost = "cannot read from the radio";
    assert!(!scene.relay.log().contains(lost), "the port stayed open");
}

/// Such a radio answers heartbeats, but would never send anything else.
#[tokio::test]
async fn a_radio_that_has_forgotten_its_client_is_noticed_by_its_log() {
    let mut scene = Plan::one_room(Kind::Plain).over_serial().start().await;
    scene.carries("before").await;
    scene
        .radio
        .fault(json!({"fault": "close", "mid_frame": true}))
        .await;
    scene.radio.writes(r#"{"client":"closed"}"#).await;
    scene.radio.says(BASE, 0, "kept in the radio").await;
    let kept = "[Base Camp/LongFast]: kept in the radio";
    scene.alice.sees_text(&scene.room, kept).await;
    scene.carries("after").await;
    scene.relay.logs("the radio is as it was").await;
}

/// Behind a USB-to-UART bridge the port stays open, whatever the radio does.
#[tokio::test]
async fn a_restart_behind_an_open_port_is_noticed_however_many_there_were() {
    let mut scene = Plan::one_room(Kind::Plain).over_serial().start().await;
    for round in 0..4 {
        scene.carries(&format!("before {round}")).await;
        scene
            .radio
            .fault(json!({"fault": "reboot", "seconds": 0}))
            .await;
        let text = format!("kept in the radio {round}");
        scene.radio.says(BASE, 0, &text).await;
        let shown = format!("[Base Camp/LongFast]: {text}");
        scene.alice.sees_text(&scene.room, &shown).await;
    }
    let lost = "cannot read from the radio";
    assert!(!scene.relay.log().contains(lost), "the port stayed open");
}

#[tokio::test]
async fn a_radio_that_prints_its_log_now_and_then_stays_ready() {
    let mut scene = Plan::one_room(Kind::Plain).over_serial().start().await;
    for round in 0..3 {
        let line = "WARN  | 12:00:00 3 [Power] battery low";
        scene
            .radio
            .fault(json!({"fault": "log", "text": line}))
            .await;
        scene.carries(&format!("after line {round}")).await;
    }
    scene.relay.logs("the radio is as it was").await;
    let log = scene.relay.log();
    assert_eq!(log.matches("radio ready").count(), 1);
    assert!(!log.contains("asking the radio for its configuration again"));
}

#[tokio::test]
async fn lines_and_noise_between_frames_cost_no_message() {
    let mut scene = Plan::one_room(Kind::Plain).over_serial().start().await;
    for round in 0..10 {
        for fault in [
            json!({"fault": "log", "text": "E (1234) \u{1b}[31mwifi\u{1b}[0m: no memory"}),
            json!({"fault": "garbage", "hex": "949494c3ffff94"}),
            json!({"fault": "garbage", "bytes": 300}),
            json!({"fault": "split", "on": round % 2 == 0}),
        ] {
            scene.radio.fault(fault).await;
            scene
                .radio
                .says(BASE, 0, &format!("number {round} —à"))
                .await;
        }
    }
    scene.carries("the last word").await;
    let bodies = scene.alice.messages(&scene.room);
    let bodies: Vec<_> = bodies.iter().map(|seen| seen.body().to_owned()).collect();
    let wanted =
        (0..10).flat_map(|round| vec![format!("[Base Camp/LongFast]: number {round} —à"); 4]);
    let last = ["[Base Camp/LongFast]: the last word", "the last word"].map(str::to_owned);
    assert_eq!(bodies, wanted.chain(last).collect::<Vec<_>>());
    scene.relay.logs("E (1234) wifi: no memory").await;
    let looked = "looking whether the radio is as it was";
    assert!(!scene.relay.log().contains(looked));
}

#[tokio::test]
async fn a_port_in_use_is_told_with_its_user_and_taken_once_it_is_free() {
    let stage = Plan::one_room(Kind::Plain).over_serial().set_up().await;
    let holder = PortHolder::open(&stage.home.path("radio"), true);
    let mut scene = stage.raise_the_curtain().await;
    let logged = scene.relay.logs("is in use by").await;
    assert!(logged.contains(&holder.name()), "{logged}");
    drop(holder);
    scene.carries("free at last").await;
}

/// Root can open every port, and not every program locks its port.
#[tokio::test]
async fn a_port_that_another_program_has_open_too_is_warned_of() {
    let stage = Plan::one_room(Kind::Plain).over_serial().set_up().await;
    let holder = PortHolder::open(&stage.home.path("radio"), false);
    let scene = stage.raise_the_curtain().await;
    let told = scene
        .relay
        .logs("other programs have the radio's serial port open, too")
        .await;
    assert!(told.contains("WARN"), "{told}");
    assert!(told.contains(&holder.name()), "{told}");
}

#[tokio::test]
async fn an_ordinary_user_is_told_who_may_open_the_port_and_needs_no_restart_then() {
    let mut stage = Plan::one_room(Kind::Plain).over_serial().set_up().await;
    stage.home.use_ordinary_rights();
    let device = device_behind(&stage.home.path("radio"));
    let rights = |mode| {
        let rights = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&device, rights).expect("the port is ours");
    };
    rights(0o000);
    let mut scene = stage.raise_the_curtain().await;
    let line = scene.relay.logs("may not open the serial port").await;
    assert!(line.contains("add its user to the group"), "{line}");
    assert!(line.contains("Permission denied"), "{line}");
    rights(0o600);
    scene.carries("come in").await;
}

#[tokio::test]
async fn an_ordinary_users_relay_that_was_killed_has_its_port_back_at_its_next_start() {
    let mut stage = Plan::one_room(Kind::Plain).over_serial().set_up().await;
    stage.home.use_ordinary_rights();
    let mut scene = stage.raise_the_curtain().await;
    for round in 0..2 {
        scene.carries(&format!("before its end {round}")).await;
        scene.relay.kill().await;
        scene.relay = scene.home.start().await;
    }
    scene.carries("as if nothing had been").await;
    assert!(!scene.relay.log().contains("is in use"));
}
