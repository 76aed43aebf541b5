//! When the next text is sent, and which.

use super::*;

#[test]
fn the_next_text_waits_for_the_delay_from_the_acceptance_of_the_last() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.submit(2, channel(1), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    assert_eq!(bench.written(), None, "one packet is without an answer");
    bench.wait(Duration::from_millis(250));
    bench.queue(1, 0);
    let accepted = bench.now.instant;
    bench.settled();
    bench.until_deadline();
    assert_eq!(bench.now.instant, accepted + DELAY);
    assert_eq!(bench.written(), Some(2));
}

#[test]
fn the_delay_survives_a_restart_and_a_clock_that_jumped() {
    let now = Now::at(Timestamp(1_000_000));
    let first_at = |last: i64| {
        let mut pacer = Pacer::new(DELAY, Some(Timestamp(last)), now);
        pacer.on_ready(&profile(true));
        pacer.submit(submission(1, channel(0), Lane::Message, "hello"));
        pacer.deadline().map(|due| due - now.instant)
    };
    assert_eq!(first_at(999_000), Some(Duration::from_millis(1050)));
    assert_eq!(first_at(1), Some(Duration::ZERO));
    assert_eq!(first_at(9_999_999), Some(DELAY), "from the future");
}

#[test]
fn the_delay_survives_a_reconnect() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.accept(1);
    bench.pacer.on_lost();
    bench.pacer.on_ready(&profile(true));
    bench.submit(2, channel(0), Lane::Message);
    assert_eq!(bench.written(), None);
    bench.wait(DELAY);
    assert_eq!(bench.written(), Some(2));
}

#[test]
fn urgent_goes_first_reactions_last_and_destinations_in_turn() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Reaction);
    bench.submit(2, channel(0), Lane::Message);
    bench.submit(3, channel(1), Lane::Message);
    bench.submit(4, Destination::Direct(BOB), Lane::Message);
    bench.submit(5, channel(1), Lane::Urgent);
    let mut order = Vec::new();
    for _ in 0..6 {
        bench.wait(DELAY);
        let number = bench.written().expect("a text is due");
        order.push(number);
        bench.queue(number, 0);
        bench.settled();
        if number == 2 {
            // The next row of the same channel is queued behind the others.
            bench.submit(6, channel(0), Lane::Message);
        }
    }
    assert_eq!(order, [5, 2, 3, 4, 6, 1]);
}

#[test]
fn a_full_queue_in_the_radio_holds_texts_back() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.queue_with(1, 0, 2);
    bench.settled();
    bench.submit(2, channel(0), Lane::Message);
    bench.wait(DELAY * 5);
    assert_eq!(bench.written(), None);
    assert_eq!(bench.pacer.deadline(), None);
    bench.queue_with(0, 0, 3);
    assert_eq!(bench.written(), Some(2));
}

#[test]
fn a_heartbeat_shortly_before_a_text_makes_the_radio_look_for_it() {
    let mut bench = Bench::new();
    assert!(!bench.pacer.prompts(bench.now.instant), "nothing waits");
    bench.submit(1, channel(0), Lane::Message);
    let accepted = bench.now.instant;
    bench.accept(1);
    assert_eq!(bench.pacer.prompt_deadline(), None);
    bench.submit(2, channel(0), Lane::Message);
    let due = accepted + DELAY.saturating_sub(PROMPT);
    assert_eq!(bench.pacer.prompt_deadline(), Some(due));
    assert!(!bench.pacer.prompts(bench.now.instant));
    bench.wait(due.saturating_duration_since(bench.now.instant));
    assert!(bench.pacer.prompts(bench.now.instant));
    assert!(!bench.pacer.prompts(bench.now.instant), "once");
    assert_eq!(bench.pacer.prompt_deadline(), None);
    // Its answer concerns no packet.
    bench.queue(0, 0);
    bench.wait(PROMPT);
    assert!(!bench.pacer.prompts(bench.now.instant), "it is due");
    assert_eq!(bench.written(), Some(2));
    bench.queue(0, 0);
    assert_eq!(bench.settled(), [], "it has no answer yet");
    bench.queue(2, 0);
    assert_eq!(bench.settled().len(), 1);
}

#[test]
fn urgent_texts_pass_what_a_busy_channel_holds_back() {
    let mut bench = Bench::new();
    bench.pacer.traffic.limits = Some(ChannelUse {
        slow_above: 25,
        stop_above: 40,
    });
    bench.pacer.traffic.on_channel_use(41.0, bench.now.instant);
    bench.submit(1, channel(0), Lane::Message);
    bench.submit(2, channel(0), Lane::Urgent);
    assert_eq!(bench.written(), Some(2));
    assert!(is_as_before(&bench.reports(), 1));
    bench.queue(2, 0);
    bench.settled();
    let closed = bench.pacer.traffic.closed_until(bench.now.instant);
    assert!(closed.is_some());
    bench.pacer.traffic.on_channel_use(26.0, bench.now.instant);
    assert_eq!(bench.pacer.traffic.closed_until(bench.now.instant), None);
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), None, "spaced");
    bench.until_deadline();
    assert_eq!(bench.written(), Some(1));
}

#[test]
fn a_used_up_duty_cycle_is_tried_again_after_five_minutes_by_whatever_waits() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.queue(1, 9);
    bench.routing(OWN, 1, 9);
    let after = Duration::from_mins(5);
    assert_eq!(retry(&bench.reports()), Some((1, after, true)));
    bench.submit(2, channel(1), Lane::Message);
    bench.submit(3, channel(1), Lane::Urgent);
    assert_eq!(bench.written(), None);
    assert!(is_as_before(&bench.reports(), 2));
    bench.until_deadline();
    assert_eq!(bench.written(), Some(3));
    bench.queue(3, 9);
    bench.routing(OWN, 3, 9);
    let closed = bench.pacer.traffic.closed_until(bench.now.instant).unwrap();
    bench.wait(closed - bench.now.instant);
    assert_eq!(bench.pacer.traffic.closed_until(bench.now.instant), None);
    assert!(bench.now.wall >= Timestamp(1_000_000) + after);
    bench.submit(2, channel(1), Lane::Message);
    assert_eq!(bench.written(), Some(2));
}
