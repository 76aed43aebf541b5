//! Counters of messages by room and by channel. In memory: a restart resets them.

use std::collections::BTreeMap;

use super::status::{EchoStatus, Traffic};
use relay_bridge::DropReason;
use relay_model::{Destination, Node, NodeNum, OwnedRoomOrAliasId};

/// Maximum number of counters: a hostile server can invite us to any number of rooms.
const MOST_PLACES: usize = 500;
/// Maximum number of nodes with a counter: a hostile mesh can invent any number.
const MOST_NODES: usize = 100;

/// Where something is counted: what `relay status` lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Room(OwnedRoomOrAliasId),
    Channel(u8),
    /// Direct messages between nodes, our own included.
    Direct,
    Elsewhere,
}

/// In which direction something was to cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    ToMatrix,
    ToMesh,
}

/// The sums since the start, or the increments of one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Counts {
    traffic: BTreeMap<(Place, Way), Traffic>,
    echoes: BTreeMap<NodeNum, EchoStatus>,
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
            self.traffic(place, way).relayed += 1;
        }
    }

    pub(super) fn expired(&mut self, room: OwnedRoomOrAliasId, radio: Destination) {
        for place in [Place::Room(room), radio.into()] {
            self.traffic(place, Way::ToMesh).expired += 1;
        }
    }

    /// Counts a message that was taken though it came unencrypted into an encrypted room.
    pub(super) fn in_clear(&mut self, place: Place) {
        self.traffic(place, Way::ToMesh).in_clear += 1;
    }

    /// Counts a message that will never be sent.
    pub(super) fn refused(&mut self, place: Place, way: Way, reason: &'static str) {
        let refused = &mut self.traffic(place, way).refused;
        *refused.entry(reason.to_owned()).or_default() += 1;
    }

    /// Counts an event that the bridge did not relay.
    pub(super) fn dropped(&mut self, place: Place, way: Way, reason: DropReason) {
        match reason {
            DropReason::Refused(refused) => self.refused(place, way, refused.name()),
            other => self.ignored(place, way, other.name()),
        }
    }

    pub(super) fn ignored(&mut self, place: Place, way: Way, reason: &'static str) {
        let dropped = &mut self.traffic(place, way).dropped;
        *dropped.entry(reason.to_owned()).or_default() += 1;
    }

    /// Counts a node's text that was taken for another relay's echo.
    pub(super) fn echo(&mut self, node: &Node) {
        let one = EchoStatus {
            node: node.num.to_string(),
            name: node.long(),
            count: 1,
        };
        self.add_echoes(node.num, one);
    }

    /// Adds to the node's count, under its newest name.
    fn add_echoes(&mut self, node: NodeNum, mut more: EchoStatus) {
        let before = self.echoes.get(&node).map(|it| it.count);
        if before.is_some() || self.echoes.len() < MOST_NODES {
            more.count += before.unwrap_or_default();
            self.echoes.insert(node, more);
        }
    }

    pub(super) fn echoes(&self) -> &BTreeMap<NodeNum, EchoStatus> {
        &self.echoes
    }

    /// Adds the increments of a transaction. Returns the places where messages have crossed for the first time.
    pub(super) fn add(&mut self, other: Self) -> Vec<(Place, Way)> {
        let mut first = Vec::new();
        for (node, more) in other.echoes {
            self.add_echoes(node, more);
        }
        for ((place, way), more) in other.traffic {
            let sum = self.traffic(place.clone(), way);
            if sum.relayed == 0 && more.relayed > 0 {
                first.push((place, way));
            }
            sum.relayed += more.relayed;
            sum.expired += more.expired;
            sum.in_clear += more.in_clear;
            add_all(&mut sum.refused, more.refused);
            add_all(&mut sum.dropped, more.dropped);
        }
        first
    }

    /// Returns the counts of a place, without the outbox.
    pub(super) fn of(&self, place: &Place, way: Way) -> Traffic {
        let found = self.traffic.get(&(place.clone(), way));
        found.cloned().unwrap_or_default()
    }

    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.traffic.keys().map(|(place, _)| place)
    }

    fn traffic(&mut self, place: Place, way: Way) -> &mut Traffic {
        let mut key = (place, way);
        if self.traffic.len() >= MOST_PLACES && !self.traffic.contains_key(&key) {
            key.0 = Place::Elsewhere;
        }
        self.traffic.entry(key).or_default()
    }
}

pub(super) fn add_all(sum: &mut BTreeMap<String, u64>, more: BTreeMap<String, u64>) {
    for (reason, count) in more {
        *sum.entry(reason).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_bridge::Refused;
    use relay_model::ChannelIndex;

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
        assert_eq!(tally.dropped, [("off_air".to_owned(), 1)].into());
        assert_eq!(
            tally.refused,
            [(Refused::NoRegion.name().to_owned(), 1)].into()
        );
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
        assert_eq!(elsewhere.dropped, [("encrypted".to_owned(), 3)].into());
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
        let expected = EchoStatus {
            node: "!00000007".to_owned(),
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
