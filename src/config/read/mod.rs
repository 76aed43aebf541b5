//! One function for each section: every key is asked for here, with its default, in the order of the documentation.

mod matrix;
mod meshtastic;
mod operation;
mod rooms;

pub(crate) use matrix::is_loopback;
pub(super) use matrix::matrix;
pub(super) use meshtastic::meshtastic;
pub(super) use operation::{database, health, logging};
pub(super) use rooms::rooms;

use super::environment::Environment;
use super::finding::Origin;
use super::section::{Reader, Section};
use super::yaml::Node;

/// Returns what a section is of which nothing is given.
pub(super) fn defaults<T>(read: impl FnOnce(&mut Section<'_>) -> T) -> T {
    let mut reader = Reader::new("", Environment::default());
    reader.section(String::new(), Origin::Nowhere, Node::NOTHING, read)
}
