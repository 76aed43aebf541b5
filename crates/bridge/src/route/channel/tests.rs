//! Channels are identified by their fingerprints.

use super::*;
use crate::{Action, Bridge, DropReason, Facts, testing::*};
use relay_config::{Config, Direction, ReactionStyle};
use relay_model::{
    Destination, Draft, Event, Lane, MatrixEvent, MeshContent, MeshRowId, MeshSource, MessagePair,
    PacketId, RadioPayload, RadioProfile, RelayFields, RoomEdit, RoomText, Version,
};

/// One room on two channels, mapped by index; 0 is its first.
fn two_channels() -> Config {
    config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(ROOM, 1, Direction::Both),
    ])
}

fn by_name(names: &[&str]) -> Config {
    let routes = names.iter().map(|name| MappedRoom {
        meshtastic_channel: ChannelRef::Name((*name).to_owned()),
        ..route(ROOM, 0, Direction::Both)
    });
    config_with(routes.collect())
}

/// A radio with these channels from slot 0 on; an empty name is an unused slot.
fn radio(names: &[&str]) -> RadioProfile {
    let channels = (0..).zip(names).map(|(index, name)| {
        let role = match (index, *name) {
            (_, "") => ChannelRole::Disabled,
            (0, _) => ChannelRole::Primary,
            (1.., _) => ChannelRole::Secondary,
        };
        channel(index, name, role)
    });
    RadioProfile {
        channels: channels.collect(),
        ..profile()
    }
}

fn with_radio(config: Config, radio: RadioProfile) -> Bridge {
    let mut bridge = bridge_of(config);
    ready(&mut bridge, radio);
    bridge
}

/// Bob's `$target` on the channel of that name, in that slot at the time.
fn on(name: &str, place: u32) -> MessagePair {
    MessagePair {
        destination: Destination::Channel(slot(place)),
        channel: Some(print_of(name)),
        ..pair()
    }
}

/// Bob's `$target` as an earlier version stored it: without a fingerprint.
fn forgotten(place: u32) -> MessagePair {
    MessagePair {
        channel: None,
        ..on("", place)
    }
}

fn reply() -> RoomText {
    RoomText {
        reply_to: Some(event("$target")),
        ..message("x")
    }
}

/// Alice's `$target`, sent as [`on`] says, and its edit.
fn edit_of(pair: &MessagePair) -> (Event, Facts) {
    let edit = RoomEdit {
        target: event("$target"),
        new: RoomText {
            event: event("$edit"),
            ..message("better")
        },
    };
    let version = Version {
        row: MeshRowId(7),
        correction: 0,
        waits: false,
        source: MeshSource {
            room: room(ROOM),
            event: event("$target"),
            thread: None,
            sender: alice(),
            sent_at: NOON,
            alert: false,
        },
        text: "worse".into(),
        destination: pair.destination,
        channel: pair.channel,
        lane: Lane::Message,
        packet: PacketId(50),
        reply_to: None,
        packets: 1,
        accepted_at: NOON,
        edited_at: None,
    };
    let facts = Facts {
        versions: vec![version],
        target_seen: true,
        ..Facts::default()
    };
    (Event::Matrix(MatrixEvent::Edit(Box::new(edit))), facts)
}

/// Everything that can refer to an older message: a reply, a tapback, a reaction in words, a correction.
fn said_of(config: &Config, radio: &RadioProfile, pair: &MessagePair) -> Vec<Vec<Action>> {
    let mut in_words = config.clone();
    in_words.meshtastic.reaction_style = ReactionStyle::Text;
    let facts = knowing(vec![pair.clone()]);
    let mut bridge = with_radio(config.clone(), radio.clone());
    let (edit, of_versions) = edit_of(pair);
    vec![
        said(&mut bridge, &reply(), &facts),
        reacted(&mut bridge, &reaction("👍"), &facts),
        reacted(
            &mut with_radio(in_words, radio.clone()),
            &reaction("👍"),
            &facts,
        ),
        bridge.verdict(&edit, &of_versions, NOON),
    ]
}

/// Returns where something is sent, as what, and whether it is bound to that channel.
fn goes(actions: &[Action]) -> Option<(Destination, Option<Fingerprint>, bool, Option<PacketId>)> {
    let reference = |content: &MeshContent| match content {
        MeshContent::Text(Draft { reply_to, .. })
        | MeshContent::Packet(RadioPayload::Text { reply_to, .. }) => *reply_to,
        MeshContent::Packet(RadioPayload::Tapback { target, .. }) => Some(*target),
    };
    actions.iter().find_map(|action| match action {
        Action::ToMesh(message) => Some((
            message.destination,
            message.channel,
            message.bound,
            reference(&message.content),
        )),
        _ => None,
    })
}

fn is_refused(actions: &[Action], reason: Refused) -> bool {
    let words = reason.explanation(&config());
    let of_edit = format!("{words}{}", crate::author_notice::ABOUT_EDIT);
    goes(actions).is_none()
        && actions.contains(&Action::Drop(DropReason::Refused(reason)))
        && [[words], [of_edit]]
            .iter()
            .any(|it| notices(actions) == *it)
}

#[test]
fn what_is_said_of_an_older_message_follows_its_channel_wherever_that_stands_now() {
    let before = ["LongFast", "Search"];
    for now in [
        &["LongFast", "Search"][..],
        &["Search", "LongFast"],
        &["LongFast", "", "Search"],
        &["Market", "LongFast", "Club", "Search"],
    ] {
        for config in [
            two_channels(),
            by_name(&before),
            by_name(&["Search", "LongFast"]),
        ] {
            let radio = radio(now);
            for (place, name) in (0..).zip(before) {
                let stands = now.iter().position(|it| *it == name).unwrap();
                let stands = slot(u32::try_from(stands).unwrap());
                let bridge = with_radio(config.clone(), radio.clone());
                let spoken = bridge.routes.channel_of(
                    &room(ROOM),
                    Aim::Channel(Spot {
                        slot: slot(place),
                        channel: Some(print_of(name)),
                    }),
                );
                for actions in said_of(&config, &radio, &on(name, place)) {
                    // Mapped by index, the room may not transmit there any more.
                    if spoken.is_err() {
                        let reason = Refused::ChannelNotSpoken;
                        assert!(is_refused(&actions, reason), "{actions:?}");
                        continue;
                    }
                    let expected = (
                        Destination::Channel(stands),
                        Some(print_of(name)),
                        true,
                        Some(PacketId(50)),
                    );
                    assert_eq!(goes(&actions), Some(expected), "{name} in {now:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_said_of_a_message_whose_channel_is_gone_is_told_and_goes_nowhere() {
    let mut rekeyed = radio(&["LongFast", "Search"]);
    rekeyed.channels[1].fingerprint = Some(print_of("another key"));
    let (gone, not_spoken) = (Refused::ChannelGone, Refused::ChannelNotSpoken);
    // Removed, renamed, with a new key, and no longer mapped to the room.
    for (config, radio, reason) in [
        (two_channels(), radio(&["LongFast", ""]), gone),
        (two_channels(), radio(&["LongFast", "Market"]), gone),
        (two_channels(), rekeyed.clone(), gone),
        (by_name(&["LongFast", "Search"]), rekeyed, gone),
        (
            by_name(&["LongFast"]),
            radio(&["LongFast", "Search"]),
            not_spoken,
        ),
        (
            two_channels(),
            radio(&["LongFast", "Market", "Search"]),
            not_spoken,
        ),
    ] {
        for actions in said_of(&config, &radio, &on("Search", 1)) {
            assert!(is_refused(&actions, reason), "{actions:?}");
        }
        // New texts, and messages about those of the other channel, are sent.
        let mut bridge = with_radio(config.clone(), radio.clone());
        let plain = said(&mut bridge, &message("x"), &Facts::default());
        assert!(!goes(&plain).unwrap().2);
        for actions in said_of(&config, &radio, &on("LongFast", 0)) {
            assert!(goes(&actions).is_some(), "{actions:?}");
        }
    }
}

#[test]
fn a_room_that_only_hears_a_channel_does_not_answer_there_on_another() {
    let config = config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(ROOM, 1, Direction::ToMatrix),
    ]);
    let radio = radio(&["LongFast", "Search"]);
    for actions in said_of(&config, &radio, &on("Search", 1)) {
        assert!(
            is_refused(&actions, Refused::ChannelNotSpoken),
            "{actions:?}"
        );
    }
}

/// Returns the recorded channel of Alice's message.
fn place(actions: &[Action]) -> Option<Spot> {
    actions.iter().find_map(|action| match action {
        Action::KeepPlace(_, event, sender, spot)
            if *event == message("").event && *sender == alice() =>
        {
            Some(*spot)
        }
        _ => None,
    })
}

fn spot_named(name: &str, place: u32) -> Spot {
    Spot {
        slot: slot(place),
        channel: Some(print_of(name)),
    }
}

#[test]
fn an_answer_that_is_not_transmitted_belongs_to_the_channel_of_what_it_answers() {
    let radio = radio(&["LongFast", "Search"]);
    let facts = knowing(vec![on("Search", 1)]);
    let search = spot_named("Search", 1);
    let mut denied = two_channels();
    denied.matrix.allowed_users = Some(Vec::new());
    let long = "x".repeat(900);
    for (config, body) in [
        (two_channels(), long.as_str()),
        (two_channels(), "// x"),
        (two_channels(), "!ping"),
        (denied, "x"),
    ] {
        let mut bridge = with_radio(config, radio.clone());
        let answer = RoomText {
            body: body.to_owned(),
            ..reply()
        };
        let actions = said(&mut bridge, &answer, &facts);
        assert_eq!((goes(&actions), place(&actions)), (None, Some(search)));
        // A message without target goes to the room's first channel.
        let actions = said(&mut bridge, &message(body), &Facts::default());
        assert_eq!(place(&actions), Some(spot_named("LongFast", 0)));
    }
    let mut bridge = with_radio(two_channels(), radio.clone());
    let seen = Facts {
        already_seen: true,
        ..Facts::default()
    };
    assert_eq!(place(&said(&mut bridge, &reply(), &seen)), None);
    let mut bridge = with_radio(by_name(&["Search"]), radio);
    assert_eq!(place(&said(&mut bridge, &message("// x"), &facts)), None);
}

#[test]
fn what_answers_something_unknown_is_told_where_it_could_belong_to_several_channels() {
    let in_thread = RoomText {
        thread: Some(event("$root")),
        ..message("x")
    };
    for answer in [reply(), in_thread] {
        let radio = radio(&["LongFast", "Search"]);
        let mut bridge = with_radio(two_channels(), radio.clone());
        let actions = said(&mut bridge, &answer, &Facts::default());
        assert!(
            is_refused(&actions, Refused::ChannelForgotten),
            "{actions:?}"
        );
        // Replies to it are refused with a notice, too.
        assert_eq!(place(&actions), Some(Spot::UNKNOWN));
        let mut bridge = with_radio(by_name(&["Search"]), radio);
        let actions = said(&mut bridge, &answer, &Facts::default());
        assert_eq!(
            goes(&actions).map(|it| it.0),
            Some(Destination::Channel(slot(1)))
        );
    }
}

/// It may be on any channel that our radio hears.
#[test]
fn nobody_knows_to_which_channel_another_relays_post_from_our_own_mesh_belongs() {
    let radio = radio(&["LongFast", "Search"]);
    let mut config = two_channels();
    config.matrix.trusted_relays = vec![alice()];
    let mut bridge = with_radio(config, radio);
    let post = RoomText {
        relay: Some(Box::new(RelayFields {
            id: Some(PacketId(50)),
            meshnet: "Elsewhere".into(),
            text: Some("hi".into()),
            ..RelayFields::default()
        })),
        ..message("[Bob/Elsewhere]: hi")
    };
    let heard = Facts {
        heard_by_our_radio: true,
        ..Facts::default()
    };
    let actions = said(&mut bridge, &post, &heard);
    assert!(actions.contains(&Action::Drop(DropReason::RelayOnOurMesh)));
    assert_eq!(place(&actions), Some(Spot::UNKNOWN));
}

#[test]
fn in_a_room_of_several_channels_an_answer_is_to_be_written_again_as_an_answer() {
    let radio = radio(&["LongFast", "Search"]);
    let long = message(&"x".repeat(900));
    let advice = "as an answer to the same message";
    for (config, is_told) in [(two_channels(), true), (by_name(&["Search"]), false)] {
        let mut bridge = with_radio(config, radio.clone());
        let actions = said(&mut bridge, &long, &Facts::default());
        assert_eq!(notices(&actions)[0].contains(advice), is_told);
    }
}

#[test]
fn of_two_channels_with_one_name_each_message_finds_its_own() {
    let mut radio = radio(&["LongFast", "Search", "Search"]);
    radio.channels[2].fingerprint = Some(print_of("another key"));
    let config = by_name(&["Search"]);
    for (print, place) in [(print_of("Search"), 1), (print_of("another key"), 2)] {
        let pair = MessagePair {
            channel: Some(print),
            ..on("Search", 5)
        };
        for actions in said_of(&config, &radio, &pair) {
            let goes = goes(&actions).unwrap();
            assert_eq!(
                (goes.0, goes.1),
                (Destination::Channel(slot(place)), Some(print))
            );
        }
    }
}

#[test]
fn what_an_earlier_relay_carried_can_be_answered_only_where_its_room_has_one_channel() {
    let radio = radio(&["LongFast", "Search"]);
    let one_way = config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(ROOM, 1, Direction::ToMatrix),
    ]);
    for config in [two_channels(), by_name(&["LongFast", "Search"]), one_way] {
        for place in [0, 1] {
            for actions in said_of(&config, &radio, &forgotten(place)) {
                assert!(
                    is_refused(&actions, Refused::ChannelForgotten),
                    "{actions:?}"
                );
            }
        }
    }
    // Under both names it is the same channel.
    let mut twice = by_name(&["Search", "Search"]);
    twice.matrix_rooms[0].meshtastic_channel = ChannelRef::Index(slot(1));
    for config in [by_name(&["Search"]), twice] {
        for place in [0, 1, 5] {
            for actions in said_of(&config, &radio, &forgotten(place)) {
                let goes = goes(&actions).unwrap();
                assert_eq!(goes.0, Destination::Channel(slot(1)));
                assert_eq!(goes.1, Some(print_of("Search")));
            }
        }
    }
}

#[test]
fn an_answer_goes_to_its_channel_also_with_replies_switched_off_and_to_a_packet_without_id() {
    let mut config = two_channels();
    let radio = radio(&["LongFast", "Search"]);
    let nameless = MessagePair {
        packet: PacketId::NONE,
        ..on("Search", 1)
    };
    let mut bridge = with_radio(config.clone(), radio.clone());
    let facts = knowing(vec![nameless]);
    let expected = (
        Destination::Channel(slot(1)),
        Some(print_of("Search")),
        true,
        None,
    );
    assert_eq!(goes(&said(&mut bridge, &reply(), &facts)), Some(expected));
    let tapback = reacted(&mut bridge, &reaction("👍"), &facts);
    assert_eq!(tapback, [Action::Drop(DropReason::UnknownTarget)]);

    config.meshtastic.message_interactions.replies = false;
    let mut bridge = with_radio(config, radio);
    let facts = knowing(vec![on("Search", 1)]);
    assert_eq!(goes(&said(&mut bridge, &reply(), &facts)), Some(expected));
}

#[test]
fn before_a_radio_has_told_its_channels_an_answer_waits_for_its_own() {
    let mut bridge = bridge_alone(two_channels());
    join(&mut bridge, joined(ROOM));
    let facts = knowing(vec![on("Search", 1)]);
    let answer = said(&mut bridge, &reply(), &facts);
    let expected = (
        Destination::Channel(slot(1)),
        Some(print_of("Search")),
        true,
        Some(PacketId(50)),
    );
    assert_eq!(goes(&answer), Some(expected));
    let from = Spot {
        slot: slot(1),
        channel: Some(print_of("Search")),
    };
    let moved = |names: &[&str]| {
        let channels = radio(names).channels;
        bridge
            .routes
            .moved(&room(ROOM), from, true, &channels)
            .map(|it| it.slot)
    };
    assert_eq!(moved(&["Search", "LongFast"]), Ok(slot(0)));
    assert_eq!(moved(&["LongFast", "Market"]), Err(Refused::ChannelGone));
}

#[test]
fn what_waits_follows_its_channel_and_a_corrected_configuration_takes_only_what_is_not_bound() {
    let waits = |config: Config, bound, names: &[&str]| {
        let bridge = with_radio(config, radio(&["LongFast", "Search"]));
        let from = Spot {
            slot: slot(1),
            channel: Some(print_of("Search")),
        };
        let channels = radio(names).channels;
        bridge
            .routes
            .moved(&room(ROOM), from, bound, &channels)
            .map(|it| it.slot)
    };
    let one = || config_with(vec![route(ROOM, 1, Direction::Both)]);
    let gone = Err(Refused::ChannelGone);
    let not_spoken = Err(Refused::ChannelNotSpoken);
    for bound in [false, true] {
        assert_eq!(
            waits(two_channels(), bound, &["Search", "LongFast"]),
            Ok(slot(0))
        );
        assert_eq!(
            waits(by_name(&["Search"]), bound, &["Search", "LongFast"]),
            Ok(slot(0))
        );
        // Mapped by index, the room continues with another channel; earlier messages do not go there.
        assert_eq!(waits(one(), bound, &["LongFast", "Market"]), gone);
        assert_eq!(waits(one(), bound, &["Search", "LongFast"]), not_spoken);
        let missing = waits(by_name(&["Search"]), bound, &["LongFast", "Market"]);
        assert_eq!(missing, Err(Refused::NoChannel));
    }
    let corrected = by_name(&["LongFast"]);
    assert_eq!(
        waits(corrected.clone(), false, &["LongFast", "Search"]),
        Ok(slot(0))
    );
    assert_eq!(waits(corrected, true, &["LongFast", "Search"]), not_spoken);
}

#[test]
fn a_mapped_channel_with_another_key_is_reported_once_and_one_that_only_moves_is_not() {
    let mut rekeyed = radio(&["LongFast", "Search"]);
    rekeyed.channels[1].fingerprint = Some(print_of("another key"));
    for config in [two_channels(), by_name(&["LongFast", "Search"])] {
        let mut bridge = with_radio(config.clone(), radio(&["LongFast", "Search"]));
        for (next, expected) in [
            (
                rekeyed.clone(),
                &["matrix_rooms[1]: channel 1 (`Search`) has another key than before"][..],
            ),
            (rekeyed.clone(), &[]),
        ] {
            ready(&mut bridge, next);
            let said: Vec<_> = bridge
                .renamed_channels()
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(said.len(), expected.len(), "{said:?}");
            let told = said.iter().zip(expected);
            assert!(
                told.into_iter()
                    .all(|(said, expected)| said.starts_with(expected))
            );
        }
    }
    let mut bridge = with_radio(by_name(&["Search"]), radio(&["LongFast", "Search"]));
    ready(&mut bridge, radio(&["Search", "LongFast"]));
    assert_eq!(bridge.renamed_channels(), []);
}
