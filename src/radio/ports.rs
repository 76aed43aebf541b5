//! The mesh's port numbers, as far as they mean something to us, and the protocol's names of all of them.

use super::proto::PortNum;

/// `TEXT_MESSAGE_APP`.
pub(super) const TEXT: i32 = 1;
/// `NODEINFO_APP`: a node tells its names.
pub(super) const NODE_INFO: i32 = 4;
/// `ROUTING_APP`: acknowledgements and refusals.
pub(super) const ROUTING: i32 = 5;
/// `ADMIN_APP`: settings of a radio.
pub(super) const ADMIN: i32 = 6;
/// `DETECTION_SENSOR_APP`: a sensor's text.
pub(super) const DETECTION_SENSOR: i32 = 10;
/// `ALERT_APP`: a text that rings.
pub(super) const ALERT: i32 = 11;
/// `REMOTE_SHELL_APP`: never relayed, whatever the configuration says.
pub(super) const REMOTE_SHELL: i32 = 13;
/// `STORE_FORWARD_APP`: old messages told again.
pub(super) const STORE_FORWARD: i32 = 65;
/// `TELEMETRY_APP`.
pub(super) const TELEMETRY: i32 = 67;

/// Returns a port's name in the protocol's spelling, or its number.
pub(super) fn name(port: i32) -> String {
    // What the crate does not know yet.
    let known = match port {
        REMOTE_SHELL => Some("REMOTE_SHELL_APP"),
        37 => Some("MESH_BEACON_APP"),
        _ => PortNum::try_from(port).ok().map(|it| it.as_str_name()),
    };
    known.map_or_else(|| port.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_the_protocols_names() {
        for (port, expected) in [
            (TEXT, "TEXT_MESSAGE_APP"),
            (NODE_INFO, "NODEINFO_APP"),
            (ROUTING, "ROUTING_APP"),
            (ADMIN, "ADMIN_APP"),
            (DETECTION_SENSOR, "DETECTION_SENSOR_APP"),
            (ALERT, "ALERT_APP"),
            (REMOTE_SHELL, "REMOTE_SHELL_APP"),
            (STORE_FORWARD, "STORE_FORWARD_APP"),
            (TELEMETRY, "TELEMETRY_APP"),
            (37, "MESH_BEACON_APP"),
            (300, "300"),
            (-1, "-1"),
        ] {
            assert_eq!(name(port), expected);
        }
    }
}
