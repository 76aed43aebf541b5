//! The radio's settings and its current faults.

use std::mem::discriminant;
use std::time::Duration;

use super::firmware::Firmware;
use crate::lines::{BroadcastAnswer, DirectAnswer, Fault, Refusals, Switch};

/// The settings that lines of the input change, and the faults that are on.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) reboot_count: u32,
    pub(super) firmware: Firmware,
    /// The number of the modem preset; `None` for manual settings.
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
    /// The last fault of each other kind.
    pub(super) faults: Vec<Fault>,
}

impl Condition {
    /// Returns whether the last line about such a fault switched it on.
    pub(super) fn is_on(&self, kind: fn(Switch) -> Fault) -> bool {
        self.faults.contains(&kind(Switch::ON))
    }

    pub(super) fn apply_fault(&mut self, fault: &Fault) {
        let kind = discriminant(fault);
        self.faults.retain(|it| discriminant(it) != kind);
        self.faults.push(fault.clone());
    }
}
