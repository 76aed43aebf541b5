//! Rate limit per place in the code: a stranger who triggers a message constantly causes a limited number of lines. No
//! clock, no I/O.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Time after which a suppressed line is logged, if its place has been silent since.
const TELL_AFTER: Duration = Duration::from_mins(1);

/// How many lines a place in the code may log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// Number of lines that are logged at once, after a silence.
    pub(super) burst: u32,
    /// Time after which one more line is permitted.
    pub(super) every: Duration,
}

/// Counts lines per place. There are at most as many places as log statements.
#[derive(Debug)]
pub(super) struct Rate<P, L> {
    places: HashMap<P, LineBudget<L>>,
}

/// State of one place.
#[derive(Debug)]
struct LineBudget<L> {
    /// When the full burst is available again.
    whole_at: Instant,
    /// The last line, if suppressed, and its time: it is logged in the end.
    left_out: Option<(Admitted<L>, Instant)>,
}

/// A line to log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Admitted<L> {
    pub(super) line: L,
    /// Lines of the same place that were suppressed before this one.
    pub(super) left_out: u64,
}

impl<P, L> Default for Rate<P, L> {
    fn default() -> Self {
        let places = HashMap::new();
        Self { places }
    }
}

impl<P: Eq + Hash, L> Rate<P, L> {
    /// Takes a line; returns it if it may be logged now.
    pub(super) fn take(
        &mut self,
        place: P,
        limit: Limit,
        line: L,
        now: Instant,
    ) -> Option<Admitted<L>> {
        let account = self.places.entry(place).or_insert_with(|| LineBudget {
            whole_at: now,
            left_out: None,
        });
        let before = account.left_out.take();
        let left_out = before.as_ref().map_or(0, |(it, _)| it.left_out + 1);
        let heard = Admitted { line, left_out };
        let spent = account.whole_at.saturating_duration_since(now);
        if spent > limit.every * limit.burst.saturating_sub(1) {
            let tell_at = before.map_or(now + TELL_AFTER, |(_, tell_at)| tell_at);
            account.left_out = Some((heard, tell_at));
            return None;
        }
        account.whole_at = account.whole_at.max(now) + limit.every;
        Some(heard)
    }

    /// Returns the suppressed lines of places that have been silent for long enough; of all places if `now` is `None`.
    pub(super) fn tell(&mut self, now: Option<Instant>) -> Vec<Admitted<L>> {
        let is_due =
            |(_, tell_at): &mut (Admitted<L>, Instant)| now.is_none_or(|now| *tell_at <= now);
        let places = self.places.values_mut();
        let due = places.filter_map(|it| it.left_out.take_if(is_due));
        due.map(|(heard, _)| heard).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        burst: 3,
        every: Duration::from_secs(10),
    };

    fn heard(line: u32, left_out: u64) -> Admitted<u32> {
        Admitted { line, left_out }
    }

    #[test]
    fn a_place_is_heard_in_a_burst_and_then_now_and_then_with_a_count_of_what_was_left_out() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let mut notices = Vec::new();
        for number in 0..300 {
            let now = start + Duration::from_millis(100) * number;
            notices.extend(rate.take("here", LIMIT, number, now));
        }
        assert_eq!(
            notices,
            [
                heard(0, 0),
                heard(1, 0),
                heard(2, 0),
                heard(100, 97),
                heard(200, 99)
            ]
        );
    }

    #[test]
    fn the_last_line_of_a_place_is_always_heard_in_the_end() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        for number in 0..50 {
            rate.take("here", LIMIT, number, start);
        }
        let deadline = start + TELL_AFTER;
        let before = start + TELL_AFTER.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(rate.tell(Some(before)), []);
        assert_eq!(rate.tell(Some(deadline)), [heard(49, 46)]);
        assert_eq!(rate.tell(None), []);
    }

    #[test]
    fn at_the_end_everything_left_out_is_told() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        for number in 0..5 {
            rate.take("here", LIMIT, number, start);
        }
        assert_eq!(rate.tell(None), [heard(4, 1)]);
    }

    #[test]
    fn places_do_not_silence_each_other_and_a_quiet_one_has_its_burst_again() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        for number in 0..50 {
            rate.take("loud", LIMIT, number, start);
        }
        assert_eq!(rate.take("other", LIMIT, 1, start), Some(heard(1, 0)));
        let later = start + LIMIT.every * LIMIT.burst;
        let told: Vec<_> = (0..4)
            .map(|number| rate.take("loud", LIMIT, number, later))
            .collect();
        assert_eq!(
            told,
            [
                Some(heard(0, 47)),
                Some(heard(1, 0)),
                Some(heard(2, 0)),
                None
            ]
        );
    }
}
