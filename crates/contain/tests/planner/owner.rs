//! The owner of a recovery, who carries out everything at once and answers as a test says.

use crate::checker::{Checker, step};
use contain::merge::Vote;
use contain::plan::{
    Answer, Call, Channel, Effect, Event, Flavour, FunctionId, Handlers, Member, PeId, Plan, PlatformState,
    Queried, Role, Scope, Severity, Sight, Thaw, Traffic,
};
use contain::report::Outcome;
use std::collections::VecDeque;

pub(crate) const FROZEN: Call = Call::ErrorDetected(Channel::Frozen);
pub(crate) const NORMAL: Call = Call::ErrorDetected(Channel::Normal);
pub(crate) const PERM_FAILURE: Call = Call::ErrorDetected(Channel::PermFailure);
pub(crate) const GOOD: Sight = Sight { present: true, within_budget: true };
pub(crate) const ACTIVE: Queried = Queried::Is(PlatformState::MMIO_ACTIVE.union(PlatformState::DMA_ACTIVE));
pub(crate) const FATAL: Flavour = Flavour::Aer(Severity::Fatal);
pub(crate) const NON_FATAL: Flavour = Flavour::Aer(Severity::NonFatal);

pub(crate) fn function(id: u64, role: Role) -> Member {
    Member::new(FunctionId(id), 1, role)
}

/// An endpoint whose driver has all callbacks.
pub(crate) fn aware(id: u64) -> Member {
    function(id, Role::Aware(Handlers::all()))
}

pub(crate) fn scope(flavour: Flavour, members: &[Member]) -> Scope {
    Scope { flavour, host_bridge: false, pes: vec![PeId(1), PeId(2)], members: members.to_vec() }
}

/// Everything that was ordered is carried out in its order; answers are good unless a test says otherwise.
pub(crate) struct Owner {
    pub(crate) plan: Plan,
    pub(crate) checker: Checker,
    pub(crate) log: Vec<Effect>,
    pub(crate) sight: Sight,
    pub(crate) states: VecDeque<Queried>,
    pub(crate) resets: VecDeque<bool>,
    pub(crate) unfreezes: VecDeque<bool>,
    pub(crate) restored: bool,
    pub(crate) mmio: Thaw,
    pub(crate) dma: Thaw,
    said: Vec<(u64, Call, VecDeque<Answer>)>,
    lost: Vec<(u64, Call)>,
    /// What happens when an effect has been ordered, before it is answered.
    meanwhile: Vec<(Effect, Event)>,
}

impl Owner {
    pub(crate) fn new(scope: Scope) -> Owner {
        Owner {
            checker: Checker::new(&scope),
            plan: Plan::new(scope),
            log: Vec::new(),
            sight: GOOD,
            states: VecDeque::new(),
            resets: VecDeque::new(),
            unfreezes: VecDeque::new(),
            restored: true,
            mmio: Thaw::Done,
            dma: Thaw::Done,
            said: Vec::new(),
            lost: Vec::new(),
            meanwhile: Vec::new(),
        }
    }

    pub(crate) fn eeh(members: &[Member]) -> Owner {
        Owner::new(scope(Flavour::Eeh, members))
    }

    /// The function answers so to the next call of this kind; the last answer stays.
    pub(crate) fn says(mut self, id: u64, call: Call, vote: Vote) -> Owner {
        self.said_as(id, call, Answer::Vote(vote));
        self
    }

    pub(crate) fn fails(mut self, id: u64, call: Call) -> Owner {
        self.said_as(id, call, Answer::Failed);
        self
    }

    fn said_as(&mut self, id: u64, call: Call, answer: Answer) {
        match self.said.iter_mut().find(|(i, c, _)| (*i, *c) == (id, call)) {
            Some((_, _, answers)) => answers.push_back(answer),
            None => self.said.push((id, call, VecDeque::from([answer]))),
        }
    }

    pub(crate) fn loses(mut self, id: u64, call: Call) -> Owner {
        self.lost.push((id, call));
        self
    }

    pub(crate) fn meanwhile(mut self, effect: Effect, event: Event) -> Owner {
        self.meanwhile.push((effect, event));
        self
    }

    /// From the beginning to the end.
    pub(crate) fn run(&mut self) -> Outcome {
        let mut pending: VecDeque<Effect> = self.send(Event::Begin(self.sight)).into();
        for _ in 0..10_000 {
            let Some(effect) = pending.pop_front() else { break };
            if let Some(at) = self.meanwhile.iter().position(|(at, _)| *at == effect) {
                let (_, event) = self.meanwhile.remove(at);
                pending.extend(self.send(event));
            }
            if let Some(event) = self.answer(effect) {
                pending.extend(self.send(event));
            }
        }
        assert_eq!(pending, [], "it goes on for ever");
        self.checker.outcome().unwrap_or_else(|| panic!("it stands still: {:?}", self.plan))
    }

    pub(crate) fn send(&mut self, event: Event) -> Vec<Effect> {
        let effects = step(&mut self.plan, &mut self.checker, event);
        self.log.extend(&effects);
        effects
    }

    fn answer(&mut self, effect: Effect) -> Option<Event> {
        Some(match effect {
            Effect::Call(id, call) if self.lost.contains(&(id.0, call)) => Event::CallbackLost(id, call),
            Effect::Call(id, call) => Event::Answered(id, call, self.answer_to(id, call)),
            Effect::Thaw(Traffic::Mmio) => Event::Thawed(Traffic::Mmio, self.mmio),
            Effect::Thaw(Traffic::Dma) => Event::Thawed(Traffic::Dma, self.dma),
            Effect::QueryState => Event::StateIs(self.states.pop_front().unwrap_or(ACTIVE)),
            Effect::Wait(_) => Event::Waited,
            Effect::Reset(_) => Event::ResetDone(self.resets.pop_front().unwrap_or(true)),
            Effect::RestoreConfig => Event::ConfigRestored(self.restored),
            Effect::Unfreeze => Event::Unfrozen(self.unfreezes.pop_front().unwrap_or(true)),
            _ => return None,
        })
    }

    fn answer_to(&mut self, id: FunctionId, call: Call) -> Answer {
        if let Some((_, _, answers)) = self.said.iter_mut().find(|(i, c, _)| (*i, *c) == (id.0, call)) {
            return if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0] };
        }
        match call {
            Call::ErrorDetected(_) => Answer::Vote(Vote::CanRecover),
            Call::MmioEnabled | Call::SlotReset => Answer::Vote(Vote::Recovered),
            _ => Answer::Done,
        }
    }

    /// What was called, in its order.
    pub(crate) fn calls(&self) -> Vec<(u64, Call)> {
        let call = |effect: &Effect| match effect {
            Effect::Call(id, call) => Some((id.0, *call)),
            _ => None,
        };
        self.log.iter().filter_map(call).collect()
    }

    pub(crate) fn called(&self, id: u64, call: Call) -> bool {
        self.log.contains(&Effect::Call(FunctionId(id), call))
    }

    pub(crate) fn count(&self, is: impl Fn(&Effect) -> bool) -> usize {
        self.log.iter().filter(|effect| is(effect)).count()
    }

    pub(crate) fn resets_ordered(&self) -> usize {
        self.count(|effect| matches!(effect, Effect::Reset(_)))
    }

    /// The orders that change what hardware and functions do, without the words that are told.
    pub(crate) fn deeds(&self) -> Vec<Effect> {
        let is_deed = |effect: &&Effect| {
            !matches!(
                effect,
                Effect::Tell(_) | Effect::Log(_) | Effect::Uevent(..) | Effect::Mark(_) | Effect::Collect(_)
            )
        };
        self.log.iter().filter(is_deed).copied().collect()
    }
}
