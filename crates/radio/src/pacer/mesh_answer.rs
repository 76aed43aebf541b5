//! Answers of the radio and of nodes to a packet, and their meaning for its message.

use std::time::Duration;

use relay_model::{ChannelIndex, Destination, NodeNum, PacketId, RadioOutcome, Refusal};

/// What the radio says of a packet of ours, or a node through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeshAnswer {
    /// `QueueStatus`: a packet was accepted or refused, or the room in the transmit queue has changed.
    Queue {
        /// The packet; [`PacketId::NONE`] if the status concerns none.
        packet: PacketId,
        /// 0: taken; otherwise a number of the firmware, of which only 35 is no refusal.
        res: i32,
        /// Free slots of the radio's transmit queue.
        free: u32,
        /// Size of the transmit queue; 0 if not reported.
        maxlen: u32,
    },
    /// An acknowledgement, or a refusal by the radio or by the addressee.
    Routing(Routing),
}

/// `Routing`: the outcome of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routing {
    /// The sender: an addressee, or in all other cases the connected radio's node.
    pub from: NodeNum,
    /// Id of the packet that the answer is about (`Data.request_id`).
    pub request: PacketId,
    /// `Routing.Error`; 0 is an acknowledgement.
    pub error: u32,
}

/// What an answer means for the packet that is in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    /// Send it again under a new id.
    Again {
        /// Minimum delay before that.
        after: Duration,
        reason: &'static str,
        /// The outcome if the one retry fails too; `None` retries without limit.
        at_last: Option<RadioOutcome>,
    },
    /// It is decided: do not send it again.
    Final(RadioOutcome),
}

/// Firmware accepts one text in two seconds.
const AFTER_RATE_LIMIT: Duration = Duration::from_millis(2200);
/// The radio's transmit queue holds 16 packets.
pub(super) const AFTER_FULL_QUEUE: Duration = Duration::from_secs(7);
/// The limits of transmission time are counted over an hour.
const AFTER_DUTY_CYCLE: Duration = Duration::from_mins(5);
/// Firmware that lacks a key requests it.
const AFTER_MISSING_KEY: Duration = Duration::from_secs(30);

impl Verdict {
    /// Returns the meaning of a `QueueStatus` without a `Routing`.
    pub(super) fn of_queue(res: i32) -> Self {
        match res {
            // 35: delivered within the radio itself.
            0 | 35 => Self::Taken,
            32 => Self::again(AFTER_FULL_QUEUE, "the radio's queue is full", None),
            33 => Self::never(Refusal::NoInterface),
            // The same number as PKI_FAILED, which always comes with a `Routing`.
            34 => Self::never(Refusal::TransmitOff),
            // The radio's own refusal, independent of the destination.
            other => {
                let error = u32::try_from(other).unwrap_or(u32::MAX);
                Self::of_error(error, Destination::Channel(ChannelIndex::PRIMARY))
            }
        }
    }

    /// Returns the meaning of a `Routing.Error`.
    pub(super) fn of_error(error: u32, destination: Destination) -> Self {
        let direct = matches!(destination, Destination::Direct(_));
        match error {
            0 => Self::Taken,
            // TIMEOUT and MAX_RETRANSMIT.
            3 | 5 if direct => {
                let unreached = "the addressee was not reached";
                Self::again(Duration::ZERO, unreached, Some(RadioOutcome::Unheard))
            }
            3 | 5 => Self::Final(RadioOutcome::Unheard),
            4 => Self::never(Refusal::NoInterface),
            6 => Self::never(Refusal::NoChannel),
            7 => Self::never(Refusal::TooLong),
            9 => Self::again(AFTER_DUTY_CYCLE, "the duty cycle is used up", None),
            35 if direct => {
                let refused = RadioOutcome::Refused(Refusal::NoKey);
                let keyless = "the addressee lacks our key";
                Self::again(AFTER_MISSING_KEY, keyless, Some(refused))
            }
            38 => Self::again(AFTER_RATE_LIMIT, "the radio's rate limit", None),
            39 => Self::never(Refusal::NoKey),
            other => Self::never(Refusal::Other(other)),
        }
    }

    /// Returns whether the packet was transmitted.
    pub(super) fn is_sent(&self) -> bool {
        match self {
            Self::Taken | Self::Final(RadioOutcome::Unheard) => true,
            Self::Again { at_last, .. } => at_last.is_some(),
            Self::Final(_) => false,
        }
    }

    fn again(after: Duration, reason: &'static str, at_last: Option<RadioOutcome>) -> Self {
        Self::Again {
            after,
            reason,
            at_last,
        }
    }

    fn never(refusal: Refusal) -> Self {
        Self::Final(RadioOutcome::Refused(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON_CHANNEL: Destination = Destination::Channel(ChannelIndex::PRIMARY);
    const DIRECT: Destination = Destination::Direct(NodeNum(7));

    /// `Routing.Error` on a channel, then in a direct message.
    #[test]
    fn every_error_has_its_meaning() {
        let again = |after, reason| Verdict::again(after, reason, None);
        let never = |refusal| (Verdict::never(refusal), Verdict::never(refusal));
        let other = |error| never(Refusal::Other(error));
        let both = |verdict: Verdict| (verdict.clone(), verdict);
        let unheard = Verdict::Final(RadioOutcome::Unheard);
        let unreached = Verdict::Again {
            after: Duration::ZERO,
            reason: "the addressee was not reached",
            at_last: Some(RadioOutcome::Unheard),
        };
        let keyless = Verdict::Again {
            after: AFTER_MISSING_KEY,
            reason: "the addressee lacks our key",
            at_last: Some(RadioOutcome::Refused(Refusal::NoKey)),
        };
        let table = [
            (0, both(Verdict::Taken)),
            (1, other(1)),
            (2, other(2)),
            (3, (unheard.clone(), unreached.clone())),
            (4, never(Refusal::NoInterface)),
            (5, (unheard, unreached)),
            (6, never(Refusal::NoChannel)),
            (7, never(Refusal::TooLong)),
            (8, other(8)),
            (
                9,
                both(again(AFTER_DUTY_CYCLE, "the duty cycle is used up")),
            ),
            (32, other(32)),
            (33, other(33)),
            (34, other(34)),
            (35, (Verdict::never(Refusal::Other(35)), keyless)),
            (36, other(36)),
            (37, other(37)),
            (38, both(again(AFTER_RATE_LIMIT, "the radio's rate limit"))),
            (39, never(Refusal::NoKey)),
            (4_000_000_000, other(4_000_000_000)),
        ];
        for (error, (on_channel, direct)) in table {
            assert_eq!(Verdict::of_error(error, ON_CHANNEL), on_channel, "{error}");
            assert_eq!(Verdict::of_error(error, DIRECT), direct, "{error} direct");
        }
    }

    #[test]
    fn a_queue_status_alone_has_its_own_numbers() {
        assert_eq!(Verdict::of_queue(0), Verdict::Taken);
        assert_eq!(Verdict::of_queue(35), Verdict::Taken);
        assert!(matches!(
            Verdict::of_queue(32),
            Verdict::Again {
                after: AFTER_FULL_QUEUE,
                ..
            }
        ));
        assert_eq!(Verdict::of_queue(33), Verdict::never(Refusal::NoInterface));
        assert_eq!(Verdict::of_queue(34), Verdict::never(Refusal::TransmitOff));
        assert_eq!(Verdict::of_queue(6), Verdict::never(Refusal::NoChannel));
        assert_eq!(Verdict::of_queue(7), Verdict::never(Refusal::TooLong));
        assert!(matches!(
            Verdict::of_queue(9),
            Verdict::Again {
                after: AFTER_DUTY_CYCLE,
                ..
            }
        ));
        assert_eq!(Verdict::of_queue(39), Verdict::never(Refusal::NoKey));
        assert_eq!(
            Verdict::of_queue(-1),
            Verdict::never(Refusal::Other(u32::MAX))
        );
    }
}
