//! The ways to a radio, and what is carried on them.
//!
//! `connection.rs` is the face of all of them: it connects, receives and sends one frame at a time. `tcp.rs` and `serial.rs`
//! open a stream of bytes, among which the codec finds frames; `serial_ports.rs` knows the ports of this computer.
//! `ble` carries whole packets, as `packets.rs` hands them over; `no_ble.rs` stands for it where it is not built in.
//! `stranger.rs` tells who answers where there is no radio.

#[cfg(feature = "ble")]
mod ble;
#[cfg(not(feature = "ble"))]
#[path = "no_ble.rs"]
mod ble;
mod connection;
mod found_device;
#[cfg_attr(
    not(any(feature = "ble", test)),
    expect(dead_code, reason = "only Bluetooth carries whole packets so far")
)]
mod packets;
mod serial;
mod serial_ports;
pub(crate) mod stranger;
mod tcp;

pub use ble::{Ble, find_bluetooth};
pub use connection::{Connection, Wire};
pub use serial::SerialPort;
pub use serial_ports::{FoundPort, find as find_serial_ports};
