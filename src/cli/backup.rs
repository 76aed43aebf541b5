//! `relay backup` and `relay restore`.

use std::path::PathBuf;

use clap::Args;
use std::process::ExitCode;

use super::failure::{CommandResult, Failure};
use super::output::{print, warn};
use super::{Globals, auth};
use crate::tools::backup::{self, Restored};
use relay_config::{Config, LoadError};
use relay_model::Timestamp;

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to be written
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The file that `relay backup` has written
    file: PathBuf,
    #[command(flatten)]
    recover: auth::RecoverArgs,
}

/// Writes the backup. If it fails, there is none.
pub(super) fn backup(args: &BackupArgs, globals: &Globals) -> CommandResult {
    let home = globals.home()?;
    let config = match globals.load_config(&home) {
        Ok(loaded) => loaded.config,
        Err(LoadError::Missing(_)) => Config::default(),
        // The file is kept as it is, whatever is wrong in it; the database stands where it usually does.
        Err(error) => {
            warn(Failure::from(error).to_string())?;
            Config::default()
        }
    };
    let to = std::path::absolute(&args.file)?;
    let path = globals.config_path(&home);
    let contents = backup::backup(&home, (&path, &config), &to, Timestamp::now())?;
    let what = match (contents.config, contents.database) {
        (true, true) => "configuration and database",
        (true, false) => "the configuration (there is no database yet)",
        (false, _) => "the database (there is no configuration)",
    };
    print(&format!("wrote {what} to {}\n", to.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Restores a backup, and logs in as a new device.
pub(super) async fn restore(args: RestoreArgs, globals: &Globals) -> CommandResult {
    let home = globals.home()?;
    for warning in home.prepare(globals.allow_network_home)? {
        warn(warning)?;
    }
    let path = globals.config_path(&home);
    let load = || globals.load_config(&home).map(|it| it.config);
    let again = (args.recover.username(), args.recover.may_unlock()?);
    let restored = backup::restore(&home, &path, load, &args.file, again, Timestamp::now())?;
    let Restored {
        contents,
        kept_config,
        given_up,
    } = restored;
    if kept_config && contents.config {
        warn(format!(
            "`{}` is there already, and stays as it is",
            path.display()
        ))?;
    }
    print(&format!("restored the backup of {}\n", contents.at))?;
    if given_up > 0 {
        print(&format!(
            "{given_up} packets that waited for the mesh are given up: they may have been sent since; each room is told\n"
        ))?;
    }
    let Some((user, homeserver)) = contents.account else {
        return Ok(ExitCode::SUCCESS);
    };
    auth::log_in_again(args.recover, (homeserver, user.to_string()), globals, &home).await
}
