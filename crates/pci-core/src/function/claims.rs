//! What is known of writes to configuration space by users: which ranges a driver keeps for itself, and whether anybody
//! wrote at all (CFG-14).

use super::Function;
use crate::observe::FunctionEvent;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// A range that a driver keeps for itself.
#[derive(Clone, Debug)]
struct Exclusive {
    registers: Range<u16>,
    owner: &'static str,
}

/// See the module's head. Fixed when the function is made, but for the two marks, which are only ever set.
#[derive(Debug, Default)]
pub(super) struct Claims {
    exclusive: Vec<Exclusive>,
    written: AtomicBool,
    warned: AtomicBool,
}

impl Function {
    /// Says that `owner`, a driver, keeps these registers for itself: the first write of a user to them is reported.
    #[must_use]
    pub fn with_exclusive_config(mut self, registers: Range<u16>, owner: &'static str) -> Function {
        self.claims.exclusive.push(Exclusive { registers, owner });
        self
    }

    /// Whether a user has written to configuration space past its driver.
    #[must_use]
    pub fn was_written_by_user(&self) -> bool {
        self.claims.written.load(Ordering::Acquire)
    }

    /// A user writes `length` bytes at `offset`. Each of the two events is told once, since a user decides how often it
    /// happens.
    pub(crate) fn note_user_write(&self, offset: u16, length: usize) {
        if !self.claims.written.swap(true, Ordering::AcqRel) {
            self.tell(&FunctionEvent::WrittenByUser { offset });
        }
        let end = usize::from(offset) + length;
        let touched = self
            .claims
            .exclusive
            .iter()
            .find(|range| offset < range.registers.end && usize::from(range.registers.start) < end);
        if let Some(range) = touched
            && !self.claims.warned.swap(true, Ordering::AcqRel)
        {
            self.tell(&FunctionEvent::ExclusiveRangeWritten { offset, owner: range.owner });
        }
    }
}
