//! Virtual time. A delay that the core lets pass is a moment at which everything else goes on: the clock hands it to the
//! world, which does what is due in between, on the same thread, and comes back when the delay is over.
//!
//! So whatever may happen during a reset (a card is pulled, its consumer dies, another slot is unplugged) happens during
//! resets, and a removal ends a delay at the moment at which it happens (law 4).

use gate::{Gone, ThreadToken};
use pci_core::{StaysClosed, Time, VirtualTime};
use std::sync::{OnceLock, Weak};
use std::time::Duration;

/// Who does what is due while a delay passes.
pub(crate) trait Meanwhile: Send + Sync {
    /// Lets time pass up to `end`, or until `over` says that nobody waits for that any more.
    fn meanwhile(&self, token: &mut ThreadToken, end: Duration, over: &dyn Fn() -> bool);
}

/// The clock of a world.
#[derive(Default)]
pub(crate) struct Clock {
    time: VirtualTime,
    world: OnceLock<Weak<dyn Meanwhile>>,
}

impl Clock {
    /// Hands delays to `world` from now on.
    pub(crate) fn drive(&self, world: Weak<dyn Meanwhile>) {
        let _one_world = self.world.set(world);
    }

    /// Moves time on to `when`; it never goes back.
    pub(crate) fn advance_to(&self, when: Duration) {
        self.time.advance(when.saturating_sub(self.time.now()));
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.time.fmt(f)
    }
}

impl Time for Clock {
    fn now(&self) -> Duration {
        self.time.now()
    }

    fn pass(
        &self,
        token: &mut ThreadToken,
        closed: &dyn StaysClosed,
        duration: Duration,
    ) -> Result<(), Gone> {
        let end = self.now().saturating_add(duration);
        match self.world.get().and_then(Weak::upgrade) {
            Some(world) => world.meanwhile(token, end, &|| closed.is_gone()),
            None => self.advance_to(end),
        }
        if closed.is_gone() { Err(Gone) } else { Ok(()) }
    }
}
