//! What signals mean, in one place: which ask us to end, and which mean nothing. Left alone, nearly each of them would end
//! the process at once, and a radio that is not told so loses what it hears until the next connection.

use std::future::poll_fn;
use std::io::{self, IsTerminal as _};
use std::task::Poll;

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// What ask us to end, each for its reason.
const STOP: [(&str, Number); 5] = [
    ("SIGINT", Number::INT),
    ("SIGTERM", Number::TERM),
    ("SIGQUIT", Number::QUIT),
    // The time that the system grants us is over.
    ("SIGXCPU", Number::XCPU),
    // Of those who watch the power supply.
    ("SIGPWR", Number::POWER),
];

/// What ask a command to end, too: those of faults, where they can be caught safely, since they may come from outside while a
/// terminal does not show what is typed. The daemon leaves them to the system, which may keep an image of it.
const STOP_OF_COMMANDS: &[(&str, Number)] = &[
    // A fault of our own ends us all the same: `abort` sees to that.
    ("SIGABRT", Number::ABORT),
    ("SIGSYS", Number::SYS),
    // Elsewhere a trap of our own would come again without end.
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    ("SIGTRAP", Number::TRAP),
    ("SIGSTKFLT", Number::STKFLT),
];

/// What mean nothing to us. A file that grows too long is told by its write.
const NOTHING: [(&str, Number); 7] = [
    ("SIGUSR1", Number::USR1),
    ("SIGUSR2", Number::USR2),
    ("SIGALRM", Number::ALARM),
    ("SIGVTALRM", Number::VTALARM),
    ("SIGPROF", Number::PROF),
    ("SIGXFSZ", Number::XFSZ),
    ("SIGIO", Number::IO),
];

/// What a hangup means, where it was not ignored from the start, as by `nohup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    /// To end, for a command: whoever started us is gone.
    Ends,
    /// To end if we belong to a terminal, which is gone then. Otherwise somebody means a service that reads its files
    /// again; ending would leave it down.
    EndsOnTerminal,
}

/// Listens to all of them: what each is called, and whether it asks us to end.
#[derive(Debug)]
pub(crate) struct Signals(Vec<(&'static str, bool, Signal)>);

impl Signals {
    /// Begins to listen; from now on no signal ends the process by itself that can be kept from it.
    pub(crate) fn listen(hangup: Hangup) -> io::Result<Self> {
        let ends = match hangup {
            Hangup::Ends => true,
            Hangup::EndsOnTerminal => is_on_terminal(),
        };
        let mut all = vec![(("SIGHUP", Number::HUP), ends && !is_ignored(Number::HUP))];
        all.extend(STOP.map(|it| (it, true)));
        if hangup == Hangup::Ends {
            all.extend(STOP_OF_COMMANDS.iter().map(|it| (*it, true)));
        }
        all.extend(NOTHING.map(|it| (it, false)));
        let heard = all.into_iter().map(|((name, number), asks_to_end)| {
            let heard = signal(SignalKind::from_raw(number.as_raw()))?;
            Ok((name, asks_to_end, heard))
        });
        Ok(Self(heard.collect::<io::Result<_>>()?))
    }

    /// Waits for the next one that asks us to end, and returns its name.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: no signal is lost by it.
    pub(crate) async fn asked_to_end(&mut self) -> &'static str {
        poll_fn(|context| {
            for (signal, asks_to_end, heard) in &mut self.0 {
                while heard.poll_recv(context).is_ready() {
                    if *asks_to_end {
                        return Poll::Ready(*signal);
                    }
                    info!(
                        signal,
                        "this signal means nothing to the relay, which goes on"
                    );
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

/// Returns whether the system says that a signal was ignored when we were started.
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
        // Rust ignores this one, and nobody ignores that one.
        assert!(is_ignored(Number::PIPE));
        assert!(!is_ignored(Number::SEGV));
    }
}
