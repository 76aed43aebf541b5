//! How much traffic the air bears: what a busy channel, or a share of the air time that is used up, holds back. Urgent
//! texts are never held back by it. No I/O, no clock.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use relay_config::ChannelUse;
use relay_model::Lane;

/// On a busy channel texts are spaced to that.
pub(super) const SLOW_DELAY: Duration = Duration::from_secs(10);
/// A radio tells each minute how busy its channel is; what it told longer ago counts no more.
const TELEMETRY_LIFE: Duration = Duration::from_mins(3);

#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Texts slow down, or stop but for urgent ones, on a channel that is busier.
    pub(crate) limits: Option<ChannelUse>,
    delay: Duration,
    /// The next text may go then while the channel is busy.
    slow_not_before: Option<Instant>,
    /// The radio's share of the air time is used up until then.
    resting_until: Option<Instant>,
    /// What the channel allows, as it was told last, and until when that counts.
    channel: Option<(Allowed, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    All,
    Few,
    Urgent,
}

impl Traffic {
    /// Makes it without limits; between two texts there is always `delay`.
    pub(crate) fn new(delay: Duration, slow_not_before: Option<Instant>) -> Self {
        Self {
            delay,
            slow_not_before,
            ..Self::default()
        }
    }

    pub(crate) fn on_channel_use(&mut self, percent: f32, now: Instant) {
        let fresh = self.channel.filter(|(_, lapses)| now < *lapses);
        let before = fresh.map_or(Allowed::All, |(allowed, _)| allowed);
        let after = self.allowed(percent);
        self.channel = Some((after, now + TELEMETRY_LIFE));
        if before == after {
            return;
        }
        match after {
            Allowed::All => info!(
                percent,
                "the channel is free again: texts are sent as usual"
            ),
            Allowed::Few => info!(percent, "the channel is busy: texts are spaced to 10 s"),
            Allowed::Urgent => warn!(
                percent,
                "the channel is very busy: only urgent texts are sent"
            ),
        }
    }

    /// A text went on its way, or the radio answered it, then.
    pub(crate) fn sent(&mut self, at: Instant) {
        let next = at + self.delay.max(SLOW_DELAY);
        self.slow_not_before = self.slow_not_before.max(Some(next));
    }

    /// The radio took a text, so it may transmit.
    pub(crate) fn taken(&mut self) {
        self.resting_until = None;
    }

    /// The radio's share of the air time is used up: trying would change nothing for a while.
    pub(crate) fn rest(&mut self, now: Instant, span: Duration) {
        if self.resting_until.is_none() {
            let seconds = span.as_secs();
            warn!(
                seconds,
                "the radio's share of the air time (duty cycle) is used up: only urgent texts are tried meanwhile"
            );
        }
        self.resting_until = self.resting_until.max(Some(now + span));
    }

    /// Returns before when the air bears nothing of a lane, as far as is known now.
    pub(super) fn not_before(&self, lane: Lane) -> Option<Instant> {
        if lane == Lane::Urgent {
            return None;
        }
        let busy = match self.channel {
            None | Some((Allowed::All, _)) => None,
            Some((Allowed::Few, lapses)) => self.slow_not_before.map(|next| next.min(lapses)),
            Some((Allowed::Urgent, lapses)) => Some(lapses),
        };
        busy.max(self.resting_until)
    }

    /// Returns until when the air bears only urgent texts, as far as is known now; `None` if it bears others.
    pub(crate) fn closed_until(&self, now: Instant) -> Option<Instant> {
        let busy = self.channel.filter(|(it, _)| *it == Allowed::Urgent);
        let busy = busy.map(|(_, lapses)| lapses);
        busy.max(self.resting_until).filter(|until| now < *until)
    }

    fn allowed(&self, percent: f32) -> Allowed {
        match self.limits {
            Some(limits) if percent > f32::from(limits.stop_above) => Allowed::Urgent,
            Some(limits) if percent > f32::from(limits.slow_above) => Allowed::Few,
            Some(_) | None => Allowed::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(limits: Option<(u8, u8)>) -> Traffic {
        let mut traffic = Traffic::new(Duration::from_secs(2), None);
        if let Some((slow_above, stop_above)) = limits {
            traffic.limits = Some(ChannelUse {
                slow_above,
                stop_above,
            });
        }
        traffic
    }

    /// Percent, and how long after a text the next one may go.
    #[test]
    fn a_busier_channel_holds_back_more() {
        let now = Instant::now();
        for (percent, wait) in [
            (0.0, None),
            (25.0, None),
            (25.1, Some(SLOW_DELAY)),
            (40.0, Some(SLOW_DELAY)),
            (40.1, Some(TELEMETRY_LIFE)),
            (100.0, Some(TELEMETRY_LIFE)),
        ] {
            let mut traffic = traffic(Some((25, 40)));
            traffic.sent(now);
            traffic.on_channel_use(percent, now);
            for lane in [Lane::Message, Lane::Reaction] {
                assert_eq!(
                    traffic.not_before(lane),
                    wait.map(|it| now + it),
                    "{percent}"
                );
            }
            assert_eq!(traffic.not_before(Lane::Urgent), None);
        }
    }

    #[test]
    fn a_longer_delay_than_that_of_a_busy_channel_stays() {
        let now = Instant::now();
        let mut traffic = Traffic::new(Duration::from_secs(30), None);
        traffic.limits = Some(ChannelUse {
            slow_above: 25,
            stop_above: 40,
        });
        traffic.on_channel_use(30.0, now);
        traffic.sent(now);
        let expected = Some(now + Duration::from_secs(30));
        assert_eq!(traffic.not_before(Lane::Message), expected);
    }

    #[test]
    fn without_limits_nothing_is_held_back() {
        let now = Instant::now();
        let mut traffic = traffic(None);
        traffic.sent(now);
        traffic.on_channel_use(100.0, now);
        assert_eq!(traffic.not_before(Lane::Message), None);
    }

    #[test]
    fn a_share_of_the_air_time_that_is_used_up_holds_back_until_a_text_is_taken() {
        let now = Instant::now();
        let mut traffic = traffic(None);
        traffic.rest(now, Duration::from_mins(5));
        let expected = Some(now + Duration::from_mins(5));
        assert_eq!(traffic.not_before(Lane::Message), expected);
        assert_eq!(traffic.not_before(Lane::Urgent), None);
        traffic.taken();
        assert_eq!(traffic.not_before(Lane::Message), None);
    }
}
