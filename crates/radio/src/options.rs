//! What the radio's side has to know.

use std::time::Duration;

use relay_model::{Clock, Node, Timestamp};

use super::error::RadioError;
use super::moment::Moment;
use super::pacer::Pacer;
use super::wires::{Ble, SerialPort, Wire};

/// What the radio's side has to know.
#[derive(Debug)]
pub struct RadioOptions {
    /// How to reach the radio.
    pub wire: Wire,
    /// From the radio's acceptance of a text to the next.
    pub message_delay: Duration,
    /// The radio is given the time.
    pub set_time: bool,
    /// Further ports that carry text.
    pub chat_ports: Vec<u32>,
    /// The nodes known from before.
    pub nodes: Vec<Node>,
    /// How busy a channel slows traffic down, or stops it.
    pub channel_use: Option<relay_config::ChannelUse>,
    /// When the radio took a text of ours last.
    pub last_accepted: Option<Timestamp>,
    /// For random numbers that are the same in every run of a test.
    pub seed: Option<u64>,
    /// Tells the wall-clock time.
    pub clock: Clock,
}

impl RadioOptions {
    /// Takes them from the configuration, with nothing known from before. Fails if the configured wire is not built in.
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
        let now = Moment::now(&self.clock);
        let mut pacer = Pacer::new(self.message_delay, self.last_accepted, now);
        pacer.traffic.limits = self.channel_use;
        pacer
    }

    /// Takes the defaults for a wire.
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
            clock: Clock::system(),
        }
    }
}
