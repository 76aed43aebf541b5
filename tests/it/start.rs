//! The summary at the end of a start is true.

use crate::support::radio::{BASE, Radio};
use crate::support::scene::Plan;
use crate::support::user::Kind;

#[tokio::test]
async fn a_start_ends_with_one_summary_of_radio_matrix_and_each_room() {
    let plan = Plan::one_room(Kind::Plain).room(Kind::Encrypted);
    let mut scene = plan.route(1, 1, "to_matrix").start().await;
    // Without the log of the first start, in which the rooms are joined.
    assert!(scene.relay.stop().await.success());
    scene.relay = scene.home.spawn_with(&[]);
    let line = scene.relay.logs("the start is complete").await;
    for words in [
        "ready (Simulated radio)",
        scene.bot.as_str(),
        "2 of 2 joined",
    ] {
        assert!(line.contains(words), "{words}: {line}");
    }
    let log = scene.relay.log();
    let route = |room: &str| {
        let mut lines = log
            .lines()
            .filter(|line| line.contains(": route of a room room="));
        let line = lines.find(|line| line.contains(room));
        line.unwrap_or_else(|| panic!("{room} is not told:\n{log}"))
    };
    let (first, second) = (&scene.rooms[0], &scene.rooms[1]);
    assert!(
        route(first.as_str()).contains(r#"channels="0 both ways""#),
        "{log}"
    );
    assert!(
        route(second.as_str()).contains(r#"channels="1 to Matrix""#),
        "{log}"
    );
    assert_eq!(log.matches("the start is").count(), 1, "{log}");
}

#[tokio::test]
async fn what_is_missing_at_a_start_is_told_with_its_cure_and_no_message_is_said_to_have_crossed() {
    let mut stage = Plan::one_room(Kind::Plain).set_up().await;
    let port = stage.radio.port();
    stage.radio.end().await;
    let mut scene = stage.raise_the_curtain().await;
    let line = scene.relay.logs("relay is ready").await;
    assert!(
        line.contains(r#"radio="not connected yet" matrix="not connected yet""#),
        "{line}"
    );
    let line = scene
        .relay
        .logs("the start is over, and something is missing")
        .await;
    assert!(
        line.contains("away (") && line.contains("1 of 1 joined"),
        "{line}"
    );
    let line = scene.relay.logs(r#"about="radio""#).await;
    assert!(
        line.contains("hint=") && line.contains("check its power"),
        "{line}"
    );
    assert!(!scene.relay.log().contains("the start is complete"));

    let first = "first message since the start";
    scene.alice.send(&scene.room, "is anybody there?").await;
    scene.relay.logs("accepted for the mesh").await;
    assert!(!scene.relay.log().contains(first), "{}", scene.relay.log());
    scene.radio = Radio::start_on(port).await;
    scene.radio.transmits("Alice[M]: is anybody there?").await;
    let line = scene.relay.logs(first).await;
    assert!(
        line.contains(r#"destination="channel 0" direction="to the mesh""#),
        "{line}"
    );
    scene.radio.says(BASE, 0, "yes").await;
    scene.relay.logs(r#"direction="to Matrix""#).await;
}
