//! A list of PEs that a recovery walks while hot-plug changes it (Linux to this day).
//!
//! ```text
//! recovery                         hot-plug
//! is at A; next is B
//!                                  unlinks B, frees it
//! is at B: freed memory
//! ```
//!
//! And if another card comes at once, its PE gets the memory of the one before, at the end of the list:
//!
//! ```text
//! list: A, B
//! recovery                         hot-plug
//! is at A
//!                                  unlinks A, frees it
//!                                  a new PE in A's memory, after B: the list is B, A
//! goes on after A: the end; B was never visited
//! ```
//!
//! Memory is an array here, so that a use after it was freed can be told.

use crate::unplug::{Order, lock};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// The head of the list.
const HEAD: usize = 0;
/// How much memory there is: the head, and room for as many PEs as there ever are.
const PLACES: usize = 4;

/// A PE, or the place for one.
#[derive(Default)]
struct Place {
    next: AtomicUsize,
    allocated: AtomicBool,
    /// Which PE it is; none has the number of another one.
    number: AtomicUsize,
}

/// A list of PEs below a host bridge.
pub struct Tree {
    order: Order,
    /// What changes of the list exclude each other by, as in the original. It excludes no walk.
    hot_plug: Mutex<usize>,
    /// What excludes both.
    repaired: Mutex<()>,
    places: [Place; PLACES],
}

impl Tree {
    /// PEs 1 to 3, in this order.
    #[must_use]
    pub fn new(order: Order) -> Tree {
        let tree = Tree {
            order,
            hot_plug: Mutex::new(PLACES),
            repaired: Mutex::new(()),
            places: Default::default(),
        };
        for (at, place) in tree.places.iter().enumerate() {
            place.next.store((at + 1) % PLACES, SeqCst);
            place.allocated.store(true, SeqCst);
            place.number.store(at, SeqCst);
        }
        tree
    }

    fn repaired(&self) -> Option<shuttle::sync::MutexGuard<'_, ()>> {
        (self.order == Order::Repaired).then(|| lock(&self.repaired))
    }

    /// A recovery looks which PEs there are, and visits them. `None` is memory that was freed.
    pub fn walk(&self) -> Vec<Option<usize>> {
        let _still = self.repaired();
        let mut visited = Vec::new();
        let mut at = self.places[HEAD].next.load(SeqCst);
        while at != HEAD {
            let place = &self.places[at];
            let allocated = place.allocated.load(SeqCst);
            visited.push(allocated.then(|| place.number.load(SeqCst)));
            at = place.next.load(SeqCst);
        }
        visited
    }

    /// A card is pulled: unlinks the first PE and frees it.
    pub fn pull(&self) {
        let _alone = lock(&self.hot_plug);
        let _still = self.repaired();
        let first = self.places[HEAD].next.load(SeqCst);
        self.places[HEAD].next.store(self.places[first].next.load(SeqCst), SeqCst);
        self.places[first].allocated.store(false, SeqCst);
    }

    /// A card is put in: its PE gets the memory that was freed last, and is the last of the list.
    pub fn plug(&self) {
        let mut next_number = lock(&self.hot_plug);
        let _still = self.repaired();
        let Some(free) = (1..PLACES).find(|at| !self.places[*at].allocated.load(SeqCst)) else { return };
        let new = &self.places[free];
        new.number.store(*next_number, SeqCst);
        new.next.store(HEAD, SeqCst);
        new.allocated.store(true, SeqCst);
        *next_number += 1;
        let mut last = HEAD;
        while self.places[last].next.load(SeqCst) != HEAD {
            last = self.places[last].next.load(SeqCst);
        }
        self.places[last].next.store(free, SeqCst);
    }
}
