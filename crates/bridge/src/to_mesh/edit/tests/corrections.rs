//! Edits of what was sent: corrections.

use super::*;

#[test]
fn what_was_sent_is_corrected_by_an_answer_to_it() {
    let facts = knowing_versions(vec![sent()]);
    let actions = edited(config(), &edit("hello"), &facts);
    assert_eq!(
        only(&actions),
        &Action::ToMesh(MeshMessage {
            destination: Destination::Channel(ChannelIndex::PRIMARY),
            channel: Some(print_of("LongFast")),
            bound: true,
            lane: Lane::Message,
            content: MeshContent::Text(Draft {
                correction: 1,
                reply_to: Some(PacketId(60)),
                ..draft("hello")
            }),
            source: Some(Box::new(MeshSource {
                sent_at: NOON,
                ..sent().source
            })),
            not_before: Some(NOON + CORRECTION_WAIT),
            expires: NOON + Duration::from_hours(1),
        })
    );
    let mut plain = config();
    plain.meshtastic.message_interactions.replies = false;
    let actions = edited(plain, &edit("hello"), &facts);
    let Action::ToMesh(message) = only(&actions) else {
        panic!("{actions:?}");
    };
    let MeshContent::Text(draft) = &message.content else {
        panic!("{message:?}");
    };
    assert_eq!(texts(draft), [("Alice[M]: * hello".to_owned(), None)]);
}

#[test]
fn several_edits_become_one_correction() {
    let facts = knowing_versions(vec![sent(), correction("hell", 1)]);
    let actions = edited(config(), &edit("hello"), &facts);
    let new = rewritten(&actions);
    assert_eq!(
        texts(&new.draft),
        [("Alice[M]: * hello".to_owned(), Some(60))]
    );
    assert_eq!(
        (new.draft.text.as_str(), new.draft.correction),
        ("hello", 1)
    );
    assert_eq!(new.not_before, Some(NOON + CORRECTION_WAIT));
}

#[test]
fn whoever_edits_without_end_delays_a_correction_for_half_a_minute_at_most() {
    let begun = NOON - Duration::from_secs(25);
    let waits = Version {
        accepted_at: begun,
        ..correction("hell", 1)
    };
    let actions = edited(
        config(),
        &edit("hello"),
        &knowing_versions(vec![sent(), waits]),
    );
    assert_eq!(
        rewritten(&actions).not_before,
        Some(begun + LONGEST_CORRECTION_WAIT)
    );
}

#[test]
fn a_correction_that_is_changed_back_is_not_sent() {
    let facts = knowing_versions(vec![sent(), correction("hello", 1)]);
    let actions = edited(config(), &edit("helo"), &facts);
    let row = facts.versions[1].row;
    assert_eq!(
        actions,
        [
            Action::WithdrawCorrection(row),
            Action::Drop(DropReason::SameText),
        ]
    );
}

#[test]
fn a_message_is_corrected_twice_at_most() {
    let gone = |number| Version {
        waits: false,
        ..correction("hullo", number)
    };
    let once = knowing_versions(vec![sent(), gone(1)]);
    let actions = edited(config(), &edit("hello"), &once);
    let Action::ToMesh(message) = only(&actions) else {
        panic!("{actions:?}");
    };
    assert!(matches!(&message.content, MeshContent::Text(draft) if draft.correction == 2));
    let twice = knowing_versions(vec![sent(), gone(1), gone(2)]);
    is_told(&edit("hello"), &twice, DropReason::TooManyEdits, &config());
}

#[test]
fn only_a_changed_text_is_said_again() {
    for facts in [
        knowing_versions(vec![sent()]),
        knowing_versions(vec![waiting()]),
        knowing_versions(vec![
            Version {
                text: "first".into(),
                ..sent()
            },
            correction("helo", 1),
        ]),
    ] {
        assert_eq!(
            edited(config(), &edit("helo"), &facts),
            dropped(DropReason::SameText)
        );
    }
}

#[test]
fn a_correction_comes_within_a_quarter_of_an_hour_by_the_messages_own_times() {
    let written = |minutes: u64| {
        let mut version = sent();
        version.source.sent_at = NOON - MINUTE * u32::try_from(minutes).unwrap();
        knowing_versions(vec![version])
    };
    let corrects = |facts: &Facts, edit: &RoomEdit| {
        matches!(edited(config(), edit, facts)[..], [Action::ToMesh(_)])
    };
    assert!(corrects(&written(15), &edit("hello")));
    assert!(!corrects(&written(16), &edit("hello")));
    // Both were written during an outage of the relay.
    let mut early = edit("hello");
    early.new.sent_at = NOON - MINUTE * 40;
    assert!(corrects(&written(45), &early));
    early.new.sent_at = NOON - MINUTE * 61;
    is_told(&early, &written(62), DropReason::LateEdit, &config());
    // Nothing has changed for the mesh.
    let same = edited(config(), &edit("helo"), &written(16));
    assert_eq!(same, dropped(DropReason::SameText));
}
