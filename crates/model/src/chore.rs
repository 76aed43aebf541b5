//! Chores: decisions triggered by time or by another event, made on the current content of the tables.

use std::time::Duration;

use super::ids::MeshRowId;

/// Work that the event loop gives itself: decided as an event, without an outside cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// After a start: the configuration may have changed.
    Start,
    /// The configuration was read again, and may have changed.
    Reload,
    /// After a login: the new session may be permitted what the last one was refused.
    Login,
    /// Drop waiting rows that the configuration no longer permits.
    Permissions,
    /// Everything that depends on time, several times a minute; with the uptime.
    Round(Duration),
    /// Room successions, and rows waiting for replaced rooms.
    Rooms,
    /// Destinations of waiting mesh packets: all, or one that the radio has returned.
    Channels(Option<MeshRowId>),
    /// Expire rows whose time is over, and stop waiting for reports that did not come.
    Overdue,
    /// Give up events whose key did not come in time, and tell their rooms.
    Keys,
    /// Tell rooms of expired messages, once no more are expected.
    Expired,
    /// Tell rooms of the radio's outage and of its end (`matrix.radio_notices`).
    Outage,
    /// Show the waiting sign on messages that have waited for long.
    Waiting,
    /// Delete old rows, and check the size of the tables.
    Tables,
    /// Update signs and receipts of changed messages; last in a transaction.
    Signs,
}
