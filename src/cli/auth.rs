//! `relay auth`: logs in to Matrix, out of it, and tells how the login stands. What happens is in `matrix::auth`; here
//! people are asked and told.

mod answers;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::Globals;
use crate::config::Secret;
use crate::home::{Home, StoreGuard};
use crate::matrix::auth::{
    self, AuthError, DeviceTrust, Files, Identity, Login, LoginOptions, Proof, Unlock,
};

use self::answers::{Defaults, Missing};

/// The commands under `relay auth`.
#[derive(Debug, Subcommand)]
pub(super) enum AuthCommand {
    /// Log the bot's account in, as a new device that its owner has signed
    #[command(
        after_help = "Examples:\n  relay auth login --homeserver example.org --username relay\n  \
                      relay auth login --homeserver https://matrix.example.org --username relay --password-file secret.txt"
    )]
    Login(LoginArgs),
    /// Tell as whom the relay is logged in, and how its device stands; asks the server, works beside the daemon
    #[command(after_help = "Example: relay auth status --json")]
    Status {
        /// One JSON object instead of sentences
        #[arg(long)]
        json: bool,
    },
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

/// The arguments of `relay auth login`.
#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// The homeserver's name or address [env: `RELAY_MATRIX_HOMESERVER`]
    #[arg(long, value_name = "URL|SERVER_NAME")]
    homeserver: Option<String>,
    /// The bot's account: its name or its whole id [env: `RELAY_MATRIX_BOT_USER_ID`]
    #[arg(long, value_name = "USER")]
    username: Option<String>,
    #[command(flatten)]
    password: PasswordArgs,
    /// What the new device is called in the account's list of devices
    #[arg(long, value_name = "NAME", default_value = "relay")]
    device_name: String,
    /// Give the account this display name
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// Allow plain HTTP to a homeserver that is not on this machine
    #[arg(long)]
    allow_http: bool,
    /// Replace an earlier login
    #[arg(long)]
    force: bool,
    /// A file with the account's recovery key, to verify the device where the account has an identity already
    #[arg(long, value_name = "FILE", conflicts_with = "reset_cross_signing")]
    recovery_key_file: Option<PathBuf>,
    /// Give the account a new identity; everybody who has verified it has to do so again
    #[arg(long)]
    reset_cross_signing: bool,
    /// Write a new recovery key to this file instead of showing it
    #[arg(long, value_name = "FILE")]
    recovery_key_out: Option<PathBuf>,
}

/// The arguments of `relay auth logout`.
#[derive(Debug, Args)]
pub(super) struct LogoutArgs {
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

/// Runs one of the commands.
///
/// # Errors
///
/// What failed, with the cure.
pub(super) async fn run(command: AuthCommand, globals: &Globals) -> anyhow::Result<ExitCode> {
    let home = globals.home()?;
    let outcome = match command {
        AuthCommand::Login(args) => login(args, globals, &home).await,
        AuthCommand::Status { json } => status(&home, json).await,
        AuthCommand::Logout(args) => logout(args, &home).await,
    };
    match outcome {
        Err(error) if error.is::<Missing>() => {
            say(&format!("error: {error}"))?;
            Ok(ExitCode::from(WRONG_ARGUMENTS))
        }
        other => other,
    }
}

const WRONG_ARGUMENTS: u8 = 2;

async fn login(args: LoginArgs, globals: &Globals, home: &Home) -> anyhow::Result<ExitCode> {
    for warning in home.prepare(globals.allow_network_home)? {
        say(&format!("warning: {warning}"))?;
    }
    let _store = StoreGuard::take(home)?;
    let files = Files::new(home.matrix());
    if !args.force
        && let Some(session) = files.load_session()?
    {
        return Err(AuthError::already(session).into());
    }
    let defaults = Defaults::find(globals, home);
    let username = answers::text("--username", args.username, defaults.username, "User name")?;
    let homeserver = match args.homeserver.or(defaults.homeserver) {
        // The id of a user names the server.
        None if username.starts_with('@') => None,
        given => Some(answers::text("--homeserver", given, None, "Homeserver")?),
    };
    let shown = io::stdout().is_terminal() && args.recovery_key_out.is_none();
    let options = LoginOptions {
        homeserver,
        unlock: unlock(args.recovery_key_file.as_deref(), args.reset_cross_signing)?,
        password: answers::password(args.password, defaults.password, &username)?,
        username,
        device_name: args.device_name,
        display_name: args.display_name,
        allow_http: args.allow_http || defaults.allow_http,
        force: args.force,
        recovery_key_file: match args.recovery_key_out {
            Some(path) => Some(std::path::absolute(path)?),
            None => (!shown).then(|| files.recovery_key()),
        },
    };
    if io::stderr().is_terminal() {
        say("logging in …")?;
    }
    let login = Box::pin(auth::login(&files, &options)).await?;
    tell(&login)?;
    Ok(ExitCode::SUCCESS)
}

fn unlock(file: Option<&std::path::Path>, reset: bool) -> anyhow::Result<Unlock> {
    if reset {
        return Ok(Unlock::Reset);
    }
    Ok(match file {
        Some(path) => Unlock::Key(answers::first_line(path)?),
        None if io::stdin().is_terminal() => Unlock::Ask(Box::new(ask_recovery_key)),
        None => Unlock::Nothing,
    })
}

fn ask_recovery_key(was_wrong: bool) -> Option<Secret<String>> {
    let text = if was_wrong {
        "That key does not fit. Recovery key (empty: go on without): "
    } else {
        "The account has an identity from an earlier login. Recovery key (empty: go on without): "
    };
    let key = rpassword::prompt_password(text).ok()?;
    (!key.trim().is_empty()).then(|| Secret::new(key))
}

fn tell(login: &Login) -> anyhow::Result<()> {
    let session = &login.session;
    let standing = &login.standing;
    let mut lines = vec![format!(
        "logged in as {}, device {}, at {}",
        session.user_id, session.device_id, session.homeserver
    )];
    if let Some(device) = &login.replaced {
        lines.push(format!("the earlier device {device} is signed out"));
    }
    if standing.trust == DeviceTrust::Verified {
        lines.push("the device is verified by its owner".to_owned());
    }
    if standing.backup {
        lines.push("key backup is on".to_owned());
    }
    match (&standing.recovery_key, &session.recovery_key_file) {
        (Some(_), Some(path)) => lines.push(format!(
            "the recovery key is in {}: move it to a safe place",
            path.display()
        )),
        (Some(key), None) => lines.push(format!(
            "\nRecovery key of the account, shown only now; keep it in a safe place:\n\n    {}\n",
            key.reveal()
        )),
        (None, _) => {}
    }
    print(&format!("{}\n", lines.join("\n")))?;
    for problem in &standing.problems {
        say(&format!("warning: {problem}"))?;
    }
    match standing.identity {
        Identity::Foreign => say(FOREIGN)?,
        Identity::Missing => say(MISSING)?,
        Identity::Created | Identity::Recovered | Identity::Reset => {}
    }
    Ok(())
}

const FOREIGN: &str = "\
warning: the device is not verified: the account has a cross-signing identity that an earlier login made.
The relay works, but other people's clients warn of its messages. There are two cures:
  relay auth login --force --recovery-key-file FILE
      with the account's recovery key in FILE; nobody else notices
  relay auth login --force --reset-cross-signing
      makes a new identity and a new key backup; the old ones are lost, and everybody who has verified the account
      is warned and has to verify it again";

const MISSING: &str = "\
warning: the device is not verified: the server did not take its signature. The relay works, but other people's
clients warn of its messages. To try again: relay auth login --force";

async fn status(home: &Home, json: bool) -> anyhow::Result<ExitCode> {
    let files = Files::new(home.matrix());
    let status = match auth::status(&files).await {
        Ok(status) => status,
        Err(AuthError::NotLoggedIn) => {
            if json {
                print("{\"logged_in\": false}\n")?;
            } else {
                print("not logged in: run `relay auth login`\n")?;
            }
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    if json {
        let mut object = serde_json::to_value(&status)?;
        if let Some(object) = object.as_object_mut() {
            object.insert("logged_in".to_owned(), true.into());
        }
        print(&format!("{object:#}\n"))?;
    } else {
        print(&sentences(&status))?;
    }
    Ok(if status.token_alive {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn sentences(status: &auth::Status) -> String {
    let known = |fact: Option<bool>, yes: &'static str, no: &'static str| match fact {
        Some(true) => yes,
        Some(false) => no,
        None => "not known",
    };
    let left = status
        .recovery_key_file
        .as_ref()
        .map_or_else(String::new, |path| {
            format!(
                "recovery key in {}: move it to a safe place\n",
                path.display()
            )
        });
    format!(
        "account      {}\ndevice       {}\nhomeserver   {}\nsession      {}\nverified     {}\nkey backup   {}\n{left}",
        status.user_id,
        status.device_id,
        status.homeserver,
        if status.token_alive {
            "alive"
        } else {
            "the homeserver does not accept it any more: run `relay auth login --force`"
        },
        known(
            status.device_verified,
            "yes, by its owner",
            "no: run `relay auth login --force` with --recovery-key-file or --reset-cross-signing",
        ),
        known(status.key_backup, "on", "off"),
    )
}

async fn logout(args: LogoutArgs, home: &Home) -> anyhow::Result<ExitCode> {
    let files = Files::new(home.matrix());
    if !files.session().exists() && !files.sdk().exists() {
        return Err(AuthError::NotLoggedIn.into());
    }
    let _store = StoreGuard::take(home)?;
    if args.local_only {
        answers::confirm(args.yes, "Delete the login and its keys on this machine?")?;
        auth::delete_local(&files, told)?;
        say(
            "warning: the server still has the device; its token may still be valid: \
             remove the device with another client",
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(session) = files.load_session()? else {
        bail!("there are keys but no session: use --local-only to delete them");
    };
    answers::confirm(args.yes, &format!("Log {} out?", session.user_id))?;
    let backup = auth::key_backup(&files).await.map_err(untouched)?;
    if backup == Some(false) {
        say(
            "warning: key backup is not set up: the keys to the encrypted messages that this device could read are \
             lost with it",
        )?;
        answers::confirm(args.yes, "Go on all the same?")?;
    }
    let proof = if args.no_password_check || backup.is_none() {
        Proof::None
    } else {
        let user = session.user_id.as_str();
        Proof::Password(answers::password(args.password, None, user)?)
    };
    auth::end_session(&files, &proof).await.map_err(untouched)?;
    told("the session is ended at the homeserver");
    auth::delete_local(&files, told)?;
    Ok(ExitCode::SUCCESS)
}

fn untouched(error: AuthError) -> anyhow::Error {
    let context = match &error {
        AuthError::Server(_) => {
            "nothing was deleted (--local-only deletes what is here without asking the server)"
        }
        _ => "nothing was deleted",
    };
    anyhow::Error::new(error).context(context)
}

/// Tells a step that is done. A closed standard output does not stop a logout half way.
fn told(step: &str) {
    drop(print(&format!("{step}\n")));
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{text}")
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
    }

    #[test]
    fn a_status_says_what_to_do_about_each_fault() {
        let status = auth::Status {
            user_id: owned_user_id!("@relay:example.org"),
            device_id: owned_device_id!("DEVICE"),
            homeserver: url::Url::parse("https://example.org").unwrap(),
            token_alive: true,
            device_verified: Some(false),
            key_backup: Some(false),
            recovery_key_file: Some("/data/matrix/recovery.key".into()),
        };
        insta::assert_snapshot!(sentences(&status), @r"
        account      @relay:example.org
        device       DEVICE
        homeserver   https://example.org/
        session      alive
        verified     no: run `relay auth login --force` with --recovery-key-file or --reset-cross-signing
        key backup   off
        recovery key in /data/matrix/recovery.key: move it to a safe place
        ");
    }
}
