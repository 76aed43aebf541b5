//! The wires to a radio.
//!
//! `connection.rs` is the interface to all of them: it connects, and sends and receives frames. `tcp.rs` and
//! `serial.rs` open a byte stream, in which the codec finds frames; `serial_ports.rs` lists this computer's ports.
//! `ble` carries whole packets through `packets.rs`; `no_ble.rs` replaces it in a build without Bluetooth.
//! `stranger.rs` identifies peers that are not radios; `aside.rs` makes calls that may block.

mod aside;
#[cfg(feature = "ble")]
mod ble;
#[cfg(not(feature = "ble"))]
#[path = "no_ble.rs"]
mod ble;
mod connection;
mod found_device;
mod found_port;
#[cfg_attr(
    not(any(feature = "ble", test)),
    expect(dead_code, reason = "only Bluetooth carries whole packets so far")
)]
mod packets;
mod serial;
#[cfg_attr(windows, path = "serial_ports_windows.rs")]
mod serial_ports;
pub(crate) mod stranger;
mod tcp;

pub use ble::{Ble, find_bluetooth};
pub use connection::{Connection, Wire};
pub use found_port::FoundPort;
pub use serial::SerialPort;
pub use serial_ports::find as find_serial_ports;
