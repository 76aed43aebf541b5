//! What is to be done after the commit of a transaction.

use std::collections::{BTreeSet, HashSet};

use super::super::counts::{Counts, Place, Way};
use relay_bridge::{OtherRelay, RadioProblems};
use relay_model::{
    Destination, Event, Lane, MeshRowId, OwnedRoomId, OwnedRoomOrAliasId, RadioEvent, RadioText,
    Timestamp,
};

/// The effects of a batch, for waking workers and for the operator.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::daemon) struct Outcome {
    /// Rooms that may have a row due.
    pub(in crate::daemon) rooms: BTreeSet<OwnedRoomOrAliasId>,
    /// Queues that may have a row due.
    pub(in crate::daemon) mesh: HashSet<(Destination, Lane)>,
    /// Rooms that have changed: failed sends are retried now.
    pub(in crate::daemon) changed: BTreeSet<OwnedRoomOrAliasId>,
    /// Whether the radio may transmit now, if that has changed.
    pub(in crate::daemon) may_transmit: Option<bool>,
    /// What prevents relaying over the radio that is ready now; `None`: none has become ready.
    pub(in crate::daemon) problems: Option<RadioProblems>,
    /// Rows that the pacer may hold and must not transmit any more.
    pub(in crate::daemon) withdrawn: Vec<MeshRowId>,
    /// When the next round of housekeeping is due, if earlier than usual.
    pub(in crate::daemon) chores_at: Option<Timestamp>,
    /// A sign or a read receipt may be due.
    pub(in crate::daemon) feedback: bool,
    pub(in crate::daemon) counts: Counts,
    /// Other relays with our account, and the rooms that they post in.
    pub(in crate::daemon) others: Vec<(OtherRelay, OwnedRoomId)>,
    /// More rows are to be deleted than fit in one transaction.
    pub(in crate::daemon) more_to_forget: bool,
    /// Packets that the radio delivered once more, for their stories.
    pub(in crate::daemon) heard_again: Vec<RadioText>,
    /// A power cut must not take back what was done: the commit has to wait for the disk.
    pub(in crate::daemon) must_last: bool,
    /// What was committed without waiting for the disk is to be there soon.
    pub(in crate::daemon) sync_soon: bool,
}

impl Outcome {
    /// Makes the next round of housekeeping due by `time`.
    pub(super) fn look_by(&mut self, time: Timestamp) {
        self.chores_at = Some(self.chores_at.map_or(time, |other| other.min(time)));
    }
}

/// Returns where an event that is not relayed is counted; `None`: nowhere.
pub(super) fn place(event: &Event) -> Option<(Place, Way)> {
    match event {
        Event::Radio(RadioEvent::Text(text)) => Some((text.destination.into(), Way::ToMatrix)),
        Event::Radio(_) => Some((Place::Elsewhere, Way::ToMatrix)),
        Event::Matrix(event) => {
            let (room, _, _) = event.origin();
            room.map(|room| (Place::Room(room.to_owned().into()), Way::ToMesh))
        }
        Event::Report(_) | Event::Chore(_) => None,
    }
}
