//! What comes of a piece of work: the desk takes it in, the plan hears of it.

use super::Recovery;
use super::desk::{Desk, ResetOrder, Task};
use super::drive::Lost;
use super::seats::Seat;
use super::timing::RETRY;
use super::work::{Asked, Asking, ClosedFor, Done, Parked, Purpose};
use crate::party::Unresponsive;
use crate::pe::PeState;
use crate::plan::{Answer, Call, Event, FunctionId, Queried, Role, Sight, Thaw};
use crate::platform::CloseFunctionsError;
use crate::report::Doom;
use crate::watch::Told;
use std::sync::Arc;
use std::time::Duration;

impl Recovery {
    /// Work has ended, or is lost.
    pub(super) fn complete(
        &self,
        desk: &mut Desk,
        purpose: Purpose,
        done: Result<Done, Lost>,
        now: Duration,
    ) {
        match (purpose, done) {
            (Purpose::Ask(asking), Ok(Done::Asked(asked))) => asked_for(desk, asking, asked),
            (Purpose::Ask(asking), Err(Lost)) => asked_for(desk, asking, unresponsive()),
            (Purpose::Ask(asking), Ok(Done::Seated(seat))) => seated(desk, &asking, *seat),
            (Purpose::Look, Ok(Done::Present(present))) => self.looked(desk, present),
            (Purpose::Look, _) => {
                // A platform that cannot be asked brings nothing back.
                desk.doom.get_or_insert(Doom::StateUnknown);
                self.looked(desk, true);
            }
            (Purpose::Log(log), Ok(Done::Logged(text))) => {
                let (id, pe) = (self.id, self.pe.address());
                desk.tasks.push_front(Task::Tell(Told::Log { id, pe, log, text }));
            }
            // It was called; its answer comes by itself.
            (Purpose::Call(number), Err(Lost)) => {
                if let Some(out) = desk.calls.end(number) {
                    desk.answers.push_back(Event::CallbackLost(out.function, out.call));
                }
            }
            (Purpose::Interrupts(id), _) => {
                // What signals while interrupts are held back is not heard, so DMA comes after them.
                if let Some(seat) = desk.seats.get(id).filter(|seat| !seat.quiet) {
                    seat.function().function.config().hold_dma(false);
                }
            }
            (Purpose::Drain, done) => {
                desk.undrained |= !matches!(done, Ok(Done::Drained(true)));
            }
            (Purpose::Model(id, call), Ok(Done::Model { answer, saved, parked })) => {
                desk.park(parked.into_iter().collect());
                let stale = desk.seats.get_mut(id).and_then(|seat| match saved {
                    Some(saved) => seat.saved.replace(saved),
                    None => None,
                });
                desk.rubbish.extend(stale.map(|stale| Box::new(stale) as Box<dyn Send>));
                model_answered(desk, id, call, answer);
            }
            (Purpose::Model(id, call), _) => model_answered(desk, id, call, None),
            (Purpose::Close { waited, purpose }, done) => closed(desk, waited, purpose, done, now),
            (purpose, done) => hardware(desk, &purpose, done),
        }
    }

    fn looked(&self, desk: &mut Desk, present: bool) {
        self.begin_plan(desk, Event::Begin(Sight { present, within_budget: self.within_budget }));
    }
}

fn unresponsive() -> Asked {
    Asked { party: Arc::new(Unresponsive), role: Role::Unaware, needs_fundamental_reset: false }
}

fn asked_for(desk: &mut Desk, asking: Asking, asked: Asked) {
    let id = asking.id();
    if desk.gone.contains(&id) {
        desk.rubbish.push(Box::new((asking, asked)));
        return;
    }
    let Asking::Bound(function) = asking else {
        return desk.tasks.push_back(Task::Sit(asking, asked));
    };
    let role = asked.role;
    if let Some(seat) = desk.seats.get_mut(id) {
        // What the last one had in its model is not this one's.
        let before = (std::mem::replace(&mut seat.party, asked.party), seat.saved.take(), function);
        (seat.role, seat.member.role) = (role, role);
        desk.rubbish.push(Box::new(before));
    }
    desk.step_or_keep(Event::Bound(id, role));
}

fn seated(desk: &mut Desk, asking: &Asking, seat: Seat) {
    let member = seat.member;
    let id = member.function;
    if desk.gone.contains(&id) {
        desk.rubbish.push(Box::new(seat));
        return;
    }
    let before = desk.seats.add(seat);
    desk.rubbish.extend(before.map(|before| Box::new(before) as Box<dyn Send>));
    if matches!(asking, Asking::Added(_)) {
        desk.step_or_keep(Event::Added(member));
    }
}

fn model_answered(desk: &mut Desk, id: FunctionId, call: Call, answer: Option<Answer>) {
    desk.answers.push_back(match answer {
        Some(answer) => Event::Answered(id, call, answer),
        None => Event::CallbackLost(id, call),
    });
}

fn closed(desk: &mut Desk, waited: bool, purpose: ClosedFor, done: Result<Done, Lost>, now: Duration) {
    let done = match done {
        Ok(Done::Closed(done)) => done.map(|parked| desk.park(parked)).map_err(Some),
        _ => Err(None),
    };
    match (done, purpose) {
        (Ok(()), ClosedFor::Save(id)) => desk.tasks.push_front(Task::Save(id)),
        (Ok(()), ClosedFor::Reset(order)) => desk.tasks.push_front(Task::Reset(order)),
        // Without it, at once; it is not among those that are missing any more.
        (Err(Some(CloseFunctionsError::Gone(_))), ClosedFor::Reset(order)) if now < order.until => {
            desk.tasks.push_front(Task::Reset(order));
        }
        (Err(Some(CloseFunctionsError::Gone(_))), ClosedFor::Save(id)) => {
            desk.effects.push_front(crate::plan::Effect::Call(id, Call::Save));
        }
        (Err(Some(_)), ClosedFor::Reset(order)) if !waited && now < order.until => {
            let next = ResetOrder { pause: order.pause.saturating_mul(2).min(RETRY.1), ..order };
            desk.retry = Some((now.saturating_add(order.pause), next));
        }
        (Err(_), ClosedFor::Reset(_)) => desk.answers.push_back(Event::ResetDone(false)),
        (Err(_), ClosedFor::Save(id)) => {
            desk.saves_fail = true;
            desk.answers.push_back(Event::Answered(id, Call::Save, Answer::Failed));
        }
    }
}

/// What the platform has done, or we after it.
fn hardware(desk: &mut Desk, purpose: &Purpose, done: Result<Done, Lost>) {
    match (purpose, done) {
        (Purpose::Thaw(traffic), Ok(Done::Thawed(Thaw::Done))) => {
            desk.tasks.push_front(Task::LetIn(*traffic))
        }
        (Purpose::Thaw(traffic), Ok(Done::Thawed(how))) => {
            desk.answers.push_back(Event::Thawed(*traffic, how))
        }
        (Purpose::Thaw(traffic), _) => desk.answers.push_back(Event::Thawed(*traffic, Thaw::Failed)),
        (Purpose::LetIn(traffic), done) => {
            let how = if done.is_ok() { Thaw::Done } else { Thaw::Failed };
            desk.answers.push_back(Event::Thawed(*traffic, how));
        }
        (Purpose::Query, Ok(Done::State(state))) => desk.answers.push_back(Event::StateIs(state)),
        (Purpose::Query, _) => desk.answers.push_back(Event::StateIs(Queried::Failed)),
        (Purpose::Reset, done) => {
            desk.clear_bits(PeState::RESET);
            let done = take_back(desk, done);
            desk.answers.push_back(Event::ResetDone(done));
        }
        (Purpose::RestoreConfig, done) => {
            desk.clear_bits(PeState::CFG_BLOCKED);
            let done = take_back(desk, done);
            desk.answers.push_back(Event::ConfigRestored(done));
        }
        (Purpose::Unfreeze, Ok(Done::Hardware(true, _))) => desk.tasks.push_front(Task::Open),
        (Purpose::Unfreeze, _) => desk.answers.push_back(Event::Unfrozen(false)),
        (Purpose::Open, done) => desk.answers.push_back(Event::Unfrozen(done.is_ok())),
        _ => {}
    }
}

fn take_back(desk: &mut Desk, done: Result<Done, Lost>) -> bool {
    let Ok(Done::Hardware(done, parked)) = done else { return false };
    let parked: Vec<Parked> = parked;
    desk.park(parked);
    done
}
