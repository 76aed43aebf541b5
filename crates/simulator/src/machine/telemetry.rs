//! The radio's clock, telemetry and statistics.

use std::time::{Duration, Instant};

use relay_wire::proto::{LocalStats, PortNum, telemetry::Variant};

use super::Machine;
use crate::{lines::Fault, mesh::packets};

/// How often the radio sends its telemetry and statistics.
pub(super) const TELEMETRY_EVERY: Duration = Duration::from_mins(1);
const STATISTICS_EVERY: Duration = Duration::from_mins(15);

impl Machine {
    /// Returns the radio's clock in Unix seconds; 0 until it is set.
    pub(super) fn radio_time(&self, now: Instant) -> u32 {
        self.clock.map_or(0, |(set_to, at)| {
            set_to.saturating_add(seconds(now.saturating_duration_since(at)))
        })
    }

    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    pub(super) fn tell_telemetry(&mut self, now: Instant) {
        if now >= self.statistics_at {
            self.statistics_at = now + STATISTICS_EVERY;
            let nodes = self.mesh.node_count();
            let statistics = LocalStats {
                uptime_seconds: seconds(self.uptime(now)),
                channel_utilization: f32::from(self.state.channel_use),
                air_util_tx: 0.4,
                num_online_nodes: nodes,
                num_total_nodes: nodes,
                ..LocalStats::default()
            };
            self.tell_own(Variant::LocalStats(statistics), now);
        }
        if now >= self.telemetry_at {
            self.telemetry_at = now + TELEMETRY_EVERY;
            self.tell_metrics(now);
        }
    }

    pub(super) fn tell_metrics(&mut self, now: Instant) {
        let metrics = packets::metrics(seconds(self.uptime(now)), self.state.channel_use);
        self.tell_own(Variant::DeviceMetrics(metrics), now);
    }

    fn tell_own(&mut self, measured: Variant, now: Instant) {
        if self.state.is_on(Fault::Telemetry) {
            let payload = packets::telemetry(self.radio_time(now), measured);
            let packet =
                packets::own_broadcast(self.mesh.own_num(), PortNum::TelemetryApp, payload);
            self.push_packet(packet, now);
        }
    }
}

fn seconds(span: Duration) -> u32 {
    u32::try_from(span.as_secs()).unwrap_or(u32::MAX)
}
