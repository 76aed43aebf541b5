//! The nodes that the radio has reported, in memory. No I/O, no clock.
//!
//! A radio remembers a few hundred nodes; this table keeps the names of those that it forgets. Changes go to the
//! database in batches, at most one a minute to spare an SD card; only a new name is written at once.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use relay_model::{Node, NodeNum, Timestamp};

/// Maximum number of nodes; beyond it the one heard least recently is dropped.
const REMEMBERED: usize = 4096;

/// Maximum characters of a name; firmware allows 39 bytes.
const NAME_LIMIT: usize = 64;

/// Minimum time between two batches without a new name.
const BATCH_EVERY: Duration = Duration::from_mins(1);

/// What is new of a node; `None` in a field: no change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeChange {
    pub(crate) long_name: Option<String>,
    pub(crate) short_name: Option<String>,
    pub(crate) is_licensed: Option<bool>,
    pub(crate) is_ignored: Option<bool>,
    pub(crate) last_heard: Option<Timestamp>,
}

/// Details of a node for display; kept only in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// The board, as Meshtastic names it.
    pub hardware: Option<String>,
    /// The role, as Meshtastic names it.
    pub role: Option<String>,
    /// Distance in hops; `None` if the radio does not know.
    pub hops: Option<u8>,
    /// Signal-to-noise ratio of the last packet in dB; `None` if not measured.
    pub snr: Option<f32>,
    /// Last heard over MQTT, not by radio.
    pub via_mqtt: bool,
    /// Battery level; above 100 is external power.
    pub battery_percent: Option<u32>,
    /// Battery voltage in V.
    pub voltage: Option<f32>,
    /// Channel utilisation around the node, in percent.
    pub channel_use_percent: Option<f32>,
    /// Share of the last hour in which the node itself transmitted, in percent.
    pub air_use_percent: Option<f32>,
}

/// A node that the radio has reported, or that a packet came from.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownNode {
    /// Its number and names, and when it was last heard.
    pub node: Node,
    /// What is only displayed of it.
    pub details: Details,
}

impl From<Node> for KnownNode {
    fn from(node: Node) -> Self {
        let details = Details::default();
        Self { node, details }
    }
}

/// The nodes, and which of them differ from the database.
#[derive(Debug, Default)]
pub struct NodeDb {
    nodes: HashMap<NodeNum, KnownNode>,
    changed: HashSet<NodeNum>,
    name_changed: bool,
    last_batch: Option<Instant>,
}

impl NodeDb {
    /// Creates the table with the nodes of the database.
    pub(crate) fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        let nodes = nodes.into_iter().take(REMEMBERED);
        Self {
            nodes: nodes.map(|node| (node.num, node.into())).collect(),
            ..Self::default()
        }
    }

    /// Returns a node; an unknown one has only its number.
    pub(crate) fn node(&self, num: NodeNum) -> Node {
        let known = self.nodes.get(&num);
        known.map_or_else(|| Node::unknown(num), |known| known.node.clone())
    }

    /// Updates a node. An empty name does not overwrite a known one.
    pub(crate) fn learn(&mut self, num: NodeNum, news: NodeChange) {
        if num == NodeNum(0) || num == NodeNum::BROADCAST {
            return;
        }
        if !self.nodes.contains_key(&num) && self.nodes.len() >= REMEMBERED {
            let nodes = self.nodes.values().map(|known| &known.node);
            let oldest = nodes.min_by_key(|node| (node.last_heard, node.num));
            if let Some(num) = oldest.map(|node| node.num) {
                self.nodes.remove(&num);
                self.changed.remove(&num);
            }
        }
        let known = self.nodes.entry(num);
        let node = &mut known.or_insert_with(|| Node::unknown(num).into()).node;
        let before = node.clone();
        for (name, new) in [
            (&mut node.long_name, news.long_name),
            (&mut node.short_name, news.short_name),
        ] {
            if let Some(new) = new.filter(|new| !new.trim().is_empty()) {
                *name = Some(new.chars().take(NAME_LIMIT).collect());
            }
        }
        node.is_licensed = news.is_licensed.unwrap_or(node.is_licensed);
        node.is_ignored = news.is_ignored.unwrap_or(node.is_ignored);
        node.last_heard = node.last_heard.max(news.last_heard);
        if *node == before {
            return;
        }
        self.name_changed |=
            node.long_name != before.long_name || node.short_name != before.short_name;
        self.changed.insert(num);
    }

    /// Stores the details of a node that [`NodeDb::learn`] has just updated.
    pub(crate) fn learn_details(&mut self, num: NodeNum, details: Details) {
        if let Some(known) = self.nodes.get_mut(&num) {
            known.details = details;
        }
    }

    /// Returns all nodes, sorted by number.
    pub(crate) fn known(&self) -> Vec<KnownNode> {
        let mut known: Vec<KnownNode> = self.nodes.values().cloned().collect();
        known.sort_by_key(|it| it.node.num);
        known
    }

    /// Returns when the next batch is due.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.changed.is_empty() {
            return None;
        }
        match self.last_batch {
            Some(last) if !self.name_changed => Some(last + BATCH_EVERY),
            Some(_) | None => Some(now),
        }
    }

    /// Returns the nodes that differ from the database, if a batch is due.
    pub fn take_batch(&mut self, now: Instant) -> Vec<Node> {
        if self.deadline(now).is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.last_batch = Some(now);
        self.name_changed = false;
        let changed = self.changed.drain();
        let known = changed.filter_map(|num| self.nodes.get(&num));
        let mut batch: Vec<Node> = known.map(|known| known.node.clone()).collect();
        batch.sort_by_key(|node| node.num);
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: NodeNum = NodeNum(0xA11C_E001);
    const BOB: NodeNum = NodeNum(0xB0B0_B002);

    fn named(long: &str, short: &str) -> NodeChange {
        NodeChange {
            long_name: Some(long.to_owned()),
            short_name: Some(short.to_owned()),
            ..NodeChange::default()
        }
    }

    fn heard(at: i64) -> NodeChange {
        NodeChange {
            last_heard: Some(Timestamp(at)),
            ..NodeChange::default()
        }
    }

    #[test]
    fn a_new_name_is_told_at_once_and_other_news_once_a_minute() {
        let (mut nodes, start) = (NodeDb::default(), Instant::now());
        nodes.learn(ALICE, named("Alice", "AL"));
        assert_eq!(nodes.take_batch(start).len(), 1);
        assert_eq!(nodes.deadline(start), None);
        nodes.learn(ALICE, heard(5));
        nodes.learn(BOB, heard(6));
        assert_eq!(nodes.deadline(start), Some(start + BATCH_EVERY));
        assert_eq!(nodes.take_batch(start + BATCH_EVERY / 2), []);
        let batch = nodes.take_batch(start + BATCH_EVERY);
        assert_eq!(
            batch.iter().map(|node| node.num).collect::<Vec<_>>(),
            [ALICE, BOB]
        );
        nodes.learn(BOB, named("Bob", "B"));
        assert_eq!(nodes.take_batch(start + BATCH_EVERY).len(), 1);
    }

    #[test]
    fn what_is_known_already_is_not_told() {
        let (mut nodes, start) = (NodeDb::new([Node::unknown(BOB)]), Instant::now());
        nodes.learn(BOB, NodeChange::default());
        assert_eq!(nodes.deadline(start), None);
        nodes.learn(BOB, named("Bob", "B"));
        nodes.take_batch(start);
        nodes.learn(BOB, named("Bob", "B"));
        assert_eq!(nodes.deadline(start), None);
    }

    #[test]
    fn names_stay_when_the_radio_forgets_them() {
        let mut nodes = NodeDb::default();
        nodes.learn(ALICE, named("Alice", "AL"));
        nodes.learn(
            ALICE,
            NodeChange {
                is_ignored: Some(true),
                ..NodeChange::default()
            },
        );
        nodes.learn(ALICE, named("", " "));
        assert_eq!(nodes.node(ALICE).long(), "Alice");
        assert_eq!(nodes.node(ALICE).short(), "AL");
        assert!(nodes.node(ALICE).is_ignored);
    }

    #[test]
    fn the_time_of_hearing_only_moves_on() {
        let mut nodes = NodeDb::default();
        nodes.learn(ALICE, heard(9));
        nodes.learn(ALICE, heard(5));
        assert_eq!(nodes.node(ALICE).last_heard, Some(Timestamp(9)));
    }

    #[test]
    fn numbers_of_nobody_and_everybody_are_no_nodes() {
        let mut nodes = NodeDb::default();
        nodes.learn(NodeNum(0), named("x", "y"));
        nodes.learn(NodeNum::BROADCAST, named("x", "y"));
        assert!(nodes.nodes.is_empty());
    }

    #[test]
    fn what_else_is_known_of_a_node_goes_with_it() {
        let mut nodes = NodeDb::default();
        let details = |hops| Details {
            hops: Some(hops),
            ..Details::default()
        };
        nodes.learn_details(ALICE, details(1));
        assert_eq!(nodes.known(), []);
        nodes.learn(BOB, named("Bob", "B"));
        nodes.learn(ALICE, named("Alice", "AL"));
        nodes.learn_details(ALICE, details(1));
        nodes.learn_details(ALICE, details(2));
        let known = nodes.known();
        assert_eq!((known[0].node.num, known[0].details.hops), (ALICE, Some(2)));
        assert_eq!((known[1].node.num, known[1].details.hops), (BOB, None));
    }

    #[test]
    fn memory_is_bounded_and_the_longest_silent_node_goes_first() {
        let mut nodes = NodeDb::default();
        for num in 1..=6000 {
            nodes.learn(NodeNum(num), heard(i64::from(num)));
            nodes.learn_details(NodeNum(num), Details::default());
        }
        assert_eq!(nodes.known().len(), REMEMBERED);
        assert!(nodes.changed.len() <= REMEMBERED);
        assert!(nodes.nodes.contains_key(&NodeNum(6000)));
        assert!(!nodes.nodes.contains_key(&NodeNum(1)));
        nodes.learn(ALICE, named(&"n".repeat(500), ""));
        assert_eq!(nodes.node(ALICE).long().len(), NAME_LIMIT);
    }
}
