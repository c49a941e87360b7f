//! Data read under a pass and replaced under quiescence of the same gate.
//!
//! # Why this is sound
//!
//! Call a `Pass` of gate G a *reader* and a `Quiesced` or `ShortQuiesced` of G a *writer*; all of them are borrowed by the
//! references handed out here, so a reference never outlives its proof.
//!
//! * **No reader while a writer exists.** A writer is made only after the gate's word was not open in any epoch, the heavy
//!   barrier was passed, and no slot of any thread and no counted pass named G; until it is dropped the word stays not open,
//!   so no reader is made. A reader's slot is cleared only by dropping the `Pass`, or by dropping the thread's token, which
//!   the pass borrows. A forgotten pass leaves its slot filled: no writer is made then.
//! * **One writer at a time.** The gate has one owner, across epochs; `renew` leaves the gate blocked while it has one.
//! * **A writer's own references.** `get` with a writer borrows it, `replace` needs it mutably.
//! * **Ordering.** A reader's word load (`Acquire`) sees the store (`Release`) that reopened the gate, which follows the
//!   replacement. A writer's slot loads (`Acquire`) see the store (`Release`) with which the reader left, or a later one
//!   of the same thread, which is `Release` too. Writers follow each other under the gate's lock.
//! * **The right gate.** Each call compares the proof's gate with the cell's; the cell keeps its gate alive, so that no
//!   other gate can be at its address.
#![allow(unsafe_code)] // Interior mutability that passes and proofs guard, as argued above.

use crate::Gate;
use crate::held::{Exclusive, Held};
use crate::state::Shared;
use crate::sync::{Arc, UnsafeCell};

/// A value that belongs to a gate: read under any proof of it, replaced under an exclusive one.
///
/// # Panics
/// Both accessors panic if the proof is of another gate: a programming error that no input can cause.
pub struct GateCell<T> {
    gate: usize,
    value: UnsafeCell<T>,
    _pin: Arc<Shared>,
}

// SAFETY: the cell gives `&T` to several threads at once (needs `T: Sync`) and moves `T` out on another thread than it was
// put in on (needs `T: Send`); the module head shows that the two never overlap. The rest is a number and a shared `Arc`.
unsafe impl<T: Send + Sync> Sync for GateCell<T> {}

impl<T> GateCell<T> {
    /// Puts `value` under `gate`.
    pub fn new(gate: &Gate, value: T) -> GateCell<T> {
        GateCell { gate: gate.shared().address(), value: UnsafeCell::new(value), _pin: gate.shared().clone() }
    }

    /// The value, for as long as the proof is borrowed. Costs one compare.
    #[inline]
    pub fn get<'a>(&'a self, held: &'a impl Held) -> &'a T {
        self.check(held.gate());
        // SAFETY: `held` proves that no other thread holds a writer's proof, and its borrow that this one does not
        // replace meanwhile (module head).
        self.value.with(|value| unsafe { &*value })
    }

    /// Replaces the value and gives back the one before.
    pub fn replace(&self, proof: &mut impl Exclusive, value: T) -> T {
        self.check(proof.gate());
        // SAFETY: `proof` is the only proof of this gate and is borrowed mutably, so no reference into the cell exists
        // (module head).
        self.value.with_mut(|place| unsafe { std::mem::replace(&mut *place, value) })
    }

    #[inline]
    fn check(&self, gate: usize) {
        if gate != self.gate {
            wrong_gate();
        }
    }
}

impl<T> std::fmt::Debug for GateCell<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GateCell(..)")
    }
}

#[cold]
#[inline(never)]
fn wrong_gate() -> ! {
    panic!("a GateCell was used with the proof of another gate");
}
