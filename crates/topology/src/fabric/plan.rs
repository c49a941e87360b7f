//! What is plugged where, and the routes that follow from it and from the bridges' registers.

use super::table::{Bus, Table};
use super::{Place, PlugError, PlugId};
use pci_core::{BusNumbers, Function};
use pci_spec::extended::sr_iov;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All that is plugged below one host bridge.
#[derive(Default)]
pub(super) struct Plan {
    plugged: BTreeMap<PlugId, Plugged>,
    /// Those that have virtual functions.
    physical: BTreeSet<PlugId>,
    root: Link,
    next: u64,
}

struct Plugged {
    function: Arc<Function>,
    place: Place,
    /// What is below, if this is a bridge.
    link: Link,
    /// Made but not necessarily switched on, by index.
    virtual_functions: Vec<Arc<Function>>,
}

/// What is on one bus or link, by device and function number.
#[derive(Default)]
struct Link {
    functions: BTreeMap<u8, PlugId>,
    /// Those of them that are bridges: with every change of a bus number all bridges are looked at, and nothing else.
    bridges: BTreeMap<u8, PlugId>,
    /// The bus as it is published; `None` after a change.
    bus: Option<Arc<Bus>>,
}

impl Plan {
    pub(super) fn plug(&mut self, place: Place, function: Arc<Function>) -> Result<PlugId, PlugError> {
        if let Place::Below(bridge, devfn) = place {
            let above = self.plugged.get(&bridge).ok_or(PlugError::NoBridge)?;
            let config = above.function.config();
            if !config.is_bridge() {
                return Err(PlugError::NoBridge);
            }
            let link = config.layout().port_type().is_some_and(|port| port.is_downstream());
            let ari = config.layout().has_ari_forwarding();
            if link && !ari && devfn >= pci_spec::FUNCTIONS_PER_DEVICE {
                return Err(PlugError::NotOnLink(devfn));
            }
        }
        let id = PlugId(self.next);
        let is_bridge = function.config().is_bridge();
        let link = self.link_mut(place).ok_or(PlugError::NoBridge)?;
        if link.functions.contains_key(&place.devfn()) {
            return Err(PlugError::Taken);
        }
        link.functions.insert(place.devfn(), id);
        if is_bridge {
            link.bridges.insert(place.devfn(), id);
        }
        link.bus = None;
        self.next += 1;
        self.plugged
            .insert(id, Plugged { function, place, link: Link::default(), virtual_functions: Vec::new() });
        Ok(id)
    }

    /// Takes a function out, with all that is below it and its virtual functions.
    pub(super) fn unplug(&mut self, id: PlugId) -> Vec<Arc<Function>> {
        let Some(place) = self.plugged.get(&id).map(|plugged| plugged.place) else { return Vec::new() };
        if let Some(link) = self.link_mut(place) {
            link.functions.remove(&place.devfn());
            link.bridges.remove(&place.devfn());
            link.bus = None;
        }
        let mut gone = Vec::new();
        let mut left = vec![id];
        while let Some((id, plugged)) = left.pop().and_then(|id| self.plugged.remove_entry(&id)) {
            self.physical.remove(&id);
            left.extend(plugged.link.functions.values());
            gone.push(plugged.function);
            gone.extend(plugged.virtual_functions);
        }
        gone
    }

    pub(super) fn set_virtual_functions(
        &mut self,
        physical: &Arc<Function>,
        functions: Vec<Arc<Function>>,
    ) -> Option<Vec<Arc<Function>>> {
        let mut plugged = self.plugged.iter_mut();
        let (id, found) = plugged.find(|(_, plugged)| Arc::ptr_eq(&plugged.function, physical))?;
        if functions.is_empty() {
            self.physical.remove(id);
        } else {
            self.physical.insert(*id);
        }
        Some(std::mem::replace(&mut found.virtual_functions, functions))
    }

    fn link_mut(&mut self, place: Place) -> Option<&mut Link> {
        match place {
            Place::Root(_) => Some(&mut self.root),
            Place::Below(bridge, _) => self.plugged.get_mut(&bridge).map(|plugged| &mut plugged.link),
        }
    }

    /// The routes, from the root bus `first` down.
    pub(super) fn table(&mut self, first: u8, changes: u64) -> Table {
        let mut table = Table::empty(changes);
        let mut left = vec![Branch { bridge: None, bus: first, last: u8::MAX }];
        // Every branch has a bus of its own, since one that is taken is not entered again.
        while let Some(branch) = left.pop() {
            if table.has(branch.bus) {
                continue;
            }
            let Some(bus) = self.bus(branch.bridge) else { continue };
            table.set(branch.bus, bus);
            left.extend(self.bridges(branch));
        }
        self.add_virtual_functions(first, &mut table);
        table
    }

    /// The bus below a bridge, or the root bus.
    fn bus(&mut self, bridge: Option<PlugId>) -> Option<Arc<Bus>> {
        let mut bus = Bus::default();
        let link = match bridge {
            None => &self.root,
            Some(bridge) => {
                let plugged = self.plugged.get(&bridge)?;
                let config = plugged.function.config();
                if config.layout().port_type().is_some_and(|port| port.is_downstream()) {
                    bus.port = Some(config.clone());
                }
                &plugged.link
            }
        };
        if let Some(bus) = &link.bus {
            return Some(bus.clone());
        }
        for (devfn, id) in &link.functions {
            if let Some(plugged) = self.plugged.get(id) {
                bus.set(*devfn, plugged.function.clone());
            }
        }
        let bus = Arc::new(bus);
        let link = match bridge {
            None => &mut self.root,
            Some(bridge) => &mut self.plugged.get_mut(&bridge)?.link,
        };
        link.bus = Some(bus.clone());
        Some(bus)
    }

    fn link(&self, bridge: Option<PlugId>) -> Option<&Link> {
        bridge.map_or(Some(&self.root), |bridge| self.plugged.get(&bridge).map(|plugged| &plugged.link))
    }

    /// The buses right below the bridges on a bus, as their registers say. Of two bridges that claim a bus the one with the
    /// lower number has it; one that is held in reset, or claims what its own bridge does not forward, leads nowhere.
    fn bridges(&self, above: Branch) -> Vec<Branch> {
        let bridges = self.link(above.bridge).into_iter().flat_map(|link| link.bridges.values().rev());
        let below = bridges.filter_map(|id| {
            let config = self.plugged.get(id)?.function.config();
            let BusNumbers { secondary, subordinate, .. } = config.bus_numbers()?;
            let forwards = above.bus < secondary && secondary <= subordinate && subordinate <= above.last;
            (forwards && !config.secondary_bus_reset()).then_some(Branch {
                bridge: Some(*id),
                bus: secondary,
                last: subordinate,
            })
        });
        below.collect()
    }

    /// Adds the virtual functions that are switched on, at their distance from their physical function.
    fn add_virtual_functions(&self, first: u8, table: &mut Table) {
        for plugged in self.physical.iter().filter_map(|id| self.plugged.get(id)) {
            let config = plugged.function.config();
            let (Some(layout), Some(state)) = (config.sr_iov_layout(), config.sr_iov()) else { continue };
            let Some((bus, last)) = self.buses_of(plugged.place, first) else { continue };
            let routed = table.find(bus, plugged.place.devfn());
            let reached = routed.is_some_and(|entry| Arc::ptr_eq(&entry.function, &plugged.function));
            if !state.enabled || !reached {
                continue;
            }
            let physical = u16::from_be_bytes([bus, plugged.place.devfn()]);
            for (index, function) in (0..state.num_vfs).zip(&plugged.virtual_functions) {
                let at = sr_iov::routing_id(physical, layout.first_offset, layout.stride, index);
                let Some([on, devfn]) = at.map(u16::to_be_bytes) else { break };
                if on > last || table.find(on, devfn).is_some() {
                    continue;
                }
                if let Some(bus) = table.bus_mut(on) {
                    bus.set(devfn, function.clone());
                }
            }
        }
    }

    /// The bus that a place is on, and the last bus that is forwarded to it.
    fn buses_of(&self, place: Place, first: u8) -> Option<(u8, u8)> {
        match place {
            Place::Root(_) => Some((first, u8::MAX)),
            Place::Below(bridge, _) => {
                let numbers = self.plugged.get(&bridge)?.function.config().bus_numbers()?;
                Some((numbers.secondary, numbers.subordinate))
            }
        }
    }
}

/// A bus that is still to be routed.
#[derive(Clone, Copy)]
struct Branch {
    /// The bridge above, or none for the root bus.
    bridge: Option<PlugId>,
    bus: u8,
    /// The highest bus that is forwarded to it.
    last: u8,
}
