//! Passes: proof that an access is inside.

use crate::held::{Held, sealed::Proof};
use crate::long::LongId;
use crate::state::Shared;
use crate::sync::Arc;
use crate::thread::Slot;
use crate::word::Word;
use crate::{AccessKind, Epoch, ThreadToken, barrier};

/// Where a short pass is written down.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// In a slot of its thread.
    Slot(&'static Slot),
    /// All slots of the thread are taken: in the gate's count.
    Counted,
}

impl Place {
    /// Takes any free slot, or the count, and names the gate in it.
    pub(crate) fn take(token: &ThreadToken, shared: &Shared) -> Place {
        match token.record().free_slot() {
            Some(slot) => {
                slot.occupy(shared.address());
                Place::Slot(slot)
            }
            None => {
                shared.add_counted();
                Place::Counted
            }
        }
    }

    /// Clears the place, then wakes a closer that waits. The caller keeps the gate pinned, since the word is read after
    /// the closer may have gone on.
    #[inline]
    pub(crate) fn leave(self, shared: &Shared, expected: Word) {
        match self {
            Place::Slot(slot) => slot.vacate(),
            Place::Counted => shared.remove_counted(),
        }
        barrier::swift();
        let word = shared.word();
        if word != expected {
            shared.left_while_closed(word);
        }
    }
}

/// A short pass: the access is inside until it is dropped. Bound to its thread, not `Send`; nobody may sleep in it.
#[must_use = "dropping the pass leaves the gate at once"]
pub struct Pass<'t> {
    shared: &'t Arc<Shared>,
    token: &'t ThreadToken,
    place: Place,
    expected: Word,
    kind: AccessKind,
}

impl<'t> Pass<'t> {
    #[inline]
    pub(crate) fn new(
        shared: &'t Arc<Shared>,
        token: &'t ThreadToken,
        place: Place,
        expected: Word,
        kind: AccessKind,
    ) -> Pass<'t> {
        Pass { shared, token, place, expected, kind }
    }

    /// The thread's token, for a nested `try_enter`: with a pass held nothing may wait.
    #[inline]
    pub fn token(&self) -> &'t ThreadToken {
        self.token
    }

    /// What the access touches.
    #[inline]
    pub fn kind(&self) -> AccessKind {
        self.kind
    }

    /// The epoch that the access is in.
    #[inline]
    pub fn epoch(&self) -> Epoch {
        self.expected.epoch()
    }

    /// A long pass for what this access starts and does not wait for. Never refused: this pass keeps closers out until
    /// the long one is written down, or makes them wait for it.
    pub fn long(&self, kind: AccessKind, what: &'static str) -> LongPass {
        let id = self.shared.core.lock().long.insert(self.epoch(), kind, what);
        LongPass { shared: self.shared.clone(), id, epoch: self.epoch() }
    }
}

impl Drop for Pass<'_> {
    #[inline]
    fn drop(&mut self) {
        self.place.leave(self.shared, self.expected);
    }
}

impl Proof for Pass<'_> {
    #[inline]
    fn gate(&self) -> usize {
        self.shared.address()
    }
}
impl Held for Pass<'_> {}

impl std::fmt::Debug for Pass<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pass").field("gate", &self.shared.name).field("kind", &self.kind).finish()
    }
}

/// A long pass: work in flight, such as a command in io_uring. Counted and named, `Send`, pins the gate's memory.
///
/// It is no [`Held`] proof. If it outlives the deadline of a `retire` it is an orphan.
#[must_use = "dropping the long pass says that the work has ended"]
pub struct LongPass {
    shared: Arc<Shared>,
    id: LongId,
    epoch: Epoch,
}

impl LongPass {
    /// The epoch that the work belongs to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Drop for LongPass {
    fn drop(&mut self) {
        let mut core = self.shared.core.lock();
        let wake = core.long.remove(self.id) && core.is_draining();
        drop(core);
        if wake {
            self.shared.drained.notify_all();
        }
    }
}

impl std::fmt::Debug for LongPass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LongPass").field("gate", &self.shared.name).field("epoch", &self.epoch).finish()
    }
}
