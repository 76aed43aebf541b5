//! The simulated mesh: the radio's own node, its channels and its neighbours. No behaviour.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::model::NodeNum;
use crate::radio::proto::{self, HardwareModel, User};

/// 2026-01-01 in Unix seconds: around then the neighbours were last heard.
const LAST_HEARD: u32 = 1_767_225_600;

/// A mesh has no more nodes than that beside the radio's own.
pub const MOST_NODES: usize = 10_000;

/// No name is longer, in bytes. Those of a radio have 39 and those of its channels 11; a client may have to bear more.
const NAME_LIMIT: usize = 100;

/// The key of a channel has no more bytes.
const KEY_LIMIT: usize = 32;

/// Names of the first neighbours, long and short; the odd ones are what real meshes hold. `None`: a node of which the
/// radio has heard packets but no name yet.
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

/// A node of the simulated mesh.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedNode {
    /// Its number.
    pub num: NodeNum,
    /// Its names and key; without them the radio knows no more than its number.
    pub user: Option<User>,
    /// How many hops lie between it and the radio.
    pub hops: u8,
    /// How well the radio hears it, in dB.
    pub snr: f32,
    /// When it was last heard, in Unix seconds; 0 if never.
    pub last_heard: u32,
}

/// The radio's own node, its channels and its neighbours.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// The radio's own node.
    pub own: SimulatedNode,
    /// The other nodes that the radio knows.
    pub nodes: Vec<SimulatedNode>,
    /// Its eight channel slots.
    pub channels: Vec<proto::Channel>,
}

impl Mesh {
    /// Makes a mesh with that many neighbours; the same seed gives the same mesh.
    pub fn new(seed: u64, neighbours: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let own_num = fresh_num(&mut random, &[]);
        let own = SimulatedNode {
            num: own_num,
            user: Some(user(own_num, "Simulated radio", "SIM", &mut random)),
            hops: 0,
            snr: 0.0,
            last_heard: LAST_HEARD,
        };
        let mut taken = vec![own_num];
        let mut nodes = Vec::with_capacity(neighbours);
        for place in 0..neighbours {
            let num = fresh_num(&mut random, &taken);
            taken.push(num);
            nodes.push(neighbour(place, num, &mut random));
        }
        let key: [u8; 32] = random.random();
        let channels = vec![
            channel(0, Some(("", &[1])), proto::channel::Role::Primary),
            channel(1, Some(("bridge", &key)), proto::channel::Role::Secondary),
            channel(2, Some(("club", &[1])), proto::channel::Role::Secondary),
            channel(3, None, proto::channel::Role::Disabled),
            channel(4, None, proto::channel::Role::Disabled),
            channel(5, None, proto::channel::Role::Disabled),
            channel(6, None, proto::channel::Role::Disabled),
            channel(7, None, proto::channel::Role::Disabled),
        ];
        Self {
            own,
            nodes,
            channels,
        }
    }

    /// Moves the times at which nodes were heard, so that the mesh is as it was at that time (Unix seconds).
    #[must_use]
    pub fn as_of(mut self, present: u32) -> Self {
        for node in std::iter::once(&mut self.own).chain(&mut self.nodes) {
            if node.last_heard > 0 {
                node.last_heard =
                    present.saturating_sub(LAST_HEARD.saturating_sub(node.last_heard));
            }
        }
        self
    }

    /// Returns the node with that number, the radio's own included.
    pub fn node(&self, num: NodeNum) -> Option<&SimulatedNode> {
        if num == self.own.num {
            return Some(&self.own);
        }
        self.nodes.iter().find(|node| node.num == num)
    }

    /// Returns the node with that number; a neighbour not heard before is added, without a name.
    pub fn node_or_new(&mut self, num: NodeNum) -> &mut SimulatedNode {
        if num == self.own.num {
            return &mut self.own;
        }
        let place = self.nodes.iter().position(|node| node.num == num);
        let place = place.unwrap_or_else(|| {
            self.nodes.push(SimulatedNode {
                num,
                user: None,
                hops: 0,
                snr: 5.0,
                last_heard: LAST_HEARD,
            });
            self.nodes.len() - 1
        });
        // `place` was found or pushed just now; the own node stands in for what cannot be.
        self.nodes.get_mut(place).unwrap_or(&mut self.own)
    }

    /// Returns whether a packet can be sent on that channel.
    pub fn channel_enabled(&self, index: u32) -> bool {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.channels.get(index))
            .is_some_and(|channel| channel.role != i32::from(proto::channel::Role::Disabled))
    }

    /// Renames a channel, gives it another key, or switches it on (as a secondary one) or off.
    ///
    /// # Errors
    /// There is no such channel.
    pub fn change_channel(
        &mut self,
        index: u32,
        name: Option<&str>,
        key: Option<&[u8]>,
        enabled: Option<bool>,
    ) -> Result<(), String> {
        let channel = usize::try_from(index)
            .ok()
            .and_then(|index| self.channels.get_mut(index))
            .ok_or_else(|| format!("there is no channel {index}: a radio has channels 0 to 7"))?;
        if let Some(name) = name {
            check_name("name", name)?;
            let settings = channel.settings.get_or_insert_default();
            name.clone_into(&mut settings.name);
        }
        if let Some(key) = key {
            if key.len() > KEY_LIMIT {
                return Err(format!(
                    "`key` has {} bytes, and takes {KEY_LIMIT} at most",
                    key.len()
                ));
            }
            key.clone_into(&mut channel.settings.get_or_insert_default().psk);
        }
        match enabled {
            Some(true) if channel.role == i32::from(proto::channel::Role::Disabled) => {
                channel.role = i32::from(proto::channel::Role::Secondary);
            }
            Some(false) => channel.role = i32::from(proto::channel::Role::Disabled),
            Some(true) | None => {}
        }
        Ok(())
    }

    /// Lets two channels change places; the primary one stays in its slot.
    ///
    /// # Errors
    /// There is no such channel, or the primary one would be switched off.
    pub fn swap_channels(&mut self, first: u32, second: u32) -> Result<(), String> {
        const SLOTS: &str = "a radio has channels 0 to 7";
        let place = |index: u32| {
            let place = usize::try_from(index).ok();
            let place = place.filter(|place| *place < self.channels.len());
            place.ok_or_else(|| format!("there is no channel {index}: {SLOTS}"))
        };
        let (first, second) = (place(first)?, place(second)?);
        let primary = i32::from(proto::channel::Role::Primary);
        let disabled = i32::from(proto::channel::Role::Disabled);
        let roles = |place: usize| self.channels.get(place).map(|channel| channel.role);
        let both = [roles(first), roles(second)];
        let holds_primary = both.contains(&Some(primary));
        if holds_primary && both.contains(&Some(disabled)) {
            return Err("the primary channel cannot be switched off".to_owned());
        }
        self.channels.swap(first, second);
        for (index, channel) in (0..).zip(&mut self.channels) {
            channel.index = index;
            if holds_primary {
                channel.role = match channel.role {
                    role if role == disabled => disabled,
                    _ if index == 0 => primary,
                    _ => i32::from(proto::channel::Role::Secondary),
                };
            }
        }
        Ok(())
    }

    /// Returns whether anyone is near enough to repeat what the radio says.
    pub fn has_direct_neighbour(&self) -> bool {
        self.nodes.iter().any(|node| node.hops == 0)
    }
}

impl SimulatedNode {
    /// Returns the public key with which direct messages to it are encrypted, if it is known.
    pub fn public_key(&self) -> Option<&[u8]> {
        self.user
            .as_ref()
            .map(|user| user.public_key.as_slice())
            .filter(|key| !key.is_empty())
    }

    /// Gives the node another name; returns whether anything changed.
    pub fn rename(&mut self, long: Option<&str>, short: Option<&str>) -> bool {
        let before = self.user.clone();
        let num = self.num;
        let user = self.user.get_or_insert_with(|| User {
            id: num.to_string(),
            long_name: default_long(num),
            short_name: default_short(num),
            hw_model: i32::from(HardwareModel::Portduino),
            public_key: late_key(num),
            ..User::default()
        });
        if let Some(long) = long {
            long.clone_into(&mut user.long_name);
        }
        if let Some(short) = short {
            short.clone_into(&mut user.short_name);
        }
        self.user != before
    }
}

/// Returns the key of a node whose name was not known at first.
/// Looks whether a name is short enough, whatever it names.
///
/// # Errors
/// Names the limit.
pub(super) fn check_name(key: &str, name: &str) -> Result<(), String> {
    if name.len() > NAME_LIMIT {
        return Err(format!(
            "`{key}` has {} bytes, and takes {NAME_LIMIT} at most",
            name.len()
        ));
    }
    Ok(())
}

pub(super) fn late_key(num: NodeNum) -> Vec<u8> {
    num.0.to_be_bytes().repeat(8)
}

fn neighbour(place: usize, num: NodeNum, random: &mut StdRng) -> SimulatedNode {
    let user = match NAMES.get(place) {
        Some(Some((long, short))) => Some(user(num, long, short, random)),
        Some(None) => None,
        None => Some(user(num, &default_long(num), &default_short(num), random)),
    };
    SimulatedNode {
        num,
        user,
        // The first four are direct neighbours, of the others every third is.
        hops: u8::from(place >= 4 && !place.is_multiple_of(3)),
        snr: f32::from(random.random_range(-40_i8..40)) / 4.0,
        last_heard: if place % 7 == 6 {
            0
        } else {
            LAST_HEARD.saturating_sub(random.random_range(0..86_400))
        },
    }
}

fn user(num: NodeNum, long: &str, short: &str, random: &mut StdRng) -> User {
    let key: [u8; 32] = random.random();
    User {
        id: num.to_string(),
        long_name: long.to_owned(),
        short_name: short.to_owned(),
        hw_model: i32::from(HardwareModel::Portduino),
        public_key: key.to_vec(),
        ..User::default()
    }
}

fn default_long(num: NodeNum) -> String {
    format!("Meshtastic {}", default_short(num))
}

fn default_short(num: NodeNum) -> String {
    format!("{:04x}", num.0 & 0xFFFF)
}

fn channel(
    index: i32,
    settings: Option<(&str, &[u8])>,
    role: proto::channel::Role,
) -> proto::Channel {
    let settings = settings.map_or_else(proto::ChannelSettings::default, |(name, key)| {
        proto::ChannelSettings {
            name: name.to_owned(),
            psk: key.to_vec(),
            ..proto::ChannelSettings::default()
        }
    });
    proto::Channel {
        index,
        settings: Some(settings),
        role: i32::from(role),
    }
}

/// Numbers below 4 are reserved by the firmware.
fn fresh_num(random: &mut StdRng, taken: &[NodeNum]) -> NodeNum {
    loop {
        let num = NodeNum(random.random_range(4..u32::MAX));
        if !taken.contains(&num) {
            return num;
        }
    }
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
        let own = mesh.own.num;
        mesh.node_or_new(own).rename(Some("Base"), None);
        assert_eq!(mesh.own.user.unwrap().long_name, "Base");
    }
}
