//! Requests to the homeserver without the SDK, for when its store must stay closed: discovery, login, logout, state of
//! the device. Each is limited in time and size.

use std::process::ExitCode;
use std::time::Duration;

use matrix_sdk::reqwest::header::{HeaderMap, RETRY_AFTER};
use matrix_sdk::reqwest::{self, Method, StatusCode, redirect};
use matrix_sdk::ruma::api::error::RetryAfter;
use matrix_sdk::ruma::{DeviceId, UserId};
use serde_json::{Value, json};
use url::Url;

use super::errors;
use relay_config::{Secret, is_loopback};
use relay_model::{Explained, Timestamp, causes};

pub(super) const USER_AGENT: &str = concat!("relay/", env!("CARGO_PKG_VERSION"));
/// Maximum time for an answer; the SDK adds the sync's own wait.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of an answer in bytes: normal ones are a few kilobytes, and parsing multiplies their size.
const LARGEST_ANSWER: u64 = 1024 * 1024;

/// Why a request failed; with the address, if a request was made.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The text that a person gave is no homeserver's name or address.
    #[error("`{0}` is not a homeserver")]
    BadAddress(String),
    /// Plain HTTP to another machine, which would show the password to others.
    #[error("`{0}` is not encrypted")]
    PlainHttp(Url),
    /// The address that a server names as its homeserver's cannot be used.
    #[error("{0} names a homeserver that cannot be used")]
    Named(Url, #[source] Box<Self>),
    /// What a server name says of its homeserver cannot be read, and there is none under the name itself; the name, what is
    /// wrong, and why the latter is none.
    #[error("what {0}.well-known/matrix/client says of its homeserver is of no use ({1})")]
    WellKnown(Url, String, #[source] Box<Self>),
    /// No connection, or no answer in time.
    #[error("cannot reach the homeserver at {0}")]
    Unreachable(Url, #[source] FirstCause),
    /// The server's certificate is not accepted.
    #[error("no secure connection to {0}")]
    Tls(Url, #[source] FirstCause),
    /// The server does not speak Matrix; with the HTTP status.
    #[error("{0} answers, but it is not a Matrix homeserver (HTTP {1})")]
    NotMatrix(Url, u16),
    /// The homeserver, or a proxy before it, has a problem; with the HTTP status.
    #[error(
        "the homeserver at {0}, or a proxy before it, answered HTTP {1}, without a Matrix error"
    )]
    Failing(Url, u16),
    /// The answer exceeds the size limit.
    #[error(
        "the answer of {0} is larger than 1 MB: that is no homeserver's answer to such a question"
    )]
    TooLarge(Url),
    /// The homeserver limits the rate; with the pause that it asks for.
    #[error("the homeserver limits how often this may be tried")]
    RateLimited(Duration),
    /// The homeserver answered with a Matrix error.
    #[error("the homeserver refuses: {message} ({errcode}, HTTP {status})")]
    Refused {
        /// HTTP status of the answer.
        status: u16,
        /// `errcode` of the answer, as `M_FORBIDDEN`.
        errcode: String,
        /// `error` of the answer: the homeserver's own words.
        message: String,
        /// The whole answer, for details beyond the error code.
        body: Box<Value>,
    },
}

impl ServerError {
    /// Wraps a transport error of a request to this address.
    pub(super) fn of(url: Url, cause: reqwest::Error) -> Self {
        let failed = if is_certificate_problem(&cause) {
            Self::Tls
        } else {
            Self::Unreachable
        };
        failed(url, FirstCause(cause.without_url()))
    }

    /// Returns the Matrix error code, if there is one.
    pub fn errcode(&self) -> Option<&str> {
        match self {
            Self::Refused { errcode, .. } => Some(errcode),
            _ => None,
        }
    }
}

impl Explained for ServerError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Named(_, error) => return error.hint(),
            Self::WellKnown(..) => {
                "give the homeserver's own address, as in `https://matrix.example.org`; whoever runs the website of this name \
                 should correct that file"
            }
            Self::BadAddress(_) => {
                "give its name, as in `example.org`, or its address, as in `https://matrix.example.org`"
            }
            Self::PlainHttp(_) => {
                "use https, or allow it with --allow-http (`matrix.allow_http`) if the network between is yours"
            }
            Self::Unreachable(..) => "check the address and the network, then try again",
            Self::Failing(..) => "try again later: this is for whoever runs that server",
            Self::Tls(..) => {
                "check this machine's clock, and that the certificate fits the name and comes from an authority that \
                 this machine trusts"
            }
            Self::NotMatrix(..) => "give the server's name, or the address that its clients use",
            Self::RateLimited(after) => &format!("try again in {} s", after.as_secs().max(1)),
            Self::TooLarge(_) | Self::Refused { .. } => return None,
        };
        Some(hint.to_owned())
    }

    fn exit(&self) -> ExitCode {
        let is_wrong = matches!(self, Self::BadAddress(_) | Self::PlainHttp(_));
        ExitCode::from(if is_wrong { 2 } else { 1 })
    }
}

/// A homeserver of which only the address is known; requests are made without the SDK.
#[derive(Debug, Clone)]
pub struct Server {
    http: reqwest::Client,
    /// Base address of its API, without `/_matrix`.
    pub base: Url,
    /// Access token sent with requests; `None` before a login.
    token: Option<Secret<String>>,
}

impl Server {
    /// Uses an address as it is. Fails for plain HTTP beyond loopback, unless that is allowed.
    pub(super) fn at(base: Url, allow_http: bool) -> Result<Self, ServerError> {
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(ServerError::BadAddress(base.into()));
        }
        if base.scheme() == "http" && !allow_http && !is_loopback(&base) {
            return Err(ServerError::PlainHttp(base));
        }
        let http = http_client(redirect::Policy::none(), &base)?;
        Ok(Self {
            http,
            base,
            token: None,
        })
    }

    /// Returns the same server, with requests authenticated by this token.
    pub(super) fn with_token(self, token: &str) -> Self {
        let token = Some(Secret::new(token.to_owned()));
        Self { token, ..self }
    }

    /// Finds the homeserver for a server name (through `/.well-known/matrix/client`) or an address, and checks that it
    /// is one.
    pub(super) async fn discover(given: &str, allow_http: bool) -> Result<Self, ServerError> {
        let bad = || ServerError::BadAddress(given.to_owned());
        let given = given.trim();
        if given.contains("://") {
            let url = Url::parse(given).map_err(|_| bad())?;
            let direct = Self::at(url.clone(), allow_http)?.checked().await;
            // The website under this name may fail although the homeserver works.
            if let Err(ServerError::NotMatrix(..) | ServerError::Failing(..)) = direct {
                match well_known(&url, allow_http).await {
                    Named::At(server) => return server.checked().await,
                    Named::Unusable(error) => return Err(error),
                    Named::Nowhere | Named::Broken(_) => {}
                }
            }
            return direct;
        }
        let https = Url::parse(&format!("https://{given}")).map_err(|_| bad())?;
        if https.path() != "/" || https.host().is_none() || given.contains('@') {
            return Err(bad());
        }
        if is_loopback(&https) {
            let http = Url::parse(&format!("http://{given}")).map_err(|_| bad())?;
            return Self::at(http, allow_http)?.checked().await;
        }
        // A port is one of the homeserver, not of the website.
        let mut website = https.clone();
        website.set_port(None).map_err(|()| bad())?;
        Self::of_name(&website, https, allow_http).await
    }

    /// Finds the homeserver that a website names, or else the one at this address of the same name.
    async fn of_name(website: &Url, address: Url, allow_http: bool) -> Result<Self, ServerError> {
        let broken = match well_known(website, allow_http).await {
            Named::At(server) => return server.checked().await,
            Named::Unusable(error) => return Err(error),
            Named::Nowhere => None,
            Named::Broken(what) => Some(what),
        };
        let direct = Self::at(address, allow_http)?.checked().await;
        match (direct, broken) {
            (Err(error), Some(what)) => Err(ServerError::WellKnown(
                website.clone(),
                what,
                Box::new(error),
            )),
            (direct, _) => direct,
        }
    }

    async fn checked(self) -> Result<Self, ServerError> {
        let answer = self.get(&["versions"]).await?;
        if answer["versions"].is_array() {
            Ok(self)
        } else {
            Err(self.not_matrix(StatusCode::OK))
        }
    }

    pub(super) async fn whoami(&self) -> Result<Value, ServerError> {
        self.get(&["v3", "account", "whoami"]).await
    }

    /// Requests the keys of a device and of its owner.
    pub(super) async fn device_keys(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<Value, ServerError> {
        let query = json!({"device_keys": {user.as_str(): [device]}});
        self.post(&["v3", "keys", "query"], &query).await
    }

    pub(super) async fn sign_out(&self) -> Result<(), ServerError> {
        let answer = self.post(&["v3", "logout"], &json!({})).await;
        answer.map(drop)
    }

    pub(super) async fn get(&self, path: &[&str]) -> Result<Value, ServerError> {
        self.ask(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Result<Value, ServerError> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Sends a request below `/_matrix/client` and returns the JSON of the answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Value, ServerError> {
        let path: Vec<&str> = ["client"].iter().chain(path).copied().collect();
        let answered = self.answer(method, &path, None, body).await;
        Ok(answered?.0)
    }

    /// Sends a request below `/_matrix`, with a query, and returns the JSON and the headers of the answer.
    pub(super) async fn answer(
        &self,
        method: Method,
        path: &[&str],
        query: Option<&str>,
        body: Option<&Value>,
    ) -> Result<(Value, HeaderMap), ServerError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("_matrix").extend(path);
        }
        url.set_query(query);
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.reveal());
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answered = async {
            let response = request.send().await?;
            let headers = response.headers().clone();
            Ok((response.status(), headers, read(response).await?))
        };
        let answered = answered.await;
        let (status, headers, bytes) =
            answered.map_err(|cause| ServerError::of(self.base.clone(), cause))?;
        let bytes = bytes.ok_or_else(|| ServerError::TooLarge(self.base.clone()))?;
        if status.is_redirection() {
            return Err(self.not_matrix(status));
        }
        let body: Value = serde_json::from_slice(&bytes).map_err(|_| self.not_matrix(status))?;
        if status.is_success() {
            return Ok((body, headers));
        }
        let text = |key: &str| body[key].as_str().unwrap_or_default();
        let errcode = text("errcode").to_owned();
        if errcode == "M_LIMIT_EXCEEDED" || status == StatusCode::TOO_MANY_REQUESTS {
            let wait = body["retry_after_ms"].as_u64().map(Duration::from_millis);
            let wish = |it| errors::wish(it, Timestamp::now().into());
            let in_body = || wait.map(RetryAfter::Delay).and_then(wish);
            let retry_after = headers.get(RETRY_AFTER);
            let retry_after = retry_after.and_then(|it| RetryAfter::try_from(it).ok());
            let after = retry_after.and_then(wish).or_else(in_body);
            let after = after.unwrap_or(Duration::from_mins(1));
            return Err(ServerError::RateLimited(after));
        }
        // User-interactive authentication starts with a 401 without an error code.
        if errcode.is_empty() && body.get("flows").is_none() {
            return Err(self.not_matrix(status));
        }
        let message = text("error").chars().take(200).collect();
        Err(ServerError::Refused {
            status: status.as_u16(),
            errcode,
            message,
            body: Box::new(body),
        })
    }

    /// Returns the error for an answer that is not from a homeserver.
    pub(super) fn not_matrix(&self, status: StatusCode) -> ServerError {
        let answered = if status.is_server_error() {
            ServerError::Failing
        } else {
            ServerError::NotMatrix
        };
        answered(self.base.clone(), status.as_u16())
    }
}

pub(super) fn http_client(
    redirects: redirect::Policy,
    base: &Url,
) -> Result<reqwest::Client, ServerError> {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(TIMEOUT)
        .redirect(redirects)
        .build()
        .map_err(|cause| ServerError::of(base.clone(), cause))
}

/// Reads an answer; `None`: it exceeds the size limit.
pub(super) async fn read(
    mut response: reqwest::Response,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    if response.content_length() > Some(LARGEST_ANSWER) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if (bytes.len() + chunk.len()) as u64 > LARGEST_ANSWER {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// What a website says of the homeserver of its name: the cases of the specification's client-server discovery.
enum Named {
    /// Nothing (`IGNORE`).
    Nowhere,
    /// It is here.
    At(Server),
    /// An address that cannot be used (`FAIL_ERROR`).
    Unusable(ServerError),
    /// Something that cannot be read; what is wrong (`FAIL_PROMPT`: the name itself is tried).
    Broken(String),
}

/// Asks a website for the homeserver of its name. One that cannot be reached says nothing.
async fn well_known(name: &Url, allow_http: bool) -> Named {
    let mut url = name.clone();
    url.set_path("/.well-known/matrix/client");
    url.set_query(None);
    let answered = async {
        let client = http_client(redirect::Policy::limited(5), name).ok()?;
        let response = client.get(url).send().await.ok()?;
        Some((response.status(), read(response).await.ok()?))
    };
    let Some((status, bytes)) = answered.await else {
        return Named::Nowhere;
    };
    if status == StatusCode::NOT_FOUND {
        return Named::Nowhere;
    }
    if !status.is_success() {
        return Named::Broken(format!("HTTP {}", status.as_u16()));
    }
    let Some(bytes) = bytes else {
        return Named::Broken("it is larger than 1 MB".to_owned());
    };
    let Ok(answer) = serde_json::from_slice::<Value>(&bytes) else {
        return Named::Broken("it is no JSON".to_owned());
    };
    let Some(base) = answer["m.homeserver"]["base_url"].as_str() else {
        return Named::Broken("it has no `m.homeserver` with a `base_url`".to_owned());
    };
    let base = Url::parse(base).map_err(|_| ServerError::BadAddress(base.to_owned()));
    match base.and_then(|base| Server::at(base, allow_http)) {
        Ok(server) => Named::At(server),
        Err(error) => Named::Unusable(ServerError::Named(name.clone(), Box::new(error))),
    }
}

/// Returns the homeserver that a server name's `/.well-known` names, if one answers there.
pub(super) async fn named_by(name: &Url) -> Option<Url> {
    match well_known(name, false).await {
        Named::At(server) => Some(server.checked().await.ok()?.base),
        Named::Nowhere | Named::Unusable(_) | Named::Broken(_) => None,
    }
}

/// The root cause of a failed request: the outer errors only repeat that it failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", first_words(.0))]
pub struct FirstCause(pub(crate) reqwest::Error);

fn first_words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    let first = causes(error).last().map(ToString::to_string);
    first.unwrap_or_default()
}

fn is_certificate_problem(error: &reqwest::Error) -> bool {
    causes(error).skip(1).any(|cause| {
        let text = cause.to_string().to_lowercase();
        let words = ["certificate", "tls", "handshake"];
        words.iter().any(|word| text.contains(word))
    })
}

#[cfg(test)]
pub(super) mod tests;
