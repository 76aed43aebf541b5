//! What a transaction leaves to be done once it is committed.

use std::collections::{BTreeSet, HashSet};

use super::super::counts::{Counts, Place, Way};
use relay_bridge::{Refused, RouteProblem};
use relay_model::{Destination, Event, Lane, MeshRowId, OwnedRoomOrAliasId, RadioEvent, Timestamp};

/// What a batch touched, for the workers to be woken and the operator to be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::daemon) struct Outcome {
    /// Rooms for which something may be due.
    pub(in crate::daemon) rooms: BTreeSet<OwnedRoomOrAliasId>,
    /// Destinations and lanes for which something may be due.
    pub(in crate::daemon) mesh: HashSet<(Destination, Lane)>,
    /// Rooms of which something has changed: what failed before may work now.
    pub(in crate::daemon) changed: BTreeSet<OwnedRoomOrAliasId>,
    /// Why nothing is transmitted by the radio that is ready now; `None`: no gate of the configuration or of its own holds it
    /// back.
    pub(in crate::daemon) silence: Option<Refused>,
    /// The mapped channels that cannot be used, if a radio has told its channels.
    pub(in crate::daemon) route_problems: Option<Vec<RouteProblem>>,
    /// Rows that the radio's pacer may still hold and that are not wanted any more.
    pub(in crate::daemon) withdrawn: Vec<MeshRowId>,
    /// The next round is due then.
    pub(in crate::daemon) chores_at: Option<Timestamp>,
    /// A sign or a read receipt may be due.
    pub(in crate::daemon) feedback: bool,
    pub(in crate::daemon) counts: Counts,
    /// There is more to forget than one transaction should.
    pub(in crate::daemon) more_to_forget: bool,
}

impl Outcome {
    /// Has the next round done by then.
    pub(super) fn look_by(&mut self, time: Timestamp) {
        self.chores_at = Some(self.chores_at.map_or(time, |other| other.min(time)));
    }
}

/// Returns where it is counted that an event is not relayed; `None` for what is counted as what it tells, or not at all.
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
