//! When packets are sent, and the outcomes of answers and timeouts.

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
        assert_eq!(self.settled(), [(number, RadioOutcome::Accepted { at })]);
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

#[test]
fn the_next_text_waits_for_the_delay_from_the_acceptance_of_the_last() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.submit(2, channel(1), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    assert_eq!(bench.written(), None, "one packet is without an answer");
    bench.wait(Duration::from_millis(250));
    bench.queue(1, 0);
    let accepted = bench.now.instant;
    bench.settled();
    bench.until_deadline();
    assert_eq!(bench.now.instant, accepted + DELAY);
    assert_eq!(bench.written(), Some(2));
}

#[test]
fn the_delay_survives_a_restart_and_a_clock_that_jumped() {
    let now = Now::at(Timestamp(1_000_000));
    let first_at = |last: i64| {
        let mut pacer = Pacer::new(DELAY, Some(Timestamp(last)), now);
        pacer.on_ready(&profile(true));
        pacer.submit(submission(1, channel(0), Lane::Message, "hello"));
        pacer.deadline().map(|due| due - now.instant)
    };
    assert_eq!(first_at(999_000), Some(Duration::from_millis(1050)));
    assert_eq!(first_at(1), Some(Duration::ZERO));
    assert_eq!(first_at(9_999_999), Some(DELAY), "from the future");
}

#[test]
fn the_delay_survives_a_reconnect() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.accept(1);
    bench.pacer.on_lost();
    bench.pacer.on_ready(&profile(true));
    bench.submit(2, channel(0), Lane::Message);
    assert_eq!(bench.written(), None);
    bench.wait(DELAY);
    assert_eq!(bench.written(), Some(2));
}

#[test]
fn urgent_goes_first_reactions_last_and_destinations_in_turn() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Reaction);
    bench.submit(2, channel(0), Lane::Message);
    bench.submit(3, channel(1), Lane::Message);
    bench.submit(4, Destination::Direct(BOB), Lane::Message);
    bench.submit(5, channel(1), Lane::Urgent);
    let mut order = Vec::new();
    for _ in 0..6 {
        bench.wait(DELAY);
        let number = bench.written().expect("a text is due");
        order.push(number);
        bench.queue(number, 0);
        bench.settled();
        if number == 2 {
            // The next row of the same channel is queued behind the others.
            bench.submit(6, channel(0), Lane::Message);
        }
    }
    assert_eq!(order, [5, 2, 3, 4, 6, 1]);
}

#[test]
fn a_full_queue_in_the_radio_holds_texts_back() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.queue_with(1, 0, 2);
    bench.settled();
    bench.submit(2, channel(0), Lane::Message);
    bench.wait(DELAY * 5);
    assert_eq!(bench.written(), None);
    assert_eq!(bench.pacer.deadline(), None);
    bench.queue_with(0, 0, 3);
    assert_eq!(bench.written(), Some(2));
}

#[test]
fn a_refusal_just_after_a_status_that_looks_like_success_is_no_success() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.queue_with(1, 0, 16);
    bench.wait(Duration::from_millis(40));
    bench.routing(OWN, 1, 38);
    let after = Duration::from_millis(2200);
    assert_eq!(retry(&bench.reports()), Some((1, after, true)));
    bench.submit(2, channel(1), Lane::Message);
    bench.wait(DELAY);
    assert_eq!(bench.written(), None, "the limit is for all destinations");
    bench.wait(after.saturating_sub(DELAY));
    assert_eq!(bench.written(), Some(2));
}

/// `QueueStatus.res`, whether a `Routing` with the same number follows, and the report.
#[test]
fn every_refusal_is_reported_as_the_table_says() {
    let refused = |refusal| RadioOutcome::Refused(refusal);
    let again = |seconds, reason: &str| RadioOutcome::Retry {
        after: Duration::from_secs(seconds),
        new_id: true,
        written: true,
        reason: reason.to_owned(),
    };
    let table = [
        (7, true, refused(Refusal::TooLong)),
        (6, true, refused(Refusal::NoChannel)),
        (39, true, refused(Refusal::NoKey)),
        (9, true, again(300, "the duty cycle is used up")),
        (34, true, refused(Refusal::Other(34))),
        (34, false, refused(Refusal::TransmitOff)),
        (33, false, refused(Refusal::NoInterface)),
        (32, false, again(7, "the radio's queue is full")),
        (6, false, refused(Refusal::NoChannel)),
        (36, true, refused(Refusal::Other(36))),
    ];
    for (res, routing, expected) in table {
        let mut bench = Bench::new();
        bench.submit(1, channel(0), Lane::Message);
        assert_eq!(bench.written(), Some(1));
        bench.queue(1, res);
        if routing {
            bench.routing(OWN, 1, res.unsigned_abs());
        }
        assert_eq!(bench.settled(), [(1, expected)], "{res} {routing}");
        bench.routing(OWN, 1, 5);
        assert_eq!(bench.reports(), [], "nothing is told twice");
    }
}

#[test]
fn a_message_within_the_radio_itself_is_accepted() {
    let mut bench = Bench::new();
    bench.submit(1, Destination::Direct(OWN), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.queue(1, 35);
    let at = bench.now.wall;
    assert_eq!(bench.settled(), [(1, RadioOutcome::Accepted { at })]);
    bench.routing(OWN, 1, 0);
    assert_eq!(bench.reports(), [(1, RadioOutcome::Delivered)]);
}

#[test]
fn an_unanswered_packet_is_written_once_more_and_then_counts_as_accepted() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.until_deadline();
    assert_eq!(bench.written(), Some(1));
    bench.wait(ANSWER_LIMIT * 10);
    assert_eq!(bench.written(), None);
    assert_eq!(bench.reports(), [], "the link may be dead");
    assert_eq!(bench.pacer.deadline(), None);
    bench.pacer.on_frame(bench.now.instant);
    assert_eq!(bench.written(), None);
    let at = bench.now.wall;
    assert_eq!(bench.reports(), [(1, RadioOutcome::Accepted { at })]);
}

#[test]
fn a_repeat_on_a_live_link_waits_as_long_as_the_first_try() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.written();
    bench.until_deadline();
    assert_eq!(bench.written(), Some(1));
    bench.wait(Duration::from_secs(1));
    bench.pacer.on_frame(bench.now.instant);
    assert_eq!(bench.written(), None);
    assert_eq!(bench.reports(), []);
    bench.until_deadline();
    assert_eq!(bench.written(), None);
    assert_eq!(bench.reports().len(), 1);
}

#[test]
fn an_acknowledgement_stands_for_a_lost_status() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.submit(2, Destination::Direct(BOB), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.routing(OWN, 1, 0);
    let at = bench.now.wall;
    let both = [(1, RadioOutcome::Accepted { at }), (1, RadioOutcome::Heard)];
    assert_eq!(bench.reports(), both);
    bench.wait(DELAY);
    assert_eq!(bench.written(), Some(2));
    bench.routing(BOB, 2, 0);
    let at = bench.now.wall;
    let both = [
        (2, RadioOutcome::Accepted { at }),
        (2, RadioOutcome::Delivered),
    ];
    assert_eq!(bench.reports(), both);
}

#[test]
fn late_and_disordered_acknowledgements_find_their_packets() {
    let mut bench = Bench::new();
    for number in 1..=3 {
        bench.submit(number, channel(0), Lane::Message);
        bench.wait(DELAY);
        bench.accept(number);
    }
    bench.wait(Duration::from_secs(98));
    bench.routing(OWN, 2, 0);
    bench.routing(OWN, 1, 5);
    bench.routing(OWN, 99, 0);
    bench.routing(OWN, 3, 0);
    bench.routing(OWN, 1, 0);
    let expected = [
        (2, RadioOutcome::Heard),
        (1, RadioOutcome::Unheard),
        (3, RadioOutcome::Heard),
        (1, RadioOutcome::Heard),
    ];
    assert_eq!(bench.reports(), expected);
}

#[test]
fn a_lost_link_gives_everything_back_under_the_same_id() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.submit(2, channel(1), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.pacer.on_lost();
    let reports = bench.reports();
    assert_eq!(retry(&reports[..1]), Some((1, Duration::ZERO, false)));
    assert!(!is_as_before(&reports[..1], 1));
    assert_eq!(retry(&reports[1..]), Some((2, Duration::ZERO, false)));
    assert!(is_as_before(&reports[1..], 2));
    bench.pacer.on_ready(&profile(true));
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), None, "the radio may have taken it");
    bench.wait(DELAY);
    assert_eq!(bench.written(), Some(1));
}

#[test]
fn what_the_radio_had_taken_when_the_link_was_lost_is_accepted() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.written();
    bench.queue(1, 0);
    bench.pacer.on_lost();
    let at = bench.now.wall;
    assert_eq!(bench.reports(), [(1, RadioOutcome::Accepted { at })]);
}

#[test]
fn nothing_is_written_without_a_link() {
    let mut bench = Bench::new();
    bench.pacer.on_lost();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), None);
    assert_eq!(bench.pacer.deadline(), None);
    bench.pacer.on_ready(&profile(true));
    assert_eq!(bench.written(), Some(1));
}

#[test]
fn a_radio_that_may_not_transmit_refuses_what_waits_and_what_comes() {
    let mut bench = Bench::new();
    bench.pacer.on_lost();
    bench.submit(1, channel(0), Lane::Message);
    bench.pacer.on_ready(&profile(false));
    bench.submit(2, channel(0), Lane::Message);
    let refused = RadioOutcome::Refused(Refusal::TransmitOff);
    assert_eq!(bench.reports(), [(1, refused.clone()), (2, refused)]);
}

#[test]
fn what_no_radio_takes_is_refused_here() {
    let mut bench = Bench::new();
    let text = |number, length, reply| {
        let mut submission = submission(number, channel(0), Lane::Message, "");
        let reply_to = Some(PacketId(9)).filter(|_| reply);
        submission.message.payload = RadioPayload::Text {
            text: "x".repeat(length),
            reply_to,
        };
        submission
    };
    bench.pacer.submit(text(1, 232, false));
    bench.pacer.submit(text(2, 227, true));
    assert_eq!(bench.reports(), []);
    bench.pacer.submit(text(3, 233, false));
    bench.pacer.submit(text(4, 228, true));
    let refused = RadioOutcome::Refused(Refusal::TooLong);
    assert_eq!(bench.reports(), [(3, refused.clone()), (4, refused)]);
}

#[test]
fn a_withdrawn_row_is_given_back_unless_it_is_on_its_way() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.submit(2, channel(1), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.pacer.withdraw(MeshRowId(1));
    bench.pacer.withdraw(MeshRowId(2));
    bench.pacer.withdraw(MeshRowId(3));
    assert!(is_as_before(&bench.reports(), 2));
    bench.queue(1, 0);
    assert_eq!(bench.settled().len(), 1);
    assert_eq!(bench.pacer.called_back, [MeshRowId(3)]);
}

#[test]
fn a_row_that_is_withdrawn_before_it_comes_is_given_back_when_it_does_and_once() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.pacer.withdraw(MeshRowId(1));
    }
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), None);
    let outcomes = bench.reports();
    assert!(is_as_before(&outcomes, 1), "{outcomes:?}");
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    for row in 0..1000 {
        bench.pacer.withdraw(MeshRowId(row));
    }
    assert_eq!(bench.pacer.called_back.len(), CALLED_BACK);
}

#[test]
fn what_is_meant_for_a_channel_goes_out_on_that_one_alone() {
    let mut bench = Bench::new();
    let submit = |bench: &mut Bench, number, to, meant: Option<u8>| {
        let channel = meant.map(|it| Fingerprint([it; 32]));
        let submission = submission(number, to, Lane::Message, "hello");
        bench.pacer.submit(Submission {
            channel,
            ..submission
        });
    };
    submit(&mut bench, 1, channel(1), Some(2));
    assert_eq!(bench.written(), None);
    let outcomes = bench.reports();
    assert_eq!(retry(&outcomes), Some((1, CHANNEL_AGAIN, false)));
    assert!(is_as_before(&outcomes, 1), "{outcomes:?}");
    let others = [
        (channel(1), Some(1)),
        (channel(1), None),
        (Destination::Direct(BOB), None),
    ];
    for (number, (to, meant)) in (2..).zip(others) {
        submit(&mut bench, number, to, meant);
        bench.accept(number);
        bench.wait(DELAY);
    }

    // Answers that arrived without a link are read too.
    bench.pacer.on_lost();
    submit(&mut bench, 5, channel(1), Some(1));
    let mut changed = profile(true);
    changed.channels[1].fingerprint = None;
    bench.pacer.on_ready(&changed);
    assert!(is_as_before(&bench.reports(), 5));
    assert_eq!(bench.written(), None);
}

#[test]
fn a_row_submitted_twice_is_sent_once() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench
        .pacer
        .submit(submission(1, channel(0), Lane::Message, "changed"));
    let due = bench.pacer.poll(bench.now).expect("a text is due");
    assert_eq!(due.message.payload.bytes(), b"changed");
    bench.submit(1, channel(0), Lane::Message);
    bench.queue(1, 0);
    bench.settled();
    bench.wait(DELAY);
    assert_eq!(bench.written(), None);
}

#[test]
fn places_are_bounded() {
    let mut bench = Bench::new();
    for number in 0..u32::try_from(PLACES).unwrap() {
        assert!(bench.pacer.has_room());
        bench.submit(number, channel(number % 8), Lane::Message);
    }
    assert!(!bench.pacer.has_room());
}

#[test]
fn direct_messages_of_any_number_of_nodes_leave_room_for_what_is_urgent() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.queue_with(1, 0, 0);
    bench.settled();
    let nodes = 100;
    for node in 0..nodes {
        assert!(bench.pacer.has_room());
        bench.submit(
            100 + node,
            Destination::Direct(NodeNum(node)),
            Lane::Message,
        );
    }
    let given_back = bench.reports();
    assert_eq!(
        given_back.len(),
        usize::try_from(nodes).unwrap() - DIRECT_PLACES
    );
    for report in &given_back {
        assert!(is_as_before(std::slice::from_ref(report), report.0));
        let again = retry(std::slice::from_ref(report));
        assert_eq!(again, Some((report.0, PLACE_AGAIN, false)));
    }
    for (number, index) in (200..).zip(0..8) {
        for (lane, of_lane) in [(Lane::Message, 0), (Lane::Reaction, 10), (Lane::Urgent, 20)] {
            assert!(bench.pacer.has_room());
            bench.submit(number + of_lane, channel(index), lane);
        }
    }
    assert_eq!(bench.reports(), []);
    bench.wait(DELAY);
    bench.queue_with(0, 0, 15);
    assert_eq!(bench.written(), Some(220));
}

#[test]
fn a_heartbeat_shortly_before_a_text_makes_the_radio_look_for_it() {
    let mut bench = Bench::new();
    assert!(!bench.pacer.prompts(bench.now.instant), "nothing waits");
    bench.submit(1, channel(0), Lane::Message);
    let accepted = bench.now.instant;
    bench.accept(1);
    assert_eq!(bench.pacer.prompt_deadline(), None);
    bench.submit(2, channel(0), Lane::Message);
    let due = accepted + DELAY.saturating_sub(PROMPT);
    assert_eq!(bench.pacer.prompt_deadline(), Some(due));
    assert!(!bench.pacer.prompts(bench.now.instant));
    bench.wait(due.saturating_duration_since(bench.now.instant));
    assert!(bench.pacer.prompts(bench.now.instant));
    assert!(!bench.pacer.prompts(bench.now.instant), "once");
    assert_eq!(bench.pacer.prompt_deadline(), None);
    // Its answer concerns no packet.
    bench.queue(0, 0);
    bench.wait(PROMPT);
    assert!(!bench.pacer.prompts(bench.now.instant), "it is due");
    assert_eq!(bench.written(), Some(2));
    bench.queue(0, 0);
    assert_eq!(bench.settled(), [], "it has no answer yet");
    bench.queue(2, 0);
    assert_eq!(bench.settled().len(), 1);
}

#[test]
fn urgent_texts_pass_what_a_busy_channel_holds_back() {
    let mut bench = Bench::new();
    bench.pacer.traffic.limits = Some(ChannelUse {
        slow_above: 25,
        stop_above: 40,
    });
    bench.pacer.traffic.on_channel_use(41.0, bench.now.instant);
    bench.submit(1, channel(0), Lane::Message);
    bench.submit(2, channel(0), Lane::Urgent);
    assert_eq!(bench.written(), Some(2));
    assert!(is_as_before(&bench.reports(), 1));
    bench.queue(2, 0);
    bench.settled();
    let closed = bench.pacer.traffic.closed_until(bench.now.instant);
    assert!(closed.is_some());
    bench.pacer.traffic.on_channel_use(26.0, bench.now.instant);
    assert_eq!(bench.pacer.traffic.closed_until(bench.now.instant), None);
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), None, "spaced");
    bench.until_deadline();
    assert_eq!(bench.written(), Some(1));
}

#[test]
fn a_used_up_duty_cycle_is_tried_again_after_five_minutes_by_whatever_waits() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.queue(1, 9);
    bench.routing(OWN, 1, 9);
    let after = Duration::from_mins(5);
    assert_eq!(retry(&bench.reports()), Some((1, after, true)));
    bench.submit(2, channel(1), Lane::Message);
    bench.submit(3, channel(1), Lane::Urgent);
    assert_eq!(bench.written(), None);
    assert!(is_as_before(&bench.reports(), 2));
    bench.until_deadline();
    assert_eq!(bench.written(), Some(3));
    bench.queue(3, 9);
    bench.routing(OWN, 3, 9);
    let closed = bench.pacer.traffic.closed_until(bench.now.instant).unwrap();
    bench.wait(closed - bench.now.instant);
    assert_eq!(bench.pacer.traffic.closed_until(bench.now.instant), None);
    assert!(bench.now.wall >= Timestamp(1_000_000) + after);
    bench.submit(2, channel(1), Lane::Message);
    assert_eq!(bench.written(), Some(2));
}

/// An event for the pacer.
#[derive(Debug, Clone)]
enum Happening {
    Submit(u32, u32, u8),
    Wait(u32),
    Status(i32),
    Routing(u32),
    Frame,
    Lost,
    Ready(bool),
    Withdraw(u32),
    Busy(u8),
    Heartbeat(u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    let error = prop::sample::select(vec![0_u32, 3, 5, 6, 7, 9, 34, 35, 38, 39]);
    let res = prop::sample::select(vec![0_i32, 0, 0, 6, 7, 9, 32, 33, 34, 35]);
    prop_oneof![
        4 => (1..9_u32, 0..3_u32, 0..3_u8).prop_map(|(row, to, lane)| Happening::Submit(row, to, lane)),
        4 => (0..12_000_u32).prop_map(Happening::Wait),
        4 => res.prop_map(Happening::Status),
        2 => error.prop_map(Happening::Routing),
        1 => Just(Happening::Frame),
        1 => Just(Happening::Lost),
        1 => any::<bool>().prop_map(Happening::Ready),
        1 => (1..9_u32).prop_map(Happening::Withdraw),
        1 => (0..101_u8).prop_map(Happening::Busy),
        1 => (0..17_u32).prop_map(Happening::Heartbeat),
    ]
}

proptest! {
    /// Texts keep their distance, one at a time is unanswered, each submission of a row has one verdict, and every
    /// candidate on a live link has a deadline.
    #[test]
    fn the_pace_is_kept_whatever_happens(happenings in prop::collection::vec(happening(), 1..80)) {
        let mut bench = Bench::new();
        bench.pacer.traffic.limits = Some(ChannelUse { slow_above: 25, stop_above: 40 });
        let (mut linked, mut transmits) = (true, true);
        let mut full = false;
        let mut held: Vec<u32> = Vec::new();
        let mut unanswered: Option<(u32, u32)> = None;
        let mut accepted_at: Option<Instant> = None;
        for happening in happenings {
            match happening {
                Happening::Submit(row, to, lane) => {
                    // A worker never submits a row twice, and only one row of its queue.
                    if !held.contains(&row) && linked {
                        held.push(row);
                        bench.submit(row, channel(to), Lane::VARIANTS[usize::from(lane)]);
                    }
                }
                Happening::Wait(milliseconds) => bench.wait(Duration::from_millis(milliseconds.into())),
                Happening::Status(res) => {
                    if let Some((packet, _)) = unanswered {
                        bench.queue(packet, res);
                        full = false;
                        accepted_at = accepted_at.max(Some(bench.now.instant));
                    }
                }
                Happening::Routing(error) => {
                    if let Some((packet, _)) = unanswered {
                        bench.routing(OWN, packet, error);
                    }
                }
                Happening::Frame => bench.pacer.on_frame(bench.now.instant),
                Happening::Lost => {
                    linked = false;
                    bench.pacer.on_lost();
                }
                Happening::Ready(may_transmit) => {
                    (linked, transmits, full) = (true, may_transmit, false);
                    bench.pacer.on_ready(&profile(may_transmit));
                }
                Happening::Withdraw(row) => bench.pacer.withdraw(MeshRowId(row.into())),
                Happening::Busy(percent) => bench.pacer.traffic.on_channel_use(percent.into(), bench.now.instant),
                Happening::Heartbeat(free) => {
                    if linked {
                        full = free <= SPARE_PLACES;
                        bench.queue_with(0, 0, free);
                    }
                }
            }
            let written = bench.written();
            for (row, outcome) in bench.reports() {
                let settles = match outcome {
                    RadioOutcome::Accepted { .. } | RadioOutcome::Retry { .. } | RadioOutcome::Refused(_) => true,
                    RadioOutcome::Heard | RadioOutcome::Unheard | RadioOutcome::Delivered => false,
                };
                if settles && let Some(at) = held.iter().position(|it| *it == row) {
                    held.remove(at);
                    if unanswered.is_some_and(|(packet, _)| packet == row) {
                        unanswered = None;
                    }
                }
            }
            if let Some(packet) = written {
                prop_assert!(linked && held.contains(&packet));
                let times = if let Some((other, times)) = unanswered {
                    prop_assert_eq!(other, packet, "one is unanswered");
                    times + 1
                } else {
                    prop_assert!(transmits);
                    prop_assert!(accepted_at.is_none_or(|at| bench.now.instant >= at + DELAY));
                    1
                };
                prop_assert!(times <= 2, "repeated once");
                unanswered = Some((packet, times));
            }
            let silent = matches!(unanswered, Some((_, 2)));
            if linked && !held.is_empty() && !silent && !full {
                prop_assert!(bench.pacer.deadline().is_some(), "{:?}", bench.pacer);
            }
        }
    }
}
