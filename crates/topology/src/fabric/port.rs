//! The device behind a bridge's header: one that has nothing but its configuration space.

use gate::{Gate, Pass, Quiesced};
use pci_core::{BarIndex, ConfigSpace, Device, Express, Function, Identity, Pm, ResetKind, Slot};
use pci_spec::ClassCode;
use pci_spec::capability::express::PortType;
use std::sync::Arc;

/// A root port or a port of a switch. It has no BARs, so no access reaches it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Port;

impl Port {
    /// A function that is a port: power management that keeps its state, PCI Express with `slot` below if there is one,
    /// and bus numbers that software is to assign. `None` if `kind` is no port, or has no slot there.
    #[must_use]
    pub fn function(name: &str, identity: Identity, kind: PortType, slot: Option<Slot>) -> Option<Function> {
        let express = Express { slot, ..Express::port(kind) };
        let config = ConfigSpace::bridge_builder(identity)
            .capability(Pm { no_soft_reset: true, ..Pm::default() })
            .capability(express)
            .build()
            .ok()?;
        Some(Function::new(name, Gate::new(name), Arc::new(config), Arc::new(Port)))
    }

    /// What a port of ours says it is.
    #[must_use]
    pub const fn identity(vendor: u16, device: u16) -> Identity {
        Identity::new(vendor, device, ClassCode::PCI_BRIDGE)
    }
}

impl Device for Port {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, data: &mut [u8]) {
        data.fill(u8::MAX);
    }

    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
