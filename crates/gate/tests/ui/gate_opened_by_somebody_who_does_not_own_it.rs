//! CFG-I5: a gate cannot be opened by its name, a proof cannot be copied, and it is made by closing and in no other way.
use gate::{Deadline, Gate, Quiesced, Reason, ThreadToken};
use std::time::Duration;

fn main() {
    let (gate, other) = (Gate::new("f"), Gate::new("g"));
    let mut token = ThreadToken::at_thread_entry();
    let quiesced = gate.close(&mut token, Reason::Reset, Deadline::after(Duration::ZERO)).unwrap();
    gate.open();
    other.reopen(quiesced);
    let again = quiesced.clone();
    let forged = Quiesced { reason: Reason::Reset };
}
