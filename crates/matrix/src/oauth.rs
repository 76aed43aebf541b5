//! OAuth 2.0 as matrix-authentication-service does it, without the SDK: finds the login service of a homeserver, registers the
//! relay there, gets tokens, renews and revokes them. What people are shown meanwhile is decided elsewhere.

mod grants;
mod registration;
mod service;
mod web;

use matrix_sdk::SessionTokens;
use serde::{Deserialize, Serialize};
use url::Url;

use super::server::{FirstCause, ServerError};
use relay_model::{Explained, Timestamp};

pub(crate) use grants::Grants;
pub(crate) use registration::register;
use service::Scopes;
pub(crate) use service::Service;
pub(crate) use web::Web;

/// Maximum length of what a server says, as it is passed on.
const MOST_WORDS: usize = 300;

/// Why a login by OAuth 2.0 failed, or its tokens cannot be renewed.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// The homeserver cannot be asked.
    #[error(transparent)]
    Homeserver(#[from] ServerError),
    /// The homeserver names no login service.
    #[error("{0} offers no login by OAuth 2.0")]
    NotOffered(Url),
    /// No connection to the login service, or no answer in time.
    #[error("cannot reach the login service at {0}")]
    Unreachable(Url, #[source] FirstCause),
    /// The certificate of the login service is not accepted.
    #[error("no secure connection to the login service at {0}")]
    Tls(Url, #[source] FirstCause),
    /// An address of the login service is not encrypted.
    #[error("the login service names an address that is not encrypted: {0}")]
    PlainHttp(Url),
    /// The service that answers calls itself otherwise than the homeserver, or the earlier login, does.
    #[error("the login service is to be {expected}, and the one that answers calls itself {found}")]
    WrongIssuer {
        /// What it was to be.
        expected: String,
        /// What it says.
        found: String,
    },
    /// The answer is none of OAuth 2.0; with the HTTP status.
    #[error("{0} answered HTTP {1}, which is no answer of a login service")]
    NotOAuth(Url, u16),
    /// The answer misses something, or is too large.
    #[error("the answer of {0} makes no sense: {1}")]
    BadAnswer(Url, String),
    /// The service does not register the relay; its words.
    #[error("the login service does not register the relay: {0}")]
    NotRegistered(String),
    /// The service does not offer this way.
    #[error("the login service at {0} does not offer {1}")]
    GrantNotOffered(Url, &'static str),
    /// The person, or the service, has said no; its words.
    #[error("the login was denied{}", after_colon(.0))]
    Denied(String),
    /// The code, or the time for it, has run out.
    #[error("the code has expired before the login was finished")]
    Expired,
    /// What came back belongs to another login.
    #[error("what came back from the browser belongs to another login (its `state` is not ours)")]
    StateMismatch,
    /// What was pasted is not what the browser ended up at; what is missing.
    #[error("that is not the address that the browser ended up at: {0}")]
    NotTheAddress(&'static str),
    /// The service does not renew the token any more; its words.
    #[error("the login service does not renew the login any more: {0}")]
    Ended(String),
    /// Another refusal: what was asked for, and the service's words.
    #[error("the login service refuses {0}: {1}")]
    Refused(&'static str, String),
    /// The service asks for a pause.
    #[error("the login service limits how often this may be tried")]
    RateLimited,
}

fn after_colon(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(": {words}")
    }
}

impl Explained for OAuthError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Homeserver(error) => return error.hint(),
            Self::NotOffered(_) => {
                "log in by a password, or by `--sso`, as far as the homeserver offers it"
            }
            Self::Unreachable(..) => "check the network, then try again",
            Self::Tls(..) => {
                "check this machine's clock, and that the certificate fits the name and comes from an authority that \
                 this machine trusts"
            }
            Self::PlainHttp(_) => {
                "have it use https, or allow it with --allow-http (`matrix.allow_http`) if the network between is yours"
            }
            Self::WrongIssuer { .. } | Self::NotOAuth(..) | Self::BadAnswer(..) => {
                "this is for whoever runs the homeserver: its login service is not set up as it says"
            }
            Self::NotRegistered(_) => {
                "whoever runs the login service has to let programs register themselves (at matrix-authentication-service: \
                 `policy.data.client_registration`)"
            }
            Self::GrantNotOffered(..) => {
                "try another way: `--oauth` with a browser, `--oauth --paste`, or `--oauth --device-code`"
            }
            Self::Denied(_) => "try again, and allow it in the browser",
            Self::Expired => "try again; a code is good for some minutes only",
            Self::StateMismatch => "try again, and use the page of this login only",
            Self::NotTheAddress(_) => {
                "copy all of it from the address bar, also if the browser says that the page cannot be opened"
            }
            Self::Ended(_) => {
                "`relay auth login --force --oauth`, also beside a running relay, makes a new login"
            }
            Self::RateLimited => "try again in a minute",
            Self::Refused(..) => return None,
        };
        Some(hint.to_owned())
    }
}

/// What a session that was made by OAuth 2.0 needs to renew and to revoke its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuthClient {
    /// The login service, as it calls itself.
    pub issuer: Url,
    /// As what the relay is registered there.
    pub client_id: String,
    pub(crate) token_endpoint: Url,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revocation_endpoint: Option<Url>,
    /// When the access token expires, by this computer's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// For how long it was good when it was given, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lifetime: Option<u64>,
}

/// Tokens that a login service has given.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) tokens: SessionTokens,
    /// For how many seconds the access token is good.
    pub(crate) lifetime: Option<u64>,
}

impl OAuthClient {
    /// Returns the same with the time until which tokens given now are good.
    pub(crate) fn granted(&self, granted: &Granted, now: Timestamp) -> Self {
        let until = |seconds| now + std::time::Duration::from_secs(seconds);
        Self {
            expires_at: granted.lifetime.map(until),
            lifetime: granted.lifetime,
            ..self.clone()
        }
    }
}

/// Returns the words of a server, bounded and in one line.
pub(crate) fn words(text: &str) -> String {
    let printable = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it });
    printable.take(MOST_WORDS).collect()
}
