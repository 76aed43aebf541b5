//! What is being waited for, on a terminal: one line on standard error, taken away when the wait is over.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, interval_at};

/// What is over sooner shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(1);

/// Whether the line stands there: a process has one terminal.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// The line of a wait, which goes with it, also where the wait is given up.
struct Line;

impl Drop for Line {
    fn drop(&mut self) {
        clear();
    }
}

/// Waits for something of which nothing is known but what it is.
pub(super) async fn of<T>(what: impl Display, work: impl Future<Output = T>) -> T {
    let what = what.to_string();
    watch(|| Some(what.as_str()), work).await
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
                clear();
                if let Some(what) = now {
                    SHOWN.store(true, Ordering::Relaxed);
                    write(&format!("{what} … {} s", since.elapsed().as_secs()));
                }
            }
        }
    }
}

/// Takes the line away, if it stands there: something else is to be written.
pub(super) fn clear() {
    if SHOWN.swap(false, Ordering::Relaxed) {
        write("\r\u{1b}[K");
    }
}

/// Nobody need see it.
fn write(text: &str) {
    let mut terminal = io::stderr();
    let written = terminal.write_all(text.as_bytes());
    drop(written.and_then(|()| terminal.flush()));
}
