//! What is being waited for, on a terminal: one line on standard error, taken away when the wait is over.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, interval_at};

use crate::tools::radio::Phase;

/// What is over sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(1);

/// Whether the line stands there: a process has one terminal.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// Shows what is being waited for.
pub(super) struct Progress;

/// The line of a wait, which goes with it, also where the wait is given up.
struct Line;

impl Drop for Line {
    fn drop(&mut self) {
        Progress::clear();
    }
}

impl Progress {
    /// Waits for something of which nothing is known but what it is.
    pub(super) async fn of<T>(what: impl Display, work: impl Future<Output = T>) -> T {
        let what = what.to_string();
        Self::watch(|| Some(what.as_str()), work).await
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

    /// Waits for something that is now this and now that; nothing is shown while it is nothing.
    pub(super) async fn watch<'a, T>(
        what: impl Fn() -> Option<&'a str>,
        work: impl Future<Output = T>,
    ) -> T {
        if !io::stderr().is_terminal() {
            return work.await;
        }
        let _line = Line;
        let mut work = std::pin::pin!(work);
        let mut ticks = interval_at(Instant::now() + PATIENCE, EVERY);
        let (mut last, mut since) = (what(), Instant::now());
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = ticks.tick() => {
                    let now = what();
                    if now != last {
                        (last, since) = (now, Instant::now());
                    }
                    Self::clear();
                    if let Some(what) = now {
                        Self::show(what, since.elapsed());
                    }
                }
            }
        }
    }

    fn show(what: &str, waited: Duration) {
        SHOWN.store(true, Ordering::Relaxed);
        Self::write(&format!("{what} … {} s", waited.as_secs()));
    }

    /// Takes the line away, if it stands there: something else is to be written.
    pub(super) fn clear() {
        if SHOWN.swap(false, Ordering::Relaxed) {
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
