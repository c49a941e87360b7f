//! Waiting: until requests have ended before a reset, until functions answer after it.
//!
//! The series of waits and its numbers are those of power changes ([`power::ready`]); here is only who looks.

use crate::facts::Facts;
use crate::hold::{Hold, Reader};
use crate::link::Link;
use gate::Gone;
use pci_core::{PENDING_POLLS, Presence, Progress, ResetStep};
use pci_spec::{Bdf, config};
use power::ready::{self, Answer, NotReady, READY_LIMIT, SecondaryBus, Watched};
use std::time::Duration;

/// Waits until the function answers, up to 60 s and what PWR-09a makes of that; `after` names the method in messages.
///
/// One retraining of the link is tried once a second has passed (RST-10).
///
/// # Errors
/// [`NotReady`]; the removal of the function ends the wait at once.
pub(crate) fn wait_ready(hold: &mut dyn Hold, at: Bdf, after: &'static str) -> Result<(), NotReady> {
    ready::wait(&mut Function { hold, at }, READY_LIMIT, true, after).map(drop)
}

/// Whether the function answers: its Vendor ID is readable and not "try again", or, where that reads all-ones as in a
/// virtual function, its COMMAND is not (PWR-09, CFG-16). While "try again" is answered no other register is touched:
/// a root complex may hold such a request until the function is ready.
pub(crate) fn answers(reader: &mut dyn Reader, at: Bdf) -> bool {
    match Presence::decode(reader.read_dword(at, config::VENDOR_ID)) {
        Presence::NotReady => false,
        Presence::Present { .. } => true,
        Presence::Absent => reader.read_word(at, config::COMMAND) != u16::MAX,
    }
}

fn answer(ready: bool) -> Answer {
    if ready { Answer::Ready } else { Answer::NotYet }
}

/// One function that is waited for.
struct Function<'h> {
    hold: &'h mut dyn Hold,
    at: Bdf,
}

impl Watched for Function<'_> {
    fn look(&mut self) -> Result<Answer, Gone> {
        Ok(answer(answers(self.hold, self.at)))
    }

    fn pass(&mut self, duration: Duration) -> Result<(), Gone> {
        self.hold.pass(self.at, duration)
    }

    /// Only a link that is down: one that is up may be in use by other functions. And only if nobody is at its port
    /// now.
    fn retrain(&mut self) -> Result<bool, Gone> {
        let Some(port) = self.hold.take_bridge(self.at) else { return Ok(false) };
        let Some(facts) = Facts::read(self.hold, port) else { return Ok(false) };
        let link = Link::below(self.hold, port, &facts);
        let Some(link) = link.filter(|link| link.reports && !link.is_active(self.hold)) else {
            return Ok(false);
        };
        let up = link.retrain(self.hold, self.at)?;
        self.hold.tell(self.at, ResetStep::LinkRetrained { up });
        Ok(up)
    }

    fn tell(&mut self, progress: Progress) {
        self.hold.tell(self.at, ResetStep::Readiness(progress));
    }
}

/// All functions on a bus, which are waited for together. Those that were removed are not waited for.
pub(crate) struct Bus<'h> {
    pub(crate) hold: &'h mut dyn Hold,
    pub(crate) bridge: Bdf,
    pub(crate) children: &'h [Bdf],
    pub(crate) link: Option<Link>,
}

impl Watched for Bus<'_> {
    fn look(&mut self) -> Result<Answer, Gone> {
        let mut ready = true;
        for child in self.children {
            ready &= self.hold.is_gone(*child) || answers(self.hold, *child);
        }
        Ok(answer(ready))
    }

    fn pass(&mut self, duration: Duration) -> Result<(), Gone> {
        self.hold.pass(self.bridge, duration)
    }

    fn retrain(&mut self) -> Result<bool, Gone> {
        match self.link {
            Some(link) if link.reports && !link.is_active(self.hold) => {
                let up = link.retrain(self.hold, self.bridge)?;
                self.hold.tell(self.bridge, ResetStep::LinkRetrained { up });
                Ok(up)
            }
            _ => Ok(false),
        }
    }

    fn tell(&mut self, progress: Progress) {
        self.hold.tell(self.bridge, ResetStep::Readiness(progress));
    }
}

impl SecondaryBus for Bus<'_> {
    fn link_active(&mut self) -> Result<bool, Gone> {
        Ok(self.link.is_some_and(|link| link.is_active(self.hold)))
    }
}

/// Waits for requests of the function to end: four looks with 100, 200 and 400 ms between them. If some are left the
/// reset goes on and somebody is told (CFG-17).
///
/// # Errors
/// [`Gone`]: the function was removed.
pub(crate) fn wait_pending(
    hold: &mut dyn Hold,
    at: Bdf,
    pending: impl Fn(&mut dyn Hold) -> bool,
) -> Result<(), Gone> {
    for delay in PENDING_POLLS.map(Some).into_iter().chain([None]) {
        if !pending(hold) {
            return Ok(());
        }
        if let Some(delay) = delay {
            hold.pass(at, delay)?;
        }
    }
    hold.tell(at, ResetStep::TransactionsPending);
    Ok(())
}
