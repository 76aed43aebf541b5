//! What asks the program to end on Windows, each of which would kill it at once by default. Nothing asks it there to read its
//! configuration again.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};
use tokio::sync::Notify;

/// What the end of a terminal means on other systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hangup {
    Ends,
    Reloads,
}

type Heard = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<()>> + Send>;

/// Listens to all of them, by their names.
pub(crate) struct Signals {
    heard: Vec<(&'static str, Heard)>,
    /// Never said.
    reload: Arc<Notify>,
}

impl Signals {
    /// Starts to listen; from now on none of them ends the process by itself.
    pub(crate) fn listen(hangup: Hangup) -> io::Result<Self> {
        Self::begin(hangup)?.and_to_ends()
    }

    /// Listens to nothing as yet: whatever ends the program does so at once, since there is nothing to take leave of.
    #[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
    pub(crate) fn begin(_: Hangup) -> io::Result<Self> {
        Ok(Self {
            heard: Vec::new(),
            reload: Arc::default(),
        })
    }

    /// Listens to what ends the program.
    pub(crate) fn and_to_ends(mut self) -> io::Result<Self> {
        let (mut interrupt, mut stop) = (ctrl_c()?, ctrl_break()?);
        let (mut close, mut logoff, mut shutdown) =
            (ctrl_close()?, ctrl_logoff()?, ctrl_shutdown()?);
        self.heard = vec![
            (
                "Ctrl-C",
                Box::new(move |context| interrupt.poll_recv(context)),
            ),
            (
                "Ctrl-Break",
                Box::new(move |context| stop.poll_recv(context)),
            ),
            (
                "the window is closed",
                Box::new(move |context| close.poll_recv(context)),
            ),
            (
                "log-off",
                Box::new(move |context| logoff.poll_recv(context)),
            ),
            (
                "shutdown",
                Box::new(move |context| shutdown.poll_recv(context)),
            ),
        ];
        Ok(self)
    }

    /// Returns where it is said that the configuration be read again.
    pub(crate) fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Waits for the next that ends the program, and returns its name. Cancel safe: none is lost.
    pub(crate) async fn asked_to_end(&mut self) -> &'static str {
        poll_fn(|context| {
            for (name, heard) in &mut self.heard {
                if heard(context).is_ready() {
                    return Poll::Ready(*name);
                }
            }
            Poll::Pending
        })
        .await
    }
}
