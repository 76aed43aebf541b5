//! What the radio answers to a packet of ours, and what each answer means for the packet's message.

use std::time::Duration;

use crate::model::{ChannelIndex, Destination, NodeNum, PacketId, Refusal};

/// An answer of the radio, or of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// `QueueStatus`: the radio has taken or refused a packet, or tells the room in its queue.
    Queue {
        /// The packet; [`PacketId::NONE`] if it concerns none.
        packet: PacketId,
        /// 0, or why not.
        res: i32,
        /// Room in the queue.
        free: u32,
        /// The queue's size; 0 if not told.
        maxlen: u32,
    },
    /// `Routing`: an acknowledgement, or a refusal.
    Routing {
        /// Who says so: our own node for everything but an addressee's answer.
        from: NodeNum,
        /// The packet.
        request: PacketId,
        /// `Routing.Error`; 0 is an acknowledgement.
        error: u32,
    },
}

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The radio took it.
    Taken,
    /// It was sent, and nobody was heard repeating it. Not sent again.
    Unheard,
    /// To be sent again under another id.
    Again {
        /// Not before.
        after: Duration,
        /// Why, for the log.
        reason: &'static str,
    },
    /// To be sent again once; if that gives no more, then the verdict is as told.
    OnceMore {
        /// Not before.
        after: Duration,
        /// Why, for the log.
        reason: &'static str,
        /// The second time; `None` is [`Verdict::Unheard`].
        then: Option<Refusal>,
    },
    /// Not to be sent.
    Never(Refusal),
}

/// Firmware takes one text in two seconds.
const AFTER_RATE_LIMIT: Duration = Duration::from_millis(2200);
/// The radio's transmit queue holds 16 packets.
pub(super) const AFTER_FULL_QUEUE: Duration = Duration::from_secs(7);
/// The limits of transmission time are counted over an hour.
const AFTER_DUTY_CYCLE: Duration = Duration::from_mins(5);
/// Firmware that lacks a key asks for it.
const AFTER_MISSING_KEY: Duration = Duration::from_secs(30);

impl Verdict {
    /// Returns what a `QueueStatus` means to which no `Routing` came.
    #[must_use]
    pub fn of_queue(res: i32) -> Self {
        match res {
            // 35: delivered within the radio itself.
            0 | 35 => Self::Taken,
            32 => Self::Again {
                after: AFTER_FULL_QUEUE,
                reason: "the radio's queue is full",
            },
            33 => Self::Never(Refusal::NoInterface),
            // The same number as PKI_FAILED, which always comes with a `Routing`.
            34 => Self::Never(Refusal::TransmitOff),
            // The radio's own refusal: the same for every destination.
            other => u32::try_from(other).map_or(Self::Never(Refusal::Other(u32::MAX)), |error| {
                Self::of_error(error, Destination::Channel(ChannelIndex::PRIMARY))
            }),
        }
    }

    /// Returns what an error number of a `Routing` means.
    #[must_use]
    pub fn of_error(error: u32, destination: Destination) -> Self {
        let direct = match destination {
            Destination::Channel(_) => false,
            Destination::Direct(_) => true,
        };
        match error {
            0 => Self::Taken,
            // TIMEOUT and MAX_RETRANSMIT.
            3 | 5 if direct => Self::OnceMore {
                after: Duration::ZERO,
                reason: "the addressee was not reached",
                then: None,
            },
            3 | 5 => Self::Unheard,
            4 => Self::Never(Refusal::NoInterface),
            6 => Self::Never(Refusal::NoChannel),
            7 => Self::Never(Refusal::TooLong),
            9 => Self::Again {
                after: AFTER_DUTY_CYCLE,
                reason: "the duty cycle is used up",
            },
            35 if direct => Self::OnceMore {
                after: AFTER_MISSING_KEY,
                reason: "the addressee lacks our key",
                then: Some(Refusal::NoKey),
            },
            38 => Self::Again {
                after: AFTER_RATE_LIMIT,
                reason: "the radio's rate limit",
            },
            39 => Self::Never(Refusal::NoKey),
            other => Self::Never(Refusal::Other(other)),
        }
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
        let again = |after, reason| Verdict::Again { after, reason };
        let never = |refusal| (Verdict::Never(refusal), Verdict::Never(refusal));
        let other = |error| never(Refusal::Other(error));
        let both = |verdict| (verdict, verdict);
        let unreached = Verdict::OnceMore {
            after: Duration::ZERO,
            reason: "the addressee was not reached",
            then: None,
        };
        let keyless = Verdict::OnceMore {
            after: AFTER_MISSING_KEY,
            reason: "the addressee lacks our key",
            then: Some(Refusal::NoKey),
        };
        let table = [
            (0, both(Verdict::Taken)),
            (1, other(1)),
            (2, other(2)),
            (3, (Verdict::Unheard, unreached)),
            (4, never(Refusal::NoInterface)),
            (5, (Verdict::Unheard, unreached)),
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
            (35, (Verdict::Never(Refusal::Other(35)), keyless)),
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
        assert_eq!(Verdict::of_queue(33), Verdict::Never(Refusal::NoInterface));
        assert_eq!(Verdict::of_queue(34), Verdict::Never(Refusal::TransmitOff));
        assert_eq!(Verdict::of_queue(6), Verdict::Never(Refusal::NoChannel));
        assert_eq!(Verdict::of_queue(7), Verdict::Never(Refusal::TooLong));
        assert!(matches!(
            Verdict::of_queue(9),
            Verdict::Again {
                after: AFTER_DUTY_CYCLE,
                ..
            }
        ));
        assert_eq!(Verdict::of_queue(39), Verdict::Never(Refusal::NoKey));
        assert_eq!(
            Verdict::of_queue(-1),
            Verdict::Never(Refusal::Other(u32::MAX))
        );
    }
}
