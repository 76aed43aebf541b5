//! The meaning of signals: which ones end the program, and which are ignored. By default nearly each of them would kill
//! the process at once, and a radio that was not disconnected properly loses what it hears until the next connection.

use std::future::poll_fn;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::task::Poll;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tracing::info;

/// Signals that end the program.
const STOP: [(&str, Number); 5] = [
    ("SIGINT", Number::INT),
    ("SIGTERM", Number::TERM),
    ("SIGQUIT", Number::QUIT),
    // The CPU time limit is exceeded.
    ("SIGXCPU", Number::XCPU),
    // From monitors of the power supply.
    ("SIGPWR", Number::POWER),
];

/// Signals of faults that end commands too, where they can be caught safely: they may come from outside while a
/// terminal hides what is typed. The daemon leaves them to the system, which may write a core dump.
const STOP_OF_COMMANDS: &[(&str, Number)] = &[
    // After a fault of our own, `abort` ends the process all the same.
    ("SIGABRT", Number::ABORT),
    ("SIGSYS", Number::SYS),
    // On other architectures a trap of our own would be raised again without end.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    ("SIGTRAP", Number::TRAP),
    ("SIGSTKFLT", Number::STKFLT),
];

/// Ignored signals. The write reports a file that exceeds its size limit.
const NOTHING: [(&str, Number); 7] = [
    ("SIGUSR1", Number::USR1),
    ("SIGUSR2", Number::USR2),
    ("SIGALRM", Number::ALARM),
    ("SIGVTALRM", Number::VTALARM),
    ("SIGPROF", Number::PROF),
    ("SIGXFSZ", Number::XFSZ),
    ("SIGIO", Number::IO),
];

/// The meaning of SIGHUP, unless it was ignored from the start, as by `nohup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// Ends a command: its parent is gone.
    Ends,
    /// Ends the daemon if it has a terminal, which is gone then. Otherwise it is a request to read the configuration again, and
    /// to open the log's file anew.
    Reloads,
}

/// Listens to all signals: their names, and whether they end the program.
#[derive(Debug)]
pub(crate) struct Signals {
    heard: Vec<(&'static str, Meaning, Signal)>,
    /// What ends the program, as long as the system does it.
    unheard: Vec<(&'static str, Number)>,
    /// That the configuration be read again.
    reload: Arc<Notify>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Ends,
    Reloads,
    Nothing,
}

impl Signals {
    /// Starts to listen; from now on no signal that can be caught ends the process by itself.
    pub(crate) fn listen(hangup: Hangup) -> io::Result<Self> {
        Self::begin(hangup)?.and_to_ends()
    }

    /// Starts to listen to what does not end the program: it waits until there is somebody to obey it. What ends the program
    /// does so at once as yet, since there is nothing to take leave of.
    pub(crate) fn begin(hangup: Hangup) -> io::Result<Self> {
        let mut signals = Self {
            heard: Vec::new(),
            unheard: STOP.to_vec(),
            reload: Arc::default(),
        };
        if hangup == Hangup::Ends {
            signals.unheard.extend(STOP_OF_COMMANDS);
        }
        let name = ("SIGHUP", Number::HUP);
        if is_ignored(Number::HUP) {
            signals.hear(name, Meaning::Nothing)?;
        } else if hangup == Hangup::Ends || is_on_terminal() {
            signals.unheard.push(name);
        } else {
            signals.hear(name, Meaning::Reloads)?;
        }
        for name in NOTHING {
            signals.hear(name, Meaning::Nothing)?;
        }
        Ok(signals)
    }

    /// Listens to what ends the program, too.
    pub(crate) fn and_to_ends(mut self) -> io::Result<Self> {
        for name in std::mem::take(&mut self.unheard) {
            self.hear(name, Meaning::Ends)?;
        }
        Ok(self)
    }

    fn hear(&mut self, (name, number): (&'static str, Number), meaning: Meaning) -> io::Result<()> {
        let heard = signal(SignalKind::from_raw(number.as_raw()))?;
        self.heard.push((name, meaning, heard));
        Ok(())
    }

    /// Returns where it is said that the configuration be read again.
    pub(crate) fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Waits for the next signal that ends the program, and returns its name. Cancel safe: no signal is lost.
    pub(crate) async fn asked_to_end(&mut self) -> &'static str {
        poll_fn(|context| {
            for (signal, meaning, heard) in &mut self.heard {
                while heard.poll_recv(context).is_ready() {
                    match meaning {
                        Meaning::Ends => return Poll::Ready(*signal),
                        Meaning::Reloads => self.reload.notify_one(),
                        Meaning::Nothing => info!(
                            signal,
                            "this signal means nothing to the relay, which goes on"
                        ),
                    }
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn is_on_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

/// Returns whether a signal was ignored when the process started.
fn is_ignored(number: Number) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (number.as_raw() - 1)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ignored_from_the_start_is_known() {
        // Rust ignores SIGPIPE, and nobody ignores the other one.
        assert!(is_ignored(Number::PIPE));
        assert!(!is_ignored(Number::SEGV));
    }
}
