//! How the radio is set up and what is wrong with it now.

use std::mem::discriminant;
use std::time::Duration;

use super::firmware::Firmware;
use crate::lines::{BroadcastAnswer, DirectAnswer, Fault, Refusals, Switch};

#[derive(Debug, Default)]
pub(super) struct Condition {
    /// How often the radio has started.
    pub(super) reboot_count: u32,
    pub(super) firmware: Firmware,
    /// The modem preset's number; none if it is set up by hand.
    pub(super) preset: Option<i32>,
    pub(super) direct_answer: DirectAnswer,
    pub(super) direct_error: u32,
    pub(super) broadcast_answer: BroadcastAnswer,
    pub(super) refuse: Refusals,
    pub(super) silent: u32,
    pub(super) lost: u32,
    pub(super) slow_config: Duration,
    pub(super) hang_up: Option<usize>,
    pub(super) stale_complete: Option<u32>,
    pub(super) lost_frames: Option<(usize, usize)>,
    pub(super) channel_use: u8,
    /// What was last said of each other kind of fault.
    pub(super) said: Vec<Fault>,
}

impl Condition {
    /// Returns whether a fault that can be switched is on.
    pub(super) fn is_on(&self, kind: fn(Switch) -> Fault) -> bool {
        self.said.contains(&kind(Switch::ON))
    }

    pub(super) fn note(&mut self, fault: &Fault) {
        let kind = discriminant(fault);
        self.said.retain(|it| discriminant(it) != kind);
        self.said.push(fault.clone());
    }
}
