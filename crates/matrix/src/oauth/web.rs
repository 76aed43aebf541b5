//! Requests to a login service: limited in time and size, without redirects, and encrypted unless that is allowed otherwise.

use futures_util::future::BoxFuture;
use matrix_sdk::reqwest::{self, redirect};
use oauth2::http::{Method, Request, Response, StatusCode};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use serde_json::Value;
use url::Url;

use super::OAuthError;
use crate::server::{self, ServerError};
use relay_config::is_loopback;

/// Makes requests to login services.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    http: reqwest::Client,
    allow_http: bool,
}

impl Web {
    /// Makes one; `of` is the homeserver whose login services are asked.
    pub(crate) fn new(of: &Url, allow_http: bool) -> Result<Self, OAuthError> {
        let http = server::http_client(redirect::Policy::none(), of)?;
        Ok(Self { http, allow_http })
    }

    /// Fails if requests to this address would be readable by others.
    pub(super) fn check(&self, url: &Url) -> Result<(), OAuthError> {
        let is_safe = url.scheme() == "https"
            || url.scheme() == "http" && (self.allow_http || is_loopback(url));
        if is_safe {
            Ok(())
        } else {
            Err(OAuthError::PlainHttp(plain(url)))
        }
    }

    pub(super) async fn get(&self, url: &Url) -> Result<Value, OAuthError> {
        let request = Request::builder().uri(url.as_str()).method(Method::GET);
        self.ask(url, request.body(Vec::new())).await
    }

    pub(super) async fn post(
        &self,
        url: &Url,
        body: &Value,
    ) -> Result<(StatusCode, Value), OAuthError> {
        let request = Request::builder().uri(url.as_str()).method(Method::POST);
        let request = request.header("content-type", "application/json");
        let request = request.body(body.to_string().into_bytes());
        let response = self.send(request.map_err(|_| no_address(url))?).await?;
        let answer = serde_json::from_slice(response.body());
        let status = response.status();
        Ok((status, answer.map_err(|_| not_oauth(url, status))?))
    }

    async fn ask(
        &self,
        url: &Url,
        request: Result<HttpRequest, oauth2::http::Error>,
    ) -> Result<Value, OAuthError> {
        let response = self.send(request.map_err(|_| no_address(url))?).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(not_oauth(url, status));
        }
        serde_json::from_slice(response.body()).map_err(|_| not_oauth(url, status))
    }

    /// Sends a request. Fails for an answer that has a body which is no JSON.
    pub(crate) async fn send(&self, request: HttpRequest) -> Result<HttpResponse, OAuthError> {
        let url = Url::parse(&request.uri().to_string());
        let url = url.map_err(|_| OAuthError::Refused("an address", String::new()))?;
        self.check(&url)?;
        let failed = |cause| match ServerError::of(plain(&url), cause) {
            ServerError::Tls(url, cause) => OAuthError::Tls(url, cause),
            ServerError::Unreachable(url, cause) => OAuthError::Unreachable(url, cause),
            other => OAuthError::Homeserver(other),
        };
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let response = self.http.execute(request).await.map_err(failed)?;
        let status = response.status();
        let headers = response.headers().clone();
        let bytes = server::read(response).await.map_err(failed)?;
        let Some(bytes) = bytes else {
            let what = "it is larger than 1 MB".to_owned();
            return Err(OAuthError::BadAnswer(plain(&url), what));
        };
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(OAuthError::RateLimited);
        }
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok();
        if status.is_redirection() || !(is_json || bytes.is_empty() && status.is_success()) {
            return Err(not_oauth(&url, status));
        }
        let mut answer = Response::new(bytes);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

impl<'c> AsyncHttpClient<'c> for Web {
    type Error = OAuthError;
    type Future = BoxFuture<'c, Result<HttpResponse, OAuthError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

fn not_oauth(url: &Url, status: StatusCode) -> OAuthError {
    OAuthError::NotOAuth(plain(url), status.as_u16())
}

fn no_address(url: &Url) -> OAuthError {
    OAuthError::BadAnswer(plain(url), "it names no address".to_owned())
}

/// Returns an address without what a request adds to it, which may be secret.
fn plain(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url
}
