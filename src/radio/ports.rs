//! The protocol's names of the mesh's ports, and the port that its crate does not know yet.

use super::proto::PortNum;

/// `REMOTE_SHELL_APP`: never relayed, whatever the configuration says.
pub(super) const REMOTE_SHELL: i32 = 13;

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
            (1, "TEXT_MESSAGE_APP"),
            (4, "NODEINFO_APP"),
            (5, "ROUTING_APP"),
            (6, "ADMIN_APP"),
            (10, "DETECTION_SENSOR_APP"),
            (11, "ALERT_APP"),
            (13, "REMOTE_SHELL_APP"),
            (65, "STORE_FORWARD_APP"),
            (67, "TELEMETRY_APP"),
            (37, "MESH_BEACON_APP"),
            (300, "300"),
            (-1, "-1"),
        ] {
            assert_eq!(name(port), expected);
        }
    }
}
