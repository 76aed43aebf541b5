//! What became of messages since the start, by room and by channel. In memory: a restart begins at zero.

use std::collections::BTreeMap;

use crate::bridge::DropReason;
use crate::model::{Destination, Node, NodeNum, OwnedRoomOrAliasId};

/// Places that are counted apart: a hostile server can invite us to any number of rooms.
const MOST_PLACES: usize = 500;
/// Nodes that are counted apart: a mesh can invent any number.
const MOST_NODES: usize = 100;

/// Where a message came from, or went.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Room(OwnedRoomOrAliasId),
    Channel(u8),
    /// Between single nodes.
    Direct,
    /// Anywhere else.
    Elsewhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    ToMatrix,
    ToMesh,
}

/// What became of the messages of one place, one way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The other side has them.
    pub(super) relayed: u64,
    /// They were too old when their turn came.
    pub(super) expired: u64,
    /// They will never be sent, and their sender was told; by reason.
    pub(super) refused: BTreeMap<&'static str, u64>,
    /// They were not to be relayed; by reason.
    pub(super) dropped: BTreeMap<&'static str, u64>,
}

/// What a node has said that was held for another relay's echo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Echoes {
    /// The node's long name as it was last.
    pub(super) name: String,
    pub(super) count: u64,
}

/// All of it; also what one transaction adds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    tallies: BTreeMap<(Place, Way), Tally>,
    echoes: BTreeMap<NodeNum, Echoes>,
}

impl From<Destination> for Place {
    fn from(destination: Destination) -> Self {
        match destination {
            Destination::Channel(index) => Self::Channel(index.number()),
            Destination::Direct(_) => Self::Direct,
        }
    }
}

impl Counts {
    /// Counts a message that crossed between a room and a channel or node.
    pub(super) fn relayed(&mut self, room: OwnedRoomOrAliasId, radio: Destination, way: Way) {
        for place in [Place::Room(room), radio.into()] {
            self.tally(place, way).relayed += 1;
        }
    }

    /// Counts a message that was too old.
    pub(super) fn expired(&mut self, room: OwnedRoomOrAliasId, radio: Destination) {
        for place in [Place::Room(room), radio.into()] {
            self.tally(place, Way::ToMesh).expired += 1;
        }
    }

    /// Counts a message that will never be sent.
    pub(super) fn refused(&mut self, place: Place, way: Way, reason: &'static str) {
        *self.tally(place, way).refused.entry(reason).or_default() += 1;
    }

    /// Counts what the bridge did not relay.
    pub(super) fn dropped(&mut self, place: Place, way: Way, reason: DropReason) {
        match reason {
            DropReason::Refused(refused) => self.refused(place, way, refused.name()),
            other => self.ignored(place, way, other.name()),
        }
    }

    /// Counts what was not to be relayed.
    pub(super) fn ignored(&mut self, place: Place, way: Way, reason: &'static str) {
        *self.tally(place, way).dropped.entry(reason).or_default() += 1;
    }

    /// Counts a text of a node that was held for another relay's echo.
    pub(super) fn echo(&mut self, node: &Node) {
        let one = Echoes {
            name: node.long(),
            count: 1,
        };
        self.add_echoes(node.num, one);
    }

    fn add_echoes(&mut self, node: NodeNum, more: Echoes) {
        if self.echoes.len() >= MOST_NODES && !self.echoes.contains_key(&node) {
            return;
        }
        let echoes = self.echoes.entry(node).or_default();
        echoes.count += more.count;
        echoes.name = more.name;
    }

    /// Returns the nodes whose texts were held for another relay's echo.
    pub(super) fn echoes(&self) -> &BTreeMap<NodeNum, Echoes> {
        &self.echoes
    }

    /// Adds what a transaction counted; returns between which places messages have crossed for the first time.
    pub(super) fn add(&mut self, other: Self) -> Vec<(Place, Way)> {
        let mut first = Vec::new();
        for (node, more) in other.echoes {
            self.add_echoes(node, more);
        }
        for ((place, way), more) in other.tallies {
            let name = place.clone();
            let tally = self.tally(place, way);
            if tally.relayed == 0 && more.relayed > 0 {
                first.push((name, way));
            }
            tally.relayed += more.relayed;
            tally.expired += more.expired;
            for (sum, more) in [
                (&mut tally.refused, more.refused),
                (&mut tally.dropped, more.dropped),
            ] {
                for (reason, count) in more {
                    *sum.entry(reason).or_default() += count;
                }
            }
        }
        first
    }

    /// Returns what became of the messages of a place.
    pub(super) fn of(&self, place: &Place, way: Way) -> Tally {
        let found = self.tallies.get(&(place.clone(), way));
        found.cloned().unwrap_or_default()
    }

    /// Returns the places that something was counted for.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.tallies.keys().map(|(place, _)| place)
    }

    fn tally(&mut self, place: Place, way: Way) -> &mut Tally {
        let mut key = (place, way);
        if self.tallies.len() >= MOST_PLACES && !self.tallies.contains_key(&key) {
            key.0 = Place::Elsewhere;
        }
        self.tallies.entry(key).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::Refused;
    use crate::model::ChannelIndex;

    const CHANNEL: Destination = Destination::Channel(ChannelIndex::PRIMARY);

    fn room(name: &str) -> OwnedRoomOrAliasId {
        format!("!{name}:example.org").try_into().unwrap()
    }

    #[test]
    fn a_message_counts_for_its_room_and_for_its_channel() {
        let mut counts = Counts::default();
        counts.relayed(room("a"), CHANNEL, Way::ToMesh);
        counts.relayed(room("b"), CHANNEL, Way::ToMesh);
        counts.relayed(room("a"), CHANNEL, Way::ToMatrix);
        let relayed = |place: &Place, way| counts.of(place, way).relayed;
        assert_eq!(relayed(&Place::Room(room("a")), Way::ToMesh), 1);
        assert_eq!(relayed(&Place::Room(room("a")), Way::ToMatrix), 1);
        assert_eq!(relayed(&Place::Channel(0), Way::ToMesh), 2);
        assert_eq!(relayed(&Place::Direct, Way::ToMesh), 0);
    }

    #[test]
    fn a_refusal_is_not_a_drop() {
        let mut counts = Counts::default();
        let place = || Place::Room(room("a"));
        counts.dropped(place(), Way::ToMesh, DropReason::OffAir);
        counts.dropped(place(), Way::ToMesh, DropReason::Refused(Refused::NoRegion));
        let tally = counts.of(&place(), Way::ToMesh);
        assert_eq!(tally.dropped, [("off_air", 1)].into());
        assert_eq!(tally.refused, [(Refused::NoRegion.name(), 1)].into());
    }

    #[test]
    fn the_reference_names_each_reason_where_it_is_counted() {
        let page = include_str!("../../docs/reference/status.md");
        let reasons = |key: &str| {
            let start = format!("| `{key}` |");
            let line = page.lines().find_map(|line| line.strip_prefix(&start));
            let words = line.unwrap().split('`').skip(1).step_by(2);
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        // What the bridge refuses, and what the other side does.
        let refusals: Vec<_> = Refused::ALL.iter().map(|it| it.name()).collect();
        let is_refusal = |name: &String| refusals.contains(&name.as_str()) || name == "homeserver";
        let (refused, dropped) = (reasons("refused"), reasons("dropped"));
        assert!(
            refused.len() > 5 && refused.iter().all(is_refusal),
            "{refused:?}"
        );
        assert!(
            dropped.len() > 5 && !dropped.iter().any(is_refusal),
            "{dropped:?}"
        );
        assert!(
            dropped
                .iter()
                .any(|name| *name == DropReason::TooOld.name())
        );
    }

    #[test]
    fn sums_add_up() {
        let mut sum = Counts::default();
        for _ in 0..3 {
            let mut batch = Counts::default();
            batch.relayed(room("a"), CHANNEL, Way::ToMesh);
            batch.expired(room("a"), CHANNEL);
            batch.ignored(Place::Elsewhere, Way::ToMatrix, "encrypted");
            sum.add(batch);
        }
        let tally = sum.of(&Place::Channel(0), Way::ToMesh);
        assert_eq!((tally.relayed, tally.expired), (3, 3));
        let elsewhere = sum.of(&Place::Elsewhere, Way::ToMatrix);
        assert_eq!(elsewhere.dropped, [("encrypted", 3)].into());
    }

    #[test]
    fn echoes_are_counted_by_node_and_invented_nodes_do_not_fill_the_memory() {
        let named = |num: u32, name: &str| Node {
            long_name: Some(name.to_owned()),
            ..Node::unknown(NodeNum(num))
        };
        let mut sum = Counts::default();
        for name in ["Hill", "Hilltop"] {
            let mut batch = Counts::default();
            batch.echo(&named(7, name));
            sum.add(batch);
        }
        let expected = Echoes {
            name: "Hilltop".to_owned(),
            count: 2,
        };
        assert_eq!(sum.echoes(), &[(NodeNum(7), expected)].into());
        for number in 0..2 * MOST_NODES {
            sum.echo(&Node::unknown(NodeNum(u32::try_from(number).unwrap())));
        }
        assert_eq!(sum.echoes().len(), MOST_NODES);
    }

    #[test]
    fn invented_rooms_do_not_fill_the_memory() {
        let mut counts = Counts::default();
        for number in 0..2 * MOST_PLACES {
            let place = Place::Room(room(&number.to_string()));
            counts.ignored(place, Way::ToMesh, "unmapped_room");
        }
        assert!(counts.places().count() <= MOST_PLACES + 1);
        let elsewhere = counts.of(&Place::Elsewhere, Way::ToMesh);
        assert_eq!(
            elsewhere.dropped["unmapped_room"],
            u64::try_from(MOST_PLACES).unwrap()
        );
    }
}
