//! What is wrong with the radio now, and how a fault changes that. Faults of the wire and the connection are the driver's.

use std::time::{Duration, Instant};

use super::fault::{DirectAnswer, Fault};
use super::machine::Machine;

/// What is wrong with the radio now.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) nobody_repeats: bool,
    pub(super) direct_answer: DirectAnswer,
    pub(super) direct_error: u32,
    pub(super) refuse: Option<Refusals>,
    pub(super) silent: u32,
    pub(super) lost: u32,
    pub(super) duty_cycle: bool,
    pub(super) slow_config: Duration,
    pub(super) never_complete: bool,
    pub(super) cached: bool,
    pub(super) unnoticed_close: bool,
    pub(super) slow_reads: bool,
    pub(super) no_telemetry: bool,
    pub(super) channel_use: u8,
}

/// The next packets are refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusals {
    pub(super) error: u32,
    pub(super) count: u32,
    pub(super) nak: bool,
    pub(super) skip: u32,
}

impl Machine {
    /// Lets something go wrong, or right again.
    ///
    /// # Errors
    /// Says why it cannot.
    pub(super) fn set_condition(&mut self, fault: &Fault, now: Instant) -> Result<(), String> {
        match fault {
            Fault::NobodyRepeats { on } => self.faults.nobody_repeats = *on,
            Fault::DirectAnswer { answer, error } => {
                self.faults.direct_answer = *answer;
                self.faults.direct_error = *error;
            }
            Fault::Refuse {
                error,
                count,
                nak,
                skip,
            } => {
                self.faults.refuse = Some(Refusals {
                    error: *error,
                    count: *count,
                    nak: *nak,
                    skip: *skip,
                });
            }
            Fault::Silent { count, lost: false } => self.faults.silent = *count,
            Fault::Silent { count, lost: true } => self.faults.lost = *count,
            Fault::RegionUnset { on } => self.state.region_set = !on,
            Fault::TransmitOff { on } => self.state.transmit_enabled = !on,
            Fault::DutyCycle { on } => self.faults.duty_cycle = *on,
            Fault::SlowConfig { ms } => self.faults.slow_config = Duration::from_millis(*ms),
            Fault::NeverComplete { on } => self.faults.never_complete = *on,
            Fault::Cached { on } => self.faults.cached = *on,
            Fault::UnnoticedClose { on } => self.faults.unnoticed_close = *on,
            Fault::SlowReads { on } => self.faults.slow_reads = *on,
            Fault::Queue { capacity } => self.queues.set_capacity(*capacity),
            Fault::Channel {
                index,
                name,
                enabled,
            } => return self.mesh.change_channel(*index, name.as_deref(), *enabled),
            Fault::Licensed { on } => {
                if let Some(user) = &mut self.mesh.own.user {
                    user.is_licensed = *on;
                }
            }
            Fault::Notification { text, reply_id } => self.push_notification(text, *reply_id, now),
            Fault::Telemetry { on } => self.faults.no_telemetry = !on,
            Fault::ChannelUse { percent } => {
                self.faults.channel_use = *percent;
                self.tell_metrics(now);
            }
            Fault::Reboot { .. } => self.reboot(now),
            Fault::Close { .. } | Fault::Away { .. } => self.close(now),
            Fault::HalfOpen {}
            | Fault::Stall { .. }
            | Fault::Garbage { .. }
            | Fault::Log { .. }
            | Fault::Frame { .. }
            | Fault::Split { .. }
            | Fault::Join { .. }
            | Fault::Rebooted {} => {}
        }
        Ok(())
    }
}
