//! The relay: carries messages between Meshtastic mesh radios and Matrix rooms.
#![recursion_limit = "256"]
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

pub mod cli;
mod daemon;
mod home;
mod signals;
mod telemetry;
mod tools;
