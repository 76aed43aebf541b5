//! Edits of what still waits: it is changed where it is.

use super::*;

#[test]
fn what_waits_is_changed_where_it_is() {
    let facts = knowing_versions(vec![waiting()]);
    let actions = edited(config(), &edit("hello"), &facts);
    assert_eq!(
        only(&actions),
        &Action::Rewrite(
            MeshRowId(7),
            NewVersion {
                draft: draft("hello"),
                lane: Lane::Message,
                alert: false,
                not_before: None,
            },
        )
    );
}

#[test]
fn a_changed_reply_stays_a_reply_and_a_longer_text_gets_more_parts() {
    let reply = Version {
        reply_to: Some(PacketId(50)),
        ..waiting()
    };
    let long = "word ".repeat(80);
    let actions = edited(config(), &edit(&long), &knowing_versions(vec![reply]));
    let parts = texts(&rewritten(&actions).draft);
    assert!(parts.len() > 1);
    assert_eq!(parts[0].1, Some(50));
    assert!(parts[1..].iter().all(|(_, reply_to)| reply_to.is_none()));
}

#[test]
fn a_waiting_text_that_became_too_long_is_taken_back_and_its_author_told() {
    let facts = knowing_versions(vec![waiting()]);
    let actions = edited(config(), &edit(&"x".repeat(900)), &facts);
    assert_eq!(
        actions[..2],
        [
            Action::Withdraw(room(ROOM), event("$target")),
            Action::Drop(DropReason::Refused(Refused::TooLong)),
        ]
    );
    assert!(actions.contains(&Action::Sign(room(ROOM), event("$target"), Sign::Refused)));
    // About the message, which is given up: independent of the cooldown of edits.
    let words = DropReason::from(Refused::TooLong).sentences(&config(), &alice());
    assert_eq!(notices(&actions), [&*words]);
    let told = Facts {
        cooldowns: author_notice::edit_names(&room(ROOM), &event("$target"), &alice())
            .into_iter()
            .flatten()
            .collect(),
        ..facts.clone()
    };
    let actions = edited(config(), &edit(&"x".repeat(900)), &told);
    assert_eq!(notices(&actions), [words]);
    let mut cuts = config();
    cuts.meshtastic.long_messages.overflow = Overflow::Cut;
    let actions = edited(cuts, &edit(&"x".repeat(900)), &facts);
    assert_eq!(rewritten(&actions).draft.packets, 3);
    assert_eq!(notices(&actions), [of_edit(Refused::Cut.into())]);
}

#[test]
fn a_waiting_text_that_its_author_wants_off_the_air_is_taken_back_and_a_command_refused() {
    let facts = knowing_versions(vec![waiting()]);
    let refusal = Refused::Command;
    let command = DropReason::Refused(refusal);
    let off_air = DropReason::OffAir.sentences(&config(), &alice());
    let taken = Action::Withdraw(room(ROOM), event("$target"));
    for (body, reason, told) in [
        ("// only for this room", DropReason::OffAir, vec![off_air]),
        ("!help", command, vec![refusal.explanation(&config())]),
        ("  ", DropReason::Empty, Vec::new()),
    ] {
        let actions = edited(config(), &edit(body), &facts);
        assert_eq!(
            actions[..2],
            [taken.clone(), Action::Drop(reason)],
            "{body}"
        );
        assert_eq!(notices(&actions), told, "{body}");
        let sign = Action::Sign(room(ROOM), event("$target"), Sign::Refused);
        assert_eq!(actions.contains(&sign), reason == command, "{body}");
    }
    // It is a text as long as no command has that name.
    let actions = edited(config(), &edit("!!! HELP !!!"), &facts);
    assert_eq!(rewritten(&actions).draft.text, "!!! HELP !!!");
}

#[test]
fn a_waiting_alert_becomes_urgent() {
    let facts = knowing_versions(vec![waiting()]);
    let actions = edited(config(), &edit("🚨 help"), &facts);
    let new = rewritten(&actions);
    assert_eq!((new.lane, new.alert), (Lane::Urgent, true));
}

#[test]
fn an_edit_makes_no_more_alerts_than_its_author_has() {
    let beyond = |versions| Facts {
        urgent_sent: 3,
        ..knowing_versions(versions)
    };
    let actions = edited(config(), &edit("🚨 help"), &beyond(vec![waiting()]));
    let new = rewritten(&actions);
    assert_eq!((new.lane, new.alert), (Lane::Message, false));
    let corrected = |first: Version| {
        let actions = edited(config(), &edit("🚨 help"), &beyond(vec![first]));
        match only(&actions) {
            Action::ToMesh(message) => (message.lane, message.source.as_ref().unwrap().alert),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(corrected(sent()), (Lane::Message, false));
    let alert = Version {
        lane: Lane::Urgent,
        ..sent()
    };
    assert_eq!(corrected(alert), (Lane::Urgent, true));
}

#[test]
fn a_full_queue_does_not_keep_what_stands_in_it_from_being_changed() {
    let mut facts = knowing_versions(vec![waiting()]);
    facts.waiting_for_mesh = 5_000;
    assert!(matches!(
        edited(config(), &edit("hello"), &facts)[..],
        [Action::Rewrite(..)]
    ));
    facts.versions = vec![sent()];
    assert_eq!(
        edited(config(), &edit("hello"), &facts)[0],
        Action::Drop(DropReason::Refused(Refused::QueueFull))
    );
}

#[test]
fn an_edit_in_clear_changes_nothing_where_encryption_is_wanted() {
    let mut strict = config();
    strict.matrix.e2ee.require = true;
    let mut in_clear = edit("hello");
    in_clear.new.in_clear = true;
    for versions in [vec![waiting()], vec![]] {
        let facts = Facts {
            versions,
            ..Facts::default()
        };
        let actions = edited(strict.clone(), &in_clear, &facts);
        assert!(matches!(actions[0], Action::Drop(_)), "{actions:?}");
        assert_eq!(spoken(&actions), Vec::<String>::new());
        let kept = |action: &Action| matches!(action, Action::KeepEdit(_) | Action::Rewrite(..));
        assert!(!actions.iter().any(kept), "{actions:?}");
    }
}
