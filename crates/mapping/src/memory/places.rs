//! Areas that are hidden from another process, so that it can be asked without a lock where a byte of the device lies.
//!
//! # Concurrency
//! The list only grows, by the areas of a device that are ever hidden, which are few and the same each time. It is changed
//! by who has the device to itself, and read by anybody.

use crate::Area;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// An area that was hidden at least once.
#[derive(Debug)]
pub(super) struct Place {
    area: Area,
    hidden: AtomicBool,
    filled: AtomicBool,
    next: OnceLock<Box<Place>>,
}

impl Place {
    fn new(area: Area) -> Place {
        Place { area, hidden: AtomicBool::new(false), filled: AtomicBool::new(false), next: OnceLock::new() }
    }

    /// In bytes of the memory.
    pub(super) fn range(&self) -> Range<u64> {
        self.area.offset..self.area.offset.saturating_add(self.area.size)
    }

    fn overlaps(&self, area: &Area) -> bool {
        self.range().start < area.offset.saturating_add(area.size) && area.offset < self.range().end
    }

    /// Whether the device's bytes lie in the file that is not shared.
    pub(super) fn is_hidden(&self) -> bool {
        self.hidden.load(Ordering::Acquire)
    }

    /// Whether the shared file shows all-ones.
    pub(super) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Acquire)
    }

    pub(super) fn set_hidden(&self, hidden: bool) {
        self.hidden.store(hidden, Ordering::Release);
    }

    pub(super) fn set_filled(&self, filled: bool) {
        self.filled.store(filled, Ordering::Release);
    }
}

/// The areas of one memory that were ever hidden.
#[derive(Debug, Default)]
pub(super) struct Places(OnceLock<Box<Place>>);

impl Places {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Place> {
        std::iter::successors(self.0.get(), |place| place.next.get()).map(|place| &**place)
    }

    /// Those that are hidden now.
    pub(super) fn hidden(&self) -> impl Iterator<Item = &Place> {
        self.iter().filter(|place| place.is_hidden())
    }

    /// The place of `area`, if it was ever hidden.
    pub(super) fn find(&self, area: Area) -> Option<&Place> {
        self.iter().find(|place| place.area == area)
    }

    /// The place of `area`, which is added if it is new. `None` if it overlaps another: a device's areas do not.
    pub(super) fn of(&self, area: Area) -> Option<&Place> {
        let mut new = Some(Box::new(Place::new(area)));
        let mut link = &self.0;
        // Ends: each round goes on to the next of finitely many, or adds the last.
        loop {
            if let Some(last) = new.take_if(|_| link.get().is_none()) {
                // Whoever added one at this moment is looked at first.
                new = link.set(last).err();
            }
            let place = link.get()?;
            if place.area == area {
                return Some(place);
            }
            if place.overlaps(&area) {
                return None;
            }
            link = &place.next;
        }
    }
}
