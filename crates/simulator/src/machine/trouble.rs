//! The effect of faults on the radio. The driver handles faults of the wire and the connection.

use std::time::{Duration, Instant};

use super::queues::{UNREAD, push_latest};
use super::{Machine, session::ClientSession};
use crate::lines::{Fault, Switch};
use crate::mesh::packets;

impl Machine {
    /// Applies a fault or its end; an error tells why that is impossible.
    pub(crate) fn set_condition(&mut self, fault: &Fault, now: Instant) -> Result<(), String> {
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
                state.apply_fault(fault);
                self.tell_lock();
            }
            Fault::Reboot { .. } => {
                self.close(now);
                self.restart(now);
            }
            Fault::Rebooted {} => {
                // The client keeps its connection, and has to request the configuration again.
                if let Some(session) = &mut self.session {
                    *session = ClientSession::new(session.heard_at);
                }
                self.restart(now);
            }
            Fault::Close { .. } | Fault::Away { .. } => self.close(now),
            // Faults with a switch; those of the wire are recorded too, and never read here.
            _ => state.apply_fault(fault),
        }
        Ok(())
    }
}
