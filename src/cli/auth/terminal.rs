//! Asks questions on a terminal. Secret input is hidden from before the question until after the answer, and whatever
//! ends the question restores the echo. SIGKILL cannot be caught, and SIGILL, SIGFPE, SIGSEGV and SIGBUS not safely: a
//! fault of our own would be raised again without end. After one of these during a question the echo stays off; `reset`
//! or `stty echo` helps.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::iter::successors;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use rustix::io::Errno;
use rustix::process::{self, getpgrp, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::asking::{LONGEST_LINE, Typed, is_asking, set_asking};
use crate::cli::progress;

/// The signals of Ctrl-Z, and of a shell that resumes a job.
const SUSPEND: SignalKind = SignalKind::from_raw(process::Signal::TSTP.as_raw());
const RESUME: SignalKind = SignalKind::from_raw(process::Signal::CONT.as_raw());

/// Time for a command that waits in the background to receive a signal to end, before it stops.
const BACKGROUND: Duration = Duration::from_millis(200);

/// Asks a question, and returns the typed line without its end. Fails at the end of the input, or if the terminal is
/// gone. If dropped, the terminal is restored; what is typed later may be lost.
pub(super) async fn ask(question: &str, typed: Typed) -> io::Result<String> {
    let terminal = Arc::new(Terminal::open()?);
    let (mut suspend, mut resume) = (signal(SUSPEND)?, signal(RESUME)?);
    let mut asking = Asking::begin(&terminal, typed);
    asking.pose(question)?;
    loop {
        let reader = Arc::clone(&terminal);
        #[expect(
            clippy::disallowed_methods,
            reason = "a read of the terminal ends with a line, or with the process"
        )]
        let mut line = tokio::task::spawn_blocking(move || reader.read_line());
        // Set if another job may have had the terminal since the read began, which makes a read fail.
        let mut was_suspended = false;
        let line = loop {
            tokio::select! {
                line = &mut line => break line.map_err(io::Error::other)?,
                _ = suspend.recv() => if is_a_job() {
                    asking.show();
                    stop_here();
                    was_suspended = true;
                },
                // Meanwhile another job may have changed the terminal's settings, or scrolled the question away.
                _ = resume.recv() => {
                    asking.pose(question)?;
                    was_suspended = true;
                }
            }
        };
        match line {
            Err(error) if is_of_background(&error) && !terminal.is_ours() && is_a_job() => {
                // A background job must not read. A shell may also resume a stopped job to end it: such a signal is
                // handled first.
                sleep(BACKGROUND).await;
                // The read may fail before the signal is known that took the terminal away: stop for it once only.
                suspend = signal(SUSPEND)?;
                if !terminal.is_ours() {
                    asking.show();
                    stop_here();
                }
            }
            Err(error) if is_of_background(&error) && was_suspended => {}
            line => return line,
        }
    }
}

/// Returns whether a read failed as that of a background job does; a terminal that is gone gives the same error.
fn is_of_background(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

/// Does work that may be suspended with Ctrl-Z at any time, also during a question.
pub(super) async fn suspendable<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let mut suspend = signal(SUSPEND)?;
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = suspend.recv() => if !is_asking() && is_a_job() {
                progress::clear();
                stop_here();
            },
        }
    }
}

/// Stops this process until its shell resumes it: the caught signal no longer does that.
fn stop_here() {
    let _ = kill_process(getpid(), process::Signal::STOP);
}

/// Accesses a terminal that may belong to another job by now. SIGTTOU and SIGTTIN would stop this process; with both
/// blocked, a write succeeds and a read fails.
fn from_background<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut stops = SigSet::from(Signal::SIGTTOU);
    stops.add(Signal::SIGTTIN);
    let before = stops.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let done = work();
    before.thread_set_mask()?;
    done
}

/// Returns whether a shell controls this process, and would resume it. Without one, as behind `ssh` or in a container,
/// a stopped process would hang forever.
fn is_a_job() -> bool {
    let Some(own) = ProcessIds::of("self") else {
        return false;
    };
    let above = successors(ProcessIds::of(own.parent), |it| ProcessIds::of(it.parent));
    own.is_job_of(above)
}

/// A process's place in the process tree. 0 is what cannot be seen from here, as inside a container.
#[derive(Debug, Clone, Copy)]
struct ProcessIds {
    parent: u32,
    group: u32,
    session: u32,
}

impl ProcessIds {
    /// Returns the place of a process, by its number or `self`; `None` on systems without `/proc`.
    fn of(process: impl Display) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    /// Source: `proc_pid_stat(5)`.
    fn read(stat: &str) -> Option<Self> {
        // The name may contain anything; after it come the state and these numbers.
        let about = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
        let mut about = about.map(|it| it.parse().ok());
        let mut next = || about.next()?;
        Some(Self {
            parent: next()?,
            group: next()?,
            session: next()?,
        })
    }

    /// Returns whether one of the ancestors `above` is the job's shell: in the same session, but in another process
    /// group.
    fn is_job_of(self, above: impl Iterator<Item = Self>) -> bool {
        self.session != 0
            && above
                .take_while(|it| it.session == self.session)
                .any(|it| it.group != self.group)
    }
}

/// The process's controlling terminal, wherever its outputs go.
struct Terminal {
    input: File,
    output: File,
}

impl Terminal {
    fn open() -> io::Result<Self> {
        let own = File::options().read(true).write(true).open("/dev/tty");
        let own = own.and_then(|file| Ok((file.try_clone()?, file)));
        let (input, output) = own.or_else(|_| {
            // No controlling terminal: use standard input, if it is one.
            let input = io::stdin().as_fd().try_clone_to_owned()?;
            let output = io::stderr().as_fd().try_clone_to_owned()?;
            io::Result::Ok((input.into(), output.into()))
        })?;
        Ok(Self { input, output })
    }

    /// Returns whether this process is in the terminal's foreground.
    fn is_ours(&self) -> bool {
        tcgetpgrp(&self.input).map_or(true, |group| group == getpgrp())
    }

    /// Reads one line; a terminal returns a line at a time.
    fn read_line(&self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut input = BufReader::new(&self.input).take(LONGEST_LINE);
        from_background(|| input.read_until(b'\n', &mut line))?;
        if !line.ends_with(b"\n") && input.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8(line).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "what was typed is not UTF-8")
        })?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// A question on the terminal; when dropped, the terminal is restored.
struct Asking {
    terminal: Arc<Terminal>,
    typed: Typed,
    /// The echo was on and has been turned off by us.
    hidden: bool,
}

impl Asking {
    fn begin(terminal: &Arc<Terminal>, typed: Typed) -> Self {
        progress::clear();
        set_asking(true);
        Self {
            terminal: Arc::clone(terminal),
            typed,
            hidden: false,
        }
    }

    /// Writes the question, unless another job has the terminal.
    fn pose(&mut self, question: &str) -> io::Result<()> {
        if !self.terminal.is_ours() {
            return Ok(());
        }
        self.hide()?;
        (&self.terminal.output).write_all(question.as_bytes())
    }

    /// Turns the echo off, if wanted.
    fn hide(&mut self) -> io::Result<()> {
        if self.typed == Typed::Shown {
            return Ok(());
        }
        let input = &self.terminal.input;
        let mut settings = tcgetattr(input)?;
        self.hidden |= settings.local_modes.contains(LocalModes::ECHO);
        settings.local_modes.remove(LocalModes::ECHO);
        Ok(tcsetattr(input, OptionalActions::Now, &settings)?)
    }

    /// Turns the echo on again. A shell may have taken the terminal back already: that must not stop us, and its line
    /// editor, which reads key by key, needs its own settings.
    fn show(&mut self) {
        if !std::mem::take(&mut self.hidden) {
            return;
        }
        // Failures do not matter: a terminal that is gone shows nothing. The newline was not echoed either.
        drop(from_background(|| {
            let mut settings = tcgetattr(&self.terminal.input)?;
            if settings.local_modes.contains(LocalModes::ICANON) {
                settings.local_modes.insert(LocalModes::ECHO);
                tcsetattr(&self.terminal.input, OptionalActions::Now, &settings)?;
            }
            (&self.terminal.output).write_all(b"\n")
        }));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.show();
        set_asking(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the format of the system: number, name, state, then parent, group and session.
    fn is_job(own: &str, above: &[&str]) -> bool {
        let read = |stat: &str| ProcessIds::read(stat).expect("it is complete");
        read(own).is_job_of(above.iter().map(|stat| read(stat)))
    }

    #[test]
    fn who_stands_in_another_group_than_a_shell_above_is_its_job() {
        let shell = "40 (a (odd) shell) S 30 40 40 34816 50 4194304";
        assert!(is_job("50 (relay) S 40 50 40 34816 50 4194304", &[shell]));
        // Through a script, which is in the same group.
        let script = "50 (sh) S 40 50 40 34816 50 4194304";
        assert!(is_job(
            "51 (relay) S 50 50 40 34816 50 4194304",
            &[script, shell]
        ));
    }

    #[test]
    fn who_has_a_session_of_their_own_is_nobodys_job() {
        let other = "30 (sshd) S 1 30 30 0 -1 4194304";
        assert!(!is_job("40 (relay) S 30 40 40 34816 40 4194304", &[other]));
    }

    /// A session or a group created outside a container is 0 inside.
    #[test]
    fn what_cannot_be_seen_from_a_container_is_no_shell() {
        let started_from_outside = "1 (sh) S 0 0 0 0 -1 4194560";
        assert!(!is_job(
            "7 (relay) S 1 7 7 34816 7 4194304",
            &[started_from_outside]
        ));
        assert!(!is_job(
            "7 (relay) S 1 7 0 34816 7 4194304",
            &[started_from_outside]
        ));
        assert!(!is_job("1 (relay) S 0 0 0 34816 1 4194304", &[]));
    }

    #[test]
    fn what_is_no_such_line_tells_nothing() {
        for stat in ["", "7 (relay)", "7 (relay) S 1 7", "7 (relay) S 1 x 7"] {
            assert!(ProcessIds::read(stat).is_none(), "{stat:?}");
        }
    }
}
