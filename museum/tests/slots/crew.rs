//! Who drives the slots, and the clock.
//!
//! A thread drives a slot, or whatever else is driven, until nothing is due and ends; another one is started when it is woken. Time passes only when the
//! clock says so, and then as far as the next timer: no time-out fires by itself under shuttle.

use crate::machine::time::Jumping;
use gate::ThreadToken;
use pci_core::Time;
use shuttle::rand::Rng;
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use shuttle::thread::{self, JoinHandle};
use slot::{Controller, Driven};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

#[derive(Default)]
struct Plan {
    threads: Vec<JoinHandle<()>>,
    /// Everybody who was ever woken and is not gone.
    woken: Vec<Weak<dyn Driven>>,
    due: Vec<(Weak<dyn Driven>, Duration)>,
    over: bool,
}

/// See the module's head.
#[derive(Default)]
pub(crate) struct Crew {
    time: Arc<Jumping>,
    plan: Mutex<Plan>,
    changed: Condvar,
}

impl Crew {
    pub(crate) fn new(time: Arc<Jumping>) -> Arc<Crew> {
        Arc::new(Crew { time, ..Crew::default() })
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drive(&self, driven: &Arc<dyn Driven>) {
        let driven = driven.clone();
        let thread = thread::spawn(move || {
            let _due = driven.drive(&mut ThreadToken::at_thread_entry());
        });
        self.plan().threads.push(thread);
    }

    /// Lets the time of the next timer come. False if there is none.
    pub(crate) fn tick(&self) -> bool {
        let mut plan = self.plan();
        let Some(next) = (0..plan.due.len()).min_by_key(|nth| plan.due[*nth].1) else { return false };
        let (driven, when) = plan.due.swap_remove(next);
        drop(plan);
        self.time.reach(when);
        if let Some(driven) = driven.upgrade() {
            self.drive(&driven);
        }
        true
    }

    /// The clock's thread: lets time pass, now faster and now slower, until [`Crew::stop`].
    pub(crate) fn clock(&self) {
        loop {
            let mut plan = self.plan();
            while plan.due.is_empty() && !plan.over {
                plan = self.changed.wait(plan).unwrap();
            }
            if plan.over {
                return;
            }
            drop(plan);
            for _ in 0..shuttle::rand::thread_rng().gen_range(0..60) {
                thread::yield_now();
            }
            self.tick();
        }
    }

    pub(crate) fn stop(&self) {
        self.plan().over = true;
        self.changed.notify_all();
    }

    /// Waits for everybody who drives.
    pub(crate) fn rest(&self) {
        loop {
            let thread = self.plan().threads.pop();
            let Some(thread) = thread else { return };
            thread.join().unwrap();
        }
    }

    /// Lets as much time pass as it takes until nothing of `controllers` is under way.
    pub(crate) fn settle(&self, controllers: &[&Arc<Controller>]) {
        for _ in 0..MOST_TIMERS {
            self.rest();
            if controllers.iter().all(|controller| is_at_rest(controller)) {
                return;
            }
            let reports: Vec<_> = controllers.iter().map(|controller| controller.report()).collect();
            assert!(self.tick(), "under way, and nothing is going to happen: {reports:?}");
        }
        panic!("there is no end of it");
    }

    /// Lets `patience` pass; whatever anybody who was ever woken has under way and is past its time is left behind.
    pub(crate) fn overdue_all(&self, patience: Duration) {
        self.time.reach(self.time.now().saturating_add(patience));
        let woken: Vec<_> = self.plan().woken.iter().filter_map(Weak::upgrade).collect();
        for driven in woken {
            let _next = driven.overdue(self.time.now());
        }
    }

    /// What is under way and past its time is left behind.
    pub(crate) fn overdue(&self, controller: &Controller, patience: Duration) {
        self.time.reach(self.time.now().saturating_add(patience));
        let _next = controller.overdue(self.time.now());
    }
}

/// The longest way has a blinking, six reminders, a deadline and the time that the power takes, for two slots.
const MOST_TIMERS: usize = 40;

fn is_at_rest(controller: &Controller) -> bool {
    let report = controller.report();
    let state = matches!(report.state, slot::State::On | slot::State::Off);
    state && report.waiting.is_empty() && report.calling.is_none()
}

impl slot::Crew for Crew {
    fn wake(&self, driven: &Arc<dyn Driven>) {
        let known = Arc::downgrade(driven);
        let mut plan = self.plan();
        plan.woken.retain(|other| other.strong_count() != 0 && !other.ptr_eq(&known));
        plan.woken.push(known);
        drop(plan);
        self.drive(driven);
    }

    fn wake_at(&self, driven: &Weak<dyn Driven>, when: Duration) {
        let mut plan = self.plan();
        plan.due.retain(|(other, _)| !other.ptr_eq(driven));
        plan.due.push((driven.clone(), when));
        drop(plan);
        self.changed.notify_all();
    }
}
