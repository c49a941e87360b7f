//! Everything that everybody in a forest shares, on one thread and in virtual time.
//!
//! As in the world of slots, whatever takes time in a call hands the thread back, and steps are made *inside* that call until its
//! time is over; a recovery whose call does not return is taken away meanwhile and driven on from further up the stack.

use super::check::{Looks, Rule, Violation};
use super::crew::Hands;
use super::forest::Forest;
use super::people::Late;
use super::plan::{Act, Plan};
use super::tape::Tape;
use crate::cell::Cell;
use crate::random::Random;
use crate::trace::Trace;
use contain::containment::Containment;
use contain::pe::Held;
use gate::{Deadline, ThreadToken};
use pci_core::{Time, VirtualTime};
use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// See the module's head.
pub(crate) struct Scene {
    pub(crate) plan: Plan,
    pub(crate) time: Arc<VirtualTime>,
    pub(crate) random: Cell<Random>,
    pub(crate) forest: Cell<Forest>,
    pub(crate) hands: Arc<Hands>,
    pub(crate) late: Cell<Vec<Late>>,
    pub(crate) tape: Cell<Tape>,
    pub(crate) looks: Cell<Looks>,
    /// PEs that somebody holds, as an assignment does.
    pub(crate) holds: Cell<Vec<Held>>,
    /// A turn is to be taken.
    pub(crate) alarmed: Cell<bool>,
    /// Everybody does what he should.
    pub(crate) calm: Cell<bool>,
    /// Calls that hand the thread back, on top of one another.
    pub(crate) depth: Cell<usize>,
    /// No longer than this, as something further down the stack would be overdue.
    pub(crate) limit: Cell<Duration>,
    pub(crate) step: Cell<u64>,
    pub(crate) done: Cell<BTreeMap<Act, u64>>,
    /// Calls of drivers, consumers and the platform.
    pub(crate) calls: Cell<u64>,
    /// Errors that somebody has told of.
    pub(crate) signs: Cell<u64>,
    pub(crate) violation: Cell<Option<Violation>>,
    lines: Cell<Trace>,
    pub(crate) containment: OnceLock<Weak<Containment>>,
}

/// How many calls may be under way that hand the thread back.
const DEEPEST: usize = 3;

impl Scene {
    pub(crate) fn new(plan: Plan, mut random: Random, out: Option<fn(&str)>) -> Arc<Scene> {
        let forest = Forest::grow(&mut random, plan.pes, plan.segments);
        Arc::new(Scene {
            plan,
            time: Arc::default(),
            random: Cell::new(random),
            forest: Cell::new(forest),
            hands: Arc::default(),
            late: Cell::default(),
            tape: Cell::default(),
            looks: Cell::default(),
            holds: Cell::default(),
            alarmed: Cell::new(false),
            calm: Cell::new(false),
            depth: Cell::new(0),
            limit: Cell::new(Duration::MAX),
            step: Cell::new(0),
            done: Cell::default(),
            calls: Cell::new(0),
            signs: Cell::new(0),
            violation: Cell::default(),
            lines: Cell::new(Trace::new(out)),
            containment: OnceLock::new(),
        })
    }

    pub(crate) fn now(&self) -> Duration {
        self.time.now()
    }

    pub(crate) fn trace(&self, text: impl FnOnce() -> String) {
        let (step, now) = (self.step.get(), self.now());
        self.lines.with(|lines| lines.line(step, now, &text()));
    }

    pub(crate) fn hash_and_last(&self) -> (u64, Vec<String>) {
        self.lines.with(|lines| (lines.hash(), lines.last()))
    }

    /// Something is not as it has to be; the first one counts.
    pub(crate) fn wrong(&self, rule: Rule, detail: String) {
        let (step, now) = (self.step.get(), self.now());
        self.trace(|| format!("wrong: {rule:?}: {detail}"));
        self.violation.with(|first| {
            first.get_or_insert(Violation { rule, detail, step, now });
        });
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.violation.with(|violation| violation.is_some())
    }

    pub(crate) fn count(&self, act: Act) {
        self.step.with(|step| *step += 1);
        self.done.with(|done| *done.entry(act).or_default() += 1);
    }

    /// Time that passes in a call, and all that happens in it.
    pub(crate) fn linger(&self, token: &mut ThreadToken, time: Duration) {
        let limit = self.limit.get();
        let end = self.now().saturating_add(time).min(limit);
        self.trace(|| format!("somebody takes {} ms", time.as_millis()));
        self.limit.set(end);
        let depth = self.depth.get();
        if depth < DEEPEST
            && let Some(containment) = self.containment.get().and_then(Weak::upgrade)
        {
            self.depth.set(depth + 1);
            let steps = self.random.with(|random| random.below(12));
            for _ in 0..steps {
                if self.now() >= end || self.is_broken() {
                    break;
                }
                self.step_once(&containment, token);
            }
            self.depth.set(depth);
        }
        self.limit.set(limit);
        // What is overdue is taken away at its moment, and driven on by whoever is next.
        while self.now() < end {
            let overdue = self.hands.overdue(self.now()).filter(|when| *when > self.now());
            let next = overdue.map_or(end, |when| when.min(end));
            self.time.advance(next - self.now());
        }
        let _next = self.hands.overdue(self.now());
        self.trace(|| "and goes on".into());
    }

    /// Time passes, as far as it may.
    pub(crate) fn pass(&self, time: Duration) {
        let most = self.limit.get().saturating_sub(self.now());
        self.time.advance(time.min(most));
        self.hands.ring(self.now());
        let _next = self.hands.overdue(self.now());
    }

    /// Takes a function out with all that is below it, as a card that is pulled: gone first, followed later.
    pub(crate) fn pull(&self, token: &mut ThreadToken, at: Bdf) {
        for below in self.forest.with(|forest| forest.below(at)) {
            let card = self.forest.with(|forest| forest.take(below));
            if let Some(card) = card {
                let _orphans = card.node.function.disconnect(token, Deadline::after(Duration::ZERO));
            }
        }
        self.trace(|| format!("{at} is out"));
    }
}
