//! A device whose whole state is a number, and which may stop answering.

use crate::cell::Cell;
use crate::driver::Planned;
use gate::{Pass, Quiesced};
use pci_core::{BarIndex, Device, Preserve, PreserveError, ResetKind};
use std::panic::resume_unwind;

/// How a device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// It reads all-ones.
    Dead,
    /// It panics at the next access.
    Mad,
}

/// What becomes of the next save or restore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kept {
    #[default]
    Well,
    Refused,
    Panics,
}

/// See the module's head.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) mood: Cell<Mood>,
    pub(crate) kept: Cell<Kept>,
    number: Cell<u64>,
}

/// The register that cannot be all-ones.
pub(crate) const ALIVE: u64 = 0x10;

impl Device for Model {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        match self.mood.get() {
            Mood::Well => data.fill(0),
            Mood::Dead => data.fill(0xff),
            Mood::Mad => resume_unwind(Box::new(Planned)),
        }
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {
        self.number.with(|number| *number = number.wrapping_add(1));
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        self.number.set(0);
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn never_all_ones(&self, _bar: BarIndex, offset: u64, _length: usize) -> bool {
        offset == ALIVE
    }

    fn preserve(&self) -> Option<&dyn Preserve> {
        Some(self)
    }
}

impl Preserve for Model {
    fn save(&self, _quiesced: &Quiesced<'_>) -> Result<Vec<u8>, PreserveError> {
        self.answers()?;
        Ok(self.number.get().to_le_bytes().to_vec())
    }

    fn restore(&self, _quiesced: &Quiesced<'_>, state: &[u8]) -> Result<(), PreserveError> {
        self.answers()?;
        let number = state.try_into().map_err(|_| PreserveError::Malformed("not a number"))?;
        self.number.set(u64::from_le_bytes(number));
        Ok(())
    }
}

impl Model {
    fn answers(&self) -> Result<(), PreserveError> {
        match self.kept.with(std::mem::take) {
            Kept::Well => Ok(()),
            Kept::Refused => Err(PreserveError::NotNow("as the plan says")),
            Kept::Panics => resume_unwind(Box::new(Planned)),
        }
    }
}
