//! The relay: carries messages between Meshtastic mesh radios and Matrix rooms.
#![recursion_limit = "256"]
#![cfg_attr(
    test,
    expect(
        clippy::disallowed_methods,
        reason = "a test owns the tasks that it starts, and ends them"
    )
)]

pub mod bridge;
pub mod cli;
pub mod config;
mod daemon;
mod disk;
mod home;
pub mod matrix;
pub mod model;
pub mod radio;
mod signals;
pub mod simulator;
pub mod store;
mod telemetry;
mod tools;
