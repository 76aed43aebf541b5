//! What commands do beside the daemon.

pub(crate) mod control;
pub(crate) mod doctor;
pub(crate) mod radio;
pub(crate) mod status;
