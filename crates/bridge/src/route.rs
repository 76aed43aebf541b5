//! Channel to room and back: which rooms hear a channel, and on which channel a room speaks.

mod channel;

use std::collections::BTreeMap;

use super::notice::Refused;
use super::policy::is_admin;
use relay_config::{ChannelRef, MappedRoom};
use relay_model::{
    Channel, ChannelIndex, ChannelRole, Explained, JoinedRoom, OwnedRoomId, OwnedRoomOrAliasId,
    RadioText, RoomId, RoomOrAliasId,
};

pub(super) use channel::Aim;
pub use channel::Spot;

/// The routes of the configuration, followed through what is known of rooms and channels.
#[derive(Debug, Clone, Default)]
pub(super) struct Routes {
    mapped: Vec<MappedRoom>,
    /// Names of the configuration, and the rooms that they stand for, or stood for in an earlier run.
    pub(super) known: BTreeMap<OwnedRoomOrAliasId, OwnedRoomId>,
    joined: BTreeMap<OwnedRoomId, JoinedRoom>,
    /// Rooms whose place others take, and the names that the configuration has for those.
    pub(super) heirs: BTreeMap<OwnedRoomId, OwnedRoomOrAliasId>,
    /// The radio's channels; empty until one has told them.
    channels: Vec<Channel>,
    /// The name that each channel had when it was in use last.
    names: BTreeMap<ChannelIndex, String>,
    /// The mapped channels that had another name or key until they were told last.
    pub(super) renamed: Vec<RenamedChannel>,
}

/// A channel mapped by its number that has another name than before, or a mapped one that has another key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("matrix_rooms[{entry}]: {}", self.words())]
pub struct RenamedChannel {
    /// Which entry of `matrix_rooms`, from 0.
    pub entry: usize,
    /// Its number.
    pub index: ChannelIndex,
    /// Its name before.
    pub before: String,
    /// Its name now; as before if it has another key.
    pub now: String,
}

impl RenamedChannel {
    fn words(&self) -> String {
        let Self {
            index, before, now, ..
        } = self;
        if before == now {
            format!(
                "channel {index} (`{now}`) has another key than before: its room goes on with it, and what answers older \
                 messages is refused"
            )
        } else {
            format!("channel {index} was `{before}` and is `{now}` now: its room goes on with it")
        }
    }
}

impl Explained for RenamedChannel {
    fn hint(&self) -> Option<String> {
        let hint = "to stay with a channel wherever it is, map it by its name";
        (self.before != self.now).then(|| hint.to_owned())
    }
}

/// A mapped channel that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("matrix_rooms[{entry}]: {}", self.words())]
pub struct RouteProblem {
    /// Which entry of `matrix_rooms`, from 0.
    pub entry: usize,
    /// Its room.
    pub room: OwnedRoomOrAliasId,
    /// Its channel.
    pub channel: ChannelRef,
    /// Why.
    pub refused: Refused,
    /// The channels that the radio has: number and name.
    pub available: Vec<(ChannelIndex, String)>,
}

impl RouteProblem {
    fn words(&self) -> String {
        let channel = &self.channel;
        let missing = match channel {
            _ if self.refused == Refused::AdminChannel => {
                return format!("channel {channel} is named `admin` and is never relayed");
            }
            ChannelRef::Index(index) => format!("channel {index} is not in use on the radio"),
            ChannelRef::Name(name) => format!("the radio has no channel named `{name}`"),
        };
        let told = |(index, name): &(ChannelIndex, String)| format!("{index} ({name})");
        let available: Vec<_> = self.available.iter().map(told).collect();
        match available.as_slice() {
            [] => format!("{missing}; it has none"),
            some => format!("{missing}; it has {}", some.join(", ")),
        }
    }
}

impl Explained for RouteProblem {
    fn hint(&self) -> Option<String> {
        (self.refused == Refused::AdminChannel).then(|| "map another channel".to_owned())
    }
}

impl Routes {
    pub(super) fn new(mapped: Vec<MappedRoom>) -> Self {
        Self {
            mapped,
            ..Self::default()
        }
    }

    /// Takes note of a room that is joined, or has changed.
    pub(super) fn join(&mut self, room: &JoinedRoom) {
        for name in &room.configured {
            self.known.insert(name.clone(), room.room.clone());
        }
        self.joined.insert(room.room.clone(), room.clone());
    }

    /// Returns under which name the configuration has the room that takes the place of this one.
    pub(super) fn heir(&self, room: &RoomOrAliasId) -> Option<&OwnedRoomOrAliasId> {
        self.heirs.get(<&RoomId>::try_from(room).ok()?)
    }

    /// Returns the rooms whose place a room has taken, or is about to take.
    pub(super) fn predecessors(&self, room: &RoomId) -> impl Iterator<Item = &OwnedRoomId> {
        let heirs = self.heirs.iter();
        let before = heirs.filter(move |(_, name)| self.stands_for(name, room.into()));
        before.map(|(old, _)| old)
    }

    /// Returns the names of the rooms in the configuration, in its order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &OwnedRoomOrAliasId> {
        self.mapped.iter().map(|route| &route.id)
    }

    /// Returns under which name the configuration has a room, not counting the one that takes its place: its id, or an alias.
    /// That is what makes it a mapped one.
    pub(super) fn name_of(&self, room: &RoomId) -> Option<&OwnedRoomOrAliasId> {
        let by_id = self.entries().find(|name| name.as_str() == room.as_str());
        by_id.or_else(|| {
            self.entries()
                .find(|name| self.stands_for(name, room.into()))
        })
    }

    /// Returns whether a name is that of this room, or is known to stand for it.
    pub(super) fn stands_for(&self, name: &RoomOrAliasId, room: &RoomOrAliasId) -> bool {
        name == room || self.resolved(name) == room.as_str()
    }

    /// Takes note of the radio's channels.
    pub(super) fn follow(&mut self, channels: Vec<Channel>) {
        let names = channel::in_use(&channels).map(|it| (it.index, it.name.clone()));
        let names: BTreeMap<_, _> = names.collect();
        let mapped = self.mapped.iter().enumerate();
        self.renamed = mapped
            .filter_map(|(entry, route)| {
                let index = match &route.meshtastic_channel {
                    ChannelRef::Index(index) => *index,
                    ChannelRef::Name(name) => {
                        channel::slot_with_another_key(name, &self.channels, &channels)?
                    }
                };
                // One that is gone is another problem, and one that is new has no name before.
                let now = names.get(&index)?;
                let before = match &route.meshtastic_channel {
                    ChannelRef::Index(_) => self.names.get(&index)?,
                    ChannelRef::Name(_) => now,
                };
                let rekeyed = || {
                    let slot = channel::slot_with_another_key(now, &self.channels, &channels);
                    slot == Some(index)
                };
                (before != now || rekeyed()).then(|| RenamedChannel {
                    entry,
                    index,
                    before: before.clone(),
                    now: now.clone(),
                })
            })
            .collect();
        self.names.extend(names);
        self.channels = channels;
    }

    pub(super) fn primary_name(&self) -> Option<&str> {
        let mut channels = self.channels.iter();
        let primary = channels.find(|it| it.role == ChannelRole::Primary)?;
        Some(primary.name.as_str())
    }

    pub(super) fn joined(&self, room: &RoomOrAliasId) -> Option<&JoinedRoom> {
        match self.known.get(room) {
            Some(id) => self.joined.get(id),
            None => self.joined.get(<&RoomId>::try_from(room).ok()?),
        }
    }

    pub(super) fn is_same_room(&self, one: &RoomOrAliasId, other: &RoomOrAliasId) -> bool {
        self.resolved(one) == self.resolved(other)
    }

    fn resolved<'a>(&'a self, room: &'a RoomOrAliasId) -> &'a str {
        self.known.get(room).map_or(room.as_str(), |id| id.as_str())
    }

    /// Returns the rooms that hear a packet's channel, each once, in the order of the configuration.
    pub(super) fn rooms_of(
        &self,
        packet: &RadioText,
        index: ChannelIndex,
    ) -> Vec<OwnedRoomOrAliasId> {
        let mut rooms: Vec<OwnedRoomOrAliasId> = Vec::new();
        for route in &self.mapped {
            let heard = route.direction.to_matrix()
                && match &route.meshtastic_channel {
                    ChannelRef::Index(mapped) => *mapped == index,
                    ChannelRef::Name(name) => *name == packet.channel_name,
                };
            let room = self.current(&route.id);
            if heard && !rooms.contains(&room) {
                rooms.push(room);
            }
        }
        rooms
    }

    pub(super) fn is_mapped(&self, room: &RoomId) -> bool {
        self.of_room(room.into()).next().is_some()
    }

    fn of_room(&self, room: &RoomOrAliasId) -> impl Iterator<Item = &MappedRoom> {
        let room = self.current(room);
        let mapped = self.mapped.iter();
        mapped.filter(move |route| self.current(&route.id) == room)
    }

    /// Returns the room that a name or a room stands for now: itself, or the one that takes its place.
    fn current(&self, name: &RoomOrAliasId) -> OwnedRoomOrAliasId {
        let id = |name: &RoomOrAliasId| match self.known.get(name) {
            Some(id) => id.clone().into(),
            None => name.to_owned(),
        };
        let room: OwnedRoomOrAliasId = id(name);
        self.heir(&room)
            .map_or_else(|| room.clone(), |heir| id(heir))
    }

    /// Returns the mapped channels that the radio does not have, in the order of the configuration.
    pub(super) fn problems(&self) -> Vec<RouteProblem> {
        if self.channels.is_empty() {
            return Vec::new();
        }
        let usable = channel::in_use(&self.channels).filter(|it| !is_admin(&it.name));
        let available: Vec<_> = usable.map(|it| (it.index, it.name.clone())).collect();
        let mapped = self.mapped.iter().enumerate();
        mapped
            .filter_map(|(entry, route)| {
                let refused = channel::slot_of(&route.meshtastic_channel, &self.channels).err()?;
                Some(RouteProblem {
                    entry,
                    room: route.id.clone(),
                    channel: route.meshtastic_channel.clone(),
                    refused,
                    available: available.clone(),
                })
            })
            .collect()
    }
}
