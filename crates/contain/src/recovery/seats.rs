//! The functions of a recovery and who has them.

use super::area::Candidate;
use super::retired::Watched;
use super::work::Asked;
use crate::party::Party;
use crate::plan::{Channel, FunctionId, Member, Policy, Role};
use crate::tree::PeFunction;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A function that takes part.
pub(super) struct Seat {
    pub(super) candidate: Candidate,
    pub(super) party: Arc<dyn Party>,
    pub(super) role: Role,
    pub(super) member: Member,
    pub(super) channel: Channel,
    /// Its interrupts are held back.
    pub(super) quiet: bool,
    /// The state that its model has saved.
    pub(super) saved: Option<Arc<[u8]>>,
    /// Tells of its removal at once.
    _watched: Watched,
}

impl Seat {
    pub(super) fn new(candidate: Candidate, asked: Asked, watched: Watched) -> Seat {
        let Asked { party, role, needs_fundamental_reset } = asked;
        let member = candidate.member(role, needs_fundamental_reset);
        let (channel, quiet, saved) = (Channel::Normal, false, None);
        Seat { candidate, party, role, member, channel, quiet, saved, _watched: watched }
    }

    pub(super) fn function(&self) -> &Arc<PeFunction> {
        &self.candidate.function
    }

    /// Whether the recovery deals with the model of the function itself.
    pub(super) fn is_model(&self) -> bool {
        self.role == Role::Consumer(Policy::SaveAndRestore)
    }
}

/// All of them, in the order of the tree.
#[derive(Default)]
pub(super) struct Seats {
    by_id: BTreeMap<FunctionId, Seat>,
    order: Vec<FunctionId>,
    /// Made when it is asked for.
    functions: Option<Arc<[Arc<PeFunction>]>>,
}

impl Seats {
    pub(super) fn add(&mut self, seat: Seat) -> Option<Seat> {
        let id = seat.function().id;
        self.functions = None;
        let before = self.by_id.insert(id, seat);
        if before.is_none() {
            self.order.push(id);
        }
        before
    }

    pub(super) fn remove(&mut self, id: FunctionId) -> Option<Seat> {
        let seat = self.by_id.remove(&id)?;
        self.order.retain(|other| *other != id);
        self.functions = None;
        Some(seat)
    }

    pub(super) fn get(&self, id: FunctionId) -> Option<&Seat> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: FunctionId) -> Option<&mut Seat> {
        self.by_id.get_mut(&id)
    }

    /// As the plan knows them, parents before children.
    pub(super) fn members(&self) -> Vec<Member> {
        self.in_order().map(|seat| seat.member).collect()
    }

    /// The functions whose interrupts are not held back.
    pub(super) fn loud(&self) -> Arc<[Arc<PeFunction>]> {
        self.in_order().filter(|seat| !seat.quiet).map(|seat| Arc::clone(seat.function())).collect()
    }

    /// The functions of consumers, whose memory may be in use.
    pub(super) fn consumers(&self) -> Vec<FunctionId> {
        let consumers = self.in_order().filter(|seat| matches!(seat.role, Role::Consumer(_)));
        consumers.map(|seat| seat.function().id).collect()
    }

    fn in_order(&self) -> impl Iterator<Item = &Seat> {
        self.order.iter().filter_map(|id| self.by_id.get(id))
    }

    pub(super) fn take(&mut self) -> Vec<Seat> {
        std::mem::take(self).by_id.into_values().collect()
    }

    /// The functions, parents before children.
    pub(super) fn functions(&mut self) -> Arc<[Arc<PeFunction>]> {
        let Seats { by_id, order, functions } = self;
        let in_order = || order.iter().filter_map(|id| by_id.get(id)).map(|seat| Arc::clone(seat.function()));
        Arc::clone(functions.get_or_insert_with(|| in_order().collect()))
    }
}
