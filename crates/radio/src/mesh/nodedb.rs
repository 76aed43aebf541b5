//! The nodes that the radio told us of, in memory. No I/O, no clock.
//!
//! A radio remembers some hundred nodes and forgets the others; here their names are kept. What is new goes to the
//! database in batches, at most one a minute: it lies on an SD card. Only a new name is told at once.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use relay_model::{Node, NodeNum, Timestamp};

/// The most nodes that are remembered; then the one that was heard longest ago is forgotten.
const REMEMBERED: usize = 4096;

/// The most characters of a name; firmware has at most 39 bytes.
const NAME_LIMIT: usize = 64;

/// Batches without a new name are at least so far apart.
const BATCH_EVERY: Duration = Duration::from_mins(1);

/// What was learned of a node; `None` is nothing new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) long_name: Option<String>,
    pub(crate) short_name: Option<String>,
    pub(crate) is_licensed: Option<bool>,
    pub(crate) is_ignored: Option<bool>,
    pub(crate) last_heard: Option<Timestamp>,
}

/// What a radio tells of a node that only people are interested in; kept in memory alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// Its model, as Meshtastic names it.
    pub hardware: Option<String>,
    /// Its role, as Meshtastic names it.
    pub role: Option<String>,
    /// How many hops away it is.
    pub hops: Option<u8>,
    /// How well it was heard, in dB.
    pub snr: Option<f32>,
    /// It was heard over the internet.
    pub via_mqtt: bool,
    /// Its battery; more than 100 is powered from outside.
    pub battery_percent: Option<u32>,
    /// Of its battery, in volts.
    pub voltage: Option<f32>,
    /// How busy the channel is around it.
    pub channel_use_percent: Option<f32>,
    /// How much of the last hour it sent itself.
    pub air_use_percent: Option<f32>,
}

/// A node of which a radio told.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownNode {
    /// Who it is.
    pub node: Node,
    /// What else is known of it.
    pub details: Details,
}

impl From<Node> for KnownNode {
    fn from(node: Node) -> Self {
        let details = Details::default();
        Self { node, details }
    }
}

/// The nodes, and which of them the database does not know as they are.
#[derive(Debug, Default)]
pub struct NodeDb {
    nodes: HashMap<NodeNum, KnownNode>,
    changed: HashSet<NodeNum>,
    name_changed: bool,
    last_batch: Option<Instant>,
}

impl NodeDb {
    /// Makes one that knows these nodes from before.
    pub(crate) fn new(nodes: impl IntoIterator<Item = Node>) -> Self {
        let nodes = nodes.into_iter().take(REMEMBERED);
        Self {
            nodes: nodes.map(|node| (node.num, node.into())).collect(),
            ..Self::default()
        }
    }

    /// Returns a node, with nothing but its number if it is unknown.
    pub(crate) fn node(&self, num: NodeNum) -> Node {
        let known = self.nodes.get(&num);
        known.map_or_else(|| Node::unknown(num), |known| known.node.clone())
    }

    /// Takes what was learned of a node. Empty names are no names, and take none away.
    pub(crate) fn learn(&mut self, num: NodeNum, news: News) {
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

    /// Takes note of what else a radio told of a node that [`NodeDb::learn`] has just taken.
    pub(crate) fn learn_details(&mut self, num: NodeNum, details: Details) {
        if let Some(known) = self.nodes.get_mut(&num) {
            known.details = details;
        }
    }

    /// Returns all nodes, in order of their numbers.
    pub(crate) fn known(&self) -> Vec<KnownNode> {
        let mut known: Vec<KnownNode> = self.nodes.values().cloned().collect();
        known.sort_by_key(|it| it.node.num);
        known
    }

    /// Returns when [`NodeDb::take_batch`] has something, if nothing is learned before.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.changed.is_empty() {
            return None;
        }
        match self.last_batch {
            Some(last) if !self.name_changed => Some(last + BATCH_EVERY),
            Some(_) | None => Some(now),
        }
    }

    /// Returns the nodes that the database does not know as they are, if it is time for that.
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

    fn named(long: &str, short: &str) -> News {
        News {
            long_name: Some(long.to_owned()),
            short_name: Some(short.to_owned()),
            ..News::default()
        }
    }

    fn heard(at: i64) -> News {
        News {
            last_heard: Some(Timestamp(at)),
            ..News::default()
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
        nodes.learn(BOB, News::default());
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
            News {
                is_ignored: Some(true),
                ..News::default()
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
