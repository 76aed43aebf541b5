//! The first login without a terminal: with what the configuration holds, as long as there is no session.

use std::error::Error;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{self, Secret};
use crate::matrix::auth::{self, AuthError, Given, Identity, KeyPlace, LoginOptions, TokenOptions};
use crate::matrix::{Files, Unlock};
use crate::model::{Backoff, Explained as _};

/// A password that was refused is tried again that seldom: a server may close an account to which too many wrong ones
/// are given.
const PASSWORD_EVERY: Duration = Duration::from_hours(1);

/// What lets the relay log in by itself.
pub(super) struct FirstLogin {
    config: config::Matrix,
    proof: Proof,
}

/// What lets us in.
enum Proof {
    /// The account's password: a new device.
    Password(Secret<String>),
    /// The access token of a device that somebody has made for us.
    AccessToken(Secret<String>),
}

impl FirstLogin {
    /// Takes what the configuration holds; `None` if that is not enough. A password goes before a token: it makes a
    /// device of our own, and can sign it.
    pub(super) fn of(config: &config::Matrix) -> Option<Self> {
        let password = config
            .password
            .clone()
            .filter(|_| config.bot_user_id.is_some());
        let token = config.access_token.clone().map(Proof::AccessToken);
        Some(Self {
            config: config.clone(),
            proof: password.map(Proof::Password).or(token)?,
        })
    }

    /// Logs in as `relay auth login` does, with what the configuration holds for a first start without a terminal.
    pub(super) async fn log_in(&self, files: &Files) -> Result<(), AuthError> {
        let config = &self.config;
        let made = match &self.proof {
            Proof::Password(password) => {
                let user = config.bot_user_id.clone().unwrap_or_default();
                let homeserver = config.homeserver.as_deref();
                let server = auth::find_homeserver(homeserver, &user, config.allow_http).await?;
                let options = LoginOptions {
                    username: user,
                    password: password.clone(),
                    device_name: "relay".to_owned(),
                    display_name: None,
                    allow_http: config.allow_http,
                    force: false,
                    unlock: Unlock::Nothing,
                    recovery_key: KeyPlace::File(files.recovery_key()),
                };
                // When the relay stops meanwhile, the next login or start takes the device away again.
                let stop = CancellationToken::new();
                Box::pin(auth::login(files, &server, &options, &stop)).await?
            }
            Proof::AccessToken(token) => {
                let options = TokenOptions {
                    homeserver: config.homeserver.clone(),
                    user: config.bot_user_id.clone(),
                    access_token: token.clone(),
                    allow_http: config.allow_http,
                    recovery_key_file: files.recovery_key(),
                };
                Box::pin(auth::adopt(files, &options)).await?
            }
        };
        info!(account = %made.session.user_id, device = %made.session.device_id, "logged in to Matrix with what the configuration holds");
        for problem in &made.standing.problems {
            warn!("{problem}");
        }
        match made.standing.identity {
            Identity::Foreign => warn!(
                "the device is not verified, and other people's clients warn of its messages: an earlier login has made the account's identity; run `relay auth login --force --recovery-key-file FILE`, or with --reset-cross-signing"
            ),
            Identity::Missing => warn!(
                "the device is not verified, and other people's clients warn of its messages: the homeserver did not take its signature; run `relay auth login --force`, with the password"
            ),
            Identity::Created | Identity::Recovered | Identity::Reset => {}
        }
        Ok(())
    }
}

/// Says why the relay cannot log in, and what helps.
pub(super) fn say_failure(error: &AuthError) {
    let (hint, _) = what_now(error);
    error!(
        error = error as &dyn Error,
        hint = hint.map(str::to_owned).or_else(|| error.hint()),
        "cannot log in to Matrix with what the configuration holds; what the mesh says is kept"
    );
}

/// Returns when it makes sense to try to log in again; `None`: only with another configuration, which is read at the
/// start.
pub(super) fn pause_after(error: &AuthError, backoff: &mut Backoff) -> Option<Duration> {
    match what_now(error) {
        (_, Again::Never) => None,
        (_, Again::Seldom) => Some(PASSWORD_EVERY),
        (_, Again::Soon) => Some(backoff.grow(rand::random())),
    }
}

/// When a login is tried again.
enum Again {
    Never,
    Seldom,
    Soon,
}

/// Returns what a person can do about a login that failed, where it is another thing than with a command, and when it is
/// tried again.
fn what_now(error: &AuthError) -> (Option<&'static str>, Again) {
    const CORRECT: &str =
        "correct the configuration and start the relay again, or run `relay auth login`";
    const CORRECT_OR_WAIT: &str = "correct the configuration and start the relay again, or run `relay auth login`; it \
                                   is tried again in case the homeserver was wrong";
    let AuthError::Wrong(given, ..) = error else {
        return (None, Again::Soon);
    };
    match given {
        Given::UsedDevice => (
            Some(
                "run `relay auth login`, or set matrix.password instead of matrix.access_token and start the relay \
                 again: either makes a device of the relay's own",
            ),
            Again::Soon,
        ),
        Given::Name => (Some(CORRECT), Again::Never),
        Given::Password => (Some(CORRECT_OR_WAIT), Again::Seldom),
        Given::Way => (Some(CORRECT_OR_WAIT), Again::Soon),
    }
}
