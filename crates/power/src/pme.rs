//! Power Management Events: arming them, looking for them, and when to look.
//!
//! A function that sleeps and wants to wake the system sets PME status and sends a message. Where no message gets
//! through (conventional PCI, a platform that loses it) somebody looks from time to time: [`Poll`] says when (PWR-10).
//! PCIe 6.0 s5.3.3 *Power Management Event Mechanisms*.

use crate::hold::Hold;
use pci_core::Width;
use pci_spec::Bdf;
use pci_spec::capability::pm::{self, ControlStatus};
use std::time::Duration;

/// Between two looks (PWR-10).
pub const POLL_INTERVAL: Duration = Duration::from_millis(1000);

/// Lets a function signal PME from now on, or keeps it from it; an old event is cleared in either case. False if nothing
/// answers.
pub fn arm(hold: &mut dyn Hold, at: Bdf, enabled: bool) -> bool {
    let Some((register, control)) = read(hold, at) else { return false };
    let mut armed = control | ControlStatus::PME_STATUS;
    armed.set(ControlStatus::PME_ENABLE, enabled);
    hold.write(at, register, Width::Word, u32::from(armed.bits())).is_ok()
}

/// Whether the function has signalled PME while it was enabled. Clears the event and disables further ones, so that one
/// wish to wake up is seen once.
pub fn take(hold: &mut dyn Hold, at: Bdf) -> bool {
    let Some((register, control)) = read(hold, at) else { return false };
    if !control.contains(ControlStatus::PME_STATUS) {
        return false;
    }
    let cleared = control - ControlStatus::PME_ENABLE;
    let written = hold.write(at, register, Width::Word, u32::from(cleared.bits()));
    written.is_ok() && control.contains(ControlStatus::PME_ENABLE)
}

/// PMCSR and its offset; nothing if the function has no power, or no such register.
fn read(hold: &mut dyn Hold, at: Bdf) -> Option<(u16, ControlStatus)> {
    let register = hold.facts(at).pm? + pm::CONTROL_STATUS;
    let value = hold.read(at, register, Width::Word).ok()?;
    let control = u16::try_from(value).ok().filter(|control| *control != u16::MAX)?;
    Some((register, ControlStatus::from_bits_retain(control)))
}

/// When to look at the functions whose events get lost. Pure; time is the caller's.
#[derive(Clone, Debug, Default)]
pub struct Poll {
    functions: Vec<Bdf>,
    next: Option<Duration>,
}

impl Poll {
    /// Looks at a function, too; the first time one interval from now if it is the first.
    pub fn add(&mut self, now: Duration, at: Bdf) {
        if !self.functions.contains(&at) {
            self.functions.push(at);
        }
        self.next.get_or_insert(now + POLL_INTERVAL);
    }

    /// Does not look at a function any more.
    pub fn remove(&mut self, at: Bdf) {
        self.functions.retain(|function| *function != at);
        if self.functions.is_empty() {
            self.next = None;
        }
    }

    /// When to look next; never if there is nothing to look at.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.next
    }

    /// The functions to look at now: all of them, one interval after the last time, or none. Looks that were missed are not
    /// made up for.
    pub fn due(&mut self, now: Duration) -> Vec<Bdf> {
        match self.next {
            Some(next) if now >= next => {
                self.next = Some(now + POLL_INTERVAL);
                self.functions.clone()
            }
            Some(_) | None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn pwr_10_functions_are_looked_at_every_second() {
        let (one, other) = (Bdf::from_routing_id(0, 8), Bdf::from_routing_id(0, 16));
        let mut poll = Poll::default();
        assert_eq!((poll.next(), poll.due(ms(5000))), (None, vec![]));
        poll.add(ms(100), one);
        poll.add(ms(600), other);
        poll.add(ms(700), other);
        assert_eq!(poll.next(), Some(ms(1100)));
        assert_eq!(poll.due(ms(1099)), []);
        assert_eq!(poll.due(ms(1100)), [one, other]);
        assert_eq!(poll.due(ms(2099)), []);
        assert_eq!(poll.due(ms(7000)), [one, other], "late");
        assert_eq!(poll.next(), Some(ms(8000)), "and not made up for");
        poll.remove(one);
        assert_eq!(poll.due(ms(8000)), [other]);
        poll.remove(other);
        assert_eq!(poll.next(), None);
    }
}
