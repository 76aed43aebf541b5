//! The signs on messages over time, and edited messages.

use super::*;

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_minute_sees_an_hourglass_and_then_one_final_sign() {
    let trial = Trial::started(41).await;
    trial
        .mesh
        .fault(r#"{"fault": "away", "seconds": 110}"#)
        .await;
    trial.wait(Duration::from_secs(1)).await;
    let event = trial.homeserver.says(0, "said 1");
    trial.wait(Duration::from_secs(55)).await;
    assert!(trial.homeserver.signs(0, &event).is_empty());
    trial.wait(Duration::from_secs(40)).await;
    assert_eq!(trial.homeserver.signs(0, &event), ["⏳"]);
    assert_eq!(trial.homeserver.read_to(0), None);
    trial
        .until("the final sign", |trial| {
            trial.homeserver.signs(0, &event) == ["📡"]
        })
        .await;
    trial.wait(Duration::from_mins(5)).await;
    assert_eq!(trial.homeserver.signs(0, &event), ["📡"]);
    assert_eq!(trial.homeserver.read_to(0), Some(event));
}

#[tokio::test(start_paused = true)]
async fn the_hourglass_goes_also_where_no_other_sign_follows() {
    let trial = Trial::started(42).await;
    trial
        .mesh
        .fault(r#"{"fault": "away", "seconds": 110}"#)
        .await;
    trial.wait(Duration::from_secs(1)).await;
    let event = trial.homeserver.says(0, "said 1");
    trial.wait(Duration::from_secs(90)).await;
    assert_eq!(trial.homeserver.signs(0, &event), ["⏳"]);
    trial
        .until("it is on the air", |trial| trial.on_mesh(0) == [1])
        .await;
    // The radio never reports the outcome.
    trial.mesh.fault(r#"{"fault": "half_open"}"#).await;
    trial
        .until("the hourglass is gone", |trial| {
            trial.homeserver.signs(0, &event).is_empty()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_text_that_nobody_repeats_is_shown_as_sent_and_a_refused_one_with_its_reason() {
    let trial = Trial::started(43).await;
    trial.mesh.fault(r#"{"fault": "nobody_repeats"}"#).await;
    let event = trial.homeserver.says(0, "lonely 1");
    trial
        .until("the sign", |trial| {
            trial.homeserver.signs(0, &event) == ["📤"]
        })
        .await;
    let long = trial.homeserver.says(0, &"too long ".repeat(90));
    trial
        .until("the refusal", |trial| {
            trial.homeserver.signs(0, &long) == ["❌"]
        })
        .await;
    assert_eq!(trial.homeserver.notices(0).len(), 1);
    assert_eq!(trial.on_mesh(0), [1]);
}

#[tokio::test(start_paused = true)]
async fn signs_survive_a_restart_and_a_homeserver_that_is_away() {
    let mut trial = Trial::started(44).await;
    let said: Vec<_> = (1..=4)
        .map(|number| trial.homeserver.says(0, &format!("said {number}")))
        .collect();
    trial
        .until("they are accepted", |trial| trial.waiting().1 > 0)
        .await;
    trial.homeserver.set_mood(Mood::Away);
    trial
        .until("all are on the air", |trial| trial.on_mesh(0).len() == 4)
        .await;
    trial.wait(Duration::from_mins(1)).await;
    trial.kill().await;
    trial.start();
    trial.wait(Duration::from_mins(1)).await;
    trial.homeserver.set_mood(Mood::Takes);
    for event in &said {
        trial
            .until("each has its sign", |trial| {
                trial.homeserver.signs(0, event) == ["📡"]
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_edit_changes_what_waits() {
    let trial = Trial::started(45).await;
    trial
        .mesh
        .fault(r#"{"fault": "away", "seconds": 60}"#)
        .await;
    trial.wait(Duration::from_secs(1)).await;
    let event = trial.homeserver.says(0, "first 1");
    trial.homeserver.says(0, "another 2");
    trial.wait(Duration::from_secs(5)).await;
    trial.homeserver.edits(0, &event, "better 3");
    trial
        .until("both are sent", |trial| trial.on_mesh(0).len() == 2)
        .await;
    trial.wait(Duration::from_mins(2)).await;
    assert_eq!(trial.on_mesh(0), [3, 2]);
}

#[tokio::test(start_paused = true)]
async fn several_edits_of_what_was_sent_become_one_correction() {
    let trial = Trial::started(46).await;
    let event = trial.homeserver.says(0, "first 1");
    trial
        .until("it is sent", |trial| trial.on_mesh(0) == [1])
        .await;
    for number in 2..=4 {
        trial
            .homeserver
            .edits(0, &event, &format!("better {number}"));
        trial.wait(Duration::from_secs(2)).await;
    }
    trial
        .until("it is corrected", |trial| trial.on_mesh(0).len() == 2)
        .await;
    trial.wait(Duration::from_mins(2)).await;
    assert_eq!(trial.on_mesh(0), [1, 4]);
}
