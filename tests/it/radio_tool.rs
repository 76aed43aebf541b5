//! `relay radio`: shows a radio and sends with it, without the daemon and without Matrix.

use std::process::Output;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::radio::{BASE, Radio, SUMMIT, leaves};
use crate::support::relay::{Home, text_of};
use crate::support::scene::Plan;
use crate::support::synapse::free_port;
use crate::support::user::Kind;

fn host_of(radio: &Radio) -> String {
    format!("127.0.0.1:{}", radio.port())
}

/// Runs `relay radio` with that radio.
async fn with(home: &Home, radio: &Radio, arguments: &[&str]) -> Output {
    let host = host_of(radio);
    let mut all = vec!["radio"];
    all.extend(arguments);
    all.extend(["--host", &host]);
    home.run(all).await
}

fn json_of(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text_of(output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(output)))
}

fn lines_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", text_of(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, words: &[&str]) {
    let text = text_of(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

fn configure(home: &Home, radio: &Radio) {
    home.configure(&format!(
        "matrix_rooms:\n  - {{id: '!room:example.org', meshtastic_channel: 0}}\nmeshtastic:\n  \
         connection_type: tcp\n  host: 127.0.0.1\n  port: {}\n",
        radio.port()
    ));
}

#[tokio::test]
async fn a_radio_tells_what_it_is_which_channels_it_has_and_whom_it_knows() {
    let (home, mut radio) = (Home::new(), Radio::start().await);
    radio.says(BASE, 0, "before anybody came").await;

    let output = with(&home, &radio, &["info"]).await;
    let lines = lines_of(&output);
    for word in [
        "firmware     2.7.26",
        "region       US",
        "preset       LongFast",
        "transmit     on",
    ] {
        assert!(lines.contains(word), "`{word}` is missing in: {lines}");
    }
    // A radio delivers its stored messages once: the command that receives them shows them.
    let text = text_of(&output);
    assert!(
        text.contains("Base Camp (!0a0b0c01): before anybody came"),
        "{text}"
    );
    let told = json_of(&with(&home, &radio, &["info", "--json"]).await);
    assert_eq!(told["hardware"], "PORTDUINO");
    assert_eq!(told["role"], "CLIENT");
    assert_eq!(told["hop_limit"], 3);
    assert_eq!(told["transmit"], true);
    assert!(
        told["node"]
            .as_str()
            .is_some_and(|node| node.starts_with('!'))
    );

    let told = lines_of(&with(&home, &radio, &["channels"]).await);
    assert!(told.contains("0        LongFast  primary"), "{told}");
    let told = json_of(&with(&home, &radio, &["channels", "--json"]).await);
    assert_eq!(
        told[0],
        json!({"channel": 0, "name": "LongFast", "role": "primary"})
    );
    assert_eq!(told.as_array().map(Vec::len), Some(3), "{told}");

    let nodes = json_of(&with(&home, &radio, &["nodes", "--json"]).await);
    let nodes = nodes.as_array().expect("a list");
    assert_eq!(nodes[0]["own"], true);
    let base = nodes.iter().find(|node| node["node"] == BASE.id);
    let base = base.unwrap_or_else(|| panic!("{nodes:?}"));
    assert_eq!(
        (&base["long_name"], &base["own"]),
        (&BASE.long.into(), &false.into())
    );
    let told = lines_of(&with(&home, &radio, &["nodes"]).await);
    assert!(
        told.contains(BASE.id) && told.contains("Base Camp"),
        "{told}"
    );

    let log = radio.log();
    assert!(
        !log.contains("transmitted"),
        "looking transmits nothing: {log}"
    );
}

#[tokio::test]
async fn a_text_is_sent_and_what_became_of_it_is_told() {
    let (home, mut radio) = (Home::new(), Radio::start().await);
    let told = json_of(
        &with(
            &home,
            &radio,
            &["send", "--channel", "0", "hello", "--json"],
        )
        .await,
    );
    assert_eq!(
        (&told["taken"], &told["fate"]),
        (&true.into(), &"heard".into()),
        "{told}"
    );
    let packet = radio.transmits("hello").await;
    assert_eq!(
        (&packet["id"], &packet["channel"]),
        (&told["packet"], &0.into())
    );

    radio.fault(json!({"fault": "nobody_repeats"})).await;
    let output = with(
        &home,
        &radio,
        &["send", "--channel", "LongFast", "anybody?"],
    )
    .await;
    let lines = lines_of(&output);
    assert!(
        lines.contains("accepted: the radio took it") && lines.contains("unheard:"),
        "{lines}"
    );
    radio.transmits("anybody?").await;
}

#[tokio::test]
async fn what_the_radio_does_not_take_fails_with_the_reason_and_the_cure() {
    let (home, mut radio) = (Home::new(), Radio::start().await);
    let output = with(&home, &radio, &["send", "--channel", "7", "hello"]).await;
    assert_fails(
        &output,
        1,
        &["no channel `7`", "0 (LongFast)", "relay radio channels"],
    );
    let long = "x".repeat(233);
    let output = with(&home, &radio, &["send", "--channel", "0", &long]).await;
    assert_fails(&output, 2, &["233 bytes", "232"]);

    radio.fault(json!({"fault": "refuse", "error": 38})).await;
    let output = with(&home, &radio, &["send", "--channel", "0", "once more"]).await;
    assert!(lines_of(&output).contains("heard"), "{}", text_of(&output));

    radio.fault(json!({"fault": "duty_cycle"})).await;
    let output = with(&home, &radio, &["send", "--channel", "0", "too much"]).await;
    assert_fails(
        &output,
        1,
        &["not sent: the duty cycle is used up: try again in"],
    );

    radio.fault(json!({"fault": "region_unset"})).await;
    let output = with(
        &home,
        &radio,
        &["send", "--channel", "0", "nowhere", "--json"],
    )
    .await;
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&told["taken"], &told["fate"]),
        (&false.into(), &"refused".into())
    );
    assert!(
        told["hint"]
            .as_str()
            .is_some_and(|it| it.contains("set lora.region")),
        "{told}"
    );
    let lines = lines_of(&with(&home, &radio, &["info"]).await);
    assert!(
        lines.contains("transmit     off") && lines.contains("lora.region"),
        "{lines}"
    );

    radio.fault(json!({"fault": "locked"})).await;
    for arguments in [vec!["send", "--channel", "0", "x"], vec!["channels"]] {
        let output = with(&home, &radio, &arguments).await;
        assert_fails(
            &output,
            1,
            &["the radio is locked", "switch its lockdown off"],
        );
    }
    let told = lines_of(&with(&home, &radio, &["info"]).await);
    for word in ["transmit     no: it is locked", "firmware     not told"] {
        assert!(told.contains(word), "`{word}` is missing in: {told}");
    }
    let mut listener = home.begin(&["radio", "listen", "--host", &host_of(&radio)]);
    let cure = |line: &str| line.contains("switch its lockdown off").then_some(());
    listener.errors.first(0, "the cure", cure).await;
    assert_eq!(listener.interrupt().await.code(), Some(0));
}

#[tokio::test]
async fn what_is_heard_is_printed_until_ctrl_c_and_a_lost_link_comes_back() {
    let (home, mut radio) = (Home::new(), Radio::start().await);
    let host = host_of(&radio);
    let mut listener = home.begin(&["radio", "listen", "--json", "--host", &host]);
    let ready = |line: &str| line.contains("Ctrl-C ends").then_some(());
    listener.errors.first(0, "that it listens", ready).await;
    let hostile = "first\n\u{1b}[2Jsecond\u{202e}";
    let id = radio.says(SUMMIT, 1, hostile).await;
    let told = listener.output.first(0, "a message", |line| {
        assert!(line.is_ascii(), "{line}");
        serde_json::from_str::<Value>(line).ok()
    });
    let told = told.await;
    assert_eq!(
        (&told["text"], &told["packet"]),
        (&hostile.into(), &id.into())
    );
    assert_eq!(
        (&told["from"], &told["long_name"]),
        (&SUMMIT.id.into(), &SUMMIT.long.into())
    );
    assert_eq!(told["channel"], 1);

    radio.fault(json!({"fault": "close"})).await;
    let back = |line: &str| line.contains("the radio is there again").then_some(());
    listener
        .errors
        .first(0, "that the radio is back", back)
        .await;
    radio.says(BASE, 0, "still there?").await;
    let again = |line: &str| line.contains("still there?").then_some(());
    listener.output.first(0, "the second message", again).await;
    assert_eq!(listener.interrupt().await.code(), Some(0));

    let mut listener = home.begin(&["radio", "listen", "--host", &host]);
    listener.errors.first(0, "that it listens", ready).await;
    radio.says(SUMMIT, 0, hostile).await;
    let line = |line: &str| {
        line.ends_with("Summit Hut (!0a0b0c02): first ⏎ [2Jsecond")
            .then_some(())
    };
    listener.output.first(0, "one harmless line", line).await;
    assert_eq!(listener.interrupt().await.code(), Some(0));
}

#[tokio::test]
async fn no_message_is_taken_that_nobody_reads() {
    let (home, mut radio) = (Home::new(), Radio::start().await);
    let host = host_of(&radio);
    let ready = |line: &str| line.contains("Ctrl-C ends").then_some(());
    let arguments = ["radio", "listen", "--host", &host];
    let listener = home.begin(&arguments);
    listener.errors.first(0, "that it listens", ready).await;
    radio.says(BASE, 0, "first").await;
    let first = |line: &str| line.ends_with(": first").then_some(());
    listener.output.first(0, "the first message", first).await;
    // As behind `| head -1`.
    let (status, errors) = listener.ends_unread().await;
    assert_eq!(status.code(), Some(0), "{}", errors.text());
    let unread = |line: &str| line.contains("nobody reads the output").then_some(());
    errors.first(0, "why it ended", unread).await;

    radio.says(BASE, 0, "second").await;
    let full = std::fs::File::options().write(true).open("/dev/full");
    let full = full.expect("a disk that is full");
    let mut listener = home.begin_onto(&arguments, full.into());
    assert_eq!(listener.ends().await.code(), Some(1));
    let kept = |line: &str| line.contains("Base Camp (!0a0b0c01): second").then_some(());
    listener
        .errors
        .first(0, "what could not be written", kept)
        .await;
    let why = |line: &str| line.contains("No space left on device").then_some(());
    listener.errors.first(0, "why", why).await;
}

#[tokio::test]
async fn whatever_asks_listen_to_end_the_radio_is_told_and_other_signals_do_not_end_it() {
    let home = Home::new();
    let recording = home.path("recording");
    let file = recording.display().to_string();
    let mut radio = Radio::start_with(&["--listen", "127.0.0.1:0", "--record", &file]).await;
    let host = host_of(&radio);
    for (number, signal) in [Signal::HUP, Signal::QUIT, Signal::TERM]
        .into_iter()
        .enumerate()
    {
        let mut listener = home.begin(&["radio", "listen", "--host", &host]);
        let ready = |line: &str| line.contains("listening on").then_some(());
        listener.errors.first(0, "that it listens", ready).await;
        listener.signal(Signal::USR1);
        listener.signal(Signal::USR2);
        let text = format!("number {number}");
        radio.says(BASE, 0, &text).await;
        let said = |line: &str| line.contains(&text).then_some(());
        listener.output.first(0, "the message", said).await;
        listener.signal(signal);
        assert_eq!(listener.ends().await.code(), Some(0), "{signal:?}");
        radio.is_left(number + 1).await;
        assert_eq!(leaves(&recording), number + 1, "{signal:?}");
    }
}

#[tokio::test]
async fn a_text_may_begin_with_a_hyphen_and_a_mistyped_flag_is_none() {
    let (home, radio) = (Home::new(), Radio::start().await);
    for text in ["-h5", "-5 degrees"] {
        let arguments = ["send", "--channel", "0", text];
        lines_of(&with(&home, &radio, &arguments).await);
        radio.transmits(text).await;
    }
    let output = with(&home, &radio, &["send", "--channel", "0", "--jsn"]).await;
    assert_fails(&output, 2, &["`--jsn` is no flag", "put `--` before it"]);
    let host = host_of(&radio);
    let arguments = [
        "radio",
        "send",
        "--channel",
        "0",
        "--host",
        &host,
        "--",
        "--jsn",
    ];
    lines_of(&home.run(arguments).await);
    radio.transmits("--jsn").await;
}

#[tokio::test]
async fn a_radio_that_another_client_takes_away_is_told_with_the_cure() {
    let (home, mut radio) = (Home::new(), Radio::start().await);
    let host = host_of(&radio);
    let ready = |line: &str| line.contains("Ctrl-C ends").then_some(());
    let listener = home.begin(&["radio", "listen", "--host", &host]);
    listener.errors.first(0, "that it listens", ready).await;
    // No relay: one of those is refused.
    let other = tokio::net::TcpStream::connect(&host).await;
    let hint = |line: &str| {
        (line.contains("hint:") && line.contains("one client at a time")).then_some(())
    };
    listener.errors.first(0, "the cure", hint).await;
    drop(listener);
    drop(other);

    radio.fault(json!({"fault": "hang_up", "after": 3})).await;
    let output = with(&home, &radio, &["nodes"]).await;
    assert_fails(
        &output,
        1,
        &["the radio closed the connection", "one client at a time"],
    );
}

#[tokio::test]
async fn a_radio_that_is_not_there_is_told_with_the_cure() {
    let home = Home::new();
    let nowhere = format!("127.0.0.1:{}", free_port());
    let output = home.run(["radio", "info", "--host", &nowhere]).await;
    assert_fails(
        &output,
        1,
        &[
            "cannot reach the radio",
            &nowhere,
            "hint:",
            "relay radio scan",
        ],
    );
    assert!(output.stdout.is_empty());
    let output = home
        .run(["radio", "nodes", "--serial", "/dev/no-such-port"])
        .await;
    assert_fails(&output, 1, &["/dev/no-such-port", "plugged in?"]);
    let output = home
        .run(["radio", "info", "--host", "a", "--serial", "b"])
        .await;
    assert_fails(&output, 2, &["--host", "--serial"]);
    let output = home.run(["radio", "info", "--ble", ""]).await;
    assert_fails(&output, 2, &["--ble", "Bluetooth address or name"]);
    let output = home.run(["radio", "info"]).await;
    assert_fails(
        &output,
        2,
        &["config.yaml", "`relay config generate --home ", "--host"],
    );
}

#[tokio::test]
async fn the_configured_radio_is_taken_when_none_is_named() {
    let (home, radio) = (Home::new(), Radio::start().await);
    configure(&home, &radio);
    let json = json_of(&home.run(["radio", "info", "--json"]).await);
    assert_eq!(json["firmware"], "2.7.26.54e0d8d");
}

#[tokio::test]
async fn the_daemons_radio_is_refused_and_another_one_is_not() {
    let scene = Plan::one_room(Kind::Plain).start().await;
    scene.relay.logs("radio ready").await;
    let host = host_of(&scene.radio);
    let by_name = format!("localhost:{}", scene.radio.port());
    for arguments in [
        vec!["radio", "info"],
        vec!["radio", "listen", "--host", &host],
        vec!["radio", "nodes", "--host", &by_name],
    ] {
        let output = scene.home.run(arguments).await;
        assert_fails(
            &output,
            1,
            &[
                "the running relay (process",
                "holds this radio",
                &host,
                "stop the relay first",
            ],
        );
    }
    let other = Radio::start_with(&["--seed", "8"]).await;
    let json = json_of(&with(&scene.home, &other, &["info", "--json"]).await);
    assert!(json["node"].is_string());
    // The same radio, by its number, on another connection.
    let twin = Radio::start().await;
    let output = with(&scene.home, &twin, &["info"]).await;
    assert_fails(
        &output,
        1,
        &[
            "that the running relay holds over another connection",
            &host,
        ],
    );
    assert!(!scene.relay.log().contains("no link to the radio"));
}

#[tokio::test]
async fn a_serial_port_is_named_as_well() {
    let home = Home::new();
    let link = home.path("radio");
    let radio = Radio::start_at(&link).await;
    let json = json_of(
        &home
            .run(["radio", "channels", "--json", "--serial", radio.place()])
            .await,
    );
    assert_eq!(json[0]["name"], "LongFast");
}

/// On a machine without a network, so that no other computer's services are found.
#[cfg(all(feature = "ble", target_os = "linux"))]
mod without_network {
    use super::*;
    use crate::support::bluetooth::Bluetooth;
    use crate::support::bluez::{ADDRESS, NAME};

    #[tokio::test]
    async fn a_radio_on_bluetooth_is_found_without_a_link_to_it() {
        let Some(bluetooth) = Bluetooth::start().await else {
            return;
        };
        let mut home = Home::new();
        home.set_environment(bluetooth.environment());
        let Some(output) = home.run_without_network(&["radio", "scan", "--json"]).await else {
            return;
        };
        let found = json_of(&output);
        assert_eq!(found["ble"]["found"][0]["address"], ADDRESS, "{found}");
        assert_eq!(found["ble"]["error"], Value::Null);
        let error = found["tcp"]["error"].as_str().unwrap_or_default();
        assert!(error.contains("on no network"), "{found}");
        let bluez = bluetooth.service();
        assert_eq!(bluez.count("Connect"), 0);
        assert_eq!(bluez.count("StartDiscovery"), bluez.count("StopDiscovery"));

        let json = json_of(&home.run(["radio", "info", "--json", "--ble", NAME]).await);
        assert_eq!(json["firmware"], "2.7.26.54e0d8d");
    }

    #[tokio::test]
    async fn where_nobody_can_look_the_scan_says_why() {
        let Some(bluetooth) = Bluetooth::start_without_service().await else {
            return;
        };
        let mut home = Home::new();
        home.set_environment(bluetooth.environment());
        let scan = ["radio", "scan"];
        let Some(output) = home.run_without_network(&scan).await else {
            return;
        };
        let lines = lines_of(&output);
        assert!(
            lines.contains("cannot look: the Bluetooth service does not answer"),
            "{lines}"
        );
        assert!(
            lines.contains("cannot look: this computer is on no network"),
            "{lines}"
        );
        bluetooth.start_service_with(false).await;
        let told = home
            .run_without_network(&scan)
            .await
            .map(|output| lines_of(&output));
        assert!(told.is_some_and(|told| told.contains("has no Bluetooth adapter")));
    }
}
