//! The rooms of a channel.

use super::*;

#[test]
fn a_text_goes_to_every_room_of_its_channel_and_to_no_other() {
    let mut bridge = bridge_of(config_with(vec![
        route(ROOM, 0, Direction::Both),
        route(OTHER_ROOM, 0, Direction::ToMatrix),
        route("!quiet:example.org", 0, Direction::ToMesh),
        route("!far:example.org", 1, Direction::Both),
    ]));
    let rooms: Vec<_> = posted(&heard(&mut bridge, &packet("hi"), &Facts::default()))
        .into_iter()
        .map(|(room, _)| room)
        .collect();
    assert_eq!(rooms, [ROOM, OTHER_ROOM]);
}

#[test]
fn a_room_with_two_names_is_posted_to_once() {
    let mut bridge = bridge_of(config_with(vec![
        route("#club:example.org", 0, Direction::Both),
        route(ROOM, 0, Direction::Both),
    ]));
    join(
        &mut bridge,
        JoinedRoom {
            configured: vec![named("#club:example.org"), named(ROOM)],
            ..joined(ROOM)
        },
    );
    assert_eq!(
        posted(&heard(&mut bridge, &packet("hi"), &Facts::default())).len(),
        1
    );
}

#[test]
fn before_a_room_is_joined_its_alias_stands_for_it() {
    let mut bridge = bridge_alone(config_with(vec![route(
        "#club:example.org",
        0,
        Direction::Both,
    )]));
    let actions = heard(&mut bridge, &packet("hi"), &Facts::default());
    assert_eq!(
        posted(&actions),
        [("#club:example.org".into(), "[Bob/Meshtastic]: hi".into())]
    );
}

#[test]
fn an_alias_stands_for_the_room_of_the_earlier_run_until_it_is_known_for_which_it_stands_now() {
    let alias = named("#club:example.org");
    let mut bridge = bridge_alone(config_with(vec![route(alias.as_str(), 0, Direction::Both)]));
    bridge.remember_room(alias.clone(), room(ROOM));
    let reply = RadioText {
        reply_to: Some(PacketId(50)),
        ..packet("yes")
    };
    let actions = heard(&mut bridge, &reply, &knowing(vec![pair()]));
    assert_eq!(posted(&actions)[0].0, ROOM);
    assert_eq!(first(&actions).reply_to, Some(event("$target").into()));
    let actions = heard(&mut bridge, &tapback("👍"), &knowing(vec![pair()]));
    assert_eq!(reactions(&actions), [("$target".into(), "👍".into())]);

    let moved = Event::Matrix(MatrixEvent::NameMoved {
        name: alias,
        room: room(OTHER_ROOM),
    });
    bridge.decide(&moved, &Facts::default(), NOON);
    let actions = heard(&mut bridge, &reply, &knowing(vec![pair()]));
    assert_eq!(posted(&actions)[0].0, OTHER_ROOM);
    assert_eq!(first(&actions).reply_to, None);
}

#[test]
fn a_channel_mapped_by_name_is_heard_in_whichever_slot_it_is() {
    let mut config = config();
    config.matrix_rooms[0].meshtastic_channel = ChannelRef::Name("Club".into());
    let mut bridge = bridge_of(config);
    let moved = RadioText {
        destination: Destination::Channel(slot(5)),
        channel_name: "Club".into(),
        ..packet("hi")
    };
    assert_eq!(
        posted(&heard(&mut bridge, &moved, &Facts::default())).len(),
        1
    );
    let actions = heard(&mut bridge, &packet("hi"), &Facts::default());
    assert_eq!(actions, dropped(DropReason::UnmappedChannel));
}
