//! Law 1: a recovery waits for those who are inside, so no lock is held meanwhile.
use gate::lock::Lock;
use gate::{Deadline, ThreadToken};
use std::time::Duration;
use zpci::hotplug::HotplugSlot;

mod ranks {
    gate::ranks! {
        /// What is known of a function.
        pub State = 10, "state";
    }
}

fn recover(slot: &HotplugSlot, state: &Lock<ranks::State, u32>, token: &mut ThreadToken) {
    let held = state.lock(token);
    let recovered = slot.recover(token, Deadline::after(Duration::ZERO));
    drop((held, recovered));
}

fn main() {
    let _ = recover;
}
