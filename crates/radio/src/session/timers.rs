//! What a session does when its time has come: it wakes the radio, asks it, asks again, looks after it, and gives it up.
//! And the time that it gives the radio.

use std::iter::once;
use std::time::{Duration, Instant};

use super::super::console::Sign;
use super::super::moment::Moment;
use super::super::translate;
use super::{FIRST_HEARTBEAT, Output, Phase, Session, encoded, frame};
use relay_model::{Backoff, PacketId, Timestamp};
use relay_wire::proto::{self, to_radio::PayloadVariant as ToRadio};

/// On a cable the link needs so long to come to its senses after the wake bytes.
const WAKE_PAUSE: Duration = Duration::from_millis(100);
/// A radio on a cable that has just been plugged in is still starting, and does not hear the first question.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long the radio may be silent before its handshake is complete.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
/// How long the whole handshake may take.
const HANDSHAKE_LONGEST: Duration = Duration::from_mins(5);
/// A radio that transmits nothing, or is locked, may be set right by another client, of which nobody tells us: it is asked
/// again so often.
pub(super) const MUTE_AGAIN: Duration = Duration::from_mins(10);
/// How often the link is probed.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(30);
/// No frame for so long: the link is lost. A radio that answers no heartbeat at all is given twice as long on each further
/// link, up to the longest: its silence says little, and what is said on the mesh while the link is made again may not be
/// kept.
const SILENCE: Backoff = Backoff::new(Duration::from_secs(75), Duration::from_mins(10));
/// The radio is given the time again when our clock is off by more from what it was given.
const CLOCK_SLACK: Duration = Duration::from_secs(5);
/// What the radio has dated by the time that it was given before our clock was set may be on its way to us for so long.
pub(super) const DATED_BEFORE: Duration = Duration::from_secs(10);
/// Before this year 2024 our own clock is not set either.
const PLAUSIBLE_TIME: Timestamp = Timestamp(1_704_067_200_000);

/// What a session does when its time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Wake,
    Ask,
    /// Gives up a handshake that does not end.
    Handshake,
    AskAgain,
    /// Gives up a radio from which nothing comes any more.
    Silence,
    /// Believes text that it has not believed yet.
    Believe(Sign),
    /// Asks a radio that only says that it is there.
    Quiet,
    Heartbeat,
}

impl Session {
    /// Returns when [`Session::on_time`] wants to be called.
    pub fn deadline(&self) -> Instant {
        let times = self.timers().map(|(_, at)| at);
        // There is one in each phase.
        times.min().unwrap_or(self.next_heartbeat)
    }

    /// Returns what is to be done when, as things stand; where several are due, the first is done.
    fn timers(&self) -> impl Iterator<Item = (Timer, Instant)> + use<> {
        let timers = match self.phase {
            Phase::Asleep(until) => vec![(Timer::Wake, Some(until))],
            Phase::Waking(until) => vec![(Timer::Ask, Some(until))],
            Phase::Configuring { again } => {
                let longest = self.asked_at + HANDSHAKE_LONGEST;
                let limit = longest.min(self.told_at + HANDSHAKE_LIMIT);
                vec![(Timer::Handshake, Some(limit)), (Timer::AskAgain, again)]
            }
            Phase::Idle => {
                let memory = &self.memory;
                let silence = SILENCE.after(memory.mute_links.saturating_add(1), 0.0);
                vec![
                    (Timer::Silence, Some(self.last_frame + silence)),
                    (Timer::Believe(Sign::Start), memory.start_doubt.deadline()),
                    (Timer::Believe(Sign::Log), memory.doubt.deadline()),
                    (Timer::Quiet, self.quiet_until()),
                    (Timer::Heartbeat, Some(self.next_heartbeat)),
                ]
            }
        };
        let timers = timers.into_iter();
        timers.filter_map(|(timer, at)| Some((timer, at?)))
    }

    /// Returns when a radio is asked again that only says that it is there.
    fn quiet_until(&self) -> Option<Instant> {
        let since = self.ready_since?;
        if self.profile().is_some_and(|it| !it.transmits()) {
            return Some(since + MUTE_AGAIN);
        }
        // On other links a radio cannot start anew behind our back.
        self.options.on_cable.then(|| self.quiet.deadline())
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Moment) -> Vec<Output> {
        let Some((timer, _)) = self.timers().find(|(_, at)| now.instant >= *at) else {
            return Vec::new();
        };
        match timer {
            Timer::Wake => {
                let pause = self.options.on_cable.then_some(WAKE_PAUSE);
                self.phase = Phase::Waking(now.instant + pause.unwrap_or_default());
                once(Output::Wake).chain(self.on_time(now)).collect()
            }
            Timer::Ask => {
                (self.asked_at, self.told_at) = (now.instant, now.instant);
                self.questions = 1;
                self.asks(now);
                vec![self.question()]
            }
            Timer::Handshake => vec![Output::Lost(if !self.heard {
                "nothing that speaks as a radio does answers there"
            } else if now.instant >= self.told_at + HANDSHAKE_LIMIT {
                "the radio did not tell its configuration"
            } else {
                "the radio did not come to the end of its configuration within 5 minutes"
            })],
            Timer::AskAgain => {
                self.asks(now);
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
            Timer::Believe(sign) => self.on_sign(sign, now),
            Timer::Quiet => {
                self.quiet.asks(now.instant);
                self.look_again("it hands over no packet", now)
            }
            Timer::Heartbeat => {
                let heartbeat = Output::Frame(self.heartbeat(now.instant));
                once(heartbeat).chain(self.give_time(now)).collect()
            }
        }
    }

    fn asks(&mut self, now: Moment) {
        let again = self.options.on_cable.then(|| now.instant + ASK_EVERY);
        self.phase = Phase::Configuring { again };
    }

    pub(super) fn question(&self) -> Output {
        frame(ToRadio::WantConfigId(self.nonce))
    }

    /// Returns a heartbeat to be written now; the next one is due as long after it as after any other.
    pub fn heartbeat(&mut self, now: Instant) -> Vec<u8> {
        self.next_heartbeat = now + HEARTBEAT_EVERY;
        let nonce = self.heartbeat_nonce;
        self.heartbeat_nonce = nonce.checked_add(1).unwrap_or(FIRST_HEARTBEAT);
        encoded(ToRadio::Heartbeat(proto::Heartbeat { nonce }))
    }

    /// Gives the radio the time, once, and again when our clock was set: what it hears is dated by it.
    pub(super) fn give_time(&mut self, now: Moment) -> Option<Output> {
        let is_told = self.time_given.is_some_and(|given| {
            let shown = given.wall + now.instant.saturating_duration_since(given.instant);
            now.wall.since(shown).max(shown.since(now.wall)) <= CLOCK_SLACK
        });
        if !self.options.set_time || now.wall < PLAUSIBLE_TIME || is_told {
            return None;
        }
        let own = self.last_profile()?.own.num;
        if self.time_given.replace(now).is_some() {
            self.dated_before = Some(now.instant + DATED_BEFORE);
        }
        // Not one of its last ids, which it would ignore.
        self.times_given = self.times_given.wrapping_add(1);
        let id = PacketId(self.nonce.wrapping_add(self.times_given).max(1));
        let packet = translate::set_time(own, id, now.wall)?;
        Some(frame(ToRadio::Packet(packet)))
    }
}
