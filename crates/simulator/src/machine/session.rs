//! The radio's state of one connection. No behaviour.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use relay_wire::proto::wire::lockdown_status::State;

use super::limits::Limits;

/// Time after which a silent client is dropped.
pub(super) const IDLE: Duration = Duration::from_mins(15);

/// Delay with which a radio closes the connection after a disconnect message.
pub(super) const HANG_UP: Duration = Duration::from_millis(20);

/// The connection of the client, as the radio knows it.
#[derive(Debug)]
pub(super) struct ClientSession {
    pub(super) limits: Limits,
    pub(super) phase: Phase,
    pub(super) heartbeat: bool,
    pub(super) heard_at: Instant,
    /// A change of the lock that the client has not been told.
    pub(super) lockdown: Option<State>,
    /// Frames of the client that are read late, with their times.
    pub(super) late_frames: VecDeque<(Instant, Vec<u8>)>,
    /// A frame that another one precedes.
    pub(super) held: Option<Vec<u8>>,
}

impl ClientSession {
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

/// How far the client's handshake has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// No request yet.
    Silent,
    Configuring {
        frames: VecDeque<Vec<u8>>,
        next_at: Instant,
    },
    Live,
}
