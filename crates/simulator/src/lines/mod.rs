//! The input and output lines of the simulated radio (`docs/reference/simulator.md`).
//!
//! `input.rs` parses a line: a message or a fault (`fault.rs`), with the value types of `values.rs`. `script.rs` holds
//! timed lines, `report.rs` is the output.

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
