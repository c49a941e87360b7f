//! What a function costs in a large topology, counted at the allocator.

#![allow(unsafe_code, reason = "an allocator that counts has to implement an unsafe trait")]

mod support;

use gate::{Gate, ThreadToken};
use pci_core::{BarKind, ConfigSpace, Function, Msi, Pm, VirtualTime};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;
use support::*;
use topology::fabric::{Fabric, Place, Port};
use topology::{Segment, Topology};

/// The limit for everything that belongs to an idle function, in bytes.
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

/// Segments with bridges and one function below each, so that every function has a bus of its own.
#[test]
fn a_function_with_its_share_of_bridges_fabric_and_snapshot_fits_into_its_limit() {
    const SEGMENTS: u16 = 4;
    const BRIDGES: u8 = 200;
    let mut token = ThreadToken::at_thread_entry();
    let topology = Topology::new(Arc::new(VirtualTime::default()));
    let config = endpoint().bar(bar(0), BarKind::Memory64, 16 << 10).capability(Pm::default());
    let layout = config.capability(Msi::new(4)).aer().layout().unwrap();
    let before = LIVE.with(Cell::get);
    let started = Instant::now();
    for number in 0..SEGMENTS {
        let fabric = Arc::new(Fabric::new(number));
        for devfn in 0..BRIDGES {
            let name = format!("{number:04x}:00:{devfn:02x}");
            let identity = Port::identity(0x1b36, 0x000c);
            let kind = pci_spec::capability::express::PortType::RootPort;
            let port = Port::function(&name, identity, kind, None).unwrap();
            // All functions of one device say so; the scan looks at the first only.
            let config = ConfigSpace::bridge_builder(identity)
                .multi_function()
                .capability(pci_core::Express::port(kind))
                .build()
                .unwrap();
            let first = Function::new(&*name, Gate::new(&*name), Arc::new(config), Arc::new(Port));
            let port = Arc::new(if devfn % 8 == 0 { first } else { port });
            let id = fabric.plug(Place::Root(devfn), port).unwrap();
            let config = Arc::new(ConfigSpace::new(layout.clone()));
            let disk = Function::new(&*name, Gate::new(&*name), config, Arc::new(Plain::default()));
            fabric.plug(Place::Below(id, 0), Arc::new(disk)).unwrap();
        }
        topology.add_segment(&mut token, Segment::emulated(&fabric), soon()).unwrap();
        assert_eq!(topology.rescan(&mut token, number, soon()).unwrap().problems, []);
    }
    let functions = topology.snapshot(&token).len();
    assert_eq!(functions, usize::from(SEGMENTS) * usize::from(BRIDGES) * 2);
    let each = (LIVE.with(Cell::get) - before) / functions;
    println!(
        "{each} bytes a function, {} us to plug in and find",
        started.elapsed().as_micros() / functions as u128
    );
    assert!(each > 1024, "the count sees the heap");
    assert!(each <= LIMIT / 4, "{each} bytes leave too little for what the function does");
}

#[test]
fn a_change_of_a_large_picture_costs_what_it_costs_in_a_small_one() {
    let grown = |segments: u16| {
        let function = function("x", &endpoint());
        let node = |segment, routing_id| {
            let address = pci_spec::Bdf::from_routing_id(segment, routing_id);
            topology::Node { address, function: function.clone(), kind: topology::NodeKind::Endpoint }
        };
        let nodes = (0..segments).flat_map(|segment| (0..256).map(move |id| (segment, id)));
        let large = topology::Snapshot::of(nodes.map(|(segment, id)| node(segment, id)));
        let before = LIVE.with(Cell::get);
        let changed = large.with([Arc::new(node(0, 0x1000))]);
        let copied = LIVE.with(Cell::get) - before;
        assert_eq!(changed.len(), large.len() + 1);
        copied
    };
    let (small, large) = (grown(1), grown(256));
    println!("{small} bytes in a picture of 256 functions, {large} in one of 65,536");
    assert!(small > 0 && large <= 2 * small);
}
