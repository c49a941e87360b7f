//! What the back end is told of our configuration space: registers that mean something to whoever executes for us.
//!
//! COMMAND, and the control words of MSI and MSI-X: servers look whether they may master the bus and which interrupts are on.
//! They are levels: only the last value counts, so nothing is queued.

use pci_core::ConfigSpace;
use pci_spec::capability::{msi, msix};
use pci_spec::{Command, config};

use crate::link::LinkError;
use crate::picture::{CONFIG, Picture, Upstream};
use gate::ThreadToken;

/// Where the registers are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places([Option<u16>; 3]);

/// Their values, at most all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Values([u16; 3]);

impl Places {
    pub(super) fn of(picture: &Picture) -> Places {
        let control = |id, control| picture.capability(id).map(|at| at + control);
        let (msi, msix) = (control(msi::ID, msi::CONTROL), control(msix::ID, msix::CONTROL));
        Places([Some(config::COMMAND), msi, msix])
    }

    /// What our configuration space has now. A function that is kept off the bus, or sleeps, masters nothing whatever COMMAND
    /// says, and the back end has no other way to know.
    pub(super) fn look(&self, space: &ConfigSpace) -> Values {
        let mut values = self.0.map(|place| {
            let mut bytes = [0; 2];
            place.into_iter().for_each(|at| space.read(at, &mut bytes));
            u16::from_le_bytes(bytes)
        });
        if !space.masters_bus() {
            let [command, ..] = &mut values;
            *command &= !Command::BUS_MASTER.bits();
        }
        Values(values)
    }

    /// Sends what differs from what the back end was told before.
    pub(super) fn tell(
        &self,
        token: &mut ThreadToken,
        upstream: &dyn Upstream,
        (before, now): (Option<Values>, Values),
    ) -> Result<(), LinkError> {
        let Values(now) = now;
        let before = before.map(|Values(before)| before.map(Some)).unwrap_or_default();
        for ((place, value), before) in self.0.iter().zip(now).zip(before) {
            if let Some(at) = place
                && before != Some(value)
            {
                upstream.post(token, CONFIG, u64::from(*at), &value.to_le_bytes())?;
            }
        }
        Ok(())
    }
}
