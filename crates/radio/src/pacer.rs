//! Decides when a packet is sent. No I/O, no clock.
//!
//! The radio accepts one text in two seconds, counted from the last accepted one, and drops others silently. So at most
//! one packet is unanswered at any time, and the next one is delayed from its answer. The outbox table is the queue:
//! the pacer holds at most one candidate for each destination and lane, and none that the channel utilisation holds
//! back, since a row in the table can still be changed or expire.

mod acks;
mod flight;
pub(crate) mod mesh_answer;
pub(crate) mod submission;
pub(crate) mod traffic;

use std::time::{Duration, Instant};

use relay_model::{
    Destination, Lane, MeshRowId, RadioOutcome, RadioPayload, RadioProfile, Refusal, SendReport,
    Timestamp,
};

pub use mesh_answer::MeshAnswer;
pub use submission::Submission;

use super::now::Now;
use acks::Acks;
use flight::Flight;
use mesh_answer::Verdict;
use traffic::Traffic;

/// Slots in the radio's transmit queue left to the radio itself.
const SPARE_PLACES: u32 = 2;
/// Lead of the heartbeat that wakes the firmware's reader: after 2 s without input it polls only four times a second.
const PROMPT: Duration = Duration::from_millis(300);
/// Maximum number of candidates: eight channels in three lanes, and some direct messages.
const PLACES: usize = 64;
/// Maximum number of direct messages among them; urgent ones are always taken.
const DIRECT_PLACES: usize = 32;
/// Maximum number of withdrawals remembered for submissions that have not arrived yet.
const CALLED_BACK: usize = 64;
/// Delay before a direct message without a free place is submitted again.
const PLACE_AGAIN: Duration = Duration::from_secs(30);

/// Delay before a message whose channel has left its slot is looked up again, by then with the new slot.
const CHANNEL_AGAIN: Duration = Duration::from_secs(5);

const RECALLED: &str = "called back";

/// Decides when each submission is sent, and reports its outcome.
#[derive(Debug, Default)]
pub struct Pacer {
    delay: Duration,
    not_before: Option<Instant>,
    pub(super) traffic: Traffic,
    /// The text for whose time the wake-up heartbeat was already sent.
    prompted_for: Option<Instant>,
    /// The radio's configuration while the link is ready.
    radio: Option<RadioProfile>,
    waiting: Vec<Submission>,
    /// Withdrawn rows whose submissions have not arrived yet, newest first.
    called_back: Vec<MeshRowId>,
    flight: Option<Flight>,
    queue_full: bool,
    last_frame: Option<Instant>,
    acks: Acks,
    reports: Vec<SendReport>,
}

impl Pacer {
    /// Creates a pacer that keeps `delay` between texts, counted also from the last text of an earlier run.
    pub fn new(delay: Duration, last_accepted: Option<Timestamp>, now: Now) -> Self {
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

    /// Returns whether a written packet has no verdict yet.
    pub fn is_waiting_for_answer(&self) -> bool {
        self.flight.is_some()
    }

    /// Takes a submission. It replaces a waiting one of the same row, is ignored if the row is in flight, and is
    /// returned if the row was withdrawn before.
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

    /// Returns a waiting submission, or one that has not arrived yet; a packet in flight is not stopped.
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

    /// The link is ready. If the radio may not transmit, everything is refused.
    pub fn on_ready(&mut self, profile: &RadioProfile) {
        self.radio = Some(profile.clone());
        self.queue_full = false;
        for submission in std::mem::take(&mut self.waiting) {
            self.submit(submission);
        }
    }

    /// The link is lost, or pauses. The packet in flight is repeated under its id, and waiting submissions return to
    /// the outbox.
    pub fn on_lost(&mut self) {
        self.radio = None;
        if let Some(flight) = self.flight.take() {
            self.delay_from(flight.repeated.unwrap_or(flight.written));
            if let Some((res, at)) = flight.status {
                self.conclude(&flight.submission, Verdict::of_queue(res), at, true);
            } else {
                // The radio may have accepted it, so the repetition keeps the id.
                let reason = "the link was lost before an answer";
                self.retry(Duration::ZERO, true, &flight.submission, reason);
            }
        }
        self.give_back(|_| true, "the link was lost");
    }

    /// Returns the waiting submissions; only the packet in flight is completed.
    pub fn take_no_more(&mut self) {
        self.give_back(|_| true, "the relay stops");
    }

    /// A frame arrived, so the link is alive.
    pub fn on_frame(&mut self, now: Instant) {
        self.last_frame = Some(now);
    }

    /// Takes an answer of the radio or of a node.
    pub fn on_answer(&mut self, answer: MeshAnswer, now: Now) {
        match answer {
            MeshAnswer::Queue {
                packet,
                res,
                free,
                maxlen,
            } => {
                if maxlen > 0 {
                    self.queue_full = free <= SPARE_PLACES.min(maxlen - 1);
                }
                // A second status for the same packet reports its transmission.
                if let Some(flight) = &mut self.flight
                    && flight.submission.packet == packet
                    && flight.status.is_none()
                {
                    flight.status = Some((res, now));
                    self.delay_from(now.instant);
                }
            }
            MeshAnswer::Routing(routing) => {
                let Some(own) = self.radio.as_ref().map(|it| it.own.num) else {
                    return;
                };
                self.end_flight(own, routing, now);
                self.reports.extend(self.acks.on_routing(own, routing));
            }
        }
    }

    /// Settles what is due, and returns the submission to write now, if any.
    pub fn poll(&mut self, now: Now) -> Option<&Submission> {
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
        // The oldest of the most urgent lane. Destinations take turns, since each has one candidate.
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

    /// Returns when [`Pacer::poll`] is due, if nothing else happens first.
    pub fn deadline(&self) -> Option<Instant> {
        match self.flight {
            Some(_) => self.flight_due(),
            None => self.next_text(),
        }
    }

    /// Returns whether to send the wake-up heartbeat now, shortly before a text.
    pub fn prompts(&mut self, now: Instant) -> bool {
        let due = self.next_text().filter(|due| now < *due);
        let is_time = due.is_some() && self.prompt_deadline().is_some_and(|at| at <= now);
        if is_time {
            self.prompted_for = due;
        }
        is_time
    }

    /// Returns when [`Pacer::prompts`] is due, if nothing else happens first.
    pub fn prompt_deadline(&self) -> Option<Instant> {
        let due = self.next_text().filter(|_| self.flight.is_none());
        due.filter(|_| self.prompted_for != due)?
            .checked_sub(PROMPT)
    }

    /// Returns when the next waiting text is due; `None` if it waits for an answer.
    fn next_text(&self) -> Option<Instant> {
        self.radio.as_ref().filter(|_| !self.queue_full)?;
        let lanes = self.waiting.iter().map(|it| it.message.lane);
        lanes.min().and_then(|lane| self.may_go(lane))
    }

    /// Returns the earliest time for a text of this lane.
    fn may_go(&self, lane: Lane) -> Option<Instant> {
        self.not_before.max(self.traffic.not_before(lane))
    }

    /// Returns the outcomes since the last call.
    pub fn take_reports(&mut self) -> Vec<SendReport> {
        std::mem::take(&mut self.reports)
    }

    fn delay_from(&mut self, instant: Instant) {
        self.not_before = self.not_before.max(Some(instant + self.delay));
        self.traffic.sent(instant);
    }

    /// Returns the waiting submissions that `goes` selects; none of them was written. Returns their number.
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

/// Returns the maximum payload in bytes: firmware refuses longer ones or does not answer. Its lower limit for direct
/// messages has an answer of its own.
fn payload_limit(payload: &RadioPayload) -> usize {
    match payload {
        RadioPayload::Text { reply_to, .. } if reply_to.is_some() => 227,
        RadioPayload::Text { .. } => 232,
        RadioPayload::Tapback { .. } => 222,
    }
}

#[cfg(test)]
mod tests;
