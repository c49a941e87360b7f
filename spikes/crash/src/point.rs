//! The points at which a server can be killed: between any two steps that leave a trace.
//!
//! A server counts the points it passes and ends itself with SIGKILL at the one it was given. To everybody else this is
//! a kill from outside at that very instruction, but it can be had at each one, and again.

use rustix::process::{Signal, getpid, kill_process};

/// The countdown.
pub(crate) struct Points {
    left: Option<u64>,
    passed: u64,
}

impl Points {
    /// Ends this process at point number `at`, counted from 1; `None`: never.
    pub(crate) fn new(at: Option<u64>) -> Self {
        Self { left: at, passed: 0 }
    }

    /// One point.
    pub(crate) fn pass(&mut self) {
        self.passed += 1;
        if self.left == Some(self.passed) {
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}
