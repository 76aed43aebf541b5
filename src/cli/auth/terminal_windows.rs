//! Asks questions in a console of Windows. Secret input is not shown, and whatever ends the question has typing shown again.

use std::io::{self, BufRead as _, Read as _, Write as _};

use winapi_util::console;

use super::asking::{LONGEST_LINE, Typed, set_asking};
use crate::cli::progress;

/// `ENABLE_ECHO_INPUT` of a console's mode. Source: `SetConsoleMode`.
const ECHO: u32 = 4;

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
        set_asking(true);
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
        set_asking(false);
    }
}
