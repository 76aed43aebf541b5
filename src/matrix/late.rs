//! Events whose key has not come yet. They wait in memory, and are read when it comes.

use std::collections::HashMap;

use matrix_sdk::ruma::events::AnySyncTimelineEvent;
use matrix_sdk::ruma::serde::Raw;
use matrix_sdk_base::crypto::store::types::RoomKeyInfo;

use crate::model::{OwnedRoomId, RoomId};

/// Each is at most 64 KiB, normally one: what is beyond stays unread.
const MOST_EVENTS: usize = 1000;

type EncryptedEvent = Raw<AnySyncTimelineEvent>;

/// Undecryptable events, by room and session of their key.
#[derive(Debug, Default)]
pub(super) struct Late {
    waiting: HashMap<(OwnedRoomId, String), Vec<EncryptedEvent>>,
    count: usize,
}

impl Late {
    /// Keeps an event until its key comes.
    pub(super) fn keep(&mut self, room: &RoomId, session: &str, event: EncryptedEvent) {
        if self.count < MOST_EVENTS {
            self.count += 1;
            self.waiting
                .entry((room.to_owned(), session.to_owned()))
                .or_default()
                .push(event);
        }
    }

    /// Returns the events that these keys may open.
    pub(super) fn opened_by(&mut self, keys: &[RoomKeyInfo]) -> Vec<(OwnedRoomId, EncryptedEvent)> {
        let mut opened = Vec::new();
        for key in keys {
            let at = (key.room_id.clone(), key.session_id.clone());
            for event in self.waiting.remove(&at).unwrap_or_default() {
                self.count = self.count.saturating_sub(1);
                opened.push((key.room_id.clone(), event));
            }
        }
        opened
    }

    /// Returns everything that waits: some keys came unseen.
    pub(super) fn all(&mut self) -> Vec<(OwnedRoomId, EncryptedEvent)> {
        self.count = 0;
        self.waiting
            .drain()
            .flat_map(|((room, _), events)| events.into_iter().map(move |it| (room.clone(), it)))
            .collect()
    }
}
