//! The resources of a process, as counted by the kernel.

use std::fs;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use rustix::process::Pid;
use serde_json::{Value, json};

use crate::figures::rounded;

/// The processor time and memory that a process has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time, in milliseconds.
    pub(crate) processor_ms: f64,
    /// Resident memory in MB (of a million bytes).
    pub(crate) resident: f64,
    /// Peak of resident memory, in MB.
    pub(crate) peak: f64,
}

impl Usage {
    /// Reads them of a running process.
    pub(crate) fn of(pid: Pid) -> Self {
        // The process's clock is the scheduler's own count in nanoseconds, of all its threads, those that have ended too.
        // (`/proc/PID/task/*/schedstat` is the same count without those; `/proc/PID/stat` counts in steps of 10 ms.)
        let clock = clock_getcpuclockid(nix::unistd::Pid::from_raw(pid.as_raw_nonzero().get()));
        let now = clock.and_then(nix::time::ClockId::now);
        let processor = Duration::from(now.expect("a running process has a clock"));
        let path = format!("/proc/{}/status", pid.as_raw_nonzero());
        let status =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kibibytes.map_or(0.0, |kibibytes: f64| kibibytes * 1024.0 / 1e6)
        };
        Self {
            processor_ms: processor.as_secs_f64() * 1000.0,
            resident: megabytes("VmRSS:"),
            peak: megabytes("VmHWM:"),
        }
    }

    /// Returns the processor time in milliseconds for each of so many messages since `before`.
    pub(crate) fn per_message_since(&self, before: &Self, messages: usize) -> f64 {
        let messages = u32::try_from(messages).expect("messages can be counted");
        (self.processor_ms - before.processor_ms) / f64::from(messages)
    }

    /// Returns the resident memory and its peak, in MB.
    pub(crate) fn memory(&self) -> Value {
        json!({"resident": rounded(self.resident), "peak": rounded(self.peak)})
    }
}
