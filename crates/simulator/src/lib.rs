//! A radio without a radio: what firmware 2.7 or 2.8 does, as far as a client can see.
//!
//! [`Machine`] is the behaviour, pure and with its time handed in; [`Replay`] plays a recording instead. The driver
//! serves either of them on TCP ([`TcpPort`]), on a serial port ([`PtyPort`]) or, in tests, on in-memory pipes (`pipe`). People use it to try
//! their Matrix side without a radio, tests use it for everything that a radio can do wrong. The lines in and out are described in
//! `docs/reference/simulator.md`.
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

mod admin;
mod air;
#[cfg(test)]
mod any_line;
#[cfg(test)]
mod captures;
mod condition;
mod connection;
mod console;
mod driver;
mod fault;
mod firmware;
mod frame;
mod handshake;
#[cfg(test)]
mod harness;
mod hearing;
mod input;
mod limits;
mod machine;
mod mesh;
mod packets;
#[cfg(any(test, feature = "testing"))]
pub mod pipe;
#[cfg(test)]
#[path = "pipe/tests.rs"]
mod pipe_tests;
mod pty;
mod queues;
pub mod recording;
mod replay;
mod report;
mod script;
mod sending;
mod session;
mod settling;
mod side;
mod tcp;
mod telemetry;
mod trouble;
mod values;
mod wire;

pub use driver::{Controls, Port, drive};
pub use fault::Fault;
pub use firmware::Firmware;
pub use input::Command;
pub use machine::Machine;
pub use mesh::{MOST_NODES, Mesh};
pub use pty::PtyPort;
pub use replay::Replay;
pub use report::{Connection, Fate, Report, Transmitted};
pub use script::Script;
pub use side::Side;
pub use tcp::TcpPort;
