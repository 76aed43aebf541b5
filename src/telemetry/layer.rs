//! Writes what is logged, wherever it is to be seen: each event as one bounded line, each place at a bounded rate.
//!
//! Debug and trace are for who asked for them, and have no bound in their rate.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber, callsite};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::line::{Line, Said, Telling};
use super::rate::{Heard, Limit, Rate};
use crate::config::LogFormat;

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

/// Where lines go.
pub(super) struct Sink {
    pub(super) format: LogFormat,
    pub(super) colour: bool,
    pub(super) writer: Box<dyn Write + Send>,
}

/// The log.
pub(super) struct Log {
    /// Of which libraries everything is told.
    open: Targets,
    state: Mutex<State>,
    left_out: Condvar,
}

/// A place in the sources. The facade `log` has one for all, and tells the line.
type Place = (callsite::Identifier, Option<u64>);

struct State {
    rate: Rate<Place, Line>,
    sinks: Vec<Sink>,
}

impl Log {
    /// Makes one that writes there.
    pub(super) fn new(open: Targets, sinks: Vec<Sink>) -> Arc<Self> {
        let state = State {
            rate: Rate::new(),
            sinks,
        };
        Arc::new(Self {
            open,
            state: Mutex::new(state),
            left_out: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn telling(&self, target: &str) -> Telling {
        if is_ours(target) || self.open.would_enable(target, &Level::TRACE) {
            Telling::All
        } else {
            Telling::OwnWords
        }
    }

    fn take(&self, place: Place, line: Line, now: Instant) {
        let mut state = self.lock();
        if line.level > Level::INFO {
            state.write(&Heard { line, left_out: 0 });
            return;
        }
        let limit = if is_ours(&line.target) { OURS } else { OTHERS };
        match state.rate.take(place, limit, line, now) {
            Some(heard) => state.write(&heard),
            None => self.left_out.notify_one(),
        }
    }

    /// Tells what was left out.
    pub(super) fn tell_rest(&self) {
        self.lock().tell(None);
    }

    /// Tells now and then what was left out; never ends.
    pub(super) fn keep_telling(&self) {
        let mut state = self.lock();
        loop {
            state = match state.rate.deadline() {
                None => self
                    .left_out
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let wait = deadline.saturating_duration_since(Instant::now());
                    let waited = self.left_out.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.tell(Some(Instant::now()));
        }
    }
}

impl State {
    fn tell(&mut self, now: Option<Instant>) {
        for heard in self.rate.tell(now) {
            self.write(&heard);
        }
    }

    fn write(&mut self, heard: &Heard<Line>) {
        let time = time(now());
        for sink in &mut self.sinks {
            let line = heard
                .line
                .written(sink.format, sink.colour, &time, heard.left_out);
            // Whoever read it may be gone, or the disk full: the relay goes on without a log.
            drop(sink.writer.write_all(line.as_bytes()));
        }
    }
}

/// Returns whether our own code speaks.
fn is_ours(target: &str) -> bool {
    target == "relay" || target.starts_with("relay::")
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
    let seconds = crate::home::utc(time);
    format!(
        "{}.{:06}Z",
        seconds.trim_end_matches('Z'),
        since.subsec_micros()
    )
}

/// The log as a part of the process's subscriber.
pub(super) struct LogLayer(pub(super) Arc<Log>);

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let mut said = Said::default();
        let telling = self.0.telling(attributes.metadata().target());
        attributes.record(&mut said.listener(telling));
        span.extensions_mut().replace(said);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        if let Some(said) = span.extensions_mut().get_mut::<Said>() {
            values.record(&mut said.listener(self.0.telling(span.metadata().target())));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        // What comes through the facade `log` tells its target itself.
        let target = match metadata.target() {
            "log" => Said::by(event, Telling::OwnWords).target,
            _ => None,
        };
        let target = target.unwrap_or_else(|| metadata.target().to_owned());
        let said = Said::by(event, self.0.telling(&target));
        let spans = context
            .event_scope(event)
            .into_iter()
            .flat_map(Scope::from_root);
        let spans = spans.map(|span| {
            let fields = span.extensions().get::<Said>().map(Said::fields);
            match fields.filter(|fields| !fields.is_empty()) {
                Some(mut fields) => {
                    fields.truncate(fields.floor_char_boundary(LONGEST_SPAN));
                    format!("{}{{{fields}}}", span.name())
                }
                None => span.name().to_owned(),
            }
        });
        let line = Line {
            level: *metadata.level(),
            spans: spans.collect(),
            target,
            said,
        };
        let place = (metadata.callsite(), line.said.source_line);
        self.0.take(place, line, Instant::now());
    }
}

#[cfg(test)]
mod tests;
