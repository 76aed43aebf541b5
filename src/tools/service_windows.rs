//! There is no systemd on Windows.

use relay_model::Explained;

#[derive(Debug, thiserror::Error)]
#[error("the relay cannot be installed as a service on Windows")]
pub(crate) struct ServiceError;

impl Explained for ServiceError {
    fn hint(&self) -> Option<String> {
        let hint = "let the Task Scheduler of Windows run `relay run` at the start of the system, and again when it fails";
        Some(hint.to_owned())
    }
}
