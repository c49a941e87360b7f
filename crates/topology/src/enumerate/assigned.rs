//! The addresses and bus numbers that the functions of one segment were given.

use super::Found;
use super::resources::Want;
use super::space::{Range, Space};
use crate::scans::Area;
use pci_core::mechanism::BusRange;
use pci_spec::Bdf;
use std::collections::BTreeMap;

/// By function; see the module's head.
#[derive(Debug, Default)]
pub(crate) struct Assignments(BTreeMap<Bdf, Assigned>);

/// What one function was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Assigned {
    pub(super) bars: Vec<(Want, Option<Range>)>,
    /// Of a bridge, in the order of [`Space::ALL`].
    windows: [Option<Range>; 3],
    /// The buses below a bridge, or those that virtual functions are on besides the function's own.
    buses: Option<BusRange>,
}

impl Assigned {
    pub(super) fn window(&self, space: Space) -> Option<Range> {
        *self.windows.get(space as usize)?
    }
}

impl Assignments {
    /// What was given within an area.
    pub(crate) fn copy(&self, area: &Area) -> Assignments {
        Assignments(self.within(area).map(|(at, assigned)| (*at, assigned.clone())).collect())
    }

    /// Puts `new` in the place of what was given within an area, which it gives back.
    pub(crate) fn replace(&mut self, area: &Area, new: Assignments) -> Assignments {
        let old: Vec<Bdf> = self.within(area).map(|(at, _)| *at).collect();
        let old = old.into_iter().filter_map(|at| self.0.remove_entry(&at)).collect();
        self.0.extend(new.0);
        Assignments(old)
    }

    /// Costs what is within, not what is in the segment.
    fn within<'a>(&'a self, area: &Area) -> impl Iterator<Item = (&'a Bdf, &'a Assigned)> {
        let segment = area.segment;
        let between = move |first: [u8; 2], last: [u8; 2]| {
            let at = |id| Bdf::from_routing_id(segment, u16::from_be_bytes(id));
            self.0.range(at(first)..=at(last))
        };
        let device = area.device.map(|(bus, device)| {
            let first = device.saturating_mul(pci_spec::FUNCTIONS_PER_DEVICE);
            between([bus, first], [bus, first | (pci_spec::FUNCTIONS_PER_DEVICE - 1)])
        });
        let buses: Vec<_> = area.buses.iter().filter(|range| range.first <= range.last).copied().collect();
        let buses = buses.into_iter().flat_map(move |range| between([range.first, 0], [range.last, u8::MAX]));
        device.into_iter().flatten().chain(buses)
    }

    /// The bus numbers given within an area.
    pub(crate) fn buses(&self, area: &Area) -> Vec<BusRange> {
        self.within(area).filter_map(|(_, assigned)| assigned.buses).collect()
    }

    /// What of a bus was given to others than the device of the area: addresses, and numbers of the buses below.
    pub(crate) fn beside(&self, area: &Area, bus: u8) -> Others {
        let whole =
            Area { segment: area.segment, buses: vec![BusRange { first: bus, last: bus }], device: None };
        let mut others = Others::default();
        for (_, assigned) in self.within(&whole).filter(|(at, _)| !area.contains(**at)) {
            let bars = assigned.bars.iter().filter_map(|(want, range)| Some((want.space(), (*range)?)));
            others.ranges.extend(bars);
            let windows = Space::ALL.into_iter().filter_map(|space| Some((space, assigned.window(space)?)));
            others.ranges.extend(windows);
            others.buses.extend(assigned.buses);
        }
        others
    }

    /// Forgets functions that are not there any more, or are not the same.
    pub(super) fn keep(&mut self, found: &[Found], is_known: impl Fn(Bdf) -> bool) {
        let mut there = BTreeMap::new();
        let mut left: Vec<&Found> = found.iter().collect();
        while let Some(found) = left.pop() {
            if let Some(assigned) = self.0.remove(&found.at).filter(|_| is_known(found.at)) {
                there.insert(found.at, assigned);
            }
            left.extend(found.bridge.iter().flat_map(|bridge| &bridge.below));
        }
        self.0 = there;
    }

    /// Enters functions that have nothing yet, with what they ask for.
    pub(super) fn add(&mut self, wanted: BTreeMap<Bdf, Vec<Want>>) {
        for (at, wants) in wanted {
            let bars = wants.into_iter().map(|want| (want, None)).collect();
            self.0.insert(at, Assigned { bars, ..Assigned::default() });
        }
    }

    /// Notes the bus numbers of what was found.
    pub(super) fn number(&mut self, found: &[Found]) {
        let mut left: Vec<&Found> = found.iter().collect();
        while let Some(found) = left.pop() {
            if let Some(assigned) = self.0.get_mut(&found.at) {
                assigned.buses = found.buses();
            }
            left.extend(found.bridge.iter().flat_map(|bridge| &bridge.below));
        }
    }

    pub(super) fn has(&self, at: Bdf) -> bool {
        self.0.contains_key(&at)
    }

    pub(super) fn get(&self, at: Bdf) -> Option<&Assigned> {
        self.0.get(&at)
    }

    /// What a register of a function asks for, and what it got.
    pub(super) fn bar_mut(&mut self, at: Bdf, index: usize) -> Option<(&Want, &mut Option<Range>)> {
        let (want, range) = self.0.get_mut(&at)?.bars.get_mut(index)?;
        Some((want, range))
    }

    /// The windows of a bridge, in the order of [`Space::ALL`].
    pub(super) fn windows(&self, at: Bdf) -> [Option<Range>; 3] {
        self.0.get(&at).map_or([None; 3], |assigned| assigned.windows)
    }

    pub(super) fn set_window(&mut self, at: Bdf, space: Space, range: Option<Range>) {
        let window = self.0.get_mut(&at).and_then(|assigned| assigned.windows.get_mut(space as usize));
        if let Some(window) = window {
            *window = range;
        }
    }

    /// Enters what those of `own` have that are on `bus`: from now on nobody else gets that.
    pub(super) fn reserve_on(&mut self, bus: u8, own: &Assignments) {
        let there = own.0.iter().filter(|(at, _)| at.bus() == bus);
        self.0.extend(there.map(|(at, assigned)| (*at, assigned.clone())));
    }
}

/// What others on a bus have.
#[derive(Default)]
pub(crate) struct Others {
    pub(super) ranges: Vec<(Space, Range)>,
    pub(crate) buses: Vec<BusRange>,
}
