//! On the way on: what is on the card is found and offered to the drivers in this process.

use super::Controller;
use super::call::contained;
use super::desk::{Bond, Card, Desk};
use super::work::{Done, Held, Purpose, Task, Work};
use crate::binding::Binding;
use crate::driver::{ProbeError, Registered};
use crate::event::Event;
use crate::watch::{Failure, Told};
use assign::Assignment;
use gate::{Deadline, ThreadToken};
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
    pub(super) fn offer(&mut self, function: usize, driver: usize) -> Option<Work> {
        let assignment = Arc::clone(self.card.functions.get(function)?);
        let Some(registered) = self.card.drivers.get(driver).cloned() else {
            self.tasks.push_front(Task::Offer { function: function + 1, driver: 0 });
            return None;
        };
        if self.is_left_behind(&registered.name) {
            self.tasks.push_front(Task::Offer { function, driver: driver + 1 });
            let failure = Failure::Failed(String::from(STILL_OUT));
            self.tell_failure((registered.name, "probe", failure));
            return None;
        }
        Some(Work::Offer { function: assignment, driver: registered, at: (function, driver) })
    }

    pub(super) fn probe(&mut self, bond: u64, function: usize, driver: usize) -> Option<Work> {
        let registered = self.card.drivers.get(driver)?.clone();
        let bond = self.card.bond(bond)?;
        let held = Held { id: bond.id, driver: Arc::clone(&bond.driver), binding: Arc::clone(&bond.binding) };
        Some(Work::Probe { held, driver: registered, at: (function, driver) })
    }

    /// Puts down what came out of a piece of work.
    pub(super) fn complete(&mut self, purpose: Purpose, done: Done, failed: Option<Failed>) {
        let hung = failed.as_ref().is_some_and(|(_, _, how)| *how == Failure::Hung);
        match purpose {
            Purpose::Nothing => self.tell_orphans(done),
            Purpose::ApplyPower => self.answers.push_back(Event::Powered(matches!(done, Done::Power(true)))),
            Purpose::Configure => self.configured(done),
            Purpose::Offer { function, driver } => self.offered(function, driver, done),
            Purpose::Probe { bond, function, driver } => self.probed(bond, (function, driver), done, hung),
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
                self.card = Card { functions, drivers, bonds: Vec::new(), revoked: false };
                // Lost while it was looked for: nobody gets what works no more (HP-12). The life hears of it as soon as it is on.
                let lost = self.inbox.tells_of_a_loss();
                let next = if lost { Task::Disconnect } else { Task::Offer { function: 0, driver: 0 } };
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

    fn offered(&mut self, function: usize, driver: usize, done: Done) {
        let next = Task::Offer { function, driver: driver + 1 };
        match done {
            Done::Attached(name, binding) => {
                let bond = self.next_number();
                self.card.bonds.push(Bond { id: bond, driver: name, binding, bound: None });
                self.tasks.push_front(Task::Probe { bond, function, driver });
            }
            Done::NotAttached(why) => {
                // Somebody else was faster: there is nothing to offer.
                self.tasks.push_front(Task::Offer { function: function + 1, driver: 0 });
                if let Some(registered) = self.card.drivers.get(driver) {
                    let who = Arc::clone(&registered.name);
                    self.tell_failure((who, "attach", Failure::Failed(why)));
                }
            }
            _ => self.tasks.push_front(next),
        }
    }

    fn probed(&mut self, bond: u64, at: (usize, usize), done: Done, hung: bool) {
        let (function, driver) = at;
        let next_function = Task::Offer { function: function + 1, driver: 0 };
        let mut failed = None;
        match done {
            Done::Probed(_, Ok(bound)) => {
                if let Some(bond) = self.card.bond(bond) {
                    bond.bound = Some(bound);
                }
                self.tasks.push_front(next_function);
                return;
            }
            // It has the function until it returns.
            _ if hung => {
                self.tasks.push_front(next_function);
                return;
            }
            Done::Probed(_, Err(ProbeError::Failed(why))) => failed = Some(why),
            _ => {}
        }
        // Whatever this driver did to the function, the next one attaches anew.
        self.tasks.push_front(Task::Offer { function, driver: driver + 1 });
        self.tasks.push_front(Task::LetGo { bond });
        if let (Some(why), Some(registered)) = (failed, self.card.drivers.get(driver)) {
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
