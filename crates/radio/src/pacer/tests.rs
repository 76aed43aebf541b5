//! When packets are sent, and the outcomes of answers and timeouts.

mod answers;
mod pace;
mod submissions;
mod whatever_happens;

use proptest::prelude::*;
use strum::VariantArray as _;

use super::flight::{ANSWER_LIMIT, SETTLING};
use super::mesh_answer::Routing;
use super::*;
use relay_config::ChannelUse;
use relay_model::{
    Channel, ChannelIndex, ChannelRole, Fingerprint, Lane, Node, NodeNum, PacketId, RadioMessage,
    RadioSetup,
};

const OWN: NodeNum = NodeNum(0xA11C_E001);

const BOB: NodeNum = NodeNum(0xB0B0_B002);

const DELAY: Duration = Duration::from_millis(2050);

/// A pacer with a simulated clock.
struct Bench {
    pacer: Pacer,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        let now = Now::at(Timestamp(1_000_000));
        let mut pacer = Pacer::new(DELAY, None, now);
        pacer.on_ready(&profile(true));
        Self { pacer, now }
    }

    fn wait(&mut self, span: Duration) {
        self.now = Now {
            instant: self.now.instant + span,
            wall: self.now.wall + span,
        };
    }

    /// Advances the clock to the pacer's deadline.
    fn until_deadline(&mut self) {
        let due = self
            .pacer
            .deadline()
            .expect("the pacer waits for something");
        self.wait(due.saturating_duration_since(self.now.instant));
    }

    fn submit(&mut self, number: u32, destination: Destination, lane: Lane) {
        self.pacer
            .submit(submission(number, destination, lane, "hello"));
    }

    /// Returns the packet that is written now.
    fn written(&mut self) -> Option<u32> {
        self.pacer.poll(self.now).map(|it| it.packet.0)
    }

    fn queue(&mut self, packet: u32, res: i32) {
        self.queue_with(packet, res, 15);
    }

    fn queue_with(&mut self, packet: u32, res: i32, free: u32) {
        self.pacer.on_frame(self.now.instant);
        let answer = MeshAnswer::Queue {
            packet: PacketId(packet),
            res,
            free,
            maxlen: 16,
        };
        self.pacer.on_answer(answer, self.now);
    }

    fn routing(&mut self, from: NodeNum, request: u32, error: u32) {
        let routing = Routing {
            from,
            request: PacketId(request),
            error,
        };
        self.pacer.on_answer(MeshAnswer::Routing(routing), self.now);
    }

    /// Waits until a refusal would have arrived, then returns the reports.
    fn settled(&mut self) -> Vec<(u32, RadioOutcome)> {
        self.wait(SETTLING);
        assert_eq!(self.written(), None);
        self.reports()
    }

    fn reports(&mut self) -> Vec<(u32, RadioOutcome)> {
        let reports = self.pacer.take_reports().into_iter();
        reports
            .map(|report| match report {
                SendReport::Radio {
                    outbox,
                    packet,
                    outcome,
                } => {
                    assert_eq!(outbox.0, i64::from(packet.0));
                    (packet.0, outcome)
                }
                SendReport::Room { .. } => panic!("not for a room"),
            })
            .collect()
    }

    /// Writes a text that the radio accepts.
    fn accept(&mut self, number: u32) -> Timestamp {
        assert_eq!(self.written(), Some(number));
        self.queue(number, 0);
        let at = self.now.wall;
        assert_eq!(
            self.settled(),
            [(number, RadioOutcome::Accepted { at, answered: true })]
        );
        at
    }
}

fn submission(number: u32, destination: Destination, lane: Lane, text: &str) -> Submission {
    Submission {
        outbox: MeshRowId(i64::from(number)),
        packet: PacketId(number),
        channel: None,
        message: RadioMessage {
            destination,
            lane,
            payload: RadioPayload::Text {
                text: text.to_owned(),
                reply_to: None,
            },
        },
    }
}

/// A radio with one channel in each slot.
fn profile(transmit_enabled: bool) -> RadioProfile {
    let channel = |index: u8| Channel {
        index: u32::from(index).try_into().unwrap(),
        name: String::new(),
        role: ChannelRole::Secondary,
        fingerprint: Some(Fingerprint([index; 32])),
    };
    RadioProfile {
        own: Node::unknown(OWN),
        firmware: String::new(),
        channels: (0..8).map(channel).collect(),
        hop_limit: 3,
        region_set: true,
        transmit_enabled,
        reboot_count: 0,
        locked: false,
        setup: RadioSetup::default(),
    }
}

fn channel(index: u32) -> Destination {
    Destination::Channel(ChannelIndex::try_from(index).unwrap())
}

fn retry(outcomes: &[(u32, RadioOutcome)]) -> Option<(u32, Duration, bool)> {
    match outcomes {
        [(packet, RadioOutcome::Retry { after, new_id, .. })] => Some((*packet, *after, *new_id)),
        _ => None,
    }
}

/// Returns whether this row alone was returned, as if it had never been submitted.
fn is_as_before(outcomes: &[(u32, RadioOutcome)], row: u32) -> bool {
    matches!(outcomes, [(it, RadioOutcome::Retry { written: false, .. })] if *it == row)
}
