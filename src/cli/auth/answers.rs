//! Where the answers come from: a flag, else the environment, else the configuration, else a person at a terminal.

use std::env;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::PasswordArgs;
use crate::cli::Globals;
use crate::config::{Homeserver, Matrix, Secret};
use crate::home::Home;

/// Longer than any password or key.
const LONGEST_LINE: u64 = 4096;

/// Nobody said what a flag would have said: an error in the arguments.
#[derive(Debug, thiserror::Error)]
pub(super) enum Missing {
    /// An answer that is no secret.
    #[error("{flag} is missing, and there is no terminal to ask on")]
    Answer {
        /// Its flag.
        flag: &'static str,
    },
    /// The password.
    #[error(
        "the password is missing, and there is no terminal to ask on: give --password-file, --password-stdin, or \
         RELAY_MATRIX_PASSWORD"
    )]
    Password,
    /// Whether it is meant.
    #[error("there is no terminal to ask on: give -y if you mean it")]
    Consent,
}

/// What environment and configuration say.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) homeserver: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret<String>>,
    pub(super) allow_http: bool,
}

impl Defaults {
    /// Reads the configuration if there is a good one; a first login comes before it. The environment has been taken
    /// into it, and stands alone without it.
    pub(super) fn find(globals: &Globals, home: &Home) -> Self {
        let configured = globals
            .load_config(home)
            .map(|loaded| Self::of(&loaded.config.matrix))
            .unwrap_or_default();
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            homeserver: configured
                .homeserver
                .or_else(|| variable("RELAY_MATRIX_HOMESERVER")),
            username: configured
                .username
                .or_else(|| variable("RELAY_MATRIX_BOT_USER_ID")),
            ..configured
        }
    }

    fn of(matrix: &Matrix) -> Self {
        Self {
            homeserver: matrix.homeserver.as_ref().map(|server| match server {
                Homeserver::Url(url) => url.to_string(),
                Homeserver::Name(name) => name.to_string(),
            }),
            username: matrix
                .bot_user_id
                .as_ref()
                .map(|user| user.as_str().to_owned()),
            password: matrix.password.clone(),
            allow_http: matrix.allow_http,
        }
    }
}

/// Returns an answer that is no secret.
pub(super) fn text(
    flag: &'static str,
    given: Option<String>,
    default: Option<String>,
    question: &str,
) -> anyhow::Result<String> {
    if let Some(answer) = given.or(default) {
        return Ok(answer);
    }
    if !io::stdin().is_terminal() {
        return Err(Missing::Answer { flag }.into());
    }
    let answer = ask(&format!("{question}: "))?;
    if answer.is_empty() {
        bail!("{flag} is missing");
    }
    Ok(answer)
}

/// Returns the password, which a person types unseen.
pub(super) fn password(
    args: PasswordArgs,
    configured: Option<Secret<String>>,
    user: &str,
) -> anyhow::Result<Secret<String>> {
    let password = if let Some(password) = args.password {
        Secret::new(password)
    } else if let Some(path) = args.password_file {
        first_line(&path)?
    } else if args.password_stdin {
        Secret::new(line_of(io::stdin().lock())?)
    } else if let Some(password) = from_environment()? {
        password
    } else if let Some(password) = configured {
        password
    } else if io::stdin().is_terminal() {
        Secret::new(rpassword::prompt_password(format!("Password of {user}: "))?)
    } else {
        return Err(Missing::Password.into());
    };
    if password.reveal().is_empty() {
        bail!("the password is empty");
    }
    Ok(password)
}

fn from_environment() -> anyhow::Result<Option<Secret<String>>> {
    if let Ok(password) = env::var("RELAY_MATRIX_PASSWORD") {
        return Ok(Some(Secret::new(password)));
    }
    match env::var_os("RELAY_MATRIX_PASSWORD_FILE") {
        Some(path) => first_line(&PathBuf::from(path)).map(Some),
        None => Ok(None),
    }
}

/// Returns the first line of a file.
pub(super) fn first_line(path: &Path) -> anyhow::Result<Secret<String>> {
    let read = || line_of(BufReader::new(File::open(path)?));
    read()
        .map(Secret::new)
        .with_context(|| format!("cannot read `{}`", path.display()))
}

fn line_of(input: impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.take(LONGEST_LINE).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks whether it is meant, unless that was said already.
pub(super) fn confirm(is_sure: bool, question: &str) -> anyhow::Result<()> {
    if is_sure {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Missing::Consent.into());
    }
    match ask(&format!("{question} [y/N] "))?.to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!("nothing was done"),
    }
}

fn ask(question: &str) -> io::Result<String> {
    let mut terminal = io::stderr().lock();
    terminal.write_all(question.as_bytes())?;
    terminal.flush()?;
    Ok(line_of(io::stdin().lock())?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_of_its_file_without_the_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, " pass word \r\nsecond\n").unwrap();
        assert_eq!(first_line(&path).unwrap().reveal(), " pass word ");
    }

    #[test]
    fn an_answer_that_is_missing_names_its_flag() {
        let given = text("--username", None, Some("relay".to_owned()), "User name").unwrap();
        assert_eq!(given, "relay");
    }
}
