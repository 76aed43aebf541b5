//! Puts together what `relay status` tells, from what is known in memory and what the tables hold.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::counts::{Place, Way, add_all};
use super::live::Facts;
use super::room_trouble::trouble_of;
use super::status::{
    ChannelStatus, DatabaseStatus, LimitedStatus, MatrixState, MatrixStatus, OutboxStatus,
    ParkedStatus, RadioStatus, RoomStatus, Status, Traffic, Waits,
};
use crate::home::utc;
use relay_config::{ChannelRef, Config};
use relay_matrix::Heard;
use relay_model::{ChannelRole, OwnedRoomOrAliasId, RoomOrAliasId, Timestamp, told};
use relay_radio::Link;
use relay_store::mapped_rooms::FOLLOWED;
use relay_store::summary::{Queued, Summary};

/// Everything that a status is made of.
pub(super) struct Overview<'a> {
    pub(super) config: &'a Config,
    pub(super) started: Instant,
    pub(super) facts: Facts,
    pub(super) link: Link,
    /// What was heard of the homeserver.
    pub(super) heard: Heard,
    /// How often the homeserver has wanted fewer events, and when last.
    pub(super) complaints: Option<(u64, Instant)>,
    /// What the tables hold; why not, if they cannot be read.
    pub(super) summary: Result<Summary, DatabaseStatus>,
    pub(super) now: Timestamp,
}

impl Overview<'_> {
    pub(super) fn status(&self) -> Status {
        let uptime = self.started.elapsed();
        let tables = self.tables();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: utc((self.now - uptime).into()),
            uptime_seconds: uptime.as_secs(),
            radio: self.radio(),
            matrix: self.matrix(),
            database: self.database(),
            outbox: tables.map(|tables| OutboxStatus {
                to_matrix: self.waits(&tables.to_matrix, |_| true),
                to_mesh: self.waits(&tables.to_mesh, |_| true),
            }),
            rooms: self.rooms(),
            channels: self.channels(),
            elsewhere: self.elsewhere(),
            echoes: self.facts.counts.echoes().values().cloned().collect(),
            undecryptable: tables.map(|tables| tables.undecryptable),
            direct_messages: tables.map(|tables| tables.direct_messages),
        }
    }

    fn tables(&self) -> Option<&Summary> {
        self.summary.as_ref().ok()
    }

    fn radio(&self) -> RadioStatus {
        let radio = self.facts.radio.as_ref();
        let profile = radio.map(|radio| &radio.profile);
        let channel_use = self.facts.channel_use;
        RadioStatus {
            connection: self.config.meshtastic.connection.clone(),
            state: self.link.state,
            for_seconds: age(self.link.since),
            cause: self.link.cause.clone(),
            hint: self.link.hint.clone(),
            restarts: self.link.restarts,
            node: profile.map(|it| it.own.num.to_string()),
            name: profile.map(|it| it.own.long()),
            firmware: profile.and_then(|it| it.told_firmware().map(str::to_owned)),
            channel_use_percent: channel_use.map(|(percent, _)| percent),
            channel_use_age_seconds: channel_use.map(|(_, at)| age(at)),
            silence: radio.and_then(|radio| radio.silence.clone()),
        }
    }

    fn matrix(&self) -> MatrixStatus {
        let session = self.facts.session.as_ref();
        let login = session.ok();
        let failing = login.and(self.heard.failing.as_ref());
        let state = match (login, failing, self.heard.answered) {
            (None, _, _) => MatrixState::NoSession,
            (Some(_), Some(_), _) => MatrixState::Away,
            (Some(_), None, Some(_)) => MatrixState::Connected,
            (Some(_), None, None) => MatrixState::Connecting,
        };
        let (cause, hint) = match session {
            Ok(_) => (
                failing.map(|it| it.cause.clone()),
                failing.and_then(|it| it.disk).map(str::to_owned),
            ),
            Err(none) => (Some(none.cause.clone()), none.hint.clone()),
        };
        MatrixStatus {
            state,
            cause,
            hint,
            away_seconds: failing.map(|it| age(it.since)),
            sync_age_seconds: self.heard.answered.map(age),
            clock_ahead_seconds: self.heard.clock_ahead.map(seconds),
            dates_ahead_seconds: seconds(self.heard.dates_ahead),
            account: login.map(|it| it.account.clone()),
            device: login.map(|it| it.device.clone()),
            device_trust: login.map(|it| it.trust),
            limited: self.complaints.map(|(times, last)| LimitedStatus {
                times,
                last_seconds: age(last),
            }),
            parked: self.parked(None),
        }
    }

    fn database(&self) -> DatabaseStatus {
        if let Some((trouble, since)) = &self.facts.trouble {
            return DatabaseStatus {
                for_seconds: Some(age(*since)),
                ..trouble.clone()
            };
        }
        let unreadable = self.summary.as_ref().err().cloned();
        unreadable.unwrap_or(DatabaseStatus {
            ok: true,
            ..DatabaseStatus::default()
        })
    }

    /// Returns the mapped rooms in the configuration's order, then the others that something was counted for.
    fn rooms(&self) -> Vec<RoomStatus> {
        let mut names: Vec<OwnedRoomOrAliasId> = Vec::new();
        let mapped = self.config.matrix_rooms.iter();
        let mapped = mapped.map(|it| self.facts.known(&it.id));
        let counted = self.facts.counts.places().filter_map(|place| match place {
            Place::Room(room) => Some(self.facts.known(room)),
            Place::Channel(_) | Place::Direct | Place::Elsewhere => None,
        });
        // What waits is told, wherever it is for.
        let waiting = self.tables().into_iter().flat_map(|tables| {
            let held = tables.held.iter().filter(|it| it.why != FOLLOWED);
            let held = held.map(|it| it.room.clone().into());
            let waiting = tables.to_matrix.iter().chain(&tables.to_mesh);
            held.chain(waiting.filter_map(|it| Some(self.facts.known(it.room.as_ref()?))))
        });
        for name in mapped.chain(waiting).chain(counted) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.iter().map(|name| self.room(name)).collect()
    }

    fn room(&self, name: &RoomOrAliasId) -> RoomStatus {
        let joined = self.facts.joined(name);
        let mapped = self.config.matrix_rooms.iter();
        let mapped: Vec<_> = mapped
            .filter(|it| *self.facts.known(&it.id) == *name)
            .collect();
        let channels = mapped.iter().map(|it| it.meshtastic_channel.to_string());
        let radio = self.facts.radio.iter();
        let problems = radio.flat_map(|radio| &radio.route_problems);
        let problems = problems.filter(|it| *self.facts.known(&it.room) == *name);
        let mut held = self.tables().into_iter().flat_map(|tables| &tables.held);
        let held = held.find(|it| it.room.as_str() == name.as_str());
        let heard = mapped.iter().find_map(|it| self.heard.troubles.get(&it.id));
        let place = Place::Room(name.to_owned());
        let is_from = |waiting: &Queued| waiting.room.as_deref() == Some(name);
        RoomStatus {
            room: name.to_string(),
            name: joined.map(|room| room.name.clone()),
            mapped: !mapped.is_empty(),
            joined: joined.is_some(),
            encrypted: joined.map(|room| room.encrypted),
            channels: channels.collect(),
            problems: problems.map(|it| told(it)).collect(),
            trouble: trouble_of(held, heard, joined, !mapped.is_empty()),
            parked: self.parked(Some(name)),
            missing: self.missing(name),
            to_matrix: self.traffic(&place, Way::ToMatrix, is_from),
            to_mesh: self.traffic(&place, Way::ToMesh, is_from),
        }
    }

    fn channels(&self) -> Vec<ChannelStatus> {
        let radio = self.facts.radio.iter();
        let told = radio.flat_map(|radio| &radio.profile.channels);
        let told: Vec<_> = told.filter(|it| it.role != ChannelRole::Disabled).collect();
        let mapped = self.config.matrix_rooms.iter();
        let mapped = mapped.filter_map(|it| match &it.meshtastic_channel {
            ChannelRef::Index(index) => Some(index.number()),
            ChannelRef::Name(name) => {
                let channel = told.iter().find(|channel| channel.name == *name)?;
                Some(channel.index.number())
            }
        });
        let counted = self.facts.counts.places().filter_map(|place| match place {
            Place::Channel(number) => Some(*number),
            Place::Room(_) | Place::Direct | Place::Elsewhere => None,
        });
        let numbers: BTreeSet<u8> = mapped.chain(counted).collect();
        let channels = numbers.into_iter().map(|number| {
            let place = Place::Channel(number);
            let channel = told.iter().find(|it| it.index.number() == number);
            let goes_there =
                |waiting: &Queued| waiting.destination.map(Place::from).as_ref() == Some(&place);
            ChannelStatus {
                channel: number,
                name: channel.map(|channel| channel.name.clone()),
                // Without what waits: a row for a room does not say which channel its message came from.
                to_matrix: self.facts.counts.of(&place, Way::ToMatrix),
                to_mesh: self.traffic(&place, Way::ToMesh, goes_there),
            }
        });
        channels.collect()
    }

    fn elsewhere(&self) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for place in [Place::Direct, Place::Elsewhere] {
            for way in [Way::ToMatrix, Way::ToMesh] {
                add_all(&mut counted, self.facts.counts.of(&place, way).dropped);
            }
        }
        counted
    }

    fn traffic(&self, place: &Place, way: Way, is_of: impl Fn(&Queued) -> bool) -> Traffic {
        let waiting = self.tables().map(|tables| match way {
            Way::ToMatrix => &tables.to_matrix,
            Way::ToMesh => &tables.to_mesh,
        });
        Traffic {
            outbox: waiting.map(|waiting| self.waits(waiting, is_of)),
            ..self.facts.counts.of(place, way)
        }
    }

    fn waits(&self, waiting: &[Queued], is_of: impl Fn(&Queued) -> bool) -> Waits {
        let of = || waiting.iter().filter(|waiting| is_of(waiting));
        let oldest = of().map(|waiting| waiting.oldest).min();
        Waits {
            waiting: of().map(|waiting| waiting.count).sum(),
            oldest_seconds: oldest.map(|oldest| self.now.since(oldest).as_secs()),
        }
    }

    fn parked(&self, room: Option<&RoomOrAliasId>) -> Option<ParkedStatus> {
        let mut parked = self.tables()?.parked.iter();
        let found = parked.find(|parked| parked.room.as_deref() == room)?;
        Some(ParkedStatus {
            reason: found.error.clone(),
            for_seconds: self.now.since(found.since).as_secs(),
        })
    }

    fn missing(&self, room: &RoomOrAliasId) -> Option<u64> {
        let login = self.facts.session.as_ref().ok()?;
        let missing = self.tables()?.missing.iter();
        let here = missing
            .filter(|it| it.account.as_str() == login.account && it.room.as_str() == room.as_str());
        Some(here.map(|it| it.stretches).sum())
    }
}

fn age(since: Instant) -> u64 {
    since.elapsed().as_secs()
}

/// Returns whole seconds: nobody reads a clock more exactly.
fn seconds(milliseconds: i64) -> i64 {
    milliseconds.saturating_add(milliseconds.signum() * 500) / 1000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::live::{Live, Login, RadioFacts};
    use relay_bridge::{Refused, RouteProblem};
    use relay_config::{Connection, Direction, MappedRoom};
    use relay_matrix::DeviceTrust;
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
        };
        let wire = Connection::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 4403,
        };
        Config::new(wire, vec![mapped])
    }

    fn facts(joined: bool) -> Facts {
        let mut facts = Live::new(BTreeMap::new()).facts();
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
            silence: None,
            route_problems: Vec::new(),
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

    fn status(facts: Facts, summary: Result<Summary, DatabaseStatus>) -> Status {
        let overview = Overview {
            config: &config(),
            started: Instant::now(),
            facts,
            link: Link {
                state: LinkState::Ready,
                heard: true,
                since: Instant::now(),
                cause: None,
                hint: None,
                restarts: 2,
            },
            heard: Heard::default(),
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
        facts.session = Ok(Login {
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
        radio.route_problems = vec![RouteProblem {
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
        assert_eq!(status.channels, []);
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
}
