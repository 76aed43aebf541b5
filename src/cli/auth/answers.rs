//! Sources of answers: a flag, else the environment, else the configuration, else a person at a terminal.

use std::fmt::Display;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::anyhow;

use super::PasswordArgs;
use super::asking::{LONGEST_LINE, Typed};
use super::terminal;
use crate::{cli::Globals, cli::failure::Failure, cli::output::say, home::Home};
use relay_config::{Environment, Matrix, Secret, read_text};
use relay_matrix::auth::{AuthError, Given};

/// Maximum number of attempts to answer a question.
pub(super) const MOST_ASKED: usize = 3;
/// Minimum length of a new passphrase: whoever has the file can try out as many as he likes.
const SHORTEST_PASSPHRASE: usize = 10;
/// Maximum size of a password file in bytes; only its first line counts.
const LONGEST_FILE: u64 = 64 * 1024;

/// Returns the error for an answer that no source gave: wrong arguments.
pub(super) fn missing(what: &str) -> Failure {
    let text = format!("error: {what} is missing, and there is no terminal to ask on");
    Failure::wrong(text)
}

pub(super) fn missing_password() -> Failure {
    missing("the password")
        .and_hint("give --password-file, --password-stdin, or RELAY_MATRIX_PASSWORD")
}

/// Returns the account's settings from the environment, else from the configuration, if that is valid. A first login
/// precedes any configuration.
pub(super) fn configured(globals: &Globals, home: &Home) -> Result<Matrix, Failure> {
    let loaded = globals.load_config(home).ok();
    let matrix = loaded.map(|it| it.config.matrix).unwrap_or_default();
    let environment = Environment::of_process();
    let given = |key| environment.text(key);
    let allow_http = environment.truth("matrix.allow_http")?;
    let secret = given("matrix.keycloak_client_secret")?.map(Secret::new);
    let file = given("matrix.jwt_file")?.map(PathBuf::from);
    let file = file.or(matrix.jwt_file).map(|path| home.resolve(&path));
    Ok(Matrix {
        homeserver: given("matrix.homeserver")?.or(matrix.homeserver),
        bot_user_id: given("matrix.bot_user_id")?.or(matrix.bot_user_id),
        allow_http: allow_http.unwrap_or(matrix.allow_http),
        jwt_file: file,
        jwt_login_type: typed("matrix.jwt_login_type")?.unwrap_or(matrix.jwt_login_type),
        keycloak_url: typed("matrix.keycloak_url")?.or(matrix.keycloak_url),
        keycloak_realm: given("matrix.keycloak_realm")?.or(matrix.keycloak_realm),
        keycloak_client_id: given("matrix.keycloak_client_id")?.or(matrix.keycloak_client_id),
        keycloak_client_secret: secret.or(matrix.keycloak_client_secret),
        ..matrix
    })
}

/// Returns the value that the environment gives a key.
fn typed<T: FromStr<Err: Display>>(key: &str) -> Result<Option<T>, Failure> {
    let Some(text) = Environment::of_process().text(key)? else {
        return Ok(None);
    };
    let wrong = |error| Failure::wrong(format!("error: {key}: `{text}` cannot be used: {error}"));
    text.parse().map(Some).map_err(wrong)
}

/// Asks for something that is not secret.
pub(super) async fn ask(flag: &str, question: &str) -> Result<String, Failure> {
    let answer = at_terminal(question, Typed::Shown).await?;
    let answer = answer.trim();
    if answer.is_empty() {
        return Err(anyhow!("{flag} is missing").into());
    }
    Ok(answer.to_owned())
}

/// Returns the password, if a flag, the environment or the configuration gives it.
pub(super) fn given_password(
    args: PasswordArgs,
    configured: Option<Secret<String>>,
) -> Result<Option<Secret<String>>, Failure> {
    let password = if let Some(password) = args.password {
        Some(Secret::new(password))
    } else if let Some(path) = args.password_file {
        Some(first_line(&path)?)
    } else if args.password_stdin {
        Some(Secret::new(line_of(io::stdin().lock())?))
    } else {
        let given = Environment::of_process().text("matrix.password")?;
        // As in a file that a flag names.
        let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
        given.map(first).map(Secret::new).or(configured)
    };
    if password.as_ref().is_some_and(|it| it.reveal().is_empty()) {
        return Err(anyhow!("the password is empty").into());
    }
    Ok(password)
}

/// A password, given or typed; a typed one may be mistyped.
pub(super) struct Password {
    user: String,
    given: Option<Secret<String>>,
    left: usize,
}

impl Password {
    pub(super) fn of(user: &str, given: Option<Secret<String>>) -> Self {
        let left = if given.is_some() { 0 } else { MOST_ASKED };
        let user = user.to_owned();
        Self { user, given, left }
    }

    /// Returns the given password, or asks.
    pub(super) async fn get(&mut self) -> Result<Secret<String>, Failure> {
        if let Some(password) = self.given.take() {
            return Ok(password);
        }
        if !io::stdin().is_terminal() {
            return Err(missing_password());
        }
        let question = format!("Password of {}: ", self.user);
        loop {
            self.left = self.left.saturating_sub(1);
            let password = at_terminal(&question, Typed::Hidden).await?;
            if !password.is_empty() {
                return Ok(Secret::new(password));
            }
            let empty = Failure::from(anyhow!("the password is empty"));
            if self.left == 0 {
                return Err(empty);
            }
            say(&empty.to_string())?;
        }
    }

    /// Asks for another password after the error that the last one is wrong; fails with `failure` of that error if
    /// nobody can be asked, or too often.
    pub(super) async fn another(
        &mut self,
        error: AuthError,
        failure: impl FnOnce(AuthError) -> Failure,
    ) -> Result<Secret<String>, Failure> {
        if self.left == 0 || !matches!(error, AuthError::Wrong(Given::Password, ..)) {
            return Err(failure(error));
        }
        say(&Failure::from(error).to_string())?;
        self.get().await
    }
}

/// Returns the passphrase of an exported login: from a file, or typed; a new one twice.
pub(super) async fn passphrase(
    file: Option<&Path>,
    is_new: bool,
) -> Result<Secret<String>, Failure> {
    if file.is_none() && !io::stdin().is_terminal() {
        return Err(missing("--passphrase-file"));
    }
    for _ in 0..MOST_ASKED {
        let passphrase = match file {
            Some(file) => first_line(file)?,
            None => Secret::new(at_terminal("Passphrase: ", Typed::Hidden).await?),
        };
        let problem = if is_new && passphrase.reveal().chars().count() < SHORTEST_PASSPHRASE {
            format!("the passphrase is shorter than {SHORTEST_PASSPHRASE} characters")
        } else if passphrase.reveal().is_empty() {
            "the passphrase is empty".to_owned()
        } else if is_new
            && file.is_none()
            && at_terminal("The same again: ", Typed::Hidden).await? != *passphrase.reveal()
        {
            "the two are not the same".to_owned()
        } else {
            return Ok(passphrase);
        };
        let problem = Failure::from(anyhow!(problem));
        if file.is_some() {
            return Err(problem);
        }
        say(&problem.to_string())?;
    }
    Err(anyhow!("there is no passphrase").into())
}

pub(super) fn first_line(path: &Path) -> Result<Secret<String>, Failure> {
    let text = read_text(path, LONGEST_FILE)?;
    Ok(Secret::new(line_of(text.as_bytes())?))
}

/// Returns the first line, without an editor's byte order mark.
fn line_of(input: impl io::BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.take(LONGEST_LINE).read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    Ok(line.strip_prefix('\u{feff}').unwrap_or(line).to_owned())
}

/// Asks for a confirmation, unless it was given already.
pub(super) async fn confirm(is_sure: bool, question: &str) -> Result<(), Failure> {
    if is_sure {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let text = "error: there is no terminal to ask on".to_owned();
        return Err(Failure::wrong(text).and_hint("give -y if you mean it"));
    }
    let answer = at_terminal(&format!("{question} [y/N] "), Typed::Shown).await?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(anyhow!("nothing was done").into()),
    }
}

async fn at_terminal(question: &str, typed: Typed) -> Result<String, Failure> {
    let asked = terminal::ask(question, typed).await;
    asked.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => AuthError::Interrupted.into(),
        _ => error.into(),
    })
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
    fn a_byte_order_mark_is_no_part_of_a_password() {
        let line = |bytes: &[u8]| line_of(bytes).unwrap();
        assert_eq!(line("\u{feff}secret\r\n".as_bytes()), "secret");
        assert_eq!(line("\u{feff}".as_bytes()), "");
    }
}
