//! A simulated radio: the behaviour of firmware 2.7 or 2.8 as a client sees it.
//!
//! [`Machine`] is the behaviour, without I/O or clock; [`Replay`] plays a recording instead. The driver serves either
//! on TCP ([`TcpPort`]), on a serial port ([`PtyPort`]) or, in tests, on in-memory pipes (`pipe`). People use it to try
//! the Matrix side without a radio, tests use it for a radio's faults. `docs/reference/simulator.md` describes the
//! lines in and out.
//!
//! ```
//! use relay_simulator::{Machine, Mesh, SimulatedRadio as _};
//! use relay_wire::proto::{FromRadio, Message as _, ToRadio};
//! use relay_wire::proto::{from_radio::PayloadVariant::MyInfo, to_radio::PayloadVariant::WantConfigId};
//!
//! let now = std::time::Instant::now();
//! let mut radio = Machine::new(Mesh::new(1, 3), 1, now);
//! radio.on_connect(now);
//! let asked = ToRadio { payload_variant: Some(WantConfigId(7)) };
//! radio.on_to_radio(&asked.encode_to_vec(), now);
//! let first = radio.next_frame(now).ok_or("no answer")?;
//! let told = FromRadio::decode(first.as_slice())?;
//! assert!(matches!(told.payload_variant, Some(MyInfo(_))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

#[cfg(test)]
mod any_line;
#[cfg(test)]
mod captures;
mod driver;
#[cfg(test)]
mod harness;
mod lines;
mod machine;
mod mesh;
#[cfg(any(test, feature = "testing"))]
pub mod pipe;
#[cfg(test)]
#[path = "pipe/tests.rs"]
mod pipe_tests;
pub mod recording;
mod simulated_radio;

pub use driver::pty::PtyPort;
pub use driver::tcp::TcpPort;
pub use driver::{Controls, Port, drive};
pub use lines::{Command, Connection, Fate, Fault, Report, Script, Transmitted};
pub use machine::Machine;
pub use machine::firmware::Firmware;
pub use mesh::{MOST_NODES, Mesh};
pub use recording::replay::Replay;
pub use simulated_radio::SimulatedRadio;
