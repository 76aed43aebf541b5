//! Progress on a terminal: one line on standard error, removed when the wait is over.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, interval_at};

/// Minimum wait before the line is shown.
const PATIENCE: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(1);

/// Whether the line is shown; a process has one terminal.
static SHOWN: AtomicBool = AtomicBool::new(false);

/// The progress line; removed on drop, also if the wait is cancelled.
struct Line;

impl Drop for Line {
    fn drop(&mut self) {
        clear();
    }
}

/// Waits for work, showing one fixed text.
pub(super) async fn of<T>(what: impl Display, work: impl Future<Output = T>) -> T {
    let what = what.to_string();
    watch(|| Some(what.as_str()), work).await
}

/// Waits for work with changing texts; `None` shows nothing.
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
                    // Rounded: a tick is rarely on time.
                    let seconds = since.elapsed().as_secs_f32().round();
                    write(&format!("{what} … {seconds} s"));
                }
            }
        }
    }
}

/// Removes the line before other output.
pub(super) fn clear() {
    if SHOWN.swap(false, Ordering::Relaxed) {
        write("\r\u{1b}[K");
    }
}

fn write(text: &str) {
    let mut terminal = io::stderr();
    let written = terminal.write_all(text.as_bytes());
    drop(written.and_then(|()| terminal.flush()));
}
