//! The routes that follow from what is plugged where and from the bridges' registers.
//!
//! Normally the published table is amended: the buses that have other functions now, and the bridges that were marked since,
//! are looked at, and the rest is shared with the table before. It is made anew in the few cases where a change in one place
//! may count in another: two bridges claim one bus, or virtual functions may be on a bus that was touched. Both give the
//! same table.

use super::PlugId;
use super::plan::{Branch, Pending, Plan, Plugged};
use super::table::Table;
use pci_core::BusNumbers;
use pci_spec::extended::sr_iov;
use std::sync::Arc;

impl Plan {
    /// The routes as they are now. `old` are those that were made last, `marks` name those whose registers have changed since.
    pub(super) fn routes(&mut self, old: &Table, marks: &[u16], changes: u64) -> Table {
        let pending = std::mem::take(&mut self.pending);
        let amended = if pending.all { None } else { self.amend(old.clone(), &pending, marks) };
        let table = amended.unwrap_or_else(|| self.make());
        table.at(changes)
    }

    /// Changes what has changed; `None` if that may count elsewhere too.
    fn amend(&mut self, mut table: Table, pending: &Pending, marks: &[u16]) -> Option<Table> {
        if self.contested && !pending.gone.is_empty() {
            return None;
        }
        let mut touched = pending.gone.clone();
        for bus in &pending.gone {
            table.set(*bus, None);
        }
        let marked: Vec<PlugId> = marks.iter().flat_map(|number| self.with_mark(*number)).collect();
        if marked.iter().any(|id| self.physical.contains(id)) {
            return None;
        }
        for id in pending.bridges.iter().chain(&marked) {
            self.reroute(*id, &mut table, &mut touched)?;
            // ARI forwarding decides whether a physical function is there.
            touched.extend(self.branch(Some(*id)).map(|branch| branch.bus));
        }
        for bridge in &pending.links {
            if let Some(branch) = self.branch(*bridge) {
                self.publish_bus(branch, &mut table);
                touched.push(branch.bus);
            }
        }
        (!self.virtual_functions_touched(&touched)).then_some(table)
    }

    /// Takes in the present bus numbers of a bridge. `None` if it claims a bus that another one has, or lets one go that
    /// another one may want.
    fn reroute(&mut self, id: PlugId, table: &mut Table, touched: &mut Vec<u8>) -> Option<()> {
        let old = self.branch(Some(id));
        let new = self.wanted(id);
        if old == new {
            return Some(());
        }
        if old.is_some() {
            if self.contested {
                return None;
            }
            self.unroute(id, table, touched);
        }
        let mut left: Vec<Branch> = new.into_iter().collect();
        while let Some(branch) = left.pop() {
            if table.has(branch.bus) {
                return None;
            }
            self.route(branch, table);
            touched.push(branch.bus);
            left.extend(self.bridges(branch));
        }
        Some(())
    }

    /// Takes away the bus below a bridge, and those below that.
    fn unroute(&mut self, id: PlugId, table: &mut Table, touched: &mut Vec<u8>) {
        let mut left = vec![id];
        while let Some(plugged) = left.pop().and_then(|id| self.plugged.get_mut(&id)) {
            if let Some(branch) = plugged.routed.take() {
                table.set(branch.bus, None);
                touched.push(branch.bus);
                left.extend(plugged.link.bridges.values());
            }
        }
    }

    /// All routes, from the root bus down.
    pub(super) fn make(&mut self) -> Table {
        let mut table = Table::empty(0);
        self.contested = false;
        for plugged in self.plugged.values_mut() {
            plugged.routed = None;
        }
        let mut left: Vec<Branch> = self.branch(None).into_iter().collect();
        // Every branch has a bus of its own, since one that is taken is not entered again.
        while let Some(branch) = left.pop() {
            if table.has(branch.bus) {
                self.contested = true;
                continue;
            }
            self.route(branch, &mut table);
            left.extend(self.bridges(branch));
        }
        self.add_virtual_functions(&mut table);
        table
    }

    fn route(&mut self, branch: Branch, table: &mut Table) {
        if let Some(plugged) = branch.bridge.and_then(|id| self.plugged.get_mut(&id)) {
            plugged.routed = Some(branch);
        }
        self.publish_bus(branch, table);
    }

    fn publish_bus(&self, branch: Branch, table: &mut Table) {
        if let Some(link) = self.link(branch.bridge) {
            table.set(branch.bus, link.bus.clone());
        }
    }

    /// How the bus below a bridge, or the root bus, is routed.
    fn branch(&self, bridge: Option<PlugId>) -> Option<Branch> {
        match bridge {
            None => Some(Branch { bridge: None, bus: self.first, last: u8::MAX }),
            Some(id) => self.plugged.get(&id)?.routed,
        }
    }

    /// How the bus below a bridge is to be routed, as its registers say.
    fn wanted(&self, id: PlugId) -> Option<Branch> {
        let plugged = self.plugged.get(&id)?;
        forwarded(id, plugged, self.branch(plugged.place.bridge())?)
    }

    /// The buses right below the bridges on a bus, the last first. Of two bridges that claim a bus the one with the lower
    /// number has it.
    fn bridges(&self, above: Branch) -> Vec<Branch> {
        let bridges = self.link(above.bridge).into_iter().flat_map(|link| link.bridges.values().rev());
        bridges.filter_map(|id| forwarded(*id, self.plugged.get(id)?, above)).collect()
    }

    /// Adds the virtual functions that are switched on, at their distance from their physical function.
    fn add_virtual_functions(&self, table: &mut Table) {
        for plugged in self.physical.iter().filter_map(|id| self.plugged.get(id)) {
            let config = plugged.function.config();
            let (Some(layout), Some(state)) = (config.sr_iov_layout(), config.sr_iov()) else { continue };
            let Some(Branch { bus, last, .. }) = self.branch(plugged.place.bridge()) else { continue };
            let routed = table.find(bus, plugged.place.devfn());
            let reached = routed.is_some_and(|entry| Arc::ptr_eq(&entry.function, &plugged.function));
            if !state.enabled || !reached {
                continue;
            }
            let physical = u16::from_be_bytes([bus, plugged.place.devfn()]);
            for (index, function) in (0..state.num_vfs).zip(&plugged.virtual_functions) {
                let at = sr_iov::routing_id(physical, layout.first_offset, layout.stride, index);
                let Some([on, devfn]) = at.map(u16::to_be_bytes) else { break };
                if on <= last && table.find(on, devfn).is_none() {
                    table.add(on, devfn, function.clone());
                }
            }
        }
    }

    /// Whether virtual functions may be on one of these buses.
    fn virtual_functions_touched(&self, buses: &[u8]) -> bool {
        let mut physical = self.physical.iter().filter_map(|id| self.plugged.get(id));
        physical.any(|plugged| {
            let Some(Branch { bus, .. }) = self.branch(plugged.place.bridge()) else { return true };
            let last = last_virtual_bus(bus, plugged).unwrap_or(u8::MAX);
            buses.iter().any(|touched| (bus..=last).contains(touched))
        })
    }
}

/// The bus below a bridge on the bus `above`: one that is held in reset, or claims what its own bridge does not forward,
/// leads nowhere.
fn forwarded(id: PlugId, plugged: &Plugged, above: Branch) -> Option<Branch> {
    let config = plugged.function.config();
    let BusNumbers { secondary, subordinate, .. } = config.bus_numbers()?;
    let forwards = above.bus < secondary && secondary <= subordinate && subordinate <= above.last;
    let branch = Branch { bridge: Some(id), bus: secondary, last: subordinate };
    (forwards && !config.secondary_bus_reset()).then_some(branch)
}

/// The bus of the last virtual function of a physical one on `bus`.
fn last_virtual_bus(bus: u8, plugged: &Plugged) -> Option<u8> {
    let layout = plugged.function.config().sr_iov_layout()?;
    let last = u16::try_from(plugged.virtual_functions.len()).ok()?.checked_sub(1)?;
    let physical = u16::from_be_bytes([bus, plugged.place.devfn()]);
    let [bus, _] = sr_iov::routing_id(physical, layout.first_offset, layout.stride, last)?.to_be_bytes();
    Some(bus)
}
