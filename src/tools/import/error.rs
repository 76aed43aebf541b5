//! Why nothing was taken over.

use std::fmt;
use std::io;
use std::path::PathBuf;

use relay_disk::{cure, is_root};
use relay_model::Explained;
use relay_store::StoreError;

use super::running::{Hidden, Running};
use crate::home::{Holder, HomeError, LockError, quoted};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("there is no home of MMRelay: {}", listed(.0.iter().map(|it| format!("`{}`", it.display()))))]
    NoHome(Vec<PathBuf>),
    #[error(
        "`{0}` is no home of MMRelay: it holds no configuration, no credentials and no database of it"
    )]
    NotAHome(PathBuf),
    #[error("cannot read `{0}`")]
    Unreadable(PathBuf, #[source] io::Error),
    #[error("MMRelay is running: {0}")]
    Running(Running),
    #[error("MMRelay is running, perhaps in `{}`: {}", home.display(), listed(hidden))]
    PerhapsRunning { home: PathBuf, hidden: Vec<Hidden> },
    #[error("a relay is running in this home ({0})")]
    OwnRunning(Holder),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error("our own database cannot be used")]
    Store(#[from] StoreError),
    #[error("interrupted: run it again, what is there already is not taken over twice")]
    Interrupted,
}

impl Explained for ImportError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoHome(_) => "name it with `--from DIR`",
            Self::Unreadable(_, cause) if !is_no_directory(cause) => return cure(cause),
            Self::NotAHome(_) | Self::Unreadable(..) => {
                "name the directory in which MMRelay keeps `config.yaml` or `meshtastic.sqlite`; `mmrelay paths` tells it"
            }
            Self::Running(_) => {
                "stop it, and keep it from being started again (`systemctl --user disable --now mmrelay`, or `docker stop` and its \
                 restart policy), then run this again"
            }
            Self::PerhapsRunning { home, .. } => {
                let home = quoted(home);
                let as_root = if is_root() {
                    String::new()
                } else {
                    format!(
                        "; root may see which files it has open: `sudo relay import mmrelay --dry-run --from {home}`"
                    )
                };
                return Some(format!(
                    "stop it if it is this home's; if it is another one's, say by `--is-stopped` that this home's MMRelay is \
                     stopped{as_root}"
                ));
            }
            Self::OwnRunning(_) => "stop it first; it goes on afterwards where it stopped",
            Self::Lock(error) => return error.hint(),
            Self::Home(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Interrupted => return None,
        };
        Some(hint.to_owned())
    }
}

fn listed(these: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let these: Vec<_> = these.into_iter().map(|it| it.to_string()).collect();
    these.join(", ")
}

/// Returns whether nothing is there, or a file.
fn is_no_directory(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_a_file_or_nothing_is_told_what_to_name() {
        for (kind, is_told) in [
            (io::ErrorKind::NotFound, true),
            (io::ErrorKind::NotADirectory, true),
            (io::ErrorKind::PermissionDenied, false),
        ] {
            let error = ImportError::Unreadable("/old".into(), kind.into());
            let hint = error.hint().unwrap_or_default();
            assert_eq!(hint.starts_with("name the directory"), is_told, "{kind}");
        }
    }
}
