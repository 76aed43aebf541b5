//! What holds whatever happens in whichever order.

use super::*;

/// An event for the pacer.
#[derive(Debug, Clone)]
enum Happening {
    Submit(u32, u32, u8),
    Wait(u32),
    Status(i32),
    Routing(u32),
    Frame,
    Lost,
    Ready(bool),
    Withdraw(u32),
    Busy(u8),
    Heartbeat(u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    let error = prop::sample::select(vec![0_u32, 3, 5, 6, 7, 9, 34, 35, 38, 39]);
    let res = prop::sample::select(vec![0_i32, 0, 0, 6, 7, 9, 32, 33, 34, 35]);
    prop_oneof![
        4 => (1..9_u32, 0..3_u32, 0..3_u8).prop_map(|(row, to, lane)| Happening::Submit(row, to, lane)),
        4 => (0..12_000_u32).prop_map(Happening::Wait),
        4 => res.prop_map(Happening::Status),
        2 => error.prop_map(Happening::Routing),
        1 => Just(Happening::Frame),
        1 => Just(Happening::Lost),
        1 => any::<bool>().prop_map(Happening::Ready),
        1 => (1..9_u32).prop_map(Happening::Withdraw),
        1 => (0..101_u8).prop_map(Happening::Busy),
        1 => (0..17_u32).prop_map(Happening::Heartbeat),
    ]
}

proptest! {
    /// Texts keep their distance, one at a time is unanswered, each submission of a row has one verdict, and every
    /// candidate on a live link has a deadline.
    #[test]
    fn the_pace_is_kept_whatever_happens(happenings in prop::collection::vec(happening(), 1..80)) {
        let mut bench = Bench::new();
        bench.pacer.traffic.limits = Some(ChannelUse { slow_above: 25, stop_above: 40 });
        let (mut linked, mut transmits) = (true, true);
        let mut full = false;
        let mut held: Vec<u32> = Vec::new();
        let mut unanswered: Option<(u32, u32)> = None;
        let mut answered: Option<u32> = None;
        let mut accepted_at: Option<Instant> = None;
        for happening in happenings {
            match happening {
                Happening::Submit(row, to, lane) => {
                    // A worker never submits a row twice, and only one row of its queue.
                    if !held.contains(&row) && linked {
                        held.push(row);
                        bench.submit(row, channel(to), Lane::VARIANTS[usize::from(lane)]);
                    }
                }
                Happening::Wait(milliseconds) => bench.wait(Duration::from_millis(milliseconds.into())),
                Happening::Status(res) => {
                    if let Some((packet, _)) = unanswered {
                        bench.queue(packet, res);
                        full = false;
                        // A second status for the same packet reports its transmission.
                        if answered != Some(packet) {
                            accepted_at = Some(bench.now.instant);
                        }
                        answered = Some(packet);
                    }
                }
                Happening::Routing(error) => {
                    if let Some((packet, _)) = unanswered {
                        bench.routing(OWN, packet, error);
                    }
                }
                Happening::Frame => bench.pacer.on_frame(bench.now.instant),
                Happening::Lost => {
                    linked = false;
                    bench.pacer.on_lost();
                }
                Happening::Ready(may_transmit) => {
                    (linked, transmits, full) = (true, may_transmit, false);
                    bench.pacer.on_ready(&profile(may_transmit));
                }
                Happening::Withdraw(row) => bench.pacer.withdraw(MeshRowId(row.into())),
                Happening::Busy(percent) => bench.pacer.traffic.on_channel_use(percent.into(), bench.now.instant),
                Happening::Heartbeat(free) => {
                    if linked {
                        full = free <= SPARE_PLACES;
                        bench.queue_with(0, 0, free);
                    }
                }
            }
            let written = bench.written();
            for (row, outcome) in bench.reports() {
                let settles = match outcome {
                    RadioOutcome::Accepted { .. } | RadioOutcome::Retry { .. } | RadioOutcome::Refused(_) => true,
                    RadioOutcome::Heard | RadioOutcome::Unheard | RadioOutcome::Delivered => false,
                };
                if settles && let Some(at) = held.iter().position(|it| *it == row) {
                    held.remove(at);
                    if unanswered.is_some_and(|(packet, _)| packet == row) {
                        unanswered = None;
                    }
                }
            }
            if let Some(packet) = written {
                prop_assert!(linked && held.contains(&packet));
                let times = if let Some((other, times)) = unanswered {
                    prop_assert_eq!(other, packet, "one is unanswered");
                    times + 1
                } else {
                    prop_assert!(transmits);
                    prop_assert!(accepted_at.is_none_or(|at| bench.now.instant >= at + DELAY));
                    answered = None;
                    1
                };
                prop_assert!(times <= 2, "repeated once");
                unanswered = Some((packet, times));
            }
            let silent = matches!(unanswered, Some((_, 2)));
            if linked && !held.is_empty() && !silent && !full {
                prop_assert!(bench.pacer.deadline().is_some(), "{:?}", bench.pacer);
            }
        }
    }
}
