//! Channel to room and back: which rooms hear a channel, and on which channel a room speaks.

use std::collections::BTreeMap;
use std::fmt;

use super::dropped::DropReason;
use super::notice::Refused;
use super::policy::is_admin;
use crate::config::{ChannelRef, MappedRoom};
use crate::model::{
    Channel, ChannelIndex, ChannelRole, JoinedRoom, OwnedRoomId, OwnedRoomOrAliasId, RadioText,
    RoomId, RoomOrAliasId,
};

/// The routes of the configuration, followed through what is known of rooms and channels.
#[derive(Debug)]
pub(super) struct Routes {
    mapped: Vec<MappedRoom>,
    /// Names of the configuration, and the rooms that they stand for.
    known: BTreeMap<OwnedRoomOrAliasId, OwnedRoomId>,
    /// The same in an earlier run.
    remembered: BTreeMap<OwnedRoomOrAliasId, OwnedRoomId>,
    joined: BTreeMap<OwnedRoomId, JoinedRoom>,
    /// Rooms whose place others take, and the names that the configuration has for those.
    heirs: BTreeMap<OwnedRoomOrAliasId, OwnedRoomOrAliasId>,
    /// The radio's channels; empty until one has told them.
    channels: Vec<Channel>,
    /// The name that each channel had when it was in use last.
    names: BTreeMap<ChannelIndex, String>,
    renamed: Vec<RenamedChannel>,
}

/// A channel mapped by its number that has another name than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenamedChannel {
    /// Which entry of `matrix_rooms`, from 0.
    pub entry: usize,
    /// Its number.
    pub index: ChannelIndex,
    /// Its name before.
    pub before: String,
    /// Its name now.
    pub now: String,
}

impl fmt::Display for RenamedChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            entry,
            index,
            before,
            now,
        } = self;
        write!(
            f,
            "matrix_rooms[{entry}]: channel {index} was `{before}` and is `{now}` now: its room goes on with it; to stay \
             with a channel wherever it is, map it by its name"
        )
    }
}

/// A mapped channel that cannot be used, with the cure.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl fmt::Display for RouteProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, channel, .. } = self;
        write!(f, "matrix_rooms[{entry}]: ")?;
        match (self.refused, channel) {
            (Refused::AdminChannel, _) => {
                return write!(
                    f,
                    "channel {channel} is named `admin` and is never relayed; map another channel"
                );
            }
            (_, ChannelRef::Index(index)) => {
                write!(f, "channel {index} is not in use on the radio")?;
            }
            (_, ChannelRef::Name(name)) => write!(f, "the radio has no channel named `{name}`")?,
        }
        f.write_str("; it has ")?;
        for (position, (index, name)) in self.available.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{index} ({name})")?;
        }
        if self.available.is_empty() {
            f.write_str("none")?;
        }
        Ok(())
    }
}

impl Routes {
    pub(super) fn new(mapped: Vec<MappedRoom>) -> Self {
        Self {
            mapped,
            known: BTreeMap::new(),
            remembered: BTreeMap::new(),
            joined: BTreeMap::new(),
            heirs: BTreeMap::new(),
            channels: Vec::new(),
            names: BTreeMap::new(),
            renamed: Vec::new(),
        }
    }

    /// Takes note of a room that is joined, or has changed.
    pub(super) fn join(&mut self, room: &JoinedRoom) {
        for name in &room.configured {
            self.known.insert(name.clone(), room.room.clone());
        }
        self.joined.insert(room.room.clone(), room.clone());
    }

    /// Takes note of the room that an alias stands for.
    pub(super) fn alias(&mut self, alias: &OwnedRoomOrAliasId, room: &OwnedRoomId) {
        self.known.insert(alias.clone(), room.clone());
    }

    /// Takes note of the rooms whose place others take, with the names of those.
    pub(super) fn succeed(&mut self, heirs: BTreeMap<OwnedRoomId, OwnedRoomOrAliasId>) {
        self.heirs = heirs
            .into_iter()
            .map(|(room, name)| (room.into(), name))
            .collect();
    }

    /// Takes note of the room that a name stood for in an earlier run.
    pub(super) fn remember(&mut self, name: OwnedRoomOrAliasId, room: OwnedRoomId) {
        self.remembered.insert(name, room);
    }

    /// Takes note of the radio's channels.
    pub(super) fn follow(&mut self, channels: Vec<Channel>) {
        let names: BTreeMap<_, _> = channels
            .iter()
            .filter(|it| it.role != ChannelRole::Disabled)
            .map(|it| (it.index, it.name.clone()))
            .collect();
        let mapped = self.mapped.iter().enumerate();
        self.renamed = mapped
            .filter_map(|(entry, route)| {
                let ChannelRef::Index(index) = route.meshtastic_channel else {
                    return None;
                };
                // One that is gone is another problem, and one that is new has no name before.
                let before = self.names.get(&index)?;
                let now = names.get(&index)?;
                (before != now).then(|| RenamedChannel {
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

    /// Returns the channels mapped by number that had another name until they were told last.
    pub(super) fn renamed(&self) -> &[RenamedChannel] {
        &self.renamed
    }

    /// Returns the name of the primary channel, if known.
    pub(super) fn primary_name(&self) -> Option<&str> {
        let primary = self
            .channels
            .iter()
            .find(|it| it.role == ChannelRole::Primary)?;
        Some(primary.name.as_str())
    }

    /// Returns what is known of a room.
    pub(super) fn joined(&self, room: &RoomOrAliasId) -> Option<&JoinedRoom> {
        match self.known.get(room) {
            Some(id) => self.joined.get(id),
            None => self
                .joined
                .iter()
                .find(|(id, _)| id.as_str() == room.as_str())
                .map(|(_, joined)| joined),
        }
    }

    /// Returns whether two names stand for the same room.
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

    /// Returns whether a room is mapped at all.
    pub(super) fn is_mapped(&self, room: &RoomId) -> bool {
        self.of_room(room).next().is_some()
    }

    /// Returns the channel on which a room speaks: its target's channel, if that is one of the room's, else the first listed.
    pub(super) fn channel_of(
        &self,
        room: &RoomId,
        target: Option<ChannelIndex>,
    ) -> Result<ChannelIndex, DropReason> {
        if !self.is_mapped(room) {
            return Err(DropReason::UnmappedRoom);
        }
        let mut speaking = self
            .of_room(room)
            .filter(|route| route.direction.to_mesh())
            .peekable();
        let Some(first) = speaking.peek().copied() else {
            return Err(DropReason::OneWayRoom);
        };
        let of_target = speaking.find_map(|route| {
            let channel = self.channel(&route.meshtastic_channel).ok()?;
            (Some(channel) == target).then_some(channel)
        });
        match of_target {
            Some(channel) => Ok(channel),
            None => self
                .channel(&first.meshtastic_channel)
                .map_err(DropReason::Refused),
        }
    }

    /// Returns where what a room has waiting for a slot goes once the radio has these channels: it follows the entry that
    /// named the slot. If the configuration has no such entry any more, it goes where the room speaks now; if it is not
    /// known yet which entries are the room's, to the channel of the same name.
    pub(super) fn moved(
        &self,
        room: &RoomId,
        slot: ChannelIndex,
        channels: &[Channel],
    ) -> Result<ChannelIndex, Refused> {
        let heir = self.heirs.get(<&RoomOrAliasId>::from(room));
        let is_of_room = |name: &OwnedRoomOrAliasId| {
            let known = self.known.get(name).or_else(|| self.remembered.get(name));
            let is_it = known.map_or(name.as_str(), |id| id.as_str()) == room.as_str();
            is_it || heir == Some(name)
        };
        let mut speaking = self
            .mapped
            .iter()
            .filter(|route| route.direction.to_mesh() && is_of_room(&route.id))
            .peekable();
        if let Some(first) = speaking.peek().copied() {
            let followed = speaking
                .find(|route| slot_of(&route.meshtastic_channel, &self.channels) == Ok(slot));
            return slot_of(&followed.unwrap_or(first).meshtastic_channel, channels);
        }
        match self.channels.iter().find(|it| it.index == slot) {
            Some(channel) => slot_of(&ChannelRef::Name(channel.name.clone()), channels),
            None => Ok(slot),
        }
    }

    fn of_room(&self, room: &RoomId) -> impl Iterator<Item = &MappedRoom> {
        let room = self.current(room.into());
        self.mapped
            .iter()
            .filter(move |route| self.current(&route.id) == room)
    }

    /// Returns the room that a name or a room stands for now: itself, or the one that takes its place.
    fn current(&self, name: &RoomOrAliasId) -> OwnedRoomOrAliasId {
        let id = |name: &RoomOrAliasId| match self.known.get(name) {
            Some(id) => id.clone().into(),
            None => name.to_owned(),
        };
        let room: OwnedRoomOrAliasId = id(name);
        self.heirs.get(&room).map_or(room, |heir| id(heir))
    }

    /// Returns the slot of a channel as it is now.
    fn channel(&self, mapped: &ChannelRef) -> Result<ChannelIndex, Refused> {
        slot_of(mapped, &self.channels)
    }

    /// Returns the mapped channels that the radio does not have, in the order of the configuration.
    pub(super) fn problems(&self) -> Vec<RouteProblem> {
        if self.channels.is_empty() {
            return Vec::new();
        }
        let available: Vec<_> = self
            .channels
            .iter()
            .filter(|it| it.role != ChannelRole::Disabled && !is_admin(&it.name))
            .map(|it| (it.index, it.name.clone()))
            .collect();
        let mapped = self.mapped.iter().enumerate();
        mapped
            .filter_map(|(entry, route)| {
                let refused = self.channel(&route.meshtastic_channel).err()?;
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

/// Returns the slot of a channel among a radio's. With no radio known yet, a number stands for itself.
fn slot_of(mapped: &ChannelRef, channels: &[Channel]) -> Result<ChannelIndex, Refused> {
    if channels.is_empty() {
        return match mapped {
            ChannelRef::Index(index) => Ok(*index),
            ChannelRef::Name(name) if is_admin(name) => Err(Refused::AdminChannel),
            ChannelRef::Name(_) => Err(Refused::ChannelsUnknown),
        };
    }
    let mut in_use = channels
        .iter()
        .filter(|it| it.role != ChannelRole::Disabled);
    let found = in_use.find(|it| match mapped {
        ChannelRef::Index(index) => it.index == *index,
        ChannelRef::Name(name) => it.name == *name,
    });
    match found {
        Some(channel) if is_admin(&channel.name) => Err(Refused::AdminChannel),
        Some(channel) => Ok(channel.index),
        None => Err(Refused::NoChannel),
    }
}
