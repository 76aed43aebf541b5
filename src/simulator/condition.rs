//! What is wrong with the radio now, and how a fault changes that. Faults of the wire and the connection are the driver's.

use std::time::{Duration, Instant};

use super::fault::{BroadcastAnswer, DirectAnswer, Fault};
use super::machine::Machine;
use super::packets;

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
    pub(super) hang_up: Option<usize>,
    pub(super) endless_config: bool,
    pub(super) stale_complete: Option<u32>,
    pub(super) lost_frames: Option<(usize, usize)>,
    pub(super) store_forward: bool,
    pub(super) other_transport: bool,
    pub(super) chatter: bool,
    pub(super) simulated_radio: bool,
    pub(super) patient: bool,
    pub(super) mqtt_echo: bool,
    pub(super) empty_acks: bool,
    pub(super) should_release: bool,
    pub(super) broadcast_answer: BroadcastAnswer,
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
            Fault::HangUp { after } => self.faults.hang_up = Some(*after),
            Fault::EndlessConfig { on } => self.faults.endless_config = *on,
            Fault::StaleComplete { nonce } => self.faults.stale_complete = Some(*nonce),
            Fault::LostFrames { from, count } => self.faults.lost_frames = Some((*from, *count)),
            Fault::Locked { on } => self.lock(*on),
            Fault::StoreForwardServer { on } => self.faults.store_forward = *on,
            Fault::OtherTransport { on } => self.faults.other_transport = *on,
            Fault::Chatter { on } => self.faults.chatter = *on,
            Fault::LogRecord { text } => self.push_log_record(text, now),
            Fault::SimulatedRadio { on } => {
                self.faults.simulated_radio = *on;
                self.air.tell_begin(*on);
            }
            Fault::Patient { on } => self.faults.patient = *on,
            Fault::MqttEcho { on } => self.faults.mqtt_echo = *on,
            Fault::EmptyAcks { on } => self.faults.empty_acks = *on,
            Fault::ShouldRelease { on } => self.faults.should_release = *on,
            Fault::BroadcastAnswer { answer } => self.faults.broadcast_answer = *answer,
            Fault::Answer {
                request_id,
                from,
                error,
            } => {
                let own = self.mesh.own.num;
                let answer = match from.filter(|from| *from != own) {
                    Some(from) => packets::answer_of(from, own, *request_id, *error, 5.0),
                    None => packets::own_routing(own, 0, *request_id, *error),
                };
                self.push_packet(answer, now);
            }
            Fault::Preset { number } => self.state.preset = *number,
            Fault::SwapChannels { first, second } => {
                return self.mesh.swap_channels(*first, *second);
            }
            Fault::UnnoticedClose { on } => self.faults.unnoticed_close = *on,
            Fault::SlowReads { on } => self.faults.slow_reads = *on,
            Fault::Queue { capacity } => self.queues.set_capacity(*capacity),
            Fault::Channel {
                index,
                name,
                key,
                enabled,
            } => {
                let (name, key) = (name.as_deref(), key.as_deref());
                return self.mesh.change_channel(*index, name, key, *enabled);
            }
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
            Fault::Rebooted {} => self.reboot_on_the_same_connection(now),
            Fault::Close { .. } | Fault::Away { .. } => self.close(now),
            Fault::HalfOpen {}
            | Fault::Stall { .. }
            | Fault::Garbage { .. }
            | Fault::Log { .. }
            | Fault::Frame { .. }
            | Fault::Split { .. }
            | Fault::Join { .. } => {}
        }
        Ok(())
    }
}
