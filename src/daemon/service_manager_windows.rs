//! Windows has no systemd that would be told how the relay stands.

use std::sync::Arc;

use super::control::Control;
use super::supervisor::Workers;

pub(super) fn start(_: &Workers, _: &Arc<Control>) {}

pub(super) fn say_ready() {}

pub(super) fn say_reloading() {}

pub(super) fn say_stopping() {}

pub(super) fn say(_: &str) {}
