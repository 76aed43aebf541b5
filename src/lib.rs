//! The relay: carries messages between Meshtastic mesh radios and Matrix rooms.
//!
//! # Layout
//!
//! - `cli`: the commands, arguments in, exit code out.
//! - `daemon`: `relay run`: the event loop, the ledger that looks up, has the bridge decide and applies, the workers that send.
//! - `tools`: the work of commands that run beside the daemon (`relay radio`, `relay status`).
//! - `home`: the home directory, its files and its lock.
//! - `telemetry`, `signals`: the log, and what signals mean.
//!
//! The parts stand in `crates/`: `model` (the words of all others), `config`, `bridge` (what is decided, without I/O), `store`
//! (the tables), `wire` and `radio` (the Meshtastic link), `matrix` (the account), `simulator` (a radio without hardware),
//! `disk`. `docs/architecture.md` shows the ways of a message through the files.
#![recursion_limit = "256"]
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

pub mod cli;
mod colour;
mod daemon;
mod home;
#[cfg_attr(windows, path = "signals_windows.rs")]
mod signals;
mod telemetry;
mod tools;
