//! What a text becomes on the air.

use super::*;

#[test]
fn a_text_goes_on_the_air_with_its_prefix() {
    let actions = said(&mut bridge(), &message("hello"), &Facts::default());
    assert_eq!(
        actions,
        [Action::ToMesh(MeshMessage {
            destination: Destination::Channel(ChannelIndex::PRIMARY),
            channel: Some(print_of("LongFast")),
            bound: false,
            lane: Lane::Message,
            content: MeshContent::Text(draft("hello")),
            source: Some(Box::new(MeshSource {
                room: room(ROOM),
                event: event("$message"),
                thread: None,
                sender: alice(),
                sent_at: NOON,
                alert: false,
            })),
            not_before: None,
            expires: NOON + Duration::from_hours(1),
        })]
    );
}

#[test]
fn without_prefix_the_text_stands_alone() {
    let mut config = config();
    config.meshtastic.prefix_enabled = false;
    let mut bridge = bridge_of(config);
    assert_eq!(
        spoken(&said(&mut bridge, &message("hi"), &Facts::default())),
        ["hi"]
    );
    let emote = of_kind(RoomTextKind::Emote, "waves");
    assert_eq!(
        spoken(&said(&mut bridge, &emote, &Facts::default())),
        ["* waves"]
    );
}

#[test]
fn each_kind_of_message_has_its_form() {
    let image = RoomTextKind::Media { word: "image" };
    for (kind, body, form) in [
        (RoomTextKind::Emote, "waves", "* Alice[M] waves"),
        (image.clone(), "a view", "Alice[M]: [image] a view"),
        (image, "", "Alice[M]: [image]"),
        (
            RoomTextKind::Location,
            "47.1,11.2",
            "Alice[M]: [location] 47.1,11.2",
        ),
        (RoomTextKind::Poll, "Where?", "Alice[M]: [poll] Where?"),
    ] {
        let actions = said(&mut bridge(), &of_kind(kind, body), &Facts::default());
        assert_eq!(spoken(&actions), [form]);
    }
}

#[test]
fn hostile_names_and_texts_go_on_the_air_harmless() {
    for (name, body, form) in [
        ("\u{202e}Eve\nMallory", "a\u{2066}b\0", "Eve M[M]: ab"),
        ("", "x", "alice[M]: x"),
        ("\u{200b}", "x", "alice[M]: x"),
        ("\u{3164}\u{2800}", "x", "alice[M]: x"),
        ("{user}", "{display}", "{user[M]: {display}"),
        ("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", "x", "👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧[M]: x"),
    ] {
        let text = RoomText {
            sender_name: name.into(),
            ..message(body)
        };
        let actions = said(&mut bridge(), &text, &Facts::default());
        assert_eq!(spoken(&actions), [form]);
    }
}

#[test]
fn what_is_cut_is_sent_and_its_sender_told() {
    let mut config = config();
    config.meshtastic.long_messages.overflow = Overflow::Cut;
    let actions = said(
        &mut bridge_of(config.clone()),
        &message(&"x".repeat(700)),
        &Facts::default(),
    );
    assert_eq!(on_air(&actions).len(), 3);
    assert_eq!(notices(&actions), [Refused::Cut.explanation(&config)]);
    // It may still expire, or be withdrawn.
    assert!(notices(&actions)[0].starts_with("Goes to the mesh without its end"));
}

#[test]
fn each_author_of_what_is_cut_is_told_whatever_others_in_the_room_have_read() {
    let mut config = config();
    config.meshtastic.long_messages.overflow = Overflow::Cut;
    for (reader, told_now) in [("@bob:example.org", 1), (alice().as_str(), 0)] {
        let cooldowns =
            author_notice::room_names(&room(ROOM), reader.try_into().unwrap()).collect();
        let facts = Facts {
            cooldowns,
            ..Facts::default()
        };
        let actions = said(
            &mut bridge_of(config.clone()),
            &message(&"x".repeat(700)),
            &facts,
        );
        assert_eq!(on_air(&actions).len(), 3);
        assert_eq!(notices(&actions).len(), told_now);
    }
}

#[test]
fn a_time_stamp_of_the_future_buys_no_time() {
    let tomorrow = RoomText {
        sent_at: NOON + Duration::from_hours(24),
        ..message("x")
    };
    let actions = said(&mut bridge(), &tomorrow, &Facts::default());
    let Action::ToMesh(MeshMessage {
        expires,
        source: Some(source),
        ..
    }) = &actions[0]
    else {
        panic!("{actions:?}");
    };
    assert_eq!(
        (*expires, source.sent_at),
        (NOON + Duration::from_hours(1), NOON)
    );
}

#[test]
fn pictures_without_caption_are_told_as_one() {
    let image = of_kind(RoomTextKind::Media { word: "image" }, "");
    let actions = said(&mut bridge(), &image, &Facts::default());
    let Action::ToMesh(MeshMessage { not_before, .. }) = &actions[0] else {
        panic!("{actions:?}");
    };
    assert_eq!(*not_before, Some(NOON + Duration::from_secs(10)));
    let note = |text: &str, word: &str, count| Draft {
        media: Some(Media {
            word: word.into(),
            count,
        }),
        ..draft(text)
    };
    let waiting = |it: &Draft| Facts {
        waiting_media: Some((MeshRowId(7), it.clone())),
        ..Facts::default()
    };
    for (waits, more) in [
        (note("[image]", "image", 1), note("[2 images]", "image", 2)),
        (
            note("[2 images]", "image", 2),
            note("[3 images]", "image", 3),
        ),
        // It is recognised by its kind, whatever its text.
        (
            note("two views", "image", 2),
            note("[3 images]", "image", 3),
        ),
    ] {
        let actions = said(&mut bridge(), &image, &waiting(&waits));
        let one_more = Action::OneMore(MeshRowId(7), more, image.event.clone(), None);
        assert_eq!(actions, [one_more]);
    }
    let of_other_name = Draft {
        heading: Heading::default(),
        ..note("[image]", "image", 1)
    };
    for other in [
        note("[video]", "video", 1),
        draft("[image]"),
        draft("[2 images]"),
        draft("hi"),
        of_other_name,
    ] {
        let actions = said(&mut bridge(), &image, &waiting(&other));
        assert_eq!(spoken(&actions), ["Alice[M]: [image]"], "{other:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_said_fits_into_packets_or_is_refused(
        body in any::<String>(),
        times in 1_usize..80,
        name in any::<String>(),
        template in prop_oneof![Just(false), Just(true)],
        part_bytes in 40_usize..=232,
        is_reply in any::<bool>(),
    ) {
        let mut config = config();
        config.meshtastic.long_messages.part_bytes = part_bytes;
        if template {
            config.meshtastic.long_messages.overflow = Overflow::Cut;
        }
        let facts = if is_reply { knowing(vec![pair()]) } else { Facts::default() };
        let text = RoomText { sender_name: name.repeat(9), ..reply(&body.repeat(times)) };
        let rules = config.meshtastic.long_messages;
        let actions = said(&mut bridge_of(config), &text, &facts);
        prop_assert!(!actions.is_empty());
        for (part, payload) in on_air_by(&actions, &rules).into_iter().enumerate() {
            let limit = if is_reply && part == 0 { 227 } else { 232 };
            prop_assert!(payload.bytes().len() <= limit);
            let shown = String::from_utf8(payload.bytes().to_vec()).unwrap();
            prop_assert!(!shown.chars().any(|it| it.is_control() && it != '\n'));
        }
    }
}
