//! The relay: carries messages between Meshtastic mesh radios and Matrix rooms.
#![recursion_limit = "256"]

pub mod bridge;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod disk;
pub mod home;
pub mod matrix;
pub mod model;
pub mod radio;
pub mod signals;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod tools;
