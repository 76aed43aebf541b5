//! By which way to log in, and what proves there that the account is ours.

use std::io::{self, IsTerminal as _};
use std::path::Path;

use super::answers::{self, Password};
use super::browser::BrowserArgs;
use super::jwt::JwtArgs;
use crate::cli::failure::Failure;
use crate::cli::{output::say, progress};
use relay_config::{Matrix, Secret};
use relay_matrix::auth::{Credential, Jwt, Offers, Server, Way};

/// A way to log in, with what is known of it before the homeserver is asked.
#[derive(Debug)]
pub(super) enum Wanted {
    /// By the account's password; another way will do where the homeserver takes none, unless a flag gives one.
    Password {
        is_asked: bool,
    },
    Browser(BrowserArgs),
    Jwt(Jwt),
    AccessToken(Secret<String>),
}

/// What proves that the account is ours, and whose it is.
pub(super) struct Proof {
    pub(super) credential: Credential,
    /// The account's name; `None`: the homeserver knows.
    pub(super) username: Option<String>,
    /// The password, where a person typed it, who may have mistyped it.
    pub(super) typed: Option<Password>,
}

impl Wanted {
    /// Returns the way that the flags, or else the environment and the configuration, say; `is_asked`: a flag gives a password.
    pub(super) fn of(
        browser: BrowserArgs,
        access_token: Option<&Path>,
        jwt: JwtArgs,
        configured: &Matrix,
        is_asked: bool,
    ) -> Result<Self, Failure> {
        if browser.is_wanted() {
            return Ok(Self::Browser(browser));
        }
        if let Some(path) = access_token {
            return Ok(Self::AccessToken(answers::first_line(path)?));
        }
        let jwt = jwt.wanted(configured)?;
        Ok(jwt.map_or(Self::Password { is_asked }, Self::Jwt))
    }

    pub(super) fn needs_username(&self) -> bool {
        matches!(self, Self::Password { .. } | Self::Jwt(_))
    }

    pub(super) fn needs_password(&self) -> bool {
        match self {
            Self::Password { .. } => true,
            Self::Jwt(jwt) => jwt.needs_password(),
            Self::Browser(_) | Self::AccessToken(_) => false,
        }
    }

    /// Gets what proves that the account is ours, as far as that is done before the device is made.
    pub(super) async fn prove(
        self,
        server: &Server,
        offers: &Offers,
        username: Option<String>,
        password: Option<Secret<String>>,
        allow_http: bool,
    ) -> Result<Proof, Failure> {
        let wanted = self.or_fitting(server, offers)?;
        let bare = |credential, username| Proof {
            credential,
            username,
            typed: None,
        };
        match wanted {
            Self::Browser(args) => {
                let credential = args.credential(server, offers, allow_http).await?;
                Ok(bare(credential, username))
            }
            Self::AccessToken(token) => {
                Ok(bare(Credential::AccessToken(token, password), username))
            }
            Self::Jwt(jwt) => {
                offers.demand(Way::Jwt(jwt.login), server)?;
                let username = known(username, server).await?;
                let credential = token(&jwt, &username, password, allow_http).await?;
                Ok(bare(credential, Some(username)))
            }
            Self::Password { .. } => {
                offers.demand(Way::Password, server)?;
                let username = known(username, server).await?;
                let mut typed = Password::of(&username, password);
                Ok(Proof {
                    credential: Credential::Password(typed.get().await?),
                    username: Some(username),
                    typed: Some(typed),
                })
            }
        }
    }

    /// Returns another way where the homeserver takes no passwords, and somebody is there to go it.
    fn or_fitting(self, server: &Server, offers: &Offers) -> Result<Self, Failure> {
        let may_choose = matches!(self, Self::Password { is_asked: false });
        if !may_choose || offers.has(Way::Password) || !io::stdin().is_terminal() {
            return Ok(self);
        }
        let Some((browser, flag)) = BrowserArgs::fitting(offers) else {
            return Ok(self);
        };
        say(&format!(
            "{} takes no passwords: the account is logged in in a browser, as by {flag}",
            server.base
        ))?;
        Ok(Self::Browser(browser))
    }
}

/// Returns the given user name, or asks for one.
async fn known(username: Option<String>, server: &Server) -> Result<String, Failure> {
    if let Some(username) = username {
        return Ok(username);
    }
    let host = server.base.host_str().unwrap_or_default();
    let question = format!("The bot's user name at {host}, for example relaybot: ");
    answers::ask("--username", &question).await
}

/// Gets a token from the identity provider, with a password that may have to be typed again.
async fn token(
    jwt: &Jwt,
    username: &str,
    password: Option<Secret<String>>,
    allow_http: bool,
) -> Result<Credential, Failure> {
    if !jwt.needs_password() {
        return Ok(jwt.credential(username, None, allow_http).await?);
    }
    let mut typed = Password::of(username, password);
    let mut password = typed.get().await?;
    loop {
        let asked = Box::pin(jwt.credential(username, Some(&password), allow_http));
        match progress::of("asking the identity provider", asked).await {
            Ok(credential) => return Ok(credential),
            Err(error) => password = typed.another(error, Failure::from).await?,
        }
    }
}
