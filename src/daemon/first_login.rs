//! Logins without a terminal, with the credentials in the configuration: the first one, and one in the place of a login that
//! the homeserver has ended.

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::home::Home;
use relay_config::Secret;
use relay_matrix::Files;
use relay_matrix::auth::{
    self, AuthError, Credential, Earlier, Identity, Jwt, KEEP, KeyPlace, LeftIdentity,
    LoginOptions, Problem, Seeds, Unlock, Way,
};

/// The credentials, with the rest of the configuration.
pub(super) enum FirstLogin {
    /// Logs in as a new device: by a password, or by an identity provider's token.
    Own(relay_config::Matrix),
    /// Takes over an existing device.
    AccessToken(relay_config::Matrix, Secret<String>),
}

impl FirstLogin {
    /// Returns the configured credentials; `None` if they are incomplete. A password is preferred to an access token: with it
    /// the relay has a device of its own, and can sign it.
    pub(super) fn of(config: &relay_config::Matrix, home: &Home) -> Option<Self> {
        let mut config = config.clone();
        config.jwt_file = config.jwt_file.map(|path| home.resolve(&path));
        let has_jwt = config.keycloak_url.is_some() || config.jwt_file.is_some();
        let is_own = (has_jwt || config.password.is_some()) && config.bot_user_id.is_some();
        match config.access_token.clone() {
            _ if is_own => Some(Self::Own(config)),
            Some(token) => Some(Self::AccessToken(config, token)),
            None => None,
        }
    }

    /// Logs the same device in again.
    pub(super) async fn log_in_again(&self, files: &Files) -> Result<(), AuthError> {
        let Self::Own(config) = self else {
            return Err(AuthError::NotLoggedIn);
        };
        let (credential, _) = credential(config).await?;
        auth::log_in_again(files, &credential).await?;
        info!("logged in to Matrix again, as the same device");
        Ok(())
    }

    /// Logs in as `relay auth login` does. A recovery key that still lies in its place has the device signed,
    /// or what the earlier login has left.
    pub(super) async fn log_in(&self, files: &Files, earlier: Earlier) -> Result<(), AuthError> {
        let (Self::Own(config) | Self::AccessToken(config, _)) = self;
        // The homeserver of a login that it has ended was found already.
        let known = files.load_session().ok().flatten();
        let known = known.map(|session| session.homeserver.to_string());
        let homeserver = known.as_deref().or(config.homeserver.as_deref());
        let user = config.bot_user_id.clone();
        let named = user.as_deref().unwrap_or_default();
        let found = auth::find_homeserver(homeserver, named, config.allow_http);
        let (server, offers) = found.await?;
        let credential = match self {
            Self::Own(config) => {
                let (credential, way) = credential(config).await?;
                offers.demand(way, &server)?;
                credential
            }
            Self::AccessToken(_, token) => Credential::AccessToken(token.clone(), None),
        };
        let options = LoginOptions {
            unlock: unlock(files, named, earlier).await,
            username: user,
            credential,
            device_name: "relay".to_owned(),
            display_name: None,
            allow_http: config.allow_http,
            earlier,
            is_recovery: false,
            recovery_key: KeyPlace::File(files.recovery_key()),
        };
        // Never cancelled: if the relay stops during the login, the next login or start removes the device.
        let stop = CancellationToken::new();
        let made = Box::pin(auth::login(files, &server, &options, &stop)).await?;
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

/// Returns what proves that the configured account is ours, got anew, and the way in which it does.
async fn credential(config: &relay_config::Matrix) -> Result<(Credential, Way), AuthError> {
    let password = config.password.as_ref();
    if let Some(jwt) = Jwt::of(config)? {
        let user = config.bot_user_id.as_deref().unwrap_or_default();
        let token = jwt.credential(user, password, config.allow_http).await?;
        return Ok((token, Way::Jwt(jwt.login)));
    }
    let password = password.ok_or(AuthError::NotLoggedIn)?;
    Ok((Credential::Password(password.clone()), Way::Password))
}

/// Returns what opens the account's identity, as far as it lies here.
async fn unlock(files: &Files, user: &str, earlier: Earlier) -> Unlock {
    let key = std::fs::read_to_string(files.recovery_key()).ok();
    let key = key.map(|key| Unlock::Key(Secret::new(key.trim().to_owned())));
    let left = match (&key, earlier) {
        (None, Earlier::Dead) => LeftIdentity::of(files).await.map(Unlock::Left),
        _ => None,
    };
    let kept = || Seeds::left_in(files, user).map(Unlock::Seeds);
    key.or(left).or_else(kept).unwrap_or(Unlock::Nothing)
}
