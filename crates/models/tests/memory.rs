//! What an idle NVMe function costs: its heap, counted at the allocator, and what it maps beside its disk. Its doorbells
//! take nothing until it is enabled, or a client maps them.
//!
//! Not counted is what the kernel keeps for open descriptors.

#![allow(clippy::unwrap_used, reason = "a test's own files")]
#![allow(unsafe_code, reason = "an allocator that counts has to implement an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use assign::Assignment;
use models::endpoint;
use models::nvme::backing::{DirectIo, FileOptions};
use models::nvme::{Backing, Config};

/// The limit for everything that belongs to an idle function, in bytes.
const LIMIT: usize = 16 << 10;
/// Functions built for one measurement.
const COUNT: usize = 32;
const DISK_BYTES: u64 = 1 << 20;

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

/// Bytes of address space that are mapped, touched or not; without the heap proper, which the allocator counts.
fn mapped() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let sizes = maps.lines().filter(|line| !line.ends_with("[heap]")).map(|line| {
        let (start, end) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
        usize::from_str_radix(end, 16).unwrap() - usize::from_str_radix(start, 16).unwrap()
    });
    sizes.sum()
}

/// Heap and mappings that each of many functions takes.
fn cost(build: impl Fn(usize) -> Arc<Assignment>) -> (usize, usize) {
    // What is made once for the process.
    drop(build(0));
    let mut functions = Vec::with_capacity(COUNT);
    let before = (LIVE.with(Cell::get), mapped());
    functions.extend((0..COUNT).map(build));
    ((LIVE.with(Cell::get) - before.0) / COUNT, (mapped() - before.1) / COUNT)
}

fn disk(index: usize, backing: Backing) -> Arc<Assignment> {
    models::nvme::build(&format!("disk{index}"), &Config::default(), backing, Arc::new(())).unwrap()
}

/// One test: mappings are counted for the whole process.
#[test]
fn an_idle_function_takes_at_most_16_kib_beside_its_disk() {
    let dir = tempfile::tempdir_in(".").unwrap();
    let options = FileOptions { size: Some(DISK_BYTES), direct: DirectIo::WherePossible };
    let file = |index: usize| Backing::file(&dir.path().join(index.to_string()), &options).unwrap();
    let (heap, mapped) = cost(|index| disk(index, file(index)));
    println!("with a file: {heap} bytes of heap, {mapped} mapped");
    assert!(heap > 1000, "the count sees the heap");
    assert!(heap + mapped <= LIMIT, "{heap} bytes of heap, {mapped} mapped");

    let (heap, mapped) = cost(|index| disk(index, Backing::memory(DISK_BYTES).unwrap()));
    println!("with memory: {heap} bytes of heap, {mapped} mapped");
    assert!(mapped >= 1 << 20, "the count sees mappings");
    let mapped = mapped - usize::try_from(DISK_BYTES).unwrap();
    assert!(heap + mapped <= LIMIT, "{heap} bytes of heap, {mapped} mapped beside the disk");

    // Its memory BAR of 64 KiB takes nothing until it is written.
    let endpoint = endpoint::Config { vfs: 8, ..endpoint::Config::default() };
    let (heap, mapped) = cost(|_| endpoint::build("test", &endpoint, Arc::new(())).unwrap());
    println!("endpoint-test: {heap} bytes of heap, {mapped} mapped");
    assert!(heap > 1000 && heap + mapped <= LIMIT, "{heap} bytes of heap, {mapped} mapped");
}
