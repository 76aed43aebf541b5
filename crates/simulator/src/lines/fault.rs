//! The faults by name. The machine and the wire implement them.

use serde::Deserialize;

use relay_model::NodeNum;

use super::values::{at_most, bytes, node};

/// Longest absence: a week, in seconds.
const LONGEST_AWAY: u64 = 7 * 24 * 60 * 60;
/// Longest delay: an hour, in milliseconds.
const LONGEST_PAUSE: u64 = 60 * 60 * 1000;
/// Most bytes of noise at once.
const MOST_NOISE: u64 = 1 << 20;
/// Most packets kept for an absent client.
const MOST_PACKETS: u64 = 10_000;
const WHOLE: u64 = 100;

/// A fault that begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "a line says them by name")]
pub enum Fault {
    /// The link is dead but open: nothing is read or written, and sent bytes are lost.
    HalfOpen {},
    /// Nothing is read from the client until this is switched off.
    Stall(Switch),
    /// The radio closes the connection at once.
    Close {
        #[serde(default)]
        mid_frame: bool,
        /// It ends by a reset instead of a normal end.
        #[serde(default)]
        reset: bool,
    },
    /// The radio closes the connection during the next configuration.
    HangUp {
        /// Number of frames of that configuration that are still sent.
        after: usize,
    },
    /// The radio closes the connection and accepts no other for that long.
    Away {
        #[serde(default = "number::<_, 5>")]
        #[serde(deserialize_with = "at_most::<_, _, LONGEST_AWAY>")]
        seconds: u64,
    },
    /// The radio restarts and is away for that long: queues empty, clock unset, reboot count increased.
    Reboot {
        #[serde(default = "number::<_, 5>")]
        #[serde(deserialize_with = "at_most::<_, _, LONGEST_AWAY>")]
        seconds: u64,
    },
    /// Bytes outside any frame.
    Garbage {
        /// Number of random bytes, with false headers among them.
        #[serde(default, deserialize_with = "at_most::<_, _, MOST_NOISE>")]
        bytes: usize,
        /// Exactly these bytes, instead of random ones.
        #[serde(default, deserialize_with = "bytes")]
        hex: Option<Vec<u8>>,
    },
    /// A line of debug text outside any frame, as on a serial link.
    Log {
        text: String,
    },
    /// A frame with exactly these bytes.
    Frame {
        /// The frame's content; it may be empty.
        #[serde(default, deserialize_with = "bytes")]
        hex: Option<Vec<u8>>,
    },
    /// Every byte is written separately.
    Split(Switch),
    /// Frames are held back for a while and written in one piece.
    Join {
        #[serde(default = "yes")]
        on: bool,
        #[serde(default = "number::<_, 200>")]
        #[serde(deserialize_with = "at_most::<_, _, LONGEST_PAUSE>")]
        ms: u64,
    },
    /// No node repeats or answers the client's packets.
    NobodyRepeats(Switch),
    /// How nodes answer direct messages.
    DirectAnswer {
        answer: DirectAnswer,
        /// The `Routing.Error` of `error`; by default the addressee lacks our key (`PKI_UNKNOWN_PUBKEY`).
        #[serde(default = "number::<_, 35>")]
        error: u32,
    },
    Refuse(Refusals),
    /// The next packets of the client get no answer.
    Silent {
        #[serde(default = "number::<_, 1>")]
        count: u32,
        /// They are not transmitted either, as if they had never arrived.
        #[serde(default)]
        lost: bool,
    },
    RegionUnset(Switch),
    TransmitOff(Switch),
    /// The duty cycle of the hour is exhausted.
    DutyCycle(Switch),
    /// A pause before each frame of the configuration.
    SlowConfig {
        #[serde(deserialize_with = "at_most::<_, _, LONGEST_PAUSE>")]
        ms: u64,
    },
    /// The final frame of the configuration does not come.
    NeverComplete(Switch),
    /// The configuration repeats nodes without end.
    EndlessConfig(Switch),
    /// The next configuration begins with the final frame of an older one.
    StaleComplete {
        /// Nonce of that older configuration.
        nonce: u32,
    },
    /// So many frames of the next configuration are lost, from that index on.
    LostFrames {
        /// Index of the first lost frame, from 0.
        from: usize,
        #[serde(default = "number::<_, 1>")]
        count: usize,
    },
    /// The radio is locked, as hardened firmware 2.8 can be: a blank configuration, and no packets.
    Locked(Switch),
    /// A store-and-forward server: after each handshake the radio replays all texts since its start.
    StoreForwardServer(Switch),
    /// A client on another link of the radio takes every second packet.
    OtherTransport(Switch),
    /// A log frame or a notification precedes each frame.
    Chatter(Switch),
    LogRecord {
        text: String,
    },
    /// The radio has a simulated transceiver, as in the firmware's simulator: each transmission causes a second queue
    /// status and a packet on port 69.
    SimulatedRadio(Switch),
    /// Silent clients are kept, as by firmware before 2.7.22.
    Patient(Switch),
    /// Repetitions of broadcasts arrive by MQTT.
    MqttEcho(Switch),
    /// Acknowledgements are empty instead of an explicit "no error".
    EmptyAcks(Switch),
    /// Packets for the radio itself get the queue status 35.
    ShouldRelease(Switch),
    BroadcastAnswer {
        answer: BroadcastAnswer,
    },
    /// An acknowledgement or refusal of any packet.
    Answer {
        request_id: u32,
        /// Node that answers; absent: the radio itself.
        #[serde(default, deserialize_with = "node")]
        from: Option<NodeNum>,
        /// Number of the `Routing.Error`; 0: an acknowledgement.
        #[serde(default)]
        error: u32,
    },
    /// The modem preset of the configuration, from the next handshake on.
    Preset {
        /// Number of the `ModemPreset`; absent: no preset is in use.
        number: Option<i32>,
    },
    /// Two channels swap their slots, from the next handshake on.
    SwapChannels {
        first: u32,
        second: u32,
    },
    /// After each handshake the radio sends stored packets of other nodes, as firmware 2.8 does: positions, telemetry
    /// and status, with their old ids and times.
    Cached(Switch),
    /// The radio reports a restart on the same connection.
    Rebooted {},
    /// The radio does not notice that its client has closed, and continues to write.
    UnnoticedClose(Switch),
    /// The radio reads frames after a silence up to 250 ms late; on from the start.
    SlowReads(Switch),
    /// Maximum number of packets kept for an absent client.
    Queue {
        #[serde(deserialize_with = "at_most::<_, _, MOST_PACKETS>")]
        capacity: usize,
    },
    /// Changes a channel, from the next handshake on.
    Channel(ChannelChange),
    /// The radio belongs to a licensed amateur, from the next handshake on.
    Licensed(Switch),
    Notification {
        text: String,
        /// Id of the packet that it is about; absent: none.
        reply_id: Option<u32>,
    },
    /// The radio sends its own telemetry each minute.
    Telemetry(Switch),
    /// The channel utilisation in the telemetry; also sent at once.
    ChannelUse {
        #[serde(deserialize_with = "at_most::<_, _, WHOLE>")]
        percent: u8,
    },
}

/// Whether a fault begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// True: it begins, also if absent; false: it ends.
    #[serde(default = "yes")]
    pub on: bool,
}

impl Switch {
    pub(crate) const ON: Self = Self { on: true };
}

/// Which of the next packets are refused, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusals {
    /// Number of the `Routing.Error` that they are refused with.
    pub error: u32,
    /// Number of packets that are refused.
    #[serde(default = "number::<_, 1>")]
    pub count: u32,
    /// Whether a routing packet follows; otherwise only the queue status tells.
    #[serde(default = "yes")]
    pub nak: bool,
    /// Number of packets that pass before them.
    #[serde(default)]
    pub skip: u32,
}

/// What is changed in a channel slot; what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelChange {
    pub index: u32,
    pub name: Option<String>,
    pub key: Option<Vec<u8>>,
    /// Enables it as a secondary channel, or disables it.
    pub enabled: Option<bool>,
}

/// How a broadcast is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BroadcastAnswer {
    /// By the first repetition that is heard.
    #[default]
    Usual,
    Twice,
    /// Reported as failed, then acknowledged after all.
    Late,
    /// Reported as failed, for good.
    Never,
}

/// How a node answers a direct message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectAnswer {
    /// By distance: a neighbour at once, others after a repetition.
    #[default]
    Usual,
    /// Repeated by others, but never answered by the node.
    ImplicitOnly,
    /// Answered first, then repeated by others.
    Swapped,
    Twice,
    /// Reported as failed, then answered after all.
    Late,
    /// Reported as failed, for good.
    Never,
    Error,
}

fn yes() -> bool {
    true
}

fn number<T: From<u8>, const NUMBER: u8>() -> T {
    T::from(NUMBER)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::super::input::Command;
    use super::*;

    const DOCUMENT: &str = include_str!("../../../../docs/reference/simulator.md");

    /// Returns the first two columns of a section's first table, each cell as its words in backticks.
    fn table(heading: &str) -> Vec<[Vec<&'static str>; 2]> {
        let (_, section) = DOCUMENT.split_once(heading).expect("the section is there");
        let section = section.split("\n#").next().expect("a section");
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let words = |cell: &'static str| cell.split('`').skip(1).step_by(2).collect();
        rows.map(|row| {
            let mut cells = row.split(" | ").flat_map(|cell| cell.split("| |"));
            [0, 1].map(|_| cells.next().map(words).unwrap_or_default())
        })
        .collect()
    }

    /// Returns the documented faults, each with its keys.
    pub(crate) fn documented() -> Vec<(&'static str, Vec<&'static str>)> {
        let rows = table("\n### Faults\n").into_iter();
        rows.flat_map(|[names, keys]| names.into_iter().map(move |name| (name, keys.clone())))
            .collect()
    }

    /// Returns the documented keys of a node's message.
    pub(crate) fn documented_keys() -> Vec<&'static str> {
        let rows = table("\n### What a node says\n").into_iter();
        rows.flat_map(|[keys, _]| keys).collect()
    }

    /// Returns the keys that the error for an unknown key in this line lists.
    fn expected(line: &str) -> BTreeSet<String> {
        let error = serde_json::from_str::<serde_json::Value>(line).map(|object| {
            if object.get("fault").is_some() {
                serde_json::from_value::<Fault>(object).unwrap_err()
            } else {
                serde_json::from_value::<super::super::input::Say>(object).unwrap_err()
            }
        });
        let error = error.unwrap().to_string();
        assert!(error.starts_with("unknown"), "{line}: {error}");
        error
            .split('`')
            .skip(3)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    }

    fn owned<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
        words.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn the_document_names_every_fault_and_every_key_and_no_other() {
        let documented = documented();
        let names = owned(documented.iter().map(|(name, _)| *name));
        assert_eq!(expected(r#"{"fault": "?"}"#), names);
        // The error for an unknown fault lists all of them.
        let told = r#"{"fault": "?"}"#.parse::<Command>().unwrap_err();
        assert!(names.iter().all(|name| told.contains(name)), "{told}");
        for (name, keys) in documented {
            let known = expected(&format!(r#"{{"fault": "{name}", "?": 1}}"#));
            assert_eq!(known, owned(keys), "{name}");
        }
        assert_eq!(expected(r#"{"?": 1}"#), owned(documented_keys()));
    }

    #[test]
    fn a_number_that_cannot_be_is_refused_with_its_bound() {
        for (line, bound) in [
            (
                r#"{"fault": "away", "seconds": 18446744073709551615}"#,
                "0 to 604800",
            ),
            (r#"{"fault": "reboot", "seconds": 604801}"#, "0 to 604800"),
            (
                r#"{"fault": "reboot", "seconds": -1}"#,
                "-1 is out of range: 0 to 604800",
            ),
            (r#"{"fault": "join", "ms": 1e30}"#, "0 to 3600000"),
            (r#"{"fault": "slow_config", "ms": 3600001}"#, "0 to 3600000"),
            (
                r#"{"fault": "garbage", "bytes": 1000000000000}"#,
                "0 to 1048576",
            ),
            (
                r#"{"fault": "queue", "capacity": 18446744073709551615}"#,
                "0 to 10000",
            ),
            (r#"{"fault": "channel_use", "percent": 300}"#, "0 to 100"),
        ] {
            let error = line.parse::<Command>().unwrap_err();
            assert!(error.contains(bound), "{line}: {error}");
        }
    }

    #[test]
    fn a_fault_is_known_by_its_name_and_is_on_unless_it_says_otherwise() {
        let fault = |line: &str| serde_json::from_str::<Fault>(line).unwrap();
        assert_eq!(fault(r#"{"fault": "half_open"}"#), Fault::HalfOpen {});
        assert_eq!(
            fault(r#"{"fault": "nobody_repeats"}"#),
            Fault::NobodyRepeats(Switch { on: true })
        );
        assert_eq!(
            fault(r#"{"fault": "split", "on": false}"#),
            Fault::Split(Switch { on: false })
        );
        let refuse = Fault::Refuse(Refusals {
            error: 7,
            count: 1,
            nak: true,
            skip: 0,
        });
        assert_eq!(fault(r#"{"fault": "refuse", "error": 7}"#), refuse);
        let frame = Fault::Frame {
            hex: Some(vec![0xFF]),
        };
        assert_eq!(fault(r#"{"fault": "frame", "hex": "ff"}"#), frame);
    }
}
