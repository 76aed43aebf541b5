//! Replies.

use super::*;

#[test]
fn a_reply_answers_the_event_and_mentions_its_author() {
    let reply = RadioText {
        reply_to: Some(PacketId(60)),
        ..packet("yes")
    };
    let posted = first(&heard(
        &mut bridge(),
        &reply,
        &knowing(vec![pair_of_alice()]),
    ));
    assert_eq!(posted.reply_to, Some(event("$target").into()));
    assert_eq!(posted.mentions, [alice()]);
    assert_eq!(posted.fields.reply_id, Some(PacketId(60)));

    let posted = first(&heard(&mut bridge(), &reply, &knowing(vec![pair()])));
    assert_eq!(posted.reply_to, Some(event("$target").into()));
    assert_eq!(posted.mentions, Vec::<OwnedUserId>::new());
}

#[test]
fn a_reply_to_what_waits_in_our_outbox_names_its_packet() {
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let waiting = MessagePair {
        event: None,
        ..pair()
    };
    let posted = first(&heard(&mut bridge(), &reply, &knowing(vec![waiting])));
    assert_eq!(posted.reply_to, Some(waiting_event()));
}

#[test]
fn a_reply_to_a_threaded_event_goes_into_its_thread() {
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let threaded = MessagePair {
        thread: Some(event("$root")),
        ..pair()
    };
    let posted = first(&heard(&mut bridge(), &reply, &knowing(vec![threaded])));
    assert_eq!(posted.thread, Some(event("$root")));
    assert_eq!(posted.pair.unwrap().thread, Some(event("$root")));
}

#[test]
fn a_reply_whose_target_is_unknown_or_in_another_room_is_a_plain_message() {
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let elsewhere = MessagePair {
        room: named(OTHER_ROOM),
        ..pair()
    };
    for facts in [Facts::default(), knowing(vec![elsewhere])] {
        let posted = first(&heard(&mut bridge(), &reply, &facts));
        assert_eq!(posted.reply_to, None);
    }
}

#[test]
fn a_reply_to_what_an_earlier_relay_carried_is_one_only_where_the_room_has_one_channel() {
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let old = MessagePair {
        destination: Destination::Channel(slot(4)),
        channel: None,
        ..pair()
    };
    let one = config();
    let two = config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(ROOM, 1, Direction::ToMesh),
    ]);
    for (config, answers) in [(one, Some(event("$target").into())), (two, None)] {
        let actions = heard(&mut bridge_of(config), &reply, &knowing(vec![old.clone()]));
        assert_eq!(first(&actions).reply_to, answers);
    }
}

#[test]
fn with_replies_switched_off_a_reply_is_a_plain_message() {
    let mut config = config();
    config.meshtastic.message_interactions.replies = false;
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let actions = heard(&mut bridge_of(config), &reply, &knowing(vec![pair()]));
    assert_eq!(first(&actions).reply_to, None);
}

#[test]
fn a_target_known_under_the_rooms_alias_is_found() {
    let mut bridge = bridge_of(config_with(vec![route(
        "#club:example.org",
        0,
        Direction::Both,
    )]));
    join(
        &mut bridge,
        JoinedRoom {
            configured: vec![named("#club:example.org")],
            ..joined(ROOM)
        },
    );
    let before_the_join = MessagePair {
        room: named("#club:example.org"),
        ..pair()
    };
    let actions = heard(&mut bridge, &tapback("👍"), &knowing(vec![before_the_join]));
    assert_eq!(reactions(&actions), [("$target".into(), "👍 BOB1".into())]);
}
