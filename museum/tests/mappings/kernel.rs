//! A kernel's memory management, as far as page faults that are answered in user space go.
//!
//! A [`Range`] is a consumer's range of addresses with its page table; [`Faults`] is the queue of faults that somebody has
//! to answer. What is one step for the kernel is one step here, under the table's lock; what touches one page after the
//! other lets go of the lock in between. A thread that faults sleeps until its page is woken, and then looks again.

use super::truth::Truth;
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError};

/// Pages of a range.
pub(crate) const PAGES: usize = 2;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

/// What an access met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// The device's value.
    Value(u32),
    /// All-ones, in the place of the device's memory.
    AllOnes,
    /// The bus error of a page that was poisoned.
    BusError,
    /// There is nothing at this address.
    Nothing,
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    /// The first page is present already.
    Exists,
    /// Only the pages before this one have been made present.
    Partial(usize),
    /// The range shows something else by now.
    NotRegistered,
    /// There is no memory for the page table.
    NoMemory,
}

/// What a range shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shows {
    /// The device's memory; what is not present is a fault.
    Memory,
    /// The device's memory, mapped a moment ago: the kernel makes pages present by itself.
    Unregistered,
    /// All-ones.
    AllOnes,
    /// Nothing: it is unmapped.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Empty,
    /// The device's page, since its memory held this.
    Present(u32),
    Poisoned,
}

struct Table {
    shows: Shows,
    entries: [Entry; PAGES],
    /// Counts wake-ups of each page.
    woken: [usize; PAGES],
    /// Pages for which there is memory.
    room: usize,
}

/// A range of addresses; see the module's head.
pub(crate) struct Range {
    pub(crate) number: usize,
    faults: Arc<Faults>,
    truth: Arc<Truth>,
    table: Mutex<Table>,
    wake: Condvar,
    /// Nobody touches it any more; whoever still answers a fault on it unmaps it.
    left: AtomicBool,
}

impl Range {
    pub(crate) fn new(number: usize, faults: &Arc<Faults>, truth: &Arc<Truth>) -> Arc<Range> {
        let table = Table {
            shows: Shows::Memory,
            entries: [Entry::Empty; PAGES],
            woken: [0; PAGES],
            room: usize::MAX,
        };
        let (faults, truth) = (faults.clone(), truth.clone());
        let (table, wake, left) = (Mutex::new(table), Condvar::new(), AtomicBool::new(false));
        Arc::new(Range { number, faults, truth, table, wake, left })
    }

    /// Its consumer is about to unmap it.
    pub(crate) fn leave(&self) {
        self.left.store(true, Relaxed);
    }

    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Relaxed)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An access by a consumer, which takes as long as its fault is not answered.
    pub(crate) fn read(&self, page: usize) -> Met {
        let mut table = self.table();
        loop {
            match (table.shows, table.entries[page]) {
                (Shows::AllOnes, _) => return Met::AllOnes,
                (Shows::Nothing, _) => return Met::Nothing,
                (_, Entry::Present(pattern)) => return Met::Value(self.truth.read(pattern)),
                // No fault, and no pass: only who has seen to it that the memory can be reached may have this come about.
                (Shows::Unregistered, _) => table.entries[page] = Entry::Present(self.truth.made_present()),
                (Shows::Memory, Entry::Poisoned) => return Met::BusError,
                (Shows::Memory, Entry::Empty) => {
                    let seen = table.woken[page];
                    self.faults.push(Fault { range: self.number, page });
                    while table.woken[page] == seen {
                        table = self.wake.wait(table).unwrap();
                    }
                }
            }
        }
    }

    /// Makes the pages from `from` to `to` present, one by one, as far as none is present already. That wakes nobody: the
    /// kernel does it with the same call, and last.
    pub(crate) fn make_present(&self, from: usize, to: usize) -> Result<(), Errno> {
        let mut end = Ok(());
        for page in from..to {
            let mut table = self.table();
            let refused = match (table.shows == Shows::Memory, table.entries[page]) {
                (false, _) => Some(Errno::NotRegistered),
                (true, Entry::Present(_)) => Some(Errno::Exists),
                (true, _) if page >= table.room => Some(Errno::NoMemory),
                (true, _) => None,
            };
            if let Some(errno) = refused {
                end = Err(if page == from { errno } else { Errno::Partial(page) });
                break;
            }
            // Who still answers a fault on what its consumer has left may do as it likes: nobody touches that any more.
            let truth = if self.is_left() { Truth::pattern } else { Truth::made_present };
            table.entries[page] = Entry::Present(truth(&self.truth));
        }
        end
    }

    /// Has accesses to a page that is not present fail, and wakes who waits for it.
    pub(crate) fn poison(&self, page: usize) -> Result<(), Errno> {
        let mut table = self.table();
        match (table.shows == Shows::Memory, table.entries[page]) {
            (false, _) => return Err(Errno::NotRegistered),
            (true, Entry::Present(_)) => return Err(Errno::Exists),
            (true, _) => table.entries[page] = Entry::Poisoned,
        }
        drop(table);
        self.wake(page, page + 1);
        Ok(())
    }

    /// Takes the pages away, one by one.
    pub(crate) fn zap(&self) {
        for page in 0..PAGES {
            self.table().entries[page] = Entry::Empty;
        }
    }

    /// Maps something else in its place, in one step. Who waits goes on waiting.
    pub(crate) fn replace(&self, shows: Shows) {
        let mut table = self.table();
        table.shows = shows;
        table.entries = [Entry::Empty; PAGES];
    }

    /// Faults are answered in user space from now on; what is present stays.
    pub(crate) fn register(&self) {
        self.table().shows = Shows::Memory;
    }

    /// Has who waits for the pages from `from` to `to` look again.
    pub(crate) fn wake(&self, from: usize, to: usize) {
        let mut table = self.table();
        table.woken[from..to].iter_mut().for_each(|woken| *woken += 1);
        drop(table);
        self.wake.notify_all();
    }

    /// There is memory for that many pages from now on.
    pub(crate) fn set_room(&self, pages: usize) {
        self.table().room = pages;
    }

    pub(crate) fn truth(&self) -> &Truth {
        &self.truth
    }

    pub(crate) fn shows(&self) -> Shows {
        self.table().shows
    }

    /// How many pages are present, and how many are poisoned.
    pub(crate) fn pages(&self) -> (usize, usize) {
        let table = self.table();
        let count = |wanted: fn(&Entry) -> bool| table.entries.iter().filter(|entry| wanted(entry)).count();
        (count(|entry| matches!(entry, Entry::Present(_))), count(|entry| *entry == Entry::Poisoned))
    }
}

/// A thread waits for a page of a range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) range: usize,
    pub(crate) page: usize,
}

/// The faults that nobody has taken up yet; see the module's head.
#[derive(Default)]
pub(crate) struct Faults {
    queue: Mutex<Queue>,
    change: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Fault>,
    closed: bool,
}

impl Faults {
    fn push(&self, fault: Fault) {
        self.queue.lock().unwrap().waiting.push_back(fault);
        self.change.notify_one();
    }

    /// The next fault; `None` once there are none and there will be none.
    pub(crate) fn next(&self) -> Option<Fault> {
        let mut queue = self.queue.lock().unwrap();
        loop {
            if let Some(fault) = queue.waiting.pop_front() {
                return Some(fault);
            }
            if queue.closed {
                return None;
            }
            queue = self.change.wait(queue).unwrap();
        }
    }

    /// Somebody answers again.
    pub(crate) fn open(&self) {
        self.queue.lock().unwrap().closed = false;
    }

    /// Ends the threads that answer.
    pub(crate) fn close(&self) {
        self.queue.lock().unwrap().closed = true;
        self.change.notify_all();
    }
}
