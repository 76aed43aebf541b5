use std::time::Duration;

use super::*;
use crate::daemon::runtime_state::{RadioFacts, RuntimeState};
use relay_bridge::{RadioProblems, Refused};
use relay_config::{Connection, Direction, MappedRoom};
use relay_model::{
    Channel, ChannelIndex, Destination, JoinedRoom, Node, NodeNum, RadioProfile, RadioSetup,
};
use relay_radio::LinkState;
use relay_store::gaps::Missing;
use relay_store::outbox_room::Parked;

const NOON: Timestamp = Timestamp(1_767_225_600_000);
const ROOM: &str = "!room:example.org";
const ALIAS: &str = "#hilltop:example.org";

fn room(name: &str) -> OwnedRoomOrAliasId {
    name.try_into().unwrap()
}

fn club() -> ChannelIndex {
    ChannelIndex::try_from(2).unwrap()
}

fn config() -> Config {
    let mapped = MappedRoom {
        id: room(ALIAS),
        via: Vec::new(),
        meshtastic_channel: ChannelRef::Name("club".to_owned()),
        direction: Direction::Both,
        appearance: relay_config::Appearance::default(),
    };
    let wire = Connection::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 4403,
    };
    Config::new(wire, vec![mapped])
}

fn facts(joined: bool) -> RuntimeFacts {
    let mut facts = RuntimeState::new(BTreeMap::new()).facts();
    facts.radio = Some(RadioFacts {
        profile: Box::new(RadioProfile {
            own: Node {
                long_name: Some("Hilltop".to_owned()),
                ..Node::unknown(NodeNum(1))
            },
            firmware: "2.7.26".to_owned(),
            channels: vec![Channel {
                index: club(),
                name: "club".to_owned(),
                role: ChannelRole::Secondary,
                fingerprint: None,
            }],
            hop_limit: 3,
            region_set: true,
            transmit_enabled: true,
            reboot_count: 0,
            locked: false,
            setup: RadioSetup::default(),
        }),
        problems: RadioProblems::default(),
    });
    if joined {
        let joined = JoinedRoom {
            room: ROOM.try_into().unwrap(),
            configured: vec![room(ALIAS)],
            name: "Hilltop".to_owned(),
            own_name: "Relay".to_owned(),
            encrypted: true,
            public: false,
            may_mention_room: false,
            may_react: true,
            may_write: true,
            tombstone: None,
            predecessor: None,
        };
        facts.names.insert(room(ALIAS), joined.room.clone());
        facts.rooms.insert(joined.room.clone(), joined);
    }
    facts
}

fn status(facts: RuntimeFacts, summary: Result<Summary, DatabaseStatus>) -> Status {
    status_of(&config(), facts, summary)
}

fn status_of(
    config: &Config,
    facts: RuntimeFacts,
    summary: Result<Summary, DatabaseStatus>,
) -> Status {
    let overview = Overview {
        config,
        started: Instant::now(),
        at: Instant::now(),
        facts,
        link: Link {
            state: LinkState::Ready,
            heard: true,
            since: Instant::now(),
            cause: None,
            hint: None,
            restarts: 2,
        },
        heard: HomeserverState::default(),
        complaints: None,
        summary,
        now: NOON,
    };
    overview.status()
}

fn waiting(seconds: u64, destination: Option<Destination>) -> Queued {
    Queued {
        room: Some(room(ROOM)),
        destination,
        count: 3,
        oldest: NOON - Duration::from_secs(seconds),
    }
}

fn missing(account: &str, stretches: u64) -> Missing {
    Missing {
        account: account.try_into().unwrap(),
        room: ROOM.try_into().unwrap(),
        stretches,
    }
}

#[test]
fn a_room_that_is_mapped_by_its_alias_is_told_once_under_its_id() {
    let mut facts = facts(true);
    let on_club = Destination::Channel(club());
    facts.counts.relayed(room(ROOM), on_club, Way::ToMatrix);
    let summary = Summary {
        to_matrix: vec![waiting(7, None)],
        to_mesh: vec![waiting(9, Some(on_club))],
        parked: vec![Parked {
            room: Some(room(ROOM)),
            error: "M_FORBIDDEN".to_owned(),
            since: NOON - Duration::from_secs(5),
        }],
        missing: vec![
            missing("@relay:example.org", 2),
            missing("@old:example.org", 4),
        ],
        ..Summary::default()
    };
    facts.session = Ok(LoginState {
        account: "@relay:example.org".to_owned(),
        device: "DEVICE".to_owned(),
        trust: DeviceTrust::Verified,
    });
    let status = status(facts, Ok(summary));
    assert_eq!(status.rooms.len(), 1);
    let told = &status.rooms[0];
    assert_eq!(
        (told.room.as_str(), told.mapped, told.joined),
        (ROOM, true, true)
    );
    assert_eq!(told.channels, ["club"]);
    assert_eq!(told.to_matrix.relayed, 1);
    let waits = |oldest| {
        Some(Waits {
            waiting: 3,
            oldest_seconds: Some(oldest),
        })
    };
    assert_eq!(told.to_matrix.outbox, waits(7));
    assert_eq!(told.to_mesh.outbox, waits(9));
    assert_eq!(told.parked.as_ref().unwrap().for_seconds, 5);
    assert_eq!(told.missing, Some(2));
    assert_eq!(status.channels.len(), 1);
    assert_eq!(status.channels[0].channel, 2);
    assert_eq!(status.channels[0].to_matrix.relayed, 1);
    assert_eq!(status.channels[0].to_mesh.outbox, waits(9));
}

#[test]
fn a_room_that_is_not_joined_is_told_as_it_is_configured() {
    let status = status(facts(false), Ok(Summary::default()));
    assert_eq!(status.rooms[0].room, ALIAS);
    assert!(status.rooms[0].mapped && !status.rooms[0].joined);
}

#[test]
fn a_room_whose_channel_is_gone_from_the_radio_tells_the_problem() {
    let mut facts = facts(true);
    let radio = facts.radio.as_mut().unwrap();
    radio.profile.channels[0].role = ChannelRole::Disabled;
    radio.problems.routes = vec![RouteProblem {
        entry: 0,
        room: room(ALIAS),
        channel: ChannelRef::Name("club".to_owned()),
        refused: Refused::NoChannel,
        available: Vec::new(),
    }];
    let status = status(facts, Ok(Summary::default()));
    assert_eq!(
        status.rooms[0].problems,
        ["matrix_rooms[0]: the radio has no channel named `club`; it has none"]
    );
    assert_eq!(status.rooms[0].hint.as_deref(), Some(CORRECT));
    assert_eq!(status.channels, []);
}

#[test]
fn a_cure_stands_beside_what_it_helps_against_and_not_in_its_sentence() {
    let mut facts = facts(true);
    let radio = facts.radio.as_mut().unwrap();
    radio.problems.silence = Some(Refused::NoRegion);
    radio.problems.routes = vec![RouteProblem {
        entry: 0,
        room: room(ALIAS),
        channel: ChannelRef::Name("admin".to_owned()),
        refused: Refused::AdminChannel,
        available: Vec::new(),
    }];
    let parked = |room| Parked {
        room,
        error: "no".to_owned(),
        since: NOON,
    };
    let summary = || {
        Ok(Summary {
            parked: vec![parked(Some(room(ROOM))), parked(None)],
            ..Summary::default()
        })
    };
    let status = status(facts.clone(), summary());
    let cure = status.radio.silence_hint.unwrap();
    assert!(!status.radio.silence.unwrap().contains(&cure), "{cure}");
    assert_eq!(status.rooms[0].hint.as_deref(), Some("map another channel"));
    assert!(!status.rooms[0].problems[0].contains("map another"));
    let hint = |it: Option<ParkedStatus>| it.unwrap().hint.unwrap();
    assert_eq!(hint(status.rooms[0].parked.clone()), OWN_WORDS);
    let mut config = config();
    config.matrix.e2ee.recipients = Recipients::Verified;
    for (trust, cure) in [
        (DeviceTrust::Unverified, VERIFY),
        (DeviceTrust::Verified, OWN_WORDS),
    ] {
        facts.session = Ok(LoginState {
            account: "@relay:example.org".to_owned(),
            device: "DEVICE".to_owned(),
            trust,
        });
        let status = status_of(&config, facts.clone(), summary());
        assert_eq!(hint(status.rooms[0].parked.clone()), cure);
        assert_eq!(hint(status.matrix.parked), OWN_WORDS);
    }
}

#[test]
fn without_an_answer_of_the_database_the_rest_is_told() {
    let unreadable = DatabaseStatus {
        ok: false,
        error: Some("it did not answer".to_owned()),
        hint: None,
        for_seconds: None,
    };
    let status = status(facts(true), Err(unreadable.clone()));
    assert_eq!(status.database, unreadable);
    assert_eq!((status.outbox, status.undecryptable), (None, None));
    assert_eq!(status.rooms[0].to_mesh.outbox, None);
    assert_eq!(status.radio.name.as_deref(), Some("Hilltop"));
    assert_eq!(status.radio.restarts, 2);
}
