//! What is taken, refused here or given back before it is sent.

use super::*;

#[test]
fn nothing_is_written_without_a_link() {
    let mut bench = Bench::new();
    bench.pacer.on_lost();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), None);
    assert_eq!(bench.pacer.deadline(), None);
    bench.pacer.on_ready(&profile(true));
    assert_eq!(bench.written(), Some(1));
}

#[test]
fn a_radio_that_may_not_transmit_refuses_what_waits_and_what_comes() {
    let mut bench = Bench::new();
    bench.pacer.on_lost();
    bench.submit(1, channel(0), Lane::Message);
    bench.pacer.on_ready(&profile(false));
    bench.submit(2, channel(0), Lane::Message);
    let refused = RadioOutcome::Refused(Refusal::TransmitOff);
    assert_eq!(bench.reports(), [(1, refused.clone()), (2, refused)]);
}

#[test]
fn what_no_radio_takes_is_refused_here() {
    let mut bench = Bench::new();
    let text = |number, length, reply| {
        let mut submission = submission(number, channel(0), Lane::Message, "");
        let reply_to = Some(PacketId(9)).filter(|_| reply);
        submission.message.payload = RadioPayload::Text {
            text: "x".repeat(length),
            reply_to,
        };
        submission
    };
    bench.pacer.submit(text(1, 232, false));
    bench.pacer.submit(text(2, 227, true));
    assert_eq!(bench.reports(), []);
    bench.pacer.submit(text(3, 233, false));
    bench.pacer.submit(text(4, 228, true));
    let refused = RadioOutcome::Refused(Refusal::TooLong);
    assert_eq!(bench.reports(), [(3, refused.clone()), (4, refused)]);
}

#[test]
fn a_withdrawn_row_is_given_back_unless_it_is_on_its_way() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench.submit(2, channel(1), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.pacer.withdraw(MeshRowId(1));
    bench.pacer.withdraw(MeshRowId(2));
    bench.pacer.withdraw(MeshRowId(3));
    assert!(is_as_before(&bench.reports(), 2));
    bench.queue(1, 0);
    assert_eq!(bench.settled().len(), 1);
    assert_eq!(bench.pacer.called_back, [MeshRowId(3)]);
}

#[test]
fn a_row_that_is_withdrawn_before_it_comes_is_given_back_when_it_does_and_once() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.pacer.withdraw(MeshRowId(1));
    }
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), None);
    let outcomes = bench.reports();
    assert!(is_as_before(&outcomes, 1), "{outcomes:?}");
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    for row in 0..1000 {
        bench.pacer.withdraw(MeshRowId(row));
    }
    assert_eq!(bench.pacer.called_back.len(), CALLED_BACK);
}

#[test]
fn what_is_meant_for_a_channel_goes_out_on_that_one_alone() {
    let mut bench = Bench::new();
    let submit = |bench: &mut Bench, number, to, meant: Option<u8>| {
        let channel = meant.map(|it| Fingerprint([it; 32]));
        let submission = submission(number, to, Lane::Message, "hello");
        bench.pacer.submit(Submission {
            channel,
            ..submission
        });
    };
    submit(&mut bench, 1, channel(1), Some(2));
    assert_eq!(bench.written(), None);
    let outcomes = bench.reports();
    assert_eq!(retry(&outcomes), Some((1, CHANNEL_AGAIN, false)));
    assert!(is_as_before(&outcomes, 1), "{outcomes:?}");
    let others = [
        (channel(1), Some(1)),
        (channel(1), None),
        (Destination::Direct(BOB), None),
    ];
    for (number, (to, meant)) in (2..).zip(others) {
        submit(&mut bench, number, to, meant);
        bench.accept(number);
        bench.wait(DELAY);
    }

    // Answers that arrived without a link are read too.
    bench.pacer.on_lost();
    submit(&mut bench, 5, channel(1), Some(1));
    let mut changed = profile(true);
    changed.channels[1].fingerprint = None;
    bench.pacer.on_ready(&changed);
    assert!(is_as_before(&bench.reports(), 5));
    assert_eq!(bench.written(), None);
}

#[test]
fn a_row_submitted_twice_is_sent_once() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    bench
        .pacer
        .submit(submission(1, channel(0), Lane::Message, "changed"));
    let due = bench.pacer.poll(bench.now).expect("a text is due");
    assert_eq!(due.message.payload.bytes(), b"changed");
    bench.submit(1, channel(0), Lane::Message);
    bench.queue(1, 0);
    bench.settled();
    bench.wait(DELAY);
    assert_eq!(bench.written(), None);
}

#[test]
fn places_are_bounded() {
    let mut bench = Bench::new();
    for number in 0..u32::try_from(PLACES).unwrap() {
        assert!(bench.pacer.has_room());
        bench.submit(number, channel(number % 8), Lane::Message);
    }
    assert!(!bench.pacer.has_room());
}

#[test]
fn direct_messages_of_any_number_of_nodes_leave_room_for_what_is_urgent() {
    let mut bench = Bench::new();
    bench.submit(1, channel(0), Lane::Message);
    assert_eq!(bench.written(), Some(1));
    bench.queue_with(1, 0, 0);
    bench.settled();
    let nodes = 100;
    for node in 0..nodes {
        assert!(bench.pacer.has_room());
        bench.submit(
            100 + node,
            Destination::Direct(NodeNum(node)),
            Lane::Message,
        );
    }
    let given_back = bench.reports();
    assert_eq!(
        given_back.len(),
        usize::try_from(nodes).unwrap() - DIRECT_PLACES
    );
    for report in &given_back {
        assert!(is_as_before(std::slice::from_ref(report), report.0));
        let again = retry(std::slice::from_ref(report));
        assert_eq!(again, Some((report.0, PLACE_AGAIN, false)));
    }
    for (number, index) in (200..).zip(0..8) {
        for (lane, of_lane) in [(Lane::Message, 0), (Lane::Reaction, 10), (Lane::Urgent, 20)] {
            assert!(bench.pacer.has_room());
            bench.submit(number + of_lane, channel(index), lane);
        }
    }
    assert_eq!(bench.reports(), []);
    bench.wait(DELAY);
    bench.queue_with(0, 0, 15);
    assert_eq!(bench.written(), Some(220));
}
