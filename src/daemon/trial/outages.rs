//! Radios and homeservers that are away, hang, reboot or refuse; clock jumps; stops with messages in flight.

use super::*;

/// Asserts that all messages have arrived on both sides, in order and once.
async fn all_crosses(trial: &Trial, from_mesh: &[u32], from_matrix: &[u32]) {
    trial
        .until("everything crosses", |trial| {
            trial.in_room(0).len() >= from_mesh.len()
                && trial.on_mesh(0).len() >= from_matrix.len()
                && trial.waiting() == (0, 0)
        })
        .await;
    assert_eq!(trial.in_room(0), from_mesh, "{}", trial.told());
    assert_eq!(trial.on_mesh(0), from_matrix, "{}", trial.told());
    trial.no_transaction_was_posted_twice();
    trial.no_text_went_under_two_ids();
}

#[tokio::test(start_paused = true)]
async fn texts_cross_both_ways() {
    let trial = Trial::started(1).await;
    trial.mesh.says(0, 1, "hello 1").await;
    trial.homeserver.says(0, "hello 2");
    all_crosses(&trial, &[1], &[2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_is_away_for_ten_minutes_costs_no_message() {
    let trial = Trial::started(2).await;
    trial
        .mesh
        .fault(r#"{"fault": "away", "seconds": 600}"#)
        .await;
    for number in 1..=10 {
        trial.mesh.says(0, number, &format!("kept {number}")).await;
        trial.homeserver.says(0, &format!("waits {number}"));
        trial.wait(Duration::from_secs(55)).await;
    }
    assert!(trial.on_mesh(0).is_empty());
    all_crosses(&trial, &up_to(10), &up_to(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_in_flight_at_a_kill_is_there_once_though_the_homeserver_forgets_its_transaction()
{
    let mut trial = Trial::started(4).await;
    trial.homeserver.set_mood(Mood::LosesAnswers);
    trial.mesh.says(0, 1, "hello 1").await;
    trial
        .until("it is there", |trial| trial.in_room(0) == [1])
        .await;
    trial.kill().await;
    assert_eq!(trial.waiting(), (1, 0));
    trial.homeserver.forgets();
    trial.homeserver.set_mood(Mood::Takes);
    trial.start();
    trial.mesh.says(0, 2, "hello 2").await;
    all_crosses(&trial, &[1, 2], &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_cut_costs_no_message() {
    for seconds in [3, 30] {
        let trial = Trial::started(seconds).await;
        let away = format!(r#"{{"fault": "away", "seconds": {seconds}}}"#);
        for number in 1..=12 {
            trial.mesh.says(0, number, &format!("far {number}")).await;
            trial.homeserver.says(0, &format!("near {number}"));
            if number % 4 == 0 {
                // Time for the radio to deliver its packets: those in the pipe are lost when the pipe is cut.
                trial.wait(Duration::from_millis(300)).await;
                trial.mesh.fault(&away).await;
            }
            trial.wait(Duration::from_millis(700)).await;
        }
        all_crosses(&trial, &up_to(12), &up_to(12)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_open_link_costs_nothing_that_was_said_in_matrix() {
    let trial = Trial::started(4).await;
    trial.homeserver.says(0, "before 1");
    trial.mesh.fault(r#"{"fault": "half_open"}"#).await;
    for number in 2..=5 {
        trial.homeserver.says(0, &format!("into the void {number}"));
    }
    trial
        .until("a new link", |trial| trial.mesh.handshakes() > 1)
        .await;
    trial.mesh.says(0, 1, "after it 1").await;
    all_crosses(&trial, &[1], &[1, 2, 3, 4, 5]).await;
}

#[tokio::test(start_paused = true)]
async fn a_radio_that_reboots_in_the_middle_of_a_send_costs_no_message() {
    for silent in [
        r#"{"fault": "silent", "count": 1}"#,
        r#"{"fault": "silent", "count": 1, "lost": true}"#,
    ] {
        let trial = Trial::started(5).await;
        trial.mesh.fault(silent).await;
        for number in 1..=4 {
            trial.homeserver.says(0, &format!("said {number}"));
        }
        // The first packet is written, and not answered.
        trial
            .until("the first packet is written", |trial| {
                trial.mesh.answers() > 0
            })
            .await;
        trial
            .mesh
            .fault(r#"{"fault": "reboot", "seconds": 8}"#)
            .await;
        all_crosses(&trial, &[], &[1, 2, 3, 4]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_thousand_packets_in_ten_seconds_all_reach_the_room_in_order() {
    let trial = Trial::started(6).await;
    trial
        .mesh
        .fault(r#"{"fault": "queue", "capacity": 2500}"#)
        .await;
    trial.homeserver.set_mood(Mood::Hangs);
    for number in 1..=2000 {
        trial.mesh.says(0, number, &format!("burst {number}")).await;
        trial.wait(Duration::from_millis(5)).await;
    }
    trial
        .until("everything is accepted", |trial| trial.waiting().0 == 2000)
        .await;
    // One send is in flight for the room; the other rows are in the table only.
    assert_eq!(trial.homeserver.most_under_way(), 1);
    trial.homeserver.set_mood(Mood::Takes);
    all_crosses(&trial, &up_to(2000), &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_homeserver_that_is_away_for_hours_costs_no_message() {
    for mood in [Mood::Away, Mood::Hangs] {
        let trial = Trial::started(7).await;
        trial.homeserver.set_mood(mood);
        for number in 1..=60 {
            trial.mesh.says(0, number, &format!("heard {number}")).await;
            trial.wait(Duration::from_mins(5)).await;
        }
        assert!(trial.in_room(0).is_empty());
        trial.homeserver.set_mood(Mood::Takes);
        trial.homeserver.says(0, "back 1");
        all_crosses(&trial, &up_to(60), &[1]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_costs_no_message() {
    const YEAR: i64 = 365 * 24 * 3_600_000;
    for jump in [-YEAR, -3_600_000, -5_000, 5_000, 1_800_000] {
        let mut trial = Trial::started(8).await;
        trial.mesh.says(0, 1, "before 1").await;
        for number in 1..=4 {
            trial.homeserver.says(0, &format!("before {number}"));
        }
        trial
            .until("some are sent", |trial| trial.on_mesh(0).len() == 2)
            .await;
        trial.turn_clock(jump);
        trial.mesh.says(0, 2, "after 2").await;
        trial.homeserver.says(0, "after 5");
        trial.wait(Duration::from_secs(1)).await;
        trial.kill().await;
        trial.start();
        let began = Instant::now();
        all_crosses(&trial, &[1, 2], &[1, 2, 3, 4, 5]).await;
        assert!(
            began.elapsed() < Duration::from_mins(2),
            "{jump} holds texts back"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_loses_nothing_and_ends_in_time() {
    for mood in [Mood::Takes, Mood::Hangs, Mood::Away] {
        let mut trial = Trial::started(9).await;
        trial.homeserver.set_mood(mood);
        for number in 1..=6 {
            trial.mesh.says(0, number, &format!("far {number}")).await;
        }
        trial.homeserver.set_mood(Mood::Takes);
        for number in 1..=6 {
            trial.homeserver.says(0, &format!("near {number}"));
        }
        trial
            .until("one is sent", |trial| !trial.on_mesh(0).is_empty())
            .await;
        trial.homeserver.set_mood(mood);
        let took = trial.stop().await;
        assert!(took < Duration::from_secs(8), "{mood:?}: {took:?}");
        trial.wait(Duration::from_secs(20)).await;
        trial.homeserver.set_mood(Mood::Takes);
        trial.start();
        all_crosses(&trial, &up_to(6), &up_to(6)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn texts_that_the_radio_refuses_for_now_keep_their_order() {
    let trial = Trial::started(10).await;
    // Rate limit, duty cycle, and a full queue, which only the queue status reports.
    for (error, nak) in [(38, true), (9, true), (32, false)] {
        let refuse =
            format!(r#"{{"fault": "refuse", "error": {error}, "count": 2, "nak": {nak}}}"#);
        trial.mesh.fault(&refuse).await;
        let first = error * 10;
        for number in first..first + 4 {
            trial.homeserver.says(0, &format!("said {number}"));
        }
        trial
            .until("all four are sent", |trial| {
                trial.on_mesh(0).contains(&(first + 3))
            })
            .await;
    }
    let expected = [380, 381, 382, 383, 90, 91, 92, 93, 320, 321, 322, 323];
    all_crosses(&trial, &[], &expected).await;
}

#[tokio::test(start_paused = true)]
async fn texts_keep_their_distance_through_lost_links() {
    let trial = Trial::started(11).await;
    for number in 1..=10 {
        trial.homeserver.says(0, &format!("said {number}"));
    }
    for _ in 0..6 {
        trial.wait(Duration::from_millis(3_300)).await;
        trial.mesh.fault(r#"{"fault": "close"}"#).await;
    }
    all_crosses(&trial, &[], &up_to(10)).await;
    trial.texts_kept_their_distance();
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_while_the_radio_is_away_is_never_transmitted() {
    let trial = Trial::started(12).await;
    trial
        .mesh
        .fault(r#"{"fault": "away", "seconds": 60}"#)
        .await;
    trial.wait(Duration::from_secs(1)).await;
    trial.homeserver.says(0, "said 1");
    let mistake = trial.homeserver.says(0, "a mistake 2");
    trial.homeserver.says(0, "said 3");
    trial.wait(Duration::from_secs(5)).await;
    trial.homeserver.redacts(0, &mistake);
    all_crosses(&trial, &[], &[1, 3]).await;
}

#[tokio::test(start_paused = true)]
async fn rooms_are_told_of_a_long_outage_in_order_with_what_else_they_get() {
    let mut trial = Trial::started(13).await;
    trial
        .mesh
        .fault(r#"{"fault": "away", "seconds": 3000}"#)
        .await;
    trial.wait(Duration::from_mins(5)).await;
    assert_eq!(trial.homeserver.notices(0), [""; 0]);
    trial.kill().await;
    trial.start();
    trial
        .until("all rooms are told", |trial| {
            (0..ROOMS).all(|room| trial.homeserver.notices(room).len() == 1)
        })
        .await;
    assert!(trial.homeserver.notices(0)[0].contains("away for 10 min"));
    // Both sides are away; the radio is back first.
    trial.homeserver.set_mood(Mood::Hangs);
    trial.mesh.says(0, 1, "kept 1").await;
    trial.stop().await;
    trial.start();
    trial
        .until("the radio is back", |trial| trial.waiting().0 > 0)
        .await;
    trial.wait(Duration::from_mins(5)).await;
    trial.homeserver.set_mood(Mood::Takes);
    trial
        .until("all rooms are told of the end", |trial| {
            (0..ROOMS).all(|room| trial.homeserver.notices(room).len() == 2)
        })
        .await;
    assert!(trial.homeserver.notices(0)[1].contains("back after"));
    // The text went first.
    let posted = trial.homeserver.posted(0);
    assert_eq!(posted.len(), 3);
    assert_eq!(trial.in_room(0), [1]);
    trial.wait(Duration::from_hours(3)).await;
    assert_eq!(trial.homeserver.notices(0).len(), 2);
    trial.no_transaction_was_posted_twice();
}
