//! What is said to the simulated radio, and what it says of its client, line by line (`docs/reference/simulator.md`).
//!
//! `input.rs` reads a line: what a node says, or a fault of `fault.rs`, from the values of `values.rs`. `script.rs` holds lines
//! that have their time. `report.rs` is what comes out.

pub(crate) mod fault;
mod input;
pub(crate) mod report;
mod script;
mod values;

pub use fault::Fault;
pub(crate) use fault::{BroadcastAnswer, DirectAnswer, Refusals, Switch};
pub use input::Command;
pub(crate) use input::Say;
pub use report::{Connection, Fate, Report, Transmitted};
pub use script::Script;
