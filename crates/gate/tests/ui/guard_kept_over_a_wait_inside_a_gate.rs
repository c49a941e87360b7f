//! Law 1: a lock taken under a proof cannot outlive it into a wait.
use gate::lock::Lock;
use gate::{Deadline, Gate, Reason, ThreadToken};
use std::time::Duration;

mod ranks {
    gate::ranks! {
        /// A lock.
        pub Plan = 10, "plan";
    }
}

fn main() {
    let (gate, plan) = (Gate::new("f"), Lock::<ranks::Plan, u32>::new(0));
    let mut token = ThreadToken::at_thread_entry();
    let quiesced = gate.close(&mut token, Reason::Reset, Deadline::after(Duration::ZERO)).unwrap();
    let planned = plan.lock_inside(&quiesced);
    let parked = quiesced.park();
    let waited = parked.wait(&mut token, Deadline::after(Duration::ZERO)).is_ok();
    drop((planned, waited));
}
