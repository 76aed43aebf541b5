//! The simulated mesh: the radio's own node, its channels and its neighbours. No behaviour.

pub(crate) mod air;
pub(crate) mod packets;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use relay_model::NodeNum;
use relay_wire::proto::{self, HardwareModel, NodeInfo, User, channel::Role};

use super::lines::fault::ChannelChange;

/// The radio's hop limit.
pub(super) const HOP_LIMIT: u32 = 3;

/// 2026-01-01 in Unix seconds, around which the neighbours were last heard.
const LAST_HEARD: u32 = 1_767_225_600;

/// Maximum number of other nodes.
pub const MOST_NODES: usize = 10_000;

/// Maximum length of a name in bytes. Firmware allows 39 for nodes and 11 for channels; a client may get longer ones.
pub(super) const NAME_LIMIT: usize = 100;

/// Maximum length of a channel's key in bytes.
const KEY_LIMIT: usize = 32;

/// Long and short names of the first neighbours; the odd ones are from real meshes. `None`: a node without a known
/// name.
const NAMES: [Option<(&str, &str)>; 8] = [
    Some(("Alice", "ALC")),
    Some(("Bob", "BOB")),
    Some(("🧙 Hut on the hill —é", "🧙")),
    None,
    Some(("A name that fills all thirty-nine bytes", "39by")),
    Some(("\u{202e}Turned \u{2066}around", "\u{202e}T")),
    Some(("@room <b>bold</b> & **more**", "<b>")),
    Some(("", "")),
];

/// The radio's own node, its channels and its neighbours. A node without a user is known only by its number; one last
/// heard at 0 was never heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// The node that the client is attached to.
    pub own: NodeInfo,
    /// The other nodes that the radio knows, at most [`MOST_NODES`].
    pub nodes: Vec<NodeInfo>,
    /// All eight slots by index, disabled ones included.
    pub channels: Vec<proto::Channel>,
}

impl Mesh {
    /// Creates a mesh with that many neighbours; the same seed gives the same mesh.
    pub fn new(seed: u64, neighbours: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let own = any_num(&mut random);
        let own = NodeInfo {
            user: Some(user(own, "Simulated radio", "SIM", key(&mut random))),
            is_favorite: true,
            ..heard(own)
        };
        let mut mesh = Self {
            own,
            nodes: Vec::with_capacity(neighbours),
            channels: Vec::new(),
        };
        while mesh.nodes.len() < neighbours {
            let num = any_num(&mut random);
            if mesh.node(num).is_none() {
                let neighbour = neighbour(mesh.nodes.len(), num, &mut random);
                mesh.nodes.push(neighbour);
            }
        }
        mesh.channels = vec![
            channel(0, "", vec![1], Role::Primary),
            channel(1, "bridge", key(&mut random), Role::Secondary),
            channel(2, "club", vec![1], Role::Secondary),
        ];
        let disabled = (3..8).map(|index| channel(index, "", Vec::new(), Role::Disabled));
        mesh.channels.extend(disabled);
        mesh
    }

    /// Shifts the times of reception as if it were that time (Unix seconds).
    #[must_use]
    pub fn as_of(mut self, present: u32) -> Self {
        for node in std::iter::once(&mut self.own).chain(&mut self.nodes) {
            if node.last_heard > 0 {
                let age = LAST_HEARD.saturating_sub(node.last_heard);
                node.last_heard = present.saturating_sub(age);
            }
        }
        self
    }

    pub(super) fn own_num(&self) -> NodeNum {
        NodeNum(self.own.num)
    }

    pub(super) fn node(&self, num: NodeNum) -> Option<&NodeInfo> {
        let mut nodes = std::iter::once(&self.own).chain(&self.nodes);
        nodes.find(|node| node.num == num.0)
    }

    /// Returns the node with that number; an unknown one is added without a name.
    pub(super) fn node_or_new(&mut self, num: NodeNum) -> &mut NodeInfo {
        if self.node(num).is_none() {
            self.nodes.push(NodeInfo {
                snr: 5.0,
                ..heard(num)
            });
        }
        let neighbour = self.nodes.iter_mut().find(|node| node.num == num.0);
        neighbour.unwrap_or(&mut self.own)
    }

    /// Returns the public key for direct messages to that node, if known.
    pub(super) fn public_key(&self, num: NodeNum) -> Option<&[u8]> {
        let key = self.node(num)?.user.as_ref()?.public_key.as_slice();
        (!key.is_empty()).then_some(key)
    }

    pub(super) fn node_count(&self) -> u32 {
        u32::try_from(self.nodes.len() + 1).unwrap_or(u32::MAX)
    }

    pub(super) fn channel_enabled(&self, index: u32) -> bool {
        let mut slots = (0..).zip(&self.channels);
        slots.any(|(slot, channel)| slot == index && channel.role() != Role::Disabled)
    }

    fn slot(&mut self, index: u32) -> Result<&mut proto::Channel, String> {
        let mut slots = (0..).zip(&mut self.channels);
        let found = slots.find_map(|(slot, channel)| (slot == index).then_some(channel));
        found.ok_or_else(|| format!("there is no channel {index}: a radio has channels 0 to 7"))
    }

    /// Changes a channel; an error tells why that is impossible.
    pub(super) fn change_channel(&mut self, change: &ChannelChange) -> Result<(), String> {
        let channel = self.slot(change.index)?;
        let settings = channel.settings.get_or_insert_default();
        if let Some(name) = &change.name {
            check_length("name", name.len(), NAME_LIMIT)?;
            settings.name.clone_from(name);
        }
        if let Some(key) = &change.key {
            check_length("key", key.len(), KEY_LIMIT)?;
            settings.psk.clone_from(key);
        }
        match change.enabled {
            Some(true) if channel.role() == Role::Disabled => channel.set_role(Role::Secondary),
            Some(false) => channel.set_role(Role::Disabled),
            Some(true) | None => {}
        }
        Ok(())
    }

    /// Swaps two channels; an error tells why that is impossible. The primary one stays in its slot.
    pub(super) fn swap_channels(&mut self, first: u32, second: u32) -> Result<(), String> {
        let (one, other) = (self.slot(first)?.clone(), self.slot(second)?.clone());
        let roles = [one.role(), other.role()];
        let holds_primary = roles.contains(&Role::Primary);
        if holds_primary && roles.contains(&Role::Disabled) {
            return Err("the primary channel cannot be switched off".to_owned());
        }
        *self.slot(first)? = other;
        *self.slot(second)? = one;
        for (index, channel) in (0..).zip(&mut self.channels) {
            channel.index = index;
            if holds_primary && channel.role() != Role::Disabled {
                channel.set_role(if index == 0 {
                    Role::Primary
                } else {
                    Role::Secondary
                });
            }
        }
        Ok(())
    }
}

/// Renames a node; returns whether anything changed.
pub(super) fn rename(node: &mut NodeInfo, long: Option<&str>, short: Option<&str>) -> bool {
    let before = node.user.clone();
    let num = NodeNum(node.num);
    let user = node.user.get_or_insert_with(|| unnamed(num, late_key(num)));
    for (name, new) in [(&mut user.long_name, long), (&mut user.short_name, short)] {
        if let Some(new) = new {
            new.clone_into(name);
        }
    }
    node.user != before
}

/// Checks the length of a key's value in bytes.
pub(super) fn check_length(key: &str, length: usize, limit: usize) -> Result<(), String> {
    if length > limit {
        return Err(format!(
            "`{key}` has {length} bytes, and takes {limit} at most"
        ));
    }
    Ok(())
}

/// Returns the public key of a node whose name was not known at first.
pub(super) fn late_key(num: NodeNum) -> Vec<u8> {
    num.0.to_be_bytes().repeat(8)
}

/// A node heard directly.
fn heard(num: NodeNum) -> NodeInfo {
    NodeInfo {
        num: num.0,
        last_heard: LAST_HEARD,
        hops_away: Some(0),
        ..NodeInfo::default()
    }
}

fn neighbour(place: usize, num: NodeNum, random: &mut StdRng) -> NodeInfo {
    let user = match NAMES.get(place) {
        Some(names) => names.map(|(long, short)| user(num, long, short, key(random))),
        None => Some(unnamed(num, key(random))),
    };
    NodeInfo {
        user,
        // The first four are direct neighbours, and every third of the others.
        hops_away: Some(u32::from(place >= 4 && !place.is_multiple_of(3))),
        snr: f32::from(random.random_range(-40_i8..40)) / 4.0,
        last_heard: if place % 7 == 6 {
            0
        } else {
            LAST_HEARD.saturating_sub(random.random_range(0..86_400))
        },
        ..heard(num)
    }
}

fn user(num: NodeNum, long: &str, short: &str, public_key: Vec<u8>) -> User {
    User {
        id: num.to_string(),
        long_name: long.to_owned(),
        short_name: short.to_owned(),
        hw_model: i32::from(HardwareModel::Portduino),
        public_key,
        ..User::default()
    }
}

/// Returns the firmware's name for a node without one.
fn unnamed(num: NodeNum, public_key: Vec<u8>) -> User {
    let short = format!("{:04x}", num.0 & 0xFFFF);
    user(num, &format!("Meshtastic {short}"), &short, public_key)
}

fn key(random: &mut StdRng) -> Vec<u8> {
    let key: [u8; 32] = random.random();
    key.to_vec()
}

fn channel(index: i32, name: &str, psk: Vec<u8>, role: Role) -> proto::Channel {
    let settings = proto::ChannelSettings {
        name: name.to_owned(),
        psk,
        ..proto::ChannelSettings::default()
    };
    proto::Channel {
        index,
        settings: Some(settings),
        role: i32::from(role),
    }
}

/// The firmware reserves numbers below 4.
fn any_num(random: &mut StdRng) -> NodeNum {
    NodeNum(random.random_range(4..u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_was_heard_within_the_last_day_whenever_it_is_made() {
        let present = 2_000_000_000;
        let mesh = Mesh::new(1, 250).as_of(present);
        assert_eq!(mesh.own.last_heard, present);
        for node in mesh.nodes.iter().filter(|node| node.last_heard != 0) {
            assert!((present - 86_400..=present).contains(&node.last_heard));
        }
        assert!(
            mesh.nodes.iter().any(|node| node.last_heard == 0),
            "never heard"
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_mesh() {
        assert_eq!(Mesh::new(7, 20), Mesh::new(7, 20));
        assert_ne!(Mesh::new(7, 20).own.num, Mesh::new(8, 20).own.num);
    }

    #[test]
    fn a_mesh_holds_the_odd_names_of_real_ones() {
        let nodes = Mesh::new(1, 250).nodes;
        let user_of = |place: usize| nodes[place].user.clone();
        assert_eq!(nodes.len(), 250);
        assert_eq!(user_of(2).unwrap().short_name, "🧙");
        assert_eq!(user_of(3), None);
        assert_eq!(user_of(4).unwrap().long_name.len(), 39);
        assert!(nodes.iter().any(|node| node.last_heard == 0));
        let names = nodes.iter().filter_map(|node| node.user.as_ref());
        assert!(
            names
                .into_iter()
                .all(|user| user.long_name.len() <= 39 && user.short_name.len() <= 4)
        );
    }

    #[test]
    fn channels_change_places_and_the_primary_slot_stays_primary() {
        let mut mesh = Mesh::new(1, 1);
        let names = |mesh: &Mesh| -> Vec<(i32, String, i32)> {
            let channels = mesh.channels.iter().take(4);
            channels
                .map(|it| (it.index, it.settings.clone().unwrap().name, it.role))
                .collect()
        };
        mesh.swap_channels(1, 3).unwrap();
        let moved = [(0, "", 1), (1, "", 0), (2, "club", 2), (3, "bridge", 2)];
        assert_eq!(
            names(&mesh),
            moved.map(|(at, name, role)| (at, name.to_owned(), role))
        );
        mesh.swap_channels(0, 2).unwrap();
        let moved = [(0, "club", 1), (1, "", 0), (2, "", 2), (3, "bridge", 2)];
        assert_eq!(
            names(&mesh),
            moved.map(|(at, name, role)| (at, name.to_owned(), role))
        );
        assert!(mesh.swap_channels(0, 1).is_err());
        assert!(
            mesh.swap_channels(0, 8)
                .unwrap_err()
                .contains("no channel 8")
        );
    }

    #[test]
    fn a_neighbour_not_heard_before_is_added_without_a_name() {
        let mut mesh = Mesh::new(1, 2);
        assert_eq!(mesh.node_or_new(NodeNum(99)).user, None);
        assert_eq!(mesh.nodes.len(), 3);
        let own = mesh.own_num();
        rename(mesh.node_or_new(own), Some("Base"), None);
        assert_eq!(mesh.own.user.unwrap().long_name, "Base");
    }
}
