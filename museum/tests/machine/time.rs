//! Time as the scenarios need it.

use super::ahead;
use gate::{Gone, ThreadToken};
use pci_core::{StaysClosed, Time, VirtualTime};
use std::time::Duration;

/// Virtual time: a delay is a point at which everybody else may come first.
#[derive(Debug, Default)]
pub(crate) struct Jumping(VirtualTime);

impl Jumping {
    /// Lets the time come.
    pub(crate) fn reach(&self, when: Duration) {
        self.0.advance(when.saturating_sub(self.0.now()));
    }
}

impl Time for Jumping {
    fn now(&self) -> Duration {
        self.0.now()
    }

    fn pass(
        &self,
        token: &mut ThreadToken,
        closed: &dyn StaysClosed,
        duration: Duration,
    ) -> Result<(), Gone> {
        shuttle::thread::yield_now();
        self.0.pass(token, closed, duration)
    }
}

/// Time that stands still: a delay ends when what is closed is removed, and never else.
#[derive(Debug)]
pub(crate) struct Standing;

impl Time for Standing {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn pass(&self, token: &mut ThreadToken, closed: &dyn StaysClosed, _: Duration) -> Result<(), Gone> {
        closed.wait(token, ahead())
    }
}
