//! Where history ends.

use std::collections::HashSet;

use super::{Moment, OurClocks, ServerClock};
use relay_model::{OwnedRoomId, RoomId, Timestamp};

/// Decides which messages from before the start are history.
#[derive(Debug)]
pub(crate) struct HistoryFilter {
    /// Start of this run, or of a first run that was killed before a position was stored.
    start: Moment,
    /// No position was ever stored.
    pub(crate) first_run: bool,
    /// Every room counts as known.
    any: bool,
    /// Rooms whose messages are all new; empty on a first run.
    known: HashSet<OwnedRoomId>,
}

impl HistoryFilter {
    /// `any`: rooms that are not in `known` may be known too.
    pub(crate) fn new(
        mut known: HashSet<OwnedRoomId>,
        first_run: bool,
        any: bool,
        start: Moment,
    ) -> Self {
        known.retain(|_| !first_run);
        Self {
            start,
            first_run,
            any: any && !first_run,
            known,
        }
    }

    /// Returns whether what this room's timeline leaves out is missing: also on a first run, where it may be later than the
    /// start.
    pub(crate) fn knows(&self, room: &RoomId) -> bool {
        self.first_run || self.any || self.known.contains(room)
    }

    pub(crate) fn learn(&mut self, rooms: impl IntoIterator<Item = OwnedRoomId>) {
        self.known.extend(rooms);
    }

    /// Has what was said in a room before the start be history again.
    pub(crate) fn forget(&mut self, room: &RoomId) {
        self.known.remove(room);
    }

    /// Returns whether a message sent to a room at that time, by the server's clock, is history.
    pub(crate) fn is_history(
        &self,
        room: &RoomId,
        sent_at: Timestamp,
        server: &ServerClock,
        now: OurClocks,
    ) -> bool {
        (self.first_run || !self.knows(room)) && sent_at < self.began(server, now)
    }

    /// Returns the start, by the server's clock.
    pub(crate) fn began(&self, server: &ServerClock, now: OurClocks) -> Timestamp {
        server.at(self.start, now)
    }
}
