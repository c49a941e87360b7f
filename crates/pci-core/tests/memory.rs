//! What an idle function costs, counted at the allocator.

#![allow(unsafe_code, reason = "an allocator that counts has to implement an unsafe trait")]

mod support;

use gate::{Gate, Pass, Quiesced};
use pci_core::{BarIndex, ConfigSpace, Device, Function, ResetKind};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use support::full;

/// The limit for everything that belongs to an idle function, in bytes; this crate's part is to be a fraction.
const LIMIT: usize = 16 << 10;

thread_local! {
    /// Bytes that this thread has allocated and not freed.
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting neither
// allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.with(|live| live.set(live.get().wrapping_add(layout.size())));
        // SAFETY: the caller's promises about `layout` are the ones asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.with(|live| live.set(live.get().wrapping_sub(layout.size())));
        // SAFETY: `block` came from `alloc` above with this layout, so from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Nothing;

impl Device for Nothing {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &mut [u8]) {}

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

#[test]
fn an_idle_function_with_every_capability_fits_many_times_into_its_limit() {
    const COUNT: usize = 64;
    let layout = full().layout().unwrap();
    let mut functions = Vec::with_capacity(COUNT);
    let before = LIVE.with(Cell::get);
    for index in 0..COUNT {
        let name = format!("0000:{index:02x}:00.0");
        let gate = Gate::new(name.clone());
        let config = Arc::new(ConfigSpace::new(layout.clone()));
        functions.push(Arc::new(Function::new(name, gate, config, Arc::new(Nothing))));
    }
    let each = (LIVE.with(Cell::get) - before) / COUNT;
    println!(
        "an idle function: {each} bytes, {} of them configuration space",
        functions[0].config().heap_bytes()
    );
    assert!(each > functions[0].config().heap_bytes(), "the count sees the heap");
    assert!(each <= LIMIT / 4, "{each} bytes leave too little for the rest of the function");
}

#[test]
fn values_are_kept_only_up_to_the_last_capability() {
    let extended = full().build().unwrap();
    assert_eq!(extended.heap_bytes(), 0x12c);
    let bare = ConfigSpace::builder(support::identity()).build().unwrap();
    assert_eq!(bare.heap_bytes(), 0x40);
}
