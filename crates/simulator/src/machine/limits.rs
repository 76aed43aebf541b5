//! The firmware's limits for one connection: its rate limits, and its memory of packet ids.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use relay_wire::proto::PortNum;

use super::queues::push_latest;

const REMEMBERED_IDS: usize = 20;

/// What the radio remembers of one connection, to limit it.
#[derive(Debug, Default)]
pub(super) struct Limits {
    ids: VecDeque<u32>,
    last: HashMap<PortNum, Instant>,
}

impl Limits {
    /// Returns whether the connection sent that id recently, and remembers it.
    pub(super) fn is_repeated(&mut self, id: u32) -> bool {
        if self.ids.contains(&id) {
            return true;
        }
        push_latest(&mut self.ids, id, REMEMBERED_IDS);
        false
    }

    /// Returns whether a packet on that port is within the rate limit, whose interval starts anew only then.
    pub(super) fn passes(&mut self, port: PortNum, now: Instant) -> bool {
        let wait = match port {
            PortNum::TextMessageApp => 2,
            PortNum::PositionApp
            | PortNum::WaypointApp
            | PortNum::AlertApp
            | PortNum::TelemetryApp => 10,
            PortNum::TracerouteApp => 30,
            _ => return true,
        };
        let last = self.last.get(&port);
        let passes =
            last.is_none_or(|at| now.saturating_duration_since(*at) >= Duration::from_secs(wait));
        if passes {
            self.last.insert(port, now);
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_text_does_not_extend_the_window() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let text = PortNum::TextMessageApp;
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(limits.passes(text, start));
        assert!(!limits.passes(text, after(1999)));
        assert!(limits.passes(text, after(2000)));
    }

    #[test]
    fn each_port_has_a_time_of_its_own() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for port in [
            PortNum::PositionApp,
            PortNum::WaypointApp,
            PortNum::AlertApp,
        ] {
            assert!(limits.passes(port, start));
            assert!(!limits.passes(port, after(9)));
            assert!(limits.passes(port, after(10)));
        }
        let trace = PortNum::TracerouteApp;
        assert!(limits.passes(trace, start));
        assert!(!limits.passes(trace, after(29)));
        assert!(limits.passes(PortNum::PrivateApp, start));
        assert!(limits.passes(PortNum::PrivateApp, start));
    }

    #[test]
    fn the_last_20_ids_are_remembered() {
        let mut limits = Limits::default();
        for id in 1..=20 {
            assert!(!limits.is_repeated(id));
        }
        assert!(limits.is_repeated(1));
        assert!(!limits.is_repeated(21));
        assert!(!limits.is_repeated(1), "the oldest is forgotten");
    }
}
