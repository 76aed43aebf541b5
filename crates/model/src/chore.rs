//! What is looked at from time to time, or because something gives cause to: decided on like an event, with what the tables
//! hold by then.

use std::time::Duration;

use super::ids::MeshRowId;

/// Something to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// All that follows from a start: the configuration may be another one.
    Start,
    /// What follows from a login: another session may be let do what was refused to the one before.
    Login,
    /// What waits, and the configuration does not permit any more.
    Permissions,
    /// All that passing time changes, some times a minute. The relay has run so long.
    Round(Duration),
    /// Which rooms take others' places, and what becomes of what waits for those.
    Rooms,
    /// Where what waits for the mesh goes: all of it, or one packet that the radio has given back.
    Channels(Option<MeshRowId>),
    /// What waits, and is worthless now.
    Overdue,
    /// Which keys did not come in time.
    Keys,
    /// What expired, and its room does not know of.
    Expired,
    /// What rooms are to know of the radio's outage.
    Outage,
    /// What has waited so long that it is shown to wait.
    Waiting,
    /// What is old enough to be forgotten, and whether the tables grow too long.
    Tables,
    /// What has changed, for the signs and receipts that people see: the last thing in a transaction.
    Signs,
}
