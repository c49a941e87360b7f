//! What the taps, the thread and the operator share.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use assign::Port;
use gate::lock::{Condvar, Leaf};

use super::back_end::{BackEnd, BackEndError};
use super::error::AddError;
use super::kind::{Kind, Target};
use super::plan::{Hit, Plan, RuleId};
use super::{Rule, later};
use crate::ranks;

/// How many interrupts may be on their way; those beyond come at once.
const MAX_LATER: usize = 1024;

/// The faults of one function.
pub(super) struct Shared {
    pub(super) name: String,
    start: Instant,
    /// The [`bits`](Target::bit) of what rules may hit, for those who need not take the lock. Stored under it.
    targets: AtomicU8,
    /// Rank: 106, injected faults; a leaf. Rules, their hits and their chances change together, and so do the interrupts that a hit
    /// has put off. Held for a look, a draw, or starting the thread; nobody is called under it.
    pub(super) state: Leaf<ranks::Injected, State>,
    pub(super) changed: Condvar,
    pub(super) port: OnceLock<Weak<Port>>,
}

pub(super) struct State {
    pub(super) plan: Plan,
    later: BinaryHeap<Reverse<Later>>,
    put_off: u64,
    back_end: Option<Weak<dyn BackEnd>>,
    pub(super) runs: bool,
    pub(super) over: bool,
    /// The [`bits`](Target::bit) of what the device's side is tapped for, and whether somebody is changing that.
    pub(super) tapped: u8,
    pub(super) changing: bool,
}

/// An interrupt that comes later; of two at one time the first that was put off comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Later {
    due: Duration,
    nth: u64,
    vector: Option<u16>,
}

/// What the thread has to do next.
pub(super) enum Due {
    Interrupt(Option<u16>),
    Fault(Hit),
    /// Nothing before this moment; `None`: nothing at all.
    Nothing(Option<Duration>),
}

impl Shared {
    pub(super) fn new(name: &str, seed: u64) -> Shared {
        let state = State {
            plan: Plan::new(seed),
            later: BinaryHeap::new(),
            put_off: 0,
            back_end: None,
            runs: false,
            over: false,
            tapped: 0,
            changing: false,
        };
        Shared {
            name: name.to_owned(),
            start: Instant::now(),
            targets: AtomicU8::new(0),
            state: Leaf::new(state),
            changed: Condvar::new(),
            port: OnceLock::new(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The moment on everybody's clock.
    pub(super) fn instant(&self, at: Duration) -> Option<Instant> {
        self.start.checked_add(at)
    }

    /// Whether any rule may hit one of these. One load.
    #[inline]
    pub(super) fn concerns(&self, targets: &[Target]) -> bool {
        let bits = targets.iter().fold(0, |bits, target| bits | target.bit());
        self.targets.load(Ordering::Relaxed) & bits != 0
    }

    /// Asks the rules, and remembers which of them may still hit.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.state.lock();
        let now = self.now();
        let answer = question(&mut state, now);
        self.targets.store(state.plan.targets(now), Ordering::Relaxed);
        answer
    }

    pub(super) fn add(self: &Arc<Self>, rule: Rule) -> Result<RuleId, AddError> {
        let kind = rule.kind();
        if self.port.get().is_none() {
            return Err(AddError::NotAttached);
        }
        let added = self.ask(|state, now| {
            if rule.target() == Target::BackEnd && state.back_end.is_none() {
                return Err(AddError::NoBackEnd { kind });
            }
            let id = state.plan.add(now, rule)?;
            if rule.needs_thread() && self.start_thread(state).is_err() {
                state.plan.remove(id);
                return Err(AddError::NoThread { kind });
            }
            Ok(id)
        });
        self.changed.notify_all();
        added
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if !state.runs {
            later::start(Arc::clone(self))?;
            state.runs = true;
        }
        Ok(())
    }

    pub(super) fn set_back_end(&self, back_end: Option<Weak<dyn BackEnd>>) {
        let old = std::mem::replace(&mut self.state.lock().back_end, back_end);
        drop(old);
    }

    /// Does to the back end what a rule says, and notes how that went.
    pub(super) fn strike(&self, hit: Hit) {
        let back_end = self.state.lock().back_end.as_ref().and_then(Weak::upgrade);
        let struck = match (back_end, hit.kind) {
            (None, _) => Err(BackEndError::Away),
            (Some(back_end), Kind::Desync) => back_end.desync(),
            (Some(back_end), Kind::Hang) => back_end.hang(),
            (Some(back_end), _) => back_end.kill(),
        };
        if let Err(error) = struck {
            tracing::debug!(function = self.name, rule = %hit.id, %error, "an injected fault had no effect");
        }
        self.state.lock().plan.note(hit.id, struck.err());
    }
}

impl State {
    /// Has an interrupt come later. False: there is no room, or nobody who would see to it.
    pub(super) fn put_off(&mut self, now: Duration, delay: Duration, vector: Option<u16>) -> bool {
        if !self.runs || self.over || self.later.len() >= MAX_LATER {
            return false;
        }
        self.put_off = self.put_off.wrapping_add(1);
        self.later.push(Reverse(Later { due: now.saturating_add(delay), nth: self.put_off, vector }));
        true
    }

    /// What is to be done now; each call takes one thing out.
    pub(super) fn due(&mut self, now: Duration) -> Due {
        if let Some(later) = self.later.peek().copied().filter(|Reverse(later)| later.due <= now) {
            self.later.pop();
            return Due::Interrupt(later.0.vector);
        }
        if let Some(hit) = self.plan.due(now) {
            return Due::Fault(hit);
        }
        let first = self.later.peek().map(|Reverse(later)| later.due);
        Due::Nothing(first.into_iter().chain(self.plan.next_look(now)).min())
    }

    /// Forgets everything.
    pub(super) fn end(&mut self) {
        self.over = true;
        self.plan.clear();
        self.later.clear();
    }
}
