//! `relay auth logout`.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;

use super::answers::{self, Password};
use super::{Globals, PasswordArgs, open, report_step};
use crate::cli::failure::{CommandResult, Failure};
use crate::{cli::output::warn, cli::progress, home::Home};
use relay_config::Secret;
use relay_matrix::auth::{self, AuthError, Files, KeyBackup};
use relay_model::Explained as _;

#[derive(Debug, Args)]
pub(in crate::cli) struct LogoutArgs {
    /// Do not ask whether it is meant
    #[arg(short = 'y', long = "yes")]
    yes: bool,
    #[command(flatten)]
    password: PasswordArgs,
    /// Do not check the password (for accounts that have none)
    #[arg(long, conflicts_with = "password_source")]
    no_password_check: bool,
    /// Only delete what is here; the server keeps the device and its token
    #[arg(long, conflicts_with_all = ["password_source", "no_password_check"])]
    local_only: bool,
}

/// Ends the login, after a confirmation. If it fails, nothing is deleted, or the error tells what is left. Cancel safe:
/// deletions do not await.
pub(super) async fn run(args: LogoutArgs, globals: &Globals, home: &Home) -> CommandResult {
    let files = Files::new(home.matrix());
    let session = files.load_session();
    if matches!(session, Ok(None)) && !files.sdk().exists() {
        return Err(AuthError::NotLoggedIn.into());
    }
    let (_store, files) = open(globals, home).await?;
    let key_elsewhere = session.as_ref().ok().and_then(|session| {
        let left = session.as_ref()?.recovery_key_left()?;
        Some(left.to_owned()).filter(|path| *path != files.recovery_key())
    });
    if args.local_only {
        let question = "Delete the login and its keys on this machine?";
        answers::confirm(args.yes, question).await?;
        auth::delete_local(&files, report_step)?;
        warn(
            "the server still has the device; its token may still be valid: remove the device with another client",
        )?;
    } else {
        let Some(session) = session? else {
            let error = anyhow!("there are keys but no session");
            return Err(Failure::from(error).and_hint("use --local-only to delete them"));
        };
        let question = format!("Log {} out?", session.user_id);
        answers::confirm(args.yes, &question).await?;
        let asked = progress::of("asking the homeserver", auth::key_backup(&files));
        let backup = asked.await.map_err(untouched)?;
        if let Some(warning) = backup.and_then(lost) {
            warn(warning)?;
            answers::confirm(args.yes, "Go on all the same?").await?;
        }
        let end = async |password: Option<&Secret<String>>| {
            let ended = Box::pin(auth::end_session(&files, password));
            progress::of("logging out", ended).await
        };
        // What the login service has made, it ends by the tokens.
        if args.no_password_check || backup.is_none() || session.oauth.is_some() {
            end(None).await.map_err(untouched)?;
        } else {
            let given = answers::given_password(args.password, None)?;
            let mut asked = Password::of(session.user_id.as_str(), given);
            let mut password = asked.get().await?;
            while let Err(error) = end(Some(&password)).await {
                password = asked.another(error, untouched).await?;
            }
        }
        report_step("the session is ended at the homeserver");
        auth::delete_local(&files, report_step)?;
    }
    for path in files.recovery_keys().into_iter().chain(key_elsewhere) {
        report_step(&format!(
            "a recovery key of the account stays in {}: keep it in a safe place, or delete it if the account is not \
             needed any more",
            path.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the error of a logout that failed before anything was deleted.
fn untouched(error: AuthError) -> Failure {
    let hint = match &error {
        AuthError::Server(_) | AuthError::OAuth(_) => {
            Some("--local-only deletes what is here without asking the server".to_owned())
        }
        other => other.hint(),
    };
    let error = anyhow::Error::new(error).context("nothing was deleted");
    Failure::from(error).with_hint(hint)
}

fn lost(backup: KeyBackup) -> Option<String> {
    let (why, are) = match backup {
        KeyBackup::On => return None,
        KeyBackup::Off => ("key backup is not set up", "are"),
        KeyBackup::Unused => (
            "the account has a key backup, but this device puts nothing into it",
            "are",
        ),
        KeyBackup::Unknown => (
            "it is not known whether this device uses the account's key backup",
            "may be",
        ),
    };
    let keys = "the keys to the encrypted messages that this device could read";
    Some(format!("{why}: {keys} {are} lost with it"))
}
