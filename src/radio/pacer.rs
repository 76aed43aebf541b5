//! What may be sent when, and what a refusal means. No I/O, no clock.
//!
//! The radio takes one text in two seconds, counted from the one that it took last, and says nothing of the ones
//! that it drops; so there is never more than one packet of ours without an answer, and the next waits for the
//! delay that counts from that answer. The queue in front is the outbox table's business: here waits at most one
//! candidate for each destination and lane, and none that the air does not bear for a while: in the table it can be
//! changed, and tells its age when its turn comes.

use std::time::{Duration, Instant};

use crate::config::ChannelUse;
use crate::model::{
    Destination, Lane, NodeNum, OutboxId, PacketId, RadioMessage, RadioOutcome, RadioPayload,
    Refusal, SendReport, Timestamp,
};

use super::acks::Acks;
use super::answer::{AFTER_FULL_QUEUE, Answer, Verdict};
use super::moment::Moment;
use super::traffic::{self, Traffic};

/// How long to wait for a `QueueStatus`.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// A refusal comes just after its `QueueStatus`, which looks like success until then.
const SETTLING: Duration = Duration::from_millis(400);
/// Places in the radio's transmit queue that are left to the radio itself.
const SPARE_PLACES: u32 = 2;
/// Firmware looks only four times a second for something to read when it has read nothing for 2 s. A heartbeat so long
/// before a text makes it look at once.
const PROMPT: Duration = Duration::from_millis(300);
/// Candidates that wait here: eight channels in three lanes, and some direct messages.
const PLACES: usize = 64;
/// Direct messages among them: any number of nodes can have one, and what is urgent always finds a place.
const DIRECT_PLACES: usize = 32;
/// A direct message that finds no place is submitted again after that.
const PLACE_AGAIN: Duration = Duration::from_secs(30);

/// A row of the outbox that may be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The row.
    pub outbox: OutboxId,
    /// The id under which it is to be sent.
    pub packet: PacketId,
    /// What it says.
    pub message: RadioMessage,
}

/// The link, as far as sending is concerned.
#[derive(Debug, Clone, Copy)]
struct Link {
    own: NodeNum,
    may_transmit: bool,
}

/// The one packet that the radio has not answered yet.
#[derive(Debug)]
struct Flight {
    submission: Submission,
    written: Instant,
    repeated: Option<Instant>,
    status: Option<(i32, Moment)>,
}

/// Decides what is sent when, and reports what became of it.
#[derive(Debug)]
pub struct Pacer {
    delay: Duration,
    not_before: Option<Instant>,
    traffic: Traffic,
    /// The radio was made to look for the text that may go then.
    prompted_for: Option<Instant>,
    link: Option<Link>,
    waiting: Vec<Submission>,
    flight: Option<Flight>,
    queue_full: bool,
    last_frame: Option<Instant>,
    acks: Acks,
    reports: Vec<SendReport>,
}

impl Pacer {
    /// Makes one that keeps `delay` between texts, also from the one that the radio took before this program's start.
    #[must_use]
    pub fn new(delay: Duration, last_accepted: Option<Timestamp>, now: Moment) -> Self {
        let rest_of = |delay: Duration| {
            let rest = last_accepted.map(|last| delay.saturating_sub(now.wall.since(last)));
            rest.map(|rest| now.instant + rest)
        };
        Self {
            delay,
            not_before: rest_of(delay),
            traffic: Traffic::new(delay, rest_of(traffic::SLOW_DELAY.max(delay))),
            prompted_for: None,
            link: None,
            waiting: Vec::new(),
            flight: None,
            queue_full: false,
            last_frame: None,
            acks: Acks::default(),
            reports: Vec::new(),
        }
    }

    /// Has it slow down, or stop but for urgent texts, on a channel that is busier than these limits.
    #[must_use]
    pub fn with_channel_use(mut self, limits: ChannelUse) -> Self {
        self.traffic.limit(limits);
        self
    }

    /// Takes note of how busy the radio's channel is, in percent.
    pub fn on_channel_use(&mut self, percent: f32, now: Instant) {
        self.traffic.on_channel_use(percent, now);
    }

    /// Returns whether [`Pacer::submit`] may be called.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < PLACES
    }

    /// Returns whether a packet has been written and its fate is not known.
    pub fn is_waiting_for_answer(&self) -> bool {
        self.flight.is_some()
    }

    /// Takes a row. One that waits here already is replaced, one on its way is not taken twice.
    pub fn submit(&mut self, submission: Submission) {
        let on_its_way = self.flight.as_ref();
        if on_its_way.is_some_and(|flight| flight.submission.outbox == submission.outbox) {
            return;
        }
        self.waiting
            .retain(|other| other.outbox != submission.outbox);
        if submission.message.payload.bytes().len() > payload_limit(&submission.message.payload) {
            self.report(&submission, RadioOutcome::Refused(Refusal::TooLong));
        } else if self.link.is_some_and(|link| !link.may_transmit) {
            self.report(&submission, RadioOutcome::Refused(Refusal::TransmitOff));
        } else if is_direct(&submission)
            && self.waiting.iter().filter(|it| is_direct(it)).count() >= DIRECT_PLACES
        {
            self.give_back_for(PLACE_AGAIN, &submission, "too many direct messages wait");
        } else {
            self.waiting.push(submission);
        }
    }

    /// Gives a row back that still waits here; one on its way is not stopped.
    pub fn withdraw(&mut self, outbox: OutboxId) {
        if let Some(at) = self.waiting.iter().position(|other| other.outbox == outbox) {
            let submission = self.waiting.remove(at);
            self.give_back(&submission, "withdrawn");
        }
    }

    /// The link is ready. Unless the radio may transmit, everything is refused.
    pub fn on_ready(&mut self, own: NodeNum, may_transmit: bool) {
        self.link = Some(Link { own, may_transmit });
        self.queue_full = false;
        if !may_transmit {
            for submission in std::mem::take(&mut self.waiting) {
                self.report(&submission, RadioOutcome::Refused(Refusal::TransmitOff));
            }
        }
    }

    /// The link is lost, or leaves off. What was on its way is sent again under the same id, and what waits goes
    /// back to the table too, where it can still be changed or expire.
    pub fn on_lost(&mut self) {
        self.link = None;
        if let Some(flight) = self.flight.take() {
            self.delay_from(flight.repeated.unwrap_or(flight.written));
            match flight.status {
                Some((res, at)) => self.conclude(&flight.submission, Verdict::of_queue(res), at),
                None => self.repeat(&flight.submission, "the link was lost before an answer"),
            }
        }
        for submission in std::mem::take(&mut self.waiting) {
            self.give_back(&submission, "the link was lost");
        }
    }

    /// Gives back what waits; only what is on its way is still looked after.
    pub fn take_no_more(&mut self) {
        for submission in std::mem::take(&mut self.waiting) {
            self.give_back(&submission, "the relay stops");
        }
    }

    /// The radio said something, so the link is alive.
    pub fn on_frame(&mut self, now: Instant) {
        self.last_frame = Some(now);
    }

    /// Takes an answer.
    pub fn on_answer(&mut self, answer: Answer, now: Moment) {
        match answer {
            Answer::Queue {
                packet,
                res,
                free,
                maxlen,
            } => {
                if maxlen > 0 {
                    self.queue_full = free <= SPARE_PLACES.min(maxlen - 1);
                }
                let Some(flight) = self.flight_of(packet) else {
                    return;
                };
                // A second status for the same packet tells of its transmission.
                if flight.status.is_none() {
                    flight.status = Some((res, now));
                    self.delay_from(now.instant);
                }
            }
            Answer::Routing {
                from,
                request,
                error,
            } => {
                let Some(own) = self.link.map(|link| link.own) else {
                    return;
                };
                self.end_flight(own, from, request, error, now);
                self.reports
                    .extend(self.acks.on_routing(own, from, request, error));
            }
        }
    }

    /// Ends the flight of a packet whose `Routing` came before its `QueueStatus`, or just after it.
    fn end_flight(
        &mut self,
        own: NodeNum,
        from: NodeNum,
        request: PacketId,
        error: u32,
        now: Moment,
    ) {
        let Some(flight) = self.flight_of(request) else {
            return;
        };
        let destination = flight.submission.message.destination;
        let verdict = if from == own {
            Verdict::of_error(error, destination)
        } else if destination == Destination::Direct(from) {
            Verdict::Taken
        } else {
            return;
        };
        let Some(flight) = self.flight.take() else {
            return;
        };
        self.delay_from(now.instant);
        let at = flight.status.map_or(now, |(_, at)| at);
        let verdict = match verdict {
            // It was sent, and what became of it the same answer tells `acks`.
            Verdict::Unheard | Verdict::OnceMore { .. } => Verdict::Taken,
            Verdict::Taken | Verdict::Again { .. } | Verdict::Never(_) => verdict,
        };
        self.conclude(&flight.submission, verdict, at);
    }

    /// Settles what is due and returns what is to be written now, if anything.
    pub fn poll(&mut self, now: Moment) -> Option<(PacketId, RadioMessage)> {
        self.link?;
        if self.closed_until(now.instant).is_some() {
            self.give_back_all_but_urgent();
        }
        if self.flight.is_some() {
            return self.poll_flight(now);
        }
        if self.queue_full {
            return None;
        }
        // The oldest of the most urgent lane: each destination has one candidate, so they take turns.
        let candidates = self.waiting.iter().enumerate();
        let (next, lane) = candidates
            .map(|(at, submission)| (at, submission.message.lane))
            .min_by_key(|(_, lane)| *lane)?;
        if self.may_go(lane).is_some_and(|due| now.instant < due) {
            return None;
        }
        let submission = self.waiting.remove(next);
        let outgoing = (submission.packet, submission.message.clone());
        self.flight = Some(Flight {
            submission,
            written: now.instant,
            repeated: None,
            status: None,
        });
        Some(outgoing)
    }

    /// Returns until when only urgent texts may be submitted; `None` if others may too.
    pub fn closed_until(&self, now: Instant) -> Option<Instant> {
        self.traffic.closed_until(now)
    }

    fn give_back_all_but_urgent(&mut self) {
        let is_urgent = |it: &Submission| it.message.lane == Lane::Urgent;
        let (urgent, others) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(is_urgent);
        self.waiting = urgent;
        for submission in others {
            self.give_back(&submission, "the air bears only urgent texts");
        }
    }

    /// Looks after the packet on its way: repeats it once when it is not answered.
    fn poll_flight(&mut self, now: Moment) -> Option<(PacketId, RadioMessage)> {
        let last_frame = self.last_frame;
        let flight = self.flight.as_mut()?;
        if let Some((res, at)) = flight.status {
            if now.instant >= at.instant + SETTLING {
                let flight = self.flight.take()?;
                self.conclude(&flight.submission, Verdict::of_queue(res), at);
            }
            return None;
        }
        let Some(repeated) = flight.repeated else {
            if now.instant < flight.written + ANSWER_LIMIT {
                return None;
            }
            flight.repeated = Some(now.instant);
            return Some((flight.submission.packet, flight.submission.message.clone()));
        };
        // A radio leaves a packet unanswered whose id it took before; a dead link leaves everything so.
        let alive = last_frame.is_some_and(|frame| frame > repeated);
        if alive && now.instant >= repeated + ANSWER_LIMIT {
            let flight = self.flight.take()?;
            self.delay_from(now.instant);
            self.conclude(&flight.submission, Verdict::Taken, now);
        }
        None
    }

    /// Returns when [`Pacer::poll`] wants to be called again, if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        self.link?;
        let Some(flight) = &self.flight else {
            return self.next_text();
        };
        match (flight.status, flight.repeated) {
            (Some((_, at)), _) => Some(at.instant + SETTLING),
            (None, None) => Some(flight.written + ANSWER_LIMIT),
            (None, Some(repeated)) => Some(repeated + ANSWER_LIMIT).filter(|due| {
                self.last_frame
                    .is_some_and(|frame| frame > repeated && frame < *due)
            }),
        }
    }

    /// Returns whether the radio is to be made to look for a text that follows shortly: by a heartbeat, now.
    pub fn prompts(&mut self, now: Instant) -> bool {
        let due = self.next_text().filter(|_| self.flight.is_none());
        let Some(due) = due.filter(|due| now < *due) else {
            return false;
        };
        if self.prompt_at(due).is_none_or(|prompt| now < prompt) {
            return false;
        }
        self.prompted_for = Some(due);
        true
    }

    /// Returns when [`Pacer::prompts`] wants to be called, if nothing else happens before.
    pub fn prompt_deadline(&self) -> Option<Instant> {
        if self.flight.is_some() {
            return None;
        }
        self.next_text().and_then(|due| self.prompt_at(due))
    }

    /// Returns when to make the radio look for the text that may go then; `None` if that is done.
    fn prompt_at(&self, due: Instant) -> Option<Instant> {
        (self.prompted_for != Some(due))
            .then(|| due.checked_sub(PROMPT))
            .flatten()
    }

    /// Returns when the next text that waits here may go; `None` if none does before the radio says something.
    fn next_text(&self) -> Option<Instant> {
        self.link.filter(|_| !self.queue_full)?;
        let lanes = self.waiting.iter().map(|it| it.message.lane);
        lanes.min().and_then(|lane| self.may_go(lane))
    }

    /// Returns before when nothing of a lane may go.
    fn may_go(&self, lane: Lane) -> Option<Instant> {
        self.not_before.max(self.traffic.not_before(lane))
    }

    /// Returns what has become known of messages since the last call.
    pub fn take_reports(&mut self) -> Vec<SendReport> {
        std::mem::take(&mut self.reports)
    }

    fn flight_of(&mut self, packet: PacketId) -> Option<&mut Flight> {
        self.flight
            .as_mut()
            .filter(|flight| flight.submission.packet == packet)
    }

    fn delay_from(&mut self, instant: Instant) {
        self.not_before = self.not_before.max(Some(instant + self.delay));
        self.traffic.sent(instant);
    }

    /// Reports what became of a packet, and remembers it for what comes later.
    fn conclude(&mut self, submission: &Submission, verdict: Verdict, at: Moment) {
        let (packet, outbox) = (submission.packet, submission.outbox);
        let destination = submission.message.destination;
        if let Verdict::Again { after, .. } = verdict {
            // The rate limit and a full queue concern every destination alike.
            let pause = at.instant + after.min(AFTER_FULL_QUEUE);
            self.not_before = self.not_before.max(Some(pause));
            if after > AFTER_FULL_QUEUE {
                self.traffic.rest(at.instant, after);
            }
        }
        if let Some(outcome) = self.acks.outcome(verdict, outbox) {
            self.acks.failed(packet, outbox, destination);
            self.report(submission, outcome);
        } else {
            self.acks.taken(packet, outbox, destination);
            self.traffic.taken();
            self.report(submission, RadioOutcome::Accepted { at: at.wall });
        }
    }

    /// The radio may have taken it: it is repeated under the same id.
    fn repeat(&mut self, submission: &Submission, reason: &str) {
        let outcome = RadioOutcome::Retry {
            after: Duration::ZERO,
            new_id: false,
            written: true,
            reason: reason.to_owned(),
        };
        self.report(submission, outcome);
    }

    /// It was never written this time.
    fn give_back(&mut self, submission: &Submission, reason: &str) {
        self.give_back_for(Duration::ZERO, submission, reason);
    }

    fn give_back_for(&mut self, after: Duration, submission: &Submission, reason: &str) {
        let outcome = RadioOutcome::Retry {
            after,
            new_id: false,
            written: false,
            reason: reason.to_owned(),
        };
        self.report(submission, outcome);
    }

    fn report(&mut self, submission: &Submission, outcome: RadioOutcome) {
        let (outbox, packet) = (submission.outbox, submission.packet);
        self.reports.push(SendReport::Radio {
            outbox,
            packet,
            outcome,
        });
    }
}

fn is_direct(submission: &Submission) -> bool {
    match submission.message.destination {
        Destination::Channel(_) => false,
        Destination::Direct(_) => true,
    }
}

/// The most bytes that firmware sends on a channel; longer payloads it refuses, or does not answer at all. For a
/// direct message its limit is lower, and its own answer.
fn payload_limit(payload: &RadioPayload) -> usize {
    match payload {
        RadioPayload::Text { reply_to: None, .. } => 232,
        RadioPayload::Text {
            reply_to: Some(_), ..
        } => 227,
        RadioPayload::Tapback { .. } => 222,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{ChannelIndex, Lane};

    const OWN: NodeNum = NodeNum(0xA11C_E001);
    const BOB: NodeNum = NodeNum(0xB0B0_B002);
    const DELAY: Duration = Duration::from_millis(2050);

    /// A pacer with its own clock.
    struct Bench {
        pacer: Pacer,
        now: Moment,
    }

    impl Bench {
        fn new() -> Self {
            let now = Moment::at(Timestamp(1_000_000));
            let mut pacer = Pacer::new(DELAY, None, now);
            pacer.on_ready(OWN, true);
            Self { pacer, now }
        }

        fn wait(&mut self, span: Duration) {
            self.now = Moment {
                instant: self.now.instant + span,
                wall: self.now.wall + span,
            };
        }

        /// Waits until the pacer wants to be called.
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
            self.pacer.poll(self.now).map(|(packet, _)| packet.0)
        }

        fn queue(&mut self, packet: u32, res: i32) {
            self.queue_with(packet, res, 15);
        }

        fn queue_with(&mut self, packet: u32, res: i32, free: u32) {
            self.pacer.on_frame(self.now.instant);
            let answer = Answer::Queue {
                packet: PacketId(packet),
                res,
                free,
                maxlen: 16,
            };
            self.pacer.on_answer(answer, self.now);
        }

        fn routing(&mut self, from: NodeNum, request: u32, error: u32) {
            let answer = Answer::Routing {
                from,
                request: PacketId(request),
                error,
            };
            self.pacer.on_answer(answer, self.now);
        }

        /// Waits until a refusal would have come, then returns what was reported.
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

        /// Has a text written and accepted.
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
            outbox: OutboxId(i64::from(number)),
            packet: PacketId(number),
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

    fn channel(index: u32) -> Destination {
        Destination::Channel(ChannelIndex::try_from(index).unwrap())
    }

    fn retry(outcomes: &[(u32, RadioOutcome)]) -> Option<(u32, Duration, bool)> {
        match outcomes {
            [(packet, RadioOutcome::Retry { after, new_id, .. })] => {
                Some((*packet, *after, *new_id))
            }
            _ => None,
        }
    }

    /// Whether this row, and nothing else, was given back as if it had never been submitted.
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
        let now = Moment::at(Timestamp(1_000_000));
        let first_at = |last: i64| {
            let mut pacer = Pacer::new(DELAY, Some(Timestamp(last)), now);
            pacer.on_ready(OWN, true);
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
        bench.pacer.on_ready(OWN, true);
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
                // The next row of the same channel takes its place behind the others.
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

    /// `QueueStatus.res`, whether a `Routing` with the same number follows, and what is reported.
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
        bench.pacer.on_ready(OWN, true);
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
        bench.pacer.on_ready(OWN, true);
        assert_eq!(bench.written(), Some(1));
    }

    #[test]
    fn a_radio_that_may_not_transmit_refuses_what_waits_and_what_comes() {
        let mut bench = Bench::new();
        bench.pacer.on_lost();
        bench.submit(1, channel(0), Lane::Message);
        bench.pacer.on_ready(OWN, false);
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
        bench.pacer.withdraw(OutboxId(1));
        bench.pacer.withdraw(OutboxId(2));
        bench.pacer.withdraw(OutboxId(3));
        assert!(is_as_before(&bench.reports(), 2));
        bench.queue(1, 0);
        assert_eq!(bench.settled().len(), 1);
    }

    #[test]
    fn a_row_submitted_twice_is_sent_once() {
        let mut bench = Bench::new();
        bench.submit(1, channel(0), Lane::Message);
        bench
            .pacer
            .submit(submission(1, channel(0), Lane::Message, "changed"));
        let (_, message) = bench.pacer.poll(bench.now).expect("a text is due");
        assert_eq!(message.payload.bytes(), b"changed");
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
        // Its answer is about no packet.
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
        bench.pacer = bench.pacer.with_channel_use(ChannelUse {
            slow_above: 25,
            stop_above: 40,
        });
        bench.pacer.on_channel_use(41.0, bench.now.instant);
        bench.submit(1, channel(0), Lane::Message);
        bench.submit(2, channel(0), Lane::Urgent);
        assert_eq!(bench.written(), Some(2));
        assert!(is_as_before(&bench.reports(), 1));
        bench.queue(2, 0);
        bench.settled();
        let closed = bench.pacer.closed_until(bench.now.instant);
        assert!(closed.is_some());
        bench.pacer.on_channel_use(26.0, bench.now.instant);
        assert_eq!(bench.pacer.closed_until(bench.now.instant), None);
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
        let closed = bench.pacer.closed_until(bench.now.instant).unwrap();
        bench.wait(closed - bench.now.instant);
        assert_eq!(bench.pacer.closed_until(bench.now.instant), None);
        assert!(bench.now.wall >= Timestamp(1_000_000) + after);
        bench.submit(2, channel(1), Lane::Message);
        assert_eq!(bench.written(), Some(2));
    }

    /// What happens to the pacer.
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
        /// Texts are apart, one is unanswered, a row has one verdict for each time it is handed over, and whatever
        /// waits on a live link has a time at which it is looked at again.
        #[test]
        fn the_pace_is_kept_whatever_happens(happenings in prop::collection::vec(happening(), 1..80)) {
            let mut bench = Bench::new();
            bench.pacer = bench.pacer.with_channel_use(ChannelUse { slow_above: 25, stop_above: 40 });
            let (mut linked, mut transmits) = (true, true);
            let mut full = false;
            let mut held: Vec<u32> = Vec::new();
            let mut unanswered: Option<(u32, u32)> = None;
            let mut accepted_at: Option<Instant> = None;
            for happening in happenings {
                match happening {
                    Happening::Submit(row, to, lane) => {
                        // A worker hands nothing over twice, and nothing but one row of its queue.
                        if !held.contains(&row) && linked {
                            held.push(row);
                            bench.submit(row, channel(to), Lane::try_from(lane).unwrap());
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
                        bench.pacer.on_ready(OWN, may_transmit);
                    }
                    Happening::Withdraw(row) => bench.pacer.withdraw(OutboxId(row.into())),
                    Happening::Busy(percent) => bench.pacer.on_channel_use(percent.into(), bench.now.instant),
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
}
