//! Low power as a consumer asks for it: pure (VF-47).
//!
//! ```text
//!          enter                       exit, or a wake-up if it waits for one
//!   off ----------> low power ------------------------------------------------> off
//!                    |   ^
//!             access |   | its end
//!                    v   |
//!              low power, awake for the access
//! ```
//!
//! In low power memory is blocked whatever the power state is (VF-17), and the consumer's claim to an awake function is
//! given up, so the idle policy may put it to sleep. Who carries out the [`Effects`] is the assignment.

use pci_core::Errno;

/// Whether the consumer is in low power, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LowPower(Mode);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Off,
    On {
        /// The consumer wants to be told when the function wakes up.
        wakeup: bool,
    },
}

/// An access or a request of the consumer, from its beginning to [`LowPower::end`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an access that does not end keeps the function awake"]
pub struct Access {
    /// It has a claim of its own: it began in low power.
    claimed: bool,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// Revoke the mappings: a touch faults from now on.
    pub revoke_mappings: bool,
    /// Claim an awake function, and wait until it is.
    pub claim: bool,
    /// Give a claim up.
    pub release: bool,
    /// Tell the consumer that the function has woken up.
    pub signal: bool,
}

impl LowPower {
    /// Whether the consumer is in low power: its memory accesses fail with EIO and its mappings fault.
    #[must_use]
    pub fn blocks_memory(&self) -> bool {
        self.0 != Mode::Off
    }

    /// The consumer enters low power; with `wakeup` it is told of the first wake-up, which ends it.
    ///
    /// # Errors
    /// `EINVAL` if it is in low power; nothing changed.
    pub fn enter(&mut self, wakeup: bool) -> Result<Effects, Errno> {
        if self.0 != Mode::Off {
            return Err(Errno::EINVAL);
        }
        self.0 = Mode::On { wakeup };
        Ok(Effects { revoke_mappings: true, release: true, ..Effects::default() })
    }

    /// The consumer leaves low power; nothing to do if it is not in it.
    pub fn exit(&mut self) -> Effects {
        let Mode::On { .. } = std::mem::take(&mut self.0) else { return Effects::default() };
        Effects { claim: true, ..Effects::default() }
    }

    /// The consumer begins an access or a request, for whose duration the function is awake.
    pub fn begin(&mut self) -> (Effects, Access) {
        let claimed = self.0 == Mode::On { wakeup: false };
        let effects = if claimed { Effects { claim: true, ..Effects::default() } } else { self.wake() };
        (effects, Access { claimed })
    }

    /// An access or a request ends, whatever became of low power meanwhile.
    pub fn end(&mut self, access: Access) -> Effects {
        Effects { release: access.claimed, ..Effects::default() }
    }

    /// The function has woken up, or was woken by somebody else. Ends a low power that waits for it; any other goes on,
    /// and the function goes back to sleep when whoever woke it is done.
    pub fn wake(&mut self) -> Effects {
        match self.0 {
            Mode::On { wakeup: true } => {
                self.0 = Mode::Off;
                Effects { claim: true, signal: true, ..Effects::default() }
            }
            Mode::Off | Mode::On { wakeup: false } => Effects::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTHING: Effects = Effects { revoke_mappings: false, claim: false, release: false, signal: false };
    const CLAIM: Effects = Effects { claim: true, ..NOTHING };
    const RELEASE: Effects = Effects { release: true, ..NOTHING };

    #[test]
    fn vf_47_entry_revokes_and_blocks_and_a_second_one_is_refused() {
        let mut low = LowPower::default();
        assert!(!low.blocks_memory());
        assert_eq!(low.enter(false), Ok(Effects { revoke_mappings: true, ..RELEASE }));
        assert!(low.blocks_memory());
        assert_eq!(low.enter(true), Err(Errno::EINVAL));
        assert_eq!(low.exit(), CLAIM);
        assert!(!low.blocks_memory());
        assert_eq!(low.exit(), NOTHING, "idempotent");
    }

    #[test]
    fn vf_47_an_access_wakes_the_function_for_its_duration() {
        let mut low = LowPower::default();
        let (effects, before) = low.begin();
        assert_eq!(effects, NOTHING);
        assert_eq!(low.enter(false).map(|effects| effects.release), Ok(true));
        let ((first, one), (second, other)) = (low.begin(), low.begin());
        assert_eq!((first, second), (CLAIM, CLAIM));
        assert_eq!((low.end(before), low.end(one)), (NOTHING, RELEASE));
        assert!(low.blocks_memory(), "memory stays blocked meanwhile");
        assert_eq!((low.exit(), low.end(other)), (CLAIM, RELEASE), "each has its own claim");
    }

    #[test]
    fn vf_47_a_wake_up_is_told_once_and_ends_low_power() {
        let woken = Effects { claim: true, signal: true, ..NOTHING };
        let mut low = LowPower::default();
        assert_eq!(low.wake(), NOTHING);
        let _ = low.enter(true).unwrap();
        assert_eq!((low.wake(), low.wake()), (woken, NOTHING));
        assert!(!low.blocks_memory());
        let _ = low.enter(true).unwrap();
        let (effects, access) = low.begin();
        assert_eq!(effects, woken, "an access wakes as well");
        assert_eq!(low.end(access), NOTHING);
        let _ = low.enter(false).unwrap();
        assert_eq!(low.wake(), NOTHING, "nobody asked to be told");
        assert!(low.blocks_memory());
    }

    proptest! {
        #[test]
        fn a_consumer_has_one_claim_outside_low_power_and_one_for_each_access_inside(
            events in proptest::collection::vec(0_u8..6, 0..80)
        ) {
            let mut low = LowPower::default();
            let mut claims = 1;
            let mut open = Vec::new();
            for event in events {
                let effects = match event {
                    0 => low.enter(false).unwrap_or_default(),
                    1 => low.enter(true).unwrap_or_default(),
                    2 => low.exit(),
                    3 => {
                        let (effects, access) = low.begin();
                        open.push(access);
                        effects
                    }
                    4 => open.pop().map_or(NOTHING, |access| low.end(access)),
                    _ => low.wake(),
                };
                claims += i32::from(effects.claim) - i32::from(effects.release);
                let accesses = open.iter().map(|access| i32::from(access.claimed)).sum::<i32>();
                prop_assert_eq!(claims, i32::from(!low.blocks_memory()) + accesses);
            }
        }
    }
}
