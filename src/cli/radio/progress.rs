//! What is being waited for, on a terminal: one line on standard error, taken away when the wait is over.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, interval_at};

use crate::tools::radio::Phase;

/// What is over sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(1);

/// Shows what is being waited for.
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    /// Waits for something of which nothing is known but what it is.
    pub(super) async fn of<T>(what: &'static str, work: impl Future<Output = T>) -> T {
        Self::watch(|| Some(what), work).await
    }

    /// Waits for something that has phases.
    pub(super) async fn in_phases<T>(
        phase: watch::Receiver<Phase>,
        work: impl Future<Output = T>,
    ) -> T {
        let what = || match *phase.borrow() {
            Phase::Connecting => Some("connecting to the radio"),
            Phase::Sending => Some("waiting for the radio to take it"),
            Phase::AwaitingAnswer => {
                Some("waiting whether another node repeats it (Ctrl-C ends the wait)")
            }
            Phase::Ready => None,
        };
        Self::watch(what, work).await
    }

    async fn watch<T>(what: impl Fn() -> Option<&'static str>, work: impl Future<Output = T>) -> T {
        if !io::stderr().is_terminal() {
            return work.await;
        }
        let mut progress = Self { shown: false };
        let mut work = std::pin::pin!(work);
        let mut ticks = interval_at(Instant::now() + PATIENCE, EVERY);
        let (mut last, mut since) = (what(), Instant::now());
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    progress.clear();
                    return done;
                }
                _ = ticks.tick() => {
                    let now = what();
                    if now != last {
                        (last, since) = (now, Instant::now());
                    }
                    progress.clear();
                    if let Some(what) = now {
                        progress.show(what, since.elapsed());
                    }
                }
            }
        }
    }

    fn show(&mut self, what: &str, waited: Duration) {
        self.shown = true;
        Self::write(&format!("{what} … {} s", waited.as_secs()));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            Self::write("\r\u{1b}[K");
        }
    }

    /// Nobody need see it.
    fn write(text: &str) {
        let mut terminal = io::stderr();
        drop(
            terminal
                .write_all(text.as_bytes())
                .and_then(|()| terminal.flush()),
        );
    }
}
