//! `relay service` on Windows, where there is no systemd: says so, and what does its work.

use clap::Subcommand;

use super::Globals;
use super::failure::CommandResult;
use crate::tools::service::ServiceError;

/// Whatever is asked for.
#[derive(Debug, Subcommand)]
pub(super) enum ServiceCommand {
    #[command(external_subcommand)]
    Any(#[expect(dead_code, reason = "the answer is the same")] Vec<String>),
}

#[expect(clippy::unused_async, reason = "as on other systems")]
pub(super) async fn run(_: ServiceCommand, _: &Globals) -> CommandResult {
    Err(ServiceError.into())
}
