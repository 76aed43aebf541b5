//! How the homeserver's clock goes beside ours, and where history ends by it. A small computer without a battery can be
//! hours off, and is set right while we run; what was written just now must be neither history nor too old by that.

use std::collections::HashSet;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use crate::model::{OwnedRoomId, RoomId, Timestamp};

/// What this computer's clocks show at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The one that can be set.
    wall: Timestamp,
    /// The time that has passed, asleep or not, whatever clocks were set to.
    passed: Duration,
}

impl Moment {
    pub(super) fn now() -> Self {
        #[cfg(target_os = "linux")]
        let clock = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = ClockId::Monotonic;
        let passed = clock_gettime(clock);
        Self {
            wall: Timestamp::now(),
            passed: Duration::new(
                u64::try_from(passed.tv_sec).unwrap_or(0),
                u32::try_from(passed.tv_nsec).unwrap_or(0),
            ),
        }
    }

    /// Returns how long after another moment this is, in milliseconds.
    fn after(self, other: Self) -> i64 {
        let span = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        span(self.passed).saturating_sub(span(other.passed))
    }
}

/// The homeserver's clock.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    /// What it showed last, and when that was.
    shown: Option<(Timestamp, Moment)>,
    /// By how many milliseconds ours was ahead of it when that was said last.
    said: i64,
}

impl ServerClock {
    /// What is within that is the way of the answer, and of no consequence.
    const SLACK: i64 = 30_000;

    /// Takes note of what the server's clock shows now; `None`: an answer did not tell.
    pub(super) fn learn(&mut self, server: Option<Timestamp>, now: Moment) {
        let Some(server) = server else {
            return;
        };
        self.shown = Some((server, now));
        let ahead = self.ours_ahead(now);
        if ahead != 0 && ahead.abs_diff(self.said) > Self::SLACK.unsigned_abs() {
            warn!(
                ours_ahead_seconds = ahead / 1000,
                "this computer's clock and the homeserver's differ: ages are told by their difference"
            );
        }
        self.said = ahead;
    }

    /// Returns when that was, by what our clock shows now.
    pub(super) fn by_ours(&self, server: Timestamp, now: Moment) -> Timestamp {
        Timestamp(server.0.saturating_add(self.ours_ahead(now)))
    }

    /// Returns what the server's clock showed then. As long as it has not told, it shows what ours does now.
    fn at(&self, then: Moment, now: Moment) -> Timestamp {
        let (shown, moment) = self.shown.unwrap_or((now.wall, now));
        Timestamp(shown.0.saturating_add(then.after(moment)))
    }

    fn ours_ahead(&self, now: Moment) -> i64 {
        let ahead = now.wall.0.saturating_sub(self.at(now, now).0);
        if ahead.saturating_abs() > Self::SLACK {
            ahead
        } else {
            0
        }
    }
}

/// Where what was said before the start is history.
#[derive(Debug)]
pub(super) struct News {
    start: Moment,
    first_run: bool,
    /// Rooms that were relayed when we ran last.
    known: HashSet<OwnedRoomId>,
}

impl News {
    /// Nothing that was said before the start is news.
    pub(super) fn first_run(start: Moment) -> Self {
        Self {
            start,
            first_run: true,
            known: HashSet::new(),
        }
    }

    /// What was said before the start is news in these rooms.
    pub(super) fn of(known: impl Iterator<Item = OwnedRoomId>, start: Moment) -> Self {
        Self {
            start,
            first_run: false,
            known: known.collect(),
        }
    }

    /// Returns whether nothing was handed over yet, ever.
    pub(super) fn is_first_run(&self) -> bool {
        self.first_run
    }

    /// From here on nothing is history because of the first run.
    pub(super) fn end_first_run(&mut self) {
        self.first_run = false;
    }

    /// From here on everything of this room is news.
    pub(super) fn know(&mut self, room: &RoomId) {
        if !self.known.contains(room) {
            self.known.insert(room.to_owned());
        }
    }

    /// Returns whether what was said in a room before the start is news.
    pub(super) fn knows(&self, room: &RoomId) -> bool {
        self.known.contains(room)
    }

    /// Returns whether what was said in a room at that time, by the server's clock, is history.
    pub(super) fn is_history(
        &self,
        room: &RoomId,
        sent_at: Timestamp,
        server: &ServerClock,
        now: Moment,
    ) -> bool {
        (self.first_run || !self.knows(room)) && sent_at < server.at(self.start, now)
    }
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::room_id;

    use super::*;

    const NOON: i64 = 1_767_225_600_000;
    const HOUR: i64 = 3_600_000;

    /// A moment after so many milliseconds, when the wall clock is so much ahead of the true time.
    fn moment(after: i64, ahead: i64) -> Moment {
        Moment {
            wall: Timestamp(NOON + after + ahead),
            passed: Duration::from_millis(u64::try_from(HOUR + after).unwrap()),
        }
    }

    #[test]
    fn what_was_written_just_now_is_new_whatever_the_clocks_show() {
        let server = Timestamp(NOON);
        for ahead in [5 * HOUR, -5 * HOUR, 40_000, -40_000] {
            let (mut clock, now) = (ServerClock::default(), moment(0, ahead));
            clock.learn(Some(server), now);
            assert_eq!(clock.by_ours(server, now), now.wall);
            // An answer without an age says nothing.
            clock.learn(None, now);
            assert_eq!(clock.by_ours(server, now), now.wall);
            clock.learn(Some(now.wall), now);
            assert_eq!(clock.by_ours(now.wall, now), now.wall);
        }
        let (mut clock, now) = (ServerClock::default(), moment(0, 2_000));
        assert_eq!(clock.by_ours(server, now), server);
        clock.learn(Some(server), now);
        assert_eq!(clock.by_ours(server, now), server);
        for absurd in [Timestamp(i64::MIN), Timestamp(i64::MAX)] {
            clock.learn(Some(absurd), now);
            clock.by_ours(absurd, now);
            clock.at(moment(9 * HOUR, 0), now);
        }
    }

    #[test]
    fn a_clock_that_is_set_while_we_run_makes_nothing_old() {
        for (before, after) in [(-3 * HOUR, 0), (3 * HOUR, 0), (0, 5 * HOUR)] {
            let mut clock = ServerClock::default();
            clock.learn(Some(Timestamp(NOON)), moment(0, before));
            let written = Timestamp(NOON + HOUR);
            let now = moment(HOUR, after);
            let age = now.wall.0 - clock.by_ours(written, now).0;
            assert_eq!(age, 0, "{before} {after}");
        }
    }

    #[test]
    fn history_ends_at_the_start_whatever_our_clock_was_set_to_since() {
        let room = room_id!("!room:example.org");
        for (before, after) in [(-3 * HOUR, 0), (3 * HOUR, 0), (0, 0), (3 * HOUR, 3 * HOUR)] {
            for told in [None, Some(1_000), Some(HOUR)] {
                if told.is_none() && after != 0 {
                    // Nobody can know.
                    continue;
                }
                let mut clock = ServerClock::default();
                if let Some(at) = told {
                    clock.learn(Some(Timestamp(NOON + at)), moment(at, before));
                }
                let now = moment(2 * HOUR, after);
                let start = moment(0, before);
                let is_history =
                    |news: &News, at: i64| news.is_history(room, Timestamp(NOON + at), &clock, now);
                for news in [News::first_run(start), News::of(std::iter::empty(), start)] {
                    assert!(is_history(&news, -60_000), "{before} {after} {told:?}");
                    assert!(!is_history(&news, 60_000), "{before} {after} {told:?}");
                }
                let known = News::of(std::iter::once(room.to_owned()), start);
                assert!(!is_history(&known, -60_000));
            }
        }
    }

    #[test]
    fn time_passes() {
        let (one, other) = (Moment::now(), Moment::now());
        assert!(other.after(one) >= 0 && one.passed > Duration::ZERO);
    }
}
