//! What a PE takes of the heap, and that looking takes nothing of it (EEH-I3).

#![cfg(not(shuttle))]
#![allow(unsafe_code, reason = "an allocator that counts has to implement an unsafe trait")]
#![allow(clippy::unwrap_used, reason = "test code; clippy exempts only functions marked as tests")]

use contain::address_cache::Space;
use contain::pe::{Holder, PeAddress, PeKind};
use contain::tree::{NewPe, PeTree};
use gate::{Deadline, ThreadToken};
use pci_core::VirtualTime;
use pci_spec::Bdf;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    /// How often this thread has allocated, and the bytes it has allocated and not freed.
    static ALLOCATED: Cell<(usize, isize)> = const { Cell::new((0, 0)) };
}

fn count(calls: usize, bytes: isize) {
    ALLOCATED.with(|allocated| {
        let (all, kept) = allocated.get();
        allocated.set((all + calls, kept + bytes));
    });
}

struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting neither
// allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size().cast_signed());
        // SAFETY: the caller's promises about `layout` are the ones asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, -layout.size().cast_signed());
        // SAFETY: `block` came from `alloc` above with this layout, so from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A host bridge with buses of 100 devices each.
fn tree(token: &mut ThreadToken, buses: u16) -> PeTree {
    let tree = PeTree::new(Arc::new(VirtualTime::default()));
    let root = PeAddress::phb(0);
    let mut new = vec![NewPe { address: root, kind: PeKind::Phb, parent: None }];
    for bus in 0..buses {
        let above = PeAddress::new(0, bus << 8);
        new.push(NewPe { address: above, kind: PeKind::Bus, parent: Some(root) });
        new.extend((1..=100).map(|device| NewPe {
            address: PeAddress::new(0, bus << 8 | device),
            kind: PeKind::Device,
            parent: Some(above),
        }));
    }
    tree.insert(token, new, soon()).unwrap();
    tree
}

#[test]
fn a_pe_takes_at_most_256_bytes() {
    let mut token = ThreadToken::at_thread_entry();
    let (_, before) = ALLOCATED.with(Cell::get);
    let tree = tree(&mut token, 100);
    let (_, after) = ALLOCATED.with(Cell::get);
    let pes = tree.snapshot(&token).len();
    assert_eq!(pes, 10_101);
    let each = (after - before).cast_unsigned() / pes;
    assert!((64..=256).contains(&each), "{each} bytes");
}

#[test]
fn looking_a_pe_up_and_walking_the_tree_allocate_nothing_eeh_i3() {
    let mut token = ThreadToken::at_thread_entry();
    let tree = tree(&mut token, 3);
    let (before, kept) = ALLOCATED.with(Cell::get);
    let found = tree.find(&token, PeAddress::new(0, 0x105), Holder::Event);
    assert!(found.as_ref().is_some_and(|pe| pe.isolate()));
    assert!(tree.of_function(&token, Bdf::from_routing_id(0, 0x105), Holder::Event).is_none());
    assert!(tree.of_bar_address(&token, Space::Memory, 0x1000, Holder::Event).is_none());
    let snapshot = tree.snapshot(&token);
    assert_eq!(snapshot.walk(PeAddress::phb(0)).count(), 304);
    drop((found, snapshot));
    assert_eq!(ALLOCATED.with(Cell::get), (before, kept));
}
