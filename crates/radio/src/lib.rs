//! The adapter for one radio.
//!
//! [`Radio::run`] combines a [`Connection`] (bytes), a [`Session`] (the meaning of frames), a [`Pacer`] (the time of
//! each text) and a [`NodeDb`] (the known nodes). The last three are pure; `driver.rs` and `delivery.rs` do all waiting
//! and read the clocks.
//!
//! ```
//! use relay_model::{Event, RadioEvent};
//! use relay_radio::{Radio, RadioOptions, Wire};
//! use relay_simulator::{Machine, Mesh, Script, pipe};
//! use tokio::sync::mpsc;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In the place of a device: a simulated one, on a pipe in memory.
//! let machine = Machine::new(Mesh::new(1, 3), 1, std::time::Instant::now());
//! let (device, device_runs) = pipe::radio(machine, 1, Script::default());
//! let (pipes, wire) = mpsc::channel(1);
//! pipes.send(device.connect().await?).await?;
//!
//! let radio = Radio::new(RadioOptions::over(Wire::Pipes(wire)));
//! let (_submit, submissions) = mpsc::channel(1);
//! let (events, mut told) = mpsc::channel(16);
//! let first_event = async {
//!     let event = told.recv().await;
//!     device.stop.cancel();
//!     event
//! };
//! let runs = radio.run(submissions, events, device.stop.clone());
//! let (event, ran, _) = tokio::join!(first_event, runs, device_runs);
//! assert!(matches!(event, Some(Event::Radio(RadioEvent::Ready(_)))));
//! # Ok(ran?)
//! # }
//! ```
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

#[cfg(test)]
mod captures;
mod claim;
mod delivery;
mod driver;
mod error;
mod link;
mod mesh;
mod now;
mod options;
mod pacer;
mod radio;
mod reconnect;
mod session;
mod wires;

pub use error::{ConnectionError, RadioError};
pub use link::{Link, LinkState};
pub use mesh::{Details, KnownNode, NodeDb};
pub use now::Now;
pub use options::RadioOptions;
pub use pacer::{MeshAnswer, Pacer, Submission};
pub use radio::Radio;
pub use session::{HANDSHAKE_LIMIT, Output, Session, SessionOptions};
pub use wires::{Ble, Connection, FoundPort, SerialPort, Wire, find_bluetooth, find_serial_ports};

#[cfg(test)]
mod tests;
