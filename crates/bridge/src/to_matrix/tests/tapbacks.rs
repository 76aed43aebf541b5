//! Tapbacks.

use super::*;

#[test]
fn a_tapback_becomes_a_reaction_with_a_name_only_where_nothing_is_encrypted() {
    let mut bridge = bridge();
    let actions = heard(&mut bridge, &tapback("👍"), &knowing(vec![pair()]));
    assert_eq!(reactions(&actions), [("$target".into(), "👍 BOB1".into())]);
    join(
        &mut bridge,
        JoinedRoom {
            encrypted: true,
            ..joined(ROOM)
        },
    );
    let actions = heard(&mut bridge, &tapback("👍"), &knowing(vec![pair()]));
    assert_eq!(reactions(&actions), [("$target".into(), "👍".into())]);
    let actions = heard(
        &mut bridge_alone(config()),
        &tapback("👍"),
        &knowing(vec![pair()]),
    );
    assert_eq!(
        reactions(&actions),
        [("$target".into(), "👍".into())],
        "not joined yet"
    );
}

#[test]
fn a_tapback_on_what_waits_in_our_outbox_names_its_packet() {
    let waiting = MessagePair {
        event: None,
        ..pair()
    };
    let actions = heard(&mut bridge(), &tapback("👍"), &knowing(vec![waiting]));
    let [Action::ToRoom { message, .. }] = actions.as_slice() else {
        panic!("{actions:?}");
    };
    let key = "👍 BOB1".to_owned();
    assert_eq!(
        message.content,
        RoomContent::Reaction {
            target: waiting_event(),
            key
        }
    );
}

#[test]
fn a_tapback_goes_only_to_the_rooms_that_know_its_target() {
    let mut bridge = bridge_of(config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(OTHER_ROOM, 0, Direction::Both),
    ]));
    let actions = heard(&mut bridge, &tapback("❤"), &knowing(vec![pair_of_alice()]));
    assert_eq!(
        reactions(&actions),
        [("$target".into(), "❤\u{fe0f} BOB1".into())]
    );
    assert_eq!(actions.len(), 1);
}

#[test]
fn a_tapback_that_is_no_emoji_or_has_no_target_is_a_text() {
    let actions = heard(&mut bridge(), &tapback("lol"), &knowing(vec![pair()]));
    let posted = first(&actions);
    assert_eq!(posted.text, "[Bob/LongFast]: lol");
    assert_eq!(posted.reply_to, Some(event("$target").into()));
    let posted = first(&heard(&mut bridge(), &tapback("👍"), &Facts::default()));
    assert_eq!(
        (posted.text.as_str(), posted.reply_to),
        ("[Bob/LongFast]: 👍", None)
    );
}

#[test]
fn with_reactions_switched_off_tapbacks_are_dropped() {
    let mut config = config();
    config.meshtastic.message_interactions.reactions = false;
    let actions = heard(
        &mut bridge_of(config),
        &tapback("👍"),
        &knowing(vec![pair()]),
    );
    assert_eq!(actions, dropped(DropReason::ReactionsOff));
}
