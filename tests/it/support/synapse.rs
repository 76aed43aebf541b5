//! Real homeservers, each for many tests, with users of its own for every test. They are Synapse, but for most tests another
//! one can take its place; see CONTRIBUTING.md.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use matrix_sdk::reqwest::{self, Method, Response};
use relay_model::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{MutexGuard, OnceCell};

use super::delay;
use super::keycloak::Keycloak;
use super::login_service::LoginService;
use super::process::{temporary_directory, virtual_environment};
use super::{LIMIT, within};

/// The password of every account.
pub(crate) const PASSWORD: &str = "a password for tests only";

/// Synapse uses one processor: with two of them, half of the tests each, the run waits less.
static SHARED: [OnceCell<Synapse>; 2] = [const { OnceCell::const_new() }; 2];
static TESTS: AtomicUsize = AtomicUsize::new(0);
thread_local! {
    /// Which of them is that of this thread's test.
    static OURS: usize = TESTS.fetch_add(1, Ordering::Relaxed) % SHARED.len();
}
static LIMITED: OnceCell<Synapse> = OnceCell::const_new();
static SHORT_TOKENS: OnceCell<Synapse> = OnceCell::const_new();
static DELEGATED: OnceCell<Synapse> = OnceCell::const_new();
/// Held by the test that uses the login service.
static SERVICE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static SINGLE_SIGN_ON: OnceCell<Synapse> = OnceCell::const_new();
static UNRELIABLE: OnceCell<Synapse> = OnceCell::const_new();
static WITH_PROVIDER: OnceCell<(Keycloak, Synapse)> = OnceCell::const_new();
/// Held by the test that sets faults of the unreliable homeserver.
static TROUBLE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static ACCOUNTS: AtomicU32 = AtomicU32::new(0);

/// URL of a homeserver that most tests use in place of Synapse. Its server name is `localhost`.
const OTHER: &str = "RELAY_TEST_HOMESERVER";
/// What that one asks of those who register (`m.login.registration_token`), if it does not let in everybody.
const REGISTRATION_TOKEN: &str = "RELAY_TEST_REGISTRATION_TOKEN";

/// A homeserver on loopback.
#[derive(Debug)]
pub(crate) struct Synapse {
    url: String,
    /// `None`: another homeserver, which somebody else runs.
    keeper: Option<Keeper>,
    /// The login service to which it has left its logins, or its identity provider.
    service: Option<LoginService>,
    /// Whether it has left its logins to that.
    delegates: bool,
}

/// The program that runs a homeserver until its standard input is closed: when this process ends, in whatever way.
#[derive(Debug)]
struct Keeper {
    _process: Child,
    commands: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

/// The faults of a homeserver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Suspended: keeps its connections, answers nothing.
    Hang,
    /// It answers again.
    Resume,
    /// It ends.
    Stop,
    /// It runs again.
    Start,
    /// Its database is copied, while it runs.
    BackUp,
    /// While it is stopped, the copy takes the place of its database.
    Restore,
}

impl Synapse {
    /// Returns the homeserver of this test, started at first use; other tests use it too.
    pub(crate) async fn shared() -> &'static Self {
        let ours = &SHARED[OURS.with(|ours| *ours)];
        ours.get_or_init(|| async {
            match env::var(OTHER) {
                Ok(url) => Self {
                    url,
                    keeper: None,
                    service: None,
                    delegates: false,
                },
                Err(_) => Self::start(Kind::Plain).await,
            }
        })
        .await
    }

    /// Returns a homeserver with Synapse's default rate limits.
    pub(crate) async fn limited() -> &'static Self {
        LIMITED.get_or_init(|| Self::start(Kind::Limited)).await
    }

    /// Starts a homeserver whose access tokens have to be renewed every three seconds.
    pub(crate) async fn with_short_tokens() -> &'static Self {
        SHORT_TOKENS
            .get_or_init(|| Self::start(Kind::ShortTokens))
            .await
    }

    /// Returns a homeserver that has left its logins to a login service (OAuth 2.0), which one test at a time may change.
    pub(crate) async fn with_login_service() -> (
        &'static Self,
        &'static LoginService,
        MutexGuard<'static, ()>,
    ) {
        let guard = SERVICE.lock().await;
        let synapse = DELEGATED.get_or_init(|| Self::start(Kind::Delegated)).await;
        let service = synapse.service.as_ref().expect("it has one");
        let usual = json!({
            "lifetime": 300, "refuse": {}, "page": null, "interval": 1, "code_lifetime": 600, "issuer": null, "grants": null,
            "user": null, "homeserver": synapse.url,
        });
        service.set(usual).await;
        (synapse, service, guard)
    }

    /// Returns a homeserver with single sign-on at an identity provider.
    pub(crate) async fn with_single_sign_on() -> (&'static Self, &'static LoginService) {
        let synapse = SINGLE_SIGN_ON
            .get_or_init(|| Self::start(Kind::SingleSignOn))
            .await;
        (synapse, synapse.service.as_ref().expect("it has one"))
    }

    /// Returns the login service, where users have no password.
    pub(crate) fn delegates_to(&self) -> Option<&LoginService> {
        self.service.as_ref().filter(|_| self.delegates)
    }

    /// Returns an identity provider, and a homeserver that takes its tokens in the three ways that there are; it takes passwords
    /// as well. Access tokens are as short as in [`Self::with_short_tokens`].
    pub(crate) async fn with_provider() -> &'static (Keycloak, Self) {
        let start = async || {
            let keycloak = Keycloak::start();
            let further = taking_tokens(&keycloak);
            let synapse = Self::start_with(Kind::ShortTokens, &further).await;
            (keycloak, synapse)
        };
        WITH_PROVIDER.get_or_init(start).await
    }

    /// Returns a homeserver whose faults one test at a time may set, while it holds the guard.
    pub(crate) async fn unreliable() -> (&'static Self, MutexGuard<'static, ()>) {
        let guard = TROUBLE.lock().await;
        let synapse = UNRELIABLE.get_or_init(|| Self::start(Kind::Plain)).await;
        // The previous test may have left a fault.
        synapse.does(Trouble::Resume);
        (synapse, guard)
    }

    /// Waits until it answers, after a start.
    pub(crate) async fn answers(&self) {
        let versions = format!("{}/_matrix/client/versions", self.url);
        let answers = async {
            while reqwest::get(&versions).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        within("an answer of the homeserver", answers).await;
    }

    /// Sets or ends a fault; a homeserver that starts takes a while until it [answers](Self::answers).
    pub(crate) fn does(&self, trouble: Trouble) {
        let command = match trouble {
            Trouble::Hang => "hang",
            Trouble::Resume => "resume",
            Trouble::Stop => "stop",
            Trouble::Start => "start",
            Trouble::BackUp => "back_up",
            Trouble::Restore => "restore",
        };
        let keeper = self.keeper.as_ref();
        let commands = &keeper
            .expect("this test needs a Synapse of its own")
            .commands;
        let mut commands = commands.lock().expect("no test has panicked here");
        writeln!(commands.0, "{command}").expect("the homeserver is kept");
        let mut done = String::new();
        commands
            .1
            .read_line(&mut done)
            .expect("the homeserver is kept");
        assert_eq!(done.trim_end(), command);
    }

    /// Returns where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Makes an account whose name begins with `name` and is used by nobody else; returns its localpart.
    pub(crate) async fn register(&self, name: &str) -> String {
        self.register_with(name, PASSWORD).await
    }

    /// Does the same with a password of its own.
    pub(crate) async fn register_with(&self, name: &str, password: &str) -> String {
        let number = ACCOUNTS.fetch_add(1, Ordering::Relaxed);
        if let Some(service) = self.delegates_to() {
            let username = format!("{name}{number}");
            service.account(&username).await;
            return username;
        }
        let username = match self.keeper {
            Some(_) => format!("{name}{number}"),
            // It may have those of an earlier run.
            None => format!("{name}{}-{number}", Timestamp::now()),
        };
        let register = async |auth: Value| {
            let request = json!({
                "username": username, "password": password, "inhibit_login": true, "auth": auth,
            });
            let url = format!("{}/_matrix/client/v3/register", self.url);
            let answer = reqwest::Client::new().post(url).body(request.to_string());
            answer.send().await.expect("the homeserver answers")
        };
        let mut answer = register(json!({"type": "m.login.dummy"})).await;
        if let (401, Ok(token)) = (answer.status().as_u16(), env::var(REGISTRATION_TOKEN)) {
            let session = &body(answer).await["session"];
            let auth =
                json!({"type": "m.login.registration_token", "token": token, "session": session});
            answer = register(auth).await;
        }
        let (status, told) = (answer.status(), body(answer).await);
        assert!(status.is_success(), "cannot register: {told}");
        assert_eq!(told["user_id"], format!("@{username}:localhost"));
        username
    }

    /// Returns an event as the server stores it: not decrypted.
    pub(crate) async fn stored(&self, token: &str, room: &str, event: &str) -> Value {
        let mut url = url::Url::parse(&self.url).expect("the homeserver has a URL");
        url.path_segments_mut()
            .expect("an HTTP URL has segments")
            .extend(["_matrix", "client", "v3", "rooms", room, "event", event]);
        let answer = reqwest::Client::new()
            .get(url)
            .bearer_auth(token)
            .send()
            .await;
        body(answer.expect("the homeserver answers")).await
    }

    /// Returns the application service that can send events with earlier times.
    pub(crate) fn past(&self) -> Past<'_> {
        assert!(self.keeper.is_some(), "this test needs Synapse");
        Past { url: &self.url }
    }

    async fn start(kind: Kind) -> Self {
        Self::start_with(kind, "").await
    }

    /// Starts one with these further lines of configuration.
    async fn start_with(kind: Kind, further: &str) -> Self {
        let environment = virtual_environment();
        let directory = temporary_directory("synapse").keep();
        let port = free_port();
        let service =
            matches!(kind, Kind::Delegated | Kind::SingleSignOn).then(LoginService::start);
        let issuer = service.as_ref().map_or("", LoginService::issuer);
        write_configuration(&directory, port, kind, issuer, further);

        let python = environment.join("bin/python");
        let command = |config: &[&str]| {
            let mut command = Command::new(&python);
            command.args(config).current_dir(&directory);
            command
        };
        let mut keeper = command(&["-c", include_str!("synapse_keeper.py")]);
        // In its own process group: a signal to the group of the tests must not end the process that cleans up.
        std::os::unix::process::CommandExt::process_group(&mut keeper, 0);
        keeper.arg(&directory).arg(&python);
        keeper.args(["-c", include_str!("synapse_program.py")]);
        keeper.args(["--config-path", "homeserver.yaml"]);
        let mut keeper = keeper
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python runs");

        let port = delay::wanted().map_or(port, |delay| delay::before(port, delay));
        let url = format!("http://127.0.0.1:{port}");
        let started = Instant::now();
        while reqwest::get(format!("{url}/_matrix/client/versions"))
            .await
            .is_err()
        {
            if matches!(keeper.try_wait(), Ok(Some(_))) || started.elapsed() > LIMIT {
                drop(keeper.stdin.take());
                let mut output = String::new();
                keeper
                    .stderr
                    .take()
                    .map(|mut pipe| pipe.read_to_string(&mut output));
                panic!("the homeserver did not start: {output}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let input = keeper.stdin.take().expect("its input is a pipe");
        let output = keeper.stdout.take().expect("its output is a pipe");
        let keeper = Keeper {
            _process: keeper,
            commands: Mutex::new((input, BufReader::new(output))),
        };
        Self {
            url,
            keeper: Some(keeper),
            service,
            delegates: kind == Kind::Delegated,
        }
    }
}

async fn body(answer: Response) -> Value {
    let text = answer.text().await.expect("an answer has text");
    serde_json::from_str(&text).expect("an answer is JSON")
}

/// An application service, which sets the timestamps of its events; see `past.yaml`.
#[derive(Debug)]
pub(crate) struct Past<'a> {
    url: &'a str,
}

impl Past<'_> {
    /// User id of the service's only user.
    pub(crate) const USER: &'static str = "@past:localhost";

    /// Accepts its invite to a room.
    pub(crate) async fn joins(&self, room: &str) {
        self.ask(Method::POST, &["join", room], None, &json!({}))
            .await;
    }

    /// Sends a text with a time this many seconds ago.
    pub(crate) async fn says(&self, room: &str, seconds_ago: u64, text: &str) {
        let at = Timestamp::now() - Duration::from_secs(seconds_ago);
        let transaction = format!("{}", ACCOUNTS.fetch_add(1, Ordering::Relaxed));
        let path = ["rooms", room, "send", "m.room.message", &transaction];
        let content = json!({"msgtype": "m.text", "body": text});
        self.ask(Method::PUT, &path, Some(at), &content).await;
    }

    async fn ask(&self, method: Method, path: &[&str], at: Option<Timestamp>, body: &Value) {
        let mut url = url::Url::parse(self.url).expect("the homeserver has a URL");
        url.path_segments_mut()
            .expect("an HTTP URL has segments")
            .extend(["_matrix", "client", "v3"])
            .extend(path);
        if let Some(at) = at {
            url.query_pairs_mut().append_pair("ts", &at.to_string());
        }
        let request = reqwest::Client::new()
            .request(method, url)
            .bearer_auth("a-token-for-tests-only")
            .body(body.to_string());
        let answer = request.send().await.expect("the homeserver answers");
        assert!(answer.status().is_success(), "{:?}", answer.text().await);
    }
}

/// How a homeserver differs from the one of most tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Not at all.
    Plain,
    /// It has Synapse's default limit for events: a burst of 10, then one per 5 seconds.
    Limited,
    /// It has left its logins to a login service.
    Delegated,
    /// People without a password log in at an identity provider.
    SingleSignOn,
    /// An access token is good for three seconds, if it can be renewed: within twelve seconds.
    ShortTokens,
}

fn write_configuration(directory: &Path, port: u16, kind: Kind, issuer: &str, further: &str) {
    let is_kept = |line: &&str| {
        let left_out = match kind {
            Kind::Limited => "rc_message:",
            Kind::Delegated => "enable_registration",
            Kind::Plain | Kind::ShortTokens | Kind::SingleSignOn => return true,
        };
        !line.starts_with(left_out)
    };
    let lines = include_str!("synapse.yaml").lines().filter(is_kept);
    let tokens = match kind {
        Kind::ShortTokens => {
            "refreshable_access_token_lifetime: 3s\nrefresh_token_lifetime: 12s\nnonrefreshable_access_token_lifetime: 1h"
        }
        Kind::Delegated => {
            "password_config: {enabled: false}\nmatrix_authentication_service:\n  {enabled: true, endpoint: 'ISSUER', secret: only-for-tests}"
        }
        Kind::SingleSignOn => {
            "oidc_providers:\n  - {idp_id: standin, idp_name: The Stand-in, issuer: 'ISSUER', client_id: synapse, client_secret: secret, \
             scopes: [profile], skip_verification: true, user_mapping_provider: \
             {config: {localpart_template: '{{ user.preferred_username }}', subject_claim: sub}}}"
        }
        Kind::Plain | Kind::Limited => "",
    };
    let config = lines
        .chain(tokens.lines())
        .collect::<Vec<_>>()
        .join("\n")
        .replace("DIRECTORY", &directory.display().to_string())
        .replace("PORT", &port.to_string())
        .replace("ISSUER", issuer);
    let config = format!("{config}\n{further}");
    let log = format!(
        "version: 1\nhandlers: {{file: {{class: logging.FileHandler, filename: '{}/homeserver.log'}}}}\n\
         root: {{level: WARNING, handlers: [file]}}\n",
        directory.display()
    );
    // A key is 32 random bytes in base64; this server talks to no other, so any will do.
    let key = "ed25519 a_test AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n";
    for (name, content) in [
        ("homeserver.yaml", &*config),
        ("log.yaml", &*log),
        ("signing.key", key),
        ("past.yaml", include_str!("past.yaml")),
    ] {
        fs::write(directory.join(name), content).expect("a temporary file can be written");
    }
}

/// Returns the configuration of a homeserver that takes the tokens of an identity provider: as the guide has it.
fn taking_tokens(keycloak: &Keycloak) -> String {
    let path = keycloak.key();
    let key = fs::read_to_string(&path).expect("the key is there");
    include_str!("tokens.yaml")
        .replace("PUBLIC_KEY", &json!(key).to_string())
        .replace("KEY_FILE", &path.display().to_string())
        .replace("KEYCLOAK", &keycloak.url())
}

/// Returns a free port. (Another program could take it meanwhile: then the run fails with that error.)
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a listener has an address")
        .port()
}
