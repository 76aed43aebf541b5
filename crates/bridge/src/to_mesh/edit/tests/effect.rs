//! Which edits change anything.

use super::*;

#[test]
fn only_the_author_changes_a_message() {
    for version in [waiting(), sent()] {
        let mut foreign = edit("something else");
        foreign.new.sender = user("@mallory:example.org");
        assert_eq!(
            edited(config(), &foreign, &knowing_versions(vec![version])),
            dropped(DropReason::ForeignEdit)
        );
    }
}

#[test]
fn the_key_edits_says_what_an_edit_does() {
    let with = |edits| {
        let mut config = config();
        config.meshtastic.edits = edits;
        config
    };
    let (queue, air) = (
        knowing_versions(vec![waiting()]),
        knowing_versions(vec![sent()]),
    );
    let change = edit("hello");
    assert!(matches!(
        edited(with(Edits::Queued), &change, &queue)[..],
        [Action::Rewrite(..)]
    ));
    is_told(&change, &air, DropReason::EditsOff, &with(Edits::Queued));
    for facts in [queue, air] {
        is_told(&change, &facts, DropReason::EditsOff, &with(Edits::Ignore));
    }
    assert_eq!(
        edited(with(Edits::Ignore), &change, &Facts::default()),
        dropped(DropReason::UnknownTarget)
    );
}

#[test]
fn who_may_not_transmit_any_more_changes_nothing_and_is_told() {
    let mut closed = config();
    closed.matrix.allowed_users = Some(Vec::new());
    let mut one_way = config();
    one_way.matrix_rooms[0].direction = Direction::ToMatrix;
    let mut silent = config();
    silent.meshtastic.broadcast_enabled = false;
    for (config, reason) in [
        (closed, DropReason::Denied),
        (one_way, DropReason::OneWayRoom),
        (silent, DropReason::BroadcastOff),
    ] {
        for version in [waiting(), sent()] {
            let facts = knowing_versions(vec![version]);
            let actions = edited(config.clone(), &edit("hello"), &facts);
            assert_eq!(actions[0], Action::Drop(reason));
            assert_eq!(notices(&actions), [of_edit(reason)]);
            // The next message that is not sent has its own sign.
            let until = NOON + MINUTE;
            let is_remembered =
                |it: &Action| matches!(it, Action::StartCooldown { until: it, .. } if *it == until);
            assert!(actions[2..].iter().all(is_remembered), "{actions:?}");
        }
    }
}

#[test]
fn edits_count_for_the_senders_limit() {
    let mut limited = config();
    limited.matrix.sender_limit.per_minute = 3;
    let often = |version: Version| Facts {
        sender_sent: (3, 3),
        ..knowing_versions(vec![version])
    };
    let refused = Action::Drop(DropReason::Refused(Refused::SenderLimit));
    let actions = edited(limited.clone(), &edit("hello"), &often(sent()));
    assert_eq!(actions[0], refused);
    // As many packets as before cost nothing more; further ones do, and then what waits goes as it is.
    let actions = edited(limited.clone(), &edit("hello"), &often(waiting()));
    assert!(matches!(actions[..], [Action::Rewrite(..)]));
    let actions = edited(limited, &edit(&"long ".repeat(80)), &often(waiting()));
    assert_eq!(actions[0], refused);
    assert!(
        !actions
            .iter()
            .any(|it| matches!(it, Action::Sign(..) | Action::Withdraw(..)))
    );
}

#[test]
fn an_edit_of_what_never_went_is_dropped_and_one_that_comes_first_waits_for_its_message() {
    let known = Facts {
        target_seen: true,
        ..Facts::default()
    };
    let actions = edited(config(), &edit("hello"), &known);
    assert_eq!(actions[0], Action::Drop(DropReason::Edit));
    let actions = edited(config(), &edit("hello"), &Facts::default());
    let Action::KeepEdit(kept) = only(&actions) else {
        panic!("{actions:?}");
    };
    let body = kept.new.body.clone();
    assert_eq!((&kept.target, body.as_str()), (&event("$target"), "hello"));
    let early = Facts {
        early_edit: Some(EarlyEdit {
            emote: false,
            body,
            sent_at: NOON,
        }),
        ..Facts::default()
    };
    assert_eq!(
        spoken_of(&said(&mut bridge(), &message("helo"), &early)),
        ["Alice[M]: hello"]
    );
    let emote = Facts {
        early_edit: Some(EarlyEdit {
            emote: true,
            body: "waves".into(),
            sent_at: NOON,
        }),
        ..Facts::default()
    };
    assert_eq!(
        spoken_of(&said(&mut bridge(), &message("helo"), &emote)),
        ["* Alice[M] waves"]
    );
}

fn spoken_of(actions: &[Action]) -> Vec<String> {
    crate::testing::spoken(actions)
}

#[test]
fn an_edit_that_was_written_before_one_that_came_already_changes_nothing() {
    let second = Duration::from_secs(1);
    for version in [waiting(), sent()] {
        for (newest, is_older) in [(NOON + second, true), (NOON, false)] {
            let version = Version {
                edited_at: Some(newest),
                ..version.clone()
            };
            let mut edit = edit("hello");
            edit.new.sent_at = NOON;
            let event = Event::Matrix(MatrixEvent::Edit(Box::new(edit)));
            let facts = knowing_versions(vec![version]);
            let actions = bridge().verdict(&event, &facts, NOON + second);
            let older = dropped(DropReason::OlderEdit);
            assert_eq!(actions == older, is_older, "{actions:?}");
        }
    }
}

#[test]
fn an_edit_is_decided_on_once() {
    let seen = Facts {
        already_seen: true,
        ..Facts::default()
    };
    assert_eq!(
        edited(config(), &edit("hello"), &seen),
        dropped(DropReason::Duplicate)
    );
}
