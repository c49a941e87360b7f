//! Carrying out the recovery of a PE: what its [plan](crate::plan) orders is done here, and what comes of it is told to the plan.
//!
//! One thread at a time [drives](slot::Driven::drive) a recovery, whichever the crew has. It takes one effect after the other as
//! a piece of work with at most one call of foreign code, made with nothing held but the gates of functions whose models
//! wait for their state. Waits are timers. Calls to drivers may be answered at once or later; those of one depth run side by side.
//!
//! # A call that does not return
//! Before each piece of work the driving thread writes down what it calls and until when. When that time is over,
//! [`overdue`](slot::Driven::overdue) takes the recovery away from it: the call counts as lost, and another thread drives on. The
//! thread that was left behind finds its ticket stale when the call returns, puts away what came out of it, and touches nothing
//! else. A panic is an answer like any other, and an answer that comes too late goes nowhere.
//!
//! # Gates
//! * A PE's functions are contained by its [`Frozen`] until the plan thaws or unfreezes them.
//! * *Quiesce* waits until nothing of a model is in flight. All gates of the recovery are closed together before the first
//!   model is saved, or before the reset if there are none.
//! * Models' gates stay closed until *resume*, the others' until they are unfrozen, or until a driver is to be called.
//! * A function that is removed tells of it itself, and its gate is let go at once.
//!
//! What this module does **not** do: it decides nothing, detects nothing, and has no threads.
//!
//! # Concurrency
//! Everything that changes is behind one leaf, the *desk*, held for one step of the plan or a look; nothing is called and nothing
//! foreign dropped under it. Recoveries know nothing of each other.

mod area;
mod calls;
mod complete;
mod desk;
mod drive;
mod effects;
mod gates;
mod inbox;
mod load;
mod report;
mod retired;
mod seats;
mod timing;
mod work;

use crate::containment::{Frozen, News, OnEnd, Parts, Recoveries, RecoveryId, Running, Start};
use crate::party::Hears;
use crate::pe::Held;
use crate::plan::{Answer, Event, Flavour};
use crate::ranks;
use crate::tree::PeTree;
use area::Area;
use desk::Desk;
use gate::ThreadToken;
use gate::lock::{Leaf, LeafGuard};
use slot::Driven;
use std::sync::{Arc, Weak};
use timing::Timing;
use work::Asking;

/// The recovery of a PE; see the module's head.
pub struct Recovery {
    id: RecoveryId,
    name: String,
    /// The PE at the top.
    pe: Held,
    tree: Arc<PeTree>,
    frozen: Option<Arc<Frozen>>,
    flavour: Flavour,
    within_budget: bool,
    parts: Parts,
    timing: Timing,
    ended: Arc<dyn OnEnd>,
    me: Weak<Recovery>,
    /// Rank: 40, recovery desk; a leaf: news is posted and calls are answered from anywhere.
    desk: Leaf<ranks::RecoveryDesk, Desk>,
}

impl Recovery {
    /// Begins a recovery and wakes its crew. Calls nobody else on this thread.
    #[must_use]
    pub fn begin(_token: &mut ThreadToken, start: Start) -> Arc<Recovery> {
        let Start { id, tree, snapshot, claim, frozen, flavour, within_budget, doom, parts, ended } = start;
        let pe = claim.pe().clone();
        let area = Area::of(&snapshot, pe.address());
        let desk = Desk {
            doom,
            pe_order: area.ids(),
            pes: area.pes.into_iter().map(|pe| (pe.id(), pe)).collect(),
            asking: area.functions.into_iter().map(Asking::First).collect(),
            claim: Some(claim),
            began: parts.time.now(),
            ..Desk::default()
        };
        let recovery = Arc::new_cyclic(|me| Recovery {
            id,
            name: format!("recovery {}", pe.address()),
            pe,
            tree,
            frozen,
            flavour,
            within_budget,
            timing: Timing::new(&parts.settings),
            parts,
            ended,
            me: Weak::clone(me),
            desk: Leaf::new(desk),
        });
        recovery.wake(recovery.desk.lock());
        recovery
    }

    /// Has somebody drive, unless somebody does, or will.
    fn wake(&self, mut desk: LeafGuard<'_, ranks::RecoveryDesk, Desk>) {
        let needed = desk.driving.is_none() && !std::mem::replace(&mut desk.woken, true);
        drop(desk);
        if needed && let Some(me) = self.me.upgrade() {
            let me: Arc<dyn Driven> = me;
            self.parts.crew.wake(&me);
        }
    }
}

impl Running for Recovery {
    fn post(&self, news: News) {
        let mut desk = self.desk.lock();
        if desk.over {
            return;
        }
        let known = desk.inbox.push(news);
        self.wake(desk);
        // Not under the lock: it may be the last reference to something.
        drop(known);
    }

    fn report(&self) -> String {
        report::of(&self.desk.lock())
    }
}

impl Hears for Recovery {
    fn hear(&self, number: u64, answer: Option<Answer>) {
        let mut desk = self.desk.lock();
        let Some(out) = desk.calls.end(number) else { return };
        let calls::Out { function, call, .. } = out;
        desk.answers.push_back(match answer {
            Some(answer) => Event::Answered(function, call, answer),
            None => Event::CallbackLost(function, call),
        });
        self.wake(desk);
    }
}

/// Carries recoveries out with [`Recovery`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor;

impl Recoveries for Executor {
    fn begin(&self, token: &mut ThreadToken, start: Start) -> Arc<dyn Running> {
        Recovery::begin(token, start)
    }
}

impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recovery").field("name", &self.name).finish_non_exhaustive()
    }
}
