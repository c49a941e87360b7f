//! The emulated hardware below one host bridge: what is plugged where, and who answers a configuration access.
//!
//! Accesses are routed by the bridges' bus number registers, as hardware does: type 0 on the root bus, type 1 down to the
//! bridge whose secondary bus is meant. A port with a link below reaches only device 0, unless software has switched ARI
//! forwarding on. Virtual functions answer while their physical function has them enabled. What nobody answers reads
//! all-ones. PCIe 6.0 s7.3 *Configuration Transaction Rules*, s6.13 *Alternative Routing-ID Interpretation (ARI)*.
//!
//! What it does **not** do: no gate and no waiting; memory and I/O accesses are not routed (a consumer reaches BARs
//! through the [`Function`]).
//!
//! # Concurrency
//! Accesses find their function in a published table and never wait for each other, at the same cost for any number of
//! functions. Whatever changes the routes (a write, a reset, a loss of power, wherever it comes from) is counted, and marked,
//! by the configuration spaces; the next access that finds the count changed brings the table up to date under the fabric's
//! lock, which is held for that and for nothing else. What has not changed is not looked at and not copied, so plugging one
//! function costs the same among few and many. The lock and the stripes of the table stand for hardware: they are
//! leaves that may be reached below any mechanism, so they are plain locks and not those of [`gate::lock`].

mod plan;
mod port;
mod routes;
mod striped;
mod table;

pub use port::Port;

use pci_core::mechanism::{BusRange, ConfigWindow, Ecam, HostBridge};
use pci_core::{ConfigEffects, Function, RoutingChanges, Width};
use pci_spec::Bdf;
use plan::Plan;
use std::sync::Arc;
use striped::{HardwareLock, Striped};
use table::{Entry, Table};
use thiserror::Error;

/// What was plugged in, until it is unplugged; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlugId(u64);

/// Where a function is plugged in. Device in the upper five bits and function in the lower three, or the function of an
/// ARI device in all eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// On the root bus.
    Root(u8),
    /// On the bus below a bridge.
    Below(PlugId, u8),
}

impl Place {
    /// Device and function number.
    #[must_use]
    pub const fn devfn(self) -> u8 {
        match self {
            Place::Root(devfn) | Place::Below(_, devfn) => devfn,
        }
    }

    /// The bridge above; `None` for the root bus.
    const fn bridge(self) -> Option<PlugId> {
        match self {
            Place::Root(_) => None,
            Place::Below(bridge, _) => Some(bridge),
        }
    }
}

/// Why a function cannot be plugged in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PlugError {
    /// There is a function already.
    #[error("another function is plugged in there")]
    Taken,
    /// What it was to be below is not plugged in, or no bridge.
    #[error("it was to be below something that is no bridge, or not there")]
    NoBridge,
    /// Only device 0 is on the link below a port that cannot forward to ARI devices.
    #[error("the port reaches only functions 0 to 7 on its link, and this is {0}")]
    NotOnLink(u8),
}

/// The hardware below one host bridge; see the module's head.
pub struct Fabric {
    segment: u16,
    /// Counted by all configuration spaces that are plugged in and route.
    changes: Arc<RoutingChanges>,
    routes: Striped<Table>,
    /// What is plugged in, and the making of the table from it. Without a rank: see the module's head.
    plan: HardwareLock<Plan>,
}

impl Fabric {
    /// An empty fabric whose root bus is bus 0 of `segment`.
    #[must_use]
    pub fn new(segment: u16) -> Fabric {
        let changes = Arc::new(RoutingChanges::default());
        Fabric {
            segment,
            changes: changes.clone(),
            routes: Striped::new(Table::empty(0)),
            plan: HardwareLock::new(Plan::new(0, changes)),
        }
    }

    /// The segment that it is in.
    #[must_use]
    pub fn segment(&self) -> u16 {
        self.segment
    }

    /// A host bridge that reaches the fabric through memory-mapped configuration space.
    #[must_use]
    pub fn host_bridge(self: &Arc<Fabric>, name: impl Into<String>) -> HostBridge {
        let ops = Ecam::new(self.clone(), BusRange::ALL);
        HostBridge::new(name, self.segment, BusRange::ALL, Arc::new(ops))
    }

    /// Plugs a function in. Hardware only: nobody is told, and a snapshot shows it after the next scan. A function that
    /// routes (a bridge, a physical function) is plugged into one fabric in its life, which counts its changes.
    ///
    /// # Errors
    /// [`PlugError`]; nothing was plugged in.
    pub fn plug(&self, place: Place, function: Arc<Function>) -> Result<PlugId, PlugError> {
        let id = self.plan.lock().plug(place, function)?;
        self.changes.add();
        Ok(id)
    }

    /// Takes a function out, with all that is below it and its virtual functions: from now on nobody answers at their
    /// addresses. Gives back what was taken out.
    pub fn unplug(&self, id: PlugId) -> Vec<Arc<Function>> {
        let gone = self.plan.lock().unplug(id);
        self.changes.add();
        self.refresh();
        gone
    }

    /// Puts the virtual functions of `physical` behind it, in place of those before, which are given back; `None` if it is
    /// not plugged in. They answer while the physical function's registers enable them.
    pub fn set_virtual_functions(
        &self,
        physical: &Arc<Function>,
        functions: Vec<Arc<Function>>,
    ) -> Option<Vec<Arc<Function>>> {
        let old = self.plan.lock().set_virtual_functions(physical, functions);
        self.changes.add();
        self.refresh();
        old
    }

    /// The function that answers at an address now.
    #[must_use]
    pub fn function(&self, at: Bdf) -> Option<Arc<Function>> {
        let [bus, devfn] = at.routing_id().to_be_bytes();
        if at.segment() != self.segment {
            return None;
        }
        self.find(bus, devfn, |entry| entry.function.clone())
    }

    fn find<R>(&self, bus: u8, devfn: u8, look: impl FnOnce(&Entry) -> R) -> Option<R> {
        let mut look = Some(look);
        let changes = self.changes.count();
        let found = self.routes.read(|table| {
            (table.changes == changes)
                .then(|| table.find(bus, devfn).and_then(|entry| Some(look.take()?(entry))))
        });
        found.unwrap_or_else(|| {
            self.refresh();
            self.routes.read(|table| Some(look.take()?(table.find(bus, devfn)?)))
        })
    }

    /// Brings the table up to date.
    #[cold]
    fn refresh(&self) {
        let mut plan = self.plan.lock();
        // Counted before marks are taken and registers are read: a change meanwhile makes the new table out of date in its
        // turn.
        let changes = self.changes.count();
        let Some(old) = self.routes.read(|table| (table.changes != changes).then(|| table.clone())) else {
            return;
        };
        let marks = self.changes.take();
        let table = plan.routes(&old, &marks, changes);
        let replaced = self.routes.replace(table);
        drop(plan);
        drop((old, replaced));
    }
}

impl ConfigWindow for Fabric {
    fn length(&self) -> u64 {
        1 << 28
    }

    fn read(&self, offset: u64, width: Width) -> u32 {
        let (bus, devfn, register) = split(offset);
        let mut bytes = [0; 4];
        let length = usize::from(width.bytes());
        let found = self.find(bus, devfn, |entry| {
            entry.config.read_hardware(register, &mut bytes[..length]);
        });
        found.map_or(width.all_ones(), |()| u32::from_le_bytes(bytes))
    }

    fn write(&self, offset: u64, width: Width, value: u32) -> ConfigEffects {
        let (bus, devfn, register) = split(offset);
        let bytes = value.to_le_bytes();
        let data = &bytes[..usize::from(width.bytes())];
        let written = self.find(bus, devfn, |entry| entry.config.write_hardware(register, data));
        written.unwrap_or_default()
    }
}

/// Bus, device and function, and register of an offset in the window. PCIe 6.0 s7.2.2 *PCI Express Enhanced
/// Configuration Access Mechanism (ECAM)*: bus in bits 27:20, device and function in 19:12.
fn split(offset: u64) -> (u8, u8, u16) {
    let [.., d, c, b, a] = offset.to_be_bytes();
    let register = u16::from_be_bytes([b & 0xf, a]);
    (d << 4 | c >> 4, c << 4 | b >> 4, register)
}

#[cfg(test)]
mod tests;
