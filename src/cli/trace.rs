//! `relay trace`: the story of a message.

use std::process::ExitCode;

use clap::Args;

use super::failure::{CommandResult, Failure};
use super::{Globals, output::show};
use crate::daemon::trace::About;
use crate::tools::trace;
use relay_config::{Config, LoadError};

#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// Which message: its event id, or its packet id, or that of a packet of one node (`!a1b2c3d4:1234567890`)
    #[arg(value_name = "MESSAGE")]
    message: About,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: TraceArgs, globals: &Globals) -> CommandResult {
    let home = globals.home()?;
    let config = match globals.load_config(&home) {
        Ok(loaded) => loaded.config,
        // The database stands where it usually does.
        Err(LoadError::Missing(_)) => Config::default(),
        Err(error) => return Err(Failure::from(error)),
    };
    let found = trace::look_up(&home, &config, arguments.message).await?;
    show(Some(&home), arguments.json, &found, trace::lines)?;
    Ok(ExitCode::from(u8::from(found.stories.is_empty())))
}
