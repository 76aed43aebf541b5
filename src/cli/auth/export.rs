//! `relay auth export` and `relay auth import`: a login goes to another home.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{Globals, answers};
use crate::cli::failure::{CommandResult, Failure};
use crate::cli::output::{print, warn};
use crate::home::Home;
use crate::tools::moving::{self, Held};
use relay_config::{Config, LoadError};

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// The file to be written
    file: PathBuf,
    /// Take the database along, with what waits in it
    #[arg(long)]
    database: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// The file that `relay auth export` has written
    file: PathBuf,
    /// Say that the file was imported nowhere, where it is the one to which this home's own login was exported
    #[arg(long)]
    imported_nowhere: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Debug, Args)]
struct PassphraseArgs {
    /// A file whose first line is the passphrase; asked for on a terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Exports the login. If it fails, the login is as it was.
pub(super) async fn export(args: ExportArgs, globals: &Globals, home: &Home) -> CommandResult {
    let config = prepared(globals, home)?;
    let to = std::path::absolute(&args.file)?;
    let held = Held::to_export(home, &to)?;
    let passphrase = answers::passphrase(args.passphrase.passphrase_file.as_deref(), true).await?;
    let exported = moving::export(&held, &config, &to, &passphrase, args.database)?;
    let (user, device, to) = (&exported.user, &exported.device, to.display());
    print(&format!(
        "exported the login of {user} (device {device}) to {to}\n\
         this home does not use it any more; `relay auth import FILE` takes it in elsewhere: once, then delete the file\n"
    ))?;
    if !exported.database {
        warn(
            "the database stays here, and what waits in it is not sent: if the file is imported nowhere, `relay auth import \
             --imported-nowhere` takes the login back, and `relay auth export --database` both along",
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes in an exported login. If it fails, there is no login.
pub(super) async fn import(args: ImportArgs, globals: &Globals, home: &Home) -> CommandResult {
    let config = prepared(globals, home)?;
    let held = Held::to_import(home, &args.file)?;
    let passphrase = answers::passphrase(args.passphrase.passphrase_file.as_deref(), false).await?;
    let imported = moving::import(
        &held,
        &config,
        &args.file,
        &passphrase,
        args.imported_nowhere,
    )?;
    let (user, device, at) = (&imported.user, &imported.device, &imported.at);
    let database = if imported.database {
        "its database goes on where it stopped"
    } else {
        "without a database: what was said before its first start here is not relayed"
    };
    print(&format!(
        "imported the login of {user} (device {device}), exported at {at}; {database}\n\
         delete the file now: a second relay with this login would destroy its encryption\n"
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Prepares the home, and returns its configuration, which says where the database is. A new home may have none yet.
fn prepared(globals: &Globals, home: &Home) -> Result<Config, Failure> {
    for warning in home.prepare(globals.allow_network_home)? {
        warn(warning)?;
    }
    match globals.load_config(home) {
        Ok(loaded) => Ok(loaded.config),
        Err(LoadError::Missing(_)) => Ok(Config::default()),
        Err(error) => Err(error.into()),
    }
}
