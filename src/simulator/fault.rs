//! What can go wrong, by name. Nothing happens here: the machine and the wire act on it.

use serde::Deserialize;

use super::input::bytes;

/// Something that goes wrong, or right again. `on` is true where it is not given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The link is dead without an end: nothing is read or written any more, and what is sent is lost.
    HalfOpen {},
    /// Nothing is read from the client any more, until it is switched off.
    Stall {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// The radio closes the connection.
    Close {
        /// In the middle of a frame.
        #[serde(default)]
        mid_frame: bool,
    },
    /// The radio closes the connection and takes no other for that long.
    Away {
        /// How long.
        #[serde(default = "five")]
        seconds: u64,
    },
    /// The radio restarts: queues empty, clock unset, one more start counted, away for that long.
    Reboot {
        /// How long.
        #[serde(default = "five")]
        seconds: u64,
    },
    /// Bytes outside any frame.
    Garbage {
        /// How many random ones; among them false headers.
        #[serde(default)]
        bytes: usize,
        /// Or exactly these.
        #[serde(default, deserialize_with = "bytes")]
        hex: Option<Vec<u8>>,
    },
    /// A line of debug text outside any frame, as on a serial link.
    Log {
        /// The line.
        text: String,
    },
    /// A frame with exactly these bytes.
    Frame {
        /// The bytes; none is a legal frame.
        #[serde(default, deserialize_with = "bytes")]
        hex: Option<Vec<u8>>,
    },
    /// Every byte is written by itself.
    Split {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Frames are held back for a while and written in one piece.
    Join {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
        /// How long.
        #[serde(default = "a_moment")]
        ms: u64,
    },
    /// Nobody repeats what the radio says, and nobody answers it.
    NobodyRepeats {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// How nodes answer direct messages.
    DirectAnswer {
        /// How.
        answer: DirectAnswer,
        /// The `Routing.Error` of `error`.
        #[serde(default = "unknown_key")]
        error: u32,
    },
    /// The next packets are refused.
    Refuse {
        /// With that `Routing.Error`.
        error: u32,
        /// So many.
        #[serde(default = "one")]
        count: u32,
        /// With a routing packet; without one there is only the queue status.
        #[serde(default = "yes")]
        nak: bool,
        /// So many pass before.
        #[serde(default)]
        skip: u32,
    },
    /// The next packets get no answer.
    Silent {
        /// So many.
        #[serde(default = "one")]
        count: u32,
        /// They are not transmitted either, as if they had never come.
        #[serde(default)]
        lost: bool,
    },
    /// The radio has no region.
    RegionUnset {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// Transmission is switched off.
    TransmitOff {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// The hour's share of air time is used up.
    DutyCycle {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// A pause before each frame of the configuration.
    SlowConfig {
        /// How long.
        ms: u64,
    },
    /// The configuration's closing frame does not come.
    NeverComplete {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// After each handshake the radio tells what it has kept of other nodes, as firmware 2.8 does: positions, telemetry
    /// and status, as ordinary packets with their old ids and times.
    Cached {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// The radio says that it has restarted, on the same connection.
    Rebooted {},
    /// The radio does not notice when its client closes, and goes on writing.
    UnnoticedClose {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// The radio reads what comes after a silence up to 250 ms late: it does so from the start.
    SlowReads {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// How many packets wait for an absent client.
    Queue {
        /// So many.
        capacity: usize,
    },
    /// A channel is changed; seen at the next handshake.
    Channel {
        /// Its index.
        index: u32,
        /// Its new name.
        #[serde(default)]
        name: Option<String>,
        /// Switches it on (as a secondary channel) or off.
        #[serde(default)]
        enabled: Option<bool>,
    },
    /// The radio belongs to a licensed amateur; seen at the next handshake.
    Licensed {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// A notification for the client.
    Notification {
        /// What it says.
        text: String,
        /// The packet that it is about.
        #[serde(default)]
        reply_id: Option<u32>,
    },
    /// The radio tells its own telemetry each minute.
    Telemetry {
        /// Whether.
        #[serde(default = "yes")]
        on: bool,
    },
    /// How busy the air is, in that telemetry; told at once, too.
    ChannelUse {
        /// Percent.
        percent: u8,
    },
}

/// How a node answers a direct message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectAnswer {
    /// As the way to it makes it: a neighbour at once, others after a repeat.
    #[default]
    Usual,
    /// Repeated, but never answered.
    ImplicitOnly,
    /// Answered first, and repeated after that.
    Swapped,
    /// Answered twice.
    Twice,
    /// Given up, and answered after all.
    Late,
    /// Given up.
    Never,
    /// Answered with an error.
    Error,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn five() -> u64 {
    5
}

fn a_moment() -> u64 {
    200
}

/// `PKI_UNKNOWN_PUBKEY`: the addressee does not have our key.
fn unknown_key() -> u32 {
    35
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_known_by_its_name_and_is_on_unless_it_says_otherwise() {
        let fault = |line: &str| serde_json::from_str::<Fault>(line).unwrap();
        assert_eq!(fault(r#"{"fault": "half_open"}"#), Fault::HalfOpen {});
        assert_eq!(
            fault(r#"{"fault": "nobody_repeats"}"#),
            Fault::NobodyRepeats { on: true }
        );
        assert_eq!(
            fault(r#"{"fault": "split", "on": false}"#),
            Fault::Split { on: false }
        );
        let refuse = Fault::Refuse {
            error: 7,
            count: 1,
            nak: true,
            skip: 0,
        };
        assert_eq!(fault(r#"{"fault": "refuse", "error": 7}"#), refuse);
        let frame = Fault::Frame {
            hex: Some(vec![0xFF]),
        };
        assert_eq!(fault(r#"{"fault": "frame", "hex": "ff"}"#), frame);
    }
}
