//! `relay service`: the relay as a service of systemd.

mod account;
mod install;
mod status;
mod systemd;
mod unit;

pub(crate) use install::{Order, install, uninstall};
pub(crate) use status::{lines, status};
pub(crate) use systemd::ServiceError;
pub(crate) use unit::Scope;
