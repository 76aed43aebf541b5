//! How the radio is set up and what is wrong with it now, and how a fault changes that. Faults of the wire and the
//! connection are the driver's.

use std::mem::discriminant;
use std::time::{Duration, Instant};

use super::connection::Session;
use super::fault::{BroadcastAnswer, DirectAnswer, Fault, Refusals, Switch};
use super::firmware::Firmware;
use super::machine::Machine;
use super::packets;
use super::queues::{UNREAD, push_latest};

/// How the radio is set up and what is wrong with it now.
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

    fn note(&mut self, fault: &Fault) {
        let kind = discriminant(fault);
        self.said.retain(|it| discriminant(it) != kind);
        self.said.push(fault.clone());
    }
}

impl Machine {
    /// Lets something go wrong, or right again; says why it cannot.
    pub(super) fn set_condition(&mut self, fault: &Fault, now: Instant) -> Result<(), String> {
        let state = &mut self.state;
        match fault {
            Fault::DirectAnswer { answer, error } => {
                state.direct_answer = *answer;
                state.direct_error = *error;
            }
            Fault::BroadcastAnswer { answer } => state.broadcast_answer = *answer,
            Fault::Refuse(refusals) => state.refuse = *refusals,
            Fault::Silent { count, lost: false } => state.silent = *count,
            Fault::Silent { count, lost: true } => state.lost = *count,
            Fault::SlowConfig { ms } => state.slow_config = Duration::from_millis(*ms),
            Fault::HangUp { after } => state.hang_up = Some(*after),
            Fault::StaleComplete { nonce } => state.stale_complete = Some(*nonce),
            Fault::LostFrames { from, count } => state.lost_frames = Some((*from, *count)),
            Fault::Preset { number } => state.preset = *number,
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
            Fault::LogRecord { text } => {
                let record = self.log_record(text, now);
                push_latest(&mut self.queues.log, record, UNREAD);
            }
            Fault::Notification { text, reply_id } => self.push_notification(text, *reply_id, now),
            Fault::Answer {
                request_id,
                from,
                error,
            } => {
                let own = self.mesh.own_num();
                let answer = match from.filter(|from| *from != own) {
                    Some(from) => packets::answer_of(from, own, *request_id, *error, 5.0),
                    None => packets::own_routing(own, 0, *request_id, *error),
                };
                self.push_packet(answer, now);
            }
            Fault::Locked(_) => {
                state.note(fault);
                self.tell_lock();
            }
            Fault::Reboot { .. } => {
                self.close(now);
                self.restart(now);
            }
            Fault::Rebooted {} => {
                // The client keeps its connection, and has to ask for everything again.
                self.session = self.session.take().map(|it| Session::new(it.heard_at));
                self.restart(now);
            }
            Fault::Close { .. } | Fault::Away { .. } => self.close(now),
            // Those that can be switched; what is noted of the wire's own faults nobody asks for.
            _ => state.note(fault),
        }
        Ok(())
    }
}
