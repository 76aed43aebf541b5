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
#[derive(Debug, Clone)]
pub(crate) enum Hangup {
    /// Ends a command: its parent is gone.
    Ends,
    /// Ends the daemon if it has a terminal, which is gone then. Otherwise it is a request to read the configuration again, and
    /// to open the log's file anew.
    Reloads(Arc<Notify>),
}

/// Listens to all signals: their names, and whether they end the program.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(&'static str, Meaning, Signal)>);

#[derive(Debug, Clone)]
enum Meaning {
    Ends,
    Reloads(Arc<Notify>),
    Nothing,
}

impl Signals {
    /// Starts to listen; from now on no signal that can be caught ends the process by itself.
    pub(crate) fn listen(hangup: Hangup) -> io::Result<Self> {
        let is_command = matches!(hangup, Hangup::Ends);
        let hangup = match hangup {
            _ if is_ignored(Number::HUP) => Meaning::Nothing,
            Hangup::Reloads(wish) if !is_on_terminal() => Meaning::Reloads(wish),
            Hangup::Ends | Hangup::Reloads(_) => Meaning::Ends,
        };
        let mut all = vec![(("SIGHUP", Number::HUP), hangup)];
        all.extend(STOP.map(|it| (it, Meaning::Ends)));
        if is_command {
            all.extend(STOP_OF_COMMANDS.iter().map(|it| (*it, Meaning::Ends)));
        }
        all.extend(NOTHING.map(|it| (it, Meaning::Nothing)));
        let heard = all.into_iter().map(|((name, number), meaning)| {
            let heard = signal(SignalKind::from_raw(number.as_raw()))?;
            Ok((name, meaning, heard))
        });
        Ok(Self(heard.collect::<io::Result<_>>()?))
    }

    /// Waits for the next signal that ends the program, and returns its name. Cancel safe: no signal is lost.
    pub(crate) async fn asked_to_end(&mut self) -> &'static str {
        poll_fn(|context| {
            for (signal, meaning, heard) in &mut self.0 {
                while heard.poll_recv(context).is_ready() {
                    match meaning {
                        Meaning::Ends => return Poll::Ready(*signal),
                        Meaning::Reloads(wish) => wish.notify_one(),
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
