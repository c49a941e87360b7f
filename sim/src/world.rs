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

use crate::actions;
use crate::agenda::Agenda;
use crate::bay::Bay;
use crate::cell::Cell;
use crate::clock::{Clock, Meanwhile};
use crate::consumer::{Guest, Tenancy};
use crate::driver::SimDriver;
use crate::invariants::{Invariant, Ledger, Violation};
use crate::machine::{Machine, MachineError};
use crate::plan::Plan;
use crate::random::Random;
use crate::rest::Process;
use crate::trace::Trace;
use gate::ThreadToken;
use pci_core::Time;
use slot::{Controller, Drivers, Parts, Settings};
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The longest that a call is left hanging while others wait below it on the stack.
const BEARABLE: Duration = Duration::from_secs(2);
/// Actions inside calls, one in the other.
const DEPTH: usize = 6;

/// Something that is due later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A slot's timer.
    Timer(usize),
    /// Whoever looks after the calls of a slot does.
    Look(usize),
    /// The link of a slot comes up, if nothing has changed since.
    Link(usize, u64),
    /// A driver of a slot lets go.
    DriverLetsGo(usize, u64),
    /// The client of a slot leaves.
    GuestLeaves(usize),
    /// The client of a slot comes back.
    GuestReturns(usize),
}

/// A call that is under way.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// Whose controller is driven; nothing for an operator's action.
    slot: Option<usize>,
    /// Another one drives that slot by now.
    stale: bool,
    began: Duration,
}

/// How a world is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Makes the plan and everything that happens.
    pub seed: u64,
    /// 1 to [`MOST_SLOTS`](crate::MOST_SLOTS).
    pub slots: usize,
    /// Gets every line of the trace.
    pub out: Option<fn(&str)>,
    /// Descriptors, mappings and threads of the process are counted too: nothing else may have any that come and go.
    pub counts_process: bool,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Steps that were made.
    pub steps: u64,
    /// Virtual time that passed.
    pub time: Duration,
    /// Hash of the trace.
    pub hash: u64,
    /// Operations that ended.
    pub operations: u64,
    /// Times that a slot was on.
    pub plugged: u64,
    /// The first thing that was not as it has to be.
    pub violation: Option<Violation>,
    /// The last lines of the trace.
    pub last: Vec<String>,
}

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
        let Options { seed, slots: _, out, counts_process } = options;
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
        let (operations, plugged) = self.ledger.with(|ledger| (ledger.ended, ledger.plugged));
        self.trace.with(|trace| Outcome {
            seed: self.seed,
            steps: self.steps.get(),
            time: self.clock.now(),
            hash: trace.hash(),
            operations,
            plugged,
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

    pub(crate) fn later(&self, after: Duration, due: Due) {
        let when = self.now().saturating_add(after);
        self.agenda.with(|agenda| agenda.put(when, due));
    }

    pub(crate) fn set_timer(&self, slot: usize, when: Duration) {
        if self.timers.with(|timers| timers[slot].replace(when)) == Some(when) {
            return;
        }
        self.agenda.with(|agenda| {
            agenda.retain(|due| *due != Due::Timer(slot));
            agenda.put(when, Due::Timer(slot));
        });
    }

    /// Whether an operator is at something, which may keep functions closed.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.frames.with(|frames| frames.iter().any(|frame| frame.slot.is_none()))
    }

    /// A time that others below on the stack can bear: all of it if there are none, else just too much.
    pub(crate) fn bearable(&self, wanted: Duration, bound: Duration) -> Duration {
        let buries = self.frames.with(|frames| frames.iter().filter(|frame| !frame.stale).count() > 1);
        if buries { wanted.min(bound + BEARABLE) } else { wanted }
    }

    /// One step: somebody does something, or time passes.
    fn step(&self, token: &mut ThreadToken) {
        self.count_step();
        let (first, hurry) =
            self.random.with(|random| (random.chance(9, 10), random.chance(self.plan.haste, 100)));
        if first && self.drive_somebody(token) {
        } else if hurry {
            self.act(token);
        } else if !self.drive_somebody(token) {
            self.let_time_pass(token);
        }
        self.check(token);
    }

    fn count_step(&self) {
        self.steps.with(|steps| *steps += 1);
    }

    fn act(&self, token: &mut ThreadToken) {
        if let Some(action) = self.random.with(|random| random.weighted(&self.plan.actions)) {
            actions::carry_out(self, token, action);
        }
    }

    /// Goes to what is due next, or a little on.
    fn let_time_pass(&self, token: &mut ThreadToken) {
        let little = self.random.with(|random| random.ms(1, 2_000));
        let end = self.now() + little;
        match self.agenda.with(|agenda| agenda.next()) {
            Some(next) if next <= end => {
                self.clock.advance_to(next);
                self.do_what_is_due(token);
            }
            _ => self.clock.advance_to(end),
        }
    }

    /// Drives one of the slots that were woken; false if there is none.
    pub(crate) fn drive_somebody(&self, token: &mut ThreadToken) -> bool {
        let Some(slot) = self.woken.with(BTreeSet::pop_first) else { return false };
        self.drive(token, slot);
        true
    }

    fn drive(&self, token: &mut ThreadToken, slot: usize) {
        // If somebody drives it further down, this returns at once.
        let stale = self.is_driven(slot);
        self.frames.with(|frames| frames.push(Frame { slot: Some(slot), stale, began: self.now() }));
        let due = self.bays[slot].controller().drive(token);
        let spent = self.frames.with(|frames| {
            let frame = frames.pop().filter(|frame| !frame.stale);
            frame.map_or(Duration::ZERO, |frame| self.now().saturating_sub(frame.began))
        });
        self.ledger.with(|ledger| ledger.clocks[slot].busy += spent);
        if let Some(after) = due {
            self.set_timer(slot, self.now() + after);
        }
    }

    fn is_driven(&self, slot: usize) -> bool {
        self.frames.with(|frames| frames.iter().any(|frame| frame.slot == Some(slot) && !frame.stale))
    }

    /// Does one thing that is due. False if nothing is.
    pub(crate) fn do_what_is_due(&self, token: &mut ThreadToken) -> bool {
        let Some((_, due)) = self.agenda.with(|agenda| agenda.take(self.now())) else { return false };
        match due {
            Due::Timer(slot) => {
                self.timers.with(|timers| timers[slot] = None);
                self.drive(token, slot);
            }
            Due::Look(slot) => {
                self.look_after(slot);
            }
            Due::Link(slot, epoch) => self.bays[slot].trained(epoch),
            Due::DriverLetsGo(slot, number) => actions::driver_lets_go(self, token, slot, number),
            Due::GuestLeaves(slot) => self.guests[slot].leave(token),
            Due::GuestReturns(slot) => self.guests[slot].attach(self, token),
        }
        true
    }

    /// Something that is due, or somebody who is to drive; false if there is nothing.
    pub(crate) fn one_thing(&self, token: &mut ThreadToken) -> bool {
        if self.drive_somebody(token) || self.do_what_is_due(token) {
            return true;
        }
        let next = self.agenda.with(|agenda| agenda.next());
        if let Some(next) = next {
            self.clock.advance_to(next);
        }
        next.is_some()
    }

    /// Lets time pass inside a call that a controller makes.
    pub(crate) fn linger(&self, token: &mut ThreadToken, slot: usize, time: Duration) {
        self.look_after(slot);
        self.meanwhile(token, self.now().saturating_add(time), &|| false);
    }

    /// Looks after the call of a slot that is under way, now and whenever that is worth while.
    fn look_after(&self, slot: usize) {
        let now = self.now();
        if let Some(next) = self.bays[slot].controller().overdue(now) {
            // A look that changes nothing is not worth another one at once.
            let next = next.max(now + Settings::LEAST);
            self.agenda.with(|agenda| {
                agenda.retain(|due| *due != Due::Look(slot));
                agenda.put(next, Due::Look(slot));
            });
        }
    }

    /// A slot is to be driven: nobody drives it, so whoever did so further down on the stack was left behind.
    pub(crate) fn wake(&self, slot: usize) {
        self.woken.with(|woken| woken.insert(slot));
        let now = self.now();
        let left_behind = self.frames.with(|frames| {
            let ours = frames.iter_mut().filter(|frame| frame.slot == Some(slot) && !frame.stale);
            ours.map(|frame| {
                frame.stale = true;
                now.saturating_sub(frame.began)
            })
            .sum()
        });
        self.ledger.with(|ledger| ledger.clocks[slot].busy += left_behind);
    }

    /// How long a slot was busy so far, with calls that are its own.
    pub(crate) fn busy(&self, slot: usize) -> Duration {
        let under_way = self.frames.with(|frames| {
            let ours = frames.iter().find(|frame| frame.slot == Some(slot) && !frame.stale);
            ours.map_or(Duration::ZERO, |frame| self.now().saturating_sub(frame.began))
        });
        self.ledger.with(|ledger| ledger.clocks[slot].busy) + under_way
    }

    /// Does something as an operator would, on no slot's thread.
    pub(crate) fn as_operator<R>(&self, act: impl FnOnce() -> R) -> R {
        self.frames.with(|frames| frames.push(Frame { slot: None, stale: false, began: self.now() }));
        let done = act();
        self.frames.with(Vec::pop);
        done
    }
}

impl Meanwhile for World {
    fn meanwhile(&self, token: &mut ThreadToken, end: Duration, over: &dyn Fn() -> bool) {
        let depth = self.frames.with(|frames| frames.len());
        while !over() && !self.is_violated() {
            let act = self.random.with(|random| random.chance(1, 4))
                && depth < DEPTH
                && self.steps.get() < self.last_step.get()
                && !self.calm.get();
            if self.drive_somebody(token) {
            } else if act {
                self.count_step();
                self.act(token);
            } else if self.do_what_is_due(token) {
                self.count_step();
            } else if let Some(next) = self.agenda.with(|agenda| agenda.next()).filter(|next| *next <= end) {
                self.clock.advance_to(next);
                continue;
            } else {
                self.clock.advance_to(end);
                break;
            }
            self.check(token);
        }
        let late = self.now().saturating_sub(end);
        if let Some(slot) = self.frames.with(|frames| frames.last().filter(|top| !top.stale)?.slot) {
            self.ledger.with(|ledger| ledger.clocks[slot].buried += late);
        }
    }
}
