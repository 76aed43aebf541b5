//! Puts together what `relay status` tells, from what is known in memory and what the tables hold.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::config::{ChannelRef, Config, MappedRoom};
use crate::home::utc;
use crate::matrix::Heard;
use crate::model::{
    Channel, ChannelRole, JoinedRoom, OwnedRoomOrAliasId, RoomOrAliasId, Timestamp, told,
};
use crate::radio::Link;
use crate::store::mapped_rooms::FOLLOWED;
use crate::store::summary::{Summary, Waiting};

use super::counts::{Place, Tally, Way};
use super::live::{Facts, Session};
use super::room_trouble::Known;
use super::status::{
    ChannelStatus, DatabaseStatus, EchoStatus, LimitedStatus, MatrixState, MatrixStatus,
    OutboxStatus, ParkedStatus, RadioStatus, RoomStatus, RoomTroubleStatus, Status, Traffic, Waits,
};

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
        let summary = self.summary.as_ref().ok();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: utc((self.now - uptime).into()),
            uptime_seconds: uptime.as_secs(),
            radio: self.radio(),
            matrix: self.matrix(),
            database: self.database(),
            outbox: summary.map(|summary| OutboxStatus {
                to_matrix: self.waits(&summary.to_matrix, |_| true),
                to_mesh: self.waits(&summary.to_mesh, |_| true),
            }),
            rooms: self.rooms(),
            channels: self.channels(),
            elsewhere: self.elsewhere(),
            echoes: self.echoes(),
            undecryptable: summary.map(|summary| summary.undecryptable),
            direct_messages: summary.map(|summary| summary.direct_messages),
        }
    }

    fn radio(&self) -> RadioStatus {
        let radio = self.facts.radio.as_ref();
        let channel_use = self.facts.channel_use;
        RadioStatus {
            connection: self.config.meshtastic.connection.clone(),
            state: self.link.state,
            for_seconds: self.link.since.elapsed().as_secs(),
            cause: self.link.cause.clone(),
            restarts: self.link.restarts,
            node: radio.map(|radio| radio.node.clone()),
            name: radio.map(|radio| radio.name.clone()),
            firmware: radio.and_then(|radio| radio.firmware.clone()),
            channel_use_percent: channel_use.map(|(percent, _)| percent),
            channel_use_age_seconds: channel_use.map(|(_, at)| at.elapsed().as_secs()),
            silence: radio.and_then(|radio| radio.silence.clone()),
        }
    }

    fn matrix(&self) -> MatrixStatus {
        let failing = self.heard.failing.as_ref();
        let (state, cause) = match (&self.facts.session, failing, self.heard.answered) {
            (Session::None(cause), _, _) => (MatrixState::NoSession, Some(cause.clone())),
            (Session::Open { .. }, Some(failing), _) => {
                (MatrixState::Away, Some(failing.cause.clone()))
            }
            (Session::Open { .. }, None, Some(_)) => (MatrixState::Connected, None),
            (Session::Open { .. }, None, None) => (MatrixState::Connecting, None),
        };
        let (account, device, device_trust) = match &self.facts.session {
            Session::None(_) => (None, None, None),
            Session::Open {
                account,
                device,
                trust,
            } => (Some(account.clone()), Some(device.clone()), Some(*trust)),
        };
        let away = failing.filter(|_| state == MatrixState::Away);
        MatrixStatus {
            state,
            cause,
            hint: away.and_then(|failing| failing.disk).map(str::to_owned),
            away_seconds: away.map(|failing| failing.since.elapsed().as_secs()),
            sync_age_seconds: self.heard.answered.map(|at| at.elapsed().as_secs()),
            clock_ahead_seconds: self.heard.clock_ahead.map(seconds),
            dates_ahead_seconds: seconds(self.heard.dates_ahead),
            account,
            device,
            device_trust,
            limited: self.complaints.map(|(times, last)| LimitedStatus {
                times,
                last_seconds: last.elapsed().as_secs(),
            }),
            parked: self.parked(None),
        }
    }

    fn database(&self) -> DatabaseStatus {
        let trouble = self.facts.trouble.clone();
        let trouble = trouble.map(|(status, since)| DatabaseStatus {
            for_seconds: Some(since.elapsed().as_secs()),
            ..status
        });
        let unreadable = || self.summary.as_ref().err().cloned();
        trouble.or_else(unreadable).unwrap_or(DatabaseStatus {
            ok: true,
            ..DatabaseStatus::default()
        })
    }

    /// Returns the mapped rooms in the configuration's order, then the others that something was counted for.
    fn rooms(&self) -> Vec<RoomStatus> {
        let mut names: Vec<OwnedRoomOrAliasId> = Vec::new();
        let mapped = self.config.matrix_rooms.iter().map(|it| self.known(&it.id));
        let counted = self.facts.counts.places().filter_map(|place| match place {
            Place::Room(room) => Some(self.known(room)),
            Place::Channel(_) | Place::Direct | Place::Elsewhere => None,
        });
        // What waits is told, wherever it is for.
        let summary = self.summary.as_ref().ok();
        let waiting = summary.into_iter().flat_map(|summary| {
            let held = summary.held.iter().filter(|it| it.why != FOLLOWED);
            let held = held.map(|it| it.room.clone().into());
            let waiting = summary.to_matrix.iter().chain(&summary.to_mesh);
            held.chain(waiting.filter_map(|it| Some(self.known(it.room.as_ref()?))))
        });
        for name in mapped.chain(waiting).chain(counted) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.iter().map(|name| self.room(name)).collect()
    }

    fn room(&self, name: &RoomOrAliasId) -> RoomStatus {
        let joined = self.joined(name);
        let mapped = self.config.matrix_rooms.iter();
        let mapped: Vec<_> = mapped.filter(|it| *self.known(&it.id) == *name).collect();
        let channels = mapped.iter().map(|it| it.meshtastic_channel.to_string());
        let place = Place::Room(name.to_owned());
        let is_from = |waiting: &Waiting| waiting.room.as_deref() == Some(name);
        RoomStatus {
            room: name.to_string(),
            name: joined.map(|room| room.name.clone()),
            mapped: !mapped.is_empty(),
            joined: joined.is_some(),
            encrypted: joined.map(|room| room.encrypted),
            channels: channels.collect(),
            problems: self.problems(name),
            trouble: self.trouble(name, &mapped),
            parked: self.parked(Some(name)),
            missing: self.missing(name),
            to_matrix: self.traffic(&place, Way::ToMatrix, is_from),
            to_mesh: self.traffic(&place, Way::ToMesh, is_from),
        }
    }

    /// Returns what is wrong with the room's channels.
    fn problems(&self, room: &RoomOrAliasId) -> Vec<String> {
        let radio = self.facts.radio.iter();
        radio
            .flat_map(|radio| &radio.route_problems)
            .filter(|problem| *self.known(&problem.room) == *room)
            .map(|problem| told(problem))
            .collect()
    }

    /// Returns what keeps the room from doing its part.
    fn trouble(&self, room: &RoomOrAliasId, mapped: &[&MappedRoom]) -> Option<RoomTroubleStatus> {
        let summary = self.summary.as_ref().ok();
        let mut held = summary.into_iter().flat_map(|summary| &summary.held);
        let known = Known {
            held: held.find(|it| it.room.as_str() == room.as_str()),
            heard: mapped.iter().find_map(|it| self.heard.troubles.get(&it.id)),
            joined: self.joined(room),
            mapped: !mapped.is_empty(),
        };
        known.trouble()
    }

    fn channels(&self) -> Vec<ChannelStatus> {
        let radio = self.facts.radio.iter();
        let told: Vec<&Channel> = radio
            .flat_map(|radio| &radio.channels)
            .filter(|channel| channel.role != ChannelRole::Disabled)
            .collect();
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
            let goes_there = |waiting: &Waiting| {
                waiting
                    .destination
                    .is_some_and(|it| Place::from(it) == place)
            };
            let mut to_matrix = self.traffic(&place, Way::ToMatrix, |_| false);
            // A row for a room does not say which channel its message came from.
            to_matrix.outbox = None;
            ChannelStatus {
                channel: number,
                name: channel.map(|channel| channel.name.clone()),
                to_matrix,
                to_mesh: self.traffic(&place, Way::ToMesh, goes_there),
            }
        });
        channels.collect()
    }

    fn elsewhere(&self) -> BTreeMap<String, u64> {
        let mut counted = BTreeMap::new();
        for place in [Place::Direct, Place::Elsewhere] {
            for way in [Way::ToMatrix, Way::ToMesh] {
                for (reason, count) in self.facts.counts.of(&place, way).dropped {
                    *counted.entry(reason.to_owned()).or_default() += count;
                }
            }
        }
        counted
    }

    fn echoes(&self) -> Vec<EchoStatus> {
        let echoes = self.facts.counts.echoes().iter();
        let told = echoes.map(|(node, echoes)| EchoStatus {
            node: node.to_string(),
            name: echoes.name.clone(),
            count: echoes.count,
        });
        told.collect()
    }

    fn traffic(&self, place: &Place, way: Way, is_of: impl Fn(&Waiting) -> bool) -> Traffic {
        let Tally {
            relayed,
            expired,
            refused,
            dropped,
        } = self.facts.counts.of(place, way);
        let named = |counts: BTreeMap<&'static str, u64>| {
            let named = counts
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count));
            named.collect()
        };
        let waiting = self.summary.as_ref().ok().map(|summary| match way {
            Way::ToMatrix => &summary.to_matrix,
            Way::ToMesh => &summary.to_mesh,
        });
        Traffic {
            relayed,
            outbox: waiting.map(|waiting| self.waits(waiting, is_of)),
            expired,
            refused: named(refused),
            dropped: named(dropped),
        }
    }

    fn waits(&self, waiting: &[Waiting], is_of: impl Fn(&Waiting) -> bool) -> Waits {
        let of = || waiting.iter().filter(|waiting| is_of(waiting));
        let oldest = of().map(|waiting| waiting.oldest).min();
        Waits {
            waiting: of().map(|waiting| waiting.count).sum(),
            oldest_seconds: oldest.map(|oldest| self.now.since(oldest).as_secs()),
        }
    }

    fn parked(&self, room: Option<&RoomOrAliasId>) -> Option<ParkedStatus> {
        let parked = &self.summary.as_ref().ok()?.parked;
        let found = parked
            .iter()
            .find(|parked| parked.room.as_deref() == room)?;
        Some(ParkedStatus {
            reason: found.error.clone(),
            for_seconds: self.now.since(found.since).as_secs(),
        })
    }

    fn missing(&self, room: &RoomOrAliasId) -> Option<u64> {
        let missing = &self.summary.as_ref().ok()?.missing;
        let Session::Open { account, .. } = &self.facts.session else {
            return None;
        };
        let here = missing
            .iter()
            .filter(|it| it.account.as_str() == account && it.room.as_str() == room.as_str());
        Some(here.map(|it| it.stretches).sum())
    }

    /// Returns the id of the room that an alias stands for, as far as it is known.
    fn known(&self, name: &RoomOrAliasId) -> OwnedRoomOrAliasId {
        let names = &self.facts.names;
        names
            .get(name)
            .map_or_else(|| name.to_owned(), |room| room.clone().into())
    }

    fn joined(&self, room: &RoomOrAliasId) -> Option<&JoinedRoom> {
        let mut rooms = self.facts.rooms.values();
        rooms.find(|joined| joined.room.as_str() == room.as_str())
    }
}

/// Returns whole seconds: nobody reads a clock more exactly.
fn seconds(milliseconds: i64) -> i64 {
    milliseconds.saturating_add(milliseconds.signum() * 500) / 1000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bridge::{Refused, RouteProblem};
    use crate::config::{Connection, Direction, MappedRoom};
    use crate::daemon::live::{Live, RadioFacts};
    use crate::matrix::DeviceTrust;
    use crate::model::{ChannelIndex, Destination};
    use crate::radio::LinkState;
    use crate::store::gaps::Missing;
    use crate::store::outbox_room::Parked;

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
            node: "!00000001".to_owned(),
            name: "Hilltop".to_owned(),
            firmware: Some("2.7.26".to_owned()),
            channels: vec![Channel {
                index: club(),
                name: "club".to_owned(),
                role: ChannelRole::Secondary,
                fingerprint: None,
            }],
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
                since: Instant::now(),
                cause: None,
                has_own_cure: false,
                restarts: 2,
            },
            heard: Heard::default(),
            complaints: None,
            summary,
            now: NOON,
        };
        overview.status()
    }

    fn waiting(seconds: u64, destination: Option<Destination>) -> Waiting {
        Waiting {
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
        facts.session = Session::Open {
            account: "@relay:example.org".to_owned(),
            device: "DEVICE".to_owned(),
            trust: DeviceTrust::Verified,
        };
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
        radio.channels[0].role = ChannelRole::Disabled;
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
