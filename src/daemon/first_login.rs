//! Logins without a terminal, with the credentials in the configuration: the first one, and one in the place of a login that
//! the homeserver has ended.

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use relay_config::Secret;
use relay_matrix::Files;
use relay_matrix::auth::{
    self, AuthError, Credential, Earlier, Identity, KEEP, KeyPlace, LeftIdentity, LoginOptions,
    Problem, Seeds, Unlock, Way,
};

/// The credentials, with the rest of the configuration.
pub(super) enum FirstLogin {
    /// Logs in as a new device.
    Password(relay_config::Matrix, Secret<String>),
    /// Takes over an existing device.
    AccessToken(relay_config::Matrix, Secret<String>),
}

impl FirstLogin {
    /// Returns the configured credentials; `None` if they are incomplete. A password is preferred to a token: with it the
    /// relay has a device of its own, and can sign it.
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

    /// Logs the same device in again, with a password.
    pub(super) async fn log_in_again(&self, files: &Files) -> Result<(), AuthError> {
        let Self::Password(_, password) = self else {
            return Err(AuthError::NotLoggedIn);
        };
        auth::log_in_again(files, password).await?;
        info!("logged in to Matrix again, as the same device");
        Ok(())
    }

    /// Logs in as `relay auth login` does. A recovery key that still lies in its place has the device signed,
    /// or what the earlier login has left.
    pub(super) async fn log_in(&self, files: &Files, earlier: Earlier) -> Result<(), AuthError> {
        let made = match self {
            Self::Password(config, password) => {
                let user = config.bot_user_id.clone().unwrap_or_default();
                // The homeserver of a login that it has ended was found already.
                let known = files.load_session().ok().flatten();
                let known = known.map(|session| session.homeserver.to_string());
                let homeserver = known.as_deref().or(config.homeserver.as_deref());
                let (server, offers) =
                    auth::find_homeserver(homeserver, &user, config.allow_http).await?;
                offers.demand(Way::Password, &server)?;
                let key = std::fs::read_to_string(files.recovery_key()).ok();
                let key = key.map(|key| Unlock::Key(Secret::new(key.trim().to_owned())));
                let left = match (&key, earlier) {
                    (None, Earlier::Dead) => LeftIdentity::of(files).await.map(Unlock::Left),
                    _ => None,
                };
                let kept = || Seeds::left_in(files, &user).map(Unlock::Seeds);
                let unlock = key.or(left).or_else(kept).unwrap_or(Unlock::Nothing);
                let options = LoginOptions {
                    username: Some(user),
                    credential: Credential::Password(password.clone()),
                    device_name: "relay".to_owned(),
                    display_name: None,
                    allow_http: config.allow_http,
                    earlier,
                    unlock,
                    is_recovery: false,
                    recovery_key: KeyPlace::File(files.recovery_key()),
                };
                // Never cancelled: if the relay stops during the login, the next login or start removes the device.
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
            warn!(
                problem = what,
                hint, "the login is not all that it could be"
            );
        }
        match made.standing.identity {
            Identity::Foreign => warn!(
                "the device is not verified, and other people's clients warn of its messages: an earlier login has made the account's identity; stop the relay and run `relay auth recover`, or without its recovery key `relay auth login --force --reset-cross-signing`"
            ),
            Identity::Incomplete => warn!(
                hint = KEEP,
                "the device is not verified, and other people's clients warn of its messages: MMRelay has made the account's identity; stop the relay for the cure"
            ),
            Identity::Missing => warn!(
                "the device is not verified, and other people's clients warn of its messages: the homeserver did not take its signature; run `relay auth login --force`, with the password"
            ),
            Identity::Created | Identity::Recovered | Identity::Kept | Identity::Reset => {}
        }
        Ok(())
    }
}
