//! The state of a function in its configuration space, kept over a reset.
//!
//! Saved is what RST-18 names and what RST-19 restores beside it. Not saved: the table of MSI-X, which lies in a BAR
//! and is the business of whoever wires the interrupts, and everything behind the BARs.

mod blob;
mod place;

use crate::facts::Facts;
use crate::hold::{Hold, Reader};
use crate::recorded;
pub use blob::BlobError;
use gate::Gone;
use pci_core::ResetStep;
use pci_spec::extended::sr_iov;
use pci_spec::{Bdf, extended};
pub(crate) use place::{Place, Stage, places};
use std::time::Duration;

/// How often a BAR of an endpoint is written again until it has its value, and how long after each (RST-19).
const BAR_RETRIES: u32 = 10;
const RETRY_AFTER: Duration = Duration::from_millis(1);
/// From the moment at which virtual functions are switched on to the first access. PCIe 6.0 s9.3.3.3.1 *VF Enable*.
const VIRTUAL_FUNCTIONS_APPEAR: Duration = Duration::from_millis(100);

/// What was saved of one function; empty as long as nothing was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SavedState {
    identity: (u16, u16),
    /// In the order of restoration.
    registers: Vec<(Place, u32)>,
}

impl SavedState {
    /// Reads the state of a function; empty while it does not answer.
    pub(crate) fn save(reader: &mut dyn Reader, at: Bdf, facts: &Facts) -> SavedState {
        if !crate::ready::answers(reader, at) {
            return SavedState::default();
        }
        let places = places(reader, at, facts);
        let registers =
            places.into_iter().map(|place| (place, reader.read(at, place.register, place.width))).collect();
        SavedState { identity: facts.identity, registers }
    }

    /// True if nothing was saved: restoring it does nothing (RST-20).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.registers.is_empty()
    }

    /// Whether the function that answers now has the identifiers of the one that was saved; true if nothing was.
    pub(crate) fn is_of(&self, reader: &mut dyn Reader, at: Bdf) -> bool {
        self.is_empty() || Facts::identity(reader, at) == Some(self.identity)
    }

    /// Whether both are of the same make of function: the same identifiers and registers.
    pub(crate) fn is_like(&self, other: &SavedState) -> bool {
        let places =
            |state: &SavedState| -> Vec<Place> { state.registers.iter().map(|(place, _)| *place).collect() };
        self.identity == other.identity && places(self) == places(other)
    }

    /// Puts the function back into this state, writing only registers that have another value (RST-19).
    ///
    /// # Errors
    /// [`Gone`]: the function was removed.
    pub(crate) fn restore(&self, hold: &mut dyn Hold, at: Bdf, facts: &Facts) -> Result<(), Gone> {
        if self.is_empty() {
            return Ok(());
        }
        let mut cleared = false;
        for (place, value) in &self.registers {
            if place.stage >= Stage::Aer && !std::mem::replace(&mut cleared, true) {
                // The errors of the time before and during the reset: they would be reported again.
                let recorded = recorded::by_aer(hold, at, facts);
                recorded::clear(hold, at, recorded);
            }
            match place.stage {
                Stage::Bar if !facts.bridge => restore_bar(hold, at, *place, *value)?,
                Stage::Iov => restore_iov(hold, at, facts, *place, *value)?,
                _ => {
                    let _written = put(hold, at, *place, *value);
                }
            }
        }
        Ok(())
    }

    /// Compares the function with this state and tells of each register that has another value; answers how many.
    pub(crate) fn verify(&self, hold: &mut dyn Hold, at: Bdf) -> usize {
        let mut different = 0;
        for (place, saved) in &self.registers {
            let found = hold.read(at, place.register, place.width);
            if found != *saved {
                different += 1;
                hold.tell(at, ResetStep::NotRestored { register: place.register, saved: *saved, found });
            }
        }
        different
    }

    /// The registers in which two states of the same function differ, as (offset, this, other); a register that only
    /// one of them has counts as all-ones in the other (RST-20).
    #[must_use]
    pub fn compare(&self, other: &SavedState) -> Vec<(u16, u32, u32)> {
        let value_in = |state: &SavedState, place: Place| {
            let found = state.registers.iter().find(|(other, _)| *other == place);
            found.map_or(place.width.all_ones(), |(_, value)| *value)
        };
        let mine = self.registers.iter().map(|(place, _)| *place);
        let theirs = other.registers.iter().map(|(place, _)| *place);
        let only_theirs = theirs.filter(|place| self.registers.iter().all(|(mine, _)| mine != place));
        mine.chain(only_theirs)
            .map(|place| (place.register, value_in(self, place), value_in(other, place)))
            .filter(|(_, mine, theirs)| mine != theirs)
            .collect()
    }
}

/// Writes a register if it has another value; true if it had.
fn put(hold: &mut dyn Hold, at: Bdf, place: Place, value: u32) -> bool {
    let differs = hold.read(at, place.register, place.width) != value;
    if differs {
        hold.write(at, place.register, place.width, value);
    }
    differs
}

/// A BAR may take its value only after a while.
fn restore_bar(hold: &mut dyn Hold, at: Bdf, place: Place, value: u32) -> Result<(), Gone> {
    for _ in 0..BAR_RETRIES {
        if !put(hold, at, place, value) || hold.read(at, place.register, place.width) == value {
            return Ok(());
        }
        hold.pass(at, RETRY_AFTER)?;
    }
    let _last = put(hold, at, place, value);
    Ok(())
}

/// Virtual functions that a reset took away need their time to come back.
fn restore_iov(hold: &mut dyn Hold, at: Bdf, facts: &Facts, place: Place, value: u32) -> Result<(), Gone> {
    let written = put(hold, at, place, value);
    let iov = facts.extended.iter().find(|found| found.id == extended::id::SR_IOV);
    let is_control = iov.is_some_and(|found| found.at + sr_iov::CONTROL == place.register);
    let enables = value & u32::from(sr_iov::Control::VF_ENABLE.bits()) != 0;
    if written && is_control && enables {
        hold.pass(at, VIRTUAL_FUNCTIONS_APPEAR)?;
    }
    Ok(())
}
