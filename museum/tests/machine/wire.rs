//! The operations of the host bridge: every access to a register comes by here, and is an access to the device.
//!
//! A secondary bus reset reaches everything below the bridge whatever the software believes: while it is asserted,
//! only the one who asserts it may reach what is there.

use super::{DISK, PF, ROOT, part::Part};
use pci_core::mechanism::{BusRange, ConfigOps, Ecam};
use pci_core::{ConfigAddress, ConfigEffects, ConfigStatus, Width};
use pci_spec::Bdf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use topology::fabric::Fabric;

/// The devices of the machine.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) root: Arc<Part>,
    pub(crate) pf: Arc<Part>,
    pub(crate) disk: Arc<Part>,
}

impl Parts {
    pub(crate) fn all(&self) -> [&Arc<Part>; 3] {
        [&self.root, &self.pf, &self.disk]
    }

    fn at(&self, at: ConfigAddress) -> Option<&Arc<Part>> {
        match Bdf::from_routing_id(0, u16::from_be_bytes([at.bus, at.devfn])) {
            ROOT => Some(&self.root),
            PF => Some(&self.pf),
            DISK => Some(&self.disk),
            _ => None,
        }
    }
}

/// See the module's head. No lock of the fabric is held at a scheduling point: the device is told first.
pub(crate) struct Wire {
    ecam: Ecam<Arc<Fabric>>,
    parts: Parts,
    freed: AtomicBool,
}

impl Wire {
    pub(crate) fn new(fabric: &Arc<Fabric>, parts: &Parts) -> Arc<Wire> {
        let ecam = Ecam::new(fabric.clone(), BusRange::ALL);
        Arc::new(Wire { ecam, parts: parts.clone(), freed: AtomicBool::new(false) })
    }

    /// Nobody is inside these operations any more, and nobody will be.
    pub(crate) fn free(&self) {
        self.freed.store(true, Relaxed);
    }

    fn check(&self) {
        assert!(!self.freed.load(Relaxed), "operations are used that were taken out");
    }

    /// Those whose bus is held in reset.
    fn below(&self) -> Vec<Arc<Part>> {
        let Parts { root: _, pf, disk } = &self.parts;
        let own = [pf, disk].map(Arc::clone).into_iter();
        own.filter(|part| !part.is_gone()).chain(pf.virtuals()).collect()
    }
}

impl ConfigOps for Wire {
    fn read(&self, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        self.check();
        if let Some(part) = self.parts.at(at) {
            part.reached();
        }
        self.check();
        self.ecam.read(at, width)
    }

    fn write(&self, at: ConfigAddress, width: Width, value: u32) -> Result<ConfigEffects, ConfigStatus> {
        self.check();
        if let Some(part) = self.parts.at(at) {
            // Under the lock that orders the function's writes, under which the gate is not looked at.
            part.monitor.access();
        }
        self.check();
        let effects = self.ecam.write(at, width, value)?;
        if let Some(change) = effects.secondary_bus_reset {
            let hit = if change.new {
                |part: &Part| part.monitor.seize()
            } else {
                |part: &Part| part.monitor.release()
            };
            self.below().iter().for_each(|part| hit(part));
        }
        Ok(effects)
    }
}
