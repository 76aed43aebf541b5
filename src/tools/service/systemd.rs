//! Asks systemd, by its own programs, each within a time limit.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::unit::Scope;
use relay_disk::cure;
use relay_model::Explained;

/// Maximum time for an answer of systemd; to stop a relay takes it up to [`STOP_LIMIT`].
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// More than `TimeoutStopSec=` of the unit.
pub(super) const STOP_LIMIT: Duration = Duration::from_mins(1);

/// What a step of the service comes to.
pub(super) type Done<T = ()> = Result<T, ServiceError>;

/// What is asked of the service manager: not every cure fits each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Install,
    Uninstall,
    Status,
}

/// Why the service could not be installed, removed or looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("systemd does not run this system")]
    NoSystemd,
    #[error("a service of the system is installed and removed by root")]
    NotRoot,
    #[error("there is no service manager of this user to speak to ({said})")]
    NoUserManager { said: String, purpose: Purpose },
    #[error("this user has no home directory, in which its services are described")]
    NoUserHome,
    #[error("`{command}` failed: {said}")]
    Failed { command: String, said: String },
    #[error("`{command}` does not answer")]
    Slow { command: String },
    #[error("cannot run `{command}`")]
    Start {
        command: String,
        #[source]
        cause: io::Error,
    },
    #[error("`{}` is there, and `relay service install` has not written it", path.display())]
    ForeignUnit { path: PathBuf, purpose: Purpose },
    #[error("a package has brought the service: `{}`", path.display())]
    PackageUnit { path: PathBuf, purpose: Purpose },
    #[error("the service could not run `{}`: {reason}", program.display())]
    Program { program: PathBuf, reason: String },
    #[error("the service could not read `{}`: homes of users are hidden from it", path.display())]
    HiddenConfig { path: PathBuf, home: PathBuf },
    #[error("`{}` belongs to {owner}, and the service runs as the user relay", home.display())]
    ForeignHome { home: PathBuf, owner: String },
    #[error("`{}` cannot be written into a unit", path.display())]
    OddPath { path: PathBuf },
    #[error("cannot use `{}`", path.display())]
    Use {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
}

impl Explained for ServiceError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoSystemd => {
                "in a container its restart policy keeps the relay running; another init system has to run \
                 `relay run` as a user of its own, and to start it again when it ends"
            }
            Self::NotRoot => "use `sudo`, or `--user` for a service of your own user",
            Self::NoUserManager { purpose, .. } => match purpose {
                Purpose::Install => {
                    "log in as this user, at a terminal or by `ssh`, not by `su` or `sudo`; or install a service of the \
                     system, as root and without `--user`"
                }
                Purpose::Uninstall | Purpose::Status => {
                    "log in as this user, at a terminal or by `ssh`, not by `su` or `sudo`; a service of the system is \
                     meant without `--user`"
                }
            },
            Self::NoUserHome => "name its directory with HOME or XDG_CONFIG_HOME",
            Self::Slow { command } if command.contains(" --user ") => {
                "look at `systemctl --user list-jobs`, and try again"
            }
            Self::Slow { .. } => "look at `systemctl list-jobs`, and try again",
            Self::ForeignUnit { purpose, .. } => match purpose {
                Purpose::Install | Purpose::Status => {
                    "`--force` replaces it, and keeps it as `relay.service.old`"
                }
                Purpose::Uninstall => "`--force` removes it all the same, and keeps no copy",
            },
            Self::PackageUnit { purpose, .. } => match purpose {
                Purpose::Install | Purpose::Status => "use `systemctl enable --now relay`",
                Purpose::Uninstall => {
                    "`sudo systemctl disable --now relay` stops it for good; its files go with the package"
                }
            },
            Self::HiddenConfig { path, home } => {
                let (path, home) = (crate::home::quoted(path), crate::home::quoted(home));
                return Some(format!(
                    "copy it: `sudo install -D -m 600 {path} {home}`, and leave `--config` out"
                ));
            }
            Self::Program { program, .. } => {
                let program = crate::home::quoted(program);
                return Some(format!(
                    "install it where every user may run it: \
                     `sudo install -m 755 {program} /usr/local/bin/relay`, then \
                     `sudo /usr/local/bin/relay service install`"
                ));
            }
            Self::ForeignHome { home, .. } => {
                let home = crate::home::quoted(home);
                return Some(format!(
                    "`sudo chown -R relay: {home}` hands it over; or name another one with `--home DIR`; or let its owner \
                     install a service of their own with `--user`"
                ));
            }
            Self::Start { cause, .. } | Self::Use { cause, .. } => return cure(cause),
            Self::OddPath { .. } => "give it a name without control characters",
            Self::Failed { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// Makes an error of a failure to use a file.
pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> ServiceError + '_ {
    |cause| ServiceError::Use {
        path: path.to_owned(),
        cause,
    }
}

/// Runs a program to its end, and returns its standard output. Fails if the program does.
pub(super) async fn run<A: AsRef<OsStr>>(
    program: &str,
    arguments: &[A],
    limit: Duration,
) -> Done<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    // Its words are compared and shown: in one language, without colours and pages.
    command.env("LC_ALL", "C").env("SYSTEMD_COLORS", "0");
    command.env("SYSTEMD_PAGER", "").kill_on_drop(true);
    let words = arguments.iter().map(|it| it.as_ref().to_string_lossy());
    let words = words.fold(program.to_owned(), |all, word| format!("{all} {word}"));
    let output = match timeout(limit, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(cause)) => {
            return Err(ServiceError::Start {
                command: words,
                cause,
            });
        }
        Err(_) => return Err(ServiceError::Slow { command: words }),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        let said = text(&output.stderr).replace('\n', "; ");
        return Err(ServiceError::Failed {
            command: words,
            said,
        });
    }
    Ok(text(&output.stdout))
}

/// Gives systemd a command for the service manager of this scope.
pub(super) async fn systemctl(scope: Scope, arguments: &[&str]) -> Done<String> {
    systemctl_within(scope, arguments, LIMIT).await
}

pub(super) async fn systemctl_within(
    scope: Scope,
    arguments: &[&str],
    limit: Duration,
) -> Done<String> {
    let mut all = vec!["--no-ask-password"];
    if scope == Scope::User {
        all.push("--user");
    }
    all.extend(arguments);
    run("systemctl", &all, limit).await
}

/// Fails unless the service manager of this scope can be spoken to.
pub(super) async fn check_manager(scope: Scope, purpose: Purpose) -> Done {
    // Source: `sd_booted(3)`.
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(ServiceError::NoSystemd);
    }
    if scope == Scope::User
        && let Err(error) = systemctl(scope, &["show-environment"]).await
    {
        return Err(match error {
            ServiceError::Failed { said, .. } => ServiceError::NoUserManager { said, purpose },
            other => other,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cure_fits_what_was_asked_for() {
        let said = String::new();
        let path = PathBuf::from("/etc/systemd/system/relay.service");
        let hints = |purpose| {
            let (said, path) = (said.clone(), path.clone());
            [
                ServiceError::NoUserManager { said, purpose },
                ServiceError::ForeignUnit {
                    path: path.clone(),
                    purpose,
                },
                ServiceError::PackageUnit { path, purpose },
            ]
            .map(|it| it.hint().unwrap())
        };
        for (purpose, words) in [
            (
                Purpose::Install,
                ["or install", "replaces it", "enable --now"],
            ),
            (
                Purpose::Uninstall,
                ["without `--user`", "removes it", "disable --now"],
            ),
        ] {
            for (hint, words) in hints(purpose).iter().zip(words) {
                assert!(hint.contains(words), "{purpose:?}: {hint}");
            }
        }
        for hint in hints(Purpose::Uninstall) {
            assert!(!hint.contains("install a service"), "{hint}");
        }
    }
}
