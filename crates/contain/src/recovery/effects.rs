//! What is to be done next: tasks, effects, what happened, what is due.

use super::Recovery;
use super::desk::{Desk, Task};
use super::work::{Asking, Work};
use crate::containment::News;
use crate::pe::PeKind;
use crate::plan::{Event, Plan, Scope};
use std::sync::Arc;
use std::time::Duration;

impl Recovery {
    /// The next piece of work; none if nothing is due.
    pub(super) fn next_work(&self, desk: &mut Desk, now: Duration) -> Option<Work> {
        // Every round takes something out of a queue that is bounded, or a time that is over.
        loop {
            if !desk.rubbish.is_empty() {
                return Some(Work::Discard(std::mem::take(&mut desk.rubbish)));
            }
            if let Some(task) = desk.tasks.pop_front() {
                match self.load_task(desk, task, now) {
                    Some(work) => return Some(work),
                    None => continue,
                }
            }
            if let Some(effect) = desk.effects.pop_front() {
                match self.load(desk, effect, now) {
                    Some(work) => return Some(work),
                    None => continue,
                }
            }
            if desk.over {
                return None;
            }
            // News is older than the answers that are not heard yet: who left is not heard, and a second error is not overlooked.
            if let Some(news) = desk.inbox.pop() {
                self.take_up(desk, news);
                continue;
            }
            // One after the other, so that who has news each time he is asked does not keep answers waiting.
            let in_turn = !std::mem::take(&mut desk.asked) || desk.answers.is_empty();
            if in_turn && let Some(asking) = desk.asking.pop_front() {
                desk.asked = true;
                return Some(Work::Ask(asking));
            }
            if !desk.looked {
                desk.looked = true;
                return Some(Work::Look(desk.seats.functions()));
            }
            if let Some(answer) = desk.answers.pop_front() {
                desk.step(answer);
            } else if let Some(out) = desk.calls.overdue(now) {
                desk.step(Event::CallbackLost(out.function, out.call));
            } else if desk.timer.is_some_and(|when| when <= now) {
                desk.timer = None;
                desk.step(Event::Waited);
            } else {
                let (_, order) = desk.retry.take_if(|(at, _)| *at <= now)?;
                desk.tasks.push_back(Task::Reset(order));
            }
        }
    }

    fn take_up(&self, desk: &mut Desk, news: News) {
        match news {
            News::Doomed(doom) if desk.plan.is_none() => {
                desk.doom.get_or_insert(doom);
            }
            News::Doomed(doom) => desk.step(Event::Doomed(doom)),
            // Before anything was thawed it is the same error; the plan knows.
            News::FrozenAgain => desk.step(Event::FrozenAgain),
            News::PeAdded(pe) => {
                let id = pe.id();
                if desk.pes.insert(id, pe).is_none() {
                    desk.pe_order.push(id);
                    desk.step(Event::PeAdded(id));
                }
            }
            News::Added(function) => {
                let id = function.id;
                let known = desk.seats.get(id).is_some() || desk.gone.contains(&id);
                if known {
                    desk.rubbish.push(Box::new(function));
                } else {
                    desk.asking.push_back(Asking::Added(function));
                }
            }
            News::Removed(id) => desk.removed(id),
            News::Bound(id) => {
                if let Some(seat) = desk.seats.get(id) {
                    let function = Arc::clone(seat.function());
                    desk.asking.push_back(Asking::Bound(function));
                }
            }
        }
    }

    /// It is known who has the functions and whether anything is there: the plan begins.
    pub(super) fn begin_plan(&self, desk: &mut Desk, event: Event) {
        let mut plan = Plan::new(Scope {
            flavour: self.flavour,
            host_bridge: self.pe.kind() == PeKind::Phb,
            pes: desk.pe_order.clone(),
            members: desk.seats.members(),
        });
        let mut effects = Vec::new();
        if let Some(doom) = desk.doom {
            plan.step(Event::Doomed(doom), &mut effects);
        }
        plan.step(event, &mut effects);
        desk.effects.extend(effects);
        desk.plan = Some(plan);
    }
}
