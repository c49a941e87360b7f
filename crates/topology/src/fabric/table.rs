//! The published routes: which function answers at which bus, device and function number.

use pci_core::{ConfigSpace, Function};
use std::sync::Arc;

const BUSES: usize = 256;

/// The routes at one moment.
pub(super) struct Table {
    /// The count of routing changes that this table has taken in.
    pub(super) changes: u64,
    buses: Box<[Option<Arc<Bus>>]>,
}

/// The functions on one bus.
#[derive(Clone, Default)]
pub(super) struct Bus {
    /// The port above the bus, if only device 0 is on the link unless the port forwards to ARI devices.
    pub(super) port: Option<Arc<ConfigSpace>>,
    /// By device and function number; as long as the highest needs.
    functions: Vec<Option<Entry>>,
}

/// One function that answers.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) function: Arc<Function>,
    /// Its registers, here too: an access goes to them at once.
    pub(super) config: Arc<ConfigSpace>,
}

impl Bus {
    pub(super) fn set(&mut self, devfn: u8, function: Arc<Function>) {
        let entry = Entry { config: function.config().clone(), function };
        let index = usize::from(devfn);
        if self.functions.len() <= index {
            self.functions.resize(index + 1, None);
        }
        if let Some(place) = self.functions.get_mut(index) {
            *place = Some(entry);
        }
    }

    fn get(&self, devfn: u8) -> Option<&Entry> {
        let entry = self.functions.get(usize::from(devfn))?.as_ref()?;
        let beyond = usize::from(devfn) >= usize::from(pci_spec::FUNCTIONS_PER_DEVICE);
        let reached = !beyond || self.port.as_ref().is_none_or(|port| port.ari_forwarding());
        reached.then_some(entry)
    }
}

impl Table {
    pub(super) fn empty(changes: u64) -> Table {
        Table { changes, buses: vec![None; BUSES].into() }
    }

    /// Who answers at a bus, device and function number.
    #[inline]
    pub(super) fn find(&self, bus: u8, devfn: u8) -> Option<&Entry> {
        self.buses.get(usize::from(bus))?.as_ref()?.get(devfn)
    }

    /// Whether the bus is routed to somewhere.
    pub(super) fn has(&self, bus: u8) -> bool {
        self.buses.get(usize::from(bus)).is_some_and(Option::is_some)
    }

    pub(super) fn set(&mut self, bus: u8, functions: Arc<Bus>) {
        if let Some(place) = self.buses.get_mut(usize::from(bus)) {
            *place = Some(functions);
        }
    }

    /// The bus, to add functions to; an empty one if it is not routed yet.
    pub(super) fn bus_mut(&mut self, bus: u8) -> Option<&mut Bus> {
        let place = self.buses.get_mut(usize::from(bus))?;
        Some(Arc::make_mut(place.get_or_insert_with(Arc::default)))
    }
}
