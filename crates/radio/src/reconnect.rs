//! The delays between attempts to connect. No I/O, no clock, no random numbers.

use std::time::{Duration, Instant};

use relay_model::{Backoff, LossKind};

/// Delay after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(250);
/// Maximum delay in the first two minutes: the first message has to cross within 3 s after the radio returns, the
/// detection of its return and the handshake included.
const LONGEST_AT_FIRST: Duration = Duration::from_secs(1);
const AT_FIRST: Duration = Duration::from_mins(2);
/// Maximum delay.
const LONGEST: Duration = Duration::from_mins(1);
/// A ready link that the radio ends sooner counts as taken by another client.
const SHORT_LIFE: Duration = Duration::from_secs(15);
/// Number of such links in a row from which another client is reported.
const SHORT_LIVES: u32 = 3;
/// Number of such links without a text from which the delays grow. A restart can cause two or three.
const VAIN_LIVES: u32 = 5;

/// The back-off between attempts.
#[derive(Debug, Default)]
pub(super) struct Reconnect {
    failing_since: Option<Instant>,
    failures: u32,
    ready_since: Option<Instant>,
    short_lives: u32,
    /// How many of the last short links carried no text.
    vain_lives: u32,
    /// A text has crossed on this link in either direction. As long as each short link carries texts, backing off would
    /// only delay further ones.
    pub(super) crossed: bool,
    /// Duration of the attempt that has just failed.
    tried_for: Duration,
}

/// The next attempt, and whether another client uses the radio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NextTry {
    pub(super) delay: Duration,
    /// Links keep ending right after they became ready.
    pub(super) another_client: bool,
}

impl Reconnect {
    /// The link is ready, or ready again.
    pub(super) fn on_ready(&mut self, now: Instant) {
        self.ready_since.get_or_insert(now);
    }

    /// The radio itself was away: nothing accepted the connection or answered on it, or the radio restarted. This
    /// resets delays that grew through another client, since a radio taken by one stays reachable.
    pub(super) fn on_absent(&mut self) {
        if self.vain_lives >= VAIN_LIVES {
            self.on_return();
        }
        (self.short_lives, self.vain_lives) = (0, 0);
    }

    /// The connection could not be made in that time.
    pub(super) fn on_failed(&mut self, tried_for: Duration) {
        self.on_absent();
        self.tried_for = tried_for;
    }

    /// The radio was plugged in, so the back-off starts anew.
    pub(super) fn on_return(&mut self) {
        self.failures = 0;
        self.failing_since = None;
    }

    /// The link was lost, or could not be made. A broken link, or one that this computer ended, is no evidence for or
    /// against another client. `random` is 0 to 1 and shortens the delay by up to a quarter, so that two relays do not
    /// stay in step.
    pub(super) fn on_lost(&mut self, now: Instant, kind: LossKind, random: f64) -> NextTry {
        let crossed = std::mem::take(&mut self.crossed);
        if let Some(since) = self.ready_since.take() {
            if now.saturating_duration_since(since) >= SHORT_LIFE {
                (self.short_lives, self.vain_lives) = (0, 0);
            } else if kind == LossKind::Ended {
                self.short_lives = self.short_lives.saturating_add(1);
                let vain_lives = self.vain_lives.saturating_add(1);
                self.vain_lives = if crossed { 0 } else { vain_lives };
            }
            if self.vain_lives < VAIN_LIVES {
                self.on_return();
            }
        }
        let since = *self.failing_since.get_or_insert(now);
        let another_client = self.short_lives >= SHORT_LIVES;
        let stands_back = self.vain_lives >= VAIN_LIVES;
        let at_first = now.saturating_duration_since(since) < AT_FIRST && !stands_back;
        let longest = if at_first { LONGEST_AT_FIRST } else { LONGEST };
        let counted = self.failures.saturating_add(1);
        // From there the delay grows once the first two minutes are over.
        self.failures = if at_first { counted.min(3) } else { counted };
        // While another client takes the radio, the delay grows with the number of lost links.
        let lost = self.vain_lives.saturating_sub(VAIN_LIVES) + 3;
        let failures = if stands_back { lost } else { counted };
        let delay = Backoff::new(FIRST, longest).after(failures, random);
        // The delay separates the beginnings of attempts: one that lasts until its timeout has waited long enough.
        let tried_for = std::mem::take(&mut self.tried_for);
        let is_refused = kind == LossKind::Refused;
        let delay = delay.saturating_sub(tried_for).max(FIRST / 2);
        NextTry {
            delay: if is_refused { LONGEST } else { delay },
            another_client: another_client && !is_refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LossKind::{Absent, Broken, Ended, Refused};
    use super::*;

    /// Fails without end; returns the time of each attempt since the first failure, and the delay after it.
    fn failures(
        reconnect: &mut Reconnect,
        start: Instant,
        count: usize,
    ) -> Vec<(Duration, Duration)> {
        let mut now = start;
        (0..count)
            .map(|_| {
                let next = reconnect.on_lost(now, Absent, 0.0);
                let at = now - start;
                now += next.delay;
                assert!(!next.another_client);
                (at, next.delay)
            })
            .collect()
    }

    #[test]
    fn two_minutes_long_no_delay_is_over_a_second_and_later_none_over_a_minute() {
        let tries = failures(&mut Reconnect::default(), Instant::now(), 150);
        assert_eq!(tries.first().map(|(_, delay)| *delay), Some(FIRST));
        for (at, delay) in &tries {
            assert!(
                *delay
                    <= if *at < AT_FIRST {
                        Duration::from_secs(1)
                    } else {
                        LONGEST
                    },
                "{at:?}"
            );
        }
        let grows = tries.iter().filter(|(at, _)| *at >= AT_FIRST);
        let grows: Vec<_> = grows.map(|(_, delay)| delay.as_secs()).take(4).collect();
        assert_eq!(grows, [2, 4, 8, 16]);
        assert_eq!(tries.last().map(|(_, delay)| *delay), Some(LONGEST));
    }

    #[test]
    fn a_link_that_lived_starts_afresh() {
        let (mut reconnect, start) = (Reconnect::default(), Instant::now());
        failures(&mut reconnect, start, 150);
        let ready = start + Duration::from_hours(3);
        reconnect.on_ready(ready);
        assert_eq!(
            reconnect.on_lost(ready + SHORT_LIFE, Ended, 0.0).delay,
            FIRST
        );
    }

    #[test]
    fn a_radio_that_was_plugged_in_starts_afresh_too() {
        let (mut reconnect, start) = (Reconnect::default(), Instant::now());
        failures(&mut reconnect, start, 150);
        reconnect.on_return();
        let later = start + Duration::from_hours(3);
        assert_eq!(reconnect.on_lost(later, Absent, 0.0).delay, FIRST);
    }

    #[test]
    fn links_that_keep_dying_right_after_ready_are_another_clients() {
        let (mut reconnect, mut now) = (Reconnect::default(), Instant::now());
        let mut delays = Vec::new();
        for attempt in 1..20 {
            reconnect.on_ready(now);
            now += Duration::from_secs(1);
            let next = reconnect.on_lost(now, Ended, 0.0);
            assert_eq!(next.another_client, attempt >= SHORT_LIVES, "{attempt}");
            delays.push(next.delay);
            now += next.delay;
        }
        assert_eq!(delays.first(), Some(&FIRST));
        assert!(delays.is_sorted());
        assert_eq!(delays.last(), Some(&LONGEST));
        reconnect.on_ready(now);
        let next = reconnect.on_lost(now + SHORT_LIFE, Ended, 0.0);
        assert_eq!(
            next,
            NextTry {
                delay: FIRST,
                another_client: false
            }
        );
    }

    #[test]
    fn short_links_on_which_texts_cross_are_made_again_at_once_and_told_to_be_another_clients() {
        let (mut reconnect, mut now) = (Reconnect::default(), Instant::now());
        for attempt in 1..20 {
            reconnect.on_ready(now);
            now += Duration::from_secs(1);
            reconnect.crossed = true;
            let next = reconnect.on_lost(now, Ended, 0.0);
            assert_eq!(next.another_client, attempt >= SHORT_LIVES, "{attempt}");
            assert_eq!(next.delay, FIRST, "{attempt}");
            now += next.delay;
        }
        for attempt in 1..=VAIN_LIVES {
            reconnect.on_ready(now);
            let next = reconnect.on_lost(now + FIRST, Ended, 0.0);
            assert_eq!(next.delay > FIRST, attempt == VAIN_LIVES, "{attempt}");
        }
    }

    #[test]
    fn links_that_break_right_after_ready_are_nobodys_work() {
        let (mut reconnect, mut now) = (Reconnect::default(), Instant::now());
        for kind in [Ended, Ended].into_iter().chain([Broken; 20]) {
            reconnect.on_ready(now);
            now += Duration::from_secs(1);
            let next = reconnect.on_lost(now, kind, 0.0);
            assert_eq!((next.delay, next.another_client), (FIRST, false));
            now += next.delay;
        }
        reconnect.on_ready(now);
        assert!(reconnect.on_lost(now + FIRST, Ended, 0.0).another_client);
    }

    #[test]
    fn a_radio_that_goes_away_after_a_fight_is_looked_for_as_any_other() {
        let (mut reconnect, mut now) = (Reconnect::default(), Instant::now());
        for _ in 0..10 {
            reconnect.on_ready(now);
            now += reconnect.on_lost(now + FIRST, Ended, 0.0).delay + FIRST;
        }
        assert!(reconnect.on_lost(now, Ended, 0.0).another_client);
        reconnect.on_failed(Duration::ZERO);
        let next = reconnect.on_lost(now, Absent, 0.0);
        assert_eq!((next.delay, next.another_client), (FIRST, false));
    }

    #[test]
    fn a_radio_that_was_away_between_short_links_was_not_taken_over() {
        let (mut reconnect, mut now) = (Reconnect::default(), Instant::now());
        for _ in 0..20 {
            reconnect.on_ready(now);
            now += Duration::from_secs(5);
            let next = reconnect.on_lost(now, Ended, 0.0);
            assert_eq!(next.delay, FIRST);
            now += next.delay;
            for _ in 0..3 {
                reconnect.on_failed(Duration::ZERO);
                let next = reconnect.on_lost(now, Absent, 0.0);
                assert!(!next.another_client && next.delay <= LONGEST_AT_FIRST);
                now += next.delay;
            }
        }
    }

    #[test]
    fn an_attempt_that_nobody_answered_was_wait_enough() {
        let (mut reconnect, start) = (Reconnect::default(), Instant::now());
        let limit = Duration::from_secs(5);
        let mut now = start;
        while now + limit - start < AT_FIRST {
            reconnect.on_failed(limit);
            now += limit;
            let next = reconnect.on_lost(now, Absent, 0.0);
            assert_eq!(next.delay, FIRST / 2);
            now += next.delay;
        }
        for _ in 0..20 {
            reconnect.on_failed(limit);
            now += LONGEST;
            reconnect.on_lost(now, Absent, 0.0);
        }
        reconnect.on_failed(limit);
        assert_eq!(reconnect.on_lost(now, Absent, 0.0).delay + limit, LONGEST);
        assert_eq!(reconnect.on_lost(now, Absent, 0.0).delay, LONGEST);
    }

    #[test]
    fn a_radio_that_refuses_us_is_asked_once_in_the_longest_delay() {
        let (mut reconnect, now) = (Reconnect::default(), Instant::now());
        for _ in 0..5 {
            reconnect.on_failed(Duration::from_secs(20));
            let next = reconnect.on_lost(now, Refused, 1.0);
            assert_eq!((next.delay, next.another_client), (LONGEST, false));
        }
        reconnect.on_ready(now);
        assert_eq!(reconnect.on_lost(now, Broken, 0.0).delay, FIRST);
    }

    #[test]
    fn chance_shortens_a_delay_by_up_to_a_quarter() {
        let delay = |random| {
            Reconnect::default()
                .on_lost(Instant::now(), Absent, random)
                .delay
        };
        assert_eq!(delay(1.0), FIRST.mul_f64(0.75));
        assert_eq!(delay(7.0), FIRST.mul_f64(0.75));
        assert_eq!(delay(0.0), FIRST);
    }
}
