//! The options of the adapter.

use std::time::Duration;

use relay_claims::Claimant;
use relay_model::{Clock, Node, Timestamp};

use super::wires::{Ble, SerialPort, Wire};
use super::{error::RadioError, now::Now, pacer::Pacer};

/// What the adapter is told at its start.
#[derive(Debug)]
pub struct RadioOptions {
    /// How to reach the radio, with the state of the wire.
    pub wire: Wire,
    /// Minimum time from the radio's acceptance of a text to the next text.
    pub message_delay: Duration,
    /// Whether to set the radio's clock (`set_time`).
    pub set_time: bool,
    /// Port numbers beside those of texts whose payload is read as text (`chat_portnums`).
    pub chat_ports: Vec<u32>,
    /// Nodes known from earlier runs, so that names are there before the radio reports them.
    pub nodes: Vec<Node>,
    /// The channel utilisation that slows texts down, or holds them back.
    pub channel_use: Option<relay_config::ChannelUse>,
    /// When the radio last accepted a text of ours.
    pub last_accepted: Option<Timestamp>,
    /// Seed for reproducible random numbers in tests.
    pub seed: Option<u64>,
    /// As whom the radio is claimed, so that no other relay on this computer takes it; `None`: it is not.
    pub claimant: Option<Claimant>,
    /// This computer's clocks; only a test replaces them.
    pub clock: Clock,
}

impl RadioOptions {
    /// Converts the configuration, without data of earlier runs. Fails if the configured wire is not built in.
    pub fn new(config: &relay_config::Meshtastic) -> Result<Self, RadioError> {
        let wire = match &config.connection {
            relay_config::Connection::Tcp { host, port } => Wire::Tcp {
                host: host.clone(),
                port: *port,
            },
            relay_config::Connection::Serial { serial_port } => {
                Wire::Serial(SerialPort::new(serial_port.clone()))
            }
            relay_config::Connection::Ble {
                ble_address,
                ble_pin,
            } => Wire::Ble(Ble::new(ble_address, ble_pin.clone())?),
        };
        let chat_ports = config.packet_routing.chat_portnums.iter();
        Ok(Self {
            message_delay: config.message_delay,
            channel_use: Some(config.channel_use),
            set_time: config.set_time,
            chat_ports: chat_ports.map(|port| port.0).collect(),
            ..Self::over(wire)
        })
    }

    pub(super) fn pacer(&self) -> Pacer {
        let now = Now::of(&self.clock);
        let mut pacer = Pacer::new(self.message_delay, self.last_accepted, now);
        pacer.traffic.limits = self.channel_use;
        pacer
    }

    /// Returns the default options for a wire, as the commands under `relay radio` use them.
    pub fn over(wire: Wire) -> Self {
        Self {
            wire,
            message_delay: Duration::from_millis(2050),
            channel_use: None,
            set_time: true,
            chat_ports: Vec::new(),
            nodes: Vec::new(),
            last_accepted: None,
            seed: None,
            claimant: None,
            clock: Clock::system(),
        }
    }
}
