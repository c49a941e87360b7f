//! Law 1: a thread that holds a pass cannot wait.
use gate::{AccessKind, Deadline, Gate, ThreadToken};
use std::time::Duration;

fn main() {
    let (gate, other) = (Gate::new("f"), Gate::new("g"));
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    let pass = handle.try_enter(&token, AccessKind::Config).unwrap();
    let waited = other.handle().enter(&mut token, AccessKind::Config, Deadline::after(Duration::ZERO)).is_ok();
    drop((pass, waited));
}
