//! The machine as a client sees it: connection, handshake, heartbeat, clock, restarts.

use super::*;
use crate::harness::{ClientAnswer, Harness, answers, packets};
use relay_wire::proto::Heartbeat;

const MINUTE: Duration = Duration::from_mins(1);

fn ids(frames: &[ToClient]) -> Vec<u32> {
    packets(frames)
        .into_iter()
        .map(|packet| packet.id)
        .collect()
}

fn is_status(frame: &ToClient) -> bool {
    matches!(frame, ToClient::QueueStatus(status) if status.mesh_packet_id == 0 && status.res == 0)
}

#[test]
fn nothing_comes_before_the_client_asks_but_the_answer_to_a_heartbeat() {
    let mut harness = Harness::new(3);
    harness.machine.on_connect(harness.now);
    assert_eq!(harness.hear(r#"{"text": "hi"}"#), []);
    let frames = harness.heartbeat(2);
    assert_eq!(frames.len(), 1);
    assert!(is_status(&frames[0]));
}

#[test]
fn three_heartbeats_in_one_segment_get_one_answer() {
    let mut harness = Harness::live(3);
    for nonce in [0, 2, 3] {
        harness.write(FromClient::Heartbeat(Heartbeat { nonce }));
    }
    let frames = harness.frames();
    assert!(frames.len() == 1 && is_status(&frames[0]), "{frames:?}");
}

#[test]
fn heartbeat_nonce_1_announces_the_node_and_gets_no_answer_of_its_own() {
    let mut harness = Harness::live(3);
    let frames = harness.heartbeat(1);
    let [ToClient::QueueStatus(status)] = frames.as_slice() else {
        panic!("{frames:?}");
    };
    assert_ne!(status.mesh_packet_id, 0);
}

#[test]
fn the_first_client_after_a_start_gets_an_unsolicited_status() {
    let mut harness = Harness::new(3);
    let frames = harness.connect();
    assert!(frames.len() == 1 && is_status(&frames[0]), "{frames:?}");
    assert_eq!(harness.connect(), []);
}

#[test]
fn live_packets_wait_until_the_configuration_is_told() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "slow_config", "ms": 100}"#);
    harness.machine.on_connect(harness.now);
    assert_eq!(harness.tell(FromClient::WantConfigId(5)), []);
    let mut frames = harness.wait(Duration::from_secs(2));
    assert!(!frames.is_empty());
    assert_eq!(harness.hear(r#"{"text": "hi", "id": 9}"#), []);
    let heartbeat = harness.heartbeat(2);
    assert!(
        heartbeat.len() == 1 && is_status(&heartbeat[0]),
        "answered all the same"
    );
    frames.extend(harness.wait(Duration::from_secs(10)));
    let complete = frames
        .iter()
        .position(|frame| *frame == ToClient::ConfigCompleteId(5));
    let text = frames
        .iter()
        .position(|frame| matches!(frame, ToClient::Packet(_)));
    assert!(complete.unwrap() < text.unwrap());
}

#[test]
fn a_configuration_can_stay_unfinished() {
    let mut harness = Harness::new(3);
    harness.fault(r#"{"fault": "never_complete"}"#);
    harness.machine.on_connect(harness.now);
    let frames = harness.tell(FromClient::WantConfigId(5));
    assert!(frames.len() > 30);
    assert!(!frames.contains(&ToClient::ConfigCompleteId(5)));
    assert_eq!(harness.wait(MINUTE), []);
}

#[test]
fn asking_again_restarts_the_series() {
    let mut harness = Harness::live(3);
    let frames = harness.tell(FromClient::WantConfigId(0));
    assert!(matches!(frames.first(), Some(ToClient::MyInfo(_))));
    assert_eq!(frames.last(), Some(&ToClient::ConfigCompleteId(0)));
}

#[test]
fn a_packet_before_the_handshake_is_sent_and_its_status_comes_after_it() {
    let mut harness = Harness::live(3);
    harness.machine.on_connect(harness.now);
    let text = harness.text(7, "early");
    assert_eq!(harness.send(text), []);
    let frames = harness.tell(FromClient::WantConfigId(5));
    assert_eq!(answers(&frames, 7), [ClientAnswer::Status(0)]);
    assert_eq!(
        frames.last(),
        Some(&ToClient::QueueStatus(QueueStatus {
            res: 0,
            free: 15,
            maxlen: 16,
            mesh_packet_id: 7,
        }))
    );
}

#[test]
fn what_comes_while_the_client_is_away_comes_after_the_next_handshake_in_order() {
    let mut harness = Harness::live(3);
    harness.machine.on_disconnect(harness.now);
    for id in 1..=40 {
        harness.hear(&format!(r#"{{"text": "x", "id": {id}}}"#));
    }
    assert_eq!(ids(&harness.connect()), (9..=40).collect::<Vec<u32>>());
    assert_eq!(harness.connect(), [], "each is told once");
}

#[test]
fn a_radio_that_does_not_notice_the_end_loses_what_comes_meanwhile() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "unnoticed_close"}"#);
    harness.machine.on_disconnect(harness.now);
    harness.hear(r#"{"text": "lost", "id": 1}"#);
    assert_eq!(harness.connect(), []);
    harness.tell(FromClient::Disconnect(true));
    harness.hear(r#"{"text": "kept", "id": 2}"#);
    assert_eq!(ids(&harness.connect()), [2]);
}

#[test]
fn disconnect_closes_the_connection_and_nothing_more_is_heard_of_it() {
    let mut harness = Harness::live(3);
    harness.write(FromClient::Disconnect(true));
    let soon = harness.machine.deadline().unwrap();
    assert!(soon - harness.now < Duration::from_millis(250));
    assert!(harness.machine.take_close(soon));
    assert_eq!(harness.heartbeat(2), []);
}

#[test]
fn a_client_that_is_silent_for_15_minutes_is_dropped_whatever_it_is_told() {
    let mut harness = Harness::live(3);
    harness.wait(MINUTE * 14);
    harness.heartbeat(2);
    harness.fault(r#"{"fault": "telemetry"}"#);
    assert!(harness.wait(MINUTE * 14).len() > 10);
    assert!(!harness.closed);
    harness.wait(MINUTE);
    assert!(harness.closed);
}

#[test]
fn the_radios_own_telemetry_comes_each_minute_from_its_own_number() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "telemetry"}"#);
    harness.fault(r#"{"fault": "channel_use", "percent": 33}"#);
    assert_eq!(packets(&harness.frames()).len(), 1, "it is told at once");
    let frames = harness.wait(MINUTE * 10);
    let own = harness.own();
    let telemetry = packets(&frames);
    assert_eq!(
        telemetry.len(),
        11,
        "ten of the device, one of its statistics"
    );
    assert!(
        telemetry
            .iter()
            .all(|packet| packet.from == own && packet.rx_snr == 0.0)
    );
}

#[test]
fn a_restart_empties_the_queues_unsets_the_clock_and_is_counted() {
    let mut harness = Harness::live(3);
    harness.machine.clock = Some((1_800_000_000, harness.now));
    harness.machine.on_disconnect(harness.now);
    harness.hear(r#"{"text": "forgotten"}"#);
    harness.fault(r#"{"fault": "reboot"}"#);
    harness.machine.on_connect(harness.now);
    let frames = harness.tell(FromClient::WantConfigId(5));
    let Some(ToClient::MyInfo(info)) = frames.first() else {
        panic!("{frames:?}");
    };
    assert_eq!(info.reboot_count, 2);
    assert!(packets(&frames).is_empty());
    let frames = harness.hear(r#"{"text": "new"}"#);
    assert_eq!(packets(&frames)[0].rx_time, 0);
}

#[test]
fn a_radio_that_reads_late_limits_texts_by_when_it_read_them() {
    let mut harness = Harness::live(3);
    harness.fault(r#"{"fault": "slow_reads"}"#);
    let mut limited = 0;
    for id in 1..=25 {
        let text = harness.text(id, "paced by the clock");
        harness.write(FromClient::Packet(text));
        harness.wait(Duration::from_millis(2100));
        let lost = harness
            .fates(id)
            .contains(&crate::lines::report::Fate::RateLimited);
        limited += u32::from(lost);
    }
    assert!((1..25).contains(&limited), "{limited}");
}

#[test]
fn garbage_in_frames_is_ignored_and_the_session_goes_on() {
    let mut harness = Harness::live(3);
    for frame in [
        &[][..],
        &[0xFF],
        &[0x0A, 0x7F],
        &[0x94, 0xC3, 0, 1],
        &[0x0A, 0],
    ] {
        harness.machine.on_to_radio(frame, harness.now);
    }
    assert_eq!(harness.frames(), []);
    assert_eq!(harness.heartbeat(2).len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_frame_makes_the_machine_panic_or_speak_before_it_is_asked(
        frames in proptest::collection::vec(proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64), 0..20),
    ) {
        let mut harness = Harness::new(3);
        harness.machine.on_connect(harness.now);
        for frame in &frames {
            harness.machine.on_to_radio(frame, harness.now);
            harness.wait(Duration::from_secs(1));
        }
    }
}

#[test]
fn a_radio_keeps_8_16_or_32_packets_for_an_absent_client() {
    for capacity in [8, 16, 32] {
        let mut harness = Harness::live(3);
        harness.fault(&format!(r#"{{"fault": "queue", "capacity": {capacity}}}"#));
        harness.machine.on_disconnect(harness.now);
        for id in 1..=40 {
            harness.hear(&format!(r#"{{"text": "x", "id": {id}}}"#));
            let ports = if id % 2 == 0 { 66 } else { 3 };
            harness.hear(&format!(
                r#"{{"text": "y", "port": {ports}, "id": {}}}"#,
                id + 100
            ));
        }
        let kept = ids(&harness.connect());
        assert_eq!(kept.len(), capacity);
        assert_eq!(
            kept.last(),
            Some(&140),
            "a range test pushes the oldest out, too"
        );
        assert!(!kept.contains(&139), "a position does not");
    }
}
