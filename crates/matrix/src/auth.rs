//! Login, logout, and the state of the session. The command line asks people for input and shows the results.

mod adopt;
mod again;
mod authorize;
mod browser;
mod devices;
mod entry;
mod export;
mod jwt;
mod keycloak;
mod left;
mod login;
mod logout;
mod offers;
mod recover;
mod recovery;
mod seeds;
mod sso;
mod stand;
mod status;
mod verify;

use std::process::ExitCode;

use matrix_sdk::ruma::OwnedDeviceId;
use url::Url;

use super::{MatrixError, files::FilesError, session::StoredSession};
use relay_model::Explained;

pub use super::oauth::{OAuthClient, OAuthError};
pub use super::server::{Server, ServerError};
pub use super::session::LoginMethod;
pub use super::verification::{Emoji, Peer, Verified};
pub use super::{DeviceTrust, files::Files};
pub use again::log_in_again;
pub use authorize::Authorization;
pub use browser::{AskForAddress, Browser, Person, Shown};
pub use devices::{Left, Parted, part_with_others};
pub use entry::{Credential, Earlier, KeyPlace, LoginOptions, find_homeserver};
pub use export::{ExportError, Exported, export, import, may_export, may_import};
pub use jwt::{Jwt, TokenFrom};
pub use keycloak::Keycloak;
pub use left::LeftIdentity;
pub use login::{Login, login};
pub use logout::{delete_local, end_session, key_backup};
pub use offers::{Offers, Way};
pub use recover::recover;
pub use recovery::{AskForKey, Identity, LoginTrust, Problem, Unlock};
pub use seeds::Seeds;
pub use sso::single_sign_on;
pub use status::{
    KEEP, KeyBackup, LoginService, LoginStatus, RECOVER, ask, damage, renew_expired, status,
};
pub use verify::{Begins, verify};

/// Which part of the given credentials is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The name of the user, or of the homeserver.
    Name,
    /// The pair of user name and password: the homeserver does not tell which of them.
    Password,
    /// The account itself, whatever its password: it is deactivated.
    Account,
    /// The method: the homeserver takes no passwords, or does not accept this access token.
    Way,
    /// The access token: its device already has encryption keys of another program.
    UsedDevice,
}

/// Why a login or logout failed, or was not begun.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is a login already, and replacing it (`force`) was not asked for.
    #[error("already logged in as {} (device {}) at {}", .0.user_id, .0.device_id, .0.homeserver)]
    AlreadyLoggedIn(Box<StoredSession>),
    /// Wrong credentials: which part, why, and the hint.
    #[error("{1}")]
    Wrong(Given, String, Option<&'static str>),
    /// What was given is not enough; what is missing, and the cure.
    #[error("{0}")]
    Lacking(String, String),
    /// The user interrupted it; an earlier login is as it was.
    #[error("interrupted: the login is as it was")]
    Interrupted,
    /// The new login would be worth less than the earlier one that it replaces, or than asked for; the reason.
    #[error("{0}; the login is as it was")]
    Unfinished(String),
    /// What was given does not open the account's identity, or nothing was; the reason.
    #[error("{0}; the login is as it was")]
    Locked(String),
    /// A verification cannot be begun, or it failed; the reason.
    #[error("{0}")]
    NotVerified(String),
    /// There is no identity that could be recovered.
    #[error("the account has no cross-signing identity: there is nothing to recover")]
    NoIdentity,
    /// The account's identity has no user-signing key, so no recovery key opens it.
    #[error(
        "the account's cross-signing identity is incomplete, as MMRelay makes it, and has no recovery key"
    )]
    Incomplete,
    /// The file is not the one in which MMRelay keeps an identity, and why.
    #[error("{0}")]
    NotSeeds(String),
    /// The homeserver has deleted the device, so that its login cannot be renewed.
    #[error("the homeserver has deleted the device {0}")]
    DeviceGone(OwnedDeviceId),
    /// A login failed, and its new device could not be signed out.
    #[error("the login failed, and its new device {0} could not be signed out yet")]
    DeviceLeft(OwnedDeviceId, #[source] Box<AuthError>),
    /// There is no login to end or to ask about.
    #[error("not logged in: nothing to do")]
    NotLoggedIn,
    /// The answer is not valid for a homeserver; what is missing.
    #[error("{0} gave an answer that makes no sense: {1}")]
    BadAnswer(Url, &'static str),
    /// The homeserver has no such identity provider: which was named, and those that it has, with their names.
    #[error("the homeserver has no identity provider `{0}`{offered}", offered = offered(.1))]
    UnknownProvider(String, Vec<(String, String)>),
    /// No port of this machine can be listened on for what a browser brings back.
    #[error("cannot listen for the browser")]
    NoListener(#[source] std::io::Error),
    /// What a browser, or a person, has brought is not what was awaited.
    #[error("what was brought back from the browser is not {0}")]
    NotBrought(&'static str),
    /// Nobody has finished a login in a browser for so many minutes.
    #[error("nobody has finished the login in the browser within {0} minutes")]
    NotFinished(u64),
    /// The login service cannot be asked, or refuses.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// The homeserver cannot be asked, or refused.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A file of the login cannot be read or written, or is damaged.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The SDK's store or the session cannot be used.
    #[error(transparent)]
    Store(#[from] MatrixError),
}

/// Returns the identity providers that a homeserver has.
fn offered(providers: &[(String, String)]) -> String {
    if providers.is_empty() {
        return ": it offers no choice".to_owned();
    }
    let named = providers
        .iter()
        .map(|(id, name)| format!("`{id}` ({name})"));
    format!("; it has {}", named.collect::<Vec<_>>().join(", "))
}

impl AuthError {
    fn wrong_password(user: &str, homeserver: &Url) -> Self {
        let what = format!(
            "the homeserver does not accept this user name and password ({user} at {homeserver})"
        );
        Self::Wrong(Given::Password, what, Some("check both"))
    }
}

impl Explained for AuthError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::AlreadyLoggedIn(_) => Some("use --force to log in anew".to_owned()),
            Self::Wrong(_, _, hint) => hint.map(str::to_owned),
            Self::Lacking(_, hint) => Some(hint.clone()),
            Self::DeviceGone(_) => Some("`relay auth recover` makes a new one".to_owned()),
            Self::Locked(_) => Some(
                "give the account's recovery key with `--recovery-key-file FILE`; if nobody has it any more, `relay auth login --force \
                 --reset-cross-signing` makes a new identity, and whoever has verified the bot has to do so again"
                    .to_owned(),
            ),
            Self::Incomplete => Some(KEEP.to_owned()),
            Self::NotSeeds(..) => Some(
                "name the file in `matrix/store` of MMRelay's home that ends in `_cross_signing.json`"
                    .to_owned(),
            ),
            Self::NoIdentity => Some("`relay auth login --force` creates one".to_owned()),
            Self::DeviceLeft(_, cause) => {
                let ours = "the relay signs the device out at its next login or start";
                let cure = cause.hint().map(|hint| format!("{hint}; {ours}"));
                cure.or_else(|| Some(ours.to_owned()))
            }
            Self::UnknownProvider(..) => Some("give one of those with --idp, or leave it out".to_owned()),
            Self::NotBrought(_) => Some(
                "copy all of it from the address bar, also if the browser says that the page cannot be opened"
                    .to_owned(),
            ),
            Self::NotFinished(_) => Some("try again; with --paste the browser may be on another machine".to_owned()),
            Self::NoListener(_) => Some("use --paste".to_owned()),
            Self::OAuth(error) => error.hint(),
            Self::Server(error) => error.hint(),
            Self::Files(error) => error.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }

    fn exit(&self) -> ExitCode {
        match self {
            Self::Server(error) => error.exit(),
            Self::Lacking(..) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use relay_model::full_text;

    #[test]
    fn a_device_that_is_left_hides_neither_the_cause_nor_its_cure() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = FilesError::of("write", "session.json")(full).into();
        let left = AuthError::DeviceLeft("NEW".into(), Box::new(error));
        assert_eq!(
            full_text(&left),
            "the login failed, and its new device NEW could not be signed out yet: cannot write `session.json`: no \
             storage space; make room on the disk; the relay signs the device out at its next login or start"
        );
    }
}
