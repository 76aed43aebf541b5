//! What becomes of a packet in flight: answers, refusals, timeouts.

use super::*;

#[test]
fn a_refusal_just_after_a_status_that_looks_like_success_is_no_success() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.queue_with(1, 0, 16);
    bench.wait(Duration::from_millis(40));
    bench.routing(OWN, 1, 38);
    let after = Duration::from_millis(2200);
    assert_eq!(retry(&bench.reports()), Some((1, after, true)));
    bench.submit(2, channel(1), Lane::Message);
    bench.wait(DELAY);
    assert_eq!(bench.written(), None, "the limit is for all destinations");
    bench.wait(after.saturating_sub(DELAY));
    assert_eq!(bench.written(), Some(2));
}

/// `QueueStatus.res`, whether a `Routing` with the same number follows, and the report.
#[test]
fn every_refusal_is_reported_as_the_table_says() {
    let refused = |refusal| RadioOutcome::Refused(refusal);
    let again = |seconds, reason: &str| RadioOutcome::Retry {
        after: Duration::from_secs(seconds),
        new_id: true,
        written: true,
        reason: reason.to_owned(),
    };
    let table = [
        (7, true, refused(Refusal::TooLong)),
        (6, true, refused(Refusal::NoChannel)),
        (39, true, refused(Refusal::NoKey)),
        (9, true, again(300, "the duty cycle is used up")),
        (34, true, refused(Refusal::Other(34))),
        (34, false, refused(Refusal::TransmitOff)),
        (33, false, refused(Refusal::NoInterface)),
        (32, false, again(7, "the radio's queue is full")),
        (6, false, refused(Refusal::NoChannel)),
        (36, true, refused(Refusal::Other(36))),
        (1, true, refused(Refusal::Other(1))),
        (2, true, refused(Refusal::Other(2))),
        (4, true, refused(Refusal::NoInterface)),
        (8, true, refused(Refusal::Other(8))),
        (32, true, refused(Refusal::Other(32))),
        (33, true, refused(Refusal::Other(33))),
        (35, true, refused(Refusal::Other(35))),
        (37, true, refused(Refusal::Other(37))),
        (99, true, refused(Refusal::Other(99))),
    ];
    for (res, routing, expected) in table {
        let mut bench = Bench::new();
        bench.submit(1, channel(0), Lane::Message);
        assert_eq!(bench.written(), Some(1));
        bench.queue(1, res);
        if routing {
            bench.routing(OWN, 1, res.unsigned_abs());
        }
        assert_eq!(bench.settled(), [(1, expected)], "{res} {routing}");
        bench.routing(OWN, 1, 5);
        assert_eq!(bench.reports(), [], "nothing is told twice");
    }
}

#[test]
fn a_message_within_the_radio_itself_is_accepted() {
    let mut bench = Bench::new();
    bench.submit(1, Destination::Direct(OWN), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.queue(1, 35);
    let at = bench.now.wall;
    assert_eq!(
        bench.settled(),
        [(1, RadioOutcome::Accepted { at, answered: true })]
    );
    bench.routing(OWN, 1, 0);
    assert_eq!(bench.reports(), [(1, RadioOutcome::Delivered)]);
}

#[test]
fn an_unanswered_packet_is_written_once_more_and_then_counts_as_accepted() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.until_deadline();
    assert_eq!(bench.written(), Some(1));
    bench.wait(ANSWER_LIMIT * 10);
    assert_eq!(bench.written(), None);
    assert_eq!(bench.reports(), [], "the link may be dead");
    assert_eq!(bench.pacer.deadline(), None);
    bench.pacer.on_frame(bench.now.instant);
    assert_eq!(bench.written(), None);
    let at = bench.now.wall;
    let silent = RadioOutcome::Accepted {
        at,
        answered: false,
    };
    assert_eq!(bench.reports(), [(1, silent)]);
}

#[test]
fn a_repeat_on_a_live_link_waits_as_long_as_the_first_try() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.written();
    bench.until_deadline();
    assert_eq!(bench.written(), Some(1));
    bench.wait(Duration::from_secs(1));
    bench.pacer.on_frame(bench.now.instant);
    assert_eq!(bench.written(), None);
    assert_eq!(bench.reports(), []);
    bench.until_deadline();
    assert_eq!(bench.written(), None);
    assert_eq!(bench.reports().len(), 1);
}

#[test]
fn an_acknowledgement_stands_for_a_lost_status() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.submit(2, Destination::Direct(BOB), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.routing(OWN, 1, 0);
    let at = bench.now.wall;
    let both = [
        (1, RadioOutcome::Accepted { at, answered: true }),
        (1, RadioOutcome::Heard),
    ];
    assert_eq!(bench.reports(), both);
    bench.wait(DELAY);
    assert_eq!(bench.written(), Some(2));
    bench.routing(BOB, 2, 0);
    let at = bench.now.wall;
    let both = [
        (2, RadioOutcome::Accepted { at, answered: true }),
        (2, RadioOutcome::Delivered),
    ];
    assert_eq!(bench.reports(), both);
}

#[test]
fn late_and_disordered_acknowledgements_find_their_packets() {
    let mut bench = Bench::new();
    for number in 1..=3 {
        bench.submit(number, channel(0), Lane::Message);
        bench.wait(DELAY);
        bench.accept(number);
    }
    bench.wait(Duration::from_secs(98));
    bench.routing(OWN, 2, 0);
    bench.routing(OWN, 1, 5);
    bench.routing(OWN, 99, 0);
    bench.routing(OWN, 3, 0);
    bench.routing(OWN, 1, 0);
    let expected = [
        (2, RadioOutcome::Heard),
        (1, RadioOutcome::Unheard),
        (3, RadioOutcome::Heard),
        (1, RadioOutcome::Heard),
    ];
    assert_eq!(bench.reports(), expected);
}

#[test]
fn a_lost_link_gives_everything_back_under_the_same_id() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.submit(2, channel(1), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.pacer.on_lost();
    let reports = bench.reports();
    assert_eq!(retry(&reports[..1]), Some((1, Duration::ZERO, false)));
    assert!(!is_as_before(&reports[..1], 1));
    assert_eq!(retry(&reports[1..]), Some((2, Duration::ZERO, false)));
    assert!(is_as_before(&reports[1..], 2));
    bench.pacer.on_ready(&profile(true));
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), None, "the radio may have taken it");
    bench.wait(DELAY);
    assert_eq!(bench.written(), Some(1));
}

#[test]
fn what_the_radio_had_taken_when_the_link_was_lost_is_accepted() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.written();
    bench.queue(1, 0);
    bench.pacer.on_lost();
    let at = bench.now.wall;
    assert_eq!(
        bench.reports(),
        [(1, RadioOutcome::Accepted { at, answered: true })]
    );
}
