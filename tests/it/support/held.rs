//! The resources that this process holds.

use std::fs;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

/// The resources of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Tasks of the current runtime.
    pub(crate) tasks: usize,
    /// Open files, sockets and pipes.
    pub(crate) descriptors: usize,
}

impl Held {
    /// Counts.
    pub(crate) fn now() -> Self {
        let open = fs::read_dir("/proc/self/fd").expect("open files are listed");
        Self {
            tasks: Handle::current().metrics().num_alive_tasks(),
            descriptors: open.count(),
        }
    }
}

/// Returns the memory in use, in KiB.
pub(crate) fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("there is a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    size.expect("the memory in use is told")
}
