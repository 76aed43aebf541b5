//! `relay service`: installs the relay as a service of systemd, removes it, and tells how it stands.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::Globals;
use super::failure::{CommandResult, success_if};
use super::output::{print, remark, show};
use crate::tools::service::{self, Order, Scope};

/// The commands under `relay service`.
#[derive(Debug, Subcommand)]
pub(super) enum ServiceCommand {
    /// Write the unit, enable it, and start it if there is a configuration
    ///
    /// As a service of the system (as root) it runs as a user of its own, `relay`, with its home in /var/lib/relay. Given
    /// again, it brings an older unit up to date.
    #[command(after_help = "Example: sudo relay service install")]
    Install {
        #[command(flatten)]
        whose: Whose,
        /// Replace a unit of this name that this command has not written; it is kept as `relay.service.old`
        #[arg(long)]
        force: bool,
    },
    /// Stop the service and remove its unit; the home, with all that the relay has stored, is left as it is
    #[command(after_help = "Example: sudo relay service uninstall")]
    Uninstall {
        #[command(flatten)]
        whose: Whose,
        /// Remove also a unit of this name that `relay service install` has not written
        #[arg(long)]
        force: bool,
    },
    /// Tell whether it is installed and runs, its watchdog, its last end, and what the relay says
    #[command(after_help = "Example: relay service status --user --json")]
    Status {
        #[command(flatten)]
        whose: Whose,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Whose {
    /// A service of your own user, without root, instead of one of the system
    #[arg(long)]
    user: bool,
}

impl Whose {
    fn scope(self) -> Scope {
        if self.user {
            Scope::User
        } else {
            Scope::System
        }
    }
}

pub(super) async fn run(command: ServiceCommand, globals: &Globals) -> CommandResult {
    let home = |whose: Whose| {
        let home = globals.home()?;
        Ok::<_, super::Failure>(if whose.user { home } else { home.of_service() })
    };
    let mut tell = |step: &str| remark(step);
    match command {
        ServiceCommand::Install { whose, force } => {
            let program = std::env::current_exe().context("cannot tell which program this is")?;
            let config = globals.named_config().map(std::path::absolute).transpose();
            let order = Order {
                scope: whose.scope(),
                home: &home(whose)?,
                program,
                config: config.context("cannot tell where the configuration is")?,
                allow_network_home: globals.allow_network_home,
                force,
            };
            let next = service::install(&order, &mut tell).await?;
            let next = next.iter().map(|it| format!("  {it}\n"));
            print(&format!("Next:\n{}", next.collect::<String>()))?;
            Ok(ExitCode::SUCCESS)
        }
        ServiceCommand::Uninstall { whose, force } => {
            service::uninstall(whose.scope(), force, &mut tell).await?;
            Ok(ExitCode::SUCCESS)
        }
        ServiceCommand::Status { whose, json } => {
            let status = service::status(whose.scope(), &home(whose)?).await?;
            show(None, json, &status, service::lines)?;
            Ok(success_if(status.running))
        }
    }
}
