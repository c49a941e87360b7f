//! ZIO-I1, the original order: the host holds the lock that a request of the region needs while it waits for the user to let go, who
//! needs a request of the region for that.
use gate::lock::Lock;
use gate::{Deadline, ThreadToken};
use std::time::Duration;
use zpci::hotplug::HotplugSlot;

mod ranks {
    gate::ranks! {
        /// The request buffer that all users of a region share.
        pub Request = 10, "request";
    }
}

fn disable(slot: &HotplugSlot, request: &Lock<ranks::Request, [u8; 32]>, token: &mut ThreadToken) {
    let buffer = request.lock(token);
    let Ok(operation) = slot.power(false, Duration::from_secs(60)) else { return };
    operation.wait(token, Deadline::after(Duration::from_secs(60)));
    drop(buffer);
}

fn main() {
    let _ = disable;
}
