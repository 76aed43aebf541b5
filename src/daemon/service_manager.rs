//! What the service manager (systemd) is told: that the relay is ready or stops, how it stands, and that it lives.
//!
//! The sign of life is true: the event loop has gone on, and the SQLite thread with it, while the runtime had time for this
//! task. A radio, a homeserver or a disk that is away keeps none of them from going on.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::control::Control;
use super::supervisor::Workers;
use relay_radio::LinkState;

/// How often it is told how the relay stands, if that has changed.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Tells that the relay is ready, and from then on how it stands and that it lives. Without a service manager nothing runs.
pub(super) fn start(workers: &Workers, control: &Arc<Control>) {
    say_ready();
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        let work = keep_told(Arc::clone(control), workers.stop.clone());
        workers.start("service manager", work);
    }
}

/// Tells that the relay is ready: after its start, and after it has read its configuration again.
pub(super) fn say_ready() {
    tell(&[NotifyState::Ready]);
}

/// Tells that the configuration is being read again.
pub(super) fn say_reloading() {
    if let Ok(began) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, began]);
    }
}

pub(super) fn say_stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Tells in one line how the relay stands.
pub(super) fn say(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell the service manager");
    }
}

async fn keep_told(control: Arc<Control>, stop: CancellationToken) {
    let limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
    let mut ticks = interval(limit.map_or(LOOK_EVERY, look_every));
    let mut told = "";
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let status = standing(&control);
        if status != told {
            say(status);
            told = status;
        }
        let Some(limit) = limit else { continue };
        let beat = control.runtime_state.facts().beat;
        if is_alive(beat.elapsed(), limit) {
            tell(&[NotifyState::Watchdog]);
        }
        control.runtime_state.ask_for_a_beat();
    }
}

/// A quarter of the watchdog's limit: an idle event loop is asked for a sign of life in time for the next look.
fn look_every(limit: Duration) -> Duration {
    (limit / 4).min(LOOK_EVERY)
}

/// Returns whether the event loop has gone on within half of the watchdog's limit. Since a look follows within a quarter,
/// one commit may take as long as the whole limit, and what is stuck is noticed within one and a half.
fn is_alive(beat: Duration, limit: Duration) -> bool {
    beat < limit / 2
}

/// How the relay stands, from what is known in memory.
fn standing(control: &Control) -> &'static str {
    let is_radio_ready = control.link.borrow().state == LinkState::Ready;
    let heard = control.pulse.heard();
    let has_session = control.runtime_state.facts().session.is_ok();
    let is_connected = heard.failing.is_none() && heard.answered.is_some();
    match (is_radio_ready, has_session, is_connected) {
        (true, true, true) => "radio ready, homeserver connected",
        (true, true, false) => "radio ready, homeserver away",
        (true, false, _) => "radio ready, no Matrix session",
        (false, true, true) => "radio away, homeserver connected",
        (false, true, false) => "radio away, homeserver away",
        (false, false, _) => "radio away, no Matrix session",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the longest time without a sign of life around a commit that takes this long.
    fn gap(commit: Duration, limit: Duration) -> Duration {
        let (mut last, mut longest) = (Duration::ZERO, Duration::ZERO);
        for look in 1..100 {
            let now = look_every(limit) * look;
            let beat = if now < commit { now } else { Duration::ZERO };
            if is_alive(beat, limit) {
                longest = longest.max(now.saturating_sub(last));
                last = now;
            }
        }
        longest
    }

    #[test]
    fn a_commit_as_long_as_the_limit_of_the_watchdog_is_no_reason_to_restart() {
        let limit = Duration::from_mins(3);
        for seconds in 1..=180 {
            let gap = gap(Duration::from_secs(seconds), limit);
            assert!(gap < limit, "{seconds} s: {gap:?}");
        }
    }

    #[test]
    fn what_is_stuck_gives_no_sign_of_life() {
        let limit = Duration::from_mins(3);
        assert!(is_alive(Duration::from_secs(20), limit));
        assert!(!is_alive(limit / 2, limit));
        assert!(!is_alive(limit * 9, limit));
    }
}
