//! How the homeserver's clock goes beside ours, and where history ends by it. A small computer without a battery can be
//! hours off, and is set right while we run; what was written just now must be neither history nor too old by that.
//!
//! The homeserver's answers say what its clock shows, as do events of ours that come back. From there on it is told by the
//! time that has passed, whatever our clock is set to.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use matrix_sdk::Client;
use matrix_sdk::reqwest::header::{AGE, CACHE_CONTROL, DATE, HeaderMap};
use matrix_sdk::ruma::api::client::message::get_message_events;
use matrix_sdk::ruma::http_headers::http_date_to_system_time;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::events::Envelope;
use relay_model::{Clock, ClockReading, OwnedRoomId, RoomId, Timestamp};

/// How long an answer with the server's time may take; half of it is how wrong it can be.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// The server is asked again after so many milliseconds: clocks drift.
const ASK_EVERY: i64 = 6 * 3_600_000;
/// If it did not tell, after so many.
const ASK_AGAIN: i64 = 5 * 60_000;
/// In so many rooms an event of ours is looked for.
const ROOMS_ASKED: usize = 3;
/// What lay in a cache for more seconds says nothing: some caches keep the date, others write their own.
const OLDEST_ANSWER: u64 = 5;
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

    /// Returns by how many milliseconds our clock was set since an earlier moment.
    fn set_since(self, earlier: Self) -> i64 {
        (self.wall.0.saturating_sub(earlier.wall.0)).saturating_sub(self.after(earlier))
    }
}

/// Returns which start of this computer this is; empty if it does not tell.
pub(super) fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Asks what the homeserver's clock shows, by the date of an answer. `None`: no answer, or one that does not say.
pub(super) async fn ask_date(client: &Client, clock: &Clock) -> Option<(Timestamp, OurClocks)> {
    let mut url = client.homeserver();
    url.path_segments_mut()
        .ok()?
        .pop_if_empty()
        .extend(["_matrix", "client", "versions"]);
    let asked = OurClocks::now(clock);
    // Synapse allows caches to keep this answer for an hour, but not that of another question.
    url.set_query(Some(&format!("at={}", asked.passed)));
    let answer = client
        .http_client()
        .get(url)
        .header(CACHE_CONTROL, "no-cache")
        .timeout(ASK_LIMIT)
        .send()
        .await
        .and_then(matrix_sdk::reqwest::Response::error_for_status);
    let now = OurClocks::now(clock);
    let told = answer.ok().and_then(|answer| shown(answer.headers()));
    let Some(told) = told else {
        debug!("the homeserver does not tell the time");
        return None;
    };
    Some((arrived(told, asked, now), now))
}

/// Asks for the homeserver's own word, an event of ours: a proxy may date answers by a clock of its own. `None`: it has
/// none, or does not say how old it is.
pub(super) async fn ask_own(client: &Client, clock: &Clock) -> Option<(Timestamp, OurClocks)> {
    let own = client.user_id()?;
    for room in client.joined_rooms().iter().take(ROOMS_ASKED) {
        let mut request = get_message_events::v3::Request::backward(room.room_id().to_owned());
        request.filter.senders = Some(vec![own.to_owned()]);
        let asked = OurClocks::now(clock);
        let Ok(Ok(answer)) = timeout(ASK_LIMIT, client.send(request)).await else {
            continue;
        };
        let now = OurClocks::now(clock);
        let events = answer.chunk.iter();
        let told = events
            .filter_map(|event| Envelope::read(event.json().get()))
            .find(|event| event.sender == own)
            .and_then(|event| event.told_at());
        if let Some(told) = told {
            return Some((arrived(told, asked, now), now));
        }
    }
    None
}

/// Returns what the clock shows that an answer told of, now that it is here: it was said on the way.
fn arrived(told: Timestamp, asked: OurClocks, now: OurClocks) -> Timestamp {
    Timestamp(told.0.saturating_add(now.after(asked) / 2))
}

/// Returns what the server's clock showed when it sent an answer, unless the answer comes out of a cache.
fn shown(headers: &HeaderMap) -> Option<Timestamp> {
    // Half of the second that a date leaves open.
    const HALF: Duration = Duration::from_millis(500);
    let date = http_date_to_system_time(headers.get(DATE)?).ok()?;
    let kept: u64 = match headers.get(AGE) {
        Some(age) => age.to_str().ok()?.trim().parse().ok()?,
        None => 0,
    };
    if kept > OLDEST_ANSWER {
        return None;
    }
    let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp(0) + (since + HALF))
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
    said: i64,
    /// A time that no clock shows was logged.
    said_absurd: bool,
    /// When our clocks were looked at last.
    looked: OurClocks,
    /// The server is to be asked when so much has passed.
    ask_at: i64,
    /// Which start of this computer this is.
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
            said: 0,
            said_absurd: false,
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
        let set_by = now.set_since(self.looked);
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
            self.learn(Some(server), then);
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

    /// Takes note of what the server's clock shows now, by an event of ours; `None`: an answer did not tell.
    pub(super) fn learn(&mut self, server: Option<Timestamp>, now: OurClocks) {
        let Some(server) = server else {
            return;
        };
        if self.is_news((server, now)) && self.dated.is_some() {
            // Whose clock was set?
            self.ask_at = now.passed;
        }
        self.is_own = true;
        self.set(server, now);
    }

    fn set(&mut self, server: Timestamp, now: OurClocks) {
        if !(EARLIEST..=LATEST).contains(&server) {
            if !self.said_absurd {
                warn!(
                    seconds = server.0 / 1000,
                    "the homeserver's clock shows a time that cannot be: messages are dated as if it showed ours; its administrator should set it"
                );
            }
            self.said_absurd = true;
            return;
        }
        if self.shown.is_none() || self.is_guess || differ(self.shows(now), server) > Self::SAME {
            self.shown = Some((server, now));
            self.is_guess = false;
        }
        let ahead = self.ours_ahead(now);
        if ahead.abs_diff(self.said) > Self::SLACK.unsigned_abs() {
            if ahead == 0 {
                info!("this computer's clock and the homeserver's agree again");
            } else {
                warn!(
                    ours_ahead_seconds = ahead / 1000,
                    "this computer's clock and the homeserver's differ: messages are dated by the homeserver's; set this one, for example with `timedatectl set-ntp true`"
                );
            }
            self.said = ahead;
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
        let (shown, moment) = self.shown.unwrap_or((now.wall, now));
        Timestamp(shown.0.saturating_add(now.after(moment)))
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

/// Where what was said before the start is history.
#[derive(Debug)]
pub(super) struct News {
    start: OurClocks,
    /// Nothing was handed over yet, ever.
    pub(super) first_run: bool,
    /// Other rooms may be known, too: in doubt what was said is news.
    any: bool,
    /// Rooms of which everything is news; on a first run, none.
    known: HashSet<OwnedRoomId>,
}

impl News {
    pub(super) fn new(mut known: HashSet<OwnedRoomId>, first_run: bool, start: OurClocks) -> Self {
        known.retain(|_| !first_run);
        Self {
            start,
            first_run,
            any: false,
            known,
        }
    }

    /// Takes any room for a known one, but on a first run.
    pub(super) fn or_any(mut self, any: bool) -> Self {
        self.any = any && !self.first_run;
        self
    }

    /// Returns whether everything of a room is news.
    pub(super) fn knows(&self, room: &RoomId) -> bool {
        self.any || self.known.contains(room)
    }

    pub(super) fn learn(&mut self, rooms: impl IntoIterator<Item = OwnedRoomId>) {
        self.known.extend(rooms);
    }

    /// Returns whether what was said in a room at that time, by the server's clock, is history.
    pub(super) fn is_history(
        &self,
        room: &RoomId,
        sent_at: Timestamp,
        server: &ServerClock,
        now: OurClocks,
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
    fn moment(after: i64, ahead: i64) -> OurClocks {
        OurClocks {
            wall: Timestamp(NOON + after + ahead),
            passed: HOUR + after,
        }
    }

    fn unknown() -> ServerClock {
        ServerClock::new(None, moment(0, 0), "this".to_owned())
    }

    #[test]
    fn a_moment_is_what_the_clock_that_is_handed_in_shows() {
        let clock = Clock::new(|| (Timestamp(NOON), Duration::from_hours(1)));
        let now = OurClocks::now(&clock);
        assert_eq!((now.wall, now.passed), (Timestamp(NOON), HOUR));
    }

    #[test]
    fn what_was_written_just_now_is_new_whatever_the_clocks_show() {
        let server = Timestamp(NOON);
        for ahead in [5 * HOUR, -5 * HOUR, 40_000, -40_000] {
            let (mut clock, now) = (unknown(), moment(0, ahead));
            clock.learn(Some(server), now);
            assert_eq!(clock.by_ours(server, now), now.wall);
            // An answer without an age says nothing.
            clock.learn(None, now);
            assert_eq!(clock.by_ours(server, now), now.wall);
            clock.learn(Some(now.wall), now);
            assert_eq!(clock.by_ours(now.wall, now), now.wall);
        }
        let (mut clock, now) = (unknown(), moment(0, 2_000));
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
    fn what_a_proxy_writes_over_answers_is_not_the_homeservers_clock() {
        for proxy in [2 * HOUR, -2 * HOUR] {
            let mut clock = unknown();
            let dated = |after: i64| Some((Timestamp(NOON + after + proxy), moment(after, 0)));
            let own = |after: i64| Some((Timestamp(NOON + after), moment(after, 0)));
            let shows = |clock: &ServerClock, after| clock.shows(moment(after, 0)).0 - NOON;
            // Nothing else is known of it yet.
            assert!(clock.is_news(dated(0).unwrap()));
            clock.answered(dated(0), None, moment(0, 0));
            assert_eq!(
                (shows(&clock, 0), clock.dates_ahead(moment(0, 0))),
                (proxy, 0)
            );
            assert!(clock.is_due(moment(ASK_AGAIN, 0)));
            // An event of ours comes back; at the next connect its word is asked for.
            clock.learn(own(1_000).map(|(own, _)| own), moment(1_000, 0));
            assert_eq!(shows(&clock, 1_000), 1_000);
            assert!(clock.is_due(moment(1_000, 0)));
            assert!(clock.is_news(dated(2_000).unwrap()));
            clock.answered(dated(2_000), own(2_000), moment(2_000, 0));
            assert_eq!(shows(&clock, 2_000), 2_000);
            assert_eq!(clock.dates_ahead(moment(3_000, 0)), proxy);
            assert!(!clock.is_due(moment(ASK_AGAIN + 2_000, 0)));
            // Where it cannot be had a message is young.
            clock.answered(dated(4_000), None, moment(4_000, 0));
            assert_eq!(shows(&clock, 4_000), 4_000 + proxy.min(0));
            // Somebody has set the proxy's clock.
            clock.answered(own(5_000), own(5_000), moment(5_000, 0));
            assert_eq!(shows(&clock, 5_000), 5_000);
            assert_eq!(clock.dates_ahead(moment(5_000, 0)), 0);
        }
    }

    #[test]
    fn a_clock_that_is_set_while_we_run_makes_nothing_old() {
        for (before, after) in [(-3 * HOUR, 0), (3 * HOUR, 0), (0, 5 * HOUR)] {
            let mut clock = unknown();
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
                let mut clock = unknown();
                if let Some(at) = told {
                    clock.learn(Some(Timestamp(NOON + at)), moment(at, before));
                }
                let now = moment(2 * HOUR, after);
                let start = moment(0, before);
                let is_history =
                    |news: &News, at: i64| news.is_history(room, Timestamp(NOON + at), &clock, now);
                for news in [true, false].map(|first| News::new(HashSet::new(), first, start)) {
                    assert!(is_history(&news, -60_000), "{before} {after} {told:?}");
                    assert!(!is_history(&news, 60_000), "{before} {after} {told:?}");
                }
                let known = News::new(HashSet::from([room.to_owned()]), false, start);
                assert!(!is_history(&known, -60_000));
                let any = |first| News::new(HashSet::new(), first, start).or_any(true);
                assert!(!is_history(&any(false), -60_000));
                assert!(is_history(&any(true), -60_000));
            }
        }
    }

    #[test]
    fn where_the_clocks_agree_history_ends_to_the_millisecond() {
        let room = room_id!("!room:example.org");
        for off in [-1_500, 1_500] {
            let (mut clock, start, now) = (unknown(), moment(0, 0), moment(HOUR, 0));
            clock.learn(Some(Timestamp(NOON + off)), start);
            let news = News::new(HashSet::new(), false, start);
            let is_history = |at: i64| news.is_history(room, Timestamp(NOON + at), &clock, now);
            assert!(is_history(-100) && !is_history(100), "{off}");
        }
    }

    #[test]
    fn time_passes() {
        let clock = Clock::system();
        let (one, other) = (OurClocks::now(&clock), OurClocks::now(&clock));
        assert!(other.after(one) >= 0 && one.passed > 0);
    }

    fn kept(boot: &str, ahead: i64) -> ClockReading {
        let then = moment(0, ahead);
        ClockReading {
            server: Timestamp(NOON),
            ours: then.wall,
            passed: then.passed,
            boot: boot.to_owned(),
        }
    }

    #[test]
    fn what_was_known_of_the_servers_clock_holds_over_a_restart_whatever_ours_was_set_to_since() {
        for (before, after) in [(0, 0), (2 * HOUR, 2 * HOUR), (-2 * HOUR, 0), (0, 56 * HOUR)] {
            let now = moment(3 * HOUR, after);
            let clock = ServerClock::new(Some(kept("this", before)), now, "this".to_owned());
            let written = Timestamp(NOON + 3 * HOUR);
            assert_eq!(clock.by_ours(written, now), now.wall, "{before} {after}");
            assert_eq!(clock.reading(), Some(kept("this", before)));
        }
    }

    #[test]
    fn what_was_known_before_the_computer_was_started_makes_no_message_older() {
        let now = moment(3 * HOUR, 0);
        for (boot, before, ahead) in [
            ("that", 2 * HOUR, 2 * HOUR),
            ("that", -2 * HOUR, 0),
            ("", 2 * HOUR, 2 * HOUR),
        ] {
            let clock =
                ServerClock::new(Some(kept(boot, before)), now, boot.replace("that", "this"));
            assert_eq!(clock.difference(now), Some(ahead));
            assert_eq!(clock.reading(), None, "a guess is not kept");
        }
    }

    #[test]
    fn the_server_is_asked_at_each_connect_after_a_jump_and_every_six_hours() {
        let mut clock = unknown();
        let mut asks = |after: i64, ahead: i64| {
            let now = moment(after, ahead);
            let due = clock.is_due(now);
            if due {
                clock.answered(Some((Timestamp(NOON + after), now)), None, now);
            }
            due
        };
        assert!(asks(0, 0) && !asks(1_000, 0) && !asks(6 * HOUR - 1, 0));
        assert!(asks(6 * HOUR, 0) && !asks(6 * HOUR + 1, 0));
        for jump in [HOUR, -HOUR, 0, 3 * HOUR] {
            assert!(asks(7 * HOUR, jump) && !asks(7 * HOUR, jump), "{jump}");
        }
        clock.connected();
        let now = moment(8 * HOUR, 3 * HOUR);
        assert!(clock.is_due(now));
        // It did not tell: soon again.
        clock.answered(None, None, now);
        assert!(!clock.is_due(moment(8 * HOUR + ASK_AGAIN - 1, 3 * HOUR)));
        assert!(clock.is_due(moment(8 * HOUR + ASK_AGAIN, 3 * HOUR)));
    }

    #[test]
    fn a_date_is_believed_unless_it_comes_out_of_a_cache() {
        let told = |lines: &[(&'static str, &'static str)]| {
            let lines = lines
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            shown(&lines.collect::<HeaderMap>()).map(|it| it.0 - NOON)
        };
        let date = ("date", "Thu, 01 Jan 2026 00:00:00 GMT");
        assert_eq!(told(&[date]), Some(500));
        assert_eq!(told(&[date, ("age", "0")]), Some(500));
        for nothing in [
            &[][..],
            &[("date", "now")],
            &[("date", "")],
            &[date, ("age", "6")],
            &[date, ("age", "3600")],
            &[date, ("age", "-1")],
            &[date, ("age", "99999999999999999999")],
        ] {
            assert_eq!(told(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_is_not_believed() {
        for absurd in [0, EARLIEST.0 - 1, LATEST.0 + 1] {
            let (mut clock, now) = (unknown(), moment(0, 0));
            clock.learn(Some(Timestamp(absurd)), now);
            assert_eq!(clock.difference(now), None);
            assert!(clock.said_absurd);
        }
    }
}
