//! Asks a person at a terminal. What is typed in secret is not shown from before the question on until after the answer,
//! and whatever ends the asking lets the terminal show again what is typed.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::cli::progress::Progress;

/// Longer than any answer.
const LONGEST_LINE: usize = 4096;

static ASKING: AtomicBool = AtomicBool::new(false);

/// Whether the terminal shows what is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// It does.
    Shown,
    /// It does not.
    Hidden,
}

/// Returns whether somebody is being asked.
pub(super) fn is_asking() -> bool {
    ASKING.load(Ordering::Relaxed)
}

/// Asks a question, and returns the line that is typed, without its end. Where nothing more can be typed, as at the end of
/// the input or of the terminal, it fails: nobody has answered.
///
/// # Cancel safety
///
/// Dropped, it leaves the terminal as it was; what is typed later may get lost.
pub(super) async fn ask(question: &str, typed: Typed) -> io::Result<String> {
    let terminal = Arc::new(Terminal::open()?);
    let asking = Asking::begin(&terminal, typed)?;
    (&terminal.output).write_all(question.as_bytes())?;
    let reader = Arc::clone(&terminal);
    let line = tokio::task::spawn_blocking(move || reader.read_line())
        .await
        .map_err(io::Error::other)?;
    drop(asking);
    line
}

/// The terminal that the process belongs to, wherever its outputs go.
struct Terminal {
    input: File,
    output: File,
}

impl Terminal {
    fn open() -> io::Result<Self> {
        let own = File::options().read(true).write(true).open("/dev/tty");
        match own.and_then(|file| Ok((file.try_clone()?, file))) {
            Ok((input, output)) => Ok(Self { input, output }),
            // None of its own: then the one that standard input is.
            Err(_) => Ok(Self {
                input: io::stdin().as_fd().try_clone_to_owned()?.into(),
                output: io::stderr().as_fd().try_clone_to_owned()?.into(),
            }),
        }
    }

    /// A terminal hands out a line at a time.
    fn read_line(&self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut buffer = [0; 256];
        while line.last() != Some(&b'\n') && line.len() < LONGEST_LINE {
            match (&self.input).read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => line.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let line = String::from_utf8(line).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "what was typed is not UTF-8")
        })?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// A question that stands on the terminal; when it is dropped the terminal is as it was.
struct Asking {
    terminal: Arc<Terminal>,
    before: Option<Termios>,
}

impl Asking {
    fn begin(terminal: &Arc<Terminal>, typed: Typed) -> io::Result<Self> {
        Progress::clear();
        ASKING.store(true, Ordering::Relaxed);
        let mut asking = Self {
            terminal: Arc::clone(terminal),
            before: None,
        };
        match typed {
            Typed::Shown => {}
            Typed::Hidden => {
                let before = tcgetattr(&terminal.input)?;
                let mut hidden = before.clone();
                hidden.local_modes.remove(LocalModes::ECHO);
                asking.before = Some(before);
                tcsetattr(&terminal.input, OptionalActions::Now, &hidden)?;
            }
        }
        Ok(asking)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A terminal that is gone shows nothing anyway. The end of the line was not shown either.
            tcsetattr(&self.terminal.input, OptionalActions::Now, before).ok();
            drop((&self.terminal.output).write_all(b"\n"));
        }
        ASKING.store(false, Ordering::Relaxed);
    }
}
