//! One function for each section: every key is asked for here, in the order of the documentation.

mod matrix;
mod meshtastic;
mod operation;
mod rooms;

pub(super) use matrix::matrix;
pub(super) use meshtastic::meshtastic;
pub(super) use operation::{database, health, logging};
pub(super) use rooms::rooms;
