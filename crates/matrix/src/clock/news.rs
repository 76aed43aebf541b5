//! Where history ends.

use std::collections::HashSet;

use super::{OurClocks, ServerClock};
use relay_model::{OwnedRoomId, RoomId, Timestamp};

/// Where what was said before the start is history.
#[derive(Debug)]
pub(crate) struct News {
    start: OurClocks,
    /// Nothing was handed over yet, ever.
    pub(crate) first_run: bool,
    /// In doubt what was said is news.
    any: bool,
    /// Rooms of which everything is news; on a first run, none.
    known: HashSet<OwnedRoomId>,
}

impl News {
    /// Begins with what was known; `any`: other rooms may be, too.
    pub(crate) fn new(
        mut known: HashSet<OwnedRoomId>,
        first_run: bool,
        any: bool,
        start: OurClocks,
    ) -> Self {
        known.retain(|_| !first_run);
        Self {
            start,
            first_run,
            any: any && !first_run,
            known,
        }
    }

    /// Returns whether everything of a room is news.
    pub(crate) fn knows(&self, room: &RoomId) -> bool {
        self.any || self.known.contains(room)
    }

    pub(crate) fn learn(&mut self, rooms: impl IntoIterator<Item = OwnedRoomId>) {
        self.known.extend(rooms);
    }

    /// Returns whether what was said in a room at that time, by the server's clock, is history.
    pub(crate) fn is_history(
        &self,
        room: &RoomId,
        sent_at: Timestamp,
        server: &ServerClock,
        now: OurClocks,
    ) -> bool {
        (self.first_run || !self.knows(room)) && sent_at < server.at(self.start, now)
    }
}
