//! Outcomes of accepted packets. Acknowledgements come late, twice and out of order, and may only improve an earlier
//! report. No I/O, no clock; bounded.

use std::collections::VecDeque;

use relay_model::{Destination, MeshRowId, NodeNum, PacketId, RadioOutcome, SendReport};

use super::mesh_answer::{Routing, Verdict};
use super::submission::Submission;

/// Maximum number of remembered packets: a quarter of an hour of texts at the fastest pace. The latest acknowledgement
/// measured arrived after 98 s.
const REMEMBERED: usize = 512;

/// The outcome so far, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Taken,
    /// It failed, or no repetition was heard; an acknowledgement may still follow.
    Doubtful,
    /// Another node was heard repeating it.
    Heard,
    /// The addressee has acknowledged it.
    Delivered,
}

/// A packet that the radio took, or that failed, and the row that is told of it.
#[derive(Debug)]
struct SentPacket {
    packet: PacketId,
    outbox: MeshRowId,
    destination: Destination,
    progress: Progress,
}

/// The packets sent last and what became of each, so that late answers find their rows.
#[derive(Debug, Default)]
pub(super) struct Acks {
    sent: VecDeque<SentPacket>,
    repeated: VecDeque<MeshRowId>,
}

impl Acks {
    /// Remembers an accepted packet, or a failed one: an acknowledgement may still arrive, and its failure is not
    /// reported twice.
    pub(super) fn remember(&mut self, submission: &Submission, is_taken: bool) {
        self.sent.retain(|sent| sent.packet != submission.packet);
        let sent = SentPacket {
            packet: submission.packet,
            outbox: submission.outbox,
            destination: submission.message.destination,
            progress: if is_taken {
                Progress::Taken
            } else {
                Progress::Doubtful
            },
        };
        keep(&mut self.sent, sent);
    }

    /// Returns the news in a `Routing`; `None` if there is none or the packet is unknown.
    pub(super) fn on_routing(&mut self, own: NodeNum, routing: Routing) -> Option<SendReport> {
        let Routing { from, error, .. } = routing;
        let mut sent = self.sent.iter_mut();
        let sent = sent.find(|sent| sent.packet == routing.request)?;
        let (packet, outbox, destination) = (sent.packet, sent.outbox, sent.destination);
        let from_addressee = destination == Destination::Direct(from);
        if from != own && !from_addressee {
            return None;
        }
        let news = match (error, from_addressee) {
            (0, true) => Progress::Delivered,
            (0, false) => Progress::Heard,
            _ => Progress::Doubtful,
        };
        // Only the addressee's refusal overrides a repetition by another node.
        let refused_by_addressee = error != 0 && from_addressee && sent.progress == Progress::Heard;
        if news <= sent.progress && !refused_by_addressee {
            return None;
        }
        sent.progress = news;
        let outcome = match news {
            Progress::Delivered => RadioOutcome::Delivered,
            Progress::Heard => RadioOutcome::Heard,
            Progress::Taken | Progress::Doubtful => {
                let verdict = Verdict::of_error(error, destination);
                self.outcome(verdict, outbox)?
            }
        };
        Some(SendReport::Radio {
            outbox,
            packet,
            outcome,
        })
    }

    /// Converts the verdict on a packet to the outcome of its row, with one retry where the verdict allows one. `None`
    /// for an accepted packet.
    pub(super) fn outcome(&mut self, verdict: Verdict, outbox: MeshRowId) -> Option<RadioOutcome> {
        match verdict {
            Verdict::Taken => None,
            Verdict::Final(outcome) => Some(outcome),
            Verdict::Again {
                at_last: Some(outcome),
                ..
            } if self.repeated.contains(&outbox) => Some(outcome),
            Verdict::Again {
                after,
                reason,
                at_last,
            } => {
                if at_last.is_some() {
                    keep(&mut self.repeated, outbox);
                }
                Some(RadioOutcome::Retry {
                    after,
                    new_id: true,
                    written: true,
                    reason: reason.to_owned(),
                })
            }
        }
    }
}

/// Appends an entry, and drops the oldest one beyond the limit.
fn keep<T>(queue: &mut VecDeque<T>, latest: T) {
    if queue.len() >= REMEMBERED {
        queue.pop_front();
    }
    queue.push_back(latest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_model::{ChannelIndex, Lane, RadioMessage, RadioPayload, Refusal};

    const OWN: NodeNum = NodeNum(0xA11C_E001);
    const BOB: NodeNum = NodeNum(0xB0B0_B002);
    const CAROL: NodeNum = NodeNum(3);
    const CHANNEL: Destination = Destination::Channel(ChannelIndex::PRIMARY);
    const PACKET: PacketId = PacketId(77);

    fn submission(packet: u32, destination: Destination) -> Submission {
        let payload = RadioPayload::Text {
            text: "hello".to_owned(),
            reply_to: None,
        };
        Submission {
            outbox: MeshRowId(5),
            packet: PacketId(packet),
            channel: None,
            message: RadioMessage {
                destination,
                lane: Lane::Message,
                payload,
            },
        }
    }

    fn taken(destination: Destination) -> Acks {
        let mut acks = Acks::default();
        acks.remember(&submission(77, destination), true);
        acks
    }

    fn routing(from: NodeNum, request: u32, error: u32) -> Routing {
        Routing {
            from,
            request: PacketId(request),
            error,
        }
    }

    fn told(acks: &mut Acks, from: NodeNum, error: u32) -> Option<RadioOutcome> {
        acks.on_routing(OWN, routing(from, 77, error))
            .map(|report| match report {
                SendReport::Radio {
                    outbox,
                    packet,
                    outcome,
                } => {
                    assert_eq!((outbox, packet), (MeshRowId(5), PACKET));
                    outcome
                }
                SendReport::Room { .. } => panic!("not for a room"),
            })
    }

    #[test]
    fn a_repeated_text_is_heard_and_told_once() {
        let mut acks = taken(CHANNEL);
        assert_eq!(told(&mut acks, OWN, 0), Some(RadioOutcome::Heard));
        assert_eq!(told(&mut acks, OWN, 0), None);
        assert_eq!(told(&mut acks, OWN, 5), None, "it was heard");
    }

    #[test]
    fn a_late_acknowledgement_improves_an_unheard_text() {
        let mut acks = taken(CHANNEL);
        assert_eq!(told(&mut acks, OWN, 5), Some(RadioOutcome::Unheard));
        assert_eq!(told(&mut acks, OWN, 5), None);
        assert_eq!(told(&mut acks, OWN, 0), Some(RadioOutcome::Heard));
    }

    #[test]
    fn a_direct_message_is_relayed_then_delivered_in_any_order() {
        let mut acks = taken(Destination::Direct(BOB));
        assert_eq!(told(&mut acks, OWN, 0), Some(RadioOutcome::Heard));
        assert_eq!(told(&mut acks, BOB, 0), Some(RadioOutcome::Delivered));
        let mut acks = taken(Destination::Direct(BOB));
        assert_eq!(told(&mut acks, BOB, 0), Some(RadioOutcome::Delivered));
        assert_eq!(told(&mut acks, OWN, 0), None);
        assert_eq!(told(&mut acks, BOB, 35), None);
    }

    #[test]
    fn an_addressee_that_refuses_counts_more_than_a_node_that_relayed() {
        let mut acks = taken(Destination::Direct(BOB));
        assert_eq!(told(&mut acks, OWN, 0), Some(RadioOutcome::Heard));
        assert!(matches!(
            told(&mut acks, BOB, 35),
            Some(RadioOutcome::Retry { new_id: true, .. })
        ));
    }

    #[test]
    fn a_direct_message_that_reached_nobody_is_sent_once_more() {
        let mut acks = taken(Destination::Direct(BOB));
        assert!(matches!(
            told(&mut acks, OWN, 5),
            Some(RadioOutcome::Retry { new_id: true, .. })
        ));
        acks.remember(&submission(78, Destination::Direct(BOB)), true);
        let second = acks.on_routing(OWN, routing(OWN, 78, 5));
        assert!(matches!(
            second,
            Some(SendReport::Radio {
                outcome: RadioOutcome::Unheard,
                ..
            })
        ));
    }

    #[test]
    fn an_addressee_that_lacks_our_key_is_tried_twice() {
        let mut acks = taken(Destination::Direct(BOB));
        assert!(matches!(
            told(&mut acks, BOB, 35),
            Some(RadioOutcome::Retry { .. })
        ));
        let verdict = Verdict::of_error(35, Destination::Direct(BOB));
        let refused = Some(RadioOutcome::Refused(Refusal::NoKey));
        assert_eq!(acks.outcome(verdict, MeshRowId(5)), refused);
    }

    #[test]
    fn answers_to_packets_of_others_and_answers_of_third_nodes_are_nothing() {
        let mut acks = taken(Destination::Direct(BOB));
        assert_eq!(acks.on_routing(OWN, routing(OWN, 78, 0)), None);
        assert_eq!(told(&mut acks, CAROL, 0), None);
        assert_eq!(told(&mut acks, CAROL, 6), None);
        assert_eq!(told(&mut taken(CHANNEL), BOB, 0), None);
    }

    #[test]
    fn a_late_refusal_of_a_packet_that_seemed_taken_is_told() {
        let mut acks = taken(CHANNEL);
        assert!(matches!(
            told(&mut acks, OWN, 38),
            Some(RadioOutcome::Retry { new_id: true, .. })
        ));
        assert_eq!(told(&mut acks, OWN, 38), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut acks = Acks::default();
        for number in 1..=5000 {
            acks.remember(&submission(number, CHANNEL), true);
            let once = Verdict::Again {
                after: std::time::Duration::ZERO,
                reason: "",
                at_last: Some(RadioOutcome::Unheard),
            };
            acks.outcome(once, MeshRowId(i64::from(number)));
        }
        assert!(acks.sent.len() <= REMEMBERED && acks.repeated.len() <= REMEMBERED);
        assert!(acks.on_routing(OWN, routing(OWN, 5000, 0)).is_some());
    }
}
