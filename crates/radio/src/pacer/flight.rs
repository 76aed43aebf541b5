//! The packet in flight: how long the radio has to answer it, and how its flight ends. No I/O, no clock.

use std::time::{Duration, Instant};

use relay_model::{Destination, NodeNum, RadioOutcome};

use super::mesh_answer::{AFTER_FULL_QUEUE, Routing, Verdict};
use super::{Pacer, Submission};
use crate::now::Now;

/// Maximum time to wait for a `QueueStatus`.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Time to wait for a refusal, which follows a `QueueStatus` that looks like success.
pub(super) const SETTLING: Duration = Duration::from_millis(400);

/// The one packet that the radio has not answered.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) submission: Submission,
    pub(super) written: Instant,
    pub(super) repeated: Option<Instant>,
    pub(super) status: Option<(i32, Now)>,
}

impl Pacer {
    /// Handles timeouts of the packet in flight; an unanswered one is repeated once.
    pub(super) fn poll_flight(&mut self, now: Now) -> Option<&Submission> {
        self.flight_due().filter(|due| now.instant >= *due)?;
        let mut flight = self.flight.take()?;
        match (flight.status, flight.repeated) {
            (Some((res, at)), _) => {
                self.conclude(&flight.submission, Verdict::of_queue(res), at, true);
            }
            (None, Some(_)) => {
                self.delay_from(now.instant);
                self.conclude(&flight.submission, Verdict::Taken, now, false);
            }
            (None, None) => {
                flight.repeated = Some(now.instant);
                return Some(&self.flight.insert(flight).submission);
            }
        }
        None
    }

    /// Returns the deadline of the packet in flight; `None` without a deadline.
    pub(super) fn flight_due(&self) -> Option<Instant> {
        let flight = self.flight.as_ref()?;
        match (flight.status, flight.repeated) {
            (Some((_, at)), _) => Some(at.instant + SETTLING),
            (None, None) => Some(flight.written + ANSWER_LIMIT),
            // A radio does not answer an id that it has accepted before; a dead link answers nothing.
            (None, Some(repeated)) => {
                let is_alive = self.last_frame > Some(repeated);
                is_alive.then(|| repeated + ANSWER_LIMIT)
            }
        }
    }

    /// Ends the flight of a packet whose `Routing` arrived before its `QueueStatus`, or just after it.
    pub(super) fn end_flight(&mut self, own: NodeNum, routing: Routing, now: Now) {
        let Routing { from, error, .. } = routing;
        let is_its = |flight: &mut Flight| {
            let destination = flight.submission.message.destination;
            let answers_it = from == own || destination == Destination::Direct(from);
            flight.submission.packet == routing.request && answers_it
        };
        let Some(flight) = self.flight.take_if(is_its) else {
            return;
        };
        self.delay_from(now.instant);
        let at = flight.status.map_or(now, |(_, at)| at);
        let mut verdict = Verdict::of_error(error, flight.submission.message.destination);
        if from != own || verdict.is_sent() {
            // `acks` reports the outcome from the same answer.
            verdict = Verdict::Taken;
        }
        self.conclude(&flight.submission, verdict, at, true);
    }

    /// Reports the outcome of a packet, which the radio `answered` or not, and remembers the packet for later acknowledgements.
    pub(super) fn conclude(
        &mut self,
        submission: &Submission,
        verdict: Verdict,
        at: Now,
        answered: bool,
    ) {
        if let Verdict::Again { after, .. } = verdict {
            // The rate limit and a full queue affect every destination.
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
        let accepted = RadioOutcome::Accepted {
            at: at.wall,
            answered,
        };
        self.report(submission, failure.unwrap_or(accepted));
    }
}
