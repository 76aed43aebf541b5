//! Which login service a homeserver has, and what it offers.

use matrix_sdk::reqwest::StatusCode;
use matrix_sdk::ruma::DeviceId;
use oauth2::Scope;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{OAuthError, Web};
use crate::server::{Server, ServerError};

/// Under which name a device code is offered (RFC 8628).
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The names of the rights that the relay asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scopes {
    /// As the specification names them, since version 1.15.
    Stable,
    /// As they were named before (MSC2967).
    Unstable,
}

impl Scopes {
    /// Returns the rights to act as an account, with this device.
    pub(super) fn of(self, device: &DeviceId) -> [Scope; 2] {
        let prefix = match self {
            Self::Stable => "urn:matrix:client",
            Self::Unstable => "urn:matrix:org.matrix.msc2967.client",
        };
        [
            Scope::new(format!("{prefix}:api:*")),
            Scope::new(format!("{prefix}:device:{device}")),
        ]
    }
}

/// What a login service says of itself (RFC 8414).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Service {
    pub(crate) issuer: Url,
    pub(super) authorization_endpoint: Option<Url>,
    pub(super) token_endpoint: Url,
    pub(super) registration_endpoint: Option<Url>,
    pub(super) revocation_endpoint: Option<Url>,
    pub(super) device_authorization_endpoint: Option<Url>,
    grant_types_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(skip, default = "stable")]
    pub(crate) scopes: Scopes,
}

fn stable() -> Scopes {
    Scopes::Stable
}

impl Service {
    /// Asks a homeserver for its login service: by the way of the specification, and by two older ones.
    pub(crate) async fn of(server: &Server, web: &Web) -> Result<Self, OAuthError> {
        const UNSTABLE: &str = "org.matrix.msc2965";
        if let Some(found) = asked(server, &["v1", "auth_metadata"]).await? {
            return Self::read(&server.base, found, Scopes::Stable, web);
        }
        if let Some(found) = asked(server, &["unstable", UNSTABLE, "auth_metadata"]).await? {
            return Self::read(&server.base, found, Scopes::Unstable, web);
        }
        let named = asked(server, &["unstable", UNSTABLE, "auth_issuer"]).await?;
        let named = named.as_ref().and_then(|it| it["issuer"].as_str());
        let named = named.and_then(|it| Url::parse(it).ok());
        let Some(named) = named else {
            return Err(OAuthError::NotOffered(server.base.clone()));
        };
        let mut url = named.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend([".well-known", "openid-configuration"]);
        }
        let service = Self::read(&url, web.get(&url).await?, Scopes::Unstable, web)?;
        service.must_be(&named)?;
        Ok(service)
    }

    fn read(from: &Url, found: Value, scopes: Scopes, web: &Web) -> Result<Self, OAuthError> {
        let service: Self = serde_json::from_value(found)
            .map_err(|error| OAuthError::BadAnswer(from.clone(), error.to_string()))?;
        let named = [
            Some(&service.issuer),
            Some(&service.token_endpoint),
            service.authorization_endpoint.as_ref(),
            service.registration_endpoint.as_ref(),
            service.revocation_endpoint.as_ref(),
            service.device_authorization_endpoint.as_ref(),
        ];
        named
            .into_iter()
            .flatten()
            .try_for_each(|it| web.check(it))?;
        Ok(Self { scopes, ..service })
    }

    /// Fails if it is another service than this one.
    pub(super) fn must_be(&self, issuer: &Url) -> Result<(), OAuthError> {
        let [expected, found] = [issuer, &self.issuer].map(|it| it.as_str().trim_end_matches('/'));
        if expected == found {
            return Ok(());
        }
        Err(OAuthError::WrongIssuer {
            expected: expected.to_owned(),
            found: found.to_owned(),
        })
    }

    /// Returns whether a login by a code that is typed elsewhere is offered.
    pub(crate) fn offers_device_code(&self) -> bool {
        self.device_authorization_endpoint.is_some() && self.offers(DEVICE_GRANT)
    }

    /// Returns whether a login in a browser is offered, with the proof that the relay gives (PKCE).
    pub(crate) fn offers_code(&self) -> bool {
        let methods = self.code_challenge_methods_supported.as_ref();
        self.authorization_endpoint.is_some()
            && self.offers("authorization_code")
            && methods.is_none_or(|it| it.iter().any(|method| method == "S256"))
    }

    fn offers(&self, grant: &str) -> bool {
        // RFC 8414 has a list that holds where there is none; no service goes by it for the device grant.
        let offered = self.grant_types_supported.as_ref();
        offered.is_none_or(|it| it.iter().any(|offered| offered == grant))
    }
}

/// Asks a homeserver; `None`: it does not know the question.
async fn asked(server: &Server, path: &[&str]) -> Result<Option<Value>, OAuthError> {
    match server.get(path).await {
        Ok(answer) => Ok(Some(answer)),
        Err(ServerError::Refused {
            errcode, status, ..
        }) if errcode == "M_UNRECOGNIZED"
            || errcode == "M_NOT_FOUND"
            || status == StatusCode::NOT_FOUND.as_u16() =>
        {
            Ok(None)
        }
        Err(ServerError::NotMatrix(_, 404 | 405)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
