//! The configuration and its faults, restarts, and packets after a handshake.

use super::*;
use crate::harness::{Harness, content, packets};
use crate::{Firmware, simulated_radio::SimulatedRadio};
use relay_wire::proto::{Channel, config, to_radio::PayloadVariant as FromClient};

const MINUTE: Duration = Duration::from_mins(1);

fn with_firmware(firmware: Firmware, neighbours: usize) -> Harness {
    let mut harness = Harness::new(neighbours);
    harness.machine.state.firmware = firmware;
    harness
}

/// Connects again, and returns all frames of the handshake and after it.
fn handshake(harness: &mut Harness) -> Vec<ToClient> {
    harness.machine.on_connect(harness.now);
    harness.tell(FromClient::WantConfigId(5))
}

fn channels(frames: &[ToClient]) -> Vec<&Channel> {
    let channels = frames.iter().filter_map(|frame| match frame {
        ToClient::Channel(channel) => Some(channel),
        _ => None,
    });
    channels.collect()
}

fn names(frames: &[ToClient]) -> Vec<String> {
    let settings = channels(frames).into_iter().map(|it| it.settings.clone());
    settings.map(|it| it.unwrap_or_default().name).collect()
}

fn preset(frames: &[ToClient]) -> (bool, i32) {
    let lora = frames.iter().find_map(|frame| match frame {
        ToClient::Config(part) => match &part.payload_variant {
            Some(config::PayloadVariant::Lora(lora)) => Some(lora),
            _ => None,
        },
        _ => None,
    });
    let lora = lora.expect("the radio's set-up");
    (lora.use_preset, lora.modem_preset)
}

fn texts(frames: &[ToClient]) -> Vec<u32> {
    let texts = packets(frames)
        .into_iter()
        .filter(|packet| packets::port_of(packet) == Some(1));
    texts.map(|packet| packet.id).collect()
}

#[test]
fn firmware_2_8_tells_what_it_kept_of_other_nodes_after_each_handshake_with_the_same_ids() {
    let mut harness = with_firmware(Firmware::V2_8, 3);
    let first = harness.connect();
    let again = harness.connect();
    let kept = packets(&again);
    assert_eq!(packets(&first), kept);
    let ports: Vec<i32> = kept.iter().map(|packet| content(packet).portnum).collect();
    assert_eq!(ports, [3, 67, 67, 36, 3, 67, 67, 36, 3, 67, 67, 36]);
    for packet in &kept {
        assert_ne!(packet.from, harness.own());
        assert_eq!((packet.to, packet.channel), (u32::MAX, 0));
        assert_eq!((packet.rx_rssi, packet.transport_mechanism), (0, 1));
        assert!(
            packet.rx_time < 1_767_225_601,
            "when the node was last heard"
        );
    }
    assert_eq!(with_firmware(Firmware::V2_7, 3).connect().len(), 1);
}

#[test]
fn what_waited_comes_before_what_was_kept_of_other_nodes() {
    let mut harness = with_firmware(Firmware::V2_8, 3);
    harness.hear(r#"{"text": "news", "id": 9}"#);
    let frames = harness.connect();
    assert_eq!(packets(&frames)[0].id, 9);
}

#[test]
fn firmware_2_8_shows_no_packets_that_it_cannot_read() {
    for (firmware, shown) in [(Firmware::V2_7, 1), (Firmware::V2_8, 0)] {
        let mut harness = with_firmware(firmware, 0);
        harness.connect();
        let frames = harness.hear(r#"{"from": 9, "text": "secret", "encrypted": true}"#);
        assert_eq!(frames.len(), shown);
    }
}

#[test]
fn a_configuration_can_take_ten_seconds_with_pauses() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "slow_config", "ms": 200}"#);
    harness.machine.on_connect(harness.now);
    assert_eq!(harness.tell(FromClient::WantConfigId(5)), []);
    let frames = harness.wait(Duration::from_secs(9));
    assert!(!frames.contains(&ToClient::ConfigCompleteId(5)));
    let frames = harness.wait(Duration::from_secs(9));
    assert!(frames.contains(&ToClient::ConfigCompleteId(5)));
}

#[test]
fn a_configuration_can_go_on_for_ever() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "endless_config"}"#);
    handshake(&mut harness);
    let frames = harness.wait(MINUTE * 5);
    assert!(frames.len() > 2000);
    assert!(!frames.contains(&ToClient::ConfigCompleteId(5)));
    harness.fault(r#"{"fault": "endless_config", "on": false}"#);
    assert!(
        harness
            .wait(MINUTE)
            .contains(&ToClient::ConfigCompleteId(5))
    );
}

#[test]
fn the_end_of_an_older_configuration_can_come_first() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "stale_complete", "nonce": 4}"#);
    let frames = handshake(&mut harness);
    assert_eq!(frames.first(), Some(&ToClient::ConfigCompleteId(4)));
    assert!(matches!(frames.get(1), Some(ToClient::MyInfo(_))));
    assert_eq!(frames.last(), Some(&ToClient::ConfigCompleteId(5)));
    let frames = handshake(&mut harness);
    assert!(matches!(frames.first(), Some(ToClient::MyInfo(_))));
}

#[test]
fn frames_of_the_configuration_can_be_lost() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "lost_frames", "from": 5, "count": 2}"#);
    let indexes = |frames: &[ToClient]| -> Vec<i32> {
        channels(frames)
            .iter()
            .map(|channel| channel.index)
            .collect()
    };
    assert_eq!(indexes(&handshake(&mut harness)), [0, 3, 4, 5, 6, 7]);
    assert_eq!(indexes(&handshake(&mut harness)).len(), 8);
}

#[test]
fn the_connection_can_end_in_the_middle_of_the_configuration() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "hang_up", "after": 7}"#);
    let frames = handshake(&mut harness);
    assert_eq!(frames.len(), 7);
    assert!(harness.machine.take_close(harness.now));
    assert_eq!(
        handshake(&mut harness).last(),
        Some(&ToClient::ConfigCompleteId(5))
    );
}

#[test]
fn channels_renamed_and_moved_and_another_preset_show_after_a_restart() {
    let mut harness = Harness::live(3);
    assert_eq!(names(&handshake(&mut harness))[..3], ["", "bridge", "club"]);
    assert_eq!(preset(&handshake(&mut harness)), (true, 0));
    for fault in [
        r#"{"fault": "swap_channels", "first": 1, "second": 2}"#,
        r#"{"fault": "channel", "index": 1, "name": "society"}"#,
        r#"{"fault": "preset", "number": 4}"#,
        r#"{"fault": "reboot"}"#,
    ] {
        harness.fault(fault);
    }
    let frames = handshake(&mut harness);
    assert_eq!(names(&frames)[..3], ["", "society", "bridge"]);
    assert_eq!(preset(&frames), (true, 4));
    harness.fault(r#"{"fault": "preset"}"#);
    assert_eq!(preset(&handshake(&mut harness)), (false, 0));
}

#[test]
fn a_locked_radio_says_so_after_a_blank_configuration_and_carries_nothing() {
    let mut harness = with_firmware(Firmware::V2_8, 3);
    harness.fault(r#"{"fault": "locked"}"#);
    let lockdown = |harness: &mut Harness| -> Vec<i32> {
        let newer = std::mem::take(&mut harness.newer);
        let states = newer.into_iter().filter_map(|it| it.lockdown_status);
        states.map(|status| status.state).collect()
    };
    let frames = handshake(&mut harness);
    assert!(channels(&frames).iter().all(|it| it.role == 0));
    assert_eq!(
        frames.last(),
        Some(&ToClient::QueueStatus(relay_wire::proto::QueueStatus {
            res: 0,
            free: 16,
            maxlen: 16,
            mesh_packet_id: 0
        },))
    );
    assert_eq!(lockdown(&mut harness), [i32::from(State::Locked)]);
    assert_eq!(harness.hear(r#"{"text": "hi", "id": 9}"#), []);
    let text = harness.text(7, "hello");
    assert_eq!(harness.send(text), []);
    assert_eq!(harness.wait(MINUTE), []);
    harness.fault(r#"{"fault": "locked", "on": false}"#);
    assert_eq!(texts(&harness.frames()), [9]);
    assert_eq!(lockdown(&mut harness), [i32::from(State::Unlocked)]);
}

#[test]
fn a_store_and_forward_server_tells_all_texts_again_after_each_handshake() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "store_forward_server"}"#);
    harness.machine.clock = Some((1_800_000_000, harness.now));
    assert_eq!(texts(&harness.hear(r#"{"text": "one", "id": 1}"#)), [1]);
    harness.machine.on_disconnect(harness.now);
    for id in 2..=50 {
        harness.hear(&format!(r#"{{"text": "x", "id": {id}}}"#));
    }
    harness.now += MINUTE;
    for _ in 0..2 {
        let frames = harness.connect();
        assert_eq!(texts(&frames), (1..=50).collect::<Vec<u32>>());
        assert_eq!(packets(&frames)[0].rx_time, 1_800_000_000);
    }
    harness.fault(r#"{"fault": "reboot"}"#);
    assert!(texts(&harness.connect()).is_empty());
}

#[test]
fn a_restart_on_the_same_connection_forgets_all_and_waits_to_be_asked() {
    let mut harness = Harness::live(3);
    harness.machine.on_disconnect(harness.now);
    harness.hear(r#"{"text": "forgotten"}"#);
    harness.machine.on_connect(harness.now);
    harness.fault(r#"{"fault": "rebooted"}"#);
    assert!(!harness.closed);
    assert_eq!(harness.hear(r#"{"text": "held", "id": 9}"#), []);
    let frames = harness.tell(FromClient::WantConfigId(6));
    let Some(ToClient::MyInfo(info)) = frames.first() else {
        panic!("{frames:?}");
    };
    assert_eq!(info.reboot_count, 2);
    assert_eq!(texts(&frames), [9]);
}

#[test]
fn the_same_packet_can_come_again_after_a_restart_and_the_radios_own_ids_are_new() {
    let mut harness = Harness::live(3);
    let say = r#"{"text": "hi", "id": 9}"#;
    let own = r#"{"text": "its id is the radio's choice"}"#;
    let before = [texts(&harness.hear(say)), texts(&harness.hear(own))];
    harness.fault(r#"{"fault": "reboot"}"#);
    harness.connect();
    let after = [texts(&harness.hear(say)), texts(&harness.hear(own))];
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
}

#[test]
fn a_client_on_another_link_takes_every_second_packet() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "other_transport"}"#);
    let mut seen = Vec::new();
    for id in 1..=6 {
        seen.extend(texts(
            &harness.hear(&format!(r#"{{"text": "x", "id": {id}}}"#)),
        ));
    }
    assert_eq!(seen, [2, 4, 6]);
    assert_eq!(harness.connect(), [], "what the other took is gone");
}

#[test]
fn a_talkative_radio_puts_its_log_and_notifications_between_all_frames() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "chatter"}"#);
    let frames = handshake(&mut harness);
    let chatter = |frame: &ToClient| {
        matches!(
            frame,
            ToClient::LogRecord(_) | ToClient::ClientNotification(_)
        )
    };
    assert!(frames.iter().step_by(2).all(chatter));
    assert!(!frames.iter().skip(1).step_by(2).any(chatter));
    assert!(
        frames
            .iter()
            .any(|frame| matches!(frame, ToClient::ClientNotification(_)))
    );
    assert_eq!(harness.hear(r#"{"text": "hi"}"#).len(), 2);
    harness.fault(r#"{"fault": "chatter", "on": false}"#);
    harness.fault(r#"{"fault": "log_record", "text": "one of its own"}"#);
    let frames = harness.frames();
    assert!(
        matches!(&frames[..], [ToClient::LogRecord(record)] if record.message == "one of its own")
    );
}

#[test]
fn older_firmware_keeps_a_client_that_is_silent() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "patient"}"#);
    harness.wait(MINUTE * 60);
    assert!(!harness.closed);
    assert_eq!(harness.heartbeat(2).len(), 1);
}

#[test]
fn two_hundred_and_fifty_nodes_are_told_with_their_odd_names() {
    let mut harness = Harness::new(250);
    harness.machine.on_connect(harness.now);
    let frames = harness.tell(FromClient::WantConfigId(5));
    let nodes: Vec<_> = frames
        .iter()
        .filter_map(|frame| match frame {
            ToClient::NodeInfo(node) => Some(node),
            _ => None,
        })
        .collect();
    assert_eq!(nodes.len(), 251);
    let long = |node: &&&relay_wire::proto::NodeInfo| {
        node.user.as_ref().map_or(0, |user| user.long_name.len())
    };
    assert!(nodes.iter().any(|node| node.user.is_none()));
    assert!(nodes.iter().any(|node| node.last_heard == 0));
    assert_eq!(nodes.iter().map(|node| long(&node)).max(), Some(39));
}

#[test]
fn a_radio_can_belong_to_a_licensed_amateur_and_says_so_at_the_next_handshake() {
    let mut harness = Harness::new(1);
    harness.fault(r#"{"fault": "licensed"}"#);
    let frames = handshake(&mut harness);
    let own = harness.own();
    let licensed = frames.iter().any(|frame| match frame {
        ToClient::NodeInfo(info) if info.num == own => {
            info.user.as_ref().is_some_and(|user| user.is_licensed)
        }
        _ => false,
    });
    assert!(licensed, "{frames:?}");
}

#[test]
fn a_notification_comes_as_it_was_ordered() {
    let mut harness = Harness::live(1);
    harness.fault(r#"{"fault": "notification", "text": "too hot", "reply_id": 9}"#);
    match harness.frames().as_slice() {
        [ToClient::ClientNotification(told)] => {
            assert_eq!((told.message.as_str(), told.reply_id), ("too hot", Some(9)));
        }
        other => panic!("{other:?}"),
    }
}
