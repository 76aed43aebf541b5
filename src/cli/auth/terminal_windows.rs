//! Asks questions in a console of Windows. Secret input is not shown, and whatever ends the question has typing shown again.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use winapi_util::console;

use crate::cli::progress;

/// Maximum length of a line, longer than any password or key.
pub(super) const LONGEST_LINE: u64 = 4096;

/// `ENABLE_ECHO_INPUT` of a console's mode. Source: `SetConsoleMode`.
const ECHO: u32 = 4;

static ASKING: AtomicBool = AtomicBool::new(false);

/// Whether the console shows what is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    Shown,
    Hidden,
}

pub(super) fn is_asking() -> bool {
    ASKING.load(Ordering::Relaxed)
}

/// Asks a question, and returns the typed line without its end. Fails at the end of the input, or without a console. If
/// dropped, the console is restored; what is typed later may be lost.
pub(super) async fn ask(question: &str, typed: Typed) -> io::Result<String> {
    let _asking = Asking::begin(typed)?;
    io::stderr().write_all(question.as_bytes())?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a read of the console ends with a line, or with the process"
    )]
    let line = tokio::task::spawn_blocking(read_line);
    line.await.map_err(io::Error::other)?
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    let mut input = io::stdin().lock().take(LONGEST_LINE);
    if input.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Does work; a program of Windows is not suspended.
#[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
pub(super) async fn suspendable<T>(work: impl Future<Output = T>) -> io::Result<T> {
    Ok(work.await)
}

/// A question in the console; when dropped, the console is restored.
struct Asking {
    /// The console's mode before typing was hidden.
    hidden: Option<u32>,
}

impl Asking {
    fn begin(typed: Typed) -> io::Result<Self> {
        progress::clear();
        let mut hidden = None;
        if typed == Typed::Hidden {
            let before = console::mode(io::stdin())?;
            console::set_mode(io::stdin(), before & !ECHO)?;
            hidden = Some(before);
        }
        ASKING.store(true, Ordering::Relaxed);
        Ok(Self { hidden })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(before) = self.hidden {
            // Failures do not matter: a console that is gone shows nothing. The newline was not shown either.
            drop(console::set_mode(io::stdin(), before));
            drop(io::stderr().write_all(b"\n"));
        }
        ASKING.store(false, Ordering::Relaxed);
    }
}
