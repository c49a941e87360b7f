//! What holds in every recovery, whatever happens.

use contain::plan::{
    Answer, Call, Channel, Effect, Event, Flavour, FunctionId, Handlers, Member, PeId, Plan, Policy, Role,
    STATE_WAIT, Scope, Traffic,
};
use contain::report::{Notice, Outcome, Uevent};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known of a function.
#[derive(Debug)]
struct Seen {
    member: Member,
    late: bool,
    contained: bool,
    told: bool,
    lost: bool,
    in_call: Option<Call>,
    unbound: bool,
    quiesced: bool,
    saved: bool,
    resumed: bool,
    /// It was reset, and its driver has not been told.
    owed: bool,
    perm_failures: u32,
    perm_notices: u32,
    removed: bool,
    /// It was taken out alone.
    out: bool,
    channel: Option<Channel>,
    interrupts: Option<bool>,
    uevents: Vec<Uevent>,
    kept_contained: bool,
}

impl Seen {
    fn new(member: Member, late: bool) -> Seen {
        Seen {
            member,
            late,
            contained: member.role == Role::Consumer(Policy::ContainUntilTold),
            told: false,
            lost: false,
            in_call: None,
            unbound: false,
            quiesced: false,
            saved: false,
            resumed: false,
            owed: false,
            perm_failures: 0,
            perm_notices: 0,
            removed: false,
            out: false,
            channel: None,
            interrupts: None,
            uevents: Vec::new(),
            kept_contained: false,
        }
    }

    fn has(&self, handlers: Handlers) -> bool {
        matches!(self.member.role, Role::Aware(of) if of.contains(handlers))
    }

    fn takes_part(&self) -> bool {
        !self.contained && !self.member.disconnected
    }
}

/// Watches a recovery.
#[derive(Debug)]
pub(crate) struct Checker {
    flavour: Flavour,
    functions: BTreeMap<FunctionId, Seen>,
    pes: Vec<PeId>,
    /// In the order of the marks.
    marked: Vec<PeId>,
    removed_pes: BTreeSet<PeId>,
    begun: bool,
    mmio: bool,
    dma: bool,
    /// It was ordered, and not answered.
    unfreezing: bool,
    /// The first one was told to go on.
    resuming: bool,
    paused: Duration,
    outcome: Option<Outcome>,
    pub(crate) effects: usize,
}

impl Checker {
    pub(crate) fn new(scope: &Scope) -> Checker {
        let works = !scope.flavour.is_frozen();
        // Where nothing is frozen, nothing that is contained has to be kept so.
        let seen = |member: &Member| Seen { kept_contained: works, ..Seen::new(*member, false) };
        Checker {
            flavour: scope.flavour,
            functions: scope.members.iter().map(|member| (member.function, seen(member))).collect(),
            pes: scope.pes.clone(),
            marked: Vec::new(),
            removed_pes: BTreeSet::new(),
            begun: false,
            mmio: works,
            dma: works,
            unfreezing: false,
            resuming: false,
            paused: Duration::ZERO,
            outcome: None,
            effects: 0,
        }
    }

    pub(crate) fn before(&mut self, event: Event) {
        match event {
            Event::Begin(_) => self.begun = true,
            Event::Answered(function, call, answer) => self.answered(function, call, answer),
            Event::CallbackLost(function, call) => {
                if let Some(seen) = self.functions.get_mut(&function)
                    && seen.in_call == Some(call)
                {
                    (seen.in_call, seen.lost) = (None, true);
                }
            }
            Event::Thawed(Traffic::Mmio, contain::plan::Thaw::Done) => self.mmio = true,
            Event::Thawed(Traffic::Dma, contain::plan::Thaw::Done) => self.dma = true,
            Event::Unfrozen(done) if std::mem::take(&mut self.unfreezing) && done => {
                (self.mmio, self.dma) = (true, true);
                self.functions.values_mut().for_each(|seen| seen.kept_contained = false);
            }
            Event::Added(member) => {
                let late = self.begun;
                let kept_contained = !self.flavour.is_frozen();
                let seen = || Seen { kept_contained, ..Seen::new(member, late) };
                // What was taken out is not there, even if nobody has said so yet.
                if self.functions.get(&member.function).is_none_or(|there| there.out) {
                    self.functions.insert(member.function, seen());
                }
            }
            Event::FrozenAgain if self.begun => (self.mmio, self.dma) = (false, false),
            Event::Removed(function) => drop(self.functions.remove(&function)),
            Event::Bound(function, role) => self.bound(function, role),
            Event::PeAdded(pe) if !self.pes.contains(&pe) => self.pes.push(pe),
            _ => {}
        }
    }

    fn bound(&mut self, function: FunctionId, role: Role) {
        let begun = self.begun;
        let Some(seen) = self.functions.get_mut(&function) else { return };
        if !begun {
            let kept_contained = !self.flavour.is_frozen();
            *seen = Seen { kept_contained, ..Seen::new(Member { role, ..seen.member }, false) };
            return;
        }
        seen.member.role = role;
        (seen.late, seen.told, seen.quiesced, seen.owed) = (true, false, false, false);
        seen.unbound &= role == Role::Unbound;
    }

    fn answered(&mut self, function: FunctionId, call: Call, answer: Answer) {
        let Some(seen) = self.functions.get_mut(&function) else { return };
        if seen.in_call != Some(call) {
            return;
        }
        seen.in_call = None;
        let done = answer != Answer::Failed;
        match call {
            Call::ErrorDetected(_) => seen.told |= !seen.late,
            Call::Quiesce => (seen.told, seen.quiesced) = (!seen.late, !seen.late),
            Call::Save => seen.saved = done,
            Call::Unbind => seen.unbound = done,
            Call::Probe => {
                (seen.unbound, seen.late, seen.told, seen.owed) = (false, true, false, false);
                if !done {
                    seen.member.role = Role::Unbound;
                }
            }
            _ => {}
        }
    }

    pub(crate) fn see(&mut self, effect: Effect) {
        assert_eq!(self.outcome, None, "{effect:?} after the end");
        assert!(self.begun, "{effect:?} before the beginning");
        self.effects += 1;
        if !matches!(effect, Effect::Wait(_) | Effect::QueryState) {
            self.paused = Duration::ZERO;
        }
        match effect {
            Effect::Mark(pe) => {
                assert!(self.pes.contains(&pe));
                assert!(!self.marked.contains(&pe), "{pe:?} is marked twice");
                self.marked.push(pe);
            }
            Effect::Collect(pe) => {
                assert_eq!(self.marked.pop(), Some(pe), "children first, and once each");
            }
            Effect::MarkRemoved(pe) => assert!(self.removed_pes.insert(pe)),
            Effect::SetChannel(function, channel) => {
                assert!(channel != Channel::Normal || self.mmio && self.dma, "let go while frozen");
                let seen = self.functions.get_mut(&function);
                seen.unwrap_or_else(|| panic!("{function:?} is not there")).channel = Some(channel);
            }
            Effect::Interrupts(function, on) => {
                let seen = self.functions.get_mut(&function).unwrap();
                assert_ne!(seen.interrupts.replace(on).unwrap_or(true), on, "{function:?} twice {on}");
            }
            Effect::Contain(function) => {
                let seen = self.functions.get_mut(&function).unwrap();
                assert!(seen.contained);
                seen.kept_contained = true;
            }
            Effect::Call(function, call) => self.call(function, call),
            Effect::Notify(function, channel) => {
                let seen = self.functions.get_mut(&function).unwrap();
                assert!(matches!(seen.member.role, Role::Consumer(_)) && !seen.contained);
                seen.perm_notices += u32::from(channel == Channel::PermFailure);
            }
            Effect::Wait(time) => {
                assert!(!time.is_zero());
                self.paused += time;
                assert!(self.paused <= STATE_WAIT, "EEH-11: {:?}", self.paused);
            }
            Effect::Thaw(traffic) => assert!(traffic == Traffic::Mmio || self.mmio, "DMA before MMIO"),
            Effect::Reset(_) => self.reset(),
            Effect::Remove(function) => self.remove(function),
            Effect::Uevent(function, uevent) => {
                let seen = self.functions.get_mut(&function).unwrap();
                assert!(seen.takes_part());
                seen.uevents.push(uevent);
            }
            Effect::Finish(outcome) => self.finish(outcome),
            Effect::Unfreeze => self.unfreezing = true,
            Effect::QueryState | Effect::RestoreConfig | Effect::ClearErrorStatus | Effect::Log(_) => {}
            Effect::Tell(Notice::TakenOut(function)) => {
                self.functions.get_mut(&function).unwrap().out = true;
            }
            Effect::Tell(_) => {}
        }
    }

    fn reset(&mut self) {
        (self.mmio, self.dma) = (false, false);
        for seen in self.functions.values_mut().filter(|seen| seen.takes_part()) {
            assert_eq!(seen.in_call, None, "a reset under a call");
            assert_eq!(seen.interrupts, Some(false), "a reset with interrupts on: {seen:?}");
            seen.owed = !seen.unbound && seen.member.role != Role::Unbound;
        }
    }

    fn remove(&mut self, function: FunctionId) {
        let depth = self.functions[&function].member.depth;
        let others = self.functions.values().any(|seen| seen.removed && !seen.out);
        let deeper = self.functions.values().any(|seen| !seen.removed && seen.member.depth > depth);
        let seen = self.functions.get_mut(&function).unwrap();
        assert!(!(others && deeper) || seen.out, "a parent goes before its child");
        assert!(!std::mem::replace(&mut seen.removed, true), "{function:?} is removed twice");
        assert_eq!((seen.channel, seen.interrupts), (Some(Channel::PermFailure), seen.interrupts));
        if seen.takes_part() {
            assert_eq!(seen.interrupts, Some(false));
        }
    }

    fn call(&mut self, function: FunctionId, call: Call) {
        let seen = &self.functions[&function];
        assert_eq!(seen.in_call, None, "two calls at a time");
        assert!(!seen.lost, "{function:?} is called after a call to it was lost");
        assert!(seen.takes_part(), "{function:?} is left alone");
        let above =
            self.functions.values().find(|s| s.member.depth < seen.member.depth && s.in_call.is_some());
        assert!(above.is_none(), "a child is called before its parent has answered: {above:?}");
        let hears = seen.told && !seen.late && !seen.unbound;
        let model = seen.member.role == Role::Consumer(Policy::SaveAndRestore);
        match call {
            Call::ErrorDetected(Channel::PermFailure) => {
                assert!(seen.has(Handlers::ERROR_DETECTED) && !seen.late && !seen.unbound);
            }
            Call::ErrorDetected(channel) => {
                assert_eq!(channel, self.flavour.channel());
                assert!(seen.has(Handlers::ERROR_DETECTED) && !seen.told && !seen.late);
            }
            Call::MmioEnabled => assert!(seen.has(Handlers::MMIO_ENABLED) && hears && self.mmio),
            Call::SlotReset => assert!(seen.has(Handlers::SLOT_RESET) && hears && self.mmio && seen.owed),
            Call::Resume => {
                assert!((seen.has(Handlers::RESUME) || model) && hears && !seen.resumed);
                assert!(self.resuming || self.mmio && self.dma, "resumed while frozen");
                assert_eq!(seen.perm_failures, 0);
                assert!(!seen.quiesced || !seen.owed, "resumed before it was restored");
            }
            Call::CorErrorDetected => assert!(seen.has(Handlers::COR_ERROR_DETECTED)),
            Call::Unbind => assert!(!seen.unbound && !matches!(seen.member.role, Role::Consumer(_))),
            Call::Probe => assert!(seen.unbound && self.mmio && seen.interrupts == Some(true)),
            Call::Quiesce => assert!(model && !seen.quiesced && !seen.late),
            Call::Save => assert!(model && hears && seen.quiesced && !seen.saved),
            Call::Restore => assert!(model && hears && seen.saved && seen.owed && self.mmio),
        }
        self.resuming |= call == Call::Resume;
        let seen = self.functions.get_mut(&function).unwrap();
        seen.in_call = Some(call);
        match call {
            Call::SlotReset | Call::Restore => seen.owed = false,
            Call::Resume => seen.resumed = true,
            Call::ErrorDetected(Channel::PermFailure) => seen.perm_failures += 1,
            _ => {}
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
        assert!(self.marked.is_empty(), "EEH-I5: left marked: {:?}", self.marked);
        for (function, seen) in &self.functions {
            assert_eq!(seen.in_call, None, "{function:?}");
            if seen.out {
                assert_eq!((seen.channel, seen.interrupts), (Some(Channel::PermFailure), Some(false)));
                assert_eq!(seen.removed, self.flavour == Flavour::Eeh);
                continue;
            }
            match outcome {
                Outcome::Failed(_) => self.failed(*function, seen),
                Outcome::Recovered | Outcome::FrozenAgain => recovered(*function, seen),
                Outcome::Contained => assert!(seen.contained),
                Outcome::Gone => panic!("{function:?} is there"),
            }
        }
        if matches!(outcome, Outcome::Failed(_)) && self.flavour == Flavour::Eeh {
            assert!(self.pes.iter().all(|pe| self.removed_pes.contains(pe)), "EEH-17");
        } else {
            assert!(self.removed_pes.is_empty());
        }
    }

    fn failed(&self, function: FunctionId, seen: &Seen) {
        if self.flavour == Flavour::Eeh {
            assert!(seen.removed, "EEH-17: {function:?} stays");
        }
        if !seen.takes_part() {
            return;
        }
        // Whoever hangs in another call cannot be told.
        let aware = seen.has(Handlers::ERROR_DETECTED) && !seen.late && !seen.unbound;
        let told = seen.perm_failures == 1;
        assert!(seen.perm_failures <= 1 && (told || !aware || seen.lost), "{function:?}: {seen:?}");
        assert_eq!(seen.channel, Some(Channel::PermFailure));
        assert_eq!(seen.interrupts, Some(false), "{function:?}");
        assert_eq!(seen.uevents.last(), Some(&Uevent::Failed));
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }
}

fn recovered(function: FunctionId, seen: &Seen) {
    assert_eq!((seen.perm_failures, seen.perm_notices), (0, 0));
    assert!(!seen.removed);
    if seen.contained {
        assert!(seen.kept_contained || seen.late, "EEH-20: {function:?} was thawed with the others");
        assert_eq!((seen.channel, seen.interrupts), (None, None));
        return;
    }
    assert_ne!(seen.interrupts, Some(false), "{function:?} is left without interrupts");
    assert!(matches!(seen.channel, None | Some(Channel::Normal)), "{function:?}: {:?}", seen.channel);
    assert!(!seen.unbound, "{function:?} is left without a driver");
    assert!(!seen.quiesced || seen.resumed, "{function:?} is left quiesced");
    if seen.takes_part() && seen.told && !seen.late {
        assert!(!seen.has(Handlers::RESUME) || seen.resumed, "{function:?} was told, and not how it ended");
    }
    let notified = matches!(seen.member.role, Role::Consumer(Policy::Notify));
    let keeps_driver = seen.member.bridge && !seen.has(Handlers::ERROR_DETECTED | Handlers::SLOT_RESET);
    assert!(
        !seen.owed || seen.late || notified || keeps_driver || !seen.takes_part(),
        "reset without a word: {seen:?}"
    );
    assert!(matches!(seen.uevents.as_slice(), [] | [Uevent::Begin, Uevent::Success]), "{:?}", seen.uevents);
}

/// A plan that is watched.
pub(crate) fn step(plan: &mut Plan, checker: &mut Checker, event: Event) -> Vec<Effect> {
    let mut effects = Vec::new();
    checker.before(event);
    plan.step(event, &mut effects);
    effects.iter().for_each(|effect| checker.see(*effect));
    effects
}
