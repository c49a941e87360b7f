//! On the way on: what is on the card is found and offered to the drivers in this process.

use super::Controller;
use super::call::contained;
use super::desk::{Bond, Card, Desk};
use super::work::{At, Done, Ended, Held, Purpose, Task, Work};
use crate::binding::Binding;
use crate::driver::{ProbeError, Registered};
use crate::driver_call::DriverAnswer;
use crate::event::Event;
use crate::watch::{Failure, Told};
use assign::Assignment;
use gate::{Deadline, ThreadToken};
use pci_core::recovery::Handlers;
use std::sync::Arc;

/// Whose call failed, and which.
pub(super) type Failed = (Arc<str>, &'static str, Failure);

const STILL_OUT: &str = "an earlier call has not returned";

impl Controller {
    pub(super) fn configure(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Done, Failure> {
        let found = contained(|| self.parts.hardware.configure(token, deadline))?;
        let found = found.and_then(|functions| match functions.is_empty() {
            true => Err(String::from("there is no function on the card")),
            false => Ok(Arc::from(functions)),
        });
        Ok(Done::Configured(found, self.parts.drivers.list()))
    }

    pub(super) fn attach_for(
        &self,
        token: &mut ThreadToken,
        function: &Arc<Assignment>,
        driver: Registered,
    ) -> Result<Done, Failure> {
        if !contained(|| driver.driver.matches(function.function()))? {
            return Ok(Done::NotOffered);
        }
        Ok(match Binding::attach(function, self.me.clone(), token) {
            Ok(binding) => Done::Attached(driver.name, binding),
            Err(error) => Done::NotAttached(error.to_string()),
        })
    }
}

/// Has the driver take the function, and asks what it can be told of; who cannot say that has no handlers.
pub(super) fn probe(held: Held, driver: &Registered, token: &mut ThreadToken) -> Ended {
    match contained(|| driver.driver.probe(token, &held.binding)) {
        Ok(Ok(bound)) => {
            let handlers = contained(|| bound.error_handlers());
            let failure = handlers.as_ref().err().cloned();
            let handlers = handlers.unwrap_or(Handlers::empty());
            Ended { done: Done::Probed(held.binding, Ok((bound, handlers))), failure }
        }
        Ok(Err(error)) => Done::Probed(held.binding, Err(error)).into(),
        Err(failure) => Ended { done: Done::Nothing, failure: Some(failure) },
    }
}

impl Desk {
    /// Nothing is brought up while the hardware has not come back from something else.
    pub(super) fn bring_up(&mut self, work: Work, failed: Event) -> Option<Work> {
        if !self.is_left_behind(&self.hardware) {
            return Some(work);
        }
        let (who, name) = self.callee(&work);
        self.answers.push_back(failed);
        self.tell_failure((who, name, Failure::Failed(String::from(STILL_OUT))));
        None
    }

    /// The next driver for a function; none if there is no further one.
    pub(super) fn offer(&mut self, at: At) -> Option<Work> {
        let function = Arc::clone(self.card.functions.get(at.function)?);
        if at.only && at.driver == 0 {
            // Also if the one before had to be ended first.
            self.comes_to(DriverAnswer::NoDriver);
        }
        let Some(registered) = self.card.drivers.get(at.driver).cloned() else {
            self.offer_next_function(at);
            return None;
        };
        if self.is_left_behind(&registered.name) {
            self.offer_to_next_driver(at);
            let failure = Failure::Failed(String::from(STILL_OUT));
            self.tell_failure((registered.name, "probe", failure));
            return None;
        }
        Some(Work::Offer { function, driver: registered, at })
    }

    pub(super) fn probe(&mut self, bond: u64, at: At) -> Option<Work> {
        let registered = self.card.drivers.get(at.driver)?.clone();
        let bond = self.card.bond(bond)?;
        let held = Held { id: bond.id, driver: Arc::clone(&bond.driver), binding: Arc::clone(&bond.binding) };
        Some(Work::Probe { held, driver: registered, at })
    }

    /// What comes next for a function: at once when its card comes up, after everything else on an errand.
    fn next(&mut self, at: At, task: Task) {
        if !at.only {
            self.tasks.push_front(task);
        } else if let Some(errand) = &mut self.errands.current {
            errand.tasks.push_front(task);
        }
    }

    fn offer_to_next_driver(&mut self, at: At) {
        self.next(at, Task::Offer(At { driver: at.driver + 1, ..at }));
    }

    fn offer_next_function(&mut self, at: At) {
        if !at.only {
            self.tasks.push_front(Task::Offer(At { function: at.function + 1, driver: 0, only: false }));
        }
    }

    /// Puts down what came out of a piece of work.
    pub(super) fn complete(&mut self, purpose: Purpose, done: Done, failed: Option<Failed>) {
        let hung = failed.as_ref().is_some_and(|(_, _, how)| *how == Failure::Hung);
        match purpose {
            Purpose::Nothing => self.tell_orphans(done),
            Purpose::ApplyPower => self.answers.push_back(Event::Powered(matches!(done, Done::Power(true)))),
            Purpose::Configure => self.configured(done),
            Purpose::Offer(at) => self.offered(at, done, failed.is_some()),
            Purpose::Probe { bond, at } => self.probed(bond, at, done, hung),
            Purpose::Call { bond } => self.called(bond, done),
            Purpose::Unbind { bond } => self.unbound(bond, &done, failed.is_some()),
            Purpose::LetGo => self.has_let_go(failed.is_some()),
            Purpose::Bond(id) => {
                if let (Done::Back(_, bound), Some(bond)) = (done, self.card.bond(id)) {
                    bond.bound = Some(bound);
                }
            }
            Purpose::Check { seat } => {
                // Who does not say holds something.
                if matches!(done, Done::Holds(false)) {
                    self.tasks.push_front(Task::Check { from: seat + 1 });
                }
            }
        }
        if let Some(failed) = failed {
            self.tell_failure(failed);
        }
    }

    fn configured(&mut self, done: Done) {
        let (found, why) = match done {
            Done::Configured(Ok(functions), drivers) => {
                self.card = Card::with(functions, drivers);
                // Lost while it was looked for: nobody gets what works no more (HP-12). The life hears of it as soon as it is on.
                let lost = self.inbox.tells_of_a_loss();
                let first = Task::Offer(At { function: 0, driver: 0, only: false });
                let next = if lost { Task::Disconnect } else { first };
                self.tasks.push_back(next);
                (true, None)
            }
            Done::Configured(Err(why), _) => (false, Some(why)),
            _ => (false, None),
        };
        self.tasks.push_back(Task::Answer(Event::Configured(found)));
        if let Some(why) = why {
            self.tell_failure((Arc::clone(&self.hardware), "configure", Failure::Failed(why)));
        }
    }

    fn offered(&mut self, at: At, done: Done, failed: bool) {
        match done {
            Done::Attached(driver, binding) => {
                let bond = self.next_number();
                let function = at.function;
                self.card.add(Bond { id: bond, function, driver, binding, bound: None, handlers: None });
                self.next(at, Task::Probe { bond, at });
            }
            Done::NotAttached(why) => {
                // Somebody else was faster: there is nothing to offer.
                self.comes_to(DriverAnswer::Failed);
                self.offer_next_function(at);
                if let Some(registered) = self.card.drivers.get(at.driver) {
                    let who = Arc::clone(&registered.name);
                    self.tell_failure((who, "attach", Failure::Failed(why)));
                }
            }
            _ => {
                if failed {
                    self.comes_to(DriverAnswer::Lost);
                }
                self.offer_to_next_driver(at);
            }
        }
    }

    fn probed(&mut self, id: u64, at: At, done: Done, hung: bool) {
        let mut failed = None;
        match done {
            Done::Probed(_, Ok((bound, handlers))) => {
                if let Some(bond) = self.card.bond(id) {
                    (bond.bound, bond.handlers) = (Some(bound), Some(handlers));
                }
                self.comes_to(DriverAnswer::Done);
                self.offer_next_function(at);
                return;
            }
            // It has the function until it returns.
            _ if hung => {
                self.comes_to(DriverAnswer::Lost);
                self.offer_next_function(at);
                return;
            }
            Done::Probed(_, Err(ProbeError::NotMine)) => {}
            Done::Probed(_, Err(ProbeError::Failed(why))) => {
                self.comes_to(DriverAnswer::Failed);
                failed = Some(why);
            }
            _ => self.comes_to(DriverAnswer::Lost),
        }
        // Whatever this driver did to the function, the next one attaches anew.
        self.offer_to_next_driver(at);
        self.next(at, Task::LetGo { bond: id });
        if let (Some(why), Some(registered)) = (failed, self.card.drivers.get(at.driver)) {
            let who = Arc::clone(&registered.name);
            self.tell_failure((who, "probe", Failure::Failed(why)));
        }
    }

    fn tell_orphans(&mut self, done: Done) {
        /// Of one answer; who has more is said to.
        const MOST: usize = 64;
        if let Done::Orphans(names) = done {
            let more = names.len().saturating_sub(MOST);
            if more > 0 {
                self.tasks.push_front(Task::Tell(Told::Orphan(format!("and {more} more"))));
            }
            for name in names.into_iter().take(MOST).rev() {
                self.tasks.push_front(Task::Tell(Told::Orphan(name)));
            }
        }
    }

    pub(super) fn tell_failure(&mut self, (who, call, how): Failed) {
        // Who fails at being told is not told of that.
        if Arc::ptr_eq(&who, &self.watch) {
            return;
        }
        let who = who.to_string();
        self.tasks.push_front(Task::Tell(Told::Callback { who, call, how }));
    }
}
