//! Writes what is logged, wherever it is to be seen: each event as one bounded line, each place at a bounded rate.
//!
//! Debug and trace are for who asked for them, and have no bound in their rate.

use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber, callsite};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::line::{Line, Recorded};
use super::rate::{Heard, Limit, Rate};
use relay_config::LogFormat;

/// What is ours may be heard often: mapped rooms and warnings of the configuration come in a row, and most of it a
/// person has to see.
const OURS: Limit = Limit {
    burst: 100,
    every: Duration::from_secs(10),
};
/// A library says nothing that a person has to act on.
const OTHERS: Limit = Limit {
    burst: 3,
    every: Duration::from_mins(1),
};

/// Spans are repeated on each line: so many bytes of their fields have to do.
const LONGEST_SPAN: usize = 500;

pub(super) struct Sink {
    pub(super) format: LogFormat,
    pub(super) colour: bool,
    pub(super) writer: Box<dyn Write + Send>,
}

/// Lines that wait to be written: whoever reads them may be stopped, as a terminal by Ctrl-S, and the relay goes on.
const QUEUE: usize = 4_000;
/// How often it is looked whether something that was left out is to be told.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the end waits for what is still to be written.
const END_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Log {
    /// Of which libraries everything is told.
    open: Targets,
    state: Mutex<State>,
    queue: SyncSender<Job>,
}

/// A place in the sources. The facade `log` has one for all, and tells the line.
type Place = (callsite::Identifier, Option<u64>);

#[derive(Default)]
struct State {
    rate: Rate<Place, Line>,
    /// So many lines did not fit into the queue.
    lost: u64,
}

/// What the thread that writes is asked for.
enum Job {
    Write(Heard<Line>),
    /// To tell when everything before is written.
    Tell(SyncSender<()>),
}

impl Log {
    /// Makes one that writes there, in a thread of its own.
    pub(super) fn start(open: Targets, sinks: Vec<Sink>) -> std::io::Result<Arc<Self>> {
        let (queue, jobs) = sync_channel(QUEUE);
        let log = Arc::new(Self {
            open,
            state: Mutex::default(),
            queue,
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether everything is told of what somebody says.
    fn tells_all(&self, target: &str) -> bool {
        is_ours(target) || self.open.would_enable(target, &Level::TRACE)
    }

    fn take(&self, place: Place, line: Line, now: Instant) {
        let mut state = self.lock();
        let heard = if line.level > Level::INFO {
            Some(Heard { line, left_out: 0 })
        } else {
            let limit = if is_ours(&line.target) { OURS } else { OTHERS };
            state.rate.take(place, limit, line, now)
        };
        // Who speaks waits for nobody who reads.
        if heard.is_some_and(|heard| self.queue.try_send(Job::Write(heard)).is_err()) {
            state.lost += 1;
        }
    }

    /// Tells what was left out, and waits until everything is written, but not for long.
    pub(super) fn end(&self) {
        let until = Instant::now() + END_WITHIN;
        let rest = self.lock().rate.tell(None).into_iter();
        let (written, is_written) = sync_channel(1);
        for mut job in rest.map(Job::Write).chain([Job::Tell(written)]) {
            while let Err(TrySendError::Full(back)) = self.queue.try_send(job) {
                // Where nobody reads there is nobody to wait for.
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

/// Writes what comes, and now and then what was left out, until the log is gone.
fn write_all(log: &Weak<Log>, jobs: &Receiver<Job>, mut sinks: Vec<Sink>) {
    loop {
        match jobs.recv_timeout(LOOK_EVERY) {
            Ok(Job::Write(heard)) => write(&mut sinks, &heard),
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
            let line = Line {
                at: now(),
                level: Level::WARN,
                target: "relay::telemetry".to_owned(),
                spans: Vec::new(),
                recorded: Recorded::missing(lost),
            };
            write(&mut sinks, &Heard { line, left_out: 0 });
        }
        for mut heard in due {
            heard.line.at = now();
            write(&mut sinks, &heard);
        }
    }
}

fn write(sinks: &mut [Sink], heard: &Heard<Line>) {
    let time = time(heard.line.at);
    for sink in sinks {
        let Heard { line, left_out } = heard;
        let line = match sink.format {
            LogFormat::Text => line.text(sink.colour, &time, *left_out),
            LogFormat::Json => line.json(&time, *left_out),
        };
        // Whoever read it may be gone, or the disk full: the relay goes on without a log.
        drop(sink.writer.write_all(line.as_bytes()));
    }
}

fn is_ours(target: &str) -> bool {
    target == "relay" || target.starts_with("relay::") || target.starts_with(CRATES)
}

/// How the targets of our other crates begin.
const CRATES: &str = "relay_";

/// Returns a target as the log shows it: a crate of ours as a part of the relay, `relay::radio`.
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

/// Returns a time in UTC, with microseconds.
fn time(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros) = (crate::home::utc(time), since.subsec_micros());
    let seconds = seconds.trim_end_matches('Z');
    format!("{seconds}.{micros:06}Z")
}

/// The log as a part of the process's subscriber.
pub(super) struct LogLayer(pub(super) Arc<Log>);

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
        // What comes through the facade `log` tells its target itself.
        let target = match metadata.target() {
            "log" => Recorded::by(event, false).target,
            _ => None,
        };
        let target = shown(target.unwrap_or_else(|| metadata.target().to_owned()));
        let recorded = Recorded::by(event, self.0.tells_all(&target));
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
