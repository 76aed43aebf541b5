//! `relay import`: takes over what another relay has left.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::failure::{CommandResult, success_if};
use super::{Globals, interruptible, output::show, progress};
use crate::tools::import::{Progress, Request, import, report_lines};
use relay_config::Environment;
use relay_model::Timestamp;

/// The commands under `relay import`.
#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// Take over MMRelay's configuration, names and messages; its files are only read, its login is not used
    #[command(after_help = "Example: relay import mmrelay --dry-run")]
    Mmrelay(MmrelayArgs),
}

#[derive(Debug, Args)]
pub(super) struct MmrelayArgs {
    /// MMRelay's home [env: `MMRELAY_HOME`] [default: ~/.mmrelay, or /data]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Only tell what there is to be taken over, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Say that the MMRelay of this home is stopped, where another one runs and what it uses may not be seen
    #[arg(long)]
    is_stopped: bool,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(command: ImportCommand, globals: &Globals) -> CommandResult {
    let ImportCommand::Mmrelay(arguments) = command;
    let home = globals.home()?;
    let request = Request {
        config: globals.config_path(&home),
        home: home.clone(),
        allow_network_home: globals.allow_network_home,
        from: arguments.from,
        dry_run: arguments.dry_run,
        is_stopped: arguments.is_stopped,
        now: Timestamp::now(),
    };
    let (stop, shown) = (CancellationToken::new(), Arc::new(Progress::default()));
    let (stopped, progress) = (stop.clone(), Arc::clone(&shown));
    #[expect(
        clippy::disallowed_methods,
        reason = "the command waits for its end, and asks it to end"
    )]
    let work = tokio::task::spawn_blocking(move || {
        let environment = Environment::of_process();
        let variable = |name: &str| std::env::var_os(name);
        import(&request, &environment, variable, &stopped, &progress)
    });
    let text = || {
        if stop.is_cancelled() {
            "ending, when this step is done"
        } else {
            shown.text()
        }
    };
    let watched = progress::watch(|| Some(text()), work);
    let done = interruptible(&stop, watched).await?;
    let report = done.map_err(|_| anyhow!("the import failed; please report this"))??;
    show(Some(&home), arguments.json, &report, report_lines)?;
    Ok(success_if(report.is_whole()))
}
