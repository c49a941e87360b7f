//! Law 1: a thread that holds a pass cannot close, since closing waits.
use gate::{AccessKind, Deadline, Gate, Reason, ThreadToken};
use std::time::Duration;

fn main() {
    let (gate, other) = (Gate::new("f"), Gate::new("g"));
    let handle = gate.handle();
    let mut token = ThreadToken::at_thread_entry();
    let pass = handle.try_enter(&token, AccessKind::Config).unwrap();
    let closed = other.close(&mut token, Reason::Reset, Deadline::after(Duration::ZERO)).is_ok();
    drop((pass, closed));
}
