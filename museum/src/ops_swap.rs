//! Report C: the operations of a bus are exchanged while accesses that take no lock run.
//!
//! Error injection puts operations of its own in the place of a bus's, and later puts the old ones back and frees its
//! own. Where configuration accesses are lock-free, nothing keeps an access out of operations that are being freed; and
//! where operations and the data they work on are two words, nothing keeps an access from one of each.

use crate::stack::Frame;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};

/// A bus whose operations are `REAL` or `INJECTED`.
pub struct Bus {
    operations: AtomicUsize,
    data: AtomicUsize,
    /// Exchanges exclude each other, and nothing else.
    exchange: Mutex<()>,
    memory: [Frame<usize>; 2],
}

/// The bus's own operations.
pub const REAL: usize = 0;
/// Those of the error injection.
pub const INJECTED: usize = 1;

impl Bus {
    /// A bus with error injection.
    pub fn injected() -> Bus {
        Bus {
            operations: AtomicUsize::new(INJECTED),
            data: AtomicUsize::new(INJECTED),
            exchange: Mutex::new(()),
            memory: [Frame::called(REAL), Frame::called(INJECTED)],
        }
    }

    /// A lock-free configuration access: which operations it went through, and whose data they worked on.
    pub fn access(&self) -> (Option<usize>, usize) {
        let operations = self.operations.load(Ordering::Acquire);
        let data = self.data.load(Ordering::Acquire);
        (self.memory[operations].read(|which| *which), data)
    }

    /// Puts the bus's own operations back.
    pub fn restore(&self) {
        let _exchange = self.exchange.lock();
        self.operations.store(REAL, Ordering::Release);
        self.data.store(REAL, Ordering::Release);
    }

    /// Frees the operations of the error injection: they are on the bus no more.
    pub fn free_injected(&self) {
        self.memory[INJECTED].clone().returned();
    }
}
