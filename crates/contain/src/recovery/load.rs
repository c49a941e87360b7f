//! From an effect of the plan to a piece of work with everything that it needs.

use super::Recovery;
use super::desk::{Desk, ResetOrder, Task};
use super::timing::{LEAST, RETRY, Timing};
use super::work::{ClosedFor, Holdings, Parked, Who, Work};
use crate::party::{Hears, Reply};
use crate::pe::PeState;
use crate::plan::{Answer, Call, Effect, Event, FunctionId, Queried, State, Thaw, Traffic};
use crate::report::Notice;
use crate::tree::PeFunction;
use crate::watch::Told;
use std::sync::{Arc, Weak};
use std::time::Duration;

impl Recovery {
    /// Carries out what needs nobody, and gives the rest as work.
    pub(super) fn load(&self, desk: &mut Desk, effect: Effect, now: Duration) -> Option<Work> {
        match effect {
            Effect::Mark(pe) => {
                if let Some(pe) = desk.pes.get(&pe) {
                    // Removed, or marked by whom we have nothing to do with: it is not ours to collect.
                    let _not_marked = desk.marked.add(pe);
                }
                None
            }
            Effect::Collect(pe) => {
                if let Some(pe) = desk.pes.get(&pe) {
                    desk.marked.let_go(pe);
                }
                None
            }
            Effect::MarkRemoved(pe) => {
                if let Some(pe) = desk.pes.get(&pe) {
                    pe.set(PeState::REMOVED);
                }
                None
            }
            Effect::Wait(time) => {
                desk.timer = Some(now.saturating_add(self.timing.scaled(time)));
                None
            }
            Effect::SetChannel(id, channel) => {
                if let Some(seat) = desk.seats.get_mut(id) {
                    seat.channel = channel;
                }
                None
            }
            Effect::Interrupts(id, on) => self.interrupts(desk, id, on),
            Effect::Notify(id, channel) => {
                let party = desk.party(id)?;
                Some(Work::Notify { id, party, channel })
            }
            Effect::Contain(id) => Some(Work::Keep(Arc::clone(self.frozen.as_ref()?), id)),
            Effect::Call(id, call) => self.call(desk, id, call, now),
            Effect::Thaw(_)
            | Effect::QueryState
            | Effect::Reset(_)
            | Effect::RestoreConfig
            | Effect::Unfreeze
            | Effect::ClearErrorStatus
            | Effect::Remove(_)
            | Effect::Log(_) => self.hardware(desk, effect, now),
            Effect::Uevent(id, uevent) => {
                let at = desk.seats.get(id)?.function().address;
                self.tell(desk, Told::Uevent { id: self.id, at, uevent })
            }
            Effect::Tell(notice) => self.notice(desk, notice),
            Effect::Finish(outcome) => {
                desk.tasks.extend([Task::LetGo, Task::End(outcome)]);
                None
            }
        }
    }

    pub(super) fn load_task(&self, desk: &mut Desk, task: Task, now: Duration) -> Option<Work> {
        match task {
            Task::Sit(asking, asked) => Some(Work::Sit(asking, asked)),
            Task::Tell(told) => self.tell(desk, told),
            Task::LetIn(traffic) => {
                let functions = match traffic {
                    Traffic::Mmio => desk.seats.functions(),
                    Traffic::Dma => desk.seats.loud(),
                };
                Some(Work::LetIn(traffic, functions, self.frozen.clone()))
            }
            Task::Open => {
                let others = desk.take_others();
                Some(Work::Open(desk.seats.functions(), self.frozen.clone(), others))
            }
            Task::Call(id, call) => self.call_party(desk, id, call, now),
            Task::Save(id) => match desk.parked.remove(&id) {
                Some(parked) => Some(Work::Save(parked)),
                None => desk.answer(Event::Answered(id, Call::Save, Answer::Failed)),
            },
            Task::Drain(id, until) => self.drain(desk, id, until),
            Task::Thaw(traffic) if std::mem::take(&mut desk.undrained) => {
                desk.answer(Event::Thawed(traffic, Thaw::NeedsReset))
            }
            Task::Thaw(traffic) => Some(Work::Thaw(traffic, desk.seats.functions())),
            Task::Reset(order) => self.reset(desk, order, now),
            Task::LetGo => Some(Work::LetGo(Box::new(desk.take_holdings()))),
            Task::End(outcome) => Some(Work::End(desk.close(outcome, now))),
        }
    }

    fn tell(&self, desk: &Desk, told: Told) -> Option<Work> {
        // Who does not come back from being told is told nothing more.
        (!desk.is_left_behind(Who::Watch)).then_some(Work::Tell(told))
    }

    fn notice(&self, desk: &mut Desk, notice: Notice) -> Option<Work> {
        let (id, pe) = (self.id, self.pe.address());
        let told = match notice {
            Notice::Began => Told::Began { id, pe },
            _ => Told::Notice { id, pe, notice },
        };
        match notice {
            Notice::Resetting { nth } => desk.resets = nth,
            // Nobody reaches what is broken, whatever was let in before.
            Notice::Failing(_) => {
                desk.tasks.push_front(Task::Tell(told));
                desk.retry = None;
                return Some(Work::Refreeze(self.frozen.clone(), desk.take_parked()));
            }
            // Whoever told of it has frozen first, and a thaw of ours may have come after that.
            Notice::FrozenAgain => {
                desk.tasks.push_front(Task::Tell(told));
                return Some(Work::Refreeze(self.frozen.clone(), Vec::new()));
            }
            Notice::TakenOut(function) => {
                let function = Arc::clone(desk.seats.get(function)?.function());
                desk.tasks.push_front(Task::Tell(told));
                return Some(Work::TakeOut(function, self.frozen.clone()));
            }
            _ => {}
        }
        self.tell(desk, told)
    }

    fn interrupts(&self, desk: &mut Desk, id: FunctionId, on: bool) -> Option<Work> {
        let seat = desk.seats.get_mut(id)?;
        seat.quiet = !on;
        let function = Arc::clone(seat.function());
        let party = desk.party(id)?;
        Some(Work::Interrupts { function, party, held: !on })
    }

    fn call(&self, desk: &mut Desk, id: FunctionId, call: Call, now: Duration) -> Option<Work> {
        let Some(seat) = desk.seats.get(id) else { return desk.answer(Event::CallbackLost(id, call)) };
        let (function, model) = (Arc::clone(seat.function()), seat.is_model());
        if !model || !matches!(call, Call::Quiesce | Call::Save | Call::Restore | Call::Resume) {
            let others = desk.take_others();
            desk.tasks.push_front(Task::Call(id, call));
            let others = others.into_iter().map(|parked| Box::new(parked) as Box<dyn Send>);
            desk.rubbish.extend(others);
            return None;
        }
        if desk.is_left_behind(Who::Model(id)) {
            return desk.answer(Event::CallbackLost(id, call));
        }
        match call {
            Call::Quiesce => {
                Some(Work::Quiesce(function, *desk.quiesce.get_or_insert(now + self.timing.quiesce)))
            }
            Call::Save if desk.saves_fail => desk.answer(Event::Answered(id, call, Answer::Failed)),
            Call::Save => {
                let missing = desk.missing();
                if missing.is_empty() || desk.parked.contains_key(&id) {
                    desk.tasks.push_front(Task::Save(id));
                    return None;
                }
                let (waits, until) = (desk.parked.is_empty(), now.saturating_add(self.timing.quiesce));
                Some(Work::Close { missing, waits, until, purpose: ClosedFor::Save(id) })
            }
            Call::Restore => match (desk.seats.get(id)?.saved.clone(), desk.parked.remove(&id)) {
                (Some(state), Some(parked)) => Some(Work::Restore(parked, state)),
                (_, parked) => {
                    desk.rubbish.extend(parked.map(|parked| Box::new(parked) as Box<dyn Send>));
                    desk.answer(Event::Answered(id, call, Answer::Failed))
                }
            },
            _ => Some(Work::Resume(desk.party(id), id, desk.parked.remove(&id))),
        }
    }

    fn call_party(&self, desk: &mut Desk, id: FunctionId, call: Call, now: Duration) -> Option<Work> {
        let Some(party) = desk.party(id) else { return desk.answer(Event::CallbackLost(id, call)) };
        let until = now.saturating_add(self.timing.call);
        let number = desk.calls.begin(super::calls::Out { function: id, call, until });
        let me: Weak<dyn Hears> = Weak::clone(&self.me) as Weak<dyn Hears>;
        Some(Work::Call { id, party, call, number, reply: Reply::new(me, number) })
    }

    /// What the platform is asked for; at once *no* if it has not come back from something else.
    fn hardware(&self, desk: &mut Desk, effect: Effect, now: Duration) -> Option<Work> {
        let stuck = desk.is_left_behind(Who::Platform);
        let functions = desk.seats.functions();
        match effect {
            Effect::Remove(id) => {
                // Beside another call that is left behind, but not twice.
                let function = Arc::clone(desk.seats.get(id)?.function());
                (!desk.is_out("remove")).then_some(Work::Remove(function))
            }
            Effect::Thaw(traffic) if stuck => desk.answer(Event::Thawed(traffic, Thaw::Failed)),
            Effect::QueryState if stuck => desk.answer(Event::StateIs(Queried::Failed)),
            Effect::Reset(_) if stuck => desk.answer(Event::ResetDone(false)),
            Effect::RestoreConfig if stuck => desk.answer(Event::ConfigRestored(false)),
            Effect::Unfreeze if stuck => desk.answer(Event::Unfrozen(false)),
            _ if stuck => None,
            // Nobody can tell whether what was in flight still reaches memory.
            Effect::Thaw(traffic) if self.frozen.as_ref().is_some_and(|frozen| frozen.requires_reset()) => {
                desk.answer(Event::Thawed(traffic, Thaw::NeedsReset))
            }
            Effect::Thaw(Traffic::Mmio) => {
                let until = now.saturating_add(self.timing.quiesce);
                desk.drain_before(Task::Thaw(Traffic::Mmio), until);
                None
            }
            Effect::Thaw(Traffic::Dma) => Some(Work::Thaw(Traffic::Dma, functions)),
            Effect::QueryState => Some(Work::Query(functions)),
            Effect::Reset(how) => {
                let until = now.saturating_add(self.timing.quiesce);
                desk.drain_before(Task::Reset(ResetOrder { how, until, pause: RETRY.0 }), until);
                None
            }
            Effect::RestoreConfig => Some(Work::RestoreConfig { functions, parked: desk.take_parked() }),
            Effect::Unfreeze => Some(Work::Unfreeze(functions)),
            Effect::ClearErrorStatus => Some(Work::ClearErrorStatus(functions)),
            Effect::Log(log) => Some(Work::Log(log, functions)),
            _ => None,
        }
    }

    /// Waits for what is in flight, as long as nobody else's is known to be.
    fn drain(&self, desk: &mut Desk, id: FunctionId, until: Duration) -> Option<Work> {
        if desk.undrained || desk.seats.get(id).is_none() {
            return None;
        }
        match desk.party(id) {
            Some(party) => Some(Work::Drain { id, party, until }),
            // Who did not come back from something else cannot be asked.
            None => {
                desk.undrained = true;
                None
            }
        }
    }

    /// Resets, once all gates are closed.
    fn reset(&self, desk: &mut Desk, order: ResetOrder, now: Duration) -> Option<Work> {
        let undrained = std::mem::take(&mut desk.undrained);
        // It may have been given up while gates were waited for.
        if desk.plan.as_ref().is_none_or(|plan| plan.state() != State::Resetting) {
            return None;
        }
        if undrained {
            return desk.answer(Event::ResetDone(false));
        }
        let missing = desk.missing();
        if missing.is_empty() {
            desk.set_bits(PeState::RESET | PeState::CFG_BLOCKED);
            let how = self.timing.reset(order.how);
            return Some(Work::Reset { how, functions: desk.seats.functions(), parked: desk.take_parked() });
        }
        let (waits, until) = (desk.parked.is_empty(), order.until.max(now.saturating_add(LEAST)));
        Some(Work::Close { missing, waits, until, purpose: ClosedFor::Reset(order) })
    }
}

impl Desk {
    /// Has `task` done once no I/O has memory of a consumer any more that was taken away from it.
    fn drain_before(&mut self, task: Task, until: Duration) {
        self.undrained = false;
        self.tasks.push_front(task);
        for id in self.seats.consumers() {
            self.tasks.push_front(Task::Drain(id, until));
        }
    }

    /// Nobody has to be called for this answer.
    fn answer(&mut self, event: Event) -> Option<Work> {
        self.answers.push_back(event);
        None
    }

    /// Who has a function, unless a call of his was left behind.
    fn party(&self, id: FunctionId) -> Option<Arc<dyn crate::party::Party>> {
        let seat = self.seats.get(id)?;
        (!self.is_left_behind(Who::Party(id))).then(|| Arc::clone(&seat.party))
    }

    /// Whose gates are not closed, of those that are there.
    fn missing(&mut self) -> Vec<Arc<PeFunction>> {
        let functions = self.seats.functions();
        let is_missing = |function: &&Arc<PeFunction>| {
            !self.parked.contains_key(&function.id) && !function.function.handle().is_gone()
        };
        functions.iter().filter(is_missing).cloned().collect()
    }

    pub(super) fn set_bits(&self, bits: PeState) {
        for pe in self.pes.values() {
            let _before = pe.set(bits);
        }
    }

    pub(super) fn clear_bits(&self, bits: PeState) {
        for pe in self.pes.values() {
            let _before = pe.clear(bits);
        }
    }

    /// Everything that is to be given back.
    pub(super) fn take_holdings(&mut self) -> Holdings {
        self.clear_bits(PeState::RESET | PeState::CFG_BLOCKED);
        Holdings {
            functions: self.seats.functions(),
            parked: std::mem::take(&mut self.parked).into_values().collect::<Vec<Parked>>(),
            marked: std::mem::take(&mut self.marked),
            pes: std::mem::take(&mut self.pes).into_values().collect(),
            seats: self.seats.take(),
            claim: self.claim.take(),
        }
    }
}

impl Work {
    /// How long it may take.
    pub(super) fn limit(&self, timing: &Timing, now: Duration) -> Duration {
        let until = |until: &Duration| until.saturating_sub(now).max(LEAST);
        match self {
            Work::Close { until: at, .. } | Work::Quiesce(_, at) | Work::Drain { until: at, .. } => until(at),
            Work::Reset { how, .. } => timing.reset_limit(*how),
            Work::RestoreConfig { .. } => timing.restore_limit(),
            _ => timing.call,
        }
    }
}
