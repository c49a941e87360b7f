//! Law 1: a thread that keeps others out cannot wait.
use gate::{AccessKind, Deadline, Gate, Reason, ThreadToken};
use std::time::Duration;

fn main() {
    let (gate, other) = (Gate::new("f"), Gate::new("g"));
    let handle = other.handle();
    let mut token = ThreadToken::at_thread_entry();
    let quiesced = gate.close(&mut token, Reason::Reset, Deadline::after(Duration::ZERO)).unwrap();
    let waited = handle.enter(&mut token, AccessKind::Config, Deadline::after(Duration::ZERO)).is_ok();
    drop((quiesced, waited));
}
