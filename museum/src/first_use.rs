//! Report D: the first use of a BAR, set up by two threads at once.
//!
//! Whoever uses a BAR first claims its addresses and maps them; later users find the mapping. Whether there is one is tested
//! and noted without a lock. Of two first users the second is refused addresses that are its own function's, or, if the
//! claim is shared, notes its mapping over the first one's, which nobody unmaps any more.

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How the first use is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstUse {
    /// A test and a store: as it was reported.
    AsReported,
    /// Both under a lock.
    UnderLock,
}

/// The addresses belong to somebody already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// A BAR that nobody has used yet.
pub struct Bar {
    first_use: FirstUse,
    set_up: Mutex<()>,
    /// Whether a second claim of the addresses is refused.
    exclusive: bool,
    claimed: AtomicBool,
    /// Number of the mapping in use; 0 for none.
    mapping: AtomicUsize,
    made: AtomicUsize,
}

impl Bar {
    /// A BAR whose addresses are claimed by one only, or shared.
    pub fn new(first_use: FirstUse, exclusive: bool) -> Bar {
        Bar {
            first_use,
            set_up: Mutex::new(()),
            exclusive,
            claimed: AtomicBool::new(false),
            mapping: AtomicUsize::new(0),
            made: AtomicUsize::new(0),
        }
    }

    /// The number of the BAR's mapping, which the first user makes.
    ///
    /// # Errors
    /// The addresses were claimed by somebody else.
    pub fn mapping(&self) -> Result<usize, Busy> {
        let _alone = (self.first_use == FirstUse::UnderLock).then(|| self.set_up.lock());
        match self.mapping.load(Ordering::Acquire) {
            0 => self.map(),
            mapping => Ok(mapping),
        }
    }

    /// How many mappings were made. None is ever unmapped but the one in use.
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Acquire)
    }

    fn map(&self) -> Result<usize, Busy> {
        if self.claimed.swap(true, Ordering::AcqRel) && self.exclusive {
            return Err(Busy);
        }
        let mapping = self.made.fetch_add(1, Ordering::AcqRel) + 1;
        self.mapping.store(mapping, Ordering::Release);
        Ok(mapping)
    }
}
