//! Writes log events to all outputs: each event as one line of limited length, each place in the code at a limited
//! rate.
//!
//! Debug and trace are not rate limited.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber, callsite};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::line::{Line, Recorded};
use super::rate::{Admitted, Limit, Rate};
use super::recent::Recent;
use super::sink::{Sink, own, time, write};
use crate::home::Home;

/// Our own lines may be frequent: mapped rooms and warnings of the configuration come in a row, and most of them matter
/// to people.
const OURS: Limit = Limit {
    burst: 100,
    every: Duration::from_secs(10),
};
/// Libraries log nothing that requires an action.
const OTHERS: Limit = Limit {
    burst: 3,
    every: Duration::from_mins(1),
};

/// Maximum length of a span's fields in bytes: they are repeated on each line.
const LONGEST_SPAN: usize = 500;

/// Maximum number of lines waiting to be written: a reader may stall, as a terminal after Ctrl-S, and must not block
/// the relay.
const QUEUE: usize = 4_000;
/// How often suppressed lines are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Maximum time to wait at the end for pending lines.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The subscriber's layer: makes lines of events, within their rates, and queues them for the writing thread.
pub(super) struct Log {
    /// The libraries whose values are logged in full.
    open: RwLock<Targets>,
    state: Mutex<State>,
    queue: SyncSender<Job>,
    /// The last lines, for a support bundle.
    recent: Mutex<Recent>,
}

/// A place in the code. The `log` facade has a single callsite for all, and reports the line.
type CallSite = (callsite::Identifier, Option<u64>);

/// What is counted between lines.
#[derive(Default)]
struct State {
    rate: Rate<CallSite, Line>,
    /// Number of lines that did not fit into the queue.
    lost: u64,
    /// The outputs from the next line on, in place of those before.
    next: Option<Vec<Sink>>,
}

/// A request to the writing thread.
enum Job {
    Write(Admitted<Line>),
    /// Acknowledge when everything before is written.
    Tell(SyncSender<()>),
}

impl Log {
    /// Starts a log that writes to these outputs, in a thread of its own.
    pub(super) fn start(open: Targets, sinks: Vec<Sink>) -> std::io::Result<Arc<Self>> {
        let (queue, jobs) = sync_channel(QUEUE);
        let log = Arc::new(Self {
            open: RwLock::new(open),
            state: Mutex::default(),
            queue,
            recent: Mutex::default(),
        });
        let of = Arc::downgrade(&log);
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the log, or with the process"
        )]
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&of, &jobs, sinks))?;
        Ok(log)
    }

    /// Logs these libraries in full from now on, and no others.
    pub(super) fn open_libraries(&self, open: Targets) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = open;
    }

    /// Goes on with other outputs: no line between is lost.
    pub(super) fn go_on_with(&self, sinks: Vec<Sink>) {
        self.lock().next = Some(sinks);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether this target is logged in full.
    fn tells_all(&self, target: &str) -> bool {
        let open = || self.open.read().unwrap_or_else(PoisonError::into_inner);
        is_ours(target) || open().would_enable(target, &Level::TRACE)
    }

    fn take(&self, place: CallSite, line: Line, now: Instant) {
        let mut state = self.lock();
        let heard = if line.level > Level::INFO {
            Some(Admitted { line, left_out: 0 })
        } else {
            let limit = if is_ours(&line.target) { OURS } else { OTHERS };
            state.rate.take(place, limit, line, now)
        };
        // Logging never blocks.
        if heard.is_some_and(|heard| self.queue.try_send(Job::Write(heard)).is_err()) {
            state.lost += 1;
        }
    }

    /// Returns the last lines, oldest first, as JSON.
    pub(super) fn recent(&self) -> Vec<String> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.lines()
    }

    fn remember(&self, heard: &Admitted<Line>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.add(heard.line.level, || {
            heard.line.json(&time(heard.line.at), heard.left_out)
        });
    }

    /// Logs what was suppressed, and waits for pending lines, with a timeout.
    pub(super) fn end(&self) {
        let until = Instant::now() + END_WITHIN;
        let rest = self.lock().rate.tell(None).into_iter();
        let (written, is_written) = sync_channel(1);
        for mut job in rest.map(Job::Write).chain([Job::Tell(written)]) {
            while let Err(TrySendError::Full(back)) = self.queue.try_send(job) {
                // A stalled reader is not waited for.
                if Instant::now() >= until {
                    return;
                }
                job = back;
                thread::sleep(Duration::from_millis(1));
            }
        }
        let _ = is_written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// Writes incoming lines, and suppressed ones now and then, until the log is dropped.
fn write_all(log: &Weak<Log>, jobs: &Receiver<Job>, mut sinks: Vec<Sink>) {
    loop {
        let job = jobs.recv_timeout(LOOK_EVERY);
        if let Some(log) = log.upgrade()
            && let Some(next) = log.lock().next.take()
        {
            sinks = next;
        }
        match job {
            Ok(Job::Write(heard)) => {
                write(&mut sinks, &heard);
                log.upgrade().iter().for_each(|log| log.remember(&heard));
            }
            Ok(Job::Tell(written)) => drop(written.try_send(())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(log) = log.upgrade() else { return };
        let mut state = log.lock();
        let lost = std::mem::take(&mut state.lost);
        let due = state.rate.tell(Some(Instant::now()));
        drop(state);
        if lost > 0 {
            let words = "the log was not read fast enough: lines are missing";
            let heard = own(now(), Recorded::missing(words, lost));
            write(&mut sinks, &heard);
            log.remember(&heard);
        }
        for mut heard in due {
            heard.line.at = now();
            write(&mut sinks, &heard);
            log.remember(&heard);
        }
    }
}

fn is_ours(target: &str) -> bool {
    target == "relay" || target.starts_with("relay::") || target.starts_with(CRATES)
}

/// Target prefix of our other crates.
const CRATES: &str = "relay_";

/// Returns a target as shown in the log: our crates as parts of the relay, `relay::radio`.
fn shown(target: String) -> String {
    match target.strip_prefix(CRATES) {
        Some(part) => format!("relay::{part}"),
        None => target,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a line tells when it was written"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// The log as a layer of the process's subscriber; hints in it name the home.
pub(super) struct LogLayer(pub(super) Arc<Log>, pub(super) Home);

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut recorded = Recorded::new(self.0.tells_all(attributes.metadata().target()));
        attributes.record(&mut recorded);
        span.extensions_mut().replace(recorded);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        if let Some(recorded) = span.extensions_mut().get_mut::<Recorded>() {
            values.record(recorded);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        // Events of the `log` facade carry their target in a field.
        let target = match metadata.target() {
            "log" => Recorded::by(event, false).target,
            _ => None,
        };
        let target = shown(target.unwrap_or_else(|| metadata.target().to_owned()));
        let mut recorded = Recorded::by(event, self.0.tells_all(&target));
        recorded.name(&self.1);
        let spans = context.event_scope(event).into_iter();
        let spans = spans.flat_map(Scope::from_root);
        let spans = spans.map(|span| {
            let fields = span.extensions().get::<Recorded>().map(Recorded::fields);
            match fields.filter(|fields| !fields.is_empty()) {
                Some(mut fields) => {
                    fields.truncate(fields.floor_char_boundary(LONGEST_SPAN));
                    format!("{}{{{fields}}}", span.name())
                }
                None => span.name().to_owned(),
            }
        });
        let line = Line {
            at: now(),
            level: *metadata.level(),
            spans: spans.collect(),
            target,
            recorded,
        };
        let place = (metadata.callsite(), line.recorded.source_line);
        self.0.take(place, line, Instant::now());
    }
}

#[cfg(test)]
mod tests;
