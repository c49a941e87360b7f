//! Law 1: a reset would wait for the pass of its own thread.
use gate::{AccessKind, Deadline, Handle, ThreadToken};
use std::time::Duration;
use zpci::hotplug::HotplugSlot;

fn reset(slot: &HotplugSlot, handle: &Handle, token: &mut ThreadToken) {
    let pass = handle.try_enter(token, AccessKind::Bar);
    let done = slot.reset(token, false, Deadline::after(Duration::ZERO));
    drop((pass, done));
}

fn main() {
    let _ = reset;
}
