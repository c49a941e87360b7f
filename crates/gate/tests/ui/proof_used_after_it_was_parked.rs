//! A gate has one owner: what was parked is no proof any more.
use gate::{Deadline, Gate, Reason, ThreadToken};
use std::time::Duration;

fn main() {
    let gate = Gate::new("f");
    let mut token = ThreadToken::at_thread_entry();
    let quiesced = gate.close(&mut token, Reason::Reset, Deadline::after(Duration::ZERO)).unwrap();
    let closed = quiesced.park();
    drop(quiesced.thaw());
    drop(closed);
}
