//! How often and for how long each figure is measured.

use std::time::Duration;

/// How often each figure is measured; numbers without another unit are for the whole figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Starts of the relay, for each kind of room.
    pub(crate) starts: usize,
    /// Single messages to Matrix, for each kind of room.
    pub(crate) to_matrix: usize,
    /// Single messages to the mesh, for each kind of room; the radio accepts one in 2 s.
    pub(crate) to_mesh: usize,
    /// Number of messages of a burst, for each kind of room.
    pub(crate) burst: usize,
    /// Number of packets that the mesh sends during the soak.
    pub(crate) soak: usize,
    /// Number of losses of the radio over each wire: absences of 3 s, restarts, absences of 30 s and of 2 min,
    /// silences.
    pub(crate) short_lives: usize,
    pub(crate) restarts: usize,
    pub(crate) half_minutes: usize,
    pub(crate) two_minutes: usize,
    pub(crate) silences: usize,
    /// Number of times that the homeserver hangs and restarts, and the duration of a hang.
    pub(crate) homeserver_outages: usize,
    pub(crate) hang: Duration,
    /// Messages in the queue to the mesh when the relay is killed.
    pub(crate) kill_to_mesh: usize,
    /// Number of messages in a queue to the mesh.
    pub(crate) queue: usize,
    /// Messages sent while the relay is stopped.
    pub(crate) missed: usize,
    /// Messages whose cost is counted, one by one for each kind of room and direction, at once from the mesh, and at once
    /// from a room; and the time without messages whose cost is counted.
    pub(crate) cost: usize,
    pub(crate) cost_burst: usize,
    pub(crate) cost_burst_mesh: usize,
    pub(crate) cost_idle: Duration,
    /// Messages of the bursts beside a bare loop.
    pub(crate) rate_short: usize,
    pub(crate) rate_long: usize,
    /// The large world: members of a room, rooms, nodes of the radio's database, and pairs of ours.
    pub(crate) members: usize,
    pub(crate) rooms: usize,
    pub(crate) nodes: usize,
    pub(crate) pairs: usize,
    /// Messages in each world, to Matrix and to the mesh, and the time in which its members talk.
    pub(crate) world_to_matrix: usize,
    pub(crate) world_to_mesh: usize,
    pub(crate) talk: Duration,
    /// Messages whose instructions are counted, for each kind of room and direction.
    pub(crate) instructions: usize,
    /// Idle time before the relay's memory is read.
    pub(crate) rest: Duration,
    /// Time over which the idle relay's processor time is measured.
    pub(crate) idle: Duration,
}

pub(crate) const FULL: Extent = Extent {
    starts: 10,
    to_matrix: 200,
    to_mesh: 40,
    burst: 500,
    soak: 5000,
    short_lives: 12,
    restarts: 12,
    half_minutes: 3,
    two_minutes: 2,
    silences: 2,
    homeserver_outages: 3,
    hang: Duration::from_secs(10),
    kill_to_mesh: 20,
    queue: 25,
    missed: 300,
    cost: 10,
    cost_burst: 100,
    cost_burst_mesh: 20,
    cost_idle: Duration::from_mins(5),
    rate_short: 150,
    rate_long: 500,
    members: 200,
    rooms: 50,
    nodes: 10_000,
    pairs: 1_000_000,
    world_to_matrix: 100,
    world_to_mesh: 15,
    talk: Duration::from_mins(1),
    instructions: 20,
    rest: Duration::from_secs(10),
    idle: Duration::from_mins(1),
};

pub(crate) const QUICK: Extent = Extent {
    starts: 3,
    to_matrix: 30,
    to_mesh: 5,
    burst: 100,
    soak: 1000,
    short_lives: 3,
    restarts: 3,
    half_minutes: 1,
    two_minutes: 0,
    silences: 0,
    homeserver_outages: 1,
    hang: Duration::from_secs(3),
    kill_to_mesh: 4,
    queue: 4,
    missed: 60,
    cost: 3,
    cost_burst: 100,
    cost_burst_mesh: 5,
    cost_idle: Duration::from_secs(40),
    rate_short: 30,
    rate_long: 60,
    members: 20,
    rooms: 8,
    nodes: 1000,
    pairs: 20_000,
    world_to_matrix: 10,
    world_to_mesh: 3,
    talk: Duration::from_secs(10),
    instructions: 3,
    rest: Duration::from_secs(3),
    idle: Duration::from_secs(10),
};
