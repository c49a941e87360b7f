//! The published routes: which function answers at which bus, device and function number.
//!
//! A tree of four levels that shares what does not change between its versions: groups of sixteen buses, buses, devices of
//! eight functions. A change copies one branch on each level.

use pci_core::{ConfigSpace, Function};
use std::sync::Arc;

const GROUPS: usize = 16;
const BUSES_PER_GROUP: usize = 16;
const DEVICES: usize = pci_spec::DEVICES_PER_BUS as usize;
const FUNCTIONS: usize = pci_spec::FUNCTIONS_PER_DEVICE as usize;

/// The routes at one moment.
#[derive(Clone)]
pub(super) struct Table {
    /// The count of routing changes that this table has taken in.
    pub(super) changes: u64,
    groups: [Option<Arc<Group>>; GROUPS],
}

type Group = [Option<Arc<Bus>>; BUSES_PER_GROUP];

/// The functions on one bus.
#[derive(Clone, Default)]
pub(super) struct Bus {
    /// The port above the bus, if only device 0 is on the link unless the port forwards to ARI devices.
    port: Option<Arc<ConfigSpace>>,
    devices: [Option<Arc<Device>>; DEVICES],
}

type Device = [Option<Entry>; FUNCTIONS];

/// One function that answers.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) function: Arc<Function>,
    /// Its registers, here too: an access goes to them at once.
    pub(super) config: Arc<ConfigSpace>,
}

impl Bus {
    /// An empty bus below `port`.
    pub(super) fn below(port: Option<Arc<ConfigSpace>>) -> Bus {
        Bus { port, ..Bus::default() }
    }

    pub(super) fn set(&mut self, devfn: u8, function: Arc<Function>) {
        let entry = Entry { config: function.config().clone(), function };
        let (device, number) = split(devfn);
        if let Some(place) = self.devices.get_mut(device) {
            let device = place.get_or_insert_with(Arc::default);
            if let Some(place) = Arc::make_mut(device).get_mut(number) {
                *place = Some(entry);
            }
        }
    }

    pub(super) fn clear(&mut self, devfn: u8) {
        let (device, number) = split(devfn);
        let Some(place) = self.devices.get_mut(device) else { return };
        let Some(device) = place else { return };
        if let Some(entry) = Arc::make_mut(device).get_mut(number) {
            *entry = None;
        }
        if device.iter().all(Option::is_none) {
            *place = None;
        }
    }

    #[inline]
    fn get(&self, devfn: u8) -> Option<&Entry> {
        let (device, number) = split(devfn);
        let entry = self.devices.get(device)?.as_ref()?.get(number)?.as_ref()?;
        let reached = device == 0 || self.port.as_ref().is_none_or(|port| port.ari_forwarding());
        reached.then_some(entry)
    }
}

impl Table {
    pub(super) fn empty(changes: u64) -> Table {
        Table { changes, groups: Default::default() }
    }

    /// The same routes, as those of a later count.
    pub(super) fn at(self, changes: u64) -> Table {
        Table { changes, ..self }
    }

    /// Who answers at a bus, device and function number.
    #[inline]
    pub(super) fn find(&self, bus: u8, devfn: u8) -> Option<&Entry> {
        self.bus(bus)?.get(devfn)
    }

    #[inline]
    fn bus(&self, bus: u8) -> Option<&Arc<Bus>> {
        let (group, number) = place(bus);
        self.groups.get(group)?.as_ref()?.get(number)?.as_ref()
    }

    /// Whether the bus is routed to somewhere.
    pub(super) fn has(&self, bus: u8) -> bool {
        self.bus(bus).is_some()
    }

    /// Routes a bus to `functions`, or to nowhere.
    pub(super) fn set(&mut self, bus: u8, functions: Option<Arc<Bus>>) {
        let (group, number) = place(bus);
        let Some(group) = self.groups.get_mut(group) else { return };
        let group = group.get_or_insert_with(Arc::default);
        if let Some(place) = Arc::make_mut(group).get_mut(number) {
            *place = functions;
        }
    }

    /// Adds a function to a bus; to an empty one if it is not routed yet.
    pub(super) fn add(&mut self, bus: u8, devfn: u8, function: Arc<Function>) {
        let mut functions = self.bus(bus).cloned().unwrap_or_default();
        Arc::make_mut(&mut functions).set(devfn, function);
        self.set(bus, Some(functions));
    }
}

/// Group, and bus in it.
fn place(bus: u8) -> (usize, usize) {
    (usize::from(bus) / BUSES_PER_GROUP, usize::from(bus) % BUSES_PER_GROUP)
}

/// Device, and function in it.
fn split(devfn: u8) -> (usize, usize) {
    (usize::from(devfn) / FUNCTIONS, usize::from(devfn) % FUNCTIONS)
}
