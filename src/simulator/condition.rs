//! How the radio is set up and what is wrong with it now, and how a fault changes that. Faults of the wire and the
//! connection are the driver's.

use std::time::{Duration, Instant};

use super::fault::{BroadcastAnswer, DirectAnswer, Fault, Refusals, Switch};
use super::firmware::Firmware;
use super::machine::Machine;
use super::packets;

/// How the radio is set up and what is wrong with it now.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// How often the radio has started.
    pub(super) reboot_count: u32,
    pub(super) firmware: Firmware,
    /// The modem preset's number; none if it is set up by hand.
    pub(super) preset: Option<i32>,
    pub(super) region_unset: bool,
    pub(super) transmit_off: bool,
    pub(super) locked: bool,
    pub(super) nobody_repeats: bool,
    pub(super) direct_answer: DirectAnswer,
    pub(super) direct_error: u32,
    pub(super) broadcast_answer: BroadcastAnswer,
    pub(super) refuse: Refusals,
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
    pub(super) unnoticed_close: bool,
    pub(super) slow_reads: bool,
    pub(super) no_telemetry: bool,
    pub(super) channel_use: u8,
}

impl Machine {
    /// Lets something go wrong, or right again; says why it cannot.
    pub(super) fn set_condition(&mut self, fault: &Fault, now: Instant) -> Result<(), String> {
        let state = &mut self.state;
        match fault {
            Fault::NobodyRepeats(Switch { on }) => state.nobody_repeats = *on,
            Fault::DirectAnswer { answer, error } => {
                state.direct_answer = *answer;
                state.direct_error = *error;
            }
            Fault::BroadcastAnswer { answer } => state.broadcast_answer = *answer,
            Fault::Refuse(refusals) => state.refuse = *refusals,
            Fault::Silent { count, lost: false } => state.silent = *count,
            Fault::Silent { count, lost: true } => state.lost = *count,
            Fault::RegionUnset(Switch { on }) => state.region_unset = *on,
            Fault::TransmitOff(Switch { on }) => state.transmit_off = *on,
            Fault::DutyCycle(Switch { on }) => state.duty_cycle = *on,
            Fault::SlowConfig { ms } => state.slow_config = Duration::from_millis(*ms),
            Fault::NeverComplete(Switch { on }) => state.never_complete = *on,
            Fault::Cached(Switch { on }) => state.cached = *on,
            Fault::HangUp { after } => state.hang_up = Some(*after),
            Fault::EndlessConfig(Switch { on }) => state.endless_config = *on,
            Fault::StaleComplete { nonce } => state.stale_complete = Some(*nonce),
            Fault::LostFrames { from, count } => state.lost_frames = Some((*from, *count)),
            Fault::StoreForwardServer(Switch { on }) => state.store_forward = *on,
            Fault::OtherTransport(Switch { on }) => state.other_transport = *on,
            Fault::Chatter(Switch { on }) => state.chatter = *on,
            Fault::SimulatedRadio(Switch { on }) => state.simulated_radio = *on,
            Fault::Patient(Switch { on }) => state.patient = *on,
            Fault::MqttEcho(Switch { on }) => state.mqtt_echo = *on,
            Fault::EmptyAcks(Switch { on }) => state.empty_acks = *on,
            Fault::ShouldRelease(Switch { on }) => state.should_release = *on,
            Fault::Preset { number } => state.preset = *number,
            Fault::UnnoticedClose(Switch { on }) => state.unnoticed_close = *on,
            Fault::SlowReads(Switch { on }) => state.slow_reads = *on,
            Fault::Telemetry(Switch { on }) => state.no_telemetry = !on,
            Fault::ChannelUse { percent } => {
                state.channel_use = *percent;
                self.tell_metrics(now);
            }
            Fault::Licensed(Switch { on }) => {
                if let Some(user) = &mut self.mesh.own.user {
                    user.is_licensed = *on;
                }
            }
            Fault::SwapChannels { first, second } => {
                return self.mesh.swap_channels(*first, *second);
            }
            Fault::Channel(change) => return self.mesh.change_channel(change),
            Fault::Queue { capacity } => self.queues.set_capacity(*capacity),
            Fault::LogRecord { text } => self.push_log_record(text, now),
            Fault::Notification { text, reply_id } => self.push_notification(text, *reply_id, now),
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
            Fault::Locked(Switch { on }) => self.lock(*on),
            Fault::Reboot { .. } => {
                self.close(now);
                self.restart(now);
            }
            Fault::Rebooted {} => self.reboot_on_the_same_connection(now),
            Fault::Close { .. } | Fault::Away { .. } => self.close(now),
            Fault::HalfOpen {}
            | Fault::Stall(_)
            | Fault::Garbage { .. }
            | Fault::Log { .. }
            | Fault::Frame { .. }
            | Fault::Split(_)
            | Fault::Join { .. } => {}
        }
        Ok(())
    }
}
