//! The offset between the homeserver's clock and ours, and where history ends on the homeserver's clock. A small
//! computer without a clock battery can be hours off and is corrected while the relay runs; new messages must not count
//! as history or as too old because of that.
//!
//! The homeserver's time is learnt from the dates of its answers and from our own events echoed by the sync. Afterwards
//! it is extrapolated with the monotonic clock, however our wall clock is set.

mod ask;
mod news;

use tracing::{info, warn};

use relay_model::{Beginning, Clock, ClockReading, Timestamp};

pub(super) use ask::{arrived, ask_date, ask_own, time_shown};
pub(super) use news::HistoryFilter;

/// Milliseconds until the server's time is asked for again: clocks drift.
const ASK_EVERY: i64 = 6 * 3_600_000;
/// Milliseconds until the next request if the server's time is not known for certain.
const ASK_AGAIN: i64 = 5 * 60_000;
/// Earliest plausible time of a homeserver's clock: 2025-01-01.
const EARLIEST: Timestamp = Timestamp(1_735_689_600_000);
/// Latest plausible time of a homeserver's clock: 2200-01-01.
const LATEST: Timestamp = Timestamp(7_258_118_400_000);

/// A simultaneous reading of this computer's clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct OurClocks {
    /// The wall clock, which can be set.
    wall: Timestamp,
    /// Milliseconds since boot, suspend included; never set.
    passed: i64,
}

impl OurClocks {
    pub(super) fn now(clock: &Clock) -> Self {
        Self {
            wall: clock.now(),
            passed: i64::try_from(clock.since_boot().as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Returns these clocks as the beginning of a first run.
    pub(super) fn beginning(self, position: Option<String>) -> Beginning {
        Beginning {
            ours: self.wall,
            passed: self.passed,
            boot: boot(),
            position,
        }
    }

    /// Returns the milliseconds that passed between `other` and this reading.
    fn after(self, other: Self) -> i64 {
        self.passed.saturating_sub(other.passed)
    }
}

/// A moment of this boot, or what the wall clock showed in an earlier one, before this moment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    ThisBoot(OurClocks),
    Earlier(Timestamp, OurClocks),
}

impl Moment {
    pub(super) fn of(first: &Beginning, now: OurClocks) -> Self {
        if first.boot.is_empty() || first.boot != boot() || first.passed > now.passed {
            return Self::Earlier(first.ours, now);
        }
        Self::ThisBoot(OurClocks {
            wall: first.ours,
            passed: first.passed,
        })
    }
}

/// Returns the id of the current boot; empty if unknown.
pub(super) fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// What is known of the homeserver's clock, and how far ours is ahead of it.
#[derive(Debug)]
pub(super) struct ServerClock {
    /// The server's last known time, and our clocks at that moment.
    shown: Option<(Timestamp, OurClocks)>,
    /// `shown` is a guess.
    is_guess: bool,
    /// `shown` comes from an event of ours.
    is_own: bool,
    /// The date of the last answer, if plausible, and our clocks at that moment. A proxy may have written it.
    dated: Option<(Timestamp, OurClocks)>,
    /// Milliseconds that our clock was ahead of the server's when the difference was logged last.
    logged: i64,
    /// An implausible time of the server was logged.
    logged_absurd: bool,
    /// Our clocks at the last check of [`Self::is_due`].
    looked: OurClocks,
    /// When to ask the server next, in milliseconds since boot.
    ask_at: i64,
    boot: String,
}

impl ServerClock {
    /// Differences up to this many milliseconds are ignored: the answer's travel time explains them.
    const SLACK: i64 = 30_000;
    /// Changes up to this many milliseconds are ignored.
    const SAME: i64 = 2_000;

    /// Continues from the reading stored by the last run.
    pub(super) fn new(kept: Option<ClockReading>, now: OurClocks, boot: String) -> Self {
        let is_known = |kept: &ClockReading| {
            kept.boot == boot && !boot.is_empty() && kept.passed <= now.passed
        };
        let is_guess = kept.as_ref().is_some_and(|kept| !is_known(kept));
        let shown = kept.map(|kept| {
            if is_known(&kept) {
                let then = OurClocks {
                    wall: kept.ours,
                    passed: kept.passed,
                };
                return (kept.server, then);
            }
            // Rebooted since, and the wall clock may have been set: a guess that makes no message older.
            let ahead = kept.ours.0.saturating_sub(kept.server.0).max(0);
            (Timestamp(now.wall.0.saturating_sub(ahead)), now)
        });
        Self {
            shown,
            is_guess,
            is_own: false,
            dated: None,
            logged: 0,
            logged_absurd: false,
            looked: now,
            ask_at: now.passed,
            boot,
        }
    }

    /// Called after a new connection: the server is asked before the next answer is read.
    pub(super) fn connected(&mut self) {
        self.ask_at = 0;
    }

    /// Returns whether to ask the server now: the interval has passed, or our clock was set. After a suspend the
    /// monotonic clock may not know how much time passed.
    pub(super) fn is_due(&mut self, now: OurClocks) -> bool {
        let shown = now.wall.0.saturating_sub(self.looked.wall.0);
        let set_by = shown.saturating_sub(now.after(self.looked));
        self.looked = now;
        set_by.saturating_abs() > Self::SLACK || now.passed >= self.ask_at
    }

    /// Returns whether a date contradicts the known time of the server.
    pub(super) fn is_news(&self, (date, then): (Timestamp, OurClocks)) -> bool {
        differ(date, self.shows(then)) > Self::SLACK
    }

    /// Records the date of an answer, and the time from an event of ours if one was asked for.
    pub(super) fn answered(
        &mut self,
        dated: Option<(Timestamp, OurClocks)>,
        own: Option<(Timestamp, OurClocks)>,
        now: OurClocks,
    ) {
        let is_settled = own.is_some() || dated.is_some_and(|dated| !self.is_news(dated));
        let pause = if is_settled { ASK_EVERY } else { ASK_AGAIN };
        if let Some((server, then)) = own {
            self.learn(server, then);
        } else if let Some((date, then)) = dated {
            // If in doubt, prefer the time that makes messages younger.
            let is_known = self.shown.is_some() && !self.is_guess;
            if !is_known || is_settled || date < self.shows(then) {
                self.is_own &= is_settled;
                self.set(date, then);
            }
        }
        self.dated = dated.filter(|(date, _)| (EARLIEST..=LATEST).contains(date));
        self.ask_at = now.passed.saturating_add(pause);
    }

    /// Records the server's time from an event of ours that has just arrived.
    pub(super) fn learn(&mut self, server: Timestamp, now: OurClocks) {
        if self.is_news((server, now)) && self.dated.is_some() {
            // Either clock may have been set: ask again.
            self.ask_at = now.passed;
        }
        self.is_own = true;
        self.set(server, now);
    }

    fn set(&mut self, server: Timestamp, now: OurClocks) {
        if !(EARLIEST..=LATEST).contains(&server) {
            if !self.logged_absurd {
                warn!(
                    seconds = server.0 / 1000,
                    "the homeserver's clock shows a time that cannot be: messages are dated as if it showed ours; its administrator should set it"
                );
            }
            self.logged_absurd = true;
            return;
        }
        if self.shown.is_none() || self.is_guess || differ(self.shows(now), server) > Self::SAME {
            self.shown = Some((server, now));
            self.is_guess = false;
        }
        let ahead = self.ours_ahead(now);
        if ahead.abs_diff(self.logged) > Self::SLACK.unsigned_abs() {
            if ahead == 0 {
                info!("this computer's clock and the homeserver's agree again");
            } else {
                warn!(
                    ours_ahead_seconds = ahead / 1000,
                    "this computer's clock and the homeserver's differ: messages are dated by the homeserver's; set this one, for example with `timedatectl set-ntp true`"
                );
            }
            self.logged = ahead;
        }
    }

    /// Returns the reading to store; `None` while it is only a guess.
    pub(super) fn reading(&self) -> Option<ClockReading> {
        let (server, then) = self.shown.filter(|_| !self.is_guess)?;
        Some(ClockReading {
            server,
            ours: then.wall,
            passed: then.passed,
            boot: self.boot.clone(),
        })
    }

    /// Returns the server's current time; `None` while that is only a guess.
    pub(super) fn now(&self, now: OurClocks) -> Option<Timestamp> {
        let is_known = self.shown.is_some() && !self.is_guess;
        is_known.then(|| self.shows(now))
    }

    /// Converts a time of the server to our clock's current setting.
    pub(super) fn by_ours(&self, server: Timestamp, now: OurClocks) -> Timestamp {
        Timestamp(server.0.saturating_add(self.ours_ahead(now)))
    }

    /// Returns the server's time at `then`. Exact while both clocks agree, although a date has a resolution of seconds.
    /// For a moment of an earlier boot rather too early.
    fn at(&self, then: Moment, now: OurClocks) -> Timestamp {
        let ahead = self.ours_ahead(now);
        let shown_at = |then: OurClocks| {
            let shows = now.wall.0.saturating_sub(ahead);
            Timestamp(shows.saturating_sub(now.after(then)))
        };
        match then {
            Moment::ThisBoot(then) => shown_at(then),
            // Our clock may still be behind, and be set soon; or it was ahead in that boot.
            Moment::Earlier(wall, before) => {
                Timestamp(wall.0.saturating_sub(ahead.max(0))).min(shown_at(before))
            }
        }
    }

    /// Returns the server's current time, to the second. Until it is known: our own.
    fn shows(&self, now: OurClocks) -> Timestamp {
        let (shown, shown_at) = self.shown.unwrap_or((now.wall, now));
        Timestamp(shown.0.saturating_add(now.after(shown_at)))
    }

    /// Returns the milliseconds that our clock is ahead of the server's; 0 if they agree or that is unknown.
    fn ours_ahead(&self, now: OurClocks) -> i64 {
        ahead_of(self.shows(now), now)
    }

    /// Returns the milliseconds that our clock is ahead of the server's; `None` if unknown.
    pub(super) fn difference(&self, now: OurClocks) -> Option<i64> {
        self.shown.map(|_| self.ours_ahead(now))
    }

    /// Returns the milliseconds that the clock dating the answers (a proxy's) is ahead of the server's; 0 if they agree
    /// or that is unknown.
    pub(super) fn dates_ahead(&self, now: OurClocks) -> i64 {
        match self.dated {
            Some((date, then)) if self.is_own && self.is_news((date, then)) => {
                date.0.saturating_add(now.after(then)) - self.shows(now).0
            }
            Some(_) | None => 0,
        }
    }
}

/// Returns the milliseconds that our clock is ahead of the server's; 0 if they agree.
pub(super) fn ahead_of(server: Timestamp, now: OurClocks) -> i64 {
    let ahead = now.wall.0.saturating_sub(server.0);
    if ahead.saturating_abs() > ServerClock::SLACK {
        ahead
    } else {
        0
    }
}

/// Returns the distance between two times, in milliseconds.
fn differ(one: Timestamp, other: Timestamp) -> i64 {
    one.0.saturating_sub(other.0).saturating_abs()
}

#[cfg(test)]
mod tests;
