//! Every handle that was ever given out, and what it was seen to name.

use pci_core::Function;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};
use zpci::{Fid, Handle};

/// Handles that are drawn from when a dead one is wanted.
const MOST_DEAD: usize = 512;

/// See the module's head.
#[derive(Default)]
pub(crate) struct Book {
    /// What each function was told to be named by.
    told: BTreeMap<Fid, Handle>,
    /// All that were given out, to name something or not any more.
    given: HashSet<u32>,
    /// Those of the functions now; what was given out and is not here is dead.
    alive: HashSet<u32>,
    /// Some that are dead; the last ones, and of the others some.
    dead: Vec<Handle>,
    next: usize,
    /// Which device each handle was seen to name. A weak reference keeps the address from being used again.
    devices: HashMap<u32, Weak<Function>>,
    /// Which device a number that devices have was read from.
    serials: HashMap<u64, Weak<Function>>,
    /// The other way round, by the address of the device, which is kept by the above.
    numbers: HashMap<usize, u64>,
}

/// What is wrong with something that was told or seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It was given out before.
    GivenTwice,
    /// The handle that is said to be over is not the one that was told last.
    NotTold,
    /// It named another device before.
    OtherDevice,
}

impl Book {
    /// A function has another handle.
    pub(crate) fn changes(&mut self, fid: Fid, old: Handle, new: Handle) -> Result<(), Wrong> {
        let before = self.told.insert(fid, new).unwrap_or_default();
        if !old.is_none() {
            self.alive.remove(&old.bits());
            self.bury(old);
        }
        let fresh = new.is_none() || self.given.insert(new.bits());
        if !new.is_none() {
            self.alive.insert(new.bits());
        }
        match () {
            () if before != old => Err(Wrong::NotTold),
            () if !fresh => Err(Wrong::GivenTwice),
            () => Ok(()),
        }
    }

    fn bury(&mut self, handle: Handle) {
        if self.dead.len() < MOST_DEAD {
            self.dead.push(handle);
        } else {
            self.dead[self.next % MOST_DEAD] = handle;
            self.next += 1;
        }
    }

    /// The handle that was told of a function last.
    pub(crate) fn told(&self, fid: Fid) -> Handle {
        self.told.get(&fid).copied().unwrap_or_default()
    }

    /// Whether a handle was given out and names nothing any more.
    pub(crate) fn is_dead(&self, handle: Handle) -> bool {
        self.given.contains(&handle.bits()) && !self.alive.contains(&handle.bits())
    }

    /// One that is dead.
    pub(crate) fn dead(&self, place: usize) -> Option<Handle> {
        self.dead.get(place % self.dead.len().max(1)).copied()
    }

    /// How many were given out.
    pub(crate) fn given(&self) -> usize {
        self.given.len()
    }

    /// A handle was seen to name a device.
    pub(crate) fn names(&mut self, handle: Handle, device: &Arc<Function>) -> Result<(), Wrong> {
        same(self.devices.entry(handle.bits()), device)
    }

    /// A device was reached, and said that this is its number.
    pub(crate) fn reached(&mut self, number: u64, device: &Arc<Function>) -> Result<(), Wrong> {
        let before = self.numbers.insert(Arc::as_ptr(device).addr(), number);
        if before.is_some_and(|before| before != number) {
            return Err(Wrong::OtherDevice);
        }
        same(self.serials.entry(number), device)
    }

    /// The number of a device, if it was read.
    pub(crate) fn number(&self, device: &Arc<Function>) -> Option<u64> {
        self.numbers.get(&Arc::as_ptr(device).addr()).copied()
    }
}

fn same<K>(
    entry: std::collections::hash_map::Entry<'_, K, Weak<Function>>,
    device: &Arc<Function>,
) -> Result<(), Wrong> {
    let known = entry.or_insert_with(|| Arc::downgrade(device));
    if std::ptr::eq(known.as_ptr(), Arc::as_ptr(device)) { Ok(()) } else { Err(Wrong::OtherDevice) }
}
