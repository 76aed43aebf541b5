//! The handlers of a session's deadlines, and the setting of the radio's clock.

use std::iter::once;
use std::time::{Duration, Instant};

use super::timers::{
    ASK_EVERY, HANDSHAKE_LIMIT, HANDSHAKE_LONGEST, HEARTBEAT_EVERY, MUTE_AGAIN, SILENCE, Timer,
    WAKE_PAUSE,
};
use super::{FIRST_HEARTBEAT, Output, Phase, Session, console::LineKind, encoded};
use crate::{mesh::translate, now::Now};
use relay_model::{PacketId, Timestamp};
use relay_wire::proto::{self, to_radio::PayloadVariant as ToRadio};

/// Deviation of our clock from the time set before, above which the radio's clock is set again.
const CLOCK_SLACK: Duration = Duration::from_secs(5);
/// How long after setting its clock the radio may still deliver packets with the old time.
pub(super) const DATED_BEFORE: Duration = Duration::from_secs(10);
/// Before this time, in 2024, our own clock counts as not set.
const PLAUSIBLE_TIME: Timestamp = Timestamp(1_704_067_200_000);

impl Session {
    /// Returns when [`Session::on_time`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.values().min().copied()
    }

    /// Handles one timer that is due; to be called again while [`deadline`](Self::deadline) is past.
    pub fn on_time(&mut self, now: Now) -> Vec<Output> {
        let mut timers = self.timers.iter();
        let due = timers.find(|(_, at)| now.instant >= **at);
        let Some(timer) = due.map(|(timer, _)| *timer) else {
            return Vec::new();
        };
        self.timers.remove(&timer);
        match timer {
            Timer::Wake => {
                let pause = self.options.on_cable.then_some(WAKE_PAUSE);
                let asks_at = now.instant + pause.unwrap_or_default();
                self.timers.insert(Timer::Ask, asks_at);
                once(Output::Wake).chain(self.on_time(now)).collect()
            }
            Timer::Ask => {
                self.questions = 1;
                self.phase = Phase::Configuring;
                let limit = now.instant + HANDSHAKE_LONGEST;
                self.timers.insert(Timer::Handshake, limit);
                self.expect_configuration(now);
                self.schedule_ask_again(now);
                vec![self.question()]
            }
            Timer::Untold => vec![Output::Lost(if self.heard {
                "the radio did not tell its configuration"
            } else {
                "nothing that speaks as a radio does answers there"
            })],
            Timer::Handshake => {
                let cause =
                    "the radio did not come to the end of its configuration within 5 minutes";
                vec![Output::Lost(cause)]
            }
            Timer::AskAgain => {
                self.schedule_ask_again(now);
                vec![Output::Wake, self.question()]
            }
            Timer::Silence => {
                let cause = match self.memory.mute_links {
                    0 => "the radio has been silent for 75 seconds",
                    _ => "the radio is silent again, and answers no heartbeat",
                };
                if !self.answers {
                    self.memory.mute_links = self.memory.mute_links.saturating_add(1);
                }
                vec![Output::Lost(cause)]
            }
            Timer::BelieveStart => self.on_line(LineKind::Start, now),
            Timer::BelieveLog => self.on_line(LineKind::Log, now),
            Timer::Quiet => {
                self.quiet.on_request(now.instant);
                self.look_again("it hands over no packet", now)
            }
            Timer::Heartbeat => {
                let heartbeat = Output::Frame(self.heartbeat(now.instant));
                once(heartbeat).chain(self.give_time(now)).collect()
            }
        }
    }

    /// The configuration was requested, or a frame of it arrived.
    pub(super) fn expect_configuration(&mut self, now: Now) {
        let limit = now.instant + HANDSHAKE_LIMIT;
        self.timers.insert(Timer::Untold, limit);
    }

    /// A frame arrived from a radio whose configuration is complete.
    pub(super) fn restart_silence_timer(&mut self, now: Now) {
        let silence = SILENCE.after(self.memory.mute_links.saturating_add(1), 0.0);
        self.timers.insert(Timer::Silence, now.instant + silence);
    }

    /// Schedules the configuration request for a radio that delivers no packets.
    pub(super) fn watch_quiet(&mut self) {
        let is_mute = self.profile().is_some_and(|it| !it.transmits());
        let at = match self.ready_since {
            Some(since) if is_mute => Some(since + MUTE_AGAIN),
            // On other links a restart ends the link.
            _ => self.options.on_cable.then(|| self.quiet.deadline()),
        };
        let at = at.filter(|_| self.phase == Phase::Idle);
        self.timers.extend(at.map(|at| (Timer::Quiet, at)));
    }

    fn schedule_ask_again(&mut self, now: Now) {
        if self.options.on_cable {
            let again = now.instant + ASK_EVERY;
            self.timers.insert(Timer::AskAgain, again);
        }
    }

    pub(super) fn question(&self) -> Output {
        Output::Frame(encoded(ToRadio::WantConfigId(self.nonce)))
    }

    /// Returns a heartbeat to write now; the interval to the next one starts anew.
    pub fn heartbeat(&mut self, now: Instant) -> Vec<u8> {
        self.timers.insert(Timer::Heartbeat, now + HEARTBEAT_EVERY);
        let nonce = self.heartbeat_nonce;
        self.heartbeat_nonce = nonce.checked_add(1).unwrap_or(FIRST_HEARTBEAT);
        encoded(ToRadio::Heartbeat(proto::Heartbeat { nonce }))
    }

    /// Sets the radio's clock, which dates its packets: once, and again after a step of our clock.
    pub(super) fn give_time(&mut self, now: Now) -> Option<Output> {
        let is_given = self.time_given.is_some_and(|given| {
            let shown = given.wall + now.instant.saturating_duration_since(given.instant);
            now.wall.since(shown).max(shown.since(now.wall)) <= CLOCK_SLACK
        });
        if !self.options.set_time || now.wall < PLAUSIBLE_TIME || is_given {
            return None;
        }
        let own = self.last_profile()?.own.num;
        if self.time_given.replace(now).is_some() {
            self.dated_before = Some(now.instant + DATED_BEFORE);
        }
        // A recent id would be ignored.
        self.times_given = self.times_given.wrapping_add(1);
        let id = PacketId(self.nonce.wrapping_add(self.times_given).max(1));
        let packet = translate::set_time(own, id, now.wall)?;
        Some(Output::Frame(encoded(ToRadio::Packet(packet))))
    }
}
