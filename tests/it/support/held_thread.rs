//! One thread of a relay that stands still while the others go on.

use std::fs;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use rustix::process::Signal;

use super::relay::Relay;

/// A thread of the relay that is held, as a broken disk or a fault of our own would hold it.
pub(crate) struct HeldThread(Pid);

impl HeldThread {
    /// Holds the thread of this name.
    pub(crate) fn of(relay: &Relay, name: &str) -> Self {
        let tasks = format!("/proc/{}/task", relay.pid().as_raw_nonzero());
        let mut threads = fs::read_dir(tasks).expect("the relay runs");
        let thread = threads.find_map(|thread| {
            let thread = thread.expect("it can be read").path();
            let its_name = fs::read_to_string(thread.join("comm")).ok()?;
            let number = thread.file_name()?.to_str()?.parse().ok()?;
            (its_name.trim() == name).then(|| Pid::from_raw(number))
        });
        let thread = thread.expect("the relay has a thread of this name");
        ptrace::seize(thread, ptrace::Options::empty()).expect("a child can be traced");
        ptrace::interrupt(thread).expect("it is traced");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
        Self(thread)
    }

    /// Kills the relay meanwhile.
    pub(crate) fn kill(self, relay: &Relay) {
        relay.signal(Signal::KILL);
        // A process ends only when whoever traces its threads has taken note of their end.
        waitpid(self.0, Some(WaitPidFlag::__WALL)).expect("it ends");
    }

    /// Lets it go on.
    pub(crate) fn let_go(self) {
        ptrace::detach(self.0, None).expect("it is traced, and has stopped");
    }
}
