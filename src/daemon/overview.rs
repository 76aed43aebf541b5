//! Composes `relay status` from the state in memory and a summary of the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::counts::{Place, Way, add_all};
use super::room_trouble::trouble_of;
use super::runtime_state::{LoginState, OTHER_CONCERNS, RuntimeFacts};
use super::status::{
    ChannelStatus, DatabaseStatus, LimitedStatus, MatrixState, MatrixStatus, NotShownStatus,
    OtherRelayStatus, OutboxStatus, ParkedStatus, PutBackStatus, RadioStatus, RoomStatus, Status,
    Traffic, Waits,
};
use crate::home::utc;
use relay_bridge::RouteProblem;
use relay_config::{ChannelRef, Config, Recipients};
use relay_matrix::{DeviceTrust, HomeserverState};
use relay_model::{ChannelRole, Explained as _, OwnedRoomOrAliasId, RoomOrAliasId, Timestamp};
use relay_radio::Link;
use relay_store::summary::{Queued, Summary};

/// The cure of a mapped channel that the radio does not have.
const CORRECT: &str = "correct matrix_rooms, or the radio's channels; other rooms are not affected";
/// The cure of a parked room.
const OWN_WORDS: &str = "the homeserver's own words say what to change; the relay tries again";
/// The cure of a parked encrypted room while the bot's device is not verified.
const VERIFY: &str = "with `matrix.e2ee.recipients: verified` the bot's own device must be verified: run `relay auth status`";

/// How long it is told that the homeserver's database was put back.
const PUT_BACK_CONCERNS: Duration = Duration::from_hours(24);

/// All that is known of a running daemon at one time, from which its status is made.
pub(super) struct Overview<'a> {
    pub(super) config: &'a Config,
    pub(super) started: Instant,
    /// The time of `now`, by the monotonic clock.
    pub(super) at: Instant,
    pub(super) facts: RuntimeFacts,
    pub(super) link: Link,
    pub(super) heard: HomeserverState,
    /// Number of 429 answers, and the time of the last.
    pub(super) complaints: Option<(u64, Instant)>,
    pub(super) summary: Result<Summary, DatabaseStatus>,
    pub(super) now: Timestamp,
}

impl Overview<'_> {
    pub(super) fn status(&self) -> Status {
        let uptime = self.at - self.started;
        let tables = self.tables();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: utc((self.now - uptime).into()),
            uptime_seconds: uptime.as_secs(),
            configuration: self.facts.configuration.clone(),
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

    fn age(&self, since: Instant) -> u64 {
        self.at.saturating_duration_since(since).as_secs()
    }

    fn tables(&self) -> Option<&Summary> {
        self.summary.as_ref().ok()
    }

    fn radio(&self) -> RadioStatus {
        let radio = self.facts.radio.as_ref();
        let profile = radio.map(|radio| &radio.profile);
        let channel_use = self.facts.channel_use;
        let silence = radio.and_then(|radio| radio.problems.silence);
        RadioStatus {
            connection: self.config.meshtastic.connection.clone(),
            state: self.link.state,
            for_seconds: self.age(self.link.since),
            cause: self.link.cause.clone(),
            hint: self.link.hint.clone(),
            restarts: self.link.restarts,
            node: profile.map(|it| it.own.num.to_string()),
            name: profile.map(|it| it.own.long()),
            firmware: profile.and_then(|it| it.told_firmware().map(str::to_owned)),
            region: profile.and_then(|it| it.setup.region.clone()),
            channel_use_percent: channel_use.map(|(percent, _)| percent),
            channel_use_age_seconds: channel_use.map(|(_, at)| self.age(at)),
            silence: silence.map(|it| it.to_string()),
            silence_hint: silence.and_then(|it| it.hint()),
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
                failing.and_then(|it| it.disk?.hint()),
            ),
            Err(none) => (Some(none.cause.clone()), none.hint.clone()),
        };
        MatrixStatus {
            state,
            cause,
            hint,
            away_seconds: failing.map(|it| self.age(it.since)),
            sync_age_seconds: self.heard.answered.map(|at| self.age(at)),
            clock_ahead_seconds: self.heard.clock_ahead.map(seconds),
            dates_ahead_seconds: seconds(self.heard.dates_ahead),
            account: login.map(|it| it.account.clone()),
            device: login.map(|it| it.device.clone()),
            device_trust: login.map(|it| it.trust),
            limited: self.complaints.map(|(times, last)| LimitedStatus {
                times,
                last_seconds: self.age(last),
            }),
            not_shown: self.not_shown(),
            other_relays: self.other_relays(),
            put_back: self.put_back(),
            parked: self.parked(None),
        }
    }

    fn not_shown(&self) -> Option<NotShownStatus> {
        let why = self.heard.not_shown.as_ref()?;
        let (cause, hint) = (why.to_string(), why.hint());
        Some(NotShownStatus { cause, hint })
    }

    fn put_back(&self) -> Option<PutBackStatus> {
        let (events, at) = self.heard.put_back?;
        let last_seconds = self.age(at);
        (last_seconds < PUT_BACK_CONCERNS.as_secs()).then_some(PutBackStatus {
            events,
            last_seconds,
        })
    }

    fn other_relays(&self) -> Vec<OtherRelayStatus> {
        let others = self
            .facts
            .others
            .iter()
            .map(|(other, (room, at))| OtherRelayStatus {
                kind: other.name().to_owned(),
                room: room.to_string(),
                last_seconds: self.age(*at),
                text: other.to_string(),
                hint: other.hint().unwrap_or_default(),
            });
        others
            .filter(|it| it.last_seconds < OTHER_CONCERNS.as_secs())
            .collect()
    }

    fn database(&self) -> DatabaseStatus {
        if let Some((trouble, since)) = &self.facts.trouble {
            return DatabaseStatus {
                for_seconds: Some(self.age(*since)),
                ..trouble.clone()
            };
        }
        let unreadable = self.summary.as_ref().err().cloned();
        unreadable.unwrap_or(DatabaseStatus {
            ok: true,
            ..DatabaseStatus::default()
        })
    }

    /// Returns the mapped rooms in the configuration's order, then others with rows that wait, then others with a count.
    fn rooms(&self) -> Vec<RoomStatus> {
        let mut names: Vec<OwnedRoomOrAliasId> = Vec::new();
        let mapped = self.config.matrix_rooms.iter();
        let mapped = mapped.map(|it| self.facts.known(&it.id));
        let counted = self.facts.counts.places().filter_map(|place| match place {
            Place::Room(room) => Some(self.facts.room_of(room)),
            Place::Channel(_) | Place::Direct | Place::Elsewhere => None,
        });
        let waiting = self.tables().into_iter().flat_map(|tables| {
            let held = tables.held.iter().filter(|it| it.why.is_some());
            let held = held.map(|it| it.room.clone().into());
            let waiting = tables.to_matrix.iter().chain(&tables.to_mesh);
            held.chain(waiting.filter_map(|it| Some(self.facts.room_of(it.room.as_ref()?))))
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
        let mut configured: Vec<String> = mapped.iter().map(|it| it.id.to_string()).collect();
        configured.dedup();
        let radio = self.facts.radio.iter();
        let problems = radio.flat_map(|radio| &radio.problems.routes);
        let problems: Vec<_> = problems
            .filter(|it| *self.facts.known(&it.room) == *name)
            .collect();
        let mut held = self.tables().into_iter().flat_map(|tables| &tables.held);
        let held = held.find(|it| it.room.as_str() == name.as_str());
        let heard = mapped.iter().find_map(|it| self.heard.troubles.get(&it.id));
        let place = Place::Room(name.to_owned());
        let is_from = |waiting: &Queued| waiting.room.as_deref() == Some(name);
        RoomStatus {
            room: name.to_string(),
            name: joined.map(|room| room.name.clone()),
            configured,
            mapped: !mapped.is_empty(),
            joined: joined.is_some(),
            encrypted: joined.map(|room| room.encrypted),
            channels: channels.collect(),
            problems: problems.iter().map(ToString::to_string).collect(),
            hint: problems.first().map(|it| route_cure(it)),
            trouble: trouble_of(held, heard, joined, !mapped.is_empty()),
            parked: self.parked(Some(name)),
            missing: self.missing(name),
            to_matrix: self.traffic(&place, Way::ToMatrix, is_from),
            to_mesh: self.traffic(&place, Way::ToMesh, is_from),
        }
    }

    fn channels(&self) -> Vec<ChannelStatus> {
        let radio = self.facts.radio.iter();
        let reported = radio.flat_map(|radio| &radio.profile.channels);
        let reported: Vec<_> = reported
            .filter(|it| it.role != ChannelRole::Disabled)
            .collect();
        let mapped = self.config.matrix_rooms.iter();
        let mapped = mapped.filter_map(|it| match &it.meshtastic_channel {
            ChannelRef::Index(index) => Some(index.number()),
            ChannelRef::Name(name) => {
                let channel = reported.iter().find(|channel| channel.name == *name)?;
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
            let channel = reported.iter().find(|it| it.index.number() == number);
            let goes_there =
                |waiting: &Queued| waiting.destination.map(Place::from).as_ref() == Some(&place);
            ChannelStatus {
                channel: number,
                name: channel.map(|channel| channel.name.clone()),
                // Without the outbox: a row for a room does not say from which channel its message came.
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
        let room = room.and_then(|room| self.facts.joined(room));
        let is_trusted = |login: &LoginState| login.trust == DeviceTrust::Verified;
        let is_barred = room.is_some_and(|room| room.encrypted)
            && self.config.matrix.e2ee.recipients == Recipients::Verified
            && !self.facts.session.as_ref().is_ok_and(is_trusted);
        Some(ParkedStatus {
            reason: found.error.clone(),
            hint: Some(if is_barred { VERIFY } else { OWN_WORDS }.to_owned()),
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

/// Returns what a person can do about a mapped channel that cannot be used.
pub(crate) fn route_cure(problem: &RouteProblem) -> String {
    problem.hint().unwrap_or_else(|| CORRECT.to_owned())
}

fn seconds(milliseconds: i64) -> i64 {
    milliseconds.saturating_add(milliseconds.signum() * 500) / 1000
}

#[cfg(test)]
mod tests;
