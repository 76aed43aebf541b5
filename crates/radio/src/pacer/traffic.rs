//! Limits by channel utilisation and by the radio's duty cycle. Urgent texts are exempt. No I/O, no clock.

use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use relay_config::ChannelUse;
use relay_model::Lane;

/// Minimum time between two texts on a busy channel.
pub(super) const SLOW_DELAY: Duration = Duration::from_secs(10);
/// How long a measured channel utilisation is valid; radios report it each minute.
const TELEMETRY_LIFE: Duration = Duration::from_mins(3);

/// How often each step of the utilisation is told.
const TOLD_AGAIN: Duration = Duration::from_hours(12);

/// When the air permits the next text. Measurements and refusals of the radio are told to it.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// The utilisation from which texts slow down, and from which only urgent ones go.
    pub(crate) limits: Option<ChannelUse>,
    delay: Duration,
    /// Earliest time of the next text while the channel is busy.
    slow_not_before: Option<Instant>,
    /// When the exhausted duty cycle is tried again.
    resting_until: Option<Instant>,
    /// The allowance by the last measurement, and until when it is valid.
    channel: Option<(Allowed, Instant)>,
    /// When each allowance was last told, the widest first.
    told: [Option<Instant>; 3],
}

/// What a measured channel utilisation permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    All,
    Few,
    Urgent,
}

impl Traffic {
    /// Creates it without limits; `delay` always separates two texts.
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
        // Its use may go up and down around a limit all day.
        let [all, few, urgent] = &mut self.told;
        let told = match after {
            Allowed::All => all,
            Allowed::Few => few,
            Allowed::Urgent => urgent,
        };
        if told.is_some_and(|at| now < at + TOLD_AGAIN) {
            debug!(percent, "the channel's use has passed a limit again");
            return;
        }
        *told = Some(now);
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

    /// A text was sent, or answered, at that time.
    pub(crate) fn sent(&mut self, at: Instant) {
        let next = at + self.delay.max(SLOW_DELAY);
        self.slow_not_before = self.slow_not_before.max(Some(next));
    }

    /// The radio accepted a text, so its duty cycle is not exhausted.
    pub(crate) fn taken(&mut self) {
        self.resting_until = None;
    }

    /// The duty cycle is exhausted: no text for that span.
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

    /// Returns until when a lane is held back, as far as is known now.
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

    /// Returns until when only urgent texts may go, as far as is known now; `None` if there is no limit.
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

    /// Percent, and the delay between two texts.
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
