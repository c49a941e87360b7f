//! What a recovery knows and has: the state behind its one lock.

use super::calls::Calls;
use super::inbox::Inbox;
use super::seats::{Seat, Seats};
use super::work::{Asked, Asking, Parked, Purpose, Who};
use crate::containment::End;
use crate::pe::Held;
use crate::plan::{Effect, Event, FunctionId, PeId, Plan, Reset, Traffic};
use crate::report::{Doom, Outcome};
use crate::tree::{Claim, Marked};
use crate::watch::Told;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// What is left of an effect that is being carried out.
pub(super) enum Task {
    /// Somebody was asked for; gives him the seat.
    Sit(Asking, Asked),
    Tell(Told),
    /// The hardware lets traffic through: so do we.
    LetIn(Traffic),
    /// The hardware is unfrozen: so are we.
    Open,
    Call(FunctionId, crate::plan::Call),
    /// All gates are closed, or could not be.
    Save(FunctionId),
    Reset(ResetOrder),
    /// Waits until then for what is in flight of a consumer's.
    Drain(FunctionId, Duration),
    /// Nothing is in flight any more, or that is not known.
    Thaw(Traffic),
    /// Lets go of everything.
    LetGo,
    /// Tells the end.
    End(Outcome),
}

/// A reset for which gates are being closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResetOrder {
    pub(super) how: Reset,
    /// When it is given up.
    pub(super) until: Duration,
    /// How long the next pause is.
    pub(super) pause: Duration,
}

/// A piece of work that is under way, or was left behind.
pub(super) struct Underway {
    /// Of the thread that does it.
    pub(super) ticket: u64,
    pub(super) who: Who,
    pub(super) name: &'static str,
    pub(super) purpose: Purpose,
    /// When the recovery goes on without it.
    pub(super) until: Duration,
}

/// Who drives.
pub(super) struct Driving {
    /// Another one for each thread that begins to drive.
    pub(super) ticket: u64,
    pub(super) work: Option<Underway>,
}

/// See the module's head.
#[derive(Default)]
pub(super) struct Desk {
    /// Not there before it is known who has the functions.
    pub(super) plan: Option<Plan>,
    /// The platform was asked whether anything is there.
    pub(super) looked: bool,
    /// The last piece of work was to ask who has a function.
    pub(super) asked: bool,
    pub(super) doom: Option<Doom>,
    pub(super) seats: Seats,
    /// Functions that were removed: what comes of them is put away.
    pub(super) gone: BTreeSet<FunctionId>,
    /// Of whom it is to be found out who has them.
    pub(super) asking: VecDeque<Asking>,
    pub(super) pes: BTreeMap<PeId, Held>,
    /// Parents before children.
    pub(super) pe_order: Vec<PeId>,
    pub(super) marked: Marked,
    pub(super) claim: Option<Claim>,
    /// Gates that are closed, none of them of a driver's function while that is called.
    pub(super) parked: BTreeMap<FunctionId, Parked>,
    pub(super) inbox: Inbox,
    /// What the work reports to the plan; comes before what is in the inbox.
    pub(super) answers: VecDeque<Event>,
    /// Of the last steps, not carried out yet.
    pub(super) effects: VecDeque<Effect>,
    pub(super) tasks: VecDeque<Task>,
    pub(super) calls: Calls,
    /// When [`Effect::Wait`] is over.
    pub(super) timer: Option<Duration>,
    /// When closing the gates for a reset is tried again.
    pub(super) retry: Option<(Duration, ResetOrder)>,
    /// I/O may still have memory that was taken away from its consumer: nobody goes on without a reset, and none is made.
    pub(super) undrained: bool,
    /// The gates could not be closed for one model's state, so no other one is tried in this step.
    pub(super) saves_fail: bool,
    /// Until when models are to be quiet, all together.
    pub(super) quiesce: Option<Duration>,
    pub(super) driving: Option<Driving>,
    pub(super) left_behind: Vec<Underway>,
    /// The crew was told that somebody must drive, and nobody has begun to.
    pub(super) woken: bool,
    /// To be dropped without the lock.
    pub(super) rubbish: Vec<Box<dyn Send>>,
    pub(super) began: Duration,
    pub(super) resets: u32,
    pub(super) ended: Option<End>,
    /// The end was told, or is about to be: nothing more is done.
    pub(super) over: bool,
    pub(super) tickets: u64,
}

impl Desk {
    pub(super) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn is_driven_by(&self, ticket: u64) -> bool {
        self.driving.as_ref().is_some_and(|driving| driving.ticket == ticket)
    }

    /// Whether a call of this one was left behind.
    pub(super) fn is_left_behind(&self, who: Who) -> bool {
        self.left_behind.iter().any(|work| work.who == who)
    }

    /// Whether this very call was.
    pub(super) fn is_out(&self, name: &'static str) -> bool {
        self.left_behind.iter().any(|work| work.name == name)
    }

    /// Something happened that the plan is to know.
    pub(super) fn step(&mut self, event: Event) {
        self.saves_fail = false;
        if let Some(plan) = &mut self.plan {
            let mut effects = Vec::new();
            plan.step(event, &mut effects);
            self.effects.extend(effects);
        }
    }

    /// An event that means nothing before the plan begins, whose scope has it then.
    pub(super) fn step_or_keep(&mut self, event: Event) {
        if self.plan.is_some() {
            self.answers.push_back(event);
        }
    }

    /// Whether a gate stays closed until its model has its state back.
    pub(super) fn keeps_closed(&self, id: FunctionId) -> bool {
        self.seats.get(id).is_some_and(|seat: &Seat| seat.is_model() && seat.saved.is_some())
    }

    /// Takes out the gates that need not be closed any more, for the caller to drop.
    pub(super) fn take_others(&mut self) -> Vec<Parked> {
        let ids: Vec<FunctionId> = self.parked.keys().copied().filter(|id| !self.keeps_closed(*id)).collect();
        ids.iter().filter_map(|id| self.parked.remove(id)).collect()
    }

    pub(super) fn take_parked(&mut self) -> Vec<Parked> {
        std::mem::take(&mut self.parked).into_values().collect()
    }

    pub(super) fn park(&mut self, parked: Vec<Parked>) {
        for parked in parked {
            let id = parked.function.id;
            // Removed while it was away, and nobody has it closed twice.
            let away = if self.gone.contains(&id) { Some(parked) } else { self.parked.insert(id, parked) };
            self.rubbish.extend(away.map(|parked| Box::new(parked) as Box<dyn Send>));
        }
    }

    /// Nothing that comes from here on counts; what has come since the plan ended does, if it is another error.
    pub(super) fn close(&mut self, outcome: Outcome, now: Duration) -> End {
        let inbox = std::mem::take(&mut self.inbox);
        let again = outcome == Outcome::Recovered && inbox.is_frozen_again();
        let outcome = if again { Outcome::FrozenAgain } else { outcome };
        let left = (inbox, std::mem::take(&mut self.asking), std::mem::take(&mut self.plan));
        self.rubbish.push(Box::new(left));
        (self.over, self.timer, self.retry, self.calls) = (true, None, None, Calls::default());
        let end = End { outcome, resets: self.resets, pause: now.saturating_sub(self.began) };
        self.ended = Some(end);
        end
    }

    /// A function is not there any more.
    pub(super) fn removed(&mut self, id: FunctionId) {
        if !self.gone.insert(id) {
            return;
        }
        self.calls.forget(id);
        let asking = std::mem::take(&mut self.asking);
        let (left, asking): (VecDeque<_>, _) = asking.into_iter().partition(|asking| asking.id() == id);
        self.asking = asking;
        let seat = self.seats.remove(id);
        if let Some(seat) = &seat {
            seat.function().function.config().hold_dma(false);
        }
        self.rubbish.push(Box::new((left, seat, self.parked.remove(&id))));
        // Before what it answered, which is that of somebody who was about to leave.
        self.step(Event::Removed(id));
    }
}
