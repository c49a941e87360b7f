//! A pass that has been left is no pass.
use gate::{AccessKind, Handle, ThreadToken};
use pci_core::{BarIndex, Device};

fn read(device: &dyn Device, handle: &Handle, token: &ThreadToken, bar: BarIndex) {
    let pass = handle.try_enter(token, AccessKind::Bar).unwrap();
    drop(pass);
    device.read_bar(&pass, bar, 0, &mut [0; 4]);
}

fn main() {
    let _ = read;
}
