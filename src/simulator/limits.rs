//! How often one connection may send what: the firmware's rate limits, and its memory of packet ids.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::radio::proto::PortNum;

/// So many packet ids of a connection are remembered.
const REMEMBERED_IDS: usize = 20;

/// What a rate limit says to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// It may pass.
    Passes,
    /// A text too soon after the last accepted one.
    Text,
    /// A position, waypoint, alert or telemetry too soon after the last one of its port.
    Port,
    /// A trace too soon after the last one.
    Trace,
}

/// The memory of one connection.
#[derive(Debug, Default)]
pub(super) struct Limits {
    ids: VecDeque<u32>,
    last: Vec<(i32, Instant)>,
}

impl Limits {
    /// Returns whether the connection sent that id lately, and remembers it.
    pub(super) fn is_repeated(&mut self, id: u32) -> bool {
        if self.ids.contains(&id) {
            return true;
        }
        if self.ids.len() >= REMEMBERED_IDS {
            self.ids.pop_front();
        }
        self.ids.push_back(id);
        false
    }

    /// Returns whether a packet of that port may pass; only then the port's time begins anew.
    pub(super) fn check(&mut self, port: i32, now: Instant) -> Limit {
        let Some((wait, limit)) = rule(port) else {
            return Limit::Passes;
        };
        let last = self.last.iter_mut().find(|(known, _)| *known == port);
        match last {
            Some((_, at)) if now.saturating_duration_since(*at) < wait => return limit,
            Some((_, at)) => *at = now,
            // At most one entry for each of the limited ports.
            None => self.last.push((port, now)),
        }
        Limit::Passes
    }
}

fn rule(port: i32) -> Option<(Duration, Limit)> {
    match PortNum::try_from(port) {
        Ok(PortNum::TextMessageApp) => Some((Duration::from_secs(2), Limit::Text)),
        Ok(
            PortNum::PositionApp | PortNum::WaypointApp | PortNum::AlertApp | PortNum::TelemetryApp,
        ) => Some((Duration::from_secs(10), Limit::Port)),
        Ok(PortNum::TracerouteApp) => Some((Duration::from_secs(30), Limit::Trace)),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_text_does_not_extend_the_window() {
        let (mut limits, start) = (Limits::default(), Instant::now());
        let text = i32::from(PortNum::TextMessageApp);
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(limits.check(text, start), Limit::Passes);
        assert_eq!(limits.check(text, after(1999)), Limit::Text);
        assert_eq!(limits.check(text, after(2000)), Limit::Passes);
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
            assert_eq!(limits.check(i32::from(port), start), Limit::Passes);
            assert_eq!(limits.check(i32::from(port), after(9)), Limit::Port);
            assert_eq!(limits.check(i32::from(port), after(10)), Limit::Passes);
        }
        let trace = i32::from(PortNum::TracerouteApp);
        assert_eq!(limits.check(trace, start), Limit::Passes);
        assert_eq!(limits.check(trace, after(29)), Limit::Trace);
        assert_eq!(
            limits.check(i32::from(PortNum::PrivateApp), start),
            Limit::Passes
        );
        assert_eq!(
            limits.check(i32::from(PortNum::PrivateApp), start),
            Limit::Passes
        );
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
