//! A proxy between the relay and the homeserver that can hold back to-device messages (the keys of messages), shift the
//! homeserver's clock, and give canned answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use matrix_sdk::reqwest::header::{DATE, HeaderMap};
use matrix_sdk::reqwest::{self, Method, Response};
use matrix_sdk::ruma::OwnedRoomId;
use matrix_sdk::ruma::http_headers::{http_date_to_system_time, system_time_to_http_date};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::LIMIT;
use super::canned::{Canned, Counter};

/// Longer than a long poll of the relay.
const PATIENCE: Duration = Duration::from_mins(2);

/// A proxy on loopback; ends on drop.
#[derive(Debug)]
pub(crate) struct Proxy {
    url: String,
    shared: Arc<Shared>,
    held: watch::Receiver<usize>,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    client: reqwest::Client,
    keys: Mutex<Keys>,
    held: watch::Sender<usize>,
    /// Number of history pages served before one fails; negative: none fails.
    pages: AtomicI32,
    /// Seconds by which the homeserver's clock is shown ahead of ours.
    ahead: AtomicI64,
    /// Seconds by which the clock of the proxy, which dates answers, is ahead of the homeserver's.
    dates_ahead: AtomicI64,
    /// Answers have no `Date` header.
    without_date: AtomicBool,
    /// Prefix of the id of the room whose history is refused.
    silent: Mutex<Option<String>>,
    counter: Counter,
}

/// To-device messages for the relay.
#[derive(Debug, Default)]
struct Keys {
    hold: bool,
    held: Vec<Value>,
}

impl Proxy {
    /// Starts a proxy in front of this homeserver.
    pub(crate) async fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let (count, held) = watch::channel(0);
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            client: reqwest::Client::builder()
                .timeout(PATIENCE)
                .build()
                .expect("a client can be made"),
            keys: Mutex::default(),
            held: count,
            pages: AtomicI32::new(-1),
            ahead: AtomicI64::new(0),
            dates_ahead: AtomicI64::new(0),
            without_date: AtomicBool::new(false),
            silent: Mutex::default(),
            counter: Counter::default(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, Arc::clone(&shared)));
        Self {
            url: format!("http://{address}"),
            shared,
            held,
            _serving: serving,
        }
    }

    /// Returns where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Holds back all to-device messages for the relay from now on.
    pub(crate) async fn hold_keys(&self) {
        self.shared.keys.lock().await.hold = true;
    }

    /// Waits until a message is held back.
    pub(crate) async fn holds_some(&self) {
        let mut held = self.held.clone();
        let some = held.wait_for(|held| *held > 0);
        let waited = tokio::time::timeout(LIMIT, some).await;
        assert!(
            matches!(waited, Ok(Ok(_))),
            "no key went by that could be held back"
        );
    }

    /// Shows the homeserver's clock this many seconds ahead of ours.
    pub(crate) fn set_clock_ahead(&self, seconds: i64) {
        self.shared.ahead.store(seconds, Ordering::SeqCst);
    }

    /// Dates answers by a clock this many seconds ahead of the homeserver's.
    pub(crate) fn set_dates_ahead(&self, seconds: i64) {
        self.shared.dates_ahead.store(seconds, Ordering::SeqCst);
    }

    /// Removes or keeps the `Date` header of answers from now on.
    pub(crate) fn strip_dates(&self, strip: bool) {
        self.shared.without_date.store(strip, Ordering::SeqCst);
    }

    /// Makes one page of history fail, after this many others.
    pub(crate) fn fail_a_page_after(&self, pages: i32) {
        self.shared.pages.store(pages, Ordering::SeqCst);
    }

    /// Returns whether that page has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.pages.load(Ordering::SeqCst) < 0
    }

    /// Refuses this room's history from now on; `None`: serves all rooms again.
    pub(crate) async fn fail_pages_of(&self, room: Option<&OwnedRoomId>) {
        let opaque = room.map(|room| {
            let id = room.as_str().trim_start_matches('!');
            id.split(':').next().unwrap_or(id).to_owned()
        });
        *self.shared.silent.lock().await = opaque;
    }

    /// Gives these canned answers from now on.
    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = Canned>) {
        self.shared.counter.set(answers.into_iter().collect());
    }

    /// Returns the times of the requests so far whose line contains `what`.
    pub(crate) fn asked(&self, what: &str) -> Vec<Instant> {
        let book = self.shared.counter.book();
        let asked = book.borrow();
        let asked = asked.iter().filter(|(_, line)| line.contains(what));
        asked.map(|(at, _)| *at).collect()
    }

    /// Waits for this number of requests whose lines contain `what`.
    pub(crate) async fn is_asked(&self, what: &str, times: usize) {
        let mut book = self.shared.counter.book();
        let asked = book.wait_for(|asked| {
            let asked = asked.iter().filter(|(_, line)| line.contains(what));
            asked.count() >= times
        });
        let waited = tokio::time::timeout(LIMIT, asked).await;
        assert!(
            matches!(waited, Ok(Ok(_))),
            "{what} is not asked for {times} times"
        );
    }

    /// Delivers the held messages with the next answer that has news.
    pub(crate) async fn give_keys(&self) {
        self.shared.keys.lock().await.hold = false;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        connections.spawn(serve(connection, Arc::clone(&shared)));
    }
}

/// Serves a connection, request by request, until its client closes it.
async fn serve(connection: TcpStream, shared: Arc<Shared>) {
    let mut connection = BufReader::new(connection);
    while let Some(request) = Request::read(&mut connection).await {
        let since = request.since();
        let line = request.line();
        if let Some(answer) = shared.counter.asked_for(&line) {
            if answer.write(&mut connection).await.is_err() {
                return;
            }
            continue;
        }
        let is_sync = request.target.starts_with("/_matrix/client/v3/sync");
        if request.target.contains("/messages?") && shared.fails(&request.target).await {
            let answer = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
            if connection.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        let Ok(answer) = request.forward(&shared).await else {
            return;
        };
        // A long poll may have begun before the hold.
        if let Some(answer) = shared.counter.answer_to(&line) {
            if answer.write(&mut connection).await.is_err() {
                return;
            }
            continue;
        }
        let status = answer.status().as_u16();
        let date = shared.sent(answer.headers());
        let Ok(mut body) = answer.bytes().await.map(|bytes| bytes.to_vec()) else {
            return;
        };
        if is_sync && status == 200 {
            body = shared.sift(&body, since.as_deref()).await;
        }
        body = shared.date(body);
        let head = format!(
            "HTTP/1.1 {status} Status\r\n{}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            date.unwrap_or_default(),
            body.len()
        );
        let written = async {
            connection.write_all(head.as_bytes()).await?;
            connection.write_all(&body).await?;
            connection.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
}

struct Request {
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    async fn read(connection: &mut BufReader<TcpStream>) -> Option<Self> {
        let line = line(connection).await?;
        let mut words = line.split(' ');
        let method = words.next()?.parse().ok()?;
        let target = words.next()?.to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self::line(connection).await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length: usize = match length {
            Some((_, length)) => length.parse().ok()?,
            None => 0,
        };
        let mut body = vec![0; length];
        connection.read_exact(&mut body).await.ok()?;
        Some(Self {
            method,
            target,
            headers,
            body,
        })
    }

    /// Returns method, target and token.
    fn line(&self) -> String {
        let token = self
            .headers
            .iter()
            .find(|(name, _)| name == "authorization");
        let token = token.map_or("", |(_, token)| token);
        format!("{} {} {token}", self.method, self.target)
    }

    fn since(&self) -> Option<String> {
        let url = url::Url::parse("http://127.0.0.1")
            .and_then(|base| base.join(&self.target))
            .ok()?;
        let since = url.query_pairs().find(|(name, _)| name == "since")?;
        Some(since.1.into_owned())
    }

    async fn forward(self, shared: &Shared) -> reqwest::Result<Response> {
        let url = format!("{}{}", shared.upstream, self.target);
        let mut request = shared.client.request(self.method, url).body(self.body);
        for (name, value) in self.headers {
            if ["authorization", "content-type"].contains(&name.as_str()) {
                request = request.header(name, value);
            }
        }
        request.send().await
    }
}

async fn line(connection: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    match connection.read_line(&mut line).await {
        Ok(1..) => Some(line.trim_end().to_owned()),
        Ok(0) | Err(_) => None,
    }
}

/// Shifts the times of all events in an answer.
fn date_events(answer: &mut Value, by: i64) {
    match answer {
        Value::Array(values) => values.iter_mut().for_each(|it| date_events(it, by)),
        Value::Object(entries) => {
            for (name, value) in entries {
                match value.as_i64() {
                    Some(time) if name == "origin_server_ts" => *value = (time + by).into(),
                    Some(_) | None => date_events(value, by),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Shared {
    /// Returns whether this page of history is to fail.
    async fn fails(&self, target: &str) -> bool {
        let silent = self.silent.lock().await;
        let is_silent = silent.as_ref().is_some_and(|room| target.contains(room));
        is_silent
            || self.pages.load(Ordering::SeqCst) >= 0
                && self.pages.fetch_sub(1, Ordering::SeqCst) == 0
    }

    /// Returns the `Date` header by the proxy's clock.
    fn sent(&self, headers: &HeaderMap) -> Option<String> {
        let date = http_date_to_system_time(headers.get(DATE)?).expect("Synapse sends a date");
        let ahead = self.ahead.load(Ordering::SeqCst) + self.dates_ahead.load(Ordering::SeqCst);
        let shift = Duration::from_secs(ahead.unsigned_abs());
        let date = if ahead < 0 {
            date - shift
        } else {
            date + shift
        };
        let date = system_time_to_http_date(&date).expect("the time can be written");
        let date = date.to_str().expect("a date is text");
        let strip = self.without_date.load(Ordering::SeqCst);
        (!strip).then(|| format!("date: {date}\r\n"))
    }

    /// Shifts the times of events to the shown clock of the homeserver.
    fn date(&self, answer: Vec<u8>) -> Vec<u8> {
        let ahead = self.ahead.load(Ordering::SeqCst);
        match serde_json::from_slice(&answer) {
            Ok(mut answer) if ahead != 0 => {
                date_events(&mut answer, ahead * 1000);
                answer.to_string().into_bytes()
            }
            Ok(_) | Err(_) => answer,
        }
    }

    /// Removes the to-device messages from a sync answer, or adds the held ones.
    async fn sift(&self, answer: &[u8], since: Option<&str>) -> Vec<u8> {
        let mut answer: Value = serde_json::from_slice(answer).expect("an answer is JSON");
        let mut keys = self.keys.lock().await;
        // The SDK skips an answer with the same token as the last.
        let is_news = answer["next_batch"].as_str() != since;
        let mut events = match answer["to_device"]["events"].take() {
            Value::Array(events) => events,
            _ => Vec::new(),
        };
        if keys.hold {
            keys.held.append(&mut events);
            self.held.send_replace(keys.held.len());
        } else if is_news {
            events.splice(0..0, keys.held.drain(..));
        }
        answer["to_device"] = serde_json::json!({"events": events});
        answer.to_string().into_bytes()
    }
}
