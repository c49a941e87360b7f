//! The world: slots with their controllers, the machine around them, and everybody who does something to either, on one
//! thread and in virtual time.
//!
//! A *step* is one thing that happens: somebody's action, or a timer. After each the [invariants](crate::Invariant) are
//! checked. Whatever takes time in the core or in a callback (a delay of a reset, a driver that hangs) hands the thread
//! back to the world, which goes on stepping *inside* that call until its time is over. So the stack is the list of what is under
//! way, and what is further down cannot go on before what is above it: a slot whose call is *buried* comes back late, and that
//! time is not held against it.
//!
//! What it does **not** do: no second thread and no real time, so it finds no race within one call of the core; that is what the
//! model checkers are for.

mod outcome;
mod stack;
mod steps;

use crate::agenda::Agenda;
use crate::bay::Bay;
use crate::cell::Cell;
use crate::clock::Clock;
use crate::consumer::{Guest, Tenancy};
use crate::driver::SimDriver;
use crate::invariants::{Invariant, Ledger, Violation};
use crate::machine::{Machine, MachineError};
use crate::plan::Plan;
use crate::random::Random;
use crate::rest::Process;
use crate::s390::S390;
use crate::trace::Trace;
use gate::ThreadToken;
use pci_core::Time;
use slot::{Controller, Drivers, Parts};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

pub use outcome::{Options, Outcome};
use stack::Frame;
pub(crate) use steps::Due;

/// See the module's head.
pub struct World {
    pub(crate) plan: Plan,
    pub(crate) clock: Arc<Clock>,
    pub(crate) machine: Machine,
    pub(crate) bays: Vec<Arc<Bay>>,
    pub(crate) guests: Vec<Arc<Guest>>,
    pub(crate) random: Cell<Random>,
    pub(crate) agenda: Cell<Agenda<Due>>,
    pub(crate) woken: Cell<BTreeSet<usize>>,
    /// The s390 view of it all, if it has one.
    pub(crate) s390: Option<S390>,
    pub(crate) ledger: Cell<Ledger>,
    pub(crate) tenancy: Cell<Tenancy>,
    /// Nothing goes wrong from here on.
    pub(crate) calm: Cell<bool>,
    /// Nothing else in this process has descriptors and threads that come and go.
    pub(crate) counts_process: bool,
    pub(crate) process: Cell<Option<Process>>,
    timers: Cell<Vec<Option<Duration>>>,
    frames: Cell<Vec<Frame>>,
    trace: Cell<Trace>,
    steps: Cell<u64>,
    last_step: Cell<u64>,
    seed: u64,
}

impl World {
    /// The world of a seed.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn from_seed(token: &mut ThreadToken, options: Options) -> Result<Arc<World>, MachineError> {
        let mut random = Random::new(options.seed);
        let plan = Plan::from_seed(&mut random, options.slots);
        let plan = if options.zpci { plan.with_platform(&mut random) } else { plan };
        World::new(token, options, random, plan)
    }

    /// A world by a plan of the caller's own.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn new(
        token: &mut ThreadToken,
        options: Options,
        random: Random,
        plan: Plan,
    ) -> Result<Arc<World>, MachineError> {
        let Options { seed, slots: _, zpci: _, out, counts_process } = options;
        // On one thread nobody lets go while somebody waits for it, so no wait is waited: each ends as at its deadline.
        token.canceller().cancel();
        let clock = Arc::new(Clock::default());
        let machine = Machine::new(token, &clock, plan.slots.len())?;
        // What the standard library opens at its first use is no leak.
        let _warm = counts_process.then(Process::look);
        let world = Arc::new_cyclic(|me: &Weak<World>| {
            let bays: Vec<_> =
                plan.slots.iter().enumerate().map(|(index, has)| Bay::new(me, index, *has)).collect();
            World {
                guests: (0..bays.len()).map(|slot| Guest::new(me, slot)).collect(),
                timers: Cell::new(vec![None; bays.len()]),
                s390: plan.platform.as_ref().map(|platform| S390::new(platform, bays.len())),
                ledger: Cell::new(Ledger::new(bays.len())),
                plan,
                clock,
                machine,
                bays,
                random: Cell::new(random),
                agenda: Cell::default(),
                woken: Cell::default(),
                tenancy: Cell::default(),
                calm: Cell::new(false),
                frames: Cell::default(),
                trace: Cell::new(Trace::new(out)),
                steps: Cell::new(0),
                last_step: Cell::new(0),
                counts_process,
                process: Cell::new(counts_process.then(Process::look)),
                seed,
            }
        });
        let me = Arc::downgrade(&world);
        world.clock.drive(me.clone());
        for (bay, guest) in world.bays.iter().zip(&world.guests) {
            let drivers = Drivers::new();
            for number in 0..world.plan.drivers {
                drivers.add(SimDriver::new(&me, bay.index, number));
            }
            let time: Arc<dyn Time> = world.clock.clone();
            let parts = Parts { hardware: bay.clone(), drivers, time, crew: bay.clone(), watch: bay.clone() };
            let name = format!("slot {}", bay.index);
            bay.rule(Controller::new(name, bay.features, world.plan.settings, parts));
            bay.controller().add_consumer(guest.clone());
        }
        if let Some(s390) = &world.s390 {
            s390.rule(&world, &me);
        }
        Ok(world)
    }

    /// Runs so many steps, brings everything to rest every now and then, and takes the world apart at the end.
    pub fn run(&self, token: &mut ThreadToken, steps: u64) -> Outcome {
        let mut calm_at = self.plan.calm_every;
        self.last_step.set(steps);
        while self.steps.get() < steps && !self.is_violated() {
            self.step(token);
            if self.steps.get() >= calm_at {
                calm_at = self.steps.get() + self.plan.calm_every;
                self.come_to_rest(token);
            }
        }
        if !self.is_violated() {
            self.come_to_rest(token);
        }
        self.outcome()
    }

    /// Takes the machine apart, so that nothing refers to itself in a circle.
    pub fn take_down(&self, token: &mut ThreadToken) {
        for guest in &self.guests {
            guest.leave(token);
        }
        self.machine.take_down(token);
    }

    fn outcome(&self) -> Outcome {
        let handles = self.s390.as_ref().map_or(0, |s390| s390.book.with(|book| book.given()));
        let (operations, plugged) = self.ledger.with(|ledger| (ledger.ended, ledger.plugged));
        self.trace.with(|trace| Outcome {
            seed: self.seed,
            steps: self.steps.get(),
            time: self.clock.now(),
            hash: trace.hash(),
            operations,
            plugged,
            handles: u64::try_from(handles).unwrap_or(u64::MAX),
            violation: self.ledger.with(|ledger| ledger.violation.clone()),
            last: trace.last(),
        })
    }

    /// Now.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Steps so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps.get()
    }

    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        let line = line();
        self.trace.with(|trace| trace.line(self.steps.get(), self.clock.now(), &line));
    }

    /// Notes what is not as it has to be; the first counts, and ends the run.
    pub(crate) fn violated(&self, invariant: Invariant, slot: Option<usize>, detail: String) {
        let violation = Violation { invariant, slot, detail, step: self.steps.get(), now: self.clock.now() };
        self.trace(|| format!("VIOLATED {violation}"));
        self.ledger.with(|ledger| ledger.violation.get_or_insert(violation).step);
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.ledger.with(|ledger| ledger.violation.is_some())
    }
}
