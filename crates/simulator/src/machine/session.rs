//! What the radio knows of one connection. No behaviour.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use relay_wire::proto::wire::lockdown_status::State;

use super::limits::Limits;

/// A client that sends nothing for so long is dropped.
pub(super) const IDLE: Duration = Duration::from_mins(15);

/// So long a radio takes to close the connection of a client that says goodbye.
pub(super) const HANG_UP: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Session {
    pub(super) limits: Limits,
    pub(super) phase: Phase,
    pub(super) heartbeat: bool,
    pub(super) heard_at: Instant,
    /// How the lock stands, if that is still to be told.
    pub(super) lockdown: Option<State>,
    /// Frames of the client that are read late, and when.
    pub(super) late_frames: VecDeque<(Instant, Vec<u8>)>,
    /// A frame that another one was put before.
    pub(super) held: Option<Vec<u8>>,
}

impl Session {
    pub(super) fn new(heard_at: Instant) -> Self {
        Self {
            limits: Limits::default(),
            phase: Phase::Silent,
            heartbeat: false,
            heard_at,
            lockdown: None,
            late_frames: VecDeque::new(),
            held: None,
        }
    }
}

#[derive(Debug)]
pub(super) enum Phase {
    /// The client has not asked for anything yet.
    Silent,
    /// The configuration is on its way.
    Configuring {
        frames: VecDeque<Vec<u8>>,
        next_at: Instant,
    },
    /// The configuration is told.
    Live,
}
