//! The time between two tries.

use gate::{AccessKind, Closed, Deadline, Gate, Gone, Handle, Reason, ThreadToken};
use pci_core::{StaysClosed, Time};
use std::time::Duration;

/// How often a command is given again to a platform that is busy, and after which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often it is given in all; one at least.
    pub tries: u32,
    /// Time between two tries.
    pub pause: Duration,
}

impl Default for Retries {
    /// 100 times, 20 ms apart (ZP-03).
    fn default() -> Retries {
        Retries { tries: 100, pause: Duration::from_millis(20) }
    }
}

/// A gate of nobody's, which stays closed: a wait there ends at its deadline, or when the thread's waits are cancelled (law 4), and an
/// operator is shown who waits.
struct Pause {
    handle: Handle,
    _closed: Closed,
}

impl Pause {
    fn new(token: &ThreadToken) -> Option<Pause> {
        let gate = Gate::new("busy zPCI platform");
        let closed = gate.try_close(token, Reason::Recovery).ok()?.park();
        Some(Pause { handle: gate.handle(), _closed: closed })
    }
}

impl StaysClosed for Pause {
    fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), Gone> {
        // Refused at the deadline: nobody ever gets in.
        let _over = self.handle.enter(token, AccessKind::Config, deadline).map(drop);
        Ok(())
    }

    fn is_gone(&self) -> bool {
        false
    }
}

/// Lets `duration` pass with nothing held.
pub(super) fn pause(time: &dyn Time, token: &mut ThreadToken, duration: Duration) {
    // Nobody else has the gate, so closing it does not fail; without it there is no pause, and the tries are counted all the same.
    if let Some(pause) = Pause::new(token) {
        let _never_gone = time.pass(token, &pause, duration);
    }
}
