//! The channel of a text, and what is reported of mapped channels.

use super::*;

#[test]
fn before_the_radio_is_ready_a_numbered_channel_stands_for_itself() {
    let mut bridge = bridge_alone(config());
    assert_eq!(
        spoken(&said(&mut bridge, &message("x"), &Facts::default())).len(),
        1
    );
}

#[test]
fn before_the_radio_is_ready_a_named_channel_is_the_one_remembered() {
    let mut config = config();
    config.matrix_rooms[0].meshtastic_channel = ChannelRef::Name("Search".into());
    let mut bridge = bridge_alone(config);
    let actions = said(&mut bridge, &message("x"), &Facts::default());
    assert_eq!(refused(&actions), Some(Refused::ChannelsUnknown));
    bridge.remember_radio(OWN, profile().channels);
    let actions = said(&mut bridge, &message("x"), &Facts::default());
    let Action::ToMesh(MeshMessage { destination, .. }) = &actions[0] else {
        panic!("{actions:?}");
    };
    assert_eq!(*destination, Destination::Channel(slot(1)));
}

#[test]
fn a_locked_radio_takes_no_channel_away() {
    let mut bridge = bridge();
    let locked = RadioProfile {
        locked: true,
        channels: Vec::new(),
        ..profile()
    };
    ready(&mut bridge, locked);
    assert_eq!(bridge.route_problems(), []);
    assert_eq!(bridge.silence(), Some(Refused::Locked));
    assert_eq!(bridge.meshnet(), "LongFast");
}

#[test]
fn a_channel_mapped_by_its_number_is_reported_when_its_name_changes_and_one_mapped_by_name_is_not()
{
    let mut config = config();
    config.matrix_rooms[0].meshtastic_channel = ChannelRef::Name("LongFast".into());
    let mut bridge = bridge_of(config);
    assert_eq!(bridge.renamed_channels(), []);
    let mut moved = profile();
    moved.channels[0].name = "Search".into();
    moved.channels[1].name = "LongFast".into();
    moved.channels[0].fingerprint = Some(print_of("Search"));
    moved.channels[1].fingerprint = Some(print_of("LongFast"));
    ready(&mut bridge, moved.clone());
    let said: Vec<_> = bridge
        .renamed_channels()
        .iter()
        .map(|it| (it.to_string(), it.hint()))
        .collect();
    assert_eq!(
        said,
        [(
            "matrix_rooms[1]: channel 1 was `Search` and is `LongFast` now: its room goes on with it"
                .to_owned(),
            Some("to stay with a channel wherever it is, map it by its name".to_owned())
        )]
    );
    ready(&mut bridge, moved);
    assert_eq!(bridge.renamed_channels(), [], "said once");
}

#[test]
fn a_channel_that_comes_back_under_another_name_is_reported_and_under_its_own_it_is_not() {
    let mut bridge = bridge_of(config());
    let (before, mut gone, mut other) = (profile(), profile(), profile());
    gone.channels[1].role = ChannelRole::Disabled;
    gone.channels[1].name = String::new();
    other.channels[1].name = "Market".into();
    for (next, reported) in [(&gone, 0), (&before, 0), (&gone, 0), (&other, 1)] {
        ready(&mut bridge, next.clone());
        assert_eq!(bridge.renamed_channels().len(), reported);
    }
}

#[test]
fn a_missing_channel_is_reported_with_those_there_are() {
    let mut config = config();
    config.matrix_rooms[0].meshtastic_channel = ChannelRef::Name("Nowhere".into());
    config
        .matrix_rooms
        .push(route("!a:example.org", 2, Direction::Both));
    config
        .matrix_rooms
        .push(route("!b:example.org", 3, Direction::Both));
    let problems: Vec<_> = bridge_of(config)
        .route_problems()
        .iter()
        .map(|it| (it.to_string(), full_text(it)))
        .collect();
    let (problems, told): (Vec<_>, Vec<_>) = problems.into_iter().unzip();
    assert_eq!(
        problems,
        [
            "matrix_rooms[0]: the radio has no channel named `Nowhere`; it has 0 (LongFast), 1 (Search)",
            "matrix_rooms[2]: channel 2 is not in use on the radio; it has 0 (LongFast), 1 (Search)",
            "matrix_rooms[3]: channel 3 is named `admin` and is never relayed",
        ]
    );
    assert_eq!(told[..2], problems[..2]);
    let cure = "; map another channel";
    assert_eq!(told[2], format!("{}{cure}", problems[2]));
}

#[test]
fn a_room_known_by_its_alias_speaks_once_it_is_joined() {
    let mut bridge = bridge_alone(config_with(vec![route(
        "#club:example.org",
        1,
        Direction::Both,
    )]));
    let actions = said(&mut bridge, &message("x"), &Facts::default());
    assert_eq!(actions, dropped(DropReason::UnmappedRoom));
    join(
        &mut bridge,
        JoinedRoom {
            configured: vec![named("#club:example.org")],
            ..joined(ROOM)
        },
    );
    assert_eq!(
        spoken(&said(&mut bridge, &message("x"), &Facts::default())).len(),
        1
    );
}

#[test]
fn of_two_channels_in_a_room_a_reply_takes_its_targets_and_the_rest_the_first() {
    let mut bridge = bridge_of(config_with(vec![
        route(ROOM, 1, Direction::Both),
        route(ROOM, 0, Direction::Both),
    ]));
    let destination = |actions: Vec<Action>| match &actions[0] {
        Action::ToMesh(message) => (message.destination, on_air(&actions)),
        other => panic!("{other:?}"),
    };
    let plain = destination(said(&mut bridge, &message("x"), &Facts::default()));
    assert_eq!(plain.0, Destination::Channel(slot(1)));
    let answer = destination(said(&mut bridge, &reply("x"), &knowing(vec![pair()])));
    assert_eq!(
        answer,
        (
            Destination::Channel(slot(0)),
            vec![air("Alice[M]: x", Some(50))]
        )
    );
    let emoji = destination(reacted(
        &mut bridge,
        &reaction("👍"),
        &knowing(vec![pair()]),
    ));
    assert_eq!(
        emoji,
        (Destination::Channel(slot(0)), vec![tapback("👍", 50)])
    );
}
