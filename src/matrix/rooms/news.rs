//! What is known of a room and of the people in it, as far as it matters to the relay.

use std::time::Duration;

use matrix_sdk::ruma::events::MessageLikeEventType;
use matrix_sdk::ruma::events::room::power_levels::UserPowerLevel;
use matrix_sdk::{Room, RoomState};
use tokio::time::timeout;
use tracing::{debug, error};

use super::{Rooms, tombstone};
use crate::matrix::events::{SenderFacts, cut, display_name};
use crate::model::{JoinedRoom, OwnedUserId};

/// For the name of somebody who is mentioned, nobody's message waits longer.
const LONGEST_WAIT_FOR_MEMBERS: Duration = Duration::from_secs(10);

impl Rooms {
    /// Returns what there is to tell of a room, if it is read, usable, and not told before as it is now.
    pub(in crate::matrix) async fn news(&self, room: &Room) -> Option<JoinedRoom> {
        let id = room.room_id();
        if room.state() != RoomState::Joined || !self.is_read(room) {
            return None;
        }
        let tombstone = tombstone(room);
        if tombstone.is_some() && self.is_news(format!("replaced {id}")) {
            // An alias may stand for the successor now.
            self.retry.notify_one();
        }
        if self.is_refused(room) {
            if self.is_news(format!("refused {id}")) {
                error!(
                    room = %id,
                    "this room is encrypted and `matrix.e2ee.enabled` is false: nothing is relayed; set it to true or map another room"
                );
                self.retry.notify_one();
            }
            return None;
        }
        let encrypted = room.latest_encryption_state().await.ok()?.is_encrypted();
        let name = match room.display_name().await {
            Ok(name) => name.to_string(),
            Err(_) => id.to_string(),
        };
        let own_name = self.name_of(room, &self.own).await;
        let levels = room.power_levels_or_default().await;
        let may_send = |kind| levels.user_can_send_message(&self.own, kind);
        let now = JoinedRoom {
            room: id.to_owned(),
            configured: self.names_of(id),
            name: cut(&name, 256).to_owned(),
            own_name,
            encrypted,
            public: room.is_public().unwrap_or(false),
            may_mention_room: levels.user_can_trigger_room_notification(&self.own),
            may_write: may_send(if encrypted {
                MessageLikeEventType::RoomEncrypted
            } else {
                MessageLikeEventType::RoomMessage
            }),
            may_react: may_send(MessageLikeEventType::Reaction)
                && levels.user_can_redact_own_event(&self.own),
            tombstone,
            predecessor: room.predecessor_room().map(|it| it.room_id),
        };
        // What waits for a room where we might not speak is tried again when we may.
        let told = (now.clone(), may_send(MessageLikeEventType::RoomMessage));
        let before = self.known().announced.insert(id.to_owned(), told.clone());
        (before != Some(told)).then_some(now)
    }

    /// Returns the name to call a member by, without asking the server.
    pub(in crate::matrix) async fn name_of(&self, room: &Room, user: &OwnedUserId) -> String {
        let member = room.get_member_no_sync(user).await.ok().flatten();
        display_name(member.as_ref().and_then(|it| it.display_name()), user)
    }

    /// Returns the name to call somebody by who may never have said anything here. The server is asked at most once for each
    /// room, for all of its members.
    pub(in crate::matrix) async fn name_of_mentioned(
        &self,
        room: &Room,
        user: &OwnedUserId,
    ) -> String {
        let known = room.get_member_no_sync(user).await;
        if !matches!(known, Ok(Some(_))) {
            let known = match timeout(LONGEST_WAIT_FOR_MEMBERS, room.sync_members()).await {
                Ok(known) => known.map_err(|error| error.to_string()),
                Err(late) => Err(late.to_string()),
            };
            if let Err(error) = known {
                debug!(room = %room.room_id(), error, "the members of the room are not known");
            }
        }
        self.name_of(room, user).await
    }

    /// Returns the name and power of a member, without asking the server.
    pub(in crate::matrix) async fn sender_facts(
        &self,
        room: &Room,
        user: &OwnedUserId,
    ) -> SenderFacts {
        let name = self.name_of(room, user).await;
        let levels = room.power_levels_or_default().await;
        let power = match levels.for_user(user) {
            UserPowerLevel::Int(level) => level.into(),
            // A creator of a version 12 room is above every number.
            _ => i64::MAX,
        };
        SenderFacts { name, power }
    }
}
