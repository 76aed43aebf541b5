use std::collections::HashSet;
use std::time::Duration;

use matrix_sdk::ruma::room_id;

use super::*;

const NOON: i64 = 1_767_225_600_000;
const HOUR: i64 = 3_600_000;

/// Clocks after `after` milliseconds, with the wall clock `ahead` milliseconds ahead of the true time.
fn clocks(after: i64, ahead: i64) -> OurClocks {
    OurClocks {
        wall: Timestamp(NOON + after + ahead),
        passed: HOUR + after,
    }
}

fn unknown() -> ServerClock {
    ServerClock::new(None, clocks(0, 0), "this".to_owned())
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
        let (mut clock, now) = (unknown(), clocks(0, ahead));
        clock.learn(server, now);
        assert_eq!(clock.by_ours(server, now), now.wall);
        clock.learn(now.wall, now);
        assert_eq!(clock.by_ours(now.wall, now), now.wall);
    }
    let (mut clock, now) = (unknown(), clocks(0, 2_000));
    assert_eq!(clock.by_ours(server, now), server);
    clock.learn(server, now);
    assert_eq!(clock.by_ours(server, now), server);
    for absurd in [Timestamp(i64::MIN), Timestamp(i64::MAX)] {
        clock.learn(absurd, now);
        clock.by_ours(absurd, now);
        clock.at(Moment::ThisBoot(clocks(9 * HOUR, 0)), now);
    }
}

#[test]
fn what_a_proxy_writes_over_answers_is_not_the_homeservers_clock() {
    for proxy in [2 * HOUR, -2 * HOUR] {
        let mut clock = unknown();
        let dated = |after: i64| Some((Timestamp(NOON + after + proxy), clocks(after, 0)));
        let own = |after: i64| Some((Timestamp(NOON + after), clocks(after, 0)));
        let shows = |clock: &ServerClock, after| clock.shows(clocks(after, 0)).0 - NOON;
        // The server's own time is not known yet.
        assert!(clock.is_news(dated(0).unwrap()));
        clock.answered(dated(0), None, clocks(0, 0));
        assert_eq!(
            (shows(&clock, 0), clock.dates_ahead(clocks(0, 0))),
            (proxy, 0)
        );
        assert!(clock.is_due(clocks(ASK_AGAIN, 0)));
        // An event of ours comes back; the server's own time is asked for at the next connection.
        clock.learn(own(1_000).unwrap().0, clocks(1_000, 0));
        assert_eq!(shows(&clock, 1_000), 1_000);
        assert!(clock.is_due(clocks(1_000, 0)));
        assert!(clock.is_news(dated(2_000).unwrap()));
        clock.answered(dated(2_000), own(2_000), clocks(2_000, 0));
        assert_eq!(shows(&clock, 2_000), 2_000);
        assert_eq!(clock.dates_ahead(clocks(3_000, 0)), proxy);
        assert!(!clock.is_due(clocks(ASK_AGAIN + 2_000, 0)));
        // Without an event of ours, the time that makes messages younger is used.
        clock.answered(dated(4_000), None, clocks(4_000, 0));
        assert_eq!(shows(&clock, 4_000), 4_000 + proxy.min(0));
        // Somebody has set the proxy's clock.
        clock.answered(own(5_000), own(5_000), clocks(5_000, 0));
        assert_eq!(shows(&clock, 5_000), 5_000);
        assert_eq!(clock.dates_ahead(clocks(5_000, 0)), 0);
    }
}

#[test]
fn a_clock_that_is_set_while_we_run_makes_nothing_old() {
    for (before, after) in [(-3 * HOUR, 0), (3 * HOUR, 0), (0, 5 * HOUR)] {
        let mut clock = unknown();
        clock.learn(Timestamp(NOON), clocks(0, before));
        let written = Timestamp(NOON + HOUR);
        let now = clocks(HOUR, after);
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
                // Impossible to know.
                continue;
            }
            let mut clock = unknown();
            if let Some(at) = told {
                clock.learn(Timestamp(NOON + at), clocks(at, before));
            }
            let now = clocks(2 * HOUR, after);
            let start = Moment::ThisBoot(clocks(0, before));
            let is_history = |news: &HistoryFilter, at: i64| {
                news.is_history(room, Timestamp(NOON + at), &clock, now)
            };
            for news in
                [true, false].map(|first| HistoryFilter::new(HashSet::new(), first, false, start))
            {
                assert!(is_history(&news, -60_000), "{before} {after} {told:?}");
                assert!(!is_history(&news, 60_000), "{before} {after} {told:?}");
            }
            let known = HistoryFilter::new(HashSet::from([room.to_owned()]), false, false, start);
            assert!(!is_history(&known, -60_000));
            let any = |first| HistoryFilter::new(HashSet::new(), first, true, start);
            assert!(!is_history(&any(false), -60_000));
            assert!(is_history(&any(true), -60_000));
        }
    }
}

#[test]
fn where_the_clocks_agree_history_ends_to_the_millisecond() {
    let room = room_id!("!room:example.org");
    for off in [-1_500, 1_500] {
        let (mut clock, start, now) = (unknown(), clocks(0, 0), clocks(HOUR, 0));
        clock.learn(Timestamp(NOON + off), start);
        let news = HistoryFilter::new(HashSet::new(), false, false, Moment::ThisBoot(start));
        let is_history = |at: i64| news.is_history(room, Timestamp(NOON + at), &clock, now);
        assert!(is_history(-100) && !is_history(100), "{off}");
    }
}

#[test]
fn history_ends_where_the_first_run_began_also_for_a_later_run_and_rather_too_early_than_too_late()
{
    let room = room_id!("!room:example.org");
    let began = |boot: &str| Beginning {
        boot: boot.to_owned(),
        ..clocks(0, 0).beginning(None)
    };
    let (this, now) = (boot(), clocks(HOUR, 0));
    for first in [&this, "another", ""].map(began) {
        let start = Moment::of(&first, now);
        let news = HistoryFilter::new(HashSet::new(), true, false, start);
        let is_history =
            |clock: &ServerClock, at: i64| news.is_history(room, Timestamp(NOON + at), clock, now);
        let mut clock = unknown();
        assert!(is_history(&clock, -100) && !is_history(&clock, 100));
        // After a start without a clock battery our clock may be hours behind, until it is set.
        clock.learn(Timestamp(NOON + 3 * HOUR), now);
        assert!(!is_history(&clock, 2 * HOUR + 100), "{first:?}");
        assert!(is_history(&clock, -100), "{first:?}");
    }
    // Before a reboot nobody knows how much time passed since.
    let later = Moment::of(&began(&this), clocks(-2 * HOUR, 0));
    assert!(matches!(later, Moment::Earlier(Timestamp(NOON), _)));
    // Our clock was years ahead in that boot.
    let mut ahead = began("another");
    ahead.ours = Timestamp(NOON + 9_999 * HOUR);
    let news = HistoryFilter::new(HashSet::new(), true, false, Moment::of(&ahead, now));
    let mut clock = unknown();
    clock.learn(Timestamp(NOON + HOUR), now);
    let later = clocks(2 * HOUR, 0);
    assert!(!news.is_history(room, Timestamp(NOON + HOUR + 100), &clock, later));
}

#[test]
fn time_passes() {
    let clock = Clock::system();
    let (one, other) = (OurClocks::now(&clock), OurClocks::now(&clock));
    assert!(other.after(one) >= 0 && one.passed > 0);
}

fn kept(boot: &str, ahead: i64) -> ClockReading {
    let then = clocks(0, ahead);
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
        let now = clocks(3 * HOUR, after);
        let clock = ServerClock::new(Some(kept("this", before)), now, "this".to_owned());
        let written = Timestamp(NOON + 3 * HOUR);
        assert_eq!(clock.by_ours(written, now), now.wall, "{before} {after}");
        assert_eq!(clock.reading(), Some(kept("this", before)));
    }
}

#[test]
fn what_was_known_before_the_computer_was_started_makes_no_message_older() {
    let now = clocks(3 * HOUR, 0);
    for (boot, before, ahead) in [
        ("that", 2 * HOUR, 2 * HOUR),
        ("that", -2 * HOUR, 0),
        ("", 2 * HOUR, 2 * HOUR),
    ] {
        let clock = ServerClock::new(Some(kept(boot, before)), now, boot.replace("that", "this"));
        assert_eq!(clock.difference(now), Some(ahead));
        assert_eq!(clock.reading(), None, "a guess is not kept");
    }
}

#[test]
fn the_server_is_asked_at_each_connect_after_a_jump_and_every_six_hours() {
    let mut clock = unknown();
    let mut asks = |after: i64, ahead: i64| {
        let now = clocks(after, ahead);
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
    let now = clocks(8 * HOUR, 3 * HOUR);
    assert!(clock.is_due(now));
    // No answer: retried soon.
    clock.answered(None, None, now);
    assert!(!clock.is_due(clocks(8 * HOUR + ASK_AGAIN - 1, 3 * HOUR)));
    assert!(clock.is_due(clocks(8 * HOUR + ASK_AGAIN, 3 * HOUR)));
}

#[test]
fn a_time_that_cannot_be_is_not_believed() {
    for absurd in [0, EARLIEST.0 - 1, LATEST.0 + 1] {
        let (mut clock, now) = (unknown(), clocks(0, 0));
        clock.learn(Timestamp(absurd), now);
        assert_eq!(clock.difference(now), None);
        assert!(clock.logged_absurd);
    }
}
