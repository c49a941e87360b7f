//! What is plugged where; the routes that follow from it are made in [`routes`](super::routes).

use super::table::Bus;
use super::{Place, PlugError, PlugId};
use pci_core::{Function, RoutingChanges};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All that is plugged below one host bridge.
pub(super) struct Plan {
    pub(super) plugged: BTreeMap<PlugId, Plugged>,
    /// Those that have virtual functions put behind them.
    pub(super) physical: BTreeSet<PlugId>,
    pub(super) root: Link,
    next: u64,
    /// Counts what routes, and says by mark who has changed.
    changes: Arc<RoutingChanges>,
    /// Who has a mark: those whose registers route.
    marked: BTreeSet<(u16, PlugId)>,
    pub(super) pending: Pending,
    /// The number of the root bus.
    pub(super) first: u8,
    /// Two bridges claim one bus, so that another may have it when one lets it go.
    pub(super) contested: bool,
}

/// What the published routes do not show yet, besides changes of registers.
#[derive(Default)]
pub(super) struct Pending {
    /// Bridges that are new; they may have bus numbers already.
    pub(super) bridges: BTreeSet<PlugId>,
    /// Buses that have other functions now: the bridges above them, `None` for the root bus.
    pub(super) links: BTreeSet<Option<PlugId>>,
    /// Buses that are routed nowhere any more.
    pub(super) gone: Vec<u8>,
    /// All routes are to be made anew.
    pub(super) all: bool,
}

pub(super) struct Plugged {
    pub(super) function: Arc<Function>,
    pub(super) place: Place,
    /// What is below, if this is a bridge.
    pub(super) link: Link,
    /// Made but not necessarily switched on, by index.
    pub(super) virtual_functions: Vec<Arc<Function>>,
    /// How the bus below is routed in the published table, if it is.
    pub(super) routed: Option<Branch>,
}

/// What is on one bus or link, by device and function number.
#[derive(Default)]
pub(super) struct Link {
    functions: BTreeMap<u8, PlugId>,
    /// Those of them that are bridges: when a bus number changes these are looked at, and nothing else.
    pub(super) bridges: BTreeMap<u8, PlugId>,
    /// The same as it is published; only a bridge has one.
    pub(super) bus: Option<Arc<Bus>>,
}

/// A bus that is routed, or is to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Branch {
    /// The bridge above, or none for the root bus.
    pub(super) bridge: Option<PlugId>,
    pub(super) bus: u8,
    /// The highest bus that is forwarded to it.
    pub(super) last: u8,
}

impl Plan {
    /// Nothing, on the root bus `first`.
    pub(super) fn new(first: u8, changes: Arc<RoutingChanges>) -> Plan {
        Plan {
            plugged: BTreeMap::new(),
            physical: BTreeSet::new(),
            root: Link { bus: Some(Arc::default()), ..Link::default() },
            next: 0,
            changes,
            marked: BTreeSet::new(),
            pending: Pending { all: true, ..Pending::default() },
            first,
            contested: false,
        }
    }

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
        if let Some(bus) = &mut link.bus {
            Arc::make_mut(bus).set(place.devfn(), function.clone());
        }
        self.next += 1;
        self.pending.links.insert(place.bridge());
        self.mark(id, &function);
        let link = Link { bus: bus_below(&function), ..Link::default() };
        self.plugged
            .insert(id, Plugged { function, place, link, virtual_functions: Vec::new(), routed: None });
        Ok(id)
    }

    /// Has changes of the registers counted, if they route. A function that was plugged in here before has its mark.
    fn mark(&mut self, id: PlugId, function: &Function) {
        let config = function.config();
        if !config.is_bridge() && config.sr_iov_layout().is_none() {
            return;
        }
        let _first = config.count_routing_changes(self.changes.mark(id.0));
        if let Some(mark) = config.routing_mark().filter(|mark| mark.is_of(&self.changes)) {
            self.marked.insert((mark.number(), id));
        }
        if config.is_bridge() {
            // It may have numbers already.
            self.pending.bridges.insert(id);
        }
    }

    /// Takes a function out, with all that is below it and its virtual functions.
    pub(super) fn unplug(&mut self, id: PlugId) -> Vec<Arc<Function>> {
        let Some(place) = self.plugged.get(&id).map(|plugged| plugged.place) else { return Vec::new() };
        if let Some(link) = self.link_mut(place) {
            link.functions.remove(&place.devfn());
            link.bridges.remove(&place.devfn());
            if let Some(bus) = &mut link.bus {
                Arc::make_mut(bus).clear(place.devfn());
            }
        }
        self.pending.links.insert(place.bridge());
        let mut gone = Vec::new();
        let mut left = vec![id];
        while let Some((id, plugged)) = left.pop().and_then(|id| self.plugged.remove_entry(&id)) {
            self.pending.all |= self.physical.remove(&id);
            self.pending.gone.extend(plugged.routed.map(|branch| branch.bus));
            if let Some(mark) = plugged.function.config().routing_mark() {
                self.marked.remove(&(mark.number(), id));
            }
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
        let mark = physical.config().routing_mark()?.number();
        let is_it = |plugged: &Plugged| Arc::ptr_eq(&plugged.function, physical);
        let id = self.with_mark(mark).find(|id| self.plugged.get(id).is_some_and(is_it))?;
        if functions.is_empty() {
            self.physical.remove(&id);
        } else {
            self.physical.insert(id);
        }
        self.pending.all = true;
        let found = self.plugged.get_mut(&id)?;
        Some(std::mem::replace(&mut found.virtual_functions, functions))
    }

    /// What has a mark of that number.
    pub(super) fn with_mark(&self, number: u16) -> impl Iterator<Item = PlugId> + '_ {
        let range = (number, PlugId(0))..=(number, PlugId(u64::MAX));
        self.marked.range(range).map(|(_, id)| *id)
    }

    fn link_mut(&mut self, place: Place) -> Option<&mut Link> {
        match place {
            Place::Root(_) => Some(&mut self.root),
            Place::Below(bridge, _) => self.plugged.get_mut(&bridge).map(|plugged| &mut plugged.link),
        }
    }

    pub(super) fn link(&self, bridge: Option<PlugId>) -> Option<&Link> {
        bridge.map_or(Some(&self.root), |bridge| self.plugged.get(&bridge).map(|plugged| &plugged.link))
    }
}

/// The empty bus below a function, if it is a bridge.
fn bus_below(function: &Function) -> Option<Arc<Bus>> {
    let config = function.config();
    let port = config.layout().port_type().is_some_and(|port| port.is_downstream());
    config.is_bridge().then(|| Arc::new(Bus::below(port.then(|| config.clone()))))
}
