//! Law 1: a delay of the hardware is waited for with the gate parked, and not under the proof.
use gate::{Deadline, Gate, Reason, ThreadToken, close_all};
use std::time::Duration;

fn main() {
    let (gate, other) = (Gate::new("f"), Gate::new("g"));
    let token_of_closed = ThreadToken::at_thread_entry();
    let closed = other.try_close(&token_of_closed, Reason::Reset).unwrap().park();
    drop(token_of_closed);
    let mut token = ThreadToken::at_thread_entry();
    let set = close_all(&[gate], &mut token, Reason::Reset, Deadline::after(Duration::ZERO)).unwrap();
    let waited = closed.wait(&mut token, Deadline::after(Duration::ZERO));
    drop((set, waited));
}
