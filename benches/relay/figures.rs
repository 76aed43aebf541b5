//! Figures: series of measurements, and their output as one JSON object a line.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Measurements of one quantity, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Adds a measurement, as milliseconds.
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1000.0);
    }

    /// Adds all measurements of another series.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Returns the median in milliseconds; panics without a measurement.
    pub(crate) fn median(&self) -> f64 {
        self.percentile(50)
    }

    /// Returns the median as it is printed.
    pub(crate) fn median_rounded(&self) -> f64 {
        rounded(self.median())
    }

    /// Returns the smallest measurement that at least so many percent of all do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        assert!(!self.0.is_empty(), "nothing was measured");
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
    }

    /// Returns minimum, median, 95th percentile and maximum in milliseconds, and the number of measurements.
    pub(crate) fn summary(&self) -> Value {
        json!({
            "min": rounded(self.percentile(0)), "p50": rounded(self.median()), "p95": rounded(self.percentile(95)),
            "max": rounded(self.percentile(100)), "samples": self.0.len(),
        })
    }
}

/// The wanted figures, and the promises broken so far.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Names or prefixes of names; empty means all.
    wanted: Vec<String>,
    broken: Vec<String>,
    /// What stands beside each figure.
    surroundings: Value,
}

impl Figures {
    /// Selects the figures whose names begin with one of these; all, if empty.
    pub(crate) fn new(wanted: Vec<String>) -> Self {
        Self {
            wanted,
            broken: Vec::new(),
            surroundings: Value::Null,
        }
    }

    /// Sets what stands beside each figure from now on.
    pub(crate) fn set_surroundings(&mut self, surroundings: Value) {
        self.surroundings = surroundings;
    }

    /// Returns whether any of these is wanted.
    pub(crate) fn want_any_of(&self, names: &[&str]) -> bool {
        self.wanted.is_empty() || names.iter().any(|name| self.want(name))
    }

    /// Prints a wanted figure, with further fields.
    pub(crate) fn tell(&self, name: &str, value: f64, unit: &str, more: &Value) {
        if !self.wanted.is_empty() && !self.want(name) {
            return;
        }
        let mut parts = vec![
            format!("\"figure\": {}", json!(name)),
            format!("\"value\": {}", rounded(value)),
            format!("\"unit\": {}", json!(unit)),
        ];
        let more = [more, &self.surroundings].map(|it| it.as_object().into_iter().flatten());
        parts.extend(
            more.into_iter()
                .flatten()
                .map(|(key, value)| format!("{}: {value}", json!(key))),
        );
        if cfg!(debug_assertions) {
            parts.push("\"build\": \"debug: this figure is worthless\"".to_owned());
        }
        let line = format!("{{{}}}", parts.join(", "));
        writeln!(std::io::stdout().lock(), "{line}").expect("standard output takes the figures");
    }

    /// Prints the relay's median, with both series' summaries.
    pub(crate) fn tell_pair(&self, name: &str, relay: &Series, bare: &Series, more: &Value) {
        let mut all = relay.summary();
        all["bare"] = bare.summary();
        for (key, value) in more.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        self.tell(name, relay.median(), "ms", &all);
    }

    /// Records a broken promise: figures are printed, but the run fails.
    pub(crate) fn broken(&mut self, promise: String) {
        progress(&format!("BROKEN: {promise}"));
        self.broken.push(promise);
    }

    /// Returns the promises that figures have broken so far, each as a sentence.
    pub(crate) fn promises_broken(&self) -> &[String] {
        &self.broken
    }

    fn want(&self, name: &str) -> bool {
        self.wanted.iter().any(|wanted| name.starts_with(wanted))
    }
}

/// Returns how long after `began` the future completes.
pub(crate) async fn after<T>(began: Instant, happens: impl Future<Output = T>) -> Duration {
    happens.await;
    began.elapsed()
}

/// Rounds to three decimal places, as figures are printed.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Prints a line about the progress.
pub(crate) fn progress(text: &str) {
    eprintln!("--- {text}");
}
