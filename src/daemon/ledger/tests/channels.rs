//! Rows that wait for a channel when channels move or vanish.

use super::*;
use relay_model::{RadioOutcome, RoomContent, RoomRowId};

fn slot(index: u32) -> ChannelIndex {
    ChannelIndex::try_from(index).unwrap()
}

/// A radio with these channels, in slots from 0.
fn radio(names: &[&str]) -> Event {
    ready(|profile| {
        profile.channels = (0..)
            .zip(names)
            .map(|(index, name)| Channel {
                index: slot(index),
                name: (*name).to_owned(),
                role: match index {
                    0 => ChannelRole::Primary,
                    _ => ChannelRole::Secondary,
                },
                fingerprint: Some(print_of(name)),
            })
            .collect();
    })
}

fn mapped_to(channels: &[ChannelRef]) -> Config {
    let mut config = config();
    let room = config.matrix_rooms[0].clone();
    config.matrix_rooms = channels
        .iter()
        .map(|channel| MappedRoom {
            meshtastic_channel: channel.clone(),
            ..room.clone()
        })
        .collect();
    config
}

fn name(name: &str) -> ChannelRef {
    ChannelRef::Name(name.to_owned())
}

fn hello() -> OwnedEventId {
    "$hello:example.org".try_into().unwrap()
}

/// The channel of a row, by the outbox and by the message map.
fn waits_for(store: &mut Store) -> Vec<Destination> {
    let found = store.transaction(|tx| {
        let queues: Vec<_> = outbox_mesh::queues(tx)?;
        let pairs = message_map::by_event(tx, &hello())?;
        // The message map knows the channel even of a reply that is never sent.
        for pair in pairs.iter().filter(|it| it.packet != PacketId::NONE) {
            assert_eq!([(pair.destination, Lane::Message)], *queues);
        }
        Ok(queues.into_iter().map(|(to, _)| to).collect())
    });
    found.unwrap()
}

fn notices(store: &mut Store) -> Vec<String> {
    let room = "!room:example.org".try_into().unwrap();
    let notice = store.transaction(|tx| outbox_room::next(tx, room)).unwrap();
    notice
        .into_iter()
        .filter_map(|row| match row.content {
            RoomContent::Text { text, .. } => Some(text),
            _ => None,
        })
        .collect()
}

const BEFORE: &[&str] = &["LongFast", "Rescue"];
const AFTER: &[&str] = &["LongFast", "Public", "Rescue"];

#[test]
fn what_waits_follows_its_channel_to_another_slot_and_another_radio() {
    let config = mapped_to(&[name("Rescue")]);
    let mut store = Store::in_memory().unwrap();
    let events = [radio(BEFORE), joined(), hello_of_alice()];
    decide(&mut store, &config, &events);
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(1))]);
    let outcome = decide(&mut store, &config, &[radio(AFTER)]);
    let rescue = Destination::Channel(slot(2));
    assert_eq!(waits_for(&mut store), [rescue]);
    assert!(outcome.mesh.contains(&(rescue, Lane::Message)));
}

#[test]
fn a_locked_radio_takes_nothing_from_what_waits() {
    let config = mapped_to(&[name("Rescue")]);
    let mut store = Store::in_memory().unwrap();
    let events = [radio(BEFORE), joined(), hello_of_alice()];
    decide(&mut store, &config, &events);
    let locked = ready(|profile| {
        profile.channels.clear();
        profile.locked = true;
    });
    decide(&mut store, &config, &[locked, joined()]);
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(1))]);
    assert_eq!(notices(&mut store), [""; 0]);
    decide(&mut store, &config, &[radio(AFTER)]);
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(2))]);
}

#[test]
fn channels_that_change_places_keep_each_its_own() {
    let config = mapped_to(&[name("Rescue"), name("LongFast")]);
    let mut store = Store::in_memory().unwrap();
    decide(
        &mut store,
        &config,
        &[radio(BEFORE), joined(), hello_of_alice()],
    );
    for names in [["Rescue", "LongFast"], ["LongFast", "Rescue"]] {
        decide(&mut store, &config, &[radio(&names)]);
        let place = names.iter().position(|it| *it == "Rescue").unwrap();
        let place = slot(u32::try_from(place).unwrap());
        assert_eq!(waits_for(&mut store), [Destination::Channel(place)]);
    }
}

#[test]
fn what_waits_goes_where_a_corrected_configuration_says() {
    let mut store = Store::in_memory().unwrap();
    let wrong = mapped_to(&[ChannelRef::Index(slot(0))]);
    decide(
        &mut store,
        &wrong,
        &[radio(AFTER), joined(), hello_of_alice()],
    );
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(0))]);
    decide(&mut store, &mapped_to(&[name("Rescue")]), &[radio(AFTER)]);
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(2))]);
}

#[test]
fn an_answer_stays_on_the_other_channel_of_its_room_as_long_as_that_is_mapped() {
    let both = [ChannelRef::Index(slot(0)), name("Rescue")];
    let mut store = Store::in_memory().unwrap();
    // As if the message were a reply to one there.
    decide(
        &mut store,
        &mapped_to(&both[1..]),
        &[radio(BEFORE), joined(), hello_of_alice()],
    );
    decide(&mut store, &mapped_to(&both), &[radio(AFTER)]);
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(2))]);
    decide(&mut store, &mapped_to(&both[..1]), &[radio(AFTER)]);
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(0))]);
}

#[test]
fn what_has_no_channel_any_more_is_refused_and_its_sender_told() {
    let config = mapped_to(&[name("Rescue")]);
    let mut store = Store::in_memory().unwrap();
    decide(
        &mut store,
        &config,
        &[radio(BEFORE), joined(), hello_of_alice()],
    );
    decide(&mut store, &config, &[radio(&["LongFast", "Public"])]);
    assert_eq!(waits_for(&mut store), []);
    let state = store.transaction(|tx| mesh_report::state(tx, MeshRowId(1)));
    assert_eq!(state.unwrap(), Some(MeshState::Refused));
    let notices = notices(&mut store);
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("no such channel"), "{notices:?}");
}

/// A relay that keeps running between events.
struct Running {
    store: Store,
    ledger: Ledger,
}

impl Running {
    /// Starts with `events`, and submits the first packet. Returns its id, too.
    fn with_first_submitted(config: &Config, events: &[Event]) -> (Self, PacketId) {
        let mut store = Store::in_memory().unwrap();
        let ledger = store.transaction(|tx| open(tx, config, NOON));
        let ledger = ledger.unwrap();
        let mut running = Self { store, ledger };
        running.decide(events);
        let packet = hand_to_radio(&mut running.store, config, NOON).packet;
        (running, packet)
    }

    fn decide(&mut self, events: &[Event]) -> Outcome {
        let Self { store, ledger } = self;
        let decided = store.transaction(|tx| {
            let mut outcome = Outcome::default();
            for event in events {
                ledger.event(tx, event, NOON, &mut outcome)?;
            }
            Ok(outcome)
        });
        decided.unwrap()
    }

    fn states(&mut self) -> Vec<MeshState> {
        let read = self.store.transaction(|tx| {
            let states = (1..=3).map(|id| mesh_report::state(tx, MeshRowId(id)));
            states.collect::<Result<Vec<_>, _>>()
        });
        read.unwrap().into_iter().flatten().collect()
    }
}

/// Alice's `$hello` in three parts.
fn long_hello() -> Event {
    let mut message = hello_of_alice();
    if let Event::Matrix(MatrixEvent::Text(text)) = &mut message {
        text.body = "word ".repeat(90).trim().to_owned();
    }
    message
}

/// How many messages of the room were refused.
fn refused(outcome: &Outcome) -> u64 {
    let room = Place::Room("!room:example.org".try_into().unwrap());
    outcome.counts.of(&room, Way::ToMesh).refused.values().sum()
}

#[test]
fn the_sender_is_told_once_of_a_message_of_which_a_part_is_on_the_air() {
    let config = mapped_to(&[name("Rescue")]);
    let events = [radio(BEFORE), joined(), long_hello()];
    let (mut relay, _) = Running::with_first_submitted(&config, &events);
    let accepted = relay
        .store
        .transaction(|tx| mesh_report::accepted(tx, MeshRowId(1), NOON));
    assert!(accepted.unwrap());
    let outcome = relay.decide(&[radio(&["LongFast", "Public"])]);
    assert_eq!(refused(&outcome), 1);
    let over = MeshState::Refused;
    assert_eq!(relay.states(), [MeshState::Accepted, over, over]);
    let notices = notices(&mut relay.store);
    assert!(notices[0].contains("no such channel"), "{notices:?}");
}

#[test]
fn what_the_radio_holds_is_called_back_and_refused_once_it_is_back() {
    let whole = mapped_to(&[name("Rescue")]);
    // The room is mapped to the slot's new channel, too: messages for the old channel do not go there.
    let both = mapped_to(&[name("Rescue"), name("Public")]);
    for config in [whole, both] {
        let events = [radio(BEFORE), joined(), hello_of_alice()];
        let (mut relay, packet) = Running::with_first_submitted(&config, &events);
        let outcome = relay.decide(&[radio(&["LongFast", "Public"]), joined()]);
        assert!(outcome.withdrawn.contains(&MeshRowId(1)));
        assert_eq!(refused(&outcome), 0);
        assert_eq!(relay.states(), [MeshState::Submitted]);
        assert_eq!(notices(&mut relay.store), Vec::<String>::new());

        let outcome = relay.decide(&[given_back(MeshRowId(1), packet)]);
        assert_eq!(refused(&outcome), 1);
        assert_eq!(relay.states(), [MeshState::Refused]);
        let notices = notices(&mut relay.store);
        assert_eq!(notices.len(), 1);
        assert!(notices[0].contains("no such channel"), "{notices:?}");
    }
}

#[test]
fn a_part_that_comes_back_behind_the_others_is_refused_and_not_told_again() {
    let config = mapped_to(&[name("Rescue")]);
    let events = [radio(BEFORE), joined(), long_hello()];
    let (mut relay, packet) = Running::with_first_submitted(&config, &events);
    let outcome = relay.decide(&[radio(&["LongFast", "Public"])]);
    assert_eq!(refused(&outcome), 1);
    assert_eq!(notices(&mut relay.store).len(), 1);
    let outcome = relay.decide(&[given_back(MeshRowId(1), packet)]);
    assert_eq!(refused(&outcome), 0);
    assert_eq!(relay.states(), [MeshState::Refused; 3]);
}

#[test]
fn what_the_radio_holds_as_the_relay_stops_is_refused_after_the_start() {
    let config = mapped_to(&[name("Rescue")]);
    let events = [radio(BEFORE), joined(), hello_of_alice()];
    let (mut relay, _) = Running::with_first_submitted(&config, &events);
    let gone = [radio(&["LongFast", "Public"])];
    relay.decide(&gone);
    let outcome = decide(&mut relay.store, &config, &gone);
    assert_eq!(refused(&outcome), 1);
    assert_eq!(relay.states(), [MeshState::Refused]);
}

/// The pacer returns a packet without having sent it.
fn given_back(outbox: MeshRowId, packet: PacketId) -> Event {
    Event::Report(SendReport::Radio {
        outbox,
        packet,
        outcome: RadioOutcome::Retry {
            after: Duration::ZERO,
            new_id: false,
            written: false,
            reason: "called back".into(),
        },
    })
}

#[test]
fn a_room_that_is_known_by_its_alias_is_followed_before_a_server_has_told_which_it_is() {
    let mut config = mapped_to(&[ChannelRef::Index(slot(0))]);
    let alias = "#rescue:example.org";
    config.matrix_rooms[0].id = alias.try_into().unwrap();
    let joined = match joined() {
        Event::Matrix(MatrixEvent::Joined(room)) => {
            Event::Matrix(MatrixEvent::Joined(JoinedRoom {
                configured: vec![alias.try_into().unwrap()],
                ..room
            }))
        }
        other => panic!("{other:?}"),
    };
    let mut store = Store::in_memory().unwrap();
    decide(
        &mut store,
        &config,
        &[radio(BEFORE), joined.clone(), hello_of_alice()],
    );
    config.matrix_rooms[0].meshtastic_channel = name("Rescue");
    decide(&mut store, &config, &[radio(AFTER)]);
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(2))]);

    // Under a new alias the row keeps its channel until the alias is resolved.
    config.matrix_rooms[0].id = "#new:example.org".try_into().unwrap();
    config.matrix_rooms[0].meshtastic_channel = ChannelRef::Index(slot(0));
    decide(&mut store, &config, &[radio(BEFORE)]);
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(1))]);
    let renamed = match joined {
        Event::Matrix(MatrixEvent::Joined(room)) => {
            Event::Matrix(MatrixEvent::Joined(JoinedRoom {
                configured: vec![config.matrix_rooms[0].id.clone()],
                ..room
            }))
        }
        other => panic!("{other:?}"),
    };
    // Rows do not move before a radio has reported its channels in this run.
    decide(&mut store, &config, std::slice::from_ref(&renamed));
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(1))]);
    decide(&mut store, &config, &[radio(BEFORE), renamed]);
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(0))]);
}

/// The same event of a node, heard on another channel.
fn heard_on(event: Event, place: u32, name: &str) -> Event {
    match event {
        Event::Radio(RadioEvent::Text(mut text)) => {
            text.destination = Destination::Channel(slot(place));
            name.clone_into(&mut text.channel_name);
            text.fingerprint = Some(print_of(name));
            Event::Radio(RadioEvent::Text(text))
        }
        other => panic!("{other:?}"),
    }
}

/// A text of a node on `Rescue` stands in the room, and Alice's `$hello` answers it.
fn answered(store: &mut Store, config: &Config, names: &[&str]) {
    let place = names.iter().position(|it| *it == "Rescue").unwrap();
    let question = heard_on(hello_of_node(), u32::try_from(place).unwrap(), "Rescue");
    decide(store, config, &[radio(names), joined(), question]);
    let event: OwnedEventId = "$question:example.org".try_into().unwrap();
    let sent = store.transaction(|tx| outbox_room::sent(tx, RoomRowId(1), Some(&event)));
    assert!(sent.unwrap());
    decide(store, config, &[radio(names), joined(), answer_of_alice()]);
}

fn answer_of_alice() -> Event {
    match hello_of_alice() {
        Event::Matrix(MatrixEvent::Text(mut text)) => {
            text.reply_to = Some("$question:example.org".try_into().unwrap());
            Event::Matrix(MatrixEvent::Text(text))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_that_waits_goes_to_its_channel_or_nowhere() {
    let config = mapped_to(&[ChannelRef::Index(slot(0)), ChannelRef::Index(slot(1))]);
    let mut store = Store::in_memory().unwrap();
    answered(&mut store, &config, BEFORE);
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(1))]);
    decide(
        &mut store,
        &config,
        &[radio(&["Rescue", "LongFast"]), joined()],
    );
    assert_eq!(waits_for(&mut store), [Destination::Channel(slot(0))]);
    // The slot is no longer mapped: a text that is no reply would follow the room.
    let other = mapped_to(&[ChannelRef::Index(slot(1))]);
    let outcome = decide(
        &mut store,
        &other,
        &[radio(&["Rescue", "LongFast"]), joined()],
    );
    assert_eq!(waits_for(&mut store), []);
    assert_eq!(refused(&outcome), 1);
    assert_eq!(
        notices(&mut store),
        [Refused::ChannelNotSpoken.explanation(&other)]
    );
}

#[test]
fn what_waits_for_a_channel_that_has_another_key_is_refused_and_its_sender_told() {
    for channel in [name("Rescue"), ChannelRef::Index(slot(1))] {
        let config = mapped_to(&[channel]);
        let mut store = Store::in_memory().unwrap();
        decide(
            &mut store,
            &config,
            &[radio(BEFORE), joined(), hello_of_alice()],
        );
        let mut rekeyed = radio(BEFORE);
        if let Event::Radio(RadioEvent::Ready(profile)) = &mut rekeyed {
            profile.channels[1].fingerprint = Some(print_of("another key"));
        }
        decide(&mut store, &config, &[rekeyed.clone()]);
        assert_eq!(waits_for(&mut store), []);
        assert_eq!(
            notices(&mut store),
            [Refused::ChannelGone.explanation(&config)]
        );
        // Sent again, it is accepted.
        let again = text_of_alice("again", NOON);
        decide(&mut store, &config, &[rekeyed, joined(), again]);
        assert!(waits_for_mesh(&mut store));
    }
}

#[test]
fn parts_behind_one_that_was_sent_stay_on_its_channel() {
    // Both channels are the room's.
    let config = mapped_to(&[ChannelRef::Index(slot(1)), ChannelRef::Index(slot(0))]);
    let events = [radio(BEFORE), joined(), long_hello()];
    let (mut relay, _) = Running::with_first_submitted(&config, &events);
    let accepted = relay
        .store
        .transaction(|tx| mesh_report::accepted(tx, MeshRowId(1), NOON));
    assert!(accepted.unwrap());
    relay.decide(&[radio(&["Rescue", "LongFast"])]);
    let queues = relay.store.transaction(outbox_mesh::queues).unwrap();
    assert_eq!(queues, [(Destination::Channel(slot(0)), Lane::Message)]);
    relay.decide(&[radio(&["Public", "LongFast"])]);
    let over = MeshState::Refused;
    assert_eq!(relay.states(), [MeshState::Accepted, over, over]);
}

#[test]
fn what_was_accepted_before_a_radio_was_reached_belongs_to_its_channel_from_then_on() {
    let config = mapped_to(&[ChannelRef::Index(slot(1))]);
    let mut store = Store::in_memory().unwrap();
    decide(&mut store, &config, &[joined(), hello_of_alice()]);
    let channel = |store: &mut Store| {
        let pairs = store.transaction(|tx| message_map::by_event(tx, &hello()));
        pairs.unwrap().first().map(|pair| pair.channel)
    };
    assert_eq!(channel(&mut store), Some(None));
    decide(&mut store, &config, &[radio(BEFORE), joined()]);
    assert_eq!(channel(&mut store), Some(Some(print_of("Rescue"))));
    decide(&mut store, &config, &[radio(AFTER), joined()]);
    assert_eq!(channel(&mut store), Some(Some(print_of("Rescue"))));
    assert_eq!(
        notices(&mut store),
        [Refused::ChannelNotSpoken.explanation(&config)]
    );
}

/// In the same slot, under the same id.
#[test]
fn an_answer_of_the_mesh_finds_no_message_of_another_channel() {
    let config = mapped_to(&[ChannelRef::Index(slot(0)), ChannelRef::Index(slot(1))]);
    for (place, named, answers) in [(0, "Rescue", true), (1, "LongFast", false)] {
        let mut store = Store::in_memory().unwrap();
        answered(&mut store, &config, BEFORE);
        let mut answer = heard_on(hello_of_node(), place, named);
        if let Event::Radio(RadioEvent::Text(text)) = &mut answer {
            (text.packet, text.reply_to) = (PacketId(6), Some(PacketId(5)));
        }
        let swapped = radio(&["Rescue", "LongFast"]);
        decide(&mut store, &config, &[swapped, joined(), answer]);
        let room = "!room:example.org".try_into().unwrap();
        let row = store.transaction(|tx| outbox_room::next(tx, room)).unwrap();
        let content = row.unwrap().content;
        let RoomContent::Text { reply_to, .. } = content else {
            panic!("{content:?}");
        };
        assert_eq!(reply_to.is_some(), answers, "{named}");
    }
}
