//! The ways to tokens: a code that a browser brings back (with PKCE), a code that is typed elsewhere (RFC 8628), and a refresh
//! token. Also their end.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::Duration;

use matrix_sdk::SessionTokens;
use matrix_sdk::ruma::DeviceId;
use oauth2::basic::{BasicClient, BasicErrorResponse, BasicErrorResponseType, BasicTokenResponse};
use oauth2::http::{Method, Request};
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, CsrfToken, DeviceAuthorizationUrl,
    DeviceCodeErrorResponse, DeviceCodeErrorResponseType, ErrorResponseType, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError,
    StandardDeviceAuthorizationResponse, StandardErrorResponse, TokenResponse, TokenUrl,
};
use tokio::time::sleep;
use url::Url;
use url::form_urlencoded::Serializer;

use super::registration::LOOPBACK;
use super::{Granted, OAuthClient, OAuthError, Scopes, Service, Web, words};

type Failed<E> = RequestTokenError<OAuthError, StandardErrorResponse<E>>;

/// The relay, registered at a login service.
#[derive(Debug, Clone)]
pub(crate) struct Grants {
    web: Web,
    client: OAuthClient,
    authorization_endpoint: Option<Url>,
    device_authorization_endpoint: Option<Url>,
    scopes: Scopes,
}

/// A login that a person goes on with in a browser.
#[derive(Debug)]
pub(crate) struct CodeRequest {
    /// Where the browser begins.
    pub(crate) url: Url,
    redirect: RedirectUrl,
    state: CsrfToken,
    verifier: PkceCodeVerifier,
}

/// A login that a person goes on with elsewhere, by typing a code.
#[derive(Debug)]
pub(crate) struct DeviceCode(StandardDeviceAuthorizationResponse);

impl DeviceCode {
    /// Where the code is typed.
    pub(crate) fn url(&self) -> &str {
        self.0.verification_uri()
    }

    /// Where it is typed already, if the service has such an address.
    pub(crate) fn url_with_code(&self) -> Option<&str> {
        self.0
            .verification_uri_complete()
            .map(|it| it.secret().as_str())
    }

    pub(crate) fn code(&self) -> &str {
        self.0.user_code().secret()
    }

    pub(crate) fn lifetime(&self) -> Duration {
        self.0.expires_in()
    }
}

impl Grants {
    /// Uses a service as this client.
    pub(crate) fn at(service: &Service, client_id: String, web: Web) -> Self {
        Self {
            web,
            client: OAuthClient {
                issuer: service.issuer.clone(),
                client_id,
                token_endpoint: service.token_endpoint.clone(),
                revocation_endpoint: service.revocation_endpoint.clone(),
                expires_at: None,
                lifetime: None,
            },
            authorization_endpoint: service.authorization_endpoint.clone(),
            device_authorization_endpoint: service.device_authorization_endpoint.clone(),
            scopes: service.scopes,
        }
    }

    /// Uses the service of a session, to renew or to revoke its tokens.
    pub(crate) fn of(client: &OAuthClient, web: Web) -> Self {
        Self {
            web,
            client: client.clone(),
            authorization_endpoint: None,
            device_authorization_endpoint: None,
            scopes: Scopes::Stable,
        }
    }

    /// Returns what a session keeps of it.
    pub(crate) fn client(&self) -> &OAuthClient {
        &self.client
    }

    fn id(&self) -> ClientId {
        ClientId::new(self.client.client_id.clone())
    }

    fn token_url(&self) -> TokenUrl {
        TokenUrl::from_url(self.client.token_endpoint.clone())
    }

    /// Begins a login in a browser, which ends up at this port of this machine; without one it ends up nowhere.
    pub(crate) fn code_request(
        &self,
        device: &DeviceId,
        port: Option<u16>,
    ) -> Result<CodeRequest, OAuthError> {
        const WAY: &str = "logins in a browser";
        let offered = self.authorization_endpoint.clone();
        let offered =
            offered.ok_or_else(|| OAuthError::GrantNotOffered(self.client.issuer.clone(), WAY))?;
        let redirect = match port {
            Some(port) => LOOPBACK.replacen("127.0.0.1", &format!("127.0.0.1:{port}"), 1),
            None => LOOPBACK.to_owned(),
        };
        let redirect = RedirectUrl::new(redirect)
            .map_err(|error| OAuthError::BadAnswer(offered.clone(), error.to_string()))?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state) = BasicClient::new(self.id())
            .set_auth_uri(AuthUrl::from_url(offered))
            .set_redirect_uri(redirect.clone())
            .authorize_url(CsrfToken::new_random)
            .add_scopes(self.scopes.of(device))
            .set_pkce_challenge(challenge)
            .url();
        Ok(CodeRequest {
            url,
            redirect,
            state,
            verifier,
        })
    }

    /// Returns whether an address is an answer to this request, good or bad: nobody else knows its state.
    pub(crate) fn is_answer(asked: &CodeRequest, address: &Url) -> bool {
        let mut pairs = address.query_pairs();
        pairs.any(|(name, value)| name == "state" && value == asked.state.secret().as_str())
    }

    /// Gets tokens for what a browser has brought back.
    pub(crate) async fn exchange(
        &self,
        asked: CodeRequest,
        address: &Url,
    ) -> Result<Granted, OAuthError> {
        let pairs: HashMap<_, _> = address.query_pairs().collect();
        let field = |name: &str| pairs.get(name).map(AsRef::as_ref);
        match field("state") {
            None => return Err(OAuthError::NotTheAddress("it has no `state`")),
            Some(state) if state != asked.state.secret() => return Err(OAuthError::StateMismatch),
            Some(_) => {}
        }
        if let Some(issuer) = field("iss") {
            let [expected, found] = [self.client.issuer.as_str(), issuer];
            if expected.trim_end_matches('/') != found.trim_end_matches('/') {
                return Err(OAuthError::WrongIssuer {
                    expected: expected.to_owned(),
                    found: words(found),
                });
            }
        }
        if let Some(error) = field("error") {
            let text = field("error_description").unwrap_or_default();
            return Err(if error == "access_denied" {
                OAuthError::Denied(words(text))
            } else {
                OAuthError::Refused("the login", both(error, Some(text)))
            });
        }
        let Some(code) = field("code") else {
            return Err(OAuthError::NotTheAddress("it has no `code`"));
        };
        let client = BasicClient::new(self.id())
            .set_token_uri(self.token_url())
            .set_redirect_uri(asked.redirect);
        let answer = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(asked.verifier)
            .request_async(&self.web)
            .await;
        let answer = answer.map_err(|error| self.failed("the code", error))?;
        Ok(granted(&answer))
    }

    /// Begins a login by a code that is typed elsewhere.
    pub(crate) async fn device_code(&self, device: &DeviceId) -> Result<DeviceCode, OAuthError> {
        match self.device_code_for(self.scopes, device).await {
            // A service may be older than its homeserver.
            Err(OAuthError::Refused(_, words))
                if self.scopes == Scopes::Stable && words.contains("invalid_scope") =>
            {
                self.device_code_for(Scopes::Unstable, device).await
            }
            other => other,
        }
    }

    async fn device_code_for(
        &self,
        scopes: Scopes,
        device: &DeviceId,
    ) -> Result<DeviceCode, OAuthError> {
        const WAY: &str = "logins by a code that is typed elsewhere (device code)";
        let offered = self.device_authorization_endpoint.clone();
        let offered =
            offered.ok_or_else(|| OAuthError::GrantNotOffered(self.client.issuer.clone(), WAY))?;
        let client = BasicClient::new(self.id())
            .set_device_authorization_url(DeviceAuthorizationUrl::from_url(offered));
        let answer = client
            .exchange_device_code()
            .add_scopes(scopes.of(device))
            .request_async(&self.web)
            .await;
        let answer = answer.map_err(|error| match &error {
            RequestTokenError::ServerResponse(said)
                if matches!(
                    said.error(),
                    BasicErrorResponseType::UnauthorizedClient
                        | BasicErrorResponseType::UnsupportedGrantType
                ) =>
            {
                OAuthError::GrantNotOffered(self.client.issuer.clone(), WAY)
            }
            _ => self.failed("a code", error),
        })?;
        Ok(DeviceCode(answer))
    }

    /// Waits until the code was typed, and gets tokens for it.
    pub(crate) async fn device_tokens(&self, code: &DeviceCode) -> Result<Granted, OAuthError> {
        let client = BasicClient::new(self.id()).set_token_uri(self.token_url());
        let answer = client
            .exchange_device_access_token(&code.0)
            .request_async(&self.web, sleep, None)
            .await;
        let answer: BasicTokenResponse = answer.map_err(|error| self.not_typed(error))?;
        Ok(granted(&answer))
    }

    fn not_typed(
        &self,
        error: RequestTokenError<OAuthError, DeviceCodeErrorResponse>,
    ) -> OAuthError {
        if let RequestTokenError::ServerResponse(said) = &error {
            let text = said.error_description().map(|it| words(it));
            match said.error() {
                DeviceCodeErrorResponseType::AccessDenied => {
                    return OAuthError::Denied(text.unwrap_or_default());
                }
                DeviceCodeErrorResponseType::ExpiredToken => return OAuthError::Expired,
                DeviceCodeErrorResponseType::AuthorizationPending
                | DeviceCodeErrorResponseType::SlowDown
                | DeviceCodeErrorResponseType::Basic(_) => {}
            }
        }
        self.failed("the code", error)
    }

    /// Gets new tokens for a refresh token. The old one stays good until one of the new ones was used, at
    /// matrix-authentication-service.
    pub(crate) async fn renew(&self, refresh_token: &str) -> Result<Granted, OAuthError> {
        let client = BasicClient::new(self.id()).set_token_uri(self.token_url());
        let token = RefreshToken::new(refresh_token.to_owned());
        let answer = client
            .exchange_refresh_token(&token)
            .request_async(&self.web)
            .await;
        let answer = answer.map_err(|error| match &error {
            RequestTokenError::ServerResponse(said) if is_final(said) => OAuthError::Ended(both(
                said.error().as_ref(),
                said.error_description().map(String::as_str),
            )),
            _ => self.failed("the renewal of the login", error),
        })?;
        let mut granted = granted(&answer);
        let kept = || refresh_token.to_owned();
        granted.tokens.refresh_token.get_or_insert_with(kept);
        Ok(granted)
    }

    /// Ends a login: both tokens, and the device at the homeserver.
    pub(crate) async fn revoke(&self, tokens: &SessionTokens) -> Result<(), OAuthError> {
        const WAY: &str = "an end of logins (revocation)";
        let Some(url) = &self.client.revocation_endpoint else {
            return Err(OAuthError::GrantNotOffered(self.client.issuer.clone(), WAY));
        };
        // An access token may have expired: a service then may not know it.
        let refresh = tokens.refresh_token.as_deref();
        let (token, kind) = match refresh {
            Some(token) => (token, "refresh_token"),
            None => (tokens.access_token.as_str(), "access_token"),
        };
        let body = Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", kind)
            .append_pair("client_id", &self.client.client_id)
            .finish();
        let request = Request::builder()
            .uri(url.as_str())
            .method(Method::POST)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.into_bytes());
        let request =
            request.map_err(|error| OAuthError::BadAnswer(url.clone(), error.to_string()))?;
        let answer = self.web.send(request).await?;
        if answer.status().is_success() {
            return Ok(());
        }
        let said: Option<BasicErrorResponse> = serde_json::from_slice(answer.body()).ok();
        let text = said.map(|said| {
            let text = said.error_description().map(String::as_str);
            both(said.error().as_ref(), text)
        });
        let status = || format!("HTTP {}", answer.status().as_u16());
        Err(OAuthError::Refused(
            "to end the login",
            text.unwrap_or_else(status),
        ))
    }

    fn failed<E: ErrorResponseType + AsRef<str> + Display + 'static>(
        &self,
        what: &'static str,
        error: Failed<E>,
    ) -> OAuthError {
        match error {
            RequestTokenError::Request(error) => error,
            RequestTokenError::ServerResponse(said) => {
                let text = said.error_description().map(String::as_str);
                OAuthError::Refused(what, both(said.error().as_ref(), text))
            }
            RequestTokenError::Parse(error, _) => {
                // The parser's own words could quote a token.
                let what = format!("`{}` is missing or wrong", error.path());
                OAuthError::BadAnswer(self.client.token_endpoint.clone(), what)
            }
            RequestTokenError::Other(what) => {
                OAuthError::BadAnswer(self.client.token_endpoint.clone(), words(&what))
            }
        }
    }
}

/// Returns whether a refresh token will never be taken again.
fn is_final(said: &BasicErrorResponse) -> bool {
    matches!(
        said.error(),
        BasicErrorResponseType::InvalidGrant
            | BasicErrorResponseType::InvalidClient
            | BasicErrorResponseType::UnauthorizedClient
    )
}

fn granted(answer: &BasicTokenResponse) -> Granted {
    Granted {
        tokens: SessionTokens {
            access_token: answer.access_token().secret().clone(),
            refresh_token: answer.refresh_token().map(|it| it.secret().clone()),
        },
        lifetime: answer.expires_in().map(|it| it.as_secs()),
    }
}

/// Returns an error's code and its description.
fn both(code: &str, text: Option<&str>) -> String {
    match text.filter(|it| !it.is_empty()) {
        Some(text) => words(&format!("{text} ({code})")),
        None => words(code),
    }
}
