//! The state of a PE: one word, changed by compare-exchange, so that who marks a PE and who removes it never both win.

use super::atomic::{AtomicU32, Ordering};

bitflags::bitflags! {
    /// State bits of a PE (EEH-01).
    ///
    /// [`PeState::INVALID`] is a state here and no kind: Linux sets it in one word and looks for it in the other, where the
    /// bit means *isolated*.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PeState: u32 {
        /// It is frozen: nothing gets in or out.
        const ISOLATED = 0x1;
        /// A recovery has it.
        const RECOVERING = 0x2;
        /// Configuration space answers all-ones (EEH-09).
        const CFG_BLOCKED = 0x4;
        /// It is being reset.
        const RESET = 0x8;
        /// It stays in the tree although it is empty.
        const KEEP = 0x100;
        /// It failed for good and its functions were removed.
        const REMOVED = 0x400;
        /// It was removed. Look-ups and walks pass it by; it is collected as soon as it is not marked.
        const INVALID = 0x1_0000;
    }
}

/// What keeps a removed PE in the tree (EEH-I5).
pub(crate) const MARKS: PeState = PeState::RECOVERING.union(PeState::KEEP);

/// Why a PE was not marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkError {
    /// It was removed.
    #[error("the PE was removed")]
    Removed,
    /// Another recovery has it.
    #[error("the PE is being recovered already")]
    Recovering,
}

#[derive(Debug)]
pub(crate) struct StateWord(AtomicU32);

impl Default for StateWord {
    fn default() -> StateWord {
        StateWord(AtomicU32::new(0))
    }
}

impl StateWord {
    #[inline]
    pub(crate) fn load(&self) -> PeState {
        PeState::from_bits_retain(self.0.load(Ordering::Acquire))
    }

    /// Sets bits. Gives the state before.
    pub(crate) fn set(&self, bits: PeState) -> PeState {
        PeState::from_bits_retain(self.0.fetch_or(bits.bits(), Ordering::AcqRel))
    }

    /// Clears bits. Gives the state before.
    pub(crate) fn clear(&self, bits: PeState) -> PeState {
        PeState::from_bits_retain(self.0.fetch_and(!bits.bits(), Ordering::AcqRel))
    }

    /// Sets both marks, unless it is removed or marked: one decision with that of whoever removes it.
    pub(crate) fn mark(&self) -> Result<(), MarkError> {
        let marked = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |bits| {
            let state = PeState::from_bits_retain(bits);
            (!state.intersects(MARKS | PeState::INVALID)).then_some(bits | MARKS.bits())
        });
        match marked {
            Ok(_) => Ok(()),
            Err(bits) if PeState::from_bits_retain(bits).contains(PeState::INVALID) => {
                Err(MarkError::Removed)
            }
            Err(_) => Err(MarkError::Recovering),
        }
    }

    /// Makes it removed. True if it is marked and has to stay.
    pub(crate) fn invalidate(&self) -> bool {
        self.set(PeState::INVALID).intersects(MARKS)
    }
}
