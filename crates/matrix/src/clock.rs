//! How the homeserver's clock goes beside ours, and where history ends by it. A small computer without a battery can be
//! hours off, and is set right while we run; what was written just now must be neither history nor too old by that.
//!
//! The homeserver's answers say what its clock shows, as do events of ours that come back. From there on it is told by the
//! time that has passed, whatever our clock is set to.

mod ask;
mod news;

use tracing::{info, warn};

use relay_model::{Clock, ClockReading, Timestamp};

pub(super) use ask::{ask_date, ask_own};
pub(super) use news::News;

/// The server is asked again after so many milliseconds: clocks drift.
const ASK_EVERY: i64 = 6 * 3_600_000;
/// If it did not tell, after so many.
const ASK_AGAIN: i64 = 5 * 60_000;
/// No clock of a homeserver that is right shows a time before this one: 2025-01-01.
const EARLIEST: Timestamp = Timestamp(1_735_689_600_000);
/// Nor one after this: 2200-01-01.
const LATEST: Timestamp = Timestamp(7_258_118_400_000);

/// What this computer's clocks show at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct OurClocks {
    /// The one that can be set.
    wall: Timestamp,
    /// The milliseconds that have passed, asleep or not, whatever clocks were set to.
    passed: i64,
}

impl OurClocks {
    pub(super) fn now(clock: &Clock) -> Self {
        Self {
            wall: clock.now(),
            passed: i64::try_from(clock.since_boot().as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Returns how long after another moment this is, in milliseconds.
    fn after(self, other: Self) -> i64 {
        self.passed.saturating_sub(other.passed)
    }
}

/// Returns which start of this computer this is; empty if it does not tell.
pub(super) fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The homeserver's clock.
#[derive(Debug)]
pub(super) struct ServerClock {
    /// What it showed last, and when that was.
    shown: Option<(Timestamp, OurClocks)>,
    /// That is a guess.
    is_guess: bool,
    /// It was told by an event of ours.
    is_own: bool,
    /// What the last answer was dated, if that is a time, and when that was: a proxy may have written it.
    dated: Option<(Timestamp, OurClocks)>,
    /// By how many milliseconds ours was ahead of it when that was said last.
    logged: i64,
    /// A time that no clock shows was logged.
    logged_absurd: bool,
    /// When our clocks were looked at last.
    looked: OurClocks,
    /// The server is to be asked when so much has passed.
    ask_at: i64,
    boot: String,
}

impl ServerClock {
    /// What is within that is the way of the answer, and of no consequence.
    const SLACK: i64 = 30_000;
    /// What is within that of what was known is no news.
    const SAME: i64 = 2_000;

    /// Makes one that goes on from what was known when we ran last.
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
            // The computer was started since, and its clock may have been set: a guess, which makes no message older.
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

    /// Has the server asked before the next answer is read: the connection is new.
    pub(super) fn connected(&mut self) {
        self.ask_at = 0;
    }

    /// Returns whether the server is to be asked now; also after our clock was set: a computer that stood still does not
    /// know how much time has passed.
    pub(super) fn is_due(&mut self, now: OurClocks) -> bool {
        let shown = now.wall.0.saturating_sub(self.looked.wall.0);
        let set_by = shown.saturating_sub(now.after(self.looked));
        self.looked = now;
        set_by.saturating_abs() > Self::SLACK || now.passed >= self.ask_at
    }

    /// Returns whether a date says another time than what is known.
    pub(super) fn is_news(&self, (date, then): (Timestamp, OurClocks)) -> bool {
        differ(date, self.shows(then)) > Self::SLACK
    }

    /// Takes note of what an answer was dated, and of what an event of ours says where that was asked for.
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
            // In doubt a message is young.
            let is_known = self.shown.is_some() && !self.is_guess;
            if !is_known || is_settled || date < self.shows(then) {
                self.is_own &= is_settled;
                self.set(date, then);
            }
        }
        self.dated = dated.filter(|(date, _)| (EARLIEST..=LATEST).contains(date));
        self.ask_at = now.passed.saturating_add(pause);
    }

    /// Takes note of what the server's clock shows now, by an event of ours.
    pub(super) fn learn(&mut self, server: Timestamp, now: OurClocks) {
        if self.is_news((server, now)) && self.dated.is_some() {
            // Whose clock was set?
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

    /// Returns what is to be kept of it.
    pub(super) fn reading(&self) -> Option<ClockReading> {
        let (server, then) = self.shown.filter(|_| !self.is_guess)?;
        Some(ClockReading {
            server,
            ours: then.wall,
            passed: then.passed,
            boot: self.boot.clone(),
        })
    }

    /// Returns when that was, by what our clock shows now.
    pub(super) fn by_ours(&self, server: Timestamp, now: OurClocks) -> Timestamp {
        Timestamp(server.0.saturating_add(self.ours_ahead(now)))
    }

    /// Returns what the server's clock showed then. As far as it agrees with ours that is exact, though a date is not.
    fn at(&self, then: OurClocks, now: OurClocks) -> Timestamp {
        let shows = now.wall.0.saturating_sub(self.ours_ahead(now));
        Timestamp(shows.saturating_sub(now.after(then)))
    }

    /// Returns what the server's clock shows, to the second. As long as it has not told, it shows what ours does.
    fn shows(&self, now: OurClocks) -> Timestamp {
        let (shown, shown_at) = self.shown.unwrap_or((now.wall, now));
        Timestamp(shown.0.saturating_add(now.after(shown_at)))
    }

    /// Returns by how many milliseconds our clock is ahead of the server's; 0: they agree, or that is not known.
    fn ours_ahead(&self, now: OurClocks) -> i64 {
        let ahead = now.wall.0.saturating_sub(self.shows(now).0);
        if ahead.saturating_abs() > Self::SLACK {
            ahead
        } else {
            0
        }
    }

    /// Returns by how many milliseconds our clock is ahead of the server's; `None` as long as it has not told.
    pub(super) fn difference(&self, now: OurClocks) -> Option<i64> {
        self.shown.map(|_| self.ours_ahead(now))
    }

    /// Returns by how many milliseconds the clock that dates its answers, a proxy's, is ahead of the server's; 0: they
    /// agree, or that is not known.
    pub(super) fn dates_ahead(&self, now: OurClocks) -> i64 {
        match self.dated {
            Some((date, then)) if self.is_own && self.is_news((date, then)) => {
                date.0.saturating_add(now.after(then)) - self.shows(now).0
            }
            Some(_) | None => 0,
        }
    }
}

/// Returns how far two times are apart, in milliseconds.
fn differ(one: Timestamp, other: Timestamp) -> i64 {
    one.0.saturating_sub(other.0).saturating_abs()
}

#[cfg(test)]
mod tests;
