//! Login, logout, and how the session stands. What people are asked and told is the command line's matter.

mod devices;
mod entry;
mod login;
mod logout;
mod status;

use matrix_sdk::ruma::{OwnedDeviceId, OwnedUserId};
use url::Url;

use super::MatrixError;
use super::files::FilesError;
use super::session::Session;
use crate::model::Explained;

pub use super::DeviceTrust;
pub use super::adopt::{TokenOptions, adopt};
pub use super::files::Files;
pub use super::recovery::{AskForKey, Identity, Standing, Unlock};
pub use super::server::{Server, ServerError};
pub use devices::{Left, Parted};
pub use entry::find_homeserver;
pub(super) use entry::find_server;
pub(super) use login::stand;
pub use login::{KeyPlace, Login, LoginOptions, login};
pub use logout::{delete_local, end_session, key_backup};
pub use status::{KeyBackup, Status, damage, status};

/// Why a login or logout failed.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is a session already.
    #[error("already logged in as {user} (device {device}) at {homeserver}")]
    AlreadyLoggedIn {
        /// As whom.
        user: OwnedUserId,
        /// With which device.
        device: OwnedDeviceId,
        /// Where.
        homeserver: Url,
    },
    /// Neither a homeserver nor a user id that names one.
    #[error("it is not known which homeserver is meant")]
    NoHomeserver,
    /// Not a user of any server.
    #[error("`{given}` is not a user name")]
    BadUsername {
        /// What was given.
        given: String,
    },
    /// User or password is wrong.
    #[error("the homeserver does not accept this user name and password ({user} at {homeserver})")]
    WrongPassword {
        /// Who.
        user: String,
        /// Where.
        homeserver: Url,
    },
    /// The account is closed.
    #[error("the account {user} is deactivated")]
    Deactivated {
        /// Who.
        user: String,
    },
    /// The server does not let anybody in with a password.
    #[error("{homeserver} takes no passwords (it offers {offered})")]
    NoPasswordLogin {
        /// Where.
        homeserver: Url,
        /// The kinds of login that it offers.
        offered: String,
    },
    /// The server does not know the access token.
    #[error(
        "{homeserver} does not accept `matrix.access_token`: it is mistyped, or its session has been signed out"
    )]
    DeadToken {
        /// Where.
        homeserver: Url,
    },
    /// The access token is somebody else's.
    #[error("`matrix.access_token` belongs to {actual}, and `matrix.bot_user_id` says {expected}")]
    OtherAccount {
        /// Whose it is.
        actual: OwnedUserId,
        /// Whose it should be.
        expected: String,
    },
    /// The access token stands for no device, so nothing can be encrypted with it.
    #[error("`matrix.access_token` belongs to no device of {user}, so it cannot be used")]
    NoDevice {
        /// The account.
        user: OwnedUserId,
    },
    /// Another program has given the device its keys.
    #[error(
        "device {device} of `matrix.access_token` has encryption keys of another program, and a second set would make its messages unreadable"
    )]
    DeviceInUse {
        /// The device.
        device: OwnedDeviceId,
    },
    /// Somebody wanted it to end.
    #[error("interrupted: the login is as it was")]
    Interrupted,
    /// The new login is worth less than the one that it was to replace.
    #[error("{what}; the earlier login is as it was")]
    Unfinished {
        /// Why.
        what: String,
    },
    /// A login failed, and the device that it had made is still there.
    #[error(
        "{cause}; the homeserver has a new device {device} that could not be signed out yet: the relay does that at its next login or start"
    )]
    DeviceLeft {
        /// Which.
        device: OwnedDeviceId,
        /// Why the login failed.
        cause: Box<AuthError>,
    },
    /// Nobody is logged in.
    #[error("not logged in: nothing to do")]
    NotLoggedIn,
    /// The answer is not one that a homeserver gives.
    #[error("{homeserver} gave an answer that makes no sense: {what}")]
    BadAnswer {
        /// Where.
        homeserver: Url,
        /// What is missing.
        what: &'static str,
    },
    /// The server failed or refused.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A file failed.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] MatrixError),
}

impl AuthError {
    /// Returns the refusal of a second login beside this one.
    pub fn already(session: Session) -> Self {
        Self::AlreadyLoggedIn {
            user: session.user_id,
            device: session.device_id,
            homeserver: session.homeserver,
        }
    }
}

impl Explained for AuthError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::AlreadyLoggedIn { .. } => "use --force to log in anew",
            Self::NoHomeserver => {
                "give --homeserver (`matrix.homeserver`), or the whole user id (`@name:example.org`) as --username \
                 (`matrix.bot_user_id`)"
            }
            Self::BadUsername { .. } => "give `name` or `@name:example.org`",
            Self::WrongPassword { .. } => "check both",
            Self::Deactivated { .. } => "use another one",
            Self::NoPasswordLogin { .. } => "use an account with a password on another server",
            Self::DeviceLeft { cause, .. } => return cause.hint(),
            Self::Server(error) => return error.hint(),
            Self::Files(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::DeadToken { .. }
            | Self::OtherAccount { .. }
            | Self::NoDevice { .. }
            | Self::DeviceInUse { .. }
            | Self::Interrupted
            | Self::Unfinished { .. }
            | Self::NotLoggedIn
            | Self::BadAnswer { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// Signs out what logins have made or replaced and could not sign out at the time. The caller holds the store. Fails when
/// it cannot be known which device is the session's.
pub async fn part_with_others(files: &Files) -> Result<Vec<Parted>, AuthError> {
    Ok(devices::part(files, None).await?)
}
