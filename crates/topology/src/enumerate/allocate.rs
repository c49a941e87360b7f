//! Gives out addresses: from the bottom up how much each bridge needs, from the top down where.
//!
//! What has its place keeps it. What has none is placed in the gaps of the window above, the largest alignment first. A
//! bridge below which nothing has a place gets a window as large as what is below it needs; one whose devices come and go
//! gets more, if that leaves room for everybody else, and keeps it while it is empty.
//!
//! This is a plan on what is known: no register is touched. Carrying it out is another step ([`program`](super::program)).

use super::assigned::{Assigned, Assignments};
use super::program::Write;
use super::space::{Free, Range, Reserve, Space};
use super::{Found, FoundBridge, Problem};
use pci_spec::Bdf;

/// A plan in the making.
pub(super) struct Allocation<'a> {
    /// Of what is scanned.
    pub(super) assigned: &'a mut Assignments,
    pub(super) reserve: &'a Reserve,
    pub(super) problems: Vec<Problem>,
    pub(super) writes: Vec<Write>,
}

/// What is to be placed on a bus.
struct Item {
    at: Bdf,
    what: What,
    /// 0 for a window that is wanted in reserve only.
    needed: u64,
    /// Bytes, the reserve included.
    size: u64,
    align: u64,
    range: Option<Range>,
    /// A function has an address in the range.
    used: bool,
}

#[derive(Clone, Copy)]
enum What {
    /// The BAR with this index in the function's list.
    Bar(usize),
    Window,
}

impl Allocation<'_> {
    /// Places everything on a bus within the windows above it, but not in what `others` on that bus have; then what is
    /// below.
    pub(super) fn bus(&mut self, found: &[Found], windows: [Option<Range>; 3]) {
        self.on_bus(found, windows, &[]);
        self.below(found);
    }

    /// Places what is on the bus itself.
    pub(super) fn on_bus(&mut self, found: &[Found], windows: [Option<Range>; 3], others: &[(Space, Range)]) {
        for (space, window) in Space::ALL.into_iter().zip(windows) {
            let mut free = Free::new(window);
            for (_, taken) in others.iter().filter(|(other, _)| *other == space) {
                free.cut(*taken);
            }
            // First with everybody's reserve; without if somebody would have to go without what it needs.
            let generous = self.place_all(found, space, free.clone(), true);
            let items = match generous {
                Ok(items) => items,
                Err(_) => self.place_all(found, space, free, false).unwrap_or_else(|items| items),
            };
            for found in found.iter().filter(|found| found.bridge.is_some()) {
                self.assigned.set_window(found.at, space, None);
            }
            for item in items {
                self.note(&item, space);
            }
        }
    }

    /// What is below the bridges among what was found.
    pub(super) fn below(&mut self, found: &[Found]) {
        for found in found {
            if let Some(bridge) = &found.bridge {
                let windows = self.assigned.windows(found.at);
                self.writes.push(Write::Windows { at: found.at, windows });
                self.bus(&bridge.below, windows);
            }
        }
    }

    /// The items of one space with their places; an error if one that needs a place has none.
    fn place_all(
        &self,
        found: &[Found],
        space: Space,
        mut free: Free,
        reserve: bool,
    ) -> Result<Vec<Item>, Vec<Item>> {
        let mut items = self.items(found, space, reserve);
        for item in &mut items {
            item.range = item.range.filter(|range| free.take(*range));
        }
        items.sort_by_key(|item| std::cmp::Reverse((item.align, item.size)));
        for item in items.iter_mut().filter(|item| item.range.is_none()) {
            item.range = free.allocate(item.size, item.align);
        }
        let lacking = items.iter().any(|item| item.range.is_none() && item.needed > 0);
        if lacking { Err(items) } else { Ok(items) }
    }

    /// What of one space is on a bus, with the places it has.
    fn items(&self, found: &[Found], space: Space, reserve: bool) -> Vec<Item> {
        let mut items = Vec::new();
        for found in found {
            let at = found.at;
            let Some(assigned) = self.assigned.get(at) else { continue };
            for (index, (want, range)) in assigned.bars.iter().enumerate() {
                if want.space() == space {
                    let (size, align, range, used) = (want.size, want.align, *range, range.is_some());
                    items.push(Item { at, what: What::Bar(index), needed: size, size, align, range, used });
                }
            }
            items.extend(
                found.bridge.as_ref().and_then(|bridge| self.window(at, bridge, assigned, space, reserve)),
            );
        }
        items
    }

    /// The window of a bridge: the one that it has if somebody below has a place in it, or nobody there needs more.
    fn window(
        &self,
        at: Bdf,
        bridge: &FoundBridge,
        assigned: &Assigned,
        space: Space,
        reserve: bool,
    ) -> Option<Item> {
        let below = self.items(&bridge.below, space, reserve);
        let extra = if reserve && bridge.reserves { self.reserve.get(space) } else { 0 };
        let needs_place = below.iter().any(|item| item.needed > 0);
        let (least, align) = demand(&below, space).unwrap_or((0, space.granularity()));
        let size = least.max(extra);
        let needed = if needs_place { least } else { 0 };
        let item = Item { at, what: What::Window, needed, size, align, range: None, used: false };
        let has = assigned.window(space);
        if let Some(range) = has.filter(|_| below.iter().any(|item| item.used)) {
            let size = range.size();
            return Some(Item { needed: size, size, align: 1, range: has, used: true, ..item });
        }
        let kept = has.filter(|range| extra > 0 && range.size() >= size);
        let size = kept.map_or(size, Range::size);
        (size > 0).then_some(Item { size, range: kept, ..item })
    }

    /// Notes the place of an item, and what is to be written for it.
    fn note(&mut self, item: &Item, space: Space) {
        if item.range.is_none() && item.needed > 0 {
            self.problems.push(Problem::NoSpace { at: item.at, space, size: item.needed });
        }
        match item.what {
            What::Window => self.assigned.set_window(item.at, space, item.range),
            What::Bar(index) => {
                let Some((want, place)) = self.assigned.bar_mut(item.at, index) else { return };
                if place.is_none() || *place != item.range {
                    *place = item.range;
                    let base = item.range.map_or(0, |range| range.base);
                    self.writes.push(Write::Bar { at: item.at, want: *want, base });
                }
            }
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
