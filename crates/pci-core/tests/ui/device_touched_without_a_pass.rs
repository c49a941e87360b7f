//! Law 3: a device's registers are reached under a pass, and its reset under a proof that nobody is inside. That a thread
//! holds nothing, or says which gate it means, is neither.
use gate::{Gate, ThreadToken};
use pci_core::{BarIndex, Device, ResetKind};

fn read(device: &dyn Device, token: &ThreadToken, bar: BarIndex) {
    device.read_bar(token, bar, 0, &mut [0; 4]);
}

fn write(device: &dyn Device, gate: &Gate, bar: BarIndex) {
    device.write_bar(gate, bar, 0, &[0; 4]);
}

fn reset(device: &dyn Device, token: &mut ThreadToken) {
    device.reset(token, ResetKind::DeviceReset);
}

fn main() {
    let _ = (read, write, reset);
}
