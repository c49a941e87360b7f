//! The way to the registers of everything in the machine; every access is one to the device.
//!
//! While a port holds its bus in reset, only the one who has it do so may reach what is below.

use crate::machine::part::Part;
use pci_core::mechanism::{BusRange, ConfigOps, Ecam};
use pci_core::{ConfigAddress, ConfigEffects, ConfigStatus, Width};
use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use topology::fabric::Fabric;

#[derive(Default)]
struct Devices {
    parts: BTreeMap<Bdf, Arc<Part>>,
    /// What is held in reset, by the port that does so.
    held: BTreeMap<Bdf, Vec<Arc<Part>>>,
}

/// See the module's head. Its lock is never held over a scheduling point.
pub(crate) struct Wire {
    ecam: Ecam<Arc<Fabric>>,
    devices: Mutex<Devices>,
}

impl Wire {
    pub(crate) fn new(fabric: &Arc<Fabric>) -> Arc<Wire> {
        Arc::new(Wire { ecam: Ecam::new(fabric.clone(), BusRange::ALL), devices: Mutex::default() })
    }

    fn devices(&self) -> MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn plug(&self, at: Bdf, part: Arc<Part>) {
        let before = self.devices().parts.insert(at, part);
        // Not under the lock either.
        drop(before);
    }

    pub(crate) fn unplug(&self, at: Bdf) {
        let part = self.devices().parts.remove(&at);
        // Not under the lock: it may be the last reference, with gates to let go.
        drop(part);
    }

    fn at(&self, at: ConfigAddress) -> Option<Arc<Part>> {
        let at = Bdf::from_routing_id(0, u16::from_be_bytes([at.bus, at.devfn]));
        self.devices().parts.get(&at).cloned()
    }

    /// Those whose bus is held in reset by the port at `port` from now on, or is no longer.
    fn reset(&self, port: Bdf, asserted: bool) {
        let seized = if asserted { self.below(port) } else { Vec::new() };
        let mut devices = self.devices();
        let held =
            if asserted { devices.held.insert(port, seized.clone()) } else { devices.held.remove(&port) };
        drop(devices);
        held.into_iter().flatten().for_each(|part| part.monitor.release());
        seized.iter().for_each(|part| part.monitor.seize());
    }

    /// What is on the bus of a port and not gone. That is looked at outside of the lock: to look is a scheduling point.
    fn below(&self, port: Bdf) -> Vec<Arc<Part>> {
        let bus = super::board::bus_of(port);
        let devices = self.devices();
        let below = devices.parts.iter().filter(|(at, _)| at.bus() == bus);
        let below: Vec<_> = below.map(|(_, part)| part.clone()).collect();
        drop(devices);
        let there = below.into_iter().filter(|part| !part.is_gone());
        there.flat_map(|part| part.virtuals().into_iter().chain([part])).collect()
    }
}

impl ConfigOps for Wire {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        if let Some(part) = self.at(at) {
            part.reached();
        }
        self.ecam.read(at, width)
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        if let Some(part) = self.at(at) {
            // Under the lock that orders the function's writes, under which the gate is not looked at.
            part.monitor.access();
        }
        let effects = self.ecam.write(at, width, value)?;
        if let Some(change) = effects.secondary_bus_reset {
            self.reset(Bdf::from_routing_id(0, u16::from_be_bytes([at.bus, at.devfn])), change.new);
        }
        Ok(effects)
    }
}
