use matrix_sdk::ruma::serde::Raw;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::super::scripted::{ROOM, Scripted, undecryptable};
use super::*;

fn gap(room: &str, from: &str, to: &str) -> Gap {
    Gap {
        room: room.try_into().unwrap(),
        from: GapStart::Token(from.to_owned()),
        to: to.to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_grows_while_it_is_fetched_stays_open_for_the_rest() {
    let fetched = gap("!one:example.org", "s1", "s5");
    let other = gap("!two:example.org", "s1", "s5");
    let mut gaps = Gaps::new(vec![fetched.clone(), other.clone()], Instant::now());
    gaps.add(gap("!one:example.org", "s1", "s9"), Instant::now());
    let grown = gap("!one:example.org", "s1", "s9");
    assert_eq!(gaps.all(), [grown, other.clone()]);
    gaps.read(&fetched, Some("t3".to_owned()), false, Instant::now());
    let further = gap("!one:example.org", "t3", "s9");
    assert_eq!(gaps.all(), [further, other.clone()]);
    gaps.read(
        &gap("!one:example.org", "t3", "s5"),
        None,
        false,
        Instant::now(),
    );
    let rest = gap("!one:example.org", "s5", "s9");
    assert_eq!(gaps.all(), [rest.clone(), other.clone()]);
    gaps.read(&rest, None, false, Instant::now());
    assert_eq!(gaps.all(), [other]);
    assert!(!gaps.is_open(&rest.room));
}

#[tokio::test(start_paused = true)]
async fn a_stretch_that_never_comes_holds_up_none_that_came_later() {
    let stuck = gap("!one:example.org", "s1", "s5");
    let later = gap("!one:example.org", "s7", "s9");
    let latest = gap("!one:example.org", "s11", "s12");
    let mut gaps = Gaps::new(
        vec![stuck.clone(), later.clone(), latest.clone()],
        Instant::now(),
    );
    gaps.failed(
        &stuck,
        &matrix_sdk::Error::AuthenticationRequired,
        Instant::now(),
    );
    gaps.read(&later, Some("t8".to_owned()), false, Instant::now());
    gaps.read(
        &gap("!one:example.org", "t8", "s9"),
        None,
        false,
        Instant::now(),
    );
    assert_eq!(gaps.all(), [stuck.clone(), latest.clone()]);
    assert_eq!(gaps.open[0].failures, 1);
    // The server no longer knows the oldest position.
    gaps.drop(&stuck);
    assert_eq!(gaps.all(), [latest]);
}

#[tokio::test(start_paused = true)]
async fn one_refusal_ends_nothing_and_a_server_that_goes_on_refusing_is_believed() {
    let gap = gap("!one:example.org", "s1", "s5");
    let mut gaps = Gaps::new(vec![gap.clone()], Instant::now());
    let body = json!({"errcode": "M_FORBIDDEN", "error": "you may not"});
    let refusal = errors::answered(403, None, &body);
    let mut asked = Duration::ZERO;
    for _ in 1..MOST_REFUSALS {
        assert!(!gaps.failed(&gap, &refusal, Instant::now()));
        asked += gaps.open[0].due - Instant::now();
    }
    assert!(asked > Duration::from_hours(3), "{asked:?}");
    // Another kind of error restarts the count.
    assert!(!gaps.failed(
        &gap,
        &matrix_sdk::Error::AuthenticationRequired,
        Instant::now()
    ));
    for _ in 1..MOST_REFUSALS {
        assert!(!gaps.failed(&gap, &refusal, Instant::now()));
    }
    assert!(gaps.failed(&gap, &refusal, Instant::now()));
    assert_eq!(gaps.all(), []);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_stretches_of_a_room_become_one_beyond_a_few() {
    let room = "!one:example.org";
    let stretch = |number: usize| gap(room, &format!("s{number}"), &format!("t{number}"));
    let other = gap("!two:example.org", "s1", "s5");
    let mut kept = vec![stretch(1), other.clone()];
    kept.extend((2..=MOST_OF_ROOM + 2).map(stretch));
    let mut left = vec![gap(room, "s1", "t3"), other];
    left.extend((4..=MOST_OF_ROOM + 2).map(stretch));
    assert_eq!(Gaps::new(kept, Instant::now()).all(), left);
}

#[tokio::test(start_paused = true)]
async fn empty_pages_without_end_are_asked_for_less_and_less_often() {
    let mut gap = gap("!one:example.org", "t0", "s9");
    let mut gaps = Gaps::new(vec![gap.clone()], Instant::now());
    let mut read = |number: u32, is_empty| {
        let next = format!("t{number}");
        gaps.read(&gap, Some(next.clone()), is_empty, Instant::now());
        gap.from = GapStart::Token(next);
        assert_eq!(gaps.all(), [gap.clone()]);
        gaps.open[0].due - Instant::now()
    };
    for number in 1..=20 {
        assert_eq!(read(number, true), Duration::ZERO);
    }
    assert!(read(21, true) >= FIRST_PAUSE / 2);
    for number in 22..40 {
        read(number, true);
    }
    assert!(read(40, true) >= LONGEST_PAUSE / 2);
    assert_eq!(read(41, false), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn rooms_hold_an_answer_up_for_a_minute_in_all() {
    let mut patience = Patience::default();
    let second = Duration::from_secs(1);
    assert!(!Patience::default().allows(PATIENCE + second, Instant::now()));
    for _ in 0..60 {
        assert!(!patience.is_spent(Instant::now()));
        assert!(patience.allows(second, Instant::now()));
        tokio::time::advance(second).await;
    }
    assert!(!patience.allows(second, Instant::now()));
    assert!(!patience.allows(Duration::from_millis(1), Instant::now()));
    assert!(patience.is_spent(Instant::now()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_nobody_waits_for_keeps_nobody_from_decrypting() {
    let server = Scripted::start(|line| {
        if !line.contains("/messages") {
            return json!({});
        }
        let page: Vec<Value> = (0..250).map(undecryptable).collect();
        json!({"start": "s1", "end": "s2", "chunk": page})
    });
    let server = server.await;
    let rooms = server.rooms();
    let event = Raw::from_json_string(undecryptable(250).to_string()).unwrap();
    for round in 1..=10 {
        let mut gaps = Gaps::new(vec![gap(ROOM, "s1", "s9")], Instant::now());
        loop {
            if let Some((_, fetched)) = gaps.next(&rooms).now_or_never() {
                assert!(matches!(fetched, Ok(page) if page.events.len() == 250));
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            let limit = Duration::from_secs(20);
            let decrypted = timeout(limit, server.room.decrypt_event(&event, None)).await;
            assert!(decrypted.is_ok(), "it waits for ever");
        }
        assert_eq!(server.count("/messages"), round);
    }
}

#[tokio::test]
async fn what_begins_at_a_time_is_read_back_to_it_and_told_in_order() {
    let server = Scripted::start(|line| {
        // Pages of two, from the last event back to the first, which are a millisecond apart.
        let (_, from) = line.split_once("from=s").unwrap();
        let from: i64 = from.split(['&', ' ']).next().unwrap().parse().unwrap();
        let event = |number: i64| {
            let mut event = undecryptable(1);
            event["event_id"] = json!(format!("${number}"));
            event["origin_server_ts"] = json!(number);
            event
        };
        json!({"start": "s", "end": format!("s{}", from - 2), "chunk": [event(from), event(from - 1)]})
    });
    let server = server.await;
    let since = |since| Gap {
        from: GapStart::Time(Timestamp(since)),
        ..gap(ROOM, "", "s100")
    };
    let page = fetch(&server.room, &since(96), 0).await.unwrap();
    let found: Vec<_> = page
        .events
        .iter()
        .filter_map(TimelineEvent::event_id)
        .collect();
    assert_eq!(
        found,
        ["$93", "$94", "$95", "$96", "$97", "$98", "$99", "$100"]
    );
    assert_eq!(page.next, None);
    // However much there is, it ends.
    let page = fetch(&server.room, &since(0), 0).await.unwrap();
    assert_eq!(page.events.len(), 40);
}
