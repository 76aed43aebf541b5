//! Routing: which rooms receive a channel, and on which channel a room transmits.

mod channel;

use std::collections::BTreeMap;

use super::{notice::Refused, policy::is_admin};
use relay_config::{ChannelRef, MappedRoom};
use relay_model::{
    Channel, ChannelIndex, ChannelRole, Explained, JoinedRoom, OwnedRoomId, OwnedRoomOrAliasId,
    RadioText, RoomId, RoomOrAliasId,
};

pub(super) use channel::Aim;
pub use channel::Spot;

/// The configured routes, resolved with what is known of rooms and channels.
#[derive(Debug, Clone, Default)]
pub(super) struct Routes {
    mapped: Vec<MappedRoom>,
    /// Configured names and the rooms that they stand for, from this run or an earlier one. An id stands for another room once
    /// that has taken its place.
    pub(super) known: BTreeMap<OwnedRoomOrAliasId, OwnedRoomId>,
    joined: BTreeMap<OwnedRoomId, JoinedRoom>,
    /// Replaced rooms, and the configured names of their successors.
    pub(super) heirs: BTreeMap<OwnedRoomId, OwnedRoomOrAliasId>,
    /// The radio's channels; empty until reported.
    channels: Vec<Channel>,
    /// The last name of each channel slot in use.
    names: BTreeMap<ChannelIndex, String>,
    /// The mapped channels whose name or key differed in the last report.
    pub(super) renamed: Vec<RenamedChannel>,
}

/// A channel mapped by index with a new name, or a mapped channel with a new key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("matrix_rooms[{entry}]: {}", self.words())]
pub struct RenamedChannel {
    /// Which entry of `matrix_rooms`, from 0.
    pub entry: usize,
    /// Slot of the channel, 0 to 7.
    pub index: ChannelIndex,
    /// Name that the slot had in the radio's last report.
    pub before: String,
    /// Its current name; unchanged if only the key is new.
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
    /// Room of that entry, as configured.
    pub room: OwnedRoomOrAliasId,
    /// Channel of that entry, as configured: slot or name.
    pub channel: ChannelRef,
    /// What is wrong with the channel.
    pub refused: Refused,
    /// Slots in use on the radio, with their names.
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
        let shown = |(index, name): &(ChannelIndex, String)| format!("{index} ({name})");
        let available: Vec<_> = self.available.iter().map(shown).collect();
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

    /// Stores a room that was joined or has changed.
    pub(super) fn join(&mut self, room: &JoinedRoom) {
        for name in &room.configured {
            self.known.insert(name.clone(), room.room.clone());
        }
        self.joined.insert(room.room.clone(), room.clone());
    }

    /// Returns the configured name of a room's successor.
    pub(super) fn heir(&self, room: &RoomOrAliasId) -> Option<&OwnedRoomOrAliasId> {
        self.heirs.get(<&RoomId>::try_from(room).ok()?)
    }

    /// Returns the rooms that a room has replaced, or is about to.
    pub(super) fn predecessors(&self, room: &RoomId) -> impl Iterator<Item = &OwnedRoomId> {
        let heirs = self.heirs.iter();
        let before = heirs.filter(move |(_, name)| self.stands_for(name, room.into()));
        before.map(|(old, _)| old)
    }

    /// Returns the configured rooms, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &OwnedRoomOrAliasId> {
        self.mapped.iter().map(|route| &route.id)
    }

    /// Returns the configured name of a room, by id or alias, which makes it a mapped one. Successors do not count.
    pub(super) fn name_of(&self, room: &RoomId) -> Option<&OwnedRoomOrAliasId> {
        let names = || {
            self.entries()
                .filter(|name| self.stands_for(name, room.into()))
        };
        let by_id = names().find(|name| name.as_str() == room.as_str());
        by_id.or_else(|| names().next())
    }

    /// Returns whether a configured name stands for this room, given by id or alias.
    pub(super) fn stands_for(&self, name: &RoomOrAliasId, room: &RoomOrAliasId) -> bool {
        self.named(name) == self.resolved(room)
    }

    /// Stores the radio's channels.
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
                // A missing channel is reported as another problem; a new one has no earlier name.
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
        match <&RoomId>::try_from(room) {
            Ok(id) => self.joined.get(id),
            Err(_) => self.joined.get(self.known.get(room)?),
        }
    }

    pub(super) fn is_same_room(&self, one: &RoomOrAliasId, other: &RoomOrAliasId) -> bool {
        self.resolved(one) == self.resolved(other)
    }

    /// Returns the room that a configured name stands for, or the name.
    fn named<'a>(&'a self, name: &'a RoomOrAliasId) -> &'a str {
        self.known.get(name).map_or(name.as_str(), |id| id.as_str())
    }

    /// Returns the id of a room given by id or alias, or the alias.
    fn resolved<'a>(&'a self, room: &'a RoomOrAliasId) -> &'a str {
        if room.is_room_id() {
            room.as_str()
        } else {
            self.named(room)
        }
    }

    /// Returns the rooms that receive a packet's channel, without duplicates, in configuration order.
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

    /// Returns the current room of a name: itself or its successor.
    fn current(&self, name: &RoomOrAliasId) -> OwnedRoomOrAliasId {
        let id = |name: &RoomOrAliasId| match self.known.get(name) {
            Some(id) => id.clone().into(),
            None => name.to_owned(),
        };
        let room: OwnedRoomOrAliasId = id(name);
        self.heir(&room)
            .map_or_else(|| room.clone(), |heir| id(heir))
    }

    /// Returns the mapped channels that the radio lacks, in configuration order.
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
