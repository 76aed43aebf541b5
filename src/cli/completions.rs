//! `relay completions`: what a shell completes the relay's commands by.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::CommandResult;
use super::output::print;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell that is to read them
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArgs, mut commands: Command) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut commands, "relay", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
