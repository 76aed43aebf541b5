//! The resources of a process, as counted by the kernel.

use std::fs;

use rustix::process::Pid;
use serde_json::{Value, json};

use crate::figures::rounded;

/// The kernel reports processor time in hundredths of a second, whatever its own clock rate.
const TICKS_PER_SECOND: f64 = 100.0;

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
    /// Reads them of a running process, from `/proc`.
    pub(crate) fn of(pid: Pid) -> Self {
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", pid.as_raw_nonzero());
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
        };
        let stat = read("stat");
        // The program's name, in parentheses, may contain anything; fields 14 and 15 of proc(5) are the 12th and 13th
        // after it.
        let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |place: usize| fields[place].parse::<f64>().expect("a number of ticks");
        let status = read("status");
        let megabytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kibibytes.map_or(0.0, |kibibytes: f64| kibibytes * 1024.0 / 1e6)
        };
        Self {
            processor_ms: (ticks(11) + ticks(12)) * 1000.0 / TICKS_PER_SECOND,
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
