//! One incident of one PE, from the error to the end of its recovery and for as long as the PE stays frozen.

use super::{End, Frozen, RecoveryId, Running};
use crate::budget::Spent;
use crate::pe::Held;
use crate::plan::{Flavour, FunctionId, PeId};
use crate::report::Doom;
use crate::tree::PendingClaim;
use pci_core::ErrorSign;
use pci_spec::Bdf;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Why a PE stays frozen although no recovery has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// An operator wants it so.
    Stay,
    /// Nothing is recovered at present (EEH-27).
    RecoveryDisabled,
    /// All its consumers deal with it themselves (EEH-21).
    PassedThrough,
    /// Functions are kept for their consumers, who have not been told to go on or have not answered (EEH-20).
    Contained,
    /// There is no way back.
    Failed(Doom),
}

/// Where an incident is.
pub(super) enum Stage {
    /// Somebody is at work on it who has left the lock.
    Busy,
    /// A recovery is to begin.
    Due,
    /// Something else is recovered first: recoveries below, or one above that has frozen nothing.
    Waiting(Option<PendingClaim>),
    /// It is being recovered.
    Running(Arc<dyn Running>),
    /// The recovery has ended, and nobody has looked at that yet.
    Ended(End),
    /// It stays frozen.
    Left(Left),
}

/// How the last error of a PE was noticed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    pub(super) sign: Option<ErrorSign>,
    pub(super) function: Option<(FunctionId, Bdf)>,
    pub(super) flavour: Flavour,
}

impl Cause {
    /// After DMA that was not to be, nobody goes on without a reset: what is in flight may still reach memory.
    pub(super) fn require(&self, frozen: &Frozen) {
        if let Some(ErrorSign::DmaFault { .. }) = self.sign {
            frozen.require_reset();
        }
    }
}

pub(super) struct Case {
    pub(super) id: RecoveryId,
    pub(super) pe: Held,
    pub(super) cause: Cause,
    /// Nothing, if the error froze nothing.
    pub(super) frozen: Option<Arc<Frozen>>,
    pub(super) since: Duration,
    pub(super) spent: Spent,
    pub(super) doom: Option<Doom>,
    pub(super) stage: Stage,
    /// What was asked for by operators and is recovered with this.
    pub(super) also: Vec<RecoveryId>,
}

/// How many recoveries that operators asked for are remembered as part of another one.
const MAX_ALSO: usize = 64;

impl Case {
    /// Everything in it is frozen now, and is until its recovery thaws it.
    pub(super) fn holds_frozen(&self) -> bool {
        self.frozen.as_ref().is_some_and(|frozen| !frozen.is_thawed())
    }

    /// Nothing is frozen any more: the functions that were kept for their consumers have left.
    pub(super) fn is_let_go(&self) -> bool {
        let nothing_left = |frozen: &Arc<Frozen>| frozen.is_thawed() && !frozen.keeps_some();
        matches!(self.stage, Stage::Left(Left::Contained)) && self.frozen.as_ref().is_some_and(nothing_left)
    }

    pub(super) fn running(&self) -> Option<Arc<dyn Running>> {
        match &self.stage {
            Stage::Running(running) => Some(running.clone()),
            _ => None,
        }
    }

    /// Whether an error below it is its own: it is going to be recovered, is being, or is frozen for good.
    pub(super) fn covers(&self) -> bool {
        match self.stage {
            Stage::Busy | Stage::Due | Stage::Waiting(_) => self.frozen.is_some(),
            Stage::Running(_) => self.frozen.is_some(),
            Stage::Ended(_) | Stage::Left(_) => self.holds_frozen(),
        }
    }

    pub(super) fn remember(&mut self, other: &Case) {
        let room = MAX_ALSO.saturating_sub(self.also.len());
        self.also.extend(other.also.iter().copied().chain([other.id]).take(room));
    }
}

/// How many recoveries go on at once. Each has a thread while something is done for it, and what a guest can make fail is not to be
/// how many threads there are; more wait, frozen.
pub(super) const AT_ONCE: usize = 64;

/// All incidents, and which are due. What is changed together is here together.
#[derive(Default)]
pub(super) struct Cases {
    pub(super) of: BTreeMap<PeId, Case>,
    /// Recoveries that are to begin, in the order of their errors (EEH-I8).
    pub(super) due: VecDeque<PeId>,
    /// Those of host bridges that the platform has reported; before all others (EEH-22).
    pub(super) urgent: VecDeque<PeId>,
    /// Recoveries that have begun, and have not said that they ended.
    pub(super) begun: BTreeSet<RecoveryId>,
    /// Recoveries that have ended, and nobody has looked at.
    pub(super) ended: VecDeque<PeId>,
    next: u64,
    /// A recovery has ended, so that those that wait may try again.
    pub(super) retry: bool,
}

impl Cases {
    pub(super) fn next_id(&mut self) -> RecoveryId {
        self.next += 1;
        RecoveryId(self.next)
    }

    pub(super) fn by_id(&mut self, id: RecoveryId) -> Option<(PeId, &mut Case)> {
        self.of.iter_mut().find(|(_, case)| case.id == id).map(|(pe, case)| (*pe, case))
    }

    pub(super) fn has_work(&self) -> bool {
        let can_begin = !self.urgent.is_empty() || !self.due.is_empty() && self.has_room();
        self.retry || can_begin || !self.ended.is_empty()
    }

    fn has_room(&self) -> bool {
        self.begun.len() < AT_ONCE
    }

    /// The next recovery to begin, if there is one and it may.
    pub(super) fn next_due(&mut self) -> Option<PeId> {
        let urgent = self.urgent.pop_front();
        urgent.or_else(|| if self.has_room() { self.due.pop_front() } else { None })
    }

    /// Takes the stage of an incident out, for somebody who is at work on it from here on.
    pub(super) fn take_stage(&mut self, pe: PeId) -> Option<Stage> {
        self.of.get_mut(&pe).map(|case| std::mem::replace(&mut case.stage, Stage::Busy))
    }
}
