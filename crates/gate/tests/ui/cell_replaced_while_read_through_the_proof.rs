//! A closer's own reference into a cell ends before it replaces the value.
use gate::{Deadline, Gate, GateCell, Reason, ThreadToken};
use std::time::Duration;

fn main() {
    let gate = Gate::new("f");
    let cell = GateCell::new(&gate, String::new());
    let mut token = ThreadToken::at_thread_entry();
    let mut quiesced = gate.close(&mut token, Reason::DmaUnmap, Deadline::after(Duration::ZERO)).unwrap();
    let before = cell.get(&quiesced);
    cell.replace(&mut quiesced, String::new());
    drop(before.len());
}
