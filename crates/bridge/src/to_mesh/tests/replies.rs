//! Replies and threads.

use super::*;

#[test]
fn a_message_of_another_room_is_no_target() {
    let elsewhere = MessagePair {
        room: named(OTHER_ROOM),
        ..pair()
    };
    let actions = said(
        &mut bridge(),
        &reply("x"),
        &knowing(vec![elsewhere.clone()]),
    );
    assert_eq!(on_air(&actions), [air("Alice[M]: x", None)]);
    let actions = reacted(&mut bridge(), &reaction("👍"), &knowing(vec![elsewhere]));
    assert_eq!(actions, dropped(DropReason::UnknownTarget));
}

#[test]
fn a_reply_goes_to_the_first_part_and_of_its_tries_to_the_newest() {
    let part = |part: u8, packet: u32| MessagePair {
        part,
        packet: PacketId(packet),
        ..pair_of_alice()
    };
    let facts = knowing(vec![part(2, 65), part(0, 64), part(1, 62), part(0, 61)]);
    let actions = said(&mut bridge(), &reply("x"), &facts);
    assert_eq!(on_air(&actions), [air("Alice[M]: x", Some(64))]);
}

#[test]
fn in_a_thread_the_reply_is_to_its_root() {
    let threaded = RoomText {
        thread: Some(event("$root")),
        ..message("x")
    };
    let facts = Facts {
        thread: vec![pair()],
        ..Facts::default()
    };
    let actions = said(&mut bridge(), &threaded, &facts);
    assert_eq!(on_air(&actions), [air("Alice[M]: x", Some(50))]);
}

#[test]
fn a_reply_to_the_unknown_or_with_replies_switched_off_is_a_plain_message() {
    let plain = [air("Alice[M]: x", None)];
    assert_eq!(
        on_air(&said(&mut bridge(), &reply("x"), &Facts::default())),
        plain
    );
    let mut config = config();
    config.meshtastic.message_interactions.replies = false;
    let actions = said(&mut bridge_of(config), &reply("x"), &knowing(vec![pair()]));
    assert_eq!(on_air(&actions), plain);
}

#[test]
fn only_the_first_part_of_a_long_reply_carries_the_relation() {
    let actions = said(
        &mut bridge(),
        &reply(&"word ".repeat(60)),
        &knowing(vec![pair()]),
    );
    let relations: Vec<_> = on_air(&actions)
        .into_iter()
        .map(|it| match it {
            RadioPayload::Text { reply_to, .. } => reply_to,
            RadioPayload::Tapback { .. } => panic!("a tapback"),
        })
        .collect();
    assert_eq!(relations, [Some(PacketId(50)), None]);
}
