//! The few requests that go past the SDK, because they must not open its store: finding the homeserver, logging in
//! and out, asking how a device stands. Each has a limit in time and in size.

use std::time::Duration;

use matrix_sdk::reqwest::{self, Method, StatusCode, redirect};
use matrix_sdk::ruma::{DeviceId, UserId};
use serde_json::{Value, json};
use url::Url;

use super::errors;
use relay_config::{Secret, is_loopback};
use relay_model::{Explained, causes};

/// How the relay names itself in requests.
pub(super) const USER_AGENT: &str = concat!("relay/", env!("CARGO_PKG_VERSION"));
const TIMEOUT: Duration = Duration::from_secs(30);
/// No answer is read further: those to such questions take a few kilobytes, and many times their size once they are
/// understood.
const LARGEST_ANSWER: u64 = 1024 * 1024;

/// Why a request failed; with the address where one was asked.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// What was given is no address.
    #[error("`{0}` is not a homeserver")]
    BadAddress(String),
    /// Plain HTTP beyond this machine.
    #[error("`{0}` is not encrypted")]
    PlainHttp(Url),
    /// Nothing answers.
    #[error("cannot reach the homeserver at {0}: {cause}", cause = first_cause(.1))]
    Unreachable(Url, reqwest::Error),
    /// The certificate is not accepted.
    #[error("no secure connection to {0}: {cause}", cause = first_cause(.1))]
    Tls(Url, reqwest::Error),
    /// Something answers that does not speak Matrix, with that HTTP status.
    #[error("{0} answers, but it is not a Matrix homeserver (HTTP {1})")]
    NotMatrix(Url, u16),
    /// The homeserver, or what stands before it, is in trouble, with that HTTP status.
    #[error(
        "the homeserver at {0}, or a proxy before it, answered HTTP {1}, without a Matrix error"
    )]
    Failing(Url, u16),
    /// The answer has no end.
    #[error(
        "the answer of {0} is larger than 1 MB: that is no homeserver's answer to such a question"
    )]
    TooLarge(Url),
    /// The homeserver wants a pause, of that length.
    #[error("the homeserver limits how often this may be tried")]
    RateLimited(Duration),
    /// The homeserver said no.
    #[error("the homeserver refuses: {message} ({errcode}, HTTP {status})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Matrix error code.
        errcode: String,
        /// What it says.
        message: String,
        /// The whole answer, for what a code alone does not tell.
        body: Box<Value>,
    },
}

impl ServerError {
    /// Returns the Matrix error code, if the server gave one.
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
            Self::RateLimited(after) => {
                return Some(format!("try again in {} s", after.as_secs().max(1)));
            }
            Self::TooLarge(_) | Self::Refused { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

/// A homeserver, by its address.
#[derive(Debug, Clone)]
pub struct Server {
    http: reqwest::Client,
    /// Where its API stands.
    pub base: Url,
    /// What proves whose device asks; none before a login.
    token: Option<Secret<String>>,
}

impl Server {
    /// Takes an address as it is, unless it is plain HTTP beyond loopback and that is not allowed.
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

    /// Returns the same, to be asked by the device of that token.
    pub(super) fn with_token(self, token: &str) -> Self {
        let token = Some(Secret::new(token.to_owned()));
        Self { token, ..self }
    }

    /// Finds the homeserver for a server name (through `/.well-known/matrix/client`) or an address, and makes sure
    /// that it is one.
    pub(super) async fn discover(given: &str, allow_http: bool) -> Result<Self, ServerError> {
        let bad = || ServerError::BadAddress(given.to_owned());
        let given = given.trim();
        if given.contains("://") {
            let url = Url::parse(given).map_err(|_| bad())?;
            let direct = Self::checked(url.clone(), allow_http).await;
            // A website may fail before a homeserver that is well elsewhere.
            if let Err(ServerError::NotMatrix(..) | ServerError::Failing(..)) = direct
                && let Some(base) = well_known(&url).await
            {
                return Self::checked(base, allow_http).await;
            }
            return direct;
        }
        let https = Url::parse(&format!("https://{given}")).map_err(|_| bad())?;
        if https.path() != "/" || https.host().is_none() || given.contains('@') {
            return Err(bad());
        }
        let base = if is_loopback(&https) {
            Url::parse(&format!("http://{given}")).map_err(|_| bad())?
        } else {
            well_known(&https).await.unwrap_or(https)
        };
        Self::checked(base, allow_http).await
    }

    async fn checked(base: Url, allow_http: bool) -> Result<Self, ServerError> {
        let server = Self::at(base, allow_http)?;
        let answer = server.get(&["versions"]).await?;
        if answer["versions"].is_array() {
            Ok(server)
        } else {
            Err(server.not_matrix(StatusCode::OK))
        }
    }

    /// Asks whose token it is.
    pub(super) async fn whoami(&self) -> Result<Value, ServerError> {
        self.get(&["v3", "account", "whoami"]).await
    }

    /// Asks for the keys of a device, and with them for those of its owner.
    pub(super) async fn device_keys(
        &self,
        user: &UserId,
        device: &DeviceId,
    ) -> Result<Value, ServerError> {
        let query = json!({"device_keys": {user.as_str(): [device]}});
        self.post(&["v3", "keys", "query"], &query).await
    }

    /// Ends the session of the token.
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

    /// Sends a request below `/_matrix/client` and returns the JSON of its answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<Value, ServerError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            let segments = segments.pop_if_empty();
            segments.extend(["_matrix", "client"]).extend(path);
        }
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
            let retry_after = response.headers().get("retry-after");
            let retry_after = retry_after
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map(Duration::from_secs);
            Ok((response.status(), retry_after, read(response).await?))
        };
        let (status, retry_after, bytes) = answered.await.map_err(|cause| {
            let url = self.base.clone();
            if is_certificate_problem(&cause) {
                ServerError::Tls(url, cause)
            } else {
                ServerError::Unreachable(url, cause)
            }
        })?;
        let bytes = bytes.ok_or_else(|| ServerError::TooLarge(self.base.clone()))?;
        if status.is_redirection() {
            return Err(self.not_matrix(status));
        }
        let body: Value = serde_json::from_slice(&bytes).map_err(|_| self.not_matrix(status))?;
        if status.is_success() {
            return Ok(body);
        }
        let text = |key: &str| body[key].as_str().unwrap_or_default();
        let errcode = text("errcode").to_owned();
        if errcode == "M_LIMIT_EXCEEDED" || status == StatusCode::TOO_MANY_REQUESTS {
            let wait = body["retry_after_ms"].as_u64().map(Duration::from_millis);
            let after = retry_after.or(wait).and_then(errors::bounded);
            let after = after.unwrap_or(Duration::from_mins(1));
            return Err(ServerError::RateLimited(after));
        }
        // The first half of user-interactive authentication is a 401 without an error code.
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

    /// Returns that something else than a homeserver has answered.
    pub(super) fn not_matrix(&self, status: StatusCode) -> ServerError {
        let answered = if status.is_server_error() {
            ServerError::Failing
        } else {
            ServerError::NotMatrix
        };
        answered(self.base.clone(), status.as_u16())
    }
}

fn http_client(redirects: redirect::Policy, base: &Url) -> Result<reqwest::Client, ServerError> {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(TIMEOUT)
        .redirect(redirects)
        .build()
        .map_err(|cause| ServerError::Unreachable(base.clone(), cause))
}

/// Reads an answer; `None`: it is too large.
async fn read(mut response: reqwest::Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
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

/// Asks a server's name for the address of its homeserver. Whatever goes wrong: there is none.
async fn well_known(name: &Url) -> Option<Url> {
    let mut url = name.clone();
    url.set_path("/.well-known/matrix/client");
    url.set_query(None);
    let client = http_client(redirect::Policy::limited(5), name).ok()?;
    let response = client.get(url).send().await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let bytes = read(response).await.ok()??;
    let answer: Value = serde_json::from_slice(&bytes).ok()?;
    Url::parse(answer["m.homeserver"]["base_url"].as_str()?).ok()
}

/// Returns what began it: the layers above only repeat that a request failed, and to which address.
fn first_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    let first = causes(error).last().map(ToString::to_string);
    errors::without_url(&first.unwrap_or_default())
}

fn is_certificate_problem(error: &reqwest::Error) -> bool {
    causes(error).skip(1).any(|cause| {
        let text = cause.to_string().to_lowercase();
        let words = ["certificate", "tls", "handshake"];
        words.iter().any(|word| text.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers `count` requests alike and returns the address.
    fn serve(count: usize, head: &'static str, body: &str) -> Url {
        answer(vec![(head, body.to_owned()); count])
    }

    /// Starts a server that gives these answers, one for each request.
    fn answer(answers: Vec<(&'static str, String)>) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for (head, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 4096];
                assert!(stream.read(&mut request).unwrap() > 0);
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                )
                .unwrap();
            }
        });
        Url::parse(&format!("http://127.0.0.1:{port}")).unwrap()
    }

    #[tokio::test]
    async fn plain_http_is_for_loopback_unless_allowed() {
        let beyond = Url::parse("http://matrix.example.org").unwrap();
        let refused = Server::at(beyond.clone(), false).unwrap_err();
        assert!(refused.hint().unwrap().contains("--allow-http"));
        assert!(Server::at(beyond, true).is_ok());
        for here in ["http://127.0.0.1:8008", "http://[::1]", "http://localhost"] {
            assert!(
                Server::at(Url::parse(here).unwrap(), false).is_ok(),
                "{here}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_address_is_said_to_be_none() {
        for wrong in [
            "",
            "@bot:example.org",
            "exa mple",
            "ftp://example.org",
            "a/b",
        ] {
            let error = Server::discover(wrong, false).await.unwrap_err();
            assert!(
                matches!(error, ServerError::BadAddress(_)),
                "{wrong}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_web_server_is_not_taken_for_a_homeserver() {
        let url = serve(2, "200 OK", "<html>");
        let error = Server::discover(url.as_str(), false).await.unwrap_err();
        assert!(matches!(error, ServerError::NotMatrix(_, 200)), "{error}");
    }

    #[tokio::test]
    async fn a_proxy_whose_homeserver_is_down_is_not_called_another_kind_of_server() {
        let url = serve(2, "502 Bad Gateway", "<html>");
        let error = Server::discover(url.as_str(), false).await.unwrap_err();
        assert!(matches!(error, ServerError::Failing(_, 502)), "{error}");
    }

    #[tokio::test]
    async fn a_website_that_fails_may_still_tell_where_its_homeserver_is() {
        for head in ["404 Not Found", "502 Bad Gateway"] {
            let homeserver = serve(1, "200 OK", r#"{"versions": ["v1.1"]}"#);
            let told = json!({"m.homeserver": {"base_url": homeserver}}).to_string();
            let url = answer(vec![(head, "<html>".to_owned()), ("200 OK", told)]);
            let found = Server::discover(url.as_str(), false).await.unwrap();
            assert_eq!(found.base, homeserver);
        }
    }

    #[tokio::test]
    async fn an_answer_that_would_take_much_memory_is_not_read() {
        let zeros = "[0],".repeat(300_000);
        let url = serve(1, "200 OK", &format!(r#"{{"versions":[{zeros}[0]]}}"#));
        let error = Server::discover(url.as_str(), false).await.unwrap_err();
        assert!(matches!(error, ServerError::TooLarge(_)), "{error}");
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Server::discover(&address, false).await.unwrap_err();
        assert!(matches!(error, ServerError::Unreachable(..)), "{error}");
        assert_eq!(
            relay_model::told(&error),
            format!(
                "cannot reach the homeserver at http://{address}/: Connection refused (os error {}); check the address \
                 and the network, then try again",
                rustix::io::Errno::CONNREFUSED.raw_os_error()
            )
        );
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_is_told_once_and_without_the_layers_of_a_request() {
        // Longer than a part of a name may be: no name service is asked.
        let name = "x".repeat(64);
        let error = Server::discover(&name, false).await.unwrap_err();
        let told = relay_model::Chain(&error).to_string();
        assert_eq!(told.matches(&name).count(), 1, "{told}");
        let cause = told.strip_prefix(&format!("cannot reach the homeserver at https://{name}/: "));
        let cause = cause.unwrap_or_else(|| panic!("{told}"));
        for layer in ["request", "client error", "dns error"] {
            assert!(!cause.contains(layer), "{told}");
        }
    }

    #[tokio::test]
    async fn a_server_without_encryption_where_some_is_expected_is_told_so_briefly() {
        let url = serve(1, "200 OK", "{}");
        let given = format!("https://127.0.0.1:{}", url.port().unwrap());
        let error = Server::discover(&given, false).await.unwrap_err();
        let told = relay_model::Chain(&error).to_string();
        assert_eq!(told.matches("127.0.0.1").count(), 1, "{told}");
        assert!(!told.contains("request"), "{told}");
    }

    #[tokio::test]
    async fn the_servers_wish_for_a_pause_is_told() {
        let url = serve(
            1,
            "429 Slow
retry-after: 7",
            r#"{"errcode":"M_LIMIT_EXCEEDED","error":""}"#,
        );
        let server = Server::at(url, false).unwrap();
        let error = server.get(&["v3", "login"]).await.unwrap_err();
        assert_eq!(
            relay_model::told(&error),
            "the homeserver limits how often this may be tried; try again in 7 s"
        );
    }

    #[tokio::test]
    async fn a_name_on_loopback_needs_no_scheme() {
        let url = serve(1, "200 OK", r#"{"versions":["v1.1"]}"#);
        let name = format!("127.0.0.1:{}", url.port().unwrap());
        let server = Server::discover(&name, false).await.unwrap();
        assert_eq!(server.base, url);
    }
}
