//! What is checked of everything that a room sends to the mesh: event, room, sender, radio and limits.

use std::time::Duration;

use crate::route::{Aim, Spot};
use crate::{Bridge, dropped::DropReason, facts::Facts, notice::Refused, policy};
use relay_model::{MeshSource, OwnedRoomId, RoomText, Timestamp, UserId};

/// Maximum number of a room's messages waiting for the mesh, and of its reactions.
const MOST_WAITING: u64 = 1000;

impl Bridge {
    /// Checks that apply to every event of a room, whoever sent it.
    pub(crate) fn check_event(
        &self,
        source: &MeshSource,
        suppress: bool,
        facts: &Facts,
    ) -> Result<(), DropReason> {
        if facts.already_seen {
            Err(DropReason::Duplicate)
        } else if self.own_user.as_ref() == Some(&source.sender) {
            Err(DropReason::OwnEvent)
        } else if suppress {
            Err(DropReason::Suppressed)
        } else if !self.routes.is_mapped(&source.room) {
            Err(DropReason::UnmappedRoom)
        } else if policy::is_ignored_user(&self.config, &source.sender) {
            Err(DropReason::IgnoredUser)
        } else {
            Ok(())
        }
    }

    /// Checks that words came encrypted, where the configuration wants it. Reactions never are.
    pub(super) fn check_shelter(&self, text: &RoomText) -> Result<(), DropReason> {
        if text.in_clear && self.config.matrix.e2ee.require {
            return Err(DropReason::InClear);
        }
        Ok(())
    }

    /// Returns why nothing goes from a room to the mesh, regardless of the radio's channels.
    pub(crate) fn check_room(&self, room: &OwnedRoomId) -> Result<(), DropReason> {
        if !self.routes.is_mapped(room) {
            return Err(DropReason::UnmappedRoom);
        }
        if !self.config.meshtastic.broadcast_enabled {
            return Err(DropReason::BroadcastOff);
        }
        match self.routes.channel_of(room, Aim::Room) {
            Ok(_) | Err(DropReason::Refused(_)) => Ok(()),
            Err(reason) => Err(reason),
        }
    }

    /// Checks whether anything of this sender goes from this room to the mesh.
    pub(crate) fn check_right(
        &self,
        room: &OwnedRoomId,
        sender: &UserId,
        power: i64,
    ) -> Result<(), DropReason> {
        self.check_room(room)?;
        policy::check_sender(&self.config, sender, power)
    }

    /// Checks whether an event with this time to live can be transmitted, and returns its channel.
    pub(super) fn check_sending(
        &self,
        source: &MeshSource,
        age: Duration,
        aim: Aim,
        facts: &Facts,
        now: Timestamp,
    ) -> Result<Spot, DropReason> {
        if now.since(source.sent_at) > age {
            return Err(DropReason::TooOld);
        }
        policy::check_radio(&self.config, self.profile.as_deref())?;
        if facts.waiting_for_mesh >= MOST_WAITING {
            return Err(Refused::QueueFull.into());
        }
        self.routes.channel_of(&source.room, aim)
    }

    pub(super) fn check_limit(&self, packets: u8, facts: &Facts) -> Result<(), Refused> {
        let limit = self.config.matrix.sender_limit;
        let more = u32::from(packets);
        let (minute, hour) = facts.sender_sent;
        if minute.saturating_add(more) > limit.per_minute
            || hour.saturating_add(more) > limit.per_hour
        {
            return Err(Refused::SenderLimit);
        }
        Ok(())
    }
}
