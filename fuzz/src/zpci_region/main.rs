//! Reads and writes of the zPCI I/O region, of any size, offset and content, by two at once: a vfio-user client, and a thread
//! that makes requests of the same assignment beside it, as a second connection of that session would.
//!
//! Whatever the other one does, each answer is the one that a model gives to the request alone ([`model`]); every block that
//! reaches the device is one that was asked for, with the bytes of the client's memory; and nothing of that memory changes but
//! where a load was to go, to what it was to be.
#![no_main]

mod bench;
mod model;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;

use bench::Bench;

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new());
}

fuzz_target!(|bytes: &[u8]| {
    let accesses = model::accesses(bytes);
    BENCH.with_borrow_mut(|bench| {
        bench.make(&accesses);
        bench.check(&accesses);
    });
});
