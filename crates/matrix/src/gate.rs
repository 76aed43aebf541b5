//! The gate: a local socket through which the SDK's requests pass, and which cuts off answers that are too large. The
//! SDK reads bodies whole and has no size limit, so its connections go through this socket, which counts the received
//! bytes (docs/decisions/0021). It does not decrypt them.
#![expect(
    clippy::disallowed_methods,
    reason = "what is started here ends with the set that holds it"
)]

#[cfg_attr(windows, path = "gate/way_windows.rs")]
mod way;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use matrix_sdk::reqwest::{self, redirect, tls};
use matrix_sdk::ruma::exports::http::Uri;
use tokio::io::{copy, split};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::io::InspectReader;
use url::Url;

use super::{server::USER_AGENT, task::named};
use relay_disk::{Connected, Listener, SocketName};

/// Maximum size of an answer of the homeserver to the SDK, in bytes.
const LARGEST_ANSWER: u64 = 64 * 1024 * 1024;
/// Minimum size of a request; smaller writes are the connection's own upkeep.
const SHORTEST_REQUEST: usize = 64;
/// Maximum time to connect to each of a server's addresses but the last: some may be of a network that is not available
/// here.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The gate; open as long as this value lives.
pub(super) struct Gate {
    _serving: JoinSet<Option<()>>,
    /// What the client finds the socket by.
    _name: SocketName,
}

/// State of the path to the server.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// An answer was cut off.
    pub(super) cut: AtomicBool,
    /// Why the server cannot be reached; `None`: it can.
    pub(super) trouble: watch::Sender<Option<String>>,
}

impl Notes {
    /// Returns whether an answer was cut off since the last call.
    pub(super) fn take_cut(&self) -> bool {
        self.cut.swap(false, Ordering::SeqCst)
    }
}

impl Gate {
    /// Opens a gate to a server, with a socket in `directory`, and returns the HTTP client that uses it.
    pub(super) fn open(
        server: &Url,
        directory: &Path,
        notes: &Arc<Notes>,
    ) -> io::Result<(Self, reqwest::Client)> {
        let path = way::socket(directory);
        let name = SocketName::of(&path)?;
        // The SDK's own default.
        let client = way::through(reqwest::Client::builder(), name.name())
            .user_agent(USER_AGENT)
            .tls_version_min(tls::Version::TLS_1_2)
            // A compressed answer can be a thousand times larger than its bytes on the wire.
            .no_gzip()
            // HTTP/1 carries one answer at a time, so the start of each answer is known.
            .http1_only()
            .redirect(redirect::Policy::none())
            .build()
            .map_err(io::Error::other)?;
        let listener = Listener::open(path)?;
        let mut serving = JoinSet::new();
        let work = accept(listener, server.clone(), Arc::clone(notes));
        serving.spawn(named("requests to the homeserver", work));
        let gate = Self {
            _serving: serving,
            _name: name,
        };
        Ok((gate, client))
    }
}

/// Returns whether requests to a server go through one of the environment's proxies, as with the SDK's own client.
pub(super) fn is_proxied(proxies: &Matcher, server: &Url) -> bool {
    let uri: Option<Uri> = server.as_str().parse().ok();
    uri.is_some_and(|uri| proxies.intercept(&uri).is_some())
}

async fn accept(mut listener: Listener, server: Url, notes: Arc<Notes>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok(connection) => {
                let work = carry(connection, server.clone(), Arc::clone(&notes));
                connections.spawn(named("connection to the homeserver", work));
            }
            // Possibly too many open files; the client retries.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Forwards the bytes of one connection both ways, until either side closes it or an answer is too large.
async fn carry(inside: Connected, server: Url, notes: Arc<Notes>) {
    let connected = connect(&server).await;
    let trouble = connected.as_ref().err();
    let trouble = trouble.map(|error| format!("cannot connect to {server}: {error}"));
    notes.trouble.send_replace(trouble);
    let Ok(mut outside) = connected else {
        return;
    };
    let (from_client, mut to_client) = split(inside);
    let (from_server, mut to_server) = outside.split();
    let (answer, cut) = (AtomicU64::new(0), Notify::new());
    let mut requests = InspectReader::new(from_client, |bytes: &[u8]| {
        if bytes.len() >= SHORTEST_REQUEST {
            answer.store(0, Ordering::Relaxed);
        }
    });
    let mut answers = InspectReader::new(from_server, |bytes: &[u8]| {
        let length = bytes.len() as u64;
        if answer.fetch_add(length, Ordering::Relaxed) + length > LARGEST_ANSWER {
            notes.cut.store(true, Ordering::SeqCst);
            cut.notify_one();
        }
    });
    tokio::select! {
        biased;
        () = cut.notified() => {}
        _ = copy(&mut requests, &mut to_server) => {}
        _ = copy(&mut answers, &mut to_client) => {}
    }
}

async fn connect(server: &Url) -> io::Result<TcpStream> {
    let port = server.port_or_known_default().unwrap_or(443);
    // An IPv6 address has brackets in a URL.
    let host = server.host_str().unwrap_or_default();
    let host = host.trim_matches(['[', ']']);
    let mut addresses = lookup_host((host, port)).await?.peekable();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    while let Some(address) = addresses.next() {
        let others = addresses.peek().map(|_| CONNECT_LIMIT);
        let attempt = timeout(others.unwrap_or(Duration::MAX), TcpStream::connect(address));
        match attempt.await {
            Ok(Ok(stream)) => {
                // Sends small requests at once, as the SDK's own client does.
                stream.set_nodelay(true).ok();
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(late) => last = late.into(),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers the requests of each connection with bodies of these lengths.
    async fn serve(lengths: &'static [u64]) -> (Url, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = vec![0; 4096];
                for length in lengths {
                    if !matches!(connection.read(&mut request).await, Ok(1..)) {
                        break;
                    }
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    connection.write_all(head.as_bytes()).await.ok();
                    let piece = vec![b'a'; 64 * 1024];
                    let mut left = *length;
                    while left > 0 {
                        let next = usize::try_from(left).unwrap().min(piece.len());
                        if connection.write_all(&piece[..next]).await.is_err() {
                            break;
                        }
                        left -= next as u64;
                    }
                }
            }
        });
        (Url::parse(&url).unwrap(), serving)
    }

    #[tokio::test]
    async fn an_answer_has_a_bound_and_a_connection_has_none() {
        let large = LARGEST_ANSWER * 2 / 3;
        let lengths: &'static [u64] = Box::leak(Box::new([5, large, large, LARGEST_ANSWER + 1]));
        let (url, _serving) = serve(lengths).await;
        let home = tempfile::tempdir().unwrap();
        let notes = Arc::default();
        let (_gate, client) = Gate::open(&url, home.path(), &notes).unwrap();
        for length in &lengths[..3] {
            let mut answer = client.get(url.clone()).send().await.unwrap();
            let mut read = 0;
            while let Some(chunk) = answer.chunk().await.unwrap() {
                read += chunk.len() as u64;
            }
            assert_eq!(read, *length);
            assert!(!notes.take_cut());
        }
        let mut answer = client.get(url).send().await.unwrap();
        while let Ok(Some(_)) = answer.chunk().await {}
        assert!(notes.take_cut());
        assert!(!notes.take_cut());
    }

    #[test]
    fn only_a_proxy_for_this_server_takes_its_requests() {
        let proxy = "http://proxy.example.org:3128";
        let is_proxied = |proxies: Matcher| {
            ["https://matrix.example.org/", "http://127.0.0.1:8008/"].map(|server| {
                let server = Url::parse(server).unwrap();
                is_proxied(&proxies, &server)
            })
        };
        let none = Matcher::builder().build();
        assert_eq!(is_proxied(none), [false, false]);
        let all = Matcher::builder().all(proxy).build();
        assert_eq!(is_proxied(all), [true, true]);
        let https = Matcher::builder().https(proxy).build();
        assert_eq!(is_proxied(https), [true, false]);
        let http = Matcher::builder().http(proxy).build();
        assert_eq!(is_proxied(http), [false, true]);
        let others = Matcher::builder()
            .all(proxy)
            .no("127.0.0.0/8, .example.org");
        assert_eq!(is_proxied(others.build()), [false, false]);
    }

    #[tokio::test]
    async fn why_nobody_answers_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        let home = tempfile::tempdir().unwrap();
        let notes: Arc<Notes> = Arc::default();
        let (_gate, client) = Gate::open(&url, home.path(), &notes).unwrap();
        client.get(url).send().await.unwrap_err();
        let trouble = notes.trouble.borrow().clone().unwrap();
        assert!(trouble.contains("refused"), "{trouble}");
    }
}
