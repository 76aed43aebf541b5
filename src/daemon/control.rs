//! The control socket: answers `relay status` and `relay doctor`, and does what `relay matrix` asks for; one JSON object per
//! line.
//!
//! Clients may be slow, vanish or send garbage: the size of a request, the time per client and the number of clients are
//! limited. The event loop is not involved.

mod matrix;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt as _, split};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::status::{DatabaseStatus, Health, Status};
use super::trace::{About, Trace, trace};
use super::{
    account_limit::AccountLimit, health::Examined, overview::Overview, runtime_state::RuntimeState,
};
use crate::home::Home;
use relay_config::Config;
use relay_disk::{Connected, Listener};
use relay_matrix::Pulse;
use relay_matrix::hand::{Done, HandError, Operation};
use relay_model::Clock;
use relay_radio::Link;
use relay_store::summary::{Summary, summary};
use relay_store::{Database, StoreError};

/// Maximum number of clients at a time; others wait in the backlog of the socket.
const CLIENTS: usize = 8;
/// Maximum length of a request in bytes.
const LONGEST_REQUEST: usize = 256 * 1024;
/// Timeout for reading a request, and for writing an answer.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);
/// Timeout for an answer of the database, which does messages first.
const DATABASE_LIMIT: Duration = Duration::from_secs(3);
/// How long a summary of the tables is cached, so that frequent requests do not load the database.
const FRESH: Duration = Duration::from_millis(500);
/// Pause after a client could not be accepted (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A request of a client: one JSON line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub(crate) enum ControlRequest {
    Status,
    Doctor,
    Log,
    /// The story of a message.
    Trace {
        /// An event id, a packet id, or a node with a packet id.
        about: About,
    },
    /// Something to be done with the account; the bytes of an upload follow.
    Matrix {
        operation: Operation,
    },
}

/// The answer to a client: one JSON line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ControlAnswer {
    Status(Box<Status>),
    Doctor(Health),
    /// The last lines of the log, oldest first, as JSON.
    Log(Vec<String>),
    Trace(Box<Trace>),
    /// What came of an operation; of one that listens, one line for each thing heard.
    Matrix(Result<Done, HandError>),
    Error(String),
}

/// Answers the control socket, from what is known in memory and a summary of the tables.
pub(super) struct Control {
    pub(super) runtime_state: Arc<RuntimeState>,
    pub(super) database: Database,
    pub(super) config: watch::Receiver<Arc<Config>>,
    pub(super) link: watch::Receiver<Link>,
    pub(super) pulse: Pulse,
    pub(super) limit: AccountLimit,
    pub(super) clock: Clock,
    pub(super) started: Instant,
    /// Returns the last lines of the log.
    pub(super) log: fn() -> Vec<String>,
    /// The cached summary, and when it was read.
    pub(super) last: Mutex<Option<(Instant, Summary)>>,
}

/// Opens the control socket. On failure the daemon runs without one, after a warning.
pub(super) fn open(home: &Home) -> Option<Listener> {
    let opened = Listener::open(home.socket()).inspect_err(|error| {
        warn!(
            path = %home.socket().display(),
            %error,
            "no control socket: `relay status` and `relay doctor` cannot reach this daemon"
        );
    });
    opened.ok()
}

impl Control {
    /// Serves clients until `stop`, then removes the socket.
    pub(super) async fn run(self: Arc<Self>, opened: Option<Listener>, stop: CancellationToken) {
        let Some(mut listener) = opened else {
            return stop.cancelled().await;
        };
        let mut clients = FuturesUnordered::new();
        loop {
            // Each branch is cancel safe: the clients being served are in `clients`.
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = clients.next() => {}
                accepted = listener.accept(), if clients.len() < CLIENTS => {
                    clients.push(self.attend(accepted));
                }
            }
        }
    }

    /// Serves a client until it ends. After a failed `accept` its place stays taken for [`ACCEPT_PAUSE`], against a busy loop.
    async fn attend(&self, accepted: io::Result<Connected>) {
        match accepted {
            Ok(client) => {
                if let Err(error) = self.serve(client).await {
                    debug!(%error, "a client of the control socket is gone");
                }
            }
            Err(error) => {
                debug!(%error, "no client of the control socket can be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    async fn serve(&self, client: Connected) -> io::Result<()> {
        let (reader, mut writer) = split(client);
        let codec = LinesCodec::new_with_max_length(LONGEST_REQUEST - 1);
        let mut lines = FramedRead::new(reader, codec);
        // Ends when the client closes the connection, after an invalid line, or at the timeout.
        while let Ok(Some(line)) = timeout(CLIENT_LIMIT, lines.next()).await {
            let request = line.as_ref().ok().map(|it| serde_json::from_str(it));
            if let Some(Ok(ControlRequest::Matrix { operation })) = request {
                let mut rest = lines.read_buffer_mut().split();
                self.work(operation, &mut rest, lines.get_mut(), &mut writer)
                    .await?;
                lines.read_buffer_mut().unsplit(rest);
                continue;
            }
            let answer = match line {
                Ok(line) => self.answer(&line).await,
                Err(_) => {
                    ControlAnswer::Error("a request is one line of at most 262144 bytes".to_owned())
                }
            };
            let mut text = serde_json::to_vec(&answer)?;
            text.push(b'\n');
            timeout(CLIENT_LIMIT, writer.write_all(&text)).await??;
        }
        Ok(())
    }

    async fn answer(&self, line: &str) -> ControlAnswer {
        match serde_json::from_str(line) {
            Ok(ControlRequest::Status) => ControlAnswer::Status(Box::new(self.status().await)),
            Ok(ControlRequest::Log) => ControlAnswer::Log((self.log)()),
            Ok(ControlRequest::Trace { about }) => self.trace(about).await,
            Ok(ControlRequest::Doctor) => ControlAnswer::Doctor(self.health().await),
            Ok(ControlRequest::Matrix { .. }) => {
                ControlAnswer::Error("not answered here".to_owned())
            }
            Err(error) => ControlAnswer::Error(format!("not a request: {error}")),
        }
    }

    async fn trace(&self, about: About) -> ControlAnswer {
        let read = self
            .database
            .run(move |store| store.read(|tx| trace(tx, &about)));
        match self.asked(read).await {
            Ok(trace) => ControlAnswer::Trace(Box::new(trace)),
            Err(failing) => ControlAnswer::Error(failing.error.unwrap_or_default()),
        }
    }

    /// Returns the configuration that decides now.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.borrow())
    }

    pub(super) async fn status(&self) -> Status {
        let overview = Overview {
            summary: self.summary().await,
            config: &self.config(),
            started: self.started,
            at: Instant::now(),
            facts: self.runtime_state.facts(),
            link: self.link.borrow().clone(),
            heard: self.pulse.heard(),
            complaints: self.limit.complaints(),
            now: self.clock.now(),
        };
        overview.status()
    }

    pub(super) async fn health(&self) -> Health {
        let now = self.clock.now();
        let written = self.asked(self.database.run(move |store| store.probe(now)));
        let examined = Examined {
            written: written.await,
            status: &self.status().await,
            beat: self.runtime_state.facts().beat.elapsed(),
            radio_away: self.config().health.radio_away,
        };
        examined.health()
    }

    async fn summary(&self) -> Result<Summary, DatabaseStatus> {
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, summary)) = &*last()
            && at.elapsed() < FRESH
        {
            return Ok(summary.clone());
        }
        let read = self.database.run(|store| store.read(summary));
        let summary = self.asked(read).await?;
        *last() = Some((Instant::now(), summary.clone()));
        Ok(summary)
    }

    async fn asked<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, DatabaseStatus> {
        let Ok(answer) = timeout(DATABASE_LIMIT, work).await else {
            let error = format!("it did not answer in {} s", DATABASE_LIMIT.as_secs());
            let hint = "look whether the disk is slow, or another program has the database open";
            return Err(DatabaseStatus::failing(error, Some(hint.to_owned())));
        };
        answer.map_err(|error| (&error).into())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    use tokio::net::UnixStream;
    use tokio::task::JoinSet;

    use super::*;
    use relay_config::Connection;
    use relay_radio::LinkState;
    use relay_store::Store;

    struct Bench {
        _directory: TempDir,
        home: Home,
        database: Database,
        stop: CancellationToken,
        tasks: JoinSet<()>,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let home = Home::locate(Some(directory.path()), |_| None).unwrap();
            home.prepare(true).unwrap();
            let (database, _end) = Database::start(Store::in_memory().unwrap()).unwrap();
            let (_, link) = watch::channel(Link {
                state: LinkState::Connecting,
                heard: false,
                since: Instant::now(),
                cause: None,
                hint: None,
                restarts: 0,
            });
            let wire = Connection::Tcp {
                host: "127.0.0.1".to_owned(),
                port: 4403,
            };
            let control = Control {
                runtime_state: Arc::new(RuntimeState::new(std::collections::BTreeMap::new())),
                database: database.clone(),
                config: watch::channel(Arc::new(Config::new(wire, Vec::new()))).1,
                link,
                pulse: Pulse::default(),
                limit: AccountLimit::default(),
                clock: Clock::system(),
                started: Instant::now(),
                log: || vec!["{}".to_owned()],
                last: Mutex::default(),
            };
            let stop = CancellationToken::new();
            let mut tasks = JoinSet::new();
            tasks.spawn(Arc::new(control).run(open(&home), stop.clone()));
            Self {
                _directory: directory,
                home,
                database,
                stop,
                tasks,
            }
        }

        async fn connect(&self) -> BufReader<UnixStream> {
            BufReader::new(UnixStream::connect(self.home.socket()).await.unwrap())
        }
    }

    async fn ask(client: &mut BufReader<UnixStream>, line: &str) -> Option<ControlAnswer> {
        client.get_mut().write_all(line.as_bytes()).await.unwrap();
        answer(client).await
    }

    /// Returns the next answer; `None` if the daemon has closed the connection.
    async fn answer(client: &mut BufReader<UnixStream>) -> Option<ControlAnswer> {
        let mut line = String::new();
        match client.read_line(&mut line).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    #[tokio::test]
    async fn each_request_of_a_client_has_its_answer() {
        let bench = Bench::new();
        let mut client = bench.connect().await;
        for _ in 0..3 {
            let status = ask(&mut client, "{\"request\":\"status\"}\n").await;
            assert!(matches!(status, Some(ControlAnswer::Status(status)) if status.database.ok));
            let health = ask(&mut client, "{\"request\":\"doctor\"}\n").await;
            // There is no session.
            assert!(matches!(health, Some(ControlAnswer::Doctor(health)) if !health.healthy));
            let log = ask(&mut client, "{\"request\":\"log\"}\n").await;
            assert!(matches!(log, Some(ControlAnswer::Log(lines)) if lines == ["{}"]));
        }
    }

    #[tokio::test]
    async fn what_is_no_request_is_told_so_and_the_next_one_is_answered() {
        let bench = Bench::new();
        let mut client = bench.connect().await;
        for wrong in [
            "\n",
            "status\n",
            "{}\n",
            "{\"request\":\"stop\"}\n",
            "\u{FFFD}\n",
        ] {
            let answer = ask(&mut client, wrong).await;
            assert!(matches!(answer, Some(ControlAnswer::Error(_))), "{wrong:?}");
        }
        let status = ask(&mut client, "{\"request\":\"status\"}\n").await;
        assert!(matches!(status, Some(ControlAnswer::Status(_))));
    }

    #[tokio::test]
    async fn a_request_without_end_is_cut_off() {
        let bench = Bench::new();
        let mut client = bench.connect().await;
        let told = ask(&mut client, &"x".repeat(LONGEST_REQUEST)).await;
        assert!(matches!(told, Some(ControlAnswer::Error(_))));
        assert!(answer(&mut client).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_say_nothing_do_not_keep_others_out() {
        let bench = Bench::new();
        let mut silent = Vec::new();
        for _ in 0..3 * CLIENTS {
            silent.push(bench.connect().await);
        }
        let mut client = bench.connect().await;
        let status = ask(&mut client, "{\"request\":\"status\"}\n").await;
        assert!(matches!(status, Some(ControlAnswer::Status(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_hangs_is_told_and_does_not_hang_the_answer() {
        let bench = Bench::new();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let mut stuck = Box::pin(bench.database.run(move |_| {
            // Ends when the other side is dropped.
            assert!(wait.recv().is_err());
            Ok(())
        }));
        assert!(futures_util::poll!(&mut stuck).is_pending());
        let mut client = bench.connect().await;
        let Some(ControlAnswer::Status(status)) =
            ask(&mut client, "{\"request\":\"status\"}\n").await
        else {
            panic!("no status")
        };
        assert!(!status.database.ok && status.database.hint.is_some());
        assert_eq!((status.outbox, status.direct_messages), (None, None));
        drop(go_on);
        stuck.await.unwrap();
    }

    #[tokio::test]
    async fn at_the_end_clients_are_let_go_and_the_socket_is_gone() {
        let mut bench = Bench::new();
        let mut client = bench.connect().await;
        ask(&mut client, "{\"request\":\"status\"}\n")
            .await
            .unwrap();
        bench.stop.cancel();
        bench.tasks.join_next().await.unwrap().unwrap();
        assert!(answer(&mut client).await.is_none());
        assert!(!bench.home.socket().exists());
    }
}
