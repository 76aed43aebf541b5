//! What may be sent when, and what a refusal means. No I/O, no clock.
//!
//! The radio takes one text in two seconds, counted from the one that it took last, and says nothing of the ones
//! that it drops; so there is never more than one packet of ours without an answer, and the next waits for the
//! delay that counts from that answer. The queue in front is the outbox table's business: here waits at most one
//! candidate for each destination and lane, and none that the air does not bear for a while: in the table it can be
//! changed, and tells its age when its turn comes.

mod acks;
pub(crate) mod answer;
pub(crate) mod submission;
pub(crate) mod traffic;

use std::time::{Duration, Instant};

use relay_model::{
    Destination, Lane, MeshRowId, NodeNum, RadioOutcome, RadioPayload, RadioProfile, Refusal,
    SendReport, Timestamp,
};

pub use answer::Answer;
pub use submission::Submission;

use super::moment::Moment;
use acks::Acks;
use answer::{AFTER_FULL_QUEUE, Routing, Verdict};
use traffic::Traffic;

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
/// Rows that are named here as to be given back while they are still on their way from the table.
const CALLED_BACK: usize = 64;
/// A direct message that finds no place is submitted again after that.
const PLACE_AGAIN: Duration = Duration::from_secs(30);

/// What was meant for another channel than stands in its slot now is looked up again after that: its new place is known then.
const CHANNEL_AGAIN: Duration = Duration::from_secs(5);

const RECALLED: &str = "called back";

/// The one packet that the radio has not answered yet.
#[derive(Debug)]
struct Flight {
    submission: Submission,
    written: Instant,
    repeated: Option<Instant>,
    status: Option<(i32, Moment)>,
}

/// Decides what is sent when, and reports what became of it.
#[derive(Debug, Default)]
pub struct Pacer {
    delay: Duration,
    not_before: Option<Instant>,
    pub(super) traffic: Traffic,
    /// The radio was made to look for the text that may go then.
    prompted_for: Option<Instant>,
    /// The radio, while the link is ready.
    radio: Option<RadioProfile>,
    waiting: Vec<Submission>,
    /// The rows that are to be given back when they come, the newest first.
    called_back: Vec<MeshRowId>,
    flight: Option<Flight>,
    queue_full: bool,
    last_frame: Option<Instant>,
    acks: Acks,
    reports: Vec<SendReport>,
}

impl Pacer {
    /// Makes one that keeps `delay` between texts, also from the one that the radio took before this program's start.
    pub fn new(delay: Duration, last_accepted: Option<Timestamp>, now: Moment) -> Self {
        let rest_of = |delay: Duration| {
            let rest = last_accepted.map(|last| delay.saturating_sub(now.wall.since(last)));
            rest.map(|rest| now.instant + rest)
        };
        Self {
            delay,
            not_before: rest_of(delay),
            traffic: Traffic::new(delay, rest_of(traffic::SLOW_DELAY.max(delay))),
            ..Self::default()
        }
    }

    /// Returns whether [`Pacer::submit`] may be called.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < PLACES
    }

    /// Returns whether a packet has been written and its fate is not known.
    pub fn is_waiting_for_answer(&self) -> bool {
        self.flight.is_some()
    }

    /// Takes a row. One that waits here already is replaced, one on its way is not taken twice, one that was called
    /// back before it came is given back.
    pub fn submit(&mut self, submission: Submission) {
        let outbox = submission.outbox;
        if self.is_on_its_way(outbox) {
            return;
        }
        self.waiting.retain(|other| other.outbox != outbox);
        let called_back = self.called_back.iter().position(|row| *row == outbox);
        if let Some(place) = called_back {
            self.called_back.remove(place);
            self.retry(Duration::ZERO, false, &submission, RECALLED);
        } else if submission.message.payload.bytes().len()
            > payload_limit(&submission.message.payload)
        {
            self.report(&submission, RadioOutcome::Refused(Refusal::TooLong));
        } else if self.radio.as_ref().is_some_and(|it| !it.transmits()) {
            self.report(&submission, RadioOutcome::Refused(Refusal::TransmitOff));
        } else if let Some(radio) = &self.radio
            && !submission.is_for(&radio.channels)
        {
            let reason = "another channel stands in its channel's place";
            self.retry(CHANNEL_AGAIN, false, &submission, reason);
        } else if is_direct(&submission)
            && self.waiting.iter().filter(|it| is_direct(it)).count() >= DIRECT_PLACES
        {
            let reason = "too many direct messages wait";
            self.retry(PLACE_AGAIN, false, &submission, reason);
        } else {
            self.waiting.push(submission);
        }
    }

    /// Gives a row back that still waits here, or has not come yet; one on its way to the radio is not stopped.
    pub fn withdraw(&mut self, outbox: MeshRowId) {
        if self.give_back(|it| it.outbox == outbox, RECALLED) == 0 && !self.is_on_its_way(outbox) {
            self.called_back.retain(|row| *row != outbox);
            self.called_back.truncate(CALLED_BACK - 1);
            self.called_back.insert(0, outbox);
        }
    }

    fn is_on_its_way(&self, outbox: MeshRowId) -> bool {
        let flight = self.flight.as_ref();
        flight.is_some_and(|flight| flight.submission.outbox == outbox)
    }

    /// The link is ready. Unless the radio may transmit, everything is refused; what is meant for a channel goes nowhere else.
    pub fn on_ready(&mut self, profile: &RadioProfile) {
        self.radio = Some(profile.clone());
        self.queue_full = false;
        for submission in std::mem::take(&mut self.waiting) {
            self.submit(submission);
        }
    }

    /// The link is lost, or leaves off. What was on its way is sent again under the same id, and what waits goes
    /// back to the table too, where it can still be changed or expire.
    pub fn on_lost(&mut self) {
        self.radio = None;
        if let Some(flight) = self.flight.take() {
            self.delay_from(flight.repeated.unwrap_or(flight.written));
            if let Some((res, at)) = flight.status {
                self.conclude(&flight.submission, Verdict::of_queue(res), at);
            } else {
                // The radio may have taken it: it is repeated under the same id.
                let reason = "the link was lost before an answer";
                self.retry(Duration::ZERO, true, &flight.submission, reason);
            }
        }
        self.give_back(|_| true, "the link was lost");
    }

    /// Gives back what waits; only what is on its way is still looked after.
    pub fn take_no_more(&mut self) {
        self.give_back(|_| true, "the relay stops");
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
                // A second status for the same packet tells of its transmission.
                if let Some(flight) = &mut self.flight
                    && flight.submission.packet == packet
                    && flight.status.is_none()
                {
                    flight.status = Some((res, now));
                    self.delay_from(now.instant);
                }
            }
            Answer::Routing(routing) => {
                let Some(own) = self.radio.as_ref().map(|it| it.own.num) else {
                    return;
                };
                self.end_flight(own, routing, now);
                self.reports.extend(self.acks.on_routing(own, routing));
            }
        }
    }

    /// Ends the flight of a packet whose `Routing` came before its `QueueStatus`, or just after it.
    fn end_flight(&mut self, own: NodeNum, routing: Routing, now: Moment) {
        let Routing { from, error, .. } = routing;
        let is_its = |flight: &mut Flight| {
            let destination = flight.submission.message.destination;
            let is_told = from == own || destination == Destination::Direct(from);
            flight.submission.packet == routing.request && is_told
        };
        let Some(flight) = self.flight.take_if(is_its) else {
            return;
        };
        self.delay_from(now.instant);
        let at = flight.status.map_or(now, |(_, at)| at);
        let mut verdict = Verdict::of_error(error, flight.submission.message.destination);
        if from != own || verdict.is_sent() {
            // What became of it the same answer tells `acks`.
            verdict = Verdict::Taken;
        }
        self.conclude(&flight.submission, verdict, at);
    }

    /// Settles what is due and returns what is to be written now, if anything.
    pub fn poll(&mut self, now: Moment) -> Option<&Submission> {
        self.radio.as_ref()?;
        if self.traffic.closed_until(now.instant).is_some() {
            let is_less_urgent = |it: &Submission| it.message.lane != Lane::Urgent;
            self.give_back(is_less_urgent, "the air bears only urgent texts");
        }
        if self.flight.is_some() {
            return self.poll_flight(now);
        }
        if self.queue_full {
            return None;
        }
        // The oldest of the most urgent lane: each destination has one candidate, so they take turns.
        let lanes = self.waiting.iter().map(|it| it.message.lane);
        let (next, lane) = lanes.enumerate().min_by_key(|(_, lane)| *lane)?;
        if self.may_go(lane).is_some_and(|due| now.instant < due) {
            return None;
        }
        let flight = Flight {
            submission: self.waiting.remove(next),
            written: now.instant,
            repeated: None,
            status: None,
        };
        Some(&self.flight.insert(flight).submission)
    }

    /// Looks after the packet on its way: repeats it once when it is not answered.
    fn poll_flight(&mut self, now: Moment) -> Option<&Submission> {
        self.flight_due().filter(|due| now.instant >= *due)?;
        let mut flight = self.flight.take()?;
        match (flight.status, flight.repeated) {
            (Some((res, at)), _) => self.conclude(&flight.submission, Verdict::of_queue(res), at),
            (None, Some(_)) => {
                self.delay_from(now.instant);
                self.conclude(&flight.submission, Verdict::Taken, now);
            }
            (None, None) => {
                flight.repeated = Some(now.instant);
                return Some(&self.flight.insert(flight).submission);
            }
        }
        None
    }

    /// Returns when the packet on its way wants to be looked after; `None` if not before the radio says something.
    fn flight_due(&self) -> Option<Instant> {
        let flight = self.flight.as_ref()?;
        match (flight.status, flight.repeated) {
            (Some((_, at)), _) => Some(at.instant + SETTLING),
            (None, None) => Some(flight.written + ANSWER_LIMIT),
            // A radio leaves a packet unanswered whose id it took before; a dead link leaves everything so.
            (None, Some(repeated)) => {
                let is_alive = self.last_frame > Some(repeated);
                is_alive.then(|| repeated + ANSWER_LIMIT)
            }
        }
    }

    /// Returns when [`Pacer::poll`] wants to be called again, if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        match self.flight {
            Some(_) => self.flight_due(),
            None => self.next_text(),
        }
    }

    /// Returns whether the radio is to be made to look for a text that follows shortly: by a heartbeat, now.
    pub fn prompts(&mut self, now: Instant) -> bool {
        let due = self.next_text().filter(|due| now < *due);
        let is_time = due.is_some() && self.prompt_deadline().is_some_and(|at| at <= now);
        if is_time {
            self.prompted_for = due;
        }
        is_time
    }

    /// Returns when [`Pacer::prompts`] wants to be called, if nothing else happens before.
    pub fn prompt_deadline(&self) -> Option<Instant> {
        let due = self.next_text().filter(|_| self.flight.is_none());
        due.filter(|_| self.prompted_for != due)?
            .checked_sub(PROMPT)
    }

    /// Returns when the next text that waits here may go; `None` if none does before the radio says something.
    fn next_text(&self) -> Option<Instant> {
        self.radio.as_ref().filter(|_| !self.queue_full)?;
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

    fn delay_from(&mut self, instant: Instant) {
        self.not_before = self.not_before.max(Some(instant + self.delay));
        self.traffic.sent(instant);
    }

    /// Reports what became of a packet, and remembers it for what comes later.
    fn conclude(&mut self, submission: &Submission, verdict: Verdict, at: Moment) {
        if let Verdict::Again { after, .. } = verdict {
            // The rate limit and a full queue concern every destination alike.
            let pause = at.instant + after.min(AFTER_FULL_QUEUE);
            self.not_before = self.not_before.max(Some(pause));
            if after > AFTER_FULL_QUEUE {
                self.traffic.rest(at.instant, after);
            }
        }
        let failure = self.acks.outcome(verdict, submission.outbox);
        let is_taken = failure.is_none();
        self.acks.remember(submission, is_taken);
        if is_taken {
            self.traffic.taken();
        }
        let accepted = RadioOutcome::Accepted { at: at.wall };
        self.report(submission, failure.unwrap_or(accepted));
    }

    /// Gives back what waits here and is to go; none of it was written. Returns how much.
    fn give_back(&mut self, goes: impl Fn(&Submission) -> bool, reason: &str) -> usize {
        let gone: Vec<_> = self.waiting.extract_if(.., |it| goes(it)).collect();
        for submission in &gone {
            self.retry(Duration::ZERO, false, submission, reason);
        }
        gone.len()
    }

    fn retry(&mut self, after: Duration, written: bool, submission: &Submission, reason: &str) {
        let outcome = RadioOutcome::Retry {
            after,
            new_id: false,
            written,
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
    matches!(submission.message.destination, Destination::Direct(_))
}

/// The most bytes that firmware sends on a channel; longer payloads it refuses, or does not answer at all. For a
/// direct message its limit is lower, and its own answer.
fn payload_limit(payload: &RadioPayload) -> usize {
    match payload {
        RadioPayload::Text { reply_to, .. } if reply_to.is_some() => 227,
        RadioPayload::Text { .. } => 232,
        RadioPayload::Tapback { .. } => 222,
    }
}

#[cfg(test)]
mod tests;
