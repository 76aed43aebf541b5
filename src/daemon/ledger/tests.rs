//! What the ledger commits for batches of events.

mod backlog;
mod changes;
mod channels;
mod chores;
mod damage;
mod earlier;
mod feedback;
mod outage;
mod power_cut;
mod rerun;
mod rooms;
mod story;
mod undecryptable;

use std::time::Duration;

use super::super::counts::{Place, Way};
use super::*;
use crate::daemon::mesh_worker::{self, MeshRules};
use relay_bridge::{Action, Facts, Refused};
use relay_config::{ChannelRef, Connection, Direction, MappedRoom};
use relay_model::{
    Channel, ChannelIndex, ChannelRole, ClockReading, Destination, Fingerprint, JoinedRoom, Lane,
    LossKind, MatrixEvent, MeshRowId, MeshState, Node, NodeNum, OwnedEventId, OwnedRoomId,
    OwnedRoomOrAliasId, OwnedUserId, PacketId, RadioEvent, RadioProfile, RadioText, RoomText,
    RoomTextKind, SendReport, TextPort, Tombstone,
};
use relay_radio::Submission;
use relay_store::{Next, edits, mesh_report, message_map, outbox_mesh, summary};

/// The chore that decides on signs after changes.
const SIGNS: Event = Event::Chore(Chore::Signs);

pub(super) const NOON: Timestamp = Timestamp(1_767_225_600_000);

pub(super) fn config() -> Config {
    let room = MappedRoom {
        id: "!room:example.org".try_into().unwrap(),
        via: Vec::new(),
        meshtastic_channel: ChannelRef::Index(ChannelIndex::PRIMARY),
        direction: Direction::Both,
        appearance: relay_config::Appearance::default(),
    };
    let connection = Connection::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 4403,
    };
    Config::new(connection, vec![room])
}

/// The fingerprint of a channel of that name; all channels have the same key here.
pub(super) fn print_of(name: &str) -> Fingerprint {
    let mut print = [0; 32];
    for (place, byte) in print.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    Fingerprint(print)
}

pub(super) fn ready(change: impl Fn(&mut RadioProfile)) -> Event {
    let primary = Channel {
        index: ChannelIndex::PRIMARY,
        name: "LongFast".to_owned(),
        role: ChannelRole::Primary,
        fingerprint: Some(print_of("LongFast")),
    };
    let mut profile = RadioProfile {
        own: Node::unknown(NodeNum(1)),
        firmware: "2.7.26".to_owned(),
        channels: vec![primary],
        hop_limit: 3,
        region_set: true,
        transmit_enabled: true,
        reboot_count: 0,
        setup: relay_model::RadioSetup::default(),
        locked: false,
    };
    change(&mut profile);
    Event::Radio(RadioEvent::Ready(Box::new(profile)))
}

pub(super) fn joined() -> Event {
    Event::Matrix(MatrixEvent::Joined(JoinedRoom {
        room: "!room:example.org".try_into().unwrap(),
        configured: vec!["!room:example.org".try_into().unwrap()],
        name: "Hilltop".to_owned(),
        own_name: "Relay".to_owned(),
        encrypted: false,
        public: false,
        may_mention_room: false,
        may_write: true,
        tombstone: None,
        predecessor: None,
        may_react: true,
    }))
}

pub(super) fn hello_of_alice() -> Event {
    text_of_alice("hello", NOON)
}

/// A message whose event id is its text.
pub(super) fn text_of_alice(text: &str, sent_at: Timestamp) -> Event {
    let event = format!("${}:example.org", text.replace(' ', "-"));
    Event::Matrix(MatrixEvent::Text(Box::new(RoomText {
        room: "!room:example.org".try_into().unwrap(),
        event: OwnedEventId::try_from(event).unwrap(),
        sender: "@alice:example.org".try_into().unwrap(),
        sender_name: "Alice".to_owned(),
        sender_power: 0,
        sent_at,
        kind: RoomTextKind::Text,
        body: text.to_owned(),
        reply_to: None,
        thread: None,
        relay: None,
        suppress: false,
        in_clear: false,
    })))
}

/// Opens a ledger, and ignores its outcome.
fn open(tx: &Tx<'_>, config: &Config, now: Timestamp) -> Result<Ledger> {
    Ok(Ledger::open(tx, config, now)?.0)
}

/// A round of housekeeping `up` after the start.
fn round(up: Duration) -> Event {
    Event::Chore(Chore::Round(up))
}

/// Opens a ledger on the store, and commits the events.
pub(super) fn decide(store: &mut Store, config: &Config, events: &[Event]) -> Outcome {
    decide_at(store, config, events, NOON)
}

/// Opens a ledger on the store at this time, and commits the events.
pub(super) fn decide_at(
    store: &mut Store,
    config: &Config,
    events: &[Event],
    now: Timestamp,
) -> Outcome {
    let decided = store.transaction(|tx| {
        let mut ledger = open(tx, config, now)?;
        let mut outcome = Outcome::default();
        for event in events {
            ledger.event(tx, event, now, &mut outcome)?;
        }
        Ok(outcome)
    });
    decided.unwrap()
}

/// Submits the next packet to the radio.
pub(super) fn hand_to_radio(store: &mut Store, config: &Config, now: Timestamp) -> Submission {
    let queue = store.transaction(outbox_mesh::queues).unwrap()[0];
    let mut rules = MeshRules::of(&config.meshtastic);
    rules.order.spacing = Duration::ZERO;
    match mesh_worker::hand_over(store, queue, rules, now).unwrap() {
        Next::Due(submission) => submission,
        other => panic!("{other:?}"),
    }
}

pub(super) fn hello_of_node() -> Event {
    text_of_node(77, PacketId(5), "hello from afar", NOON)
}

pub(super) fn waits_for_mesh(store: &mut Store) -> bool {
    !store.transaction(outbox_mesh::queues).unwrap().is_empty()
}

#[test]
fn what_changes_nothing_does_not_wait_for_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("relay.sqlite")).unwrap();
    let ledger = store.transaction(|tx| open(tx, &config(), NOON)).unwrap();
    let ledger = Mutex::new(ledger);
    let written = || {
        let log = directory.path().join("relay.sqlite-wal");
        std::fs::metadata(log).unwrap().len()
    };
    let percent = 2.5;
    let nodes = vec![Node::unknown(NodeNum(7))];
    let reason = "encrypted";
    let events = [
        ready(|_| {}),
        Event::Radio(RadioEvent::Nodes(nodes)),
        Event::Radio(RadioEvent::ChannelUse { percent }),
        Event::Radio(RadioEvent::Ignored { reason }),
        round(Duration::from_secs(20)),
        hello_of_alice(),
    ];
    let mut commit = |events: &[Event]| {
        let before = written();
        Ledger::commit(&ledger, &mut store, events, NOON).unwrap();
        written() > before
    };
    assert!(commit(&events));
    for event in events {
        let name = event.name();
        assert!(!commit(&[event]), "{name}");
    }
}

#[test]
fn a_radio_is_news_when_it_comes_or_changes_and_not_for_another_look_at_it() {
    let mut ledger = Store::in_memory()
        .unwrap()
        .transaction(|tx| open(tx, &config(), NOON))
        .unwrap();
    let mut is_news = |event: &Event| {
        let actions = ledger.bridge.decide(event, &Facts::default(), NOON);
        let mut ready = actions.iter().filter_map(|action| match action {
            Action::Ready(readiness) => Some(readiness.is_news),
            _ => None,
        });
        ready.next()
    };
    let lost = Event::Radio(RadioEvent::Lost {
        kind: LossKind::Ended,
        cause: String::new(),
        hint: None,
    });
    assert_eq!(is_news(&ready(|_| {})), Some(true));
    assert_eq!(is_news(&ready(|_| {})), Some(false));
    let renamed = |profile: &mut RadioProfile| profile.channels[0].name = "Other".to_owned();
    assert_eq!(is_news(&ready(renamed)), Some(true));
    assert_eq!(is_news(&lost), None);
    assert_eq!(is_news(&ready(renamed)), Some(true));
}

#[test]
fn what_is_wrong_with_a_radio_is_news_once_for_as_long_as_it_lasts() {
    let mut config = config();
    config.matrix_rooms[0].meshtastic_channel = ChannelRef::Name("Rescue".to_owned());
    let mut ledger = Store::in_memory()
        .unwrap()
        .transaction(|tx| open(tx, &config, NOON))
        .unwrap();
    let mut news = |change: &dyn Fn(&mut RadioProfile)| {
        let actions = ledger
            .bridge
            .decide(&ready(change), &Facts::default(), NOON);
        let mut news = actions.iter().filter_map(|action| match action {
            Action::Ready(readiness) => Some(&readiness.news),
            _ => None,
        });
        let news = news.next().unwrap();
        (news.routes.len(), news.silence)
    };
    let no_region = |profile: &mut RadioProfile| profile.region_set = false;
    let off = |profile: &mut RadioProfile| profile.transmit_enabled = false;
    assert_eq!(news(&no_region), (1, Some(Refused::NoRegion)));
    assert_eq!(news(&no_region), (0, None));
    assert_eq!(news(&off), (0, Some(Refused::TransmitOff)));
    assert_eq!(news(&|_| {}), (0, None));
    assert_eq!(news(&off), (0, Some(Refused::TransmitOff)));
    let other = |profile: &mut RadioProfile| profile.channels[0].name = "Other".to_owned();
    assert_eq!(news(&other), (1, None), "it has other channels now");
}

#[test]
fn nothing_is_handed_to_a_radio_that_must_not_transmit() {
    let may_transmit = |config: &Config, change: &dyn Fn(&mut RadioProfile)| {
        let done = decide(&mut Store::in_memory().unwrap(), config, &[ready(change)]);
        done.may_transmit.unwrap()
    };
    assert!(may_transmit(&config(), &|_| {}));
    assert!(!may_transmit(&config(), &|profile| profile.region_set = false));
    assert!(!may_transmit(&config(), &|profile| profile
        .transmit_enabled =
        false));
    assert!(!may_transmit(&config(), &|profile| profile
        .own
        .is_licensed = true));
    let mut chosen = config();
    chosen.matrix.allowed_users = Some(vec!["@alice:example.org".parse().unwrap()]);
    assert!(may_transmit(&chosen, &|profile| profile.own.is_licensed = true));
    let after = |events: &[Event]| {
        let done = decide(&mut Store::in_memory().unwrap(), &config(), events);
        done.may_transmit
    };
    assert_eq!(after(&[joined()]), None);
    assert_eq!(after(&[ready(|_| {}), rerun::lost()]), Some(false));
    assert_eq!(after(&[rerun::lost(), ready(|_| {})]), Some(true));
}

fn text_of_node(sender: u32, packet: PacketId, text: &str, heard_at: Timestamp) -> Event {
    Event::Radio(RadioEvent::Text(Box::new(RadioText {
        sender: Node::unknown(NodeNum(sender)),
        packet,
        destination: Destination::Channel(ChannelIndex::PRIMARY),
        channel_name: "LongFast".to_owned(),
        fingerprint: Some(print_of("LongFast")),
        port: TextPort::Text,
        port_name: "TEXT_MESSAGE_APP".to_owned(),
        text: text.to_owned(),
        reply_to: None,
        is_reaction: false,
        heard_at,
        hops: None,
        relayed_by: None,
        snr: None,
        rssi: None,
        via_mqtt: false,
        ok_to_mqtt: false,
        replayed: true,
    })))
}

#[test]
fn a_spare_radio_doubles_nothing_that_the_one_before_it_relayed_or_sent() {
    let mut store = Store::in_memory().unwrap();
    let for_rooms = |store: &mut Store| store.transaction(outbox_room::count).unwrap();
    let alice = ready(|_| {});
    let from_bob = text_of_node(77, PacketId(5), "from bob", NOON);
    let again = text_of_alice("again", NOON);
    let events = [alice, joined(), hello_of_alice(), again, from_bob.clone()];
    decide(&mut store, &config(), &events);
    assert_eq!(for_rooms(&mut store), 1);
    let room = OwnedRoomId::try_from("!room:example.org").unwrap();
    let mut sent = |event: &str, was_accepted: bool| {
        let event = OwnedEventId::try_from(event).unwrap();
        let sent = hand_to_radio(&mut store, &config(), NOON);
        let packet = store.transaction(|tx| {
            assert_eq!(edits::versions(tx, &room, &event)?[0].row, sent.outbox);
            if was_accepted {
                mesh_report::accepted(tx, sent.outbox, NOON)?;
            }
            // Otherwise the link was lost before the radio's answer, and the other radio sends it again.
            mesh_report::recover(tx)?;
            Ok(sent.packet)
        });
        packet.unwrap()
    };
    let hello = sent("$hello:example.org", true);
    let again = sent("$again:example.org", false);

    let later = NOON + Duration::from_mins(20);
    let spare = ready(|profile| profile.own = Node::unknown(NodeNum(2)));
    let own = text_of_node(1, hello, "Alice[M]: hello", NOON);
    let perhaps = text_of_node(1, again, "Alice[M]: again", NOON);
    let by_spare = text_of_node(2, again, "Alice[M]: again", NOON);
    let typed = text_of_node(1, PacketId(6), "typed on the first radio", NOON);
    let events = [spare, joined(), from_bob, own, perhaps, by_spare];
    decide_at(&mut store, &config(), &events, later);
    assert_eq!(for_rooms(&mut store), 1);
    decide_at(&mut store, &config(), &[typed], later);
    assert_eq!(for_rooms(&mut store), 2);
}

#[test]
fn time_stamps_that_run_backwards_pass_no_limit() {
    for step in [Duration::from_millis(1), Duration::from_secs(20)] {
        let mut store = Store::in_memory().unwrap();
        let mut events = vec![ready(|_| {}), joined()];
        for number in 0..200 {
            let sent_at = NOON - step * number;
            events.push(text_of_alice(&format!("message {number}"), sent_at));
        }
        decide(&mut store, &config(), &events);
        let waiting = store.transaction(summary::to_mesh).unwrap();
        let accepted: u64 = waiting.iter().map(|it| it.count).sum();
        assert!(
            (20..40).contains(&accepted),
            "{accepted} in steps of {step:?}"
        );
    }
}

#[test]
fn a_restriction_ends_what_waited_before_it_was_set() {
    let restrictions: [fn(&mut Config); 4] = [
        |_| {},
        |config| config.meshtastic.broadcast_enabled = false,
        |config| config.matrix.ignored_users = vec!["@alice:*".parse().unwrap()],
        |config| config.matrix_rooms[0].direction = Direction::ToMatrix,
    ];
    for (number, restrict) in restrictions.into_iter().enumerate() {
        let mut store = Store::in_memory().unwrap();
        decide(&mut store, &config(), &[joined(), hello_of_alice()]);
        assert!(waits_for_mesh(&mut store));
        let mut restricted = config();
        restrict(&mut restricted);
        decide(&mut store, &restricted, &[]);
        assert_eq!(
            waits_for_mesh(&mut store),
            number == 0,
            "restriction {number}"
        );
    }
}

#[test]
fn each_picture_of_a_note_is_found_by_who_answers_it() {
    let mut store = Store::in_memory().unwrap();
    let names = ["$one:example.org", "$two:example.org"];
    let mut events = vec![joined()];
    for name in names {
        let mut picture = hello_of_alice();
        if let Event::Matrix(MatrixEvent::Text(text)) = &mut picture {
            text.event = OwnedEventId::try_from(name).unwrap();
            text.kind = RoomTextKind::Media { word: "image" };
            text.body = String::new();
        }
        events.push(picture);
    }
    decide(&mut store, &config(), &events);
    let packets = names.map(|name| {
        let event = OwnedEventId::try_from(name).unwrap();
        let pairs = store
            .transaction(|tx| message_map::by_event(tx, &event))
            .unwrap();
        pairs.iter().map(|pair| pair.packet).collect::<Vec<_>>()
    });
    assert_eq!(packets[0].len(), 1);
    assert_eq!(packets[0], packets[1]);
}

#[test]
fn an_event_is_decided_on_once_however_often_it_comes() {
    let mut store = Store::in_memory().unwrap();
    let events = [joined(), hello_of_alice(), hello_of_alice()];
    decide(&mut store, &config(), &events);
    decide(&mut store, &config(), &events);
    let waiting = store.transaction(summary::to_mesh).unwrap();
    assert_eq!(waiting.iter().map(|it| it.count).sum::<u64>(), 1);
}
