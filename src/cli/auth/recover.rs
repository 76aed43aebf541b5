//! `relay auth recover`: the account's identity from its recovery key, for a login that works or, where its keys are lost,
//! for a new one.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::browser::BrowserArgs;
use super::jwt::JwtArgs;
use super::login::{self, LoginArgs};
use super::{Globals, PasswordArgs, answers, open, or_stop};
use crate::cli::failure::{CommandResult, Failure};
use crate::cli::output::print;
use crate::cli::progress;
use crate::home::Home;
use relay_matrix::auth::{self, Files, KeyBackup};

#[derive(Debug, Args)]
pub(in crate::cli) struct RecoverArgs {
    /// A file with the account's recovery key; asked for on a terminal
    #[arg(long, value_name = "FILE")]
    recovery_key_file: Option<PathBuf>,
    /// The homeserver's name or address, where nothing is left of the login [env: `RELAY_MATRIX_HOMESERVER`]
    #[arg(long, value_name = "URL|SERVER_NAME")]
    homeserver: Option<String>,
    /// The bot's account, where nothing is left of the login [env: `RELAY_MATRIX_BOT_USER_ID`]
    #[arg(long, value_name = "USER")]
    username: Option<String>,
    /// For a new device, where the keys of the old one are lost
    #[command(flatten)]
    password: PasswordArgs,
    /// What a new device is called in the account's list of devices
    #[arg(long, value_name = "NAME", default_value = "relay")]
    device_name: String,
    /// Allow plain HTTP to a homeserver that is not on this machine
    #[arg(long)]
    allow_http: bool,
}

impl RecoverArgs {
    /// Returns the account that the arguments name, as it was given.
    pub(in crate::cli) fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Returns whether there is a recovery key, or somebody who can be asked for it. Fails if its file cannot be read.
    pub(in crate::cli) fn may_unlock(&self) -> Result<bool, Failure> {
        match &self.recovery_key_file {
            Some(path) => answers::first_line(path).map(|_| true),
            None => Ok(io::stdin().is_terminal()),
        }
    }
}

/// What is left of a login.
enum Standing {
    /// Its device is signed and uses the backup.
    Whole,
    /// It works, but its device is not signed, or does not use the backup.
    Unsigned,
    /// It cannot be used: its keys are lost, or the homeserver does not accept it.
    Lost,
}

/// Recovers the identity, asking for missing answers. If it fails, the login is as it was.
pub(super) async fn run(
    args: RecoverArgs,
    globals: &Globals,
    home: &Home,
    stop: &CancellationToken,
) -> CommandResult {
    if !args.may_unlock()? {
        return Err(answers::missing("--recovery-key-file"));
    }
    let (store, files) = or_stop(stop, Box::pin(open(globals, home))).await?;
    // A session that cannot be read is as good as none.
    let session = files.load_session().ok().flatten();
    let standing = match &session {
        Some(_) => {
            let looked = progress::of("asking the homeserver", standing(&files));
            or_stop(stop, Box::pin(looked)).await?
        }
        None => Standing::Lost,
    };
    match standing {
        Standing::Whole => {
            print(
                "nothing to recover: the device is verified by its owner, and key backup is on\n",
            )?;
        }
        Standing::Unsigned => {
            let unlock = login::with_key(args.recovery_key_file.as_deref(), &files)?;
            let recovering = Box::pin(auth::recover(&files, &unlock, stop));
            let recovered = progress::watch(login::unless_asking("recovering"), recovering).await?;
            login::tell("recovered the identity of", &recovered, &files)?;
        }
        Standing::Lost => {
            drop(store);
            let account = session.map(|it| (it.homeserver.to_string(), it.user_id.to_string()));
            let (homeserver, user) = account.unzip();
            return login::run(as_login(args, homeserver, user), globals, home, stop).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn standing(files: &Files) -> Result<Standing, Failure> {
    if auth::damage(files, true).await?.is_some() {
        return Ok(Standing::Lost);
    }
    let status = auth::status(files, None).await?;
    Ok(if !status.token_alive {
        Standing::Lost
    } else if status.device_verified == Some(true) && status.key_backup == KeyBackup::On {
        Standing::Whole
    } else {
        Standing::Unsigned
    })
}

/// Returns the login of a new device in the place of the one that is lost, at this homeserver as this user.
pub(super) fn as_login(
    args: RecoverArgs,
    homeserver: Option<String>,
    user: Option<String>,
) -> LoginArgs {
    LoginArgs {
        browser: BrowserArgs::default(),
        jwt: JwtArgs::default(),
        access_token_file: None,
        homeserver: args.homeserver.or(homeserver),
        username: args.username.or(user),
        password: args.password,
        device_name: args.device_name,
        display_name: None,
        allow_http: args.allow_http,
        force: true,
        recovery_key_file: args.recovery_key_file,
        cross_signing_file: None,
        reset_cross_signing: false,
        recovery_key_out: None,
        is_recovery: true,
    }
}
