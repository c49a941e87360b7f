//! Detection takes no lock and allocates nothing (EEH-I3).

#![allow(unsafe_code, reason = "an allocator that counts has to implement an unsafe trait")]

use crate::rig::*;
use gate::AccessKind;
use gate::lock::Leaf;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// How often this thread has allocated.
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting neither
// allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.with(|allocated| allocated.set(allocated.get() + 1));
        // SAFETY: the caller's promises about `layout` are the ones asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `alloc` above with this layout, so from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

mod ranks {
    gate::ranks! {
        /// Held while something is noticed: any lock under it is found by the net.
        pub Held = 199, "held by a test";
    }
}

fn allocations(act: impl FnOnce()) -> usize {
    let before = ALLOCATED.with(Cell::get);
    act();
    ALLOCATED.with(Cell::get) - before
}

#[test]
fn an_error_is_noticed_under_a_pass_and_a_lock_without_lock_or_allocation_eeh_i3() {
    let house = House::new();
    let function = house.function("02:00.0");
    let pass = function.handle().try_enter(&house.token, AccessKind::Bar).unwrap();
    let leaf = Leaf::<ranks::Held, ()>::default();
    let held = leaf.lock();
    // The first isolates and leaves a sign, the second finds it isolated.
    let allocated = allocations(|| {
        function.notice(pass.token(), SIGN);
        function.notice(pass.token(), SIGN);
    });
    drop((held, pass));
    assert_eq!(allocated, 0);
    let noticed = house.containment.statistics().noticed;
    assert_eq!((noticed.isolated, noticed.already), (1, 1));
}

#[test]
fn an_error_that_finds_the_queue_full_allocates_nothing_either_eeh_i3() {
    let settings = contain::settings::Settings { queue_capacity: 1, ..Default::default() };
    let house = House::with(settings);
    house.fail("02:00.0");
    let function = house.function("00:03.0");
    let leaf = Leaf::<ranks::Held, ()>::default();
    let held = leaf.lock();
    assert_eq!(allocations(|| function.notice(&house.token, SIGN)), 0);
    drop(held);
    assert_eq!(house.containment.statistics().noticed.overflowed, 1);
}

/// The check can fail.
#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "held by a test")]
fn the_net_finds_a_lock_that_is_taken_under_a_leaf() {
    let house = House::new();
    let leaf = Leaf::<ranks::Held, ()>::default();
    let _held = leaf.lock();
    let _takes_a_lock = house.containment.recoveries();
}
