//! The radio's side: one link, its session and its pace.
//!
//! [`Radio::run`] joins a [`Connection`] (bytes), a [`Session`] (what frames mean), a [`Pacer`] (what may be sent when)
//! and a [`NodeDb`] (who is who). The last three are pure; whatever waits, and both clocks, stand in `driver.rs`
//! and `delivery.rs`.
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

mod acks;
mod answer;
#[cfg(feature = "ble")]
mod ble;
#[cfg(not(feature = "ble"))]
#[path = "no_ble.rs"]
mod ble;
#[cfg(test)]
mod captures;
mod connection;
mod console;
mod delivery;
mod doubt;
mod driver;
mod error;
mod fingerprint;
mod found_device;
mod handshake;
mod link;
mod moment;
mod names;
mod nodedb;
mod options;
mod pacer;
#[cfg_attr(
    not(any(feature = "ble", test)),
    expect(dead_code, reason = "only Bluetooth carries whole packets so far")
)]
mod packets;
mod radio;
mod reconnect;
mod said;
mod serial;
mod serial_ports;
mod session;
mod stranger;
mod submission;
mod tcp;
mod traffic;
mod translate;

pub use answer::Answer;
pub use ble::{Ble, find_bluetooth};
pub use connection::{Connection, Wire};
pub use error::{ConnectionError, RadioError};
pub use link::{Link, LinkState};
pub use moment::Moment;
pub use nodedb::{Details, KnownNode, NodeDb};
pub use options::RadioOptions;
pub use pacer::Pacer;
pub use radio::Radio;
pub use serial::SerialPort;
pub use serial_ports::{FoundPort, find as find_serial_ports};
pub use session::{HANDSHAKE_LIMIT, Output, Session, SessionOptions};
pub use submission::Submission;

#[cfg(test)]
mod tests;
