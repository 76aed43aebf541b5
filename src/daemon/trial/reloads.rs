//! A configuration that changes while the relay runs: nothing is lost or doubled, and what waits ends as after a restart.

use super::*;
use relay_config::Template;

fn prefix(template: &str) -> Template<relay_config::MeshVariable> {
    template.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_changes_among_messages_costs_none_and_doubles_none() {
    let mut trial = Trial::started(61).await;
    for number in 1..=40 {
        trial.mesh.says(0, number, &format!("far {number}")).await;
        trial.homeserver.says(0, &format!("near {number}"));
        if number % 3 == 0 {
            let (new, silent) = (prefix(&format!("{number} ")), number % 2 == 0);
            trial
                .reload(|config| {
                    config.meshtastic.prefix_format = new;
                    config.matrix.prefix_enabled = silent;
                    config.matrix_rooms.rotate_left(1);
                })
                .await;
        }
        trial.wait(Duration::from_millis(700)).await;
    }
    trial
        .until("everything crosses", |trial| {
            trial.in_room(0).len() >= 40 && trial.on_mesh(0).len() >= 40
        })
        .await;
    trial.wait(Duration::from_mins(5)).await;
    assert_eq!(trial.in_room(0), up_to(40), "{}", trial.told());
    assert_eq!(trial.on_mesh(0), up_to(40), "{}", trial.told());
    trial.no_transaction_was_posted_twice();
    trial.no_text_went_under_two_ids();
    trial.texts_kept_their_distance();
    let prefixes: Vec<_> = trial.mesh.on_air();
    let first = prefixes.first().map(|it| it.text.as_str());
    let last = prefixes.last().map(|it| it.text.as_str());
    assert_eq!(first, Some("Alice[M]: near 1"));
    assert_eq!(last, Some("39 near 40"));
}

#[tokio::test(start_paused = true)]
async fn what_the_radio_was_given_is_not_given_again_by_a_change() {
    let mut trial = Trial::started(62).await;
    // The radio takes it, and does not say so for a while.
    trial.mesh.fault(r#"{"fault": "silent", "count": 1}"#).await;
    trial.homeserver.says(0, "given 1");
    trial.homeserver.says(0, "next 2");
    trial
        .until("it is written", |trial| trial.mesh.answers() > 0)
        .await;
    for limit in 1..=5 {
        trial
            .reload(|config| config.meshtastic.long_messages.max_parts = limit)
            .await;
    }
    trial
        .until("both are there", |trial| trial.on_mesh(0) == [1, 2])
        .await;
    trial.wait(Duration::from_mins(10)).await;
    trial.no_text_went_under_two_ids();
    assert_eq!(trial.mesh.on_air().len(), 2, "{}", trial.told());
}

/// A change of the configuration.
type Change = fn(&mut Config);

/// What came of messages that waited on both sides while the configuration changed in that way.
async fn ends(change: Change, restart: bool) -> Vec<String> {
    let mut trial = Trial::started(63).await;
    trial.homeserver.set_mood_of(1, Mood::Hangs);
    trial
        .mesh
        .fault(r#"{"fault": "away", "seconds": 300}"#)
        .await;
    let mut said = Vec::new();
    for number in 1..=3 {
        trial.mesh.says(1, number, &format!("far {number}")).await;
        said.push(trial.homeserver.says(1, &format!("near {number}")));
    }
    trial.wait(Duration::from_mins(4)).await;
    if restart {
        trial.stop().await;
        change(&mut trial.config);
        trial.start();
    } else {
        trial.reload(change).await;
    }
    trial.homeserver.set_mood_of(1, Mood::Takes);
    trial.wait(Duration::from_mins(20)).await;
    let mut ends = Vec::new();
    for room in 0..ROOMS {
        ends.push(format!("{room}: {:?}", trial.homeserver.texts(room)));
        ends.push(format!("{room}: {:?}", trial.homeserver.notices(room)));
    }
    for event in &said {
        ends.push(format!("signs {:?}", trial.homeserver.signs(1, event)));
    }
    for text in trial.mesh.on_air() {
        // Without its age: its turn comes some seconds earlier or later.
        let said = text.text.rsplit(") ").next().unwrap_or_default();
        ends.push(format!("on channel {}: {said}", text.channel));
    }
    ends.push(format!("waiting: {:?}", trial.waiting()));
    ends
}

#[tokio::test(start_paused = true)]
async fn what_waits_when_the_configuration_changes_ends_as_after_a_restart() {
    let changes: [(&str, Change); 8] = [
        ("nothing", |_| {}),
        ("unmapped", |config| drop(config.matrix_rooms.remove(1))),
        ("to the mesh", |config| {
            config.matrix_rooms[1].direction = Direction::ToMesh;
        }),
        ("to Matrix", |config| {
            config.matrix_rooms[1].direction = Direction::ToMatrix;
        }),
        ("another channel", |config| {
            config.matrix_rooms[1].meshtastic_channel =
                config.matrix_rooms[2].meshtastic_channel.clone();
        }),
        ("no such channel", |config| {
            config.matrix_rooms[1].meshtastic_channel = ChannelRef::Name("nowhere".to_owned());
        }),
        ("not permitted", |config| {
            config.matrix.allowed_users = Some(Vec::new());
        }),
        ("silent", |config| {
            config.meshtastic.broadcast_enabled = false;
        }),
    ];
    let mut seen = Vec::new();
    for (what, change) in changes {
        let (reloaded, restarted) = (ends(change, false).await, ends(change, true).await);
        assert_eq!(reloaded, restarted, "{what}");
        seen.push(reloaded);
    }
    // The changes make a difference.
    for (what, ends) in changes.iter().zip(&seen).skip(1) {
        assert_ne!(*ends, seen[0], "{}", what.0);
    }
}
