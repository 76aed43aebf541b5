//! Reactions.

use super::*;

#[test]
fn a_reaction_becomes_a_tapback_after_five_seconds_in_the_lowest_lane() {
    let actions = reacted(&mut bridge(), &reaction("👍"), &knowing(vec![pair()]));
    let [
        Action::ToMesh(MeshMessage {
            lane,
            not_before,
            expires,
            source: Some(source),
            ..
        }),
    ] = actions.as_slice()
    else {
        panic!("{actions:?}");
    };
    assert_eq!(on_air(&actions), [tapback("👍", 50)]);
    assert_eq!(*lane, Lane::Reaction);
    assert_eq!(*not_before, Some(NOON + Duration::from_secs(5)));
    assert_eq!(*expires, NOON + Duration::from_mins(10));
    assert_eq!(source.event, event("$reaction"));
}

#[test]
fn a_reaction_on_what_we_transmitted_becomes_a_tapback() {
    let actions = reacted(
        &mut bridge(),
        &reaction("👍"),
        &knowing(vec![pair_of_alice()]),
    );
    assert_eq!(on_air(&actions), [tapback("👍", 60)]);
}

#[test]
fn a_key_that_we_made_counts_as_its_emoji_and_other_words_are_ignored() {
    for key in ["👍", "👍 BOB1", "👍 c3d4", "👍 🦊"] {
        let actions = reacted(&mut bridge(), &reaction(key), &knowing(vec![pair()]));
        assert_eq!(on_air(&actions), [tapback("👍", 50)], "{key}");
    }
    let long = format!("👍 {}", "x".repeat(60));
    for key in [
        "yes",
        "",
        "mxc://example.org/abc",
        "BOB1 👍",
        "👍👍",
        "👍 ",
        &long,
    ] {
        let actions = reacted(&mut bridge(), &reaction(key), &knowing(vec![pair()]));
        let expected = usize::from(key.trim() == "👍");
        assert_eq!(on_air(&actions).len(), expected, "{key}");
    }
}

#[test]
fn a_sign_of_our_own_is_ignored_where_we_put_it() {
    for sign in ["⏳", "📡", "📤", "✅", "❌", "🚫", "⌛"] {
        let actions = reacted(
            &mut bridge(),
            &reaction(sign),
            &knowing(vec![pair_of_alice()]),
        );
        assert_eq!(actions, dropped(DropReason::FeedbackSign));
        let actions = reacted(&mut bridge(), &reaction(sign), &knowing(vec![pair()]));
        assert_eq!(on_air(&actions).len(), 1);
    }
}

#[test]
fn an_emoji_goes_once_on_a_packet_and_at_most_three_do() {
    let there = |emoji: &[&str]| Facts {
        tapbacks: emoji.iter().map(|it| (*it).to_owned()).collect(),
        ..knowing(vec![pair()])
    };
    let actions = reacted(&mut bridge(), &reaction("❤\u{fe0f}"), &there(&["❤"]));
    assert_eq!(actions, dropped(DropReason::RepeatedEmoji));
    let actions = reacted(&mut bridge(), &reaction("😂"), &there(&["❤", "👍", "🔥"]));
    assert_eq!(actions, dropped(DropReason::TooManyEmoji));
    let actions = reacted(
        &mut bridge(),
        &reaction("😂"),
        &there(&["❤", "❤\u{fe0f}", "👍"]),
    );
    assert_eq!(on_air(&actions), [tapback("😂", 50)]);
}

#[test]
fn what_stands_in_the_way_of_a_reaction_is_not_told() {
    let full = Facts {
        waiting_for_mesh: 1000,
        ..knowing(vec![pair()])
    };
    let often = Facts {
        sender_sent: (20, 20),
        ..knowing(vec![pair()])
    };
    let old = RoomReaction {
        sent_at: NOON - Duration::from_mins(11),
        ..reaction("👍")
    };
    for (reaction, facts, reason) in [
        (
            reaction("👍"),
            full,
            DropReason::Refused(Refused::QueueFull),
        ),
        (
            reaction("👍"),
            often,
            DropReason::Refused(Refused::SenderLimit),
        ),
        (old, knowing(vec![pair()]), DropReason::TooOld),
        (reaction("👍"), Facts::default(), DropReason::UnknownTarget),
        (
            RoomReaction {
                suppress: true,
                ..reaction("👍")
            },
            knowing(vec![pair()]),
            DropReason::Suppressed,
        ),
        (
            RoomReaction {
                sender: bot(),
                ..reaction("👍")
            },
            knowing(vec![pair()]),
            DropReason::OwnEvent,
        ),
    ] {
        assert_eq!(reacted(&mut bridge(), &reaction, &facts), dropped(reason));
    }
    let mut config = config();
    config.meshtastic.message_interactions.reactions = false;
    let actions = reacted(
        &mut bridge_of(config),
        &reaction("👍"),
        &knowing(vec![pair()]),
    );
    assert_eq!(actions, dropped(DropReason::ReactionsOff));
}

#[test]
fn a_reaction_in_words_quotes_forty_characters() {
    let mut config = config();
    config.meshtastic.reaction_style = ReactionStyle::Text;
    let target = MessagePair {
        text: "a text\nof more than forty characters, certainly".into(),
        ..pair()
    };
    let actions = reacted(
        &mut bridge_of(config),
        &reaction("👍"),
        &knowing(vec![target]),
    );
    let words = "Alice[M]: reacted 👍 to \"a text of more than forty characters, ce…\"";
    assert_eq!(on_air(&actions), [air(words, Some(50))]);
}

proptest! {
    #[test]
    fn whatever_the_key_a_tapback_is_one_emoji(key in any::<String>()) {
        let actions = reacted(&mut bridge(), &reaction(&key), &knowing(vec![pair()]));
        for payload in on_air(&actions) {
            prop_assert!(payload.bytes().len() <= 40);
        }
    }
}
