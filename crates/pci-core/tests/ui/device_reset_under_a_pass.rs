//! A pass says that the device is not being reset; it is no proof that nobody else is inside.
use gate::Pass;
use pci_core::{Device, ResetKind};

fn reset(device: &dyn Device, pass: &Pass<'_>) {
    device.reset(pass, ResetKind::DeviceReset);
}

fn main() {
    let _ = reset;
}
