//! Reopening takes the proof: there is no second time.
use gate::{Deadline, Gate, Reason, ThreadToken};
use std::time::Duration;

fn main() {
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    let quiesced = gate.close(&mut token, Reason::Reset, Deadline::after(Duration::ZERO)).unwrap();
    drop(quiesced);
    quiesced.thaw();
}
