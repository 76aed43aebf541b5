//! `relay auth login`: asks for what is missing, the homeserver first, and tells what came of it.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::answers::{self, MOST_ASKED, Password};
use super::asking::{Typed, is_asking};
use super::browser::BrowserArgs;
use super::jwt::JwtArgs;
use super::terminal;
use super::way::{Proof, Wanted};
use super::{Globals, PasswordArgs, open, or_stop};
use crate::cli::failure::{CommandResult, Failure};
use crate::cli::output::{print, say, warn};
use crate::home::{Home, StoreGuard};
use crate::{cli::progress, tools};
use relay_config::Secret;
use relay_matrix::auth::{
    self, AuthError, Credential, DeviceTrust, Earlier, Files, Identity, KeyPlace, Left, Login,
    LoginOptions, Offers, Parted, Problem, Seeds, Server, Unlock,
};
use relay_model::Chain;

#[derive(Debug, Args)]
pub(in crate::cli) struct LoginArgs {
    /// The homeserver's name or address [env: `RELAY_MATRIX_HOMESERVER`]
    #[arg(long, value_name = "URL|SERVER_NAME")]
    pub(super) homeserver: Option<String>,
    /// The bot's account: its name or its whole id [env: `RELAY_MATRIX_BOT_USER_ID`]
    #[arg(long, value_name = "USER")]
    pub(super) username: Option<String>,
    #[command(flatten)]
    pub(super) password: PasswordArgs,
    #[command(flatten)]
    pub(super) browser: BrowserArgs,
    #[command(flatten)]
    pub(super) jwt: JwtArgs,
    /// Use the device of the access token in this file, which no other program has used for encryption
    #[arg(long, value_name = "FILE", group = "way")]
    pub(super) access_token_file: Option<PathBuf>,
    /// What the new device is called in the account's list of devices
    #[arg(long, value_name = "NAME", default_value = "relay")]
    pub(super) device_name: String,
    /// Give the account this display name
    #[arg(long, value_name = "NAME")]
    pub(super) display_name: Option<String>,
    /// Allow plain HTTP to a homeserver that is not on this machine
    #[arg(long)]
    pub(super) allow_http: bool,
    /// Replace an earlier login
    #[arg(long)]
    pub(super) force: bool,
    /// A file with the account's recovery key, to verify the device where the account has an identity already
    #[arg(long, value_name = "FILE", conflicts_with = "reset_cross_signing")]
    pub(super) recovery_key_file: Option<PathBuf>,
    /// MMRelay's file with the identity that it made for the account (its name ends in `_cross_signing.json`), to keep that one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["reset_cross_signing", "recovery_key_file"])]
    pub(super) cross_signing_file: Option<PathBuf>,
    /// Give the account a new identity; everybody who has verified it has to do so again
    #[arg(long)]
    pub(super) reset_cross_signing: bool,
    /// Write a new recovery key to this file instead of showing it
    #[arg(long, value_name = "FILE")]
    pub(super) recovery_key_out: Option<PathBuf>,
    /// Whether the login is worth nothing without the account's own identity.
    #[arg(skip)]
    pub(super) is_recovery: bool,
}

/// Logs in, asking for missing answers. If it fails, an earlier login is untouched.
pub(super) async fn run(
    args: LoginArgs,
    globals: &Globals,
    home: &Home,
    stop: &CancellationToken,
) -> CommandResult {
    let prepared = or_stop(stop, Box::pin(prepare(args, globals, home)));
    let (_store, files, server, mut options, mut typed) = prepared.await?;
    let what = || {
        if stop.is_cancelled() && !is_asking() {
            Some("ending the login (once more: at once)")
        } else {
            unless_asking("logging in")()
        }
    };
    let login = loop {
        let login = Box::pin(auth::login(&files, &server, &options, stop));
        match progress::watch(what, login).await {
            Ok(login) => break login,
            Err(error) => {
                let Some(typed) = &mut typed else {
                    return Err(error.into());
                };
                let another = typed.another(error, Failure::from);
                options.credential = Credential::Password(or_stop(stop, another).await?);
            }
        }
    };
    tell("logged in as", &login, &files)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns what is being done, unless the user is asked for something meanwhile.
pub(super) fn unless_asking(what: &'static str) -> impl Fn() -> Option<&'static str> {
    move || (!is_asking()).then_some(what)
}

/// Collects all parameters of a login; the homeserver is checked before a password is typed.
async fn prepare(
    args: LoginArgs,
    globals: &Globals,
    home: &Home,
) -> Result<(StoreGuard, Files, Server, LoginOptions, Option<Password>), Failure> {
    let (store, files) = open(globals, home).await?;
    if !args.force
        && let Some(session) = files.load_session()?
    {
        return Err(AuthError::AlreadyLoggedIn(Box::new(session)).into());
    }
    let configured = answers::configured(globals, home)?;
    let allow_http = args.allow_http || configured.allow_http;
    let unlock = unlock(&args, &files)?;
    let (token, is_asked) = (args.access_token_file.as_deref(), args.password.is_given());
    let wanted = Wanted::of(args.browser, token, args.jwt, &configured, is_asked)?;
    let password = answers::given_password(args.password, configured.password)?;
    let homeserver = args.homeserver.or(configured.homeserver);
    let username = args.username.or(configured.bot_user_id);
    if !io::stdin().is_terminal() {
        if homeserver.is_none() && !username.as_deref().is_some_and(is_id) {
            return Err(answers::missing("--homeserver"));
        } else if username.is_none() && wanted.needs_username() {
            return Err(answers::missing("--username"));
        } else if password.is_none() && wanted.needs_password() {
            return Err(answers::missing_password());
        }
    }
    let (server, offers, username) = reach(homeserver, username, allow_http).await?;
    let proven = wanted.prove(&server, &offers, username, password, allow_http);
    let Proof {
        credential,
        username,
        typed,
    } = Box::pin(proven).await?;
    let options = LoginOptions {
        unlock,
        is_recovery: args.is_recovery || args.cross_signing_file.is_some(),
        credential,
        username,
        device_name: args.device_name,
        display_name: args.display_name,
        allow_http,
        earlier: if args.force {
            Earlier::Replaced
        } else {
            Earlier::Stays
        },
        recovery_key: match args.recovery_key_out {
            Some(path) => KeyPlace::File(std::path::absolute(path)?),
            None if io::stdout().is_terminal() => KeyPlace::Show(show_key),
            None => KeyPlace::File(files.recovery_key()),
        },
    };
    Ok((store, files, server, options, typed))
}

/// Returns whether it is a whole user id, which includes the homeserver.
fn is_id(username: &str) -> bool {
    username.starts_with('@')
}

/// Connects to the homeserver, and returns it with what it offers, and the user name if one is given.
async fn reach(
    mut homeserver: Option<String>,
    mut username: Option<String>,
    allow_http: bool,
) -> Result<(Server, Offers, Option<String>), Failure> {
    let is_asked = homeserver.is_none() && !username.as_deref().is_some_and(is_id);
    let mut tried = 0;
    loop {
        tried += 1;
        if is_asked {
            let question = "Homeserver, for example matrix.org or https://matrix.example.org: ";
            let answer = answers::ask("--homeserver", question).await?;
            if is_id(&answer) {
                (homeserver, username) = (None, Some(answer));
            } else {
                homeserver = Some(answer);
            }
        }
        let user = username.as_deref().unwrap_or_default();
        let domain = user.split_once(':').map_or(user, |(_, domain)| domain);
        let name = homeserver.as_deref().unwrap_or(domain);
        let found = auth::find_homeserver(homeserver.as_deref(), user, allow_http);
        match progress::of(format!("reaching {name}"), found).await {
            Ok((server, offers)) => return Ok((server, offers, username)),
            Err(error) if is_asked && tried < MOST_ASKED => say(&Failure::from(error).to_string())?,
            Err(error) => return Err(error.into()),
        }
    }
}

fn unlock(args: &LoginArgs, files: &Files) -> Result<Unlock, Failure> {
    if args.reset_cross_signing {
        return Ok(Unlock::Reset);
    }
    if let Some(path) = &args.cross_signing_file {
        return Ok(Unlock::Seeds(Seeds::read(path)?));
    }
    with_key(args.recovery_key_file.as_deref(), files)
}

/// Takes the recovery key from a file, or else from the user. Without a terminal there is nobody to ask.
pub(super) fn with_key(file: Option<&Path>, files: &Files) -> Result<Unlock, Failure> {
    if let Some(path) = file {
        return Ok(Unlock::Key(answers::first_line(path)?));
    }
    if !io::stdin().is_terminal() {
        return Ok(Unlock::Nothing);
    }
    let lies = files.recovery_keys().first().map_or_else(
        || ".".to_owned(),
        |path| format!("; what may be its recovery key is in {}.", path.display()),
    );
    Ok(Unlock::Ask(Box::new(move |was_wrong| {
        let what = if was_wrong {
            "That key does not fit.".to_owned()
        } else {
            format!("The account has an identity from an earlier login{lies}\n")
        };
        Box::pin(async move {
            let question = format!("{what} Recovery key (empty: go on without): ");
            let key = terminal::ask(question.trim_start(), Typed::Hidden).await?;
            Ok((!key.trim().is_empty()).then(|| Secret::new(key)))
        })
    })))
}

fn show_key(key: &Secret<String>) {
    progress::clear();
    // If standard output is closed, nobody sees the key; another login can create a new one.
    drop(print(&format!(
        "\nRecovery key of the account, shown only now; keep it in a safe place:\n\n    {}\n\n",
        key.reveal()
    )));
}

/// Tells what has been reached; `what` is what was done to the account's login.
pub(super) fn tell(what: &str, login: &Login, files: &Files) -> anyhow::Result<()> {
    let (session, standing) = (&login.session, &login.standing);
    let (user, device, server) = (&session.user_id, &session.device_id, &session.homeserver);
    let mut lines = vec![format!("{what} {user}, device {device}, at {server}")];
    let mut warnings = Vec::new();
    for Parted { device, left } in &login.parted {
        match left {
            None => lines.push(format!("the earlier device {device} is signed out")),
            Some(left) => warnings.push(still_there(device, left)),
        }
    }
    if standing.trust == DeviceTrust::Verified {
        lines.push("the device is verified by its owner".to_owned());
    }
    if standing.backup {
        lines.push("key backup is on".to_owned());
    }
    if let (Some(_), Some(path)) = (&standing.recovery_key, &session.recovery_key_file) {
        let path = path.display();
        lines.push(format!(
            "the recovery key is in {path}: move it to a safe place"
        ));
    }
    warnings.extend(standing.problems.iter().map(of_problem));
    match standing.identity {
        Identity::Foreign => warnings.push(foreign(files.recovery_keys().first())),
        Identity::Incomplete => warnings.push(INCOMPLETE.to_owned()),
        Identity::Missing => warnings.push(MISSING.to_owned()),
        Identity::Created | Identity::Recovered | Identity::Kept | Identity::Reset => {}
    }
    print(&(lines.join("\n") + "\n"))?;
    warnings.iter().try_for_each(warn)
}

fn of_problem(Problem { what, hint }: &Problem) -> String {
    match hint {
        Some(hint) => format!("{what}\n{}", tools::hint(hint)),
        None => what.clone(),
    }
}

fn still_there(device: impl Display, left: &Left) -> String {
    match left {
        Left::NoToken => format!(
            "a login that came to no end may have left the device {device}: remove it with another client"
        ),
        Left::Server(error) => not_out(&device, error),
        Left::OAuth(error) => not_out(&device, error),
    }
}

fn not_out(device: &impl Display, error: &(dyn Error + 'static)) -> String {
    format!(
        "the earlier device {device} could not be signed out ({}): the relay tries again at its next start; or remove it \
         with another client",
        Chain(error)
    )
}

/// Returns the message for an identity that is still locked, with the cures.
fn foreign(key: Option<&PathBuf>) -> String {
    let file = key.map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
    let whose = match key {
        Some(_) => "with what may be the account's recovery key; nobody else notices",
        None => "with the account's recovery key in FILE; nobody else notices",
    };
    format!(
        "\
the device is not verified: the account has a cross-signing identity that an earlier login made.
The relay works, but other people's clients warn of its messages. There are two cures:
  relay auth recover --recovery-key-file {file}
      {whose}
  relay auth login --force --reset-cross-signing
      makes a new identity and a new key backup; the old ones are lost, and everybody who has verified the account
      is warned and has to verify it again"
    )
}

const INCOMPLETE: &str = "\
the device is not verified: the account has a cross-signing identity that MMRelay made.
The relay works, but other people's clients warn of its messages. There are two cures:
  relay auth login --force --cross-signing-file FILE
      keeps that identity, with the file in `matrix/store` of MMRelay's home that ends in `_cross_signing.json`;
      nobody else notices
  relay auth login --force --reset-cross-signing
      makes a new identity, if that file is lost; everybody who has verified the account is warned and has to
      verify it again";

const MISSING: &str = "\
the device is not verified: the server did not take its signature. The relay works, but other people's
clients warn of its messages. To try again: relay auth login --force";

#[cfg(test)]
mod tests {
    use super::*;
    use relay_matrix::auth::ServerError;

    #[test]
    fn the_cure_of_a_problem_stands_below_it() {
        let mut problem = Problem::from("it failed".to_owned());
        assert_eq!(of_problem(&problem), "it failed");
        problem.hint = Some("wait".to_owned());
        assert_eq!(of_problem(&problem), "it failed\nhint: wait");
    }

    #[test]
    fn a_device_that_is_still_there_is_told_in_one_sentence() {
        let url = "https://example.org".parse().unwrap();
        let left = Left::Server(ServerError::TooLarge(url));
        let told = still_there("OLD", &left);
        assert!(told.contains("OLD") && !told.contains("  "), "{told}");
    }
}
