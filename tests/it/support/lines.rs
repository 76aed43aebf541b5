//! Records the lines that a program writes, and waits for lines.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::limit::{LIMIT, last_lines, while_new};

/// What a program wrote so far, line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    whose: String,
    so_far: watch::Receiver<Vec<String>>,
    /// The reader task; aborted on drop.
    _reading: JoinSet<()>,
}

impl Lines {
    /// Begins to read.
    pub(crate) fn of(whose: &str, pipe: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let (sender, so_far) = watch::channel(Vec::new());
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            let mut pipe = BufReader::new(pipe);
            let mut bytes = Vec::new();
            while matches!(pipe.read_until(b'\n', &mut bytes).await, Ok(1..)) {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                sender.send_modify(|lines| lines.push(line));
                bytes.clear();
            }
        });
        Self {
            whose: whose.to_owned(),
            so_far,
            _reading: reading,
        }
    }

    /// Waits for the first line from number `from` on for which `pick` returns a result.
    pub(crate) async fn first<T>(
        &self,
        from: usize,
        what: &str,
        pick: impl FnMut(&str) -> Option<T>,
    ) -> T {
        self.first_within(LIMIT, from, what, pick).await
    }

    /// Waits for the first line as [`Self::first`] does, with a timeout since the last new line.
    pub(crate) async fn first_within<T>(
        &self,
        limit: Duration,
        from: usize,
        what: &str,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let mut so_far = self.so_far.clone();
        let mut next = from;
        let mut found = None;
        let progress = while_new(&mut so_far, limit, |lines| {
            while found.is_none() && next < lines.len() {
                found = pick(&lines[next]);
                next += 1;
            }
            found.is_some()
        });
        let ended = progress.await;
        found.unwrap_or_else(|| {
            panic!(
                "{} did not write {what} ({ended:?}, {} s without a new line at most); its last lines:\n{}",
                self.whose,
                limit.as_secs(),
                last_lines(&self.all())
            )
        })
    }

    /// Returns how many lines there are so far.
    pub(crate) fn count(&self) -> usize {
        self.so_far.borrow().len()
    }

    /// Waits until the program has ended and all its output is read.
    pub(crate) async fn whole(&self) {
        let mut so_far = self.so_far.clone();
        while so_far.changed().await.is_ok() {}
    }

    /// Returns what was written so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.so_far.borrow().clone()
    }

    /// Returns what was written so far, as one text.
    pub(crate) fn text(&self) -> String {
        self.all().join("\n")
    }
}
