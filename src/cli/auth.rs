//! `relay auth`: login, logout, and the state of the login. The work is done in `matrix::auth`; here people are asked
//! and informed.

mod answers;
mod asking;
mod browser;
mod export;
mod jwt;
mod login;
mod logout;
#[cfg_attr(windows, path = "auth/opener_windows.rs")]
mod opener;
mod recover;
#[cfg_attr(windows, path = "auth/terminal_windows.rs")]
mod terminal;
mod verify;
mod way;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::failure::{CommandResult, Failure, success_if};
use super::output::{as_json, print, warn};
use super::{Globals, interruptible, progress};
use crate::home::{Home, LockError, StoreGuard};
use relay_matrix::auth::{self, AuthError, Files, KeyBackup, LoginMethod, RECOVER};
use relay_model::Timestamp;

use self::export::{ExportArgs, ImportArgs};
use self::login::LoginArgs;
use self::logout::LogoutArgs;
pub(super) use self::recover::RecoverArgs;
use self::verify::VerifyArgs;

/// Maximum number of attempts to lock the store while another process holds it.
const STORE_TRIES: u32 = 15;
/// Pause between two attempts to lock the store.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// The commands under `relay auth`.
#[derive(Debug, Subcommand)]
pub(super) enum AuthCommand {
    /// Log the bot's account in, as a new device that its owner has signed
    #[command(
        after_help = "Examples:\n  relay auth login --homeserver example.org --username relay\n  \
                      relay auth login --homeserver https://matrix.example.org --username relay --password-file secret.txt\n  \
                      relay auth login --homeserver example.org --oauth --device-code"
    )]
    Login(Box<LoginArgs>),
    /// Have the device signed by its owner again, with the account's recovery key; after the loss of its keys, as a new
    /// device
    #[command(after_help = "Example: relay auth recover --recovery-key-file recovery-key.txt")]
    Recover(RecoverArgs),
    /// Compare emoji with another device of the account, or with another user, while no relay runs
    #[command(
        after_help = "Examples:\n  relay auth verify\n  relay auth verify --user @alice:example.org"
    )]
    Verify(VerifyArgs),
    /// Tell as whom the relay is logged in, and how its device stands; asks the server, works beside the daemon
    #[command(after_help = "Example: relay auth status --json")]
    Status {
        /// One JSON object instead of sentences
        #[arg(long)]
        json: bool,
    },
    /// Take the login to another home: write it into one file, encrypted by a passphrase, and use it here no more
    #[command(after_help = "Example: relay auth export --database relay-login.age")]
    Export(ExportArgs),
    /// Take in a login that another home has exported; once, as two relays with one device destroy its encryption
    #[command(after_help = "Example: relay auth import relay-login.age")]
    Import(ImportArgs),
    /// End the login, and delete its keys here
    #[command(after_help = "Example: relay auth logout -y --password-file secret.txt")]
    Logout(LogoutArgs),
}

/// Where a password comes from; asked for on a terminal if nothing says so.
#[derive(Debug, Args)]
pub(super) struct PasswordArgs {
    /// The account's password; other users of this machine may see it there
    #[arg(long, value_name = "PASSWORD", group = "password_source")]
    password: Option<String>,
    /// A file whose first line is the password [env: `RELAY_MATRIX_PASSWORD` or `RELAY_MATRIX_PASSWORD_FILE`]
    #[arg(long, value_name = "FILE", group = "password_source")]
    password_file: Option<PathBuf>,
    /// Read the password from the first line of standard input
    #[arg(long, group = "password_source")]
    password_stdin: bool,
}

impl PasswordArgs {
    /// Returns whether a flag gives the password.
    fn is_given(&self) -> bool {
        self.password.is_some() || self.password_file.is_some() || self.password_stdin
    }
}

/// Runs a command. A signal ends it at a point that leaves nothing half done; a second signal at once.
pub(super) async fn run(command: AuthCommand, globals: &Globals) -> CommandResult {
    let home = globals.home()?;
    let stop = CancellationToken::new();
    let work = Box::pin(terminal::suspendable(async {
        match command {
            AuthCommand::Login(args) => login::run(*args, globals, &home, &stop).await,
            AuthCommand::Recover(args) => recover::run(args, globals, &home, &stop).await,
            AuthCommand::Verify(args) => verify::run(args, globals, &home, &stop).await,
            AuthCommand::Status { json } => or_stop(&stop, Box::pin(status(&home, json))).await,
            AuthCommand::Export(args) => {
                or_stop(&stop, Box::pin(export::export(args, globals, &home))).await
            }
            AuthCommand::Import(args) => {
                or_stop(&stop, Box::pin(export::import(args, globals, &home))).await
            }
            AuthCommand::Logout(args) => {
                or_stop(&stop, Box::pin(logout::run(args, globals, &home))).await
            }
        }
    }));
    interruptible(&stop, work).await??
}

/// Logs in as a new device, at this homeserver as this user unless the arguments say otherwise, and recovers the account's
/// identity.
pub(super) async fn log_in_again(
    args: RecoverArgs,
    (homeserver, user): (String, String),
    globals: &Globals,
    home: &Home,
) -> CommandResult {
    let stop = CancellationToken::new();
    let args = recover::as_login(args, Some(homeserver), Some(user));
    let work = Box::pin(terminal::suspendable(login::run(
        args, globals, home, &stop,
    )));
    let outcome = interruptible(&stop, work).await??;
    outcome.map_err(|error| {
        error.and_hint("all but the login is restored: `relay auth recover` logs in")
    })
}

/// Runs cancel-safe work until it ends or a signal arrives.
async fn or_stop<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let outcome = stop.run_until_cancelled(work).await;
    outcome.unwrap_or_else(|| Err(AuthError::Interrupted.into()))
}

/// Prepares the home for a change of the login, and locks the SDK's store.
async fn open(globals: &Globals, home: &Home) -> Result<(StoreGuard, Files), Failure> {
    for warning in home.prepare(globals.allow_network_home)? {
        warn(warning)?;
    }
    let store = take_store(home).await?;
    let files = Files::new(home.matrix());
    files.finish()?;
    Ok((store, files))
}

/// Locks the SDK's store, unless the daemon uses it: a daemon whose session is dead holds it only for an instant, to
/// look whether the login has changed.
async fn take_store(home: &Home) -> Result<StoreGuard, LockError> {
    for _ in 1..STORE_TRIES {
        if let Ok(store) = StoreGuard::take(home) {
            return Ok(store);
        }
        sleep(BETWEEN_TRIES).await;
    }
    StoreGuard::take(home)
}

async fn status(home: &Home, json: bool) -> CommandResult {
    let files = Files::new(home.matrix());
    let asked = async {
        let (mut damage, mut dead) = (None, None);
        if files.session().exists() {
            // Held only for the check: the daemon may need it.
            let store = take_store(home).await;
            damage = auth::damage(&files, store.is_ok()).await?;
            if store.is_ok() {
                dead = auth::renew_expired(&files).await;
            }
        }
        let status = auth::status(&files, damage).await?;
        Ok(status.refused_by_service(dead))
    };
    let status = match progress::of("asking the homeserver", asked).await {
        Ok(status) => status,
        Err(AuthError::NotLoggedIn) => {
            print(&if json {
                "{\"logged_in\": false}\n".to_owned()
            } else {
                home.named_in("not logged in: run `relay auth login`\n")
            })?;
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    if json {
        let mut object = serde_json::to_value(&status).context("cannot be told as JSON")?;
        object["logged_in"] = true.into();
        if let Some(refused) = &status.refused {
            object["refused"] = home.named_in(refused).into();
        }
        print(&as_json(&object)?)?;
    } else {
        print(&home.named_in(&sentences(&status)))?;
    }
    Ok(success_if(status.token_alive && status.damage.is_none()))
}

fn sentences(status: &auth::LoginStatus) -> String {
    let (user, device, server) = (&status.user_id, &status.device_id, &status.homeserver);
    let session = match &status.refused {
        Some(refused) => refused.as_str(),
        None if status.is_aged() => {
            "to be renewed: a running relay does that by itself, and `relay status` says if it cannot"
        }
        None => "alive",
    };
    let verified = match status.device_verified {
        Some(true) => "yes, by its owner",
        Some(false) => &format!("no: {}", status.recovery()),
        None => "not known",
    };
    let damage = status.damage.as_ref();
    let damage = damage.map_or_else(String::new, |what| format!("keys here    {what}\n"));
    let backup = match (status.key_backup, status.key_backup_on_server) {
        (KeyBackup::On, _) => "on",
        (KeyBackup::Unused, _) => {
            &format!("not by this device: the account has one that another login made; {RECOVER}")
        }
        (KeyBackup::Off, _) => "off",
        (KeyBackup::Unknown, Some(true)) => {
            "the account has one; whether this device uses it is not known: `relay auth login --force` makes sure"
        }
        (KeyBackup::Unknown, _) => "not known",
    };
    let left = status.recovery_key_file.as_ref().map(|path| {
        let path = path.display();
        format!("recovery key in {path}: move it to a safe place\n")
    });
    let left = left.unwrap_or_default();
    let made = made(status, Timestamp::now());
    format!(
        "account      {user}\ndevice       {device}\nhomeserver   {server}\nlogin        {made}\nsession      {session}\n\
         verified     {verified}\n{damage}key backup   {backup}\n{left}"
    )
}

/// Returns how the login was made, and until when its access token is good.
fn made(status: &auth::LoginStatus, now: Timestamp) -> String {
    let how = match status.login {
        LoginMethod::Password => "by password",
        LoginMethod::AccessToken => "by an access token",
        LoginMethod::Jwt => "by a JSON web token",
        LoginMethod::Sso => "by single sign-on",
        LoginMethod::OAuth => "by OAuth 2.0",
    };
    let Some(service) = &status.login_service else {
        return how.to_owned();
    };
    let issuer = &service.issuer;
    let until = match service.expires_at {
        None => String::new(),
        Some(until) if until <= now => "; its access token has expired".to_owned(),
        Some(until) => {
            let seconds = until.since(now).as_secs();
            format!("; its access token is good for {seconds} s, and is renewed before")
        }
    };
    format!("{how}, at {issuer}{until}")
}

/// Reports a completed step. A closed standard output must not stop a logout half way.
fn report_step(step: &str) {
    drop(print(&format!("{step}\n")));
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use matrix_sdk::ruma::{owned_device_id, owned_user_id};

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(subcommand)]
        command: AuthCommand,
    }

    fn parse(arguments: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("auth").chain(arguments.split(' ')))
    }

    #[test]
    fn a_password_has_one_source() {
        assert!(parse("login --username relay --password-file f").is_ok());
        assert!(parse("login --password p --password-stdin").is_err());
        assert!(parse("logout --no-password-check --password p").is_err());
        assert!(parse("logout --local-only -y").is_ok());
    }

    #[test]
    fn an_identity_is_recovered_or_reset_never_both() {
        assert!(parse("login --recovery-key-file f --reset-cross-signing").is_err());
        assert!(parse("login --cross-signing-file f --reset-cross-signing").is_err());
        assert!(parse("login --cross-signing-file f --recovery-key-file f").is_err());
    }

    #[test]
    fn a_status_says_what_to_do_about_each_fault() {
        let status = auth::LoginStatus {
            user_id: owned_user_id!("@relay:example.org"),
            device_id: owned_device_id!("DEVICE"),
            homeserver: url::Url::parse("https://example.org").unwrap(),
            token_alive: true,
            refused: None,
            device_verified: Some(false),
            identity_is_incomplete: false,
            key_backup: KeyBackup::Unused,
            key_backup_on_server: Some(true),
            recovery_key_file: Some("/data/matrix/recovery.key".into()),
            damage: None,
            login: LoginMethod::Password,
            login_service: None,
        };
        insta::assert_snapshot!(sentences(&status), @r"
        account      @relay:example.org
        device       DEVICE
        homeserver   https://example.org/
        login        by password
        session      alive
        verified     no: run `relay auth recover` with the account's recovery key; if nobody has it any more, `relay auth login --force --reset-cross-signing`
        key backup   not by this device: the account has one that another login made; run `relay auth recover` with the account's recovery key; if nobody has it any more, `relay auth login --force --reset-cross-signing`
        recovery key in /data/matrix/recovery.key: move it to a safe place
        ");
        let aged = auth::LoginStatus {
            device_verified: None,
            ..status
        };
        assert!(sentences(&aged).contains("session      to be renewed"));
    }
}
