//! What commands do beside the daemon.

pub mod control;
pub mod doctor;
pub mod radio;
pub mod status;
