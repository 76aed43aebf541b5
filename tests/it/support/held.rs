//! The resources that a process holds. They are counted in a process of its own: the test that runs again there.

use std::process::Command;
use std::{env, fs};

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

/// Environment variable set in the process that is counted.
const COUNTED: &str = "RELAY_TEST_COUNTED";

/// Returns whether this process is the counted one.
pub(crate) fn is_counted() -> bool {
    env::var_os(COUNTED).is_some()
}

/// Returns the command that runs this test (with its module) again, in the process that is counted.
pub(crate) fn again(test: &str) -> Command {
    let program = env::current_exe().expect("the test is a program");
    let mut again = Command::new(program);
    again
        .args([test, "--exact", "--nocapture"])
        .env(COUNTED, "");
    again
}

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

    /// Returns whether more of anything is held than in the other count.
    pub(crate) fn exceeds(self, other: Self) -> bool {
        self.tasks > other.tasks || self.descriptors > other.descriptors
    }
}

/// Returns the memory in use, in KiB.
pub(crate) fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("there is a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    size.expect("the memory in use is told")
}
