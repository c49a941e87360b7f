//! Law 1: a closer waits for accesses, so no lock is held meanwhile.
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
    let planned = plan.lock(&mut token);
    let closed = gate.close(&mut token, Reason::Reset, Deadline::after(Duration::ZERO)).is_ok();
    drop((planned, closed));
}
