//! The walk that was proposed for report E: it holds the PE that it is at and no lock, and takes the lock to go on from there.
//!
//! ```text
//! recovery                         hot-plug
//! visits A, holds it
//!                                  unlinks A; it is not freed, somebody holds it
//! goes on after A: it is in no list, so this is the end; B was never visited
//! ```

use crate::unplug::{Order, lock};
use shuttle::sync::Mutex;
use std::collections::BTreeMap;

/// PEs by what orders them, which is never given to another one.
pub struct Tree {
    order: Order,
    list: Mutex<BTreeMap<u32, ()>>,
}

impl Tree {
    /// PEs 1 to 3.
    #[must_use]
    pub fn new(order: Order) -> Tree {
        Tree { order, list: Mutex::new((1..=3).map(|pe| (pe, ())).collect()) }
    }

    /// Visits PEs with no lock held.
    pub fn walk(&self) -> Vec<u32> {
        let mut visited = Vec::new();
        let mut current = self.first();
        while let Some(pe) = current {
            visited.push(pe);
            // The visit: a driver is called, with a reference to the PE and nothing else.
            shuttle::thread::yield_now();
            current = self.after(pe);
        }
        visited
    }

    fn first(&self) -> Option<u32> {
        lock(&self.list).keys().next().copied()
    }

    fn after(&self, pe: u32) -> Option<u32> {
        let list = lock(&self.list);
        // Its links are its own: whoever is out of the list has none.
        if self.order == Order::AsReported && !list.contains_key(&pe) {
            return None;
        }
        // By its place in an order that outlives its membership.
        list.range(pe + 1..).next().map(|(next, ())| *next)
    }

    /// A card is pulled.
    pub fn pull(&self, pe: u32) {
        lock(&self.list).remove(&pe);
    }
}
