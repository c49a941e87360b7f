//! The internal accessors never wait, so they are for those who are inside the gate already (CFG-03).
use gate::ThreadToken;
use pci_core::{Function, Width};

fn read(function: &Function, token: &ThreadToken) {
    let _ = function.config_read(token, 0, Width::Dword);
}

fn main() {
    let _ = read;
}
