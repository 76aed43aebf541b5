//! A radio on Bluetooth: text crosses, and the link comes back after everything that can happen to it.
//!
//! With the built relay, and a fake Bluetooth service on the test's own message bus.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;
use serde_json::json;

use crate::support::bluetooth::Bluetooth;
use crate::support::bluez::{ADDRESS, ALIAS, NAME};
use crate::support::gatt::Gatt;
use crate::support::radio::{BASE, Radio};
use crate::support::relay::{Home, Relay, text_of};
use crate::support::scene::{Plan, Scene};
use crate::support::user::Kind;
use crate::support::within;
use crate::text::carries_text_both_ways;

const READY: &str = "radio ready";
const PIN: u32 = 123_456;
const USED: &str = "is used by another program on this computer";

fn by(device: &str) -> Vec<String> {
    vec![
        "connection_type: ble".to_owned(),
        format!("ble_address: '{device}'"),
    ]
}

/// A scene whose radio is on Bluetooth.
async fn scene(bluetooth: &mut Bluetooth, kind: Kind) -> Scene {
    let radio = bluetooth.take_radio();
    let environment = Some(bluetooth.environment());
    let plan = Plan::one_room(kind).radio(radio, by(ADDRESS), environment);
    plan.start().await
}

/// A relay without a homeserver: enough for tests of the link.
struct Lone {
    bluetooth: Bluetooth,
    radio: Radio,
    relay: Relay,
    home: Home,
}

/// Starts a lone relay with this device; further keys follow those of the connection.
fn lone(mut bluetooth: Bluetooth, device: &str, keys: &[&str]) -> Lone {
    let mut home = Home::new();
    let rooms = "matrix_rooms: [{id: '!room:example.org', meshtastic_channel: 0}]\nmeshtastic:\n";
    let connection = by(device);
    let keys = connection
        .iter()
        .map(String::as_str)
        .chain(keys.iter().copied());
    let keys: String = keys.flat_map(|key| ["  ", key, "\n"]).collect();
    home.configure(&format!("{rooms}{keys}"));
    home.set_environment(bluetooth.environment());
    let relay = home.spawn();
    Lone {
        radio: bluetooth.take_radio(),
        bluetooth,
        relay,
        home,
    }
}

#[tokio::test]
async fn a_text_crosses_both_ways_over_bluetooth() {
    let Some(mut bluetooth) = Bluetooth::start().await else {
        return;
    };
    let scene = scene(&mut bluetooth, Kind::Encrypted).await;
    carries_text_both_ways(scene, Kind::Encrypted).await;
}

#[tokio::test]
async fn a_lost_link_is_made_again() {
    let Some(mut bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut scene = scene(&mut bluetooth, Kind::Plain).await;
    let bluez = bluetooth.service();
    scene.carries("before").await;
    bluez.lose_link().await;
    let line = "error=\"the Bluetooth link to the radio is lost\"";
    scene.relay.logs(line).await;
    scene.carries("after").await;
    assert_eq!(bluez.count("Connect while searching"), 0);
    assert_eq!(bluez.count("StartDiscovery"), bluez.count("StopDiscovery"));
    assert_eq!((bluez.searches(), bluez.subscriptions()), (0, 1));
}

#[tokio::test]
async fn a_link_that_is_lost_while_the_radio_is_read_costs_no_more_than_that_packet() {
    let Some(mut bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut scene = scene(&mut bluetooth, Kind::Plain).await;
    let bluez = bluetooth.service();
    scene.carries("before").await;
    for round in 0..2 {
        bluez.hold_reads(true);
        let reads = bluez.count("ReadValue");
        scene.radio.says(BASE, 0, "on its way").await;
        bluez.is_called("ReadValue", reads + 1).await;
        bluez.lose_link().await;
        bluez.hold_reads(false);
        scene.carries(&format!("after {round}")).await;
    }
    bluetooth.air.radio(Gatt::hang_up_at_read);
    scene.radio.says(BASE, 0, "never read").await;
    scene
        .relay
        .logs_times("the Bluetooth link has ended", 3)
        .await;
    scene.carries("after all").await;
}

#[tokio::test]
async fn a_link_that_is_lost_while_services_are_resolved_is_noticed_at_once() {
    let Some(bluetooth) = Bluetooth::start().await else {
        return;
    };
    let bluez = bluetooth.service();
    bluez.hold_services(true);
    let lone = lone(bluetooth, ADDRESS, &[]);
    bluez.is_called("Connect", 1).await;
    bluez.lose_link().await;
    bluez.hold_services(false);
    lone.relay
        .logs("was lost while its services were read")
        .await;
    lone.relay.logs(READY).await;
}

#[tokio::test]
async fn a_relay_that_ends_while_it_connects_leaves_no_link() {
    let Some(bluetooth) = Bluetooth::start().await else {
        return;
    };
    let bluez = bluetooth.service();
    bluez.hold_services(true);
    let mut lone = lone(bluetooth, ADDRESS, &[]);
    bluez.is_called("Connect", 1).await;
    assert!(lone.relay.stop().await.success());
    assert!(!lone.bluetooth.air.radio(|radio| radio.is_linked()));
}

#[tokio::test]
async fn a_bluetooth_service_that_ends_and_comes_back_is_waited_for() {
    let Some(mut bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut scene = scene(&mut bluetooth, Kind::Plain).await;
    scene.carries("before").await;
    bluetooth.end_service().await;
    scene.relay.logs("error=\"the Bluetooth service").await;
    scene
        .relay
        .logs("the Bluetooth service does not answer")
        .await;
    scene.alice.send(&scene.room, "meanwhile").await;
    bluetooth.start_service().await;
    scene.radio.transmits("Alice[M]: meanwhile").await;
    scene.carries("after").await;
}

#[tokio::test]
async fn a_message_bus_that_ends_and_comes_back_is_waited_for() {
    let Some(mut bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut scene = scene(&mut bluetooth, Kind::Plain).await;
    scene.carries("before").await;
    for round in 0..2 {
        bluetooth.end_bus().await;
        scene
            .relay
            .logs_times("D-Bus does not answer", round + 1)
            .await;
        bluetooth.start_bus().await;
        bluetooth.start_service().await;
        scene.carries(&format!("after {round}")).await;
    }
}

#[tokio::test]
async fn a_radio_that_is_removed_from_the_list_is_found_again() {
    let Some(mut bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut scene = scene(&mut bluetooth, Kind::Plain).await;
    scene.carries("before").await;
    bluetooth.service().remove_device().await;
    scene.carries("after").await;
}

#[tokio::test]
async fn the_link_of_a_killed_relay_is_taken_over() {
    let Some(mut bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut scene = scene(&mut bluetooth, Kind::Plain).await;
    scene.carries("before").await;
    scene.relay.kill().await;
    assert!(bluetooth.air.radio(|radio| radio.is_linked()));
    scene.radio.says(BASE, 0, "meanwhile").await;
    scene.relay = scene.home.start().await;
    scene.relay.logs("taking it over").await;
    scene.carries("after").await;
}

#[tokio::test]
async fn another_program_that_uses_the_radio_keeps_it_and_is_named() {
    let Some(bluetooth) = Bluetooth::start().await else {
        return;
    };
    let bluez = bluetooth.service();
    let program = bluetooth.another_program().await;
    let lone = lone(bluetooth, NAME, &[]);
    let logged = lone.relay.logs(USED).await;
    let cure = format!("`bluetoothctl disconnect {ADDRESS}`");
    assert!(logged.contains(NAME) && logged.contains(&cure), "{logged}");
    lone.relay.logs_times("still no link to the radio", 2).await;
    assert_eq!(
        (bluez.count("Disconnect"), bluez.count("WriteValue")),
        (0, 0)
    );
    // The relay is killed; the Bluetooth service keeps the link.
    drop(program);
    lone.relay.logs("taking it over").await;
    lone.relay.logs(READY).await;
}

#[tokio::test]
async fn a_command_of_another_home_takes_nothing_from_the_relay() {
    let Some(mut bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut scene = scene(&mut bluetooth, Kind::Plain).await;
    scene.carries("before").await;
    let mut home = Home::new();
    home.set_environment(bluetooth.environment());
    for round in 0..3 {
        let output = home.run(["radio", "info", "--ble", ADDRESS]).await;
        let text = text_of(&output);
        let used = "is used by the relay in `";
        assert!(!output.status.success() && text.contains(used), "{text}");
        let its_home = scene.home.path("").display().to_string();
        assert!(text.contains(its_home.trim_end_matches('/')), "{text}");
        scene.carries(&format!("after {round}")).await;
    }
    let bluez = bluetooth.service();
    assert_eq!((bluez.count("Connect"), bluez.count("Disconnect")), (1, 0));
}

#[tokio::test]
async fn a_lost_link_that_another_program_makes_again_is_its_own() {
    let Some(bluetooth) = Bluetooth::start().await else {
        return;
    };
    let bluez = bluetooth.service();
    let lone = lone(bluetooth, ADDRESS, &[]);
    lone.relay.logs(READY).await;
    let program = lone.bluetooth.another_program().await;
    bluez.change_hands().await;
    lone.relay.logs(USED).await;
    assert_eq!(bluez.count("Disconnect"), 0);
    drop(program);
    lone.relay.logs_times(READY, 2).await;
}

#[tokio::test]
async fn a_relay_that_ends_ends_the_link() {
    let Some(bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut lone = lone(bluetooth, ADDRESS, &[]);
    lone.relay.logs(READY).await;
    assert!(lone.relay.stop().await.success());
    assert!(!lone.bluetooth.air.radio(|radio| radio.is_linked()));
    // The radio may have hung up first, when it heard that we leave.
    assert!(lone.bluetooth.service().count("Disconnect") <= 1);
    lone.radio.writes(r#"{"client":"closed"}"#).await;
}

#[tokio::test]
async fn what_the_doorbell_does_not_tell_is_read_all_the_same() {
    let Some(mut bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut scene = scene(&mut bluetooth, Kind::Plain).await;
    scene.carries("before").await;
    bluetooth.air.radio(Gatt::ring_zero);
    bluetooth.air.radio(|radio| radio.miss_doorbells(1000));
    scene.carries("after").await;
}

#[tokio::test]
async fn a_radio_is_found_by_its_name_and_by_the_one_that_a_person_gave_it() {
    for device in [NAME, ALIAS] {
        let Some(bluetooth) = Bluetooth::start().await else {
            return;
        };
        let lone = lone(bluetooth, device, &[]);
        lone.relay.logs(READY).await;
    }
}

#[tokio::test]
async fn a_radio_is_paired_once_by_its_pin() {
    let Some(bluetooth) = Bluetooth::start().await else {
        return;
    };
    let bluez = bluetooth.service();
    bluetooth.air.radio(|radio| radio.set_pin(Some(PIN)));
    let lone = lone(bluetooth, ADDRESS, &["ble_pin: 123456"]);
    lone.relay.logs(READY).await;
    bluez.lose_link().await;
    lone.relay.logs_times(READY, 2).await;
    assert_eq!(bluez.count("Pair"), 1);
    assert_eq!(bluez.count("RegisterAgent KeyboardOnly"), 1);
    assert_eq!(bluez.count("UnregisterAgent"), 1);
    assert!(!lone.relay.log().contains("123456"));
}

#[tokio::test]
async fn a_wrong_pin_and_a_missing_one_are_told_with_the_cure() {
    for (keys, told) in [
        (&["ble_pin: '000001'"][..], "refuses the PIN"),
        (&[][..], "wants to be paired"),
    ] {
        let Some(bluetooth) = Bluetooth::start().await else {
            return;
        };
        bluetooth.air.radio(|radio| radio.set_pin(Some(PIN)));
        let mut lone = lone(bluetooth, NAME, keys);
        let told = lone.relay.logs(told).await;
        // Another attempt would be another request on the radio's screen.
        assert!(told.contains("delay_ms=60000"), "{told}");
        let log = lone.relay.log();
        let news = log.lines().filter(|line| line.contains(" INFO "));
        assert!(
            !news.into_iter().any(|line| line.contains("pairing")),
            "{log}"
        );
        // The person who reads it sets the radio's PIN off.
        lone.bluetooth.air.radio(|radio| radio.set_pin(None));
        assert!(lone.relay.stop().await.success());
        lone.relay = lone.home.spawn();
        lone.relay.logs(READY).await;
    }
}

#[tokio::test]
async fn an_adapter_that_is_off_stays_off_until_a_person_switches_it_on() {
    let Some(bluetooth) = Bluetooth::start().await else {
        return;
    };
    let bluez = bluetooth.service();
    bluez.set_powered(false).await;
    let lone = lone(bluetooth, ADDRESS, &[]);
    lone.relay.logs("the Bluetooth adapter is off").await;
    bluez.set_powered(true).await;
    lone.relay.logs(READY).await;
    bluez.set_powered(false).await;
    lone.relay
        .logs_times("the Bluetooth adapter is off", 2)
        .await;
    bluez.set_powered(true).await;
    lone.relay.logs_times(READY, 2).await;
    assert_eq!(bluez.count("Powered"), 0);
}

#[tokio::test]
async fn an_adapter_that_was_off_is_on_when_the_radio_is_looked_for() {
    let Some(bluetooth) = Bluetooth::start().await else {
        return;
    };
    let bluez = bluetooth.service();
    let mut lone = lone(bluetooth, ADDRESS, &[]);
    lone.relay.logs(READY).await;
    let searches = bluez.count("StartDiscovery");
    // The loss of the link is signalled first; the signal about the adapter is delayed.
    bluez.set_powered(false).await;
    lone.relay.logs("the Bluetooth adapter is off").await;
    lone.radio
        .fault(json!({"fault": "away", "seconds": 2}))
        .await;
    bluez.set_powered(true).await;
    lone.relay.logs_times(READY, 2).await;
    assert_eq!(bluez.count("StartDiscovery"), searches + 1);
}

#[tokio::test]
async fn a_missing_service_and_a_missing_adapter_are_told_with_the_cure() {
    let Some(bluetooth) = Bluetooth::start_without_service().await else {
        return;
    };
    let lone = lone(bluetooth, ADDRESS, &[]);
    lone.relay
        .logs("the Bluetooth service does not answer")
        .await;
    lone.bluetooth.start_service_with(false).await;
    lone.relay
        .logs("this computer has no Bluetooth adapter")
        .await;
    lone.bluetooth.end_service().await;
    lone.bluetooth.start_service().await;
    lone.relay.logs(READY).await;
}

#[tokio::test]
async fn a_radio_out_of_reach_is_told_and_the_search_ended() {
    let Some(bluetooth) = Bluetooth::start().await else {
        return;
    };
    let mut lone = lone(bluetooth, ADDRESS, &[]);
    lone.relay.logs(READY).await;
    lone.radio
        .fault(json!({"fault": "away", "seconds": 3600}))
        .await;
    lone.relay.logs("was not found within 20 s").await;
    let bluez = lone.bluetooth.service();
    let searches = bluez.count("StartDiscovery");
    bluez.is_called("StopDiscovery", searches).await;
}

/// Returns how many files a process has open.
fn open_files(process: Pid) -> usize {
    let directory = format!("/proc/{}/fd", process.as_raw_nonzero());
    fs::read_dir(directory).map_or(0, Iterator::count)
}

#[tokio::test]
async fn links_that_come_and_go_leave_no_file_open() {
    const LINKS: usize = 15;
    let Some(bluetooth) = Bluetooth::start().await else {
        return;
    };
    let bluez = bluetooth.service();
    let lone = lone(bluetooth, ADDRESS, &[]);
    lone.relay.logs(READY).await;
    let before = open_files(lone.relay.pid());
    assert!(before > 3, "the relay has files open");
    bluez.hold_services(true);
    bluez.lose_link().await;
    for number in 2..=LINKS {
        bluez.is_called("Connect", number).await;
        bluez.lose_link().await;
    }
    bluez.hold_services(false);
    lone.relay.logs_times(READY, 2).await;
    let closed = async {
        while open_files(lone.relay.pid()) > before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within("as few open files as before", closed).await;
}
