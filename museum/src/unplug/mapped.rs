//! Complaint 11: a card is pulled under a program that polls its registers (SPDK #231, #527, #1587, #2631, #2811).
//!
//! The program has looked whether the card is still there, and then reads a register that it has mapped. In between its own
//! hot-plug thread was told of the removal and has unmapped it. The mapping itself is behind a lock here, so that what fails
//! is the access and not the checker.

use super::{Order, lock};
use shuttle::sync::Mutex;

/// What is at the addresses of the registers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    Registers,
    AllOnes,
    Nothing,
}

/// Registers that a program has mapped.
pub struct Bar {
    order: Order,
    removed: Mutex<bool>,
    shows: Mutex<Shows>,
}

impl Bar {
    /// The card is there, and mapped.
    #[must_use]
    pub fn mapped(order: Order) -> Bar {
        Bar { order, removed: Mutex::new(false), shows: Mutex::new(Shows::Registers) }
    }

    /// The thread that is told of removals.
    pub fn pulled(&self) {
        *lock(&self.removed) = true;
        *lock(&self.shows) = match self.order {
            Order::AsReported => Shows::Nothing,
            Order::Repaired => Shows::AllOnes,
        };
    }

    /// The thread that polls, some rounds long, or until it has seen that the card is gone.
    ///
    /// # Panics
    /// As a process dies that touches an address where nothing is.
    pub fn poll(&self, rounds: usize) {
        for _ in 0..rounds {
            if *lock(&self.removed) {
                return;
            }
            let met = *lock(&self.shows);
            assert!(met != Shows::Nothing, "bus error");
            if met == Shows::AllOnes {
                return;
            }
        }
    }
}
