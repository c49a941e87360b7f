//! Gives out addresses: from the bottom up how much each bridge needs, from the top down where.
//!
//! What has its place keeps it. What has none is placed in the gaps of the window above, the largest alignment first. A
//! bridge below which nothing has a place has no window to keep: it gets one as large as what is below it needs.

use super::access::Access;
use super::resources::Want;
use super::space::{Free, Range, Space, Windows};
use super::{Found, Problem};
use pci_core::Width;
use pci_spec::{Bdf, Command, bridge, config};
use std::collections::BTreeMap;

/// The addresses that functions and bridges of one segment were given.
#[derive(Debug, Default)]
pub(crate) struct Assignments(BTreeMap<Bdf, Assigned>);

#[derive(Debug, Default)]
struct Assigned {
    bars: Vec<(Want, Option<Range>)>,
    /// Of a bridge, in the order of [`Space::ALL`].
    windows: [Option<Range>; 3],
}

impl Assignments {
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

    pub(super) fn has(&self, at: Bdf) -> bool {
        self.0.contains_key(&at)
    }
}

/// Gives addresses to what has none, and writes them and the bridges' windows.
pub(super) fn allocate(
    access: &Access<'_>,
    windows: &Windows,
    found: &[Found],
    wanted: BTreeMap<Bdf, Vec<Want>>,
    assigned: &mut Assignments,
    problems: &mut Vec<Problem>,
) {
    for (at, wants) in wanted {
        let bars = wants.into_iter().map(|want| (want, None)).collect();
        assigned.0.insert(at, Assigned { bars, windows: [None; 3] });
    }
    let mut allocation = Allocation { access, assigned, problems };
    let all = Space::ALL.map(|space| Some(windows.get(space)));
    allocation.bus(found, all);
}

struct Allocation<'a, 'b> {
    access: &'a Access<'b>,
    assigned: &'a mut Assignments,
    problems: &'a mut Vec<Problem>,
}

/// What is to be placed on a bus.
struct Item {
    at: Bdf,
    what: What,
    size: u64,
    align: u64,
    range: Option<Range>,
}

#[derive(Clone, Copy)]
enum What {
    /// The BAR with this index in the function's list.
    Bar(usize),
    Window,
}

impl Allocation<'_, '_> {
    /// Places everything on a bus within the windows above it, then what is below.
    fn bus(&mut self, found: &[Found], windows: [Option<Range>; 3]) {
        for (space, window) in Space::ALL.into_iter().zip(windows) {
            let mut free = Free::new(window);
            let mut items = self.items(found, space);
            for item in &mut items {
                item.range = item.range.filter(|range| free.take(*range));
            }
            items.sort_by_key(|item| std::cmp::Reverse((item.align, item.size)));
            for mut item in items {
                if item.range.is_none() {
                    item.range = free.allocate(item.size, item.align);
                    if item.range.is_none() {
                        self.problems.push(Problem::NoSpace { at: item.at, space, size: item.size });
                    }
                    self.place(&item, space);
                }
            }
        }
        for found in found {
            if let Some(bridge) = &found.bridge {
                let windows = self.assigned.0.get(&found.at).map_or([None; 3], |assigned| assigned.windows);
                self.program_bridge(found.at, windows);
                self.bus(&bridge.below, windows);
            }
        }
    }

    /// What of one space is on a bus, with the places it has.
    fn items(&self, found: &[Found], space: Space) -> Vec<Item> {
        let mut items = Vec::new();
        for found in found {
            let at = found.at;
            let Some(assigned) = self.assigned.0.get(&at) else { continue };
            for (index, (want, range)) in assigned.bars.iter().enumerate() {
                if want.space() == space {
                    let (size, align) = (want.size, want.align);
                    items.push(Item { at, what: What::Bar(index), size, align, range: *range });
                }
            }
            let Some(bridge) = &found.bridge else { continue };
            let below = self.items(&bridge.below, space);
            let kept = assigned.window(space).filter(|_| below.iter().any(|item| item.range.is_some()));
            if let Some(range) = kept {
                let size = range.last - range.base + 1;
                items.push(Item { at, what: What::Window, size, align: 1, range: kept });
            } else if let Some((size, align)) = demand(&below, space) {
                items.push(Item { at, what: What::Window, size, align, range: None });
            }
        }
        items
    }

    /// Notes and writes the place of an item.
    fn place(&mut self, item: &Item, space: Space) {
        let Some(assigned) = self.assigned.0.get_mut(&item.at) else { return };
        match item.what {
            What::Window => assigned.set_window(space, item.range),
            What::Bar(index) => {
                let Some((want, place)) = assigned.bars.get_mut(index) else { return };
                *place = item.range;
                let (want, base) = (*want, item.range.map_or(0, |range| range.base));
                let [a, b, c, d, e, f, g, h] = base.to_le_bytes();
                let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
                self.access.write(item.at, want.register, Width::Dword, low);
                if want.kind.registers() == 2 {
                    self.access.write(item.at, want.register + 4, Width::Dword, high);
                }
            }
        }
    }

    /// Writes a bridge's windows, and lets it forward.
    fn program_bridge(&self, at: Bdf, [io, memory, memory64]: [Option<Range>; 3]) {
        // A window whose limit lies below its base is off.
        const OFF: Range = Range { base: u64::MAX, last: 0 };
        let (io, memory, memory64) = (io.unwrap_or(OFF), memory.unwrap_or(OFF), memory64.unwrap_or(OFF));
        let byte = |address: u64| u32::from(address.to_le_bytes()[1] & bridge::IO_RW);
        let half = |address: u64| {
            let [_, _, low, high, ..] = address.to_le_bytes();
            u32::from(u16::from_le_bytes([low, high]) & bridge::MEMORY_RW)
        };
        let upper = |address: u64| {
            let [.., a, b, c, d] = address.to_le_bytes();
            u32::from_le_bytes([a, b, c, d])
        };
        self.access.write(at, bridge::IO_BASE, Width::Word, byte(io.base) | byte(io.last) << 8);
        let both = |range: Range| half(range.base) | half(range.last) << 16;
        self.access.write(at, bridge::MEMORY_BASE, Width::Dword, both(memory));
        self.access.write(at, bridge::PREFETCHABLE_BASE, Width::Dword, both(memory64));
        self.access.write(at, bridge::PREFETCHABLE_BASE_UPPER, Width::Dword, upper(memory64.base));
        self.access.write(at, bridge::PREFETCHABLE_LIMIT_UPPER, Width::Dword, upper(memory64.last));
        let forward = Command::MEMORY_SPACE | Command::IO_SPACE | Command::BUS_MASTER;
        let command = self.access.read(at, config::COMMAND, Width::Word);
        self.access.write(at, config::COMMAND, Width::Word, command | u32::from(forward.bits()));
    }
}

impl Assigned {
    fn window(&self, space: Space) -> Option<Range> {
        *self.windows.get(space as usize)?
    }

    fn set_window(&mut self, space: Space, range: Option<Range>) {
        if let Some(window) = self.windows.get_mut(space as usize) {
            *window = range;
        }
    }
}

/// Size and alignment of a window that everything below fits in, the largest alignment first; `None` for nothing.
///
/// Placing the same items at the lowest address each, in the same order, needs no more than putting one behind the other
/// as here.
fn demand(items: &[Item], space: Space) -> Option<(u64, u64)> {
    let mut order: Vec<&Item> = items.iter().collect();
    order.sort_by_key(|item| std::cmp::Reverse((item.align, item.size)));
    let align = order.first()?.align.max(space.granularity());
    let mut end = 0u64;
    for item in order {
        end = end.checked_next_multiple_of(item.align)?.checked_add(item.size)?;
    }
    Some((end.checked_next_multiple_of(space.granularity())?, align))
}
