//! The idle policy at work: who uses which function, and putting to sleep and waking what follows from that.
//!
//! [`Managed`] is one function; whoever uses it holds a [`Usage`] (PWR-11). [`Runtime::poll`] is called by the owner's
//! thread when a time is due or something changed; it sleeps nothing that is in use, never waits for accesses to put a
//! function to sleep, and answers when to call again. A bridge sleeps when everything below it does.
//!
//! Concurrency: the state of one function is under a leaf lock, held for one pure step and never while waiting or
//! calling anybody; a [`Usage`] may be dropped anywhere.

use crate::idle::{Action, Event, Idle, Policy};
use crate::power::{Power, above};
use crate::{Facts, PowerError, State, pme, ranks};
use gate::lock::Leaf;
use gate::{Deadline, ThreadToken};
use pci_core::Time;
use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use topology::{Node, Snapshot};

/// One function whose sleep is managed.
#[derive(Debug)]
pub struct Managed {
    time: Arc<dyn Time>,
    idle: Leaf<ranks::IdlePolicy, Idle>,
}

impl Managed {
    /// A function that nobody uses yet.
    #[must_use]
    pub fn new(policy: Policy, time: Arc<dyn Time>) -> Arc<Managed> {
        let idle = Leaf::new(Idle::new(policy, time.now()));
        Arc::new(Managed { time, idle })
    }

    /// Uses the function until the answer is dropped. It is awake after the next [`Runtime::poll`], or at once with
    /// [`Runtime::use_awake`].
    pub fn using(self: &Arc<Managed>) -> Usage {
        let _due = self.step(Event::Use);
        Usage(self.clone())
    }

    /// How it is to sleep.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.idle.lock().policy()
    }

    /// Changes how it is to sleep (`power/control`, `power/autosuspend_delay_ms`, `power/wakeup`, `d3cold_allowed`).
    pub fn set_policy(&self, policy: Policy) {
        let _due = self.step(Event::Set(policy));
    }

    /// How many use it.
    #[must_use]
    pub fn users(&self) -> u32 {
        self.idle.lock().users()
    }

    fn step(&self, event: Event) -> Action {
        let now = self.time.now();
        self.idle.lock().step(now, event)
    }
}

/// Keeps a function awake until it is dropped.
#[derive(Debug)]
#[must_use = "the function may go to sleep when this is dropped"]
pub struct Usage(Arc<Managed>);

impl Drop for Usage {
    fn drop(&mut self) {
        let _due = self.0.step(Event::Release);
    }
}

/// The managed functions of a topology.
#[derive(Debug)]
pub struct Runtime {
    power: Power,
    functions: BTreeMap<Bdf, Arc<Managed>>,
    /// Sleepers that may wake the system; never taken together with the state of a function.
    sleepers: Leaf<ranks::IdlePolicy, pme::Poll>,
}

impl Runtime {
    /// Manages nothing yet.
    #[must_use]
    pub fn new(power: Power) -> Runtime {
        Runtime { power, functions: BTreeMap::new(), sleepers: Leaf::default() }
    }

    /// Manages a function, in place of what was managed there before.
    pub fn manage(&mut self, at: Bdf, policy: Policy) -> Arc<Managed> {
        let managed = Managed::new(policy, self.power.time().clone());
        self.functions.insert(at, managed.clone());
        managed
    }

    /// Does not manage a function any more; it stays in the state it is in.
    pub fn forget(&mut self, at: Bdf) {
        self.functions.remove(&at);
    }

    /// Wakes a function and uses it; with it, the managed bridges above it.
    ///
    /// # Errors
    /// As [`Power::set_state`]; nobody uses it then.
    pub fn use_awake(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<Vec<Usage>, PowerError> {
        let usages = self.uses(snapshot, at);
        self.power.set_state(snapshot, at, State::D0, token, deadline)?;
        self.woke(snapshot, at);
        Ok(usages)
    }

    /// Makes the configuration space of a function reachable for an operator, until the answer is dropped (CFG-15).
    ///
    /// # Errors
    /// As [`Power::wake_for_config`].
    pub fn use_config(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<Vec<Usage>, PowerError> {
        let usages = self.uses(snapshot, at);
        self.power.wake_for_config(snapshot, at, token, deadline)?;
        for bridge in above(snapshot, at) {
            self.note(bridge.address, Event::Woke);
        }
        if self.power.state(snapshot, at) == Some(State::D0) {
            self.note(at, Event::Woke);
        }
        Ok(usages)
    }

    /// Wakes a function that asked for it (PME). The idle policy may put it to sleep again after its delay.
    ///
    /// # Errors
    /// As [`Power::set_state`].
    pub fn wake(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<(), PowerError> {
        self.sleepers.lock().remove(at);
        self.power.set_state(snapshot, at, State::D0, token, deadline)?;
        // What auxiliary power kept over D3cold would count as the next wish.
        let _taken = self.power.take_pme(snapshot, at, token);
        self.woke(snapshot, at);
        Ok(())
    }

    /// Puts to sleep and wakes what is due, also sleepers whose PME got lost (PWR-10). Answers when something will be due
    /// next.
    pub fn poll(&self, snapshot: &Snapshot, token: &mut ThreadToken, deadline: Deadline) -> Option<Duration> {
        let now = self.power.time().now();
        let due = self.sleepers.lock().due(now);
        for at in due {
            if self.power.take_pme(snapshot, at, token) {
                // It stays asleep if its bridges cannot be woken now; whoever uses it meets the same error.
                let _woken = self.wake(snapshot, at, token, deadline);
            }
        }
        let mut next: Option<Duration> = None;
        // What is below comes first, so that a bridge can follow in the same round.
        for (at, managed) in self.deepest_first(snapshot) {
            match managed.step(Event::Tick) {
                Action::Nothing => {}
                Action::LookAt(time) => next = Some(next.map_or(time, |next| next.min(time))),
                Action::Wake => {
                    if self.power.set_state(snapshot, at, State::D0, token, deadline).is_ok() {
                        self.woke(snapshot, at);
                    }
                }
                Action::Sleep => {
                    if let Action::LookAt(time) = self.sleep(snapshot, at, &managed, token) {
                        next = Some(next.map_or(time, |next| next.min(time)));
                    }
                }
            }
        }
        let look = self.sleepers.lock().next();
        next.into_iter().chain(look).min()
    }

    fn sleep(&self, snapshot: &Snapshot, at: Bdf, managed: &Managed, token: &mut ThreadToken) -> Action {
        let Some(node) = snapshot.function(at) else { return Action::Nothing };
        if !snapshot.below(node).iter().all(sleeps) {
            return Action::Nothing;
        }
        let platform = self.power.platform().is_some_and(|platform| platform.manages(at));
        let facts = Facts { has_platform: platform, ..Facts::of(&node.function) };
        match managed.policy().sleeps_in(&facts) {
            State::D0 => Action::Nothing,
            state => {
                let wakes = managed.policy().wakeup && self.power.arm_pme(snapshot, at, true, token);
                match self.power.try_set_state(snapshot, at, state, token) {
                    Ok(reached) if reached != State::D0 => {
                        if wakes {
                            self.sleepers.lock().add(managed.time.now(), at);
                        }
                        managed.step(Event::Slept)
                    }
                    Ok(_) | Err(_) => managed.step(Event::Stayed),
                }
            }
        }
    }

    fn uses(&self, snapshot: &Snapshot, at: Bdf) -> Vec<Usage> {
        let bridges = above(snapshot, at).into_iter().map(|bridge| bridge.address);
        let managed = std::iter::once(at).chain(bridges).filter_map(|at| self.functions.get(&at));
        managed.map(Managed::using).collect()
    }

    /// A function is awake, and with it everything above it. What is below a bridge that had no power is awake as well.
    fn woke(&self, snapshot: &Snapshot, at: Bdf) {
        self.note(at, Event::Woke);
        for bridge in above(snapshot, at) {
            self.note(bridge.address, Event::Woke);
            for node in snapshot.below(&bridge) {
                if node.function.device_state() == State::D0 {
                    self.note(node.address, Event::Woke);
                }
            }
        }
    }

    fn note(&self, at: Bdf, event: Event) {
        if let Some(managed) = self.functions.get(&at) {
            self.sleepers.lock().remove(at);
            let _due = managed.step(event);
        }
    }

    fn deepest_first(&self, snapshot: &Snapshot) -> Vec<(Bdf, Arc<Managed>)> {
        let depth = |at: &Bdf| std::cmp::Reverse(above(snapshot, *at).len());
        let mut functions: Vec<_> =
            self.functions.iter().map(|(at, managed)| (*at, managed.clone())).collect();
        functions.sort_by_key(|(at, _)| depth(at));
        functions
    }
}

/// Whether a function below a bridge stands in the way of its sleep.
fn sleeps(node: &Arc<Node>) -> bool {
    node.function.handle().is_gone() || node.function.device_state() >= State::D3Hot
}
