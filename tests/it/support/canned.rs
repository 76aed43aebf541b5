//! Canned answers of the proxy in place of the homeserver's, and a record of all requests.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

/// An answer to every request whose line (`GET /_matrix/… Bearer TOKEN`) contains a text.
#[derive(Debug, Clone)]
pub(crate) struct Canned {
    to: String,
    status: u16,
    /// Header lines.
    headers: String,
    body: String,
    /// Number of padding bytes, inserted before the last character of the body.
    padding: u64,
    /// The end of the connection marks the end of the body.
    until_closed: bool,
}

impl Canned {
    /// Makes an answer with a JSON body to such requests.
    pub(crate) fn to(to: impl Into<String>, status: u16, body: &Value) -> Self {
        Self {
            to: to.into(),
            status,
            headers: String::new(),
            body: body.to_string(),
            padding: 0,
            until_closed: false,
        }
    }

    /// Adds a header line.
    pub(crate) fn header(mut self, line: &str) -> Self {
        self.headers.push_str(line);
        self.headers.push_str("\r\n");
        self
    }

    /// Pads the body by `bytes`, with a JSON field of letters.
    pub(crate) fn padded(mut self, bytes: u64) -> Self {
        self.padding = bytes;
        self
    }

    /// Marks the end of the body only by the end of the connection.
    pub(crate) fn until_closed(mut self) -> Self {
        self.until_closed = true;
        self
    }

    /// Writes the answer in pieces, so that the padding takes no memory of the test.
    pub(super) async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let (before, after) = if self.padding == 0 {
            (self.body.clone(), "")
        } else {
            let open = self.body.trim_end_matches('}');
            let comma = if open == "{" { "" } else { "," };
            (format!("{open}{comma}\"padding\":\""), "\"}")
        };
        let length = before.len() as u64 + self.padding + after.len() as u64;
        let end = if self.until_closed {
            "connection: close".to_owned()
        } else {
            format!("content-length: {length}")
        };
        let head = format!(
            "HTTP/1.1 {} Status\r\ncontent-type: application/json\r\n{end}\r\n{}\r\n",
            self.status, self.headers
        );
        to.write_all(head.as_bytes()).await?;
        to.write_all(before.as_bytes()).await?;
        let piece = vec![b'a'; 64 * 1024];
        let mut left = self.padding;
        while left > 0 {
            let next = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            to.write_all(&piece[..next]).await?;
            left -= next as u64;
        }
        to.write_all(after.as_bytes()).await?;
        if self.until_closed {
            to.shutdown().await?;
        }
        to.flush().await
    }
}

/// Returns `N` of `RELAY_TEST_REFUSE=N`: every request of that number is answered with 502.
fn refused() -> Option<usize> {
    let every = std::env::var("RELAY_TEST_REFUSE").ok()?;
    Some(every.parse().expect("RELAY_TEST_REFUSE is a number"))
}

/// The answers, and the record.
#[derive(Debug, Default)]
pub(super) struct Counter {
    answers: Mutex<Vec<Canned>>,
    asked: watch::Sender<Vec<(Instant, String)>>,
}

impl Counter {
    /// Sets the answers that are given from now on.
    pub(super) fn set(&self, answers: Vec<Canned>) {
        *self.answers() = answers;
    }

    /// Records a request, and returns its canned answer, if any.
    pub(super) fn asked_for(&self, line: &str) -> Option<Canned> {
        self.asked
            .send_modify(|asked| asked.push((Instant::now(), line.to_owned())));
        let number = self.asked.borrow().len();
        match refused() {
            Some(every) if number.is_multiple_of(every) => Some(Canned::to("", 502, &json!({}))),
            Some(_) | None => self.answer_to(line),
        }
    }

    /// Returns the canned answer to a request, if any.
    pub(super) fn answer_to(&self, line: &str) -> Option<Canned> {
        let answers = self.answers();
        answers.iter().find(|it| line.contains(&it.to)).cloned()
    }

    /// Returns the record, which grows.
    pub(super) fn book(&self) -> watch::Receiver<Vec<(Instant, String)>> {
        self.asked.subscribe()
    }

    fn answers(&self) -> MutexGuard<'_, Vec<Canned>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
