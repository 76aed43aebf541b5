//! Ports of the mesh, by number and name.

/// A port number of the mesh's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortNum(pub u32);

/// The names of ports, as the protocol spells them (meshtastic/portnums.proto), without those that carry no message.
pub(super) const PORTS: &[(&str, u32)] = &[
    ("TEXT_MESSAGE_APP", 1),
    ("REMOTE_HARDWARE_APP", 2),
    ("POSITION_APP", 3),
    ("NODEINFO_APP", 4),
    ("ROUTING_APP", 5),
    ("ADMIN_APP", 6),
    ("TEXT_MESSAGE_COMPRESSED_APP", 7),
    ("WAYPOINT_APP", 8),
    ("AUDIO_APP", 9),
    ("DETECTION_SENSOR_APP", 10),
    ("ALERT_APP", 11),
    ("KEY_VERIFICATION_APP", 12),
    ("REPLY_APP", 32),
    ("IP_TUNNEL_APP", 33),
    ("PAXCOUNTER_APP", 34),
    ("STORE_FORWARD_PLUSPLUS_APP", 35),
    ("NODE_STATUS_APP", 36),
    ("SERIAL_APP", 64),
    ("STORE_FORWARD_APP", 65),
    ("RANGE_TEST_APP", 66),
    ("TELEMETRY_APP", 67),
    ("ZPS_APP", 68),
    ("SIMULATOR_APP", 69),
    ("TRACEROUTE_APP", 70),
    ("NEIGHBORINFO_APP", 71),
    ("ATAK_PLUGIN", 72),
    ("MAP_REPORT_APP", 73),
    ("POWERSTRESS_APP", 74),
    ("LORAWAN_BRIDGE", 75),
    ("RETICULUM_TUNNEL_APP", 76),
    ("CAYENNE_APP", 77),
    ("GROUPALARM_APP", 112),
    ("PRIVATE_APP", 256),
    ("ATAK_FORWARDER", 257),
];
