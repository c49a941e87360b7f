//! Report D: a page fault that two threads take at once.
//!
//! A mapping is filled when it is first touched, all its pages in one go, and is put on a list, so that whoever disables the
//! memory knows what to take away. The list has a lock; filling has none, and may not meet a page that is filled already.
//!
//! ```text
//! touch of page 0                  touch of page 1
//! empty: fault                     empty: fault
//! puts the mapping on the list
//!                                  puts the mapping on the list, once more
//! fills page 0, page 1
//!                                  fills page 0: it is there, and the kernel stops
//! ```
//!
//! A fault that cannot fill every page leaves the mapping on the list as well. (Both threads also hold the lock of the
//! memory's state, for reading; it excludes neither from the other, so it is left out here.)

use loom::sync::{Mutex, MutexGuard};

/// Pages of a mapping.
pub const PAGES: usize = 2;

/// How a fault is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// The list's lock is let go before the pages are filled, and nobody looks what is on the list: as it was reported.
    AsReported,
    /// What is on the list is filled; the lock is held until then, and what fails is undone.
    Repaired,
}

/// Why a touch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A page was filled that was filled already: here the kernel stops.
    Occupied,
    /// The system has no memory for the page's entry.
    NoMemory,
}

/// A mapping of a device's memory.
pub struct Mapping {
    handler: Handler,
    /// How often it is on the list.
    listed: Mutex<usize>,
    filled: Mutex<[bool; PAGES]>,
    /// How many pages the system has memory for.
    room: usize,
}

impl Mapping {
    /// An empty mapping; the system has memory for `room` of its pages.
    pub fn new(handler: Handler, room: usize) -> Mapping {
        Mapping { handler, listed: Mutex::new(0), filled: Mutex::new([false; PAGES]), room }
    }

    /// An access to a page.
    ///
    /// # Errors
    /// It faulted, and that failed.
    pub fn touch(&self, page: usize) -> Result<(), Fault> {
        let present = lock(&self.filled)[page];
        if present { Ok(()) } else { self.fault() }
    }

    /// How often the mapping is on the list of what has to be taken away.
    pub fn listed(&self) -> usize {
        *lock(&self.listed)
    }

    /// How many pages are there.
    pub fn filled(&self) -> usize {
        lock(&self.filled).iter().filter(|filled| **filled).count()
    }

    fn fault(&self) -> Result<(), Fault> {
        let mut listed = lock(&self.listed);
        match self.handler {
            Handler::AsReported => {
                *listed += 1;
                drop(listed);
                self.fill()
            }
            Handler::Repaired if *listed > 0 => Ok(()),
            Handler::Repaired => {
                self.fill().inspect_err(|_| *lock(&self.filled) = [false; PAGES])?;
                *listed += 1;
                Ok(())
            }
        }
    }

    fn fill(&self) -> Result<(), Fault> {
        for page in 0..PAGES {
            if page >= self.room {
                return Err(Fault::NoMemory);
            }
            let mut filled = lock(&self.filled);
            if std::mem::replace(&mut filled[page], true) {
                return Err(Fault::Occupied);
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
