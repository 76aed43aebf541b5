//! `relay auth login`: asks for what is missing, the homeserver first, and tells what came of it.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::answers::{self, Defaults, Missing};
use super::terminal::{self, Typed};
use super::{Globals, PasswordArgs, or_stop, take_store};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::{print, say};
use crate::cli::progress::Progress;
use crate::config::Secret;
use crate::home::Home;
use crate::matrix::auth::{
    self, AuthError, DeviceTrust, Files, Identity, KeyPlace, Left, Login, LoginOptions, Parted,
    Server, Unlock,
};

/// How often a person is asked for the homeserver.
const MOST_ASKED: usize = 3;

/// The arguments of `relay auth login`.
#[derive(Debug, Args)]
pub(in crate::cli) struct LoginArgs {
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

/// Logs in, asking for what nobody has said. After a failure an earlier login is as it was.
pub(super) async fn run(
    args: LoginArgs,
    globals: &Globals,
    home: &Home,
    stop: &CancellationToken,
) -> Outcome {
    for warning in home.prepare(globals.allow_network_home)? {
        say(&format!("warning: {warning}"))?;
    }
    let _store = take_store(home).await?;
    let files = Files::new(home.matrix());
    files.finish()?;
    if !args.force
        && let Some(session) = files.load_session()?
    {
        return Err(AuthError::already(session).into());
    }
    let defaults = Defaults::find(globals, home)?;
    let allow_http = args.allow_http || defaults.allow_http;
    let unlock = unlock(
        args.recovery_key_file.as_deref(),
        args.reset_cross_signing,
        &files,
    )?;
    let password = answers::given_password(args.password, defaults.password)?;
    let mut whose = Whose {
        homeserver: args.homeserver.or(defaults.homeserver),
        username: args.username.or(defaults.username),
    };
    if !io::stdin().is_terminal() {
        whose.is_known()?;
        if password.is_none() {
            return Err(Missing::Password.into());
        }
    }
    let server = whose.reach(allow_http, stop).await?;
    let username = whose.username(&server, stop).await?;
    let options = LoginOptions {
        unlock,
        password: answers::password(password, &username, stop).await?,
        username,
        device_name: args.device_name,
        display_name: args.display_name,
        allow_http,
        force: args.force,
        recovery_key: match args.recovery_key_out {
            Some(path) => KeyPlace::File(std::path::absolute(path)?),
            None if io::stdout().is_terminal() => KeyPlace::Show(show_key),
            None => KeyPlace::File(files.recovery_key()),
        },
    };
    let what = || {
        if terminal::is_asking() {
            None
        } else if stop.is_cancelled() {
            Some("ending the login (once more: at once)")
        } else {
            Some("logging in")
        }
    };
    let login = Box::pin(auth::login(&files, &server, &options, stop));
    let login = Progress::watch(what, login).await?;
    tell(&login, &files)?;
    Ok(ExitCode::SUCCESS)
}

/// Which account it is, as far as that is known.
struct Whose {
    homeserver: Option<String>,
    username: Option<String>,
}

impl Whose {
    /// Returns whether nobody has to be asked.
    fn is_known(&self) -> Result<(), Missing> {
        let missing = |flag| Err(Missing::Answer { flag });
        match (&self.homeserver, &self.username) {
            (None, None) => missing("--homeserver"),
            (None, Some(name)) if !name.starts_with('@') => missing("--homeserver"),
            (Some(_), None) => missing("--username"),
            (_, Some(_)) => Ok(()),
        }
    }

    /// Finds the homeserver, before anybody types a password.
    async fn reach(
        &mut self,
        allow_http: bool,
        stop: &CancellationToken,
    ) -> Result<Server, Failure> {
        let is_id = |name: &String| name.starts_with('@');
        let is_asked = self.homeserver.is_none() && !self.username.as_ref().is_some_and(is_id);
        for tried in 1.. {
            if is_asked {
                let question = "Homeserver, for example matrix.org or https://matrix.example.org: ";
                let answer = answers::ask("--homeserver", question, stop).await?;
                if is_id(&answer) {
                    // The id of a user names the server.
                    (self.homeserver, self.username) = (None, Some(answer));
                } else {
                    self.homeserver = Some(answer);
                }
            }
            let username = self.username.as_deref().unwrap_or_default();
            let name = match (&self.homeserver, username.split_once(':')) {
                (Some(name), _) => name,
                (None, Some((_, name))) => name,
                (None, None) => username,
            };
            let found = auth::find_homeserver(self.homeserver.as_deref(), username, allow_http);
            let found = async { Ok(Progress::of(format!("reaching {name}"), found).await?) };
            match or_stop(stop, found).await {
                Err(error) if is_asked && tried < MOST_ASKED && !stop.is_cancelled() => {
                    say(&error.to_string())?;
                }
                other => return other,
            }
        }
        Err(AuthError::NoHomeserver.into())
    }

    async fn username(self, server: &Server, stop: &CancellationToken) -> Result<String, Failure> {
        if let Some(username) = self.username {
            return Ok(username);
        }
        let server = server.base().host_str().unwrap_or_default();
        let question = format!("The bot's user name at {server}, for example relaybot: ");
        answers::ask("--username", &question, stop).await
    }
}

fn unlock(file: Option<&Path>, reset: bool, files: &Files) -> anyhow::Result<Unlock> {
    if reset {
        return Ok(Unlock::Reset);
    }
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
    Progress::clear();
    // Nobody sees it where standard output is closed; then another login makes a new one.
    drop(print(&format!(
        "\nRecovery key of the account, shown only now; keep it in a safe place:\n\n    {}\n\n",
        key.reveal()
    )));
}

fn tell(login: &Login, files: &Files) -> anyhow::Result<()> {
    let session = &login.session;
    let standing = &login.standing;
    let mut lines = vec![format!(
        "logged in as {}, device {}, at {}",
        session.user_id, session.device_id, session.homeserver
    )];
    let gone = login.parted.iter().filter(|parted| parted.left.is_none());
    lines.extend(gone.map(|parted| format!("the earlier device {} is signed out", parted.device)));
    if standing.trust == DeviceTrust::Verified {
        lines.push("the device is verified by its owner".to_owned());
    }
    if standing.backup {
        lines.push("key backup is on".to_owned());
    }
    if let (Some(_), Some(path)) = (&standing.recovery_key, &session.recovery_key_file) {
        lines.push(format!(
            "the recovery key is in {}: move it to a safe place",
            path.display()
        ));
    }
    print(&(lines.join("\n") + "\n"))?;
    for parted in &login.parted {
        if let Some(left) = &parted.left {
            say(&format!("warning: {}", still_there(parted, left)))?;
        }
    }
    for problem in &standing.problems {
        say(&format!("warning: {problem}"))?;
    }
    match standing.identity {
        Identity::Foreign => say(&foreign(files.recovery_keys().first())),
        Identity::Missing => say(MISSING),
        Identity::Created | Identity::Recovered | Identity::Reset => Ok(()),
    }?;
    Ok(())
}

fn still_there(parted: &Parted, left: &Left) -> String {
    let device = &parted.device;
    match left {
        Left::NoToken => format!(
            "a login that came to no end may have left the device {device}: remove it with another client"
        ),
        Left::Server(error) => format!(
            "the earlier device {device} could not be signed out ({error}): the relay tries again at its next start; \
             or remove it with another client"
        ),
    }
}

/// Returns what an identity of somebody else means, with the cures.
fn foreign(key: Option<&PathBuf>) -> String {
    let file = key.map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
    let whose = match key {
        Some(_) => "with what may be the account's recovery key; nobody else notices",
        None => "with the account's recovery key in FILE; nobody else notices",
    };
    format!(
        "\
warning: the device is not verified: the account has a cross-signing identity that an earlier login made.
The relay works, but other people's clients warn of its messages. There are two cures:
  relay auth login --force --recovery-key-file {file}
      {whose}
  relay auth login --force --reset-cross-signing
      makes a new identity and a new key backup; the old ones are lost, and everybody who has verified the account
      is warned and has to verify it again"
    )
}

const MISSING: &str = "\
warning: the device is not verified: the server did not take its signature. The relay works, but other people's
clients warn of its messages. To try again: relay auth login --force";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::auth::ServerError;

    #[test]
    fn a_device_that_is_still_there_is_told_in_one_sentence() {
        let parted = Parted {
            device: "OLD".into(),
            left: None,
        };
        let url = "https://example.org".parse().unwrap();
        let left = Left::Server(ServerError::TooLarge { url });
        let told = still_there(&parted, &left);
        assert!(told.contains("OLD") && !told.contains("  "), "{told}");
    }
}
