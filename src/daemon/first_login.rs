//! The first login without a terminal: with what the configuration holds, as long as there is no session.

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use relay_config::Secret;
use relay_matrix::Files;
use relay_matrix::auth::{self, AuthError, Identity, KeyPlace, LoginOptions, Problem, Unlock};

/// What lets the relay log in by itself, with the rest of the configuration.
pub(super) enum FirstLogin {
    /// The account's password: a new device.
    Password(relay_config::Matrix, Secret<String>),
    /// The access token of a device that somebody has made for us.
    AccessToken(relay_config::Matrix, Secret<String>),
}

impl FirstLogin {
    /// Takes what the configuration holds; `None` if that is not enough. A password goes before a token: it makes a
    /// device of our own, and can sign it.
    pub(super) fn of(config: &relay_config::Matrix) -> Option<Self> {
        let config = config.clone();
        match (config.password.clone(), config.access_token.clone()) {
            (Some(password), _) if config.bot_user_id.is_some() => {
                Some(Self::Password(config, password))
            }
            (_, Some(token)) => Some(Self::AccessToken(config, token)),
            (_, None) => None,
        }
    }

    /// Logs in as `relay auth login` does, with what the configuration holds for a first start without a terminal.
    pub(super) async fn log_in(&self, files: &Files) -> Result<(), AuthError> {
        let made = match self {
            Self::Password(config, password) => {
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
            Self::AccessToken(config, token) => {
                let homeserver = config.homeserver.as_deref();
                let user = config.bot_user_id.as_deref();
                let adopted = auth::adopt(files, homeserver, user, token, config.allow_http);
                Box::pin(adopted).await?
            }
        };
        info!(account = %made.session.user_id, device = %made.session.device_id, "logged in to Matrix with what the configuration holds");
        for Problem { what, hint } in &made.standing.problems {
            warn!(hint, "{what}");
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
