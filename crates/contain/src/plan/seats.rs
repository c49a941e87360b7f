//! All functions that take part in a recovery, in the order of the tree.

use super::FunctionId;
use super::seat::Seat;
use std::collections::BTreeMap;

/// Functions by the order in which they came, and by name. What was unplugged leaves a gap, so that nobody's place changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seats {
    order: Vec<Option<Seat>>,
    places: BTreeMap<FunctionId, usize>,
    calls: usize,
}

impl Seats {
    /// False if the function has a seat.
    pub(super) fn add(&mut self, seat: Seat) -> bool {
        let function = seat.member.function;
        if self.places.contains_key(&function) {
            return false;
        }
        self.places.insert(function, self.order.len());
        self.order.push(Some(seat));
        true
    }

    /// Takes a function out. Nobody waits for its answer any more.
    pub(super) fn remove(&mut self, function: FunctionId) -> Option<Seat> {
        let place = self.places.remove(&function)?;
        let seat = self.order.get_mut(place)?.take()?;
        if seat.in_call.is_some() {
            self.call_ends();
        }
        Some(seat)
    }

    pub(super) fn get_mut(&mut self, function: FunctionId) -> Option<&mut Seat> {
        let place = *self.places.get(&function)?;
        self.order.get_mut(place)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Seat> {
        self.order.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Seat> {
        self.order.iter_mut().flatten()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// So many calls begin.
    pub(super) fn calls_begin(&mut self, count: usize) {
        self.calls += count;
    }

    /// A call has ended, or will not.
    pub(super) fn call_ends(&mut self) {
        self.calls = self.calls.saturating_sub(1);
    }

    /// Whether anybody is being called.
    pub(super) fn in_call(&self) -> bool {
        self.calls > 0
    }
}
