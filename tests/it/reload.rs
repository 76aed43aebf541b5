//! A service's SIGHUP: the relay reads its configuration again and follows it, message by message; what needs a restart is
//! named, a broken file changes nothing, and a log file that was moved away is made anew.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use matrix_sdk::ruma::OwnedRoomId;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tokio::net::UnixDatagram;
use tokio::time::sleep;

use crate::status::status_tells;
use crate::support::limit::within;
use crate::support::radio::BASE;
use crate::support::relay::Home;
use crate::support::scene::{Plan, Scene};
use crate::support::synapse::{Synapse, Trouble};
use crate::support::user::{Kind, Seen, said_in};

/// What the relay says after each reading that it follows.
const FOLLOWED: &str = "the configuration was read again, and is followed now";

fn mesh(text: &str) -> String {
    format!("[Base Camp/LongFast]: {text}")
}

/// Asks the relay to read its configuration for the `times`-th time, and waits until it follows it.
async fn reload(scene: &Scene, times: usize) {
    scene.relay.signal(Signal::HUP);
    scene.relay.logs_times(FOLLOWED, times).await;
}

/// Adds a line below `matrix_rooms`.
fn map(scene: &Scene, room: &OwnedRoomId, channel: u8) {
    let added = format!("matrix_rooms:\n  - {{id: '{room}', meshtastic_channel: {channel}}}");
    scene.home.reconfigure("matrix_rooms:", &added);
}

/// Returns what was said on the mesh and stands in a room, in order.
async fn in_room(scene: &Scene, room: &OwnedRoomId) -> Vec<String> {
    let history = scene.alice.history(room).await;
    let said = history.iter().filter_map(|seen| said_in(seen.body()));
    said.map(str::to_owned).collect()
}

#[tokio::test]
async fn rooms_come_and_go_while_messages_flow_and_none_is_lost_or_doubled() {
    let mut scene = Plan::one_room(Kind::Encrypted).start().await;
    let first = scene.room.clone();
    let invited = [scene.bot.clone()];
    let second = scene.alice.create_room(Kind::Encrypted, &invited).await;
    scene.alice.send(&second, "from before it was mapped").await;

    let mut said = Vec::new();
    for number in 0..12 {
        let text = format!("far {number}");
        scene.radio.says(BASE, 0, &text).await;
        scene.alice.send(&first, &format!("near {number}")).await;
        said.push(text);
        match number {
            3 => {
                map(&scene, &second, 0);
                scene.relay.signal(Signal::HUP);
            }
            // In the middle of that.
            5 => scene.relay.signal(Signal::HUP),
            _ => {}
        }
    }
    scene.alice.sees_join(&second, &scene.bot).await;
    scene
        .relay
        .logs(&format!("room joined room={second} name="))
        .await;
    // It begins at the join, and is relayed both ways.
    scene.alice.send(&second, "in the new room").await;
    scene.radio.transmits("Alice[M]: in the new room").await;
    scene.radio.says(BASE, 0, "to both rooms").await;
    said.push("to both rooms".to_owned());
    scene.alice.sees_text(&second, &mesh("to both rooms")).await;
    scene.alice.sees_text(&first, &mesh("to both rooms")).await;
    scene.radio.transmits("Alice[M]: near 11").await;
    assert_eq!(in_room(&scene, &first).await, said);
    let texts = scene.radio.texts();
    let near: Vec<_> = texts.iter().filter(|it| it.contains("near")).collect();
    let expected: Vec<_> = (0..12).map(|it| format!("Alice[M]: near {it}")).collect();
    assert_eq!(near, expected.iter().collect::<Vec<_>>());
    assert!(!texts.iter().any(|it| it.contains("before it was mapped")));

    // The first goes.
    let gone = format!("  - {{id: '{first}', meshtastic_channel: 0, direction: both}}\n");
    scene.home.reconfigure(&gone, "");
    let before = scene.relay.log().matches(FOLLOWED).count();
    reload(&scene, before + 1).await;
    scene.alice.send(&first, "into the void").await;
    scene.radio.says(BASE, 0, "for one room alone").await;
    scene
        .alice
        .sees_text(&second, &mesh("for one room alone"))
        .await;
    scene.alice.send(&second, "still here").await;
    scene.radio.transmits("Alice[M]: still here").await;
    assert_eq!(in_room(&scene, &first).await, said);
    let texts = scene.radio.texts();
    assert!(
        !texts.iter().any(|it| it.contains("into the void")),
        "{texts:?}"
    );
    // With a restart it is the same.
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.start().await;
    scene.radio.says(BASE, 0, "after a restart").await;
    scene
        .alice
        .sees_text(&second, &mesh("after a restart"))
        .await;
    assert_eq!(in_room(&scene, &first).await, said);
}

#[tokio::test]
async fn who_may_transmit_prefixes_and_levels_follow_at_once_and_what_needs_a_restart_is_named() {
    let plan = Plan::one_room(Kind::Plain).matrix("min_power_level: 0");
    let mut scene = plan
        .meshtastic("prefix_format: '{display}: '")
        .start()
        .await;
    let room = scene.room.clone();
    // The level of the tests is a flag, which would beat the file.
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.spawn_with(&[]);
    scene.alice.send(&room, "one").await;
    scene.radio.transmits("Alice: one").await;
    assert!(!scene.relay.log().contains("accepted for the mesh"));

    scene.home.reconfigure(
        "prefix_format: '{display}: '",
        "prefix_format: '<{display}> '",
    );
    let config = fs::read_to_string(scene.home.path("config.yaml")).unwrap();
    scene
        .home
        .configure(&format!("{config}logging: {{level: debug}}\n"));
    reload(&scene, 1).await;
    let line = scene.relay.logs(FOLLOWED).await;
    assert!(
        line.contains("meshtastic.prefix_format, logging.level"),
        "{line}"
    );
    scene.alice.send(&room, "two").await;
    scene.radio.transmits("<Alice> two").await;
    scene.relay.logs("accepted for the mesh").await;

    scene
        .home
        .reconfigure("min_power_level: 0", "allowed_users: ['@nobody:localhost']");
    reload(&scene, 2).await;
    let event = scene.alice.send(&room, "three").await;
    scene.sees_sign(&room, &event, "🚫").await;
    scene.home.reconfigure(
        "allowed_users: ['@nobody:localhost']",
        "allowed_users: ['@*:localhost']",
    );
    reload(&scene, 3).await;
    scene.alice.send(&room, "four").await;
    scene.radio.transmits("<Alice> four").await;
    assert!(!scene.radio.texts().iter().any(|it| it.contains("three")));

    // The radio's place is a matter of a restart, and nothing else changes.
    let port = format!("port: {}", scene.radio.port());
    scene.home.reconfigure(&port, "port: 1");
    scene.relay.signal(Signal::HUP);
    let line = scene.relay.logs("needs a restart").await;
    assert!(line.contains("key=\"meshtastic.port\""), "{line}");
    scene
        .relay
        .logs("the configuration was read again: nothing changes")
        .await;
    let needs = |status: &Value| status["configuration"]["need_restart"][0] == "meshtastic.port";
    let status = status_tells(&scene.home, "what needs a restart", needs).await;
    assert_eq!(status["radio"]["connection"]["port"], scene.radio.port());
    scene.radio.says(BASE, 0, "the same radio").await;
    scene.alice.sees_text(&room, &mesh("the same radio")).await;
    // Said is what happened: no log file is written, and the radio was known before.
    let log = scene.relay.log();
    assert!(!log.contains("opened anew"), "{log}");
    assert_eq!(log.matches("the radio is known").count(), 1, "{log}");
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_all_that_is_wrong_is_told() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let room = scene.room.clone();
    let good = fs::read_to_string(scene.home.path("config.yaml")).unwrap();
    let secret = "matrix: {allowed_users: [alice], password: 'hunter2-swordfish'}\nlogging: {levle: debug}\n";
    scene.home.configure(&format!("{good}{secret}"));
    scene.relay.signal(Signal::HUP);
    scene.relay.logs("nothing changes: the relay goes on").await;
    let log = scene.relay.log();
    for problem in [
        "`alice` is not a user id",
        "logging.levle: unknown key; did you mean `level`?",
    ] {
        assert!(log.contains(problem), "{problem} is missing: {log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
    scene.alice.send(&room, "still").await;
    scene.radio.transmits("Alice[M]: still").await;
    scene.radio.says(BASE, 0, "still").await;
    scene.alice.sees_text(&room, &mesh("still")).await;
    let failed = |status: &Value| status["configuration"]["failed"]["cause"].is_string();
    status_tells(&scene.home, "that it failed", failed).await;

    // Not even YAML, and no file at all.
    scene
        .home
        .configure("matrix: [password: 'hunter2-swordfish'");
    scene.relay.signal(Signal::HUP);
    scene
        .relay
        .logs_times("nothing changes: the relay goes on", 2)
        .await;
    fs::remove_file(scene.home.path("config.yaml")).unwrap();
    scene.relay.signal(Signal::HUP);
    scene
        .relay
        .logs_times("nothing changes: the relay goes on", 3)
        .await;
    assert!(!scene.relay.log().contains("hunter2"));

    scene.home.configure(&good);
    scene.relay.signal(Signal::HUP);
    scene
        .relay
        .logs("the configuration was read again: nothing changes")
        .await;
    let well = |status: &Value| status["configuration"]["failed"].is_null();
    status_tells(&scene.home, "that it is well again", well).await;
    scene.alice.send(&room, "as before").await;
    scene.radio.transmits("Alice[M]: as before").await;
}

#[tokio::test]
async fn a_log_file_that_was_moved_away_is_made_anew_and_no_line_is_lost_between() {
    let mut scene = Plan::one_room(Kind::Plain).start().await;
    let room = scene.room.clone();
    let config = fs::read_to_string(scene.home.path("config.yaml")).unwrap();
    let logging = "logging: {level: debug, log_to_file: true}\n";
    scene.home.configure(&format!("{config}{logging}"));
    // A running relay begins to write one, too.
    reload(&scene, 1).await;
    let (file, moved) = (
        scene.home.path("logs/relay.log"),
        scene.home.path("logs/relay.log.old"),
    );
    let mut sent = 0;
    for turn in 0..3 {
        for _ in 0..4 {
            scene.radio.says(BASE, 0, &format!("number {sent}")).await;
            sent += 1;
        }
        if turn == 1 {
            fs::rename(&file, &moved).unwrap();
            scene.relay.signal(Signal::HUP);
        }
    }
    scene.alice.sees_text(&room, &mesh("number 11")).await;
    assert!(scene.relay.stop().await.success());
    let text = |path| fs::read_to_string(path).unwrap();
    let (old, new) = (text(&moved), text(&file));
    assert!(!new.is_empty(), "nothing in the new file");
    let posted = |text: &str| text.matches("accepted for a room").count();
    assert_eq!(posted(&old) + posted(&new), 12, "{old}\n---\n{new}");
    // Whatever standard error was told since then stands in one of the two.
    let log = scene.relay.log();
    let (_, after) = log.split_once(FOLLOWED).expect("it was said");
    for line in after.lines().skip(1) {
        assert!(
            old.contains(line) || new.contains(line),
            "{line} is missing"
        );
    }
    assert!(scene.relay.log().lines().count() > 20);
}

/// Returns whether a process catches SIGHUP, by the system's word.
fn catches_hangups(process: Pid) -> bool {
    let status = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(status).expect("it runs");
    let caught = status.lines().find_map(|it| it.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.expect("there is a mask") & 1 == 1
}

#[tokio::test]
async fn a_wish_that_comes_before_the_relay_has_read_anything_ends_nothing_and_is_obeyed_later() {
    let home = Home::new();
    // Opening it waits for the other side.
    let (config, ready) = (home.path("config.yaml"), home.path("ready.yaml"));
    mknodat(CWD, &config, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe can be made");
    let mut relay = home.spawn();
    let caught = async {
        while !catches_hangups(relay.pid()) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    within("that the relay catches SIGHUP", caught).await;
    relay.signal(Signal::HUP);
    let mut pipe = fs::OpenOptions::new()
        .write(true)
        .open(&config)
        .expect("the relay reads it");
    let yaml = "matrix_rooms: [{id: '!a:localhost', meshtastic_channel: 0}]\n\
                meshtastic: {connection_type: tcp, host: 127.0.0.1, port: 1}\n";
    fs::write(&ready, yaml)
        .and_then(|()| fs::rename(&ready, &config))
        .expect("it is there for later");
    pipe.write_all(yaml.as_bytes()).expect("the relay reads it");
    drop(pipe);
    relay.logs("relay is ready").await;
    relay
        .logs("the configuration was read again: nothing changes")
        .await;
    assert!(relay.stop().await.success());
}

#[tokio::test]
async fn a_change_waits_for_no_homeserver_that_hangs_and_what_is_being_sent_arrives_once() {
    let (synapse, _trouble) = Synapse::unreliable().await;
    let stage = Plan::one_room(Kind::Encrypted).set_up_on(synapse).await;
    let mut scene = stage.raise_the_curtain().await;
    let bot = std::slice::from_ref(&scene.bot);
    let second = scene.alice.create_room(Kind::Encrypted, bot).await;
    synapse.does(Trouble::Hang);
    scene.radio.says(BASE, 0, "into the queue").await;
    scene.relay.logs("accepted for a room").await;
    map(&scene, &second, 0);
    reload(&scene, 1).await;
    scene.radio.says(BASE, 0, "with the new rooms").await;
    synapse.does(Trouble::Resume);
    scene.alice.sees_join(&second, &scene.bot).await;
    let last = mesh("with the new rooms");
    let at_end = |seen: &Seen| seen.body().ends_with("with the new rooms");
    scene.alice.sees(&scene.room, &last, at_end).await;
    let said = in_room(&scene, &scene.room).await;
    assert_eq!(said, ["into the queue", "with the new rooms"]);
}

#[tokio::test]
async fn the_service_manager_is_told_that_the_relay_reads_and_when_it_is_done() {
    let mut home = Home::new();
    let socket = home.path("notify");
    let manager = UnixDatagram::bind(&socket).expect("a socket can be made");
    home.set_environment(("NOTIFY_SOCKET", socket.display().to_string()));
    home.configure(
        "matrix_rooms: [{id: '!a:localhost', meshtastic_channel: 0}]\n\
         meshtastic: {connection_type: tcp, host: 127.0.0.1, port: 1}\n",
    );
    // How it stands is another test's.
    let next = async || {
        loop {
            let mut bytes = [0; 200];
            let size = within("word to the service manager", manager.recv(&mut bytes)).await;
            let word = String::from_utf8_lossy(&bytes[..size.expect("it comes")]).into_owned();
            if !word.starts_with("STATUS=") {
                return word;
            }
        }
    };
    let relay = home.start().await;
    assert_eq!(next().await.trim(), "READY=1");
    for config in ["", "wrong: true\n"] {
        let before = fs::read_to_string(home.path("config.yaml")).expect("it was written");
        home.configure(&format!("{before}{config}"));
        relay.signal(Signal::HUP);
        let begins = next().await;
        assert!(
            begins.starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{begins}"
        );
        // It works on, whatever is wrong with the file.
        assert_eq!(next().await.trim(), "READY=1");
    }
}
