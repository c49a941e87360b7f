//! The net under the types: what each thread holds, checked at every lock and every wait of a test.
//!
//! In builds with debug assertions and under the model checkers; elsewhere all of it compiles to nothing.

use super::Rank;
use crate::sync::thread_local;
use std::cell::Cell;

const CHECKED: bool = cfg!(any(debug_assertions, loom, shuttle));

/// More locks at once than any thread here holds.
const MOST: usize = 8;

#[derive(Clone, Copy)]
struct Held {
    number: u8,
    name: &'static str,
    leaf: bool,
}

type Table = [Option<Held>; MOST];

// The checkers' macro knows no const form, which saves the real one a check per use.
#[cfg(any(loom, shuttle))]
thread_local! {
    static HELD: Cell<Table> = Cell::new([None; MOST]);
}
#[cfg(not(any(loom, shuttle)))]
thread_local! {
    static HELD: Cell<Table> = const { Cell::new([None; MOST]) };
}

/// Says that a lock is held, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    number: u8,
}

/// Before a lock with rules of its own is taken.
///
/// # Panics
/// If the order forbids it, in the builds that check.
#[inline]
pub(super) fn ranked<R: Rank>() -> Entry {
    enter(Held { number: R::NUMBER, name: R::NAME, leaf: false })
}

/// Before a lock is taken under which nothing else is.
///
/// # Panics
/// As [`ranked`].
#[inline]
pub(crate) fn leaf<R: Rank>() -> Entry {
    enter(Held { number: R::NUMBER, name: R::NAME, leaf: true })
}

#[inline]
fn enter(new: Held) -> Entry {
    if CHECKED {
        check_and_add(new);
    }
    Entry { number: new.number }
}

fn check_and_add(new: Held) {
    change(|table| {
        // A thread that unwinds drops what it has; a second panic would hide the first.
        if !std::thread::panicking() {
            for held in table.iter().flatten() {
                assert!(!held.leaf, "lock `{}` is taken under `{}`, which is a leaf", new.name, held.name);
                assert!(
                    held.number < new.number,
                    "lock `{}` (rank {}) is taken while `{}` (rank {}) is held",
                    new.name,
                    new.number,
                    held.name,
                    held.number
                );
            }
        }
        if let Some(free) = table.iter_mut().find(|place| place.is_none()) {
            *free = Some(new);
        }
    });
}

/// Before a wait.
///
/// # Panics
/// If this thread holds a lock, in the builds that check.
#[inline]
pub(crate) fn assert_no_locks() {
    if CHECKED {
        change(|table| {
            if let Some(held) = table.iter().flatten().next()
                && !std::thread::panicking()
            {
                panic!("a thread waits while it holds lock `{}` (rank {})", held.name, held.number);
            }
        });
    }
}

impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        if CHECKED {
            // Numbers ascend, so there is one place with this number.
            change(|table| {
                let is_ours =
                    |place: &&mut Option<Held>| place.is_some_and(|held| held.number == self.number);
                if let Some(place) = table.iter_mut().rev().find(is_ours) {
                    *place = None;
                }
            });
        }
    }
}

/// Without effect where a checker has taken the thread's memory down already.
fn change(with: impl FnOnce(&mut Table)) {
    let _ = HELD.try_with(|held| {
        let mut table = held.get();
        with(&mut table);
        held.set(table);
    });
}
