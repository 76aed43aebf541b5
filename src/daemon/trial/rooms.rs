//! Rooms that refuse sends, and other rooms, which are not delayed.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_room_that_is_forbidden_delays_no_other() {
    let trial = Trial::started(21).await;
    trial.homeserver.set_mood_of(0, Mood::Forbids);
    for number in 1..=5 {
        trial
            .mesh
            .says(0, number, &format!("forbidden {number}"))
            .await;
        trial
            .mesh
            .says(1, 100 + number, &format!("allowed {number}"))
            .await;
    }
    let began = Instant::now();
    trial
        .until("the other room has all", |trial| {
            trial.in_room(1).len() == 5
        })
        .await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(trial.in_room(0).is_empty());
    trial.wait(Duration::from_mins(30)).await;
    assert_eq!(trial.waiting().0, 5, "they wait");
    // A parked room is retried rarely.
    let attempts = trial.homeserver.attempts();
    let attempts = attempts
        .iter()
        .filter(|it| it.room.as_str() == "!room0:example.org");
    assert!((2..20).contains(&attempts.count()));
    trial.homeserver.set_mood_of(0, Mood::Takes);
    let allowed = Instant::now();
    trial.homeserver.changes_rooms();
    trial
        .until("the room has all", |trial| trial.in_room(0).len() == 5)
        .await;
    assert!(
        allowed.elapsed() < Duration::from_secs(5),
        "a change in the room ends the wait"
    );
    assert_eq!(trial.in_room(0), [1, 2, 3, 4, 5]);
    assert_eq!(trial.in_room(1), [1, 2, 3, 4, 5]);
    trial.no_transaction_was_posted_twice();
}

#[tokio::test(start_paused = true)]
async fn a_room_that_does_not_answer_delays_no_other() {
    let trial = Trial::started(22).await;
    trial.homeserver.set_mood_of(0, Mood::Hangs);
    for number in 1..=5 {
        trial.mesh.says(0, number, &format!("stuck {number}")).await;
        trial
            .mesh
            .says(1, 100 + number, &format!("free {number}"))
            .await;
    }
    let began = Instant::now();
    trial
        .until("the other room has all", |trial| {
            trial.in_room(1).len() == 5
        })
        .await;
    assert!(began.elapsed() < Duration::from_secs(5));
    trial.wait(Duration::from_mins(10)).await;
    trial.homeserver.set_mood_of(0, Mood::Takes);
    trial
        .until("the room has all", |trial| trial.in_room(0).len() == 5)
        .await;
    assert_eq!(trial.in_room(0), [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_429_gets_everything_in_order_and_is_not_pressed() {
    let trial = Trial::started(23).await;
    trial
        .homeserver
        .set_mood(Mood::Limits(Duration::from_secs(10)));
    for number in 1..=20 {
        trial.mesh.says(0, number, &format!("many {number}")).await;
        trial
            .mesh
            .says(1, 100 + number, &format!("many {number}"))
            .await;
        trial.homeserver.says(0, &format!("said {number}"));
        trial.wait(Duration::from_secs(1)).await;
    }
    trial.wait(Duration::from_mins(2)).await;
    // The first sends of all rooms were in flight at the first 429.
    let tries: Vec<_> = trial.homeserver.attempts().iter().map(|it| it.at).collect();
    for pair in tries[1..].windows(2) {
        let distance = pair[1].since(pair[0]);
        assert!(distance >= Duration::from_secs(10), "pressed: {tries:?}");
    }
    trial.homeserver.set_mood(Mood::Takes);
    trial
        .until("both rooms have all", |trial| {
            trial.in_room(0).len() == 20 && trial.in_room(1).len() == 20
        })
        .await;
    assert_eq!(trial.in_room(0), up_to(20));
    assert_eq!(trial.in_room(1), up_to(20));
    trial.no_transaction_was_posted_twice();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_the_server_will_never_take_holds_none_up() {
    let trial = Trial::started(24).await;
    trial.homeserver.set_mood_of(0, Mood::Refuses);
    trial.mesh.says(0, 1, "bad 1").await;
    trial
        .until("it is tried", |trial| {
            !trial.homeserver.attempts().is_empty()
        })
        .await;
    trial
        .until("it is given up", |trial| trial.waiting().0 == 0)
        .await;
    trial.homeserver.set_mood_of(0, Mood::Takes);
    trial.mesh.says(0, 2, "good 2").await;
    trial
        .until("the next is taken", |trial| trial.in_room(0) == [2])
        .await;
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_make_no_duplicates() {
    let trial = Trial::started(25).await;
    // It is sent again first; then the event in sync shows that it was accepted.
    trial.homeserver.set_mood(Mood::LosesAnswers);
    for number in 1..=20 {
        trial.mesh.says(0, number, &format!("once {number}")).await;
        trial.wait(Duration::from_millis(400)).await;
    }
    assert!(trial.homeserver.repeats() > 0, "nothing was asked again");
    trial.homeserver.set_mood(Mood::Takes);
    trial
        .until("the room has all", |trial| trial.in_room(0).len() == 20)
        .await;
    trial.wait(Duration::from_mins(1)).await;
    assert_eq!(trial.in_room(0), up_to(20));
    trial.no_transaction_was_posted_twice();
}
