//! The log's file and levels, as whoever runs the relay sets them. No homeserver is needed.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::relay::Home;

fn home(logging: &str) -> Home {
    let home = Home::new();
    home.configure(&format!(
        "matrix_rooms: [{{id: '!a:localhost', meshtastic_channel: 0}}]\n\
         meshtastic: {{connection_type: tcp, host: 127.0.0.1, port: 1}}\nlogging: {{{logging}}}\n"
    ));
    home
}

#[tokio::test]
async fn the_file_is_begun_anew_at_its_size_and_so_many_old_ones_are_kept() {
    for (keep, names) in [
        (0, vec!["relay.log"]),
        (2, vec!["relay.log", "relay.log.1", "relay.log.2"]),
    ] {
        let logging = format!("log_to_file: true, max_log_size: 2048, backup_count: {keep}");
        let home = home(&logging);
        let mut relay = home.spawn_with(&[]);
        relay.logs("relay is ready").await;
        for times in 1..=60 {
            relay.signal(Signal::HUP);
            relay.logs_times("nothing changes", times).await;
        }
        assert!(relay.stop().await.success());
        let files = fs::read_dir(home.path("logs")).expect("there are logs");
        let mut found: Vec<_> = files
            .map(|file| file.expect("it can be read").file_name())
            .collect();
        found.sort();
        assert_eq!(found, names);
        let mut whole = String::new();
        for name in names.iter().rev() {
            let text = fs::read_to_string(home.path("logs").join(name)).expect("it was written");
            assert!(
                !text.is_empty() && text.len() <= 2048,
                "{name}: {}",
                text.len()
            );
            whole.push_str(&text);
        }
        assert!(relay.log().ends_with(whole.trim_end()), "{whole}");
    }
}

#[tokio::test]
async fn a_part_has_its_own_level_each_line_is_json_and_a_full_disk_is_told_once() {
    let home = home(
        "level: error, debug: {radio: debug, daemon: info}, format: json, log_to_file: true, filename: /dev/full",
    );
    let mut relay = home.spawn_with(&[]);
    relay.logs("still no link to the radio").await;
    assert!(relay.stop().await.success());
    let (mut full, mut debug) = (0, 0);
    for line in relay.log().lines() {
        let line: Value = serde_json::from_str(line).expect("each line is JSON");
        let (level, target) = (&line["level"], line["target"].as_str().expect("a target"));
        match level.as_str().expect("a level") {
            "DEBUG" => {
                debug += 1;
                assert!(target.starts_with("relay::radio"), "{line}");
            }
            "INFO" => assert!(target.starts_with("relay::daemon"), "{line}"),
            "WARN" if target == "relay::telemetry" => {
                full += 1;
                assert_eq!(line["path"], "/dev/full", "{line}");
                assert_eq!(line["hint"], "make room on the disk", "{line}");
            }
            "WARN" => assert!(target.starts_with("relay::radio"), "{line}"),
            level => assert_eq!(level, "ERROR", "{line}"),
        }
    }
    assert_eq!(full, 1);
    assert!(debug > 0);
}
