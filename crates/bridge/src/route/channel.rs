//! On which channel a room transmits, and where its messages go when the radio's channels move. A channel is identified by its
//! fingerprint, not its slot: a message for one channel is never sent on another.

use std::collections::BTreeSet;

use super::Routes;
use crate::{dropped::DropReason, notice::Refused, policy::is_admin};
use relay_config::{ChannelRef, MappedRoom};
use relay_model::{
    Channel, ChannelIndex, ChannelRole, Destination, Fingerprint, OwnedRoomOrAliasId, RoomId,
    RoomOrAliasId,
};

/// The channel that a room's message is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// The room's first channel.
    Room,
    /// The slot where it already waits: waiting rows follow their channel.
    Waiting(ChannelIndex),
    /// The channel of another message.
    Channel(Spot),
}

/// A channel: its slot, now or earlier, and its fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Slot in which the channel is, or was when the message was sent.
    pub slot: ChannelIndex,
    /// Fingerprint of the channel; `None` if not known, as for what earlier versions stored.
    pub channel: Option<Fingerprint>,
}

impl Spot {
    /// Returns the spot of a destination; `None` for a direct message.
    pub(crate) fn of(destination: Destination, channel: Option<Fingerprint>) -> Option<Self> {
        match destination {
            Destination::Channel(slot) => Some(Self { slot, channel }),
            Destination::Direct(_) => None,
        }
    }

    /// Placeholder for a message whose channel is not known.
    pub(crate) const UNKNOWN: Self = Self {
        slot: ChannelIndex::PRIMARY,
        channel: None,
    };
}

impl Routes {
    /// Returns the channel for a room's message.
    pub(crate) fn channel_of(&self, room: &RoomId, aim: Aim) -> Result<Spot, DropReason> {
        if !self.is_mapped(room) {
            return Err(DropReason::UnmappedRoom);
        }
        let speaking = self.of_room(room.into());
        let speaking: Vec<_> = speaking.filter(|it| it.direction.to_mesh()).collect();
        let Some(first) = speaking.first() else {
            return Err(DropReason::OneWayRoom);
        };
        let first = slot_of(&first.meshtastic_channel, &self.channels);
        let spot = match aim {
            Aim::Room => first.map(|slot| spot(slot, &self.channels)),
            Aim::Waiting(slot) => {
                let waiting = spot(slot, &self.channels);
                if self.named_in(slot, &speaking).is_some() {
                    Ok(waiting)
                } else {
                    Err(first.err().unwrap_or(out_of_reach(waiting, &self.channels)))
                }
            }
            Aim::Channel(target) => self.spot_of(target, room, &speaking, first),
        };
        spot.map_err(DropReason::Refused)
    }

    /// Returns the current slot of another message's channel, if the room transmits there.
    fn spot_of(
        &self,
        target: Spot,
        room: &RoomId,
        speaking: &[&MappedRoom],
        first: Result<ChannelIndex, Refused>,
    ) -> Result<Spot, Refused> {
        if target.channel.is_none() {
            return if self.has_one_channel(room.into()) {
                first.map(|slot| spot(slot, &self.channels))
            } else {
                Err(Refused::ChannelForgotten)
            };
        }
        if let Some(slot) = place_of(target, speaking, &self.channels) {
            return Ok(Spot { slot, ..target });
        }
        let first = first?;
        if are_told(&self.channels) {
            return Err(out_of_reach(target, &self.channels));
        }
        // It waits, and is moved once the radio has reported its channels.
        let is_named = self.named_in(target.slot, speaking).is_some();
        let slot = if is_named { target.slot } else { first };
        Ok(Spot { slot, ..target })
    }

    /// Returns the entry mapped to a slot of the current radio.
    fn named_in<'a>(
        &self,
        slot: ChannelIndex,
        entries: &[&'a MappedRoom],
    ) -> Option<&'a MappedRoom> {
        let is_it =
            |entry: &&&MappedRoom| slot_of(&entry.meshtastic_channel, &self.channels) == Ok(slot);
        entries.iter().find(is_it).copied()
    }

    /// Returns whether a room is mapped to a single channel.
    pub(crate) fn has_one_channel(&self, room: &RoomOrAliasId) -> bool {
        let routes = self.of_room(room).map(|it| &it.meshtastic_channel);
        let routes: Vec<&ChannelRef> = routes.collect();
        let named = |mapped| in_use(&self.channels).filter(move |it| names(mapped, it));
        let channels = routes.iter().flat_map(|mapped| named(mapped));
        let channels: BTreeSet<ChannelIndex> = channels.map(|it| it.index).collect();
        match channels.len() {
            0 => routes.iter().all(|other| routes.first() == Some(other)),
            1 => routes.iter().all(|mapped| named(mapped).next().is_some()),
            _ => false,
        }
    }

    /// Returns where a room's waiting packet goes with these channels of the radio: to its own channel, if the room transmits
    /// there. If no configured entry names its slot any more, it goes to the room's first channel, unless it is `bound`. A
    /// packet without a known fingerprint follows the entry of its slot or, before the room's entries are known, the channel's
    /// name.
    pub(crate) fn moved(
        &self,
        room: &RoomId,
        from: Spot,
        bound: bool,
        channels: &[Channel],
    ) -> Result<Spot, Refused> {
        let heir = self.heirs.get(room);
        let is_of_room =
            |name: &OwnedRoomOrAliasId| self.named(name) == room.as_str() || heir == Some(name);
        let speaking: Vec<&MappedRoom> = self
            .mapped
            .iter()
            .filter(|route| route.direction.to_mesh() && is_of_room(&route.id))
            .collect();
        let is_known = from.channel.is_some() && are_told(channels);
        let Some(first) = speaking.first() else {
            return if is_known {
                let place = in_use(channels).find(|it| it.fingerprint == from.channel);
                place
                    .map(|it| spot(it.index, channels))
                    .ok_or(Refused::ChannelGone)
            } else {
                self.moved_by_name(from, channels)
            };
        };
        if let Some(slot) = place_of(from, &speaking, channels) {
            return Ok(Spot { slot, ..from });
        }
        match self.named_in(from.slot, &speaking) {
            Some(route) => {
                let to = spot_named(&route.meshtastic_channel, channels)?;
                if is_known {
                    Err(out_of_reach(from, channels))
                } else {
                    Ok(to)
                }
            }
            None if bound => Err(out_of_reach(from, channels)),
            None => spot_named(&first.meshtastic_channel, channels),
        }
    }

    fn moved_by_name(&self, from: Spot, channels: &[Channel]) -> Result<Spot, Refused> {
        match self.channels.iter().find(|it| it.index == from.slot) {
            Some(channel) => spot_named(&ChannelRef::Name(channel.name.clone()), channels),
            None => Ok(spot(from.slot, channels)),
        }
    }
}

/// Returns a channel's slot among these, if one of the entries names it; the earlier slot first, as several slots can hold the
/// same channel.
fn place_of(of: Spot, entries: &[&MappedRoom], channels: &[Channel]) -> Option<ChannelIndex> {
    let same = || {
        in_use(channels).filter(|it| {
            of.channel.is_some()
                && it.fingerprint == of.channel
                && !is_admin(&it.name)
                && entries
                    .iter()
                    .any(|entry| names(&entry.meshtastic_channel, it))
        })
    };
    let found = same()
        .find(|it| it.index == of.slot)
        .or_else(|| same().next());
    found.map(|it| it.index)
}

/// Returns why a channel that none of the room's entries names is refused: the radio lacks it, or the room does not transmit
/// there.
fn out_of_reach(of: Spot, channels: &[Channel]) -> Refused {
    let is_there = |it: &Channel| of.channel.is_some() && it.fingerprint == of.channel;
    if in_use(channels).any(is_there) {
        Refused::ChannelNotSpoken
    } else {
        Refused::ChannelGone
    }
}

/// Returns whether fingerprints are known: earlier versions did not store them.
fn are_told(channels: &[Channel]) -> bool {
    channels.iter().any(|it| it.fingerprint.is_some())
}

fn spot(slot: ChannelIndex, channels: &[Channel]) -> Spot {
    let channel = channels.iter().find(|it| it.index == slot);
    Spot {
        slot,
        channel: channel.and_then(|it| it.fingerprint),
    }
}

/// Returns the spot of an entry's channel among these.
fn spot_named(mapped: &ChannelRef, channels: &[Channel]) -> Result<Spot, Refused> {
    slot_of(mapped, channels).map(|slot| spot(slot, channels))
}

pub(super) fn in_use(channels: &[Channel]) -> impl Iterator<Item = &Channel> {
    let channels = channels.iter();
    channels.filter(|it| it.role != ChannelRole::Disabled)
}

/// Returns the slot of a channel name, if no channel of that name has kept its fingerprint.
pub(super) fn slot_with_another_key(
    name: &str,
    before: &[Channel],
    now: &[Channel],
) -> Option<ChannelIndex> {
    let of_name = |channels| {
        in_use(channels).filter(|it: &&Channel| it.name == name && it.fingerprint.is_some())
    };
    let was_there = of_name(before).next().is_some();
    let is_known = |it: &&Channel| of_name(before).any(|other| other.fingerprint == it.fingerprint);
    let first = of_name(now).next().filter(|_| was_there)?;
    (!of_name(now).any(|it| is_known(&it))).then_some(first.index)
}

fn names(mapped: &ChannelRef, channel: &Channel) -> bool {
    match mapped {
        ChannelRef::Index(index) => channel.index == *index,
        ChannelRef::Name(name) => channel.name == *name,
    }
}

/// Returns the slot of a mapped channel. Before a radio is known, an index stands for itself.
pub(super) fn slot_of(mapped: &ChannelRef, channels: &[Channel]) -> Result<ChannelIndex, Refused> {
    if channels.is_empty() {
        return match mapped {
            ChannelRef::Index(index) => Ok(*index),
            ChannelRef::Name(name) if is_admin(name) => Err(Refused::AdminChannel),
            ChannelRef::Name(_) => Err(Refused::ChannelsUnknown),
        };
    }
    match in_use(channels).find(|it| names(mapped, it)) {
        Some(channel) if is_admin(&channel.name) => Err(Refused::AdminChannel),
        Some(channel) => Ok(channel.index),
        None => Err(Refused::NoChannel),
    }
}

#[cfg(test)]
mod tests;
