//! Law 1: who detects an error under a pass tells of it; carrying it out may wait.
use gate::{Deadline, Pass, ThreadToken};
use std::time::Duration;
use zpci::Event;
use zpci::hotplug::HotplugSlot;

fn detected(slot: &HotplugSlot, pass: &Pass<'_>, event: &Event) {
    let token: &ThreadToken = pass.token();
    let _carried = slot.event(token, event, Deadline::after(Duration::ZERO));
}

fn main() {
    let _ = detected;
}
