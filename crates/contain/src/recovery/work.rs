//! What a recovery does: pieces of work, each with everything that it needs and at most one call of foreign code.

use super::area::{Area, Candidate};
use super::desk::ResetOrder;
use super::retired::Watched;
use super::seats::Seat;
use super::{Recovery, gates};
use crate::containment::{End, Frozen};
use crate::party::{Party, Reply};
use crate::pe::Held;
use crate::plan::{Answer, Call, Channel, FunctionId, Queried, Reset, Thaw, Traffic};
use crate::platform::{CloseFunctionsError, ResetRequest};
use crate::report::Log;
use crate::tree::{Claim, Marked, PeFunction};
use crate::watch::Told;
use gate::{Closed, Deadline, ThreadToken};
use std::sync::Arc;
use std::time::Duration;

/// A gate that is closed.
pub(super) struct Parked {
    pub(super) function: Arc<PeFunction>,
    pub(super) closed: Closed,
}

pub(super) type Functions = Arc<[Arc<PeFunction>]>;

/// Why it is to be found out who has a function.
#[derive(Clone)]
pub(super) enum Asking {
    /// The recovery begins.
    First(Candidate),
    /// It came when the recovery was under way.
    Added(Arc<PeFunction>),
    /// Somebody else is said to have it.
    Bound(Arc<PeFunction>),
}

impl Asking {
    pub(super) fn id(&self) -> FunctionId {
        self.function().id
    }

    fn function(&self) -> &Arc<PeFunction> {
        match self {
            Asking::First(candidate) => &candidate.function,
            Asking::Added(function) | Asking::Bound(function) => function,
        }
    }
}

/// Who has a function, as he says himself.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) party: Arc<dyn Party>,
    pub(super) role: crate::plan::Role,
    pub(super) needs_fundamental_reset: bool,
}

/// A piece of work.
pub(super) enum Work {
    Discard(Vec<Box<dyn Send>>),
    Ask(Asking),
    Sit(Asking, Asked),
    Look(Functions),
    Tell(Told),
    Interrupts {
        function: Arc<PeFunction>,
        party: Arc<dyn Party>,
        held: bool,
    },
    Notify {
        id: FunctionId,
        party: Arc<dyn Party>,
        channel: Channel,
    },
    Call {
        id: FunctionId,
        party: Arc<dyn Party>,
        call: Call,
        number: u64,
        reply: Reply,
    },
    Keep(Arc<Frozen>, FunctionId),
    /// Freezes one function alone, which stays so when the others are thawed.
    TakeOut(Arc<PeFunction>, Option<Arc<Frozen>>),
    /// Waits until no I/O has memory any more that its consumer has taken away.
    Drain {
        id: FunctionId,
        party: Arc<dyn Party>,
        until: Duration,
    },
    /// Freezes everything again, and lets go of gates.
    Refreeze(Option<Arc<Frozen>>, Vec<Parked>),
    Thaw(Traffic, Functions),
    LetIn(Traffic, Functions, Option<Arc<Frozen>>),
    Query(Functions),
    Close {
        missing: Vec<Arc<PeFunction>>,
        waits: bool,
        until: Duration,
        purpose: ClosedFor,
    },
    Reset {
        how: Reset,
        functions: Functions,
        parked: Vec<Parked>,
    },
    RestoreConfig {
        functions: Functions,
        parked: Vec<Parked>,
    },
    Unfreeze(Functions),
    Open(Functions, Option<Arc<Frozen>>, Vec<Parked>),
    ClearErrorStatus(Functions),
    Remove(Arc<PeFunction>),
    Log(Log, Functions),
    /// By then it is to be quiet.
    Quiesce(Arc<PeFunction>, Duration),
    Save(Parked),
    Restore(Parked, Arc<[u8]>),
    /// Reopens a model's gate, and lets through what its model has asserted before.
    Resume(Option<Arc<dyn Party>>, FunctionId, Option<Parked>),
    LetGo(Box<Holdings>),
    End(End),
}

/// Everything that a recovery has.
pub(super) struct Holdings {
    pub(super) functions: Functions,
    pub(super) parked: Vec<Parked>,
    pub(super) marked: Marked,
    pub(super) pes: Vec<Held>,
    pub(super) seats: Vec<Seat>,
    pub(super) claim: Option<Claim>,
}

/// What gates are closed for.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClosedFor {
    Save(FunctionId),
    Reset(ResetOrder),
}

/// What a piece of work was for: what is left of it at the desk while it is done.
pub(super) enum Purpose {
    Nothing,
    Ask(Asking),
    Look,
    Log(Log),
    Call(u64),
    Interrupts(FunctionId),
    Model(FunctionId, Call),
    Drain,
    Thaw(Traffic),
    LetIn(Traffic),
    Query,
    Close { waited: bool, purpose: ClosedFor },
    Reset,
    RestoreConfig,
    Unfreeze,
    Open,
}

/// Whose method a piece of work calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Nobody else's.
    Own,
    Platform,
    Parties,
    Party(FunctionId),
    Model(FunctionId),
    Watch,
    Front,
}

/// What came out of a piece of work.
pub(super) enum Done {
    Nothing,
    /// The function is not where it was any more.
    NotThere,
    Asked(Asked),
    Seated(Box<Seat>),
    Present(bool),
    Drained(bool),
    Logged(String),
    /// What a model answered, if it did not panic, and its gate, still closed.
    Model {
        answer: Option<Answer>,
        saved: Option<Arc<[u8]>>,
        parked: Option<Parked>,
    },
    Thawed(Thaw),
    State(Queried),
    Closed(Result<Vec<Parked>, CloseFunctionsError>),
    /// Gates go through a reset closed; and whether it worked.
    Hardware(bool, Vec<Parked>),
}

impl Work {
    pub(super) fn purpose(&self) -> Purpose {
        match self {
            Work::Ask(asking) => Purpose::Ask(asking.clone()),
            Work::Sit(asking, _) => Purpose::Ask(asking.clone()),
            Work::Look(_) => Purpose::Look,
            Work::Log(log, _) => Purpose::Log(*log),
            Work::Call { number, .. } => Purpose::Call(*number),
            Work::Interrupts { function, .. } => Purpose::Interrupts(function.id),
            Work::Drain { .. } => Purpose::Drain,
            Work::Quiesce(function, _) => Purpose::Model(function.id, Call::Quiesce),
            Work::Save(parked) => Purpose::Model(parked.function.id, Call::Save),
            Work::Restore(parked, _) => Purpose::Model(parked.function.id, Call::Restore),
            Work::Resume(_, id, _) => Purpose::Model(*id, Call::Resume),
            Work::Thaw(traffic, _) => Purpose::Thaw(*traffic),
            Work::LetIn(traffic, ..) => Purpose::LetIn(*traffic),
            Work::Query(_) => Purpose::Query,
            Work::Close { waits, purpose, .. } => Purpose::Close { waited: *waits, purpose: *purpose },
            Work::Reset { .. } => Purpose::Reset,
            Work::RestoreConfig { .. } => Purpose::RestoreConfig,
            Work::Unfreeze(_) => Purpose::Unfreeze,
            Work::Open(..) => Purpose::Open,
            _ => Purpose::Nothing,
        }
    }

    /// Whose method it calls, and which.
    pub(super) fn callee(&self) -> (Who, &'static str) {
        match self {
            Work::Ask(_) => (Who::Parties, "of"),
            Work::Look(_) => (Who::Platform, "is_present"),
            Work::Tell(_) => (Who::Watch, "tell"),
            Work::Interrupts { function, .. } => (Who::Party(function.id), "hold_interrupts"),
            Work::Notify { id, .. } => (Who::Party(*id), "notify"),
            Work::Call { id, .. } => (Who::Party(*id), "call"),
            Work::Drain { id, .. } => (Who::Party(*id), "drained"),
            Work::Thaw(..) => (Who::Platform, "thaw"),
            Work::Query(_) => (Who::Platform, "state"),
            Work::Reset { .. } => (Who::Platform, "reset"),
            Work::RestoreConfig { .. } => (Who::Platform, "restore_config"),
            Work::Unfreeze(_) => (Who::Platform, "unfreeze"),
            Work::ClearErrorStatus(_) => (Who::Platform, "clear_error_status"),
            Work::Remove(_) => (Who::Platform, "remove"),
            Work::Log(..) => (Who::Platform, "log"),
            Work::Save(parked) => (Who::Model(parked.function.id), "save"),
            Work::Restore(parked, _) => (Who::Model(parked.function.id), "restore"),
            Work::End(_) => (Who::Front, "ended"),
            Work::Discard(_) => (Who::Own, "discard"),
            Work::Sit(..) => (Who::Own, "sit"),
            Work::Keep(..) => (Who::Own, "keep"),
            Work::TakeOut(..) | Work::Refreeze(..) => (Who::Own, "freeze"),
            Work::LetIn(..) => (Who::Own, "let in"),
            Work::Close { .. } => (Who::Own, "close"),
            Work::Open(..) => (Who::Own, "open"),
            Work::Quiesce(..) => (Who::Own, "quiesce"),
            Work::Resume(..) => (Who::Own, "resume"),
            Work::LetGo(_) => (Who::Own, "let go"),
        }
    }

    /// Does it, within the deadline as far as it is ours.
    pub(super) fn run(self, recovery: &Recovery, token: &mut ThreadToken, deadline: Deadline) -> Done {
        match self {
            Work::Ask(asking) => ask(recovery, token, &asking),
            Work::Sit(asking, asked) => sit(recovery, token, asking, asked),
            Work::Close { missing, waits, .. } => gates::close(token, &missing, waits, deadline),
            Work::Drain { party, .. } => Done::Drained(party.drained(token, deadline)),
            Work::Quiesce(function, _) => gates::quiesce(token, &function, deadline),
            Work::Save(parked) => gates::save(token, parked),
            Work::Restore(parked, state) => gates::restore(token, parked, &state),
            Work::Resume(party, _, parked) => gates::resume(token, party.as_deref(), parked, deadline),
            hardware @ (Work::Look(_)
            | Work::Thaw(..)
            | Work::Query(_)
            | Work::Reset { .. }
            | Work::RestoreConfig { .. }
            | Work::Unfreeze(_)
            | Work::Log(..)) => hardware.ask_platform(recovery, token, deadline),
            order => {
                order.carry_out(recovery, token, deadline);
                Done::Nothing
            }
        }
    }

    /// What the platform has an answer to.
    fn ask_platform(self, recovery: &Recovery, token: &mut ThreadToken, deadline: Deadline) -> Done {
        let (platform, pe) = (&recovery.parts.platform, &recovery.pe);
        match self {
            Work::Look(functions) => Done::Present(platform.is_present(token, &functions)),
            Work::Thaw(traffic, functions) => Done::Thawed(platform.thaw(token, pe, &functions, traffic)),
            Work::Query(functions) => Done::State(platform.state(token, pe, &functions)),
            Work::Reset { how, functions, parked } => {
                let request = ResetRequest { pe, functions: &functions, how };
                gates::through(parked, |closed| platform.reset(token, &request, closed, deadline))
            }
            Work::RestoreConfig { functions, parked } => gates::through(parked, |closed| {
                platform.restore_config(token, pe, &functions, closed, deadline)
            }),
            Work::Unfreeze(functions) => Done::Hardware(platform.unfreeze(token, pe, &functions), Vec::new()),
            Work::Log(log, functions) => Done::Logged(platform.log(token, pe, &functions, log)),
            _ => Done::Nothing,
        }
    }

    /// What nobody answers.
    fn carry_out(self, recovery: &Recovery, token: &mut ThreadToken, deadline: Deadline) {
        let parts = &recovery.parts;
        match self {
            Work::Tell(told) => parts.watch.tell(&told),
            Work::Interrupts { function, party, held } => {
                party.hold_interrupts(token, held, deadline);
                // What signals while interrupts are held back is not heard, so DMA comes after them.
                if !held {
                    function.function.release_dma(token);
                }
            }
            Work::Notify { party, channel, .. } => party.notify(token, channel),
            Work::Call { party, call, reply, .. } => party.call(token, call, reply),
            Work::Keep(frozen, id) => frozen.keep(id),
            Work::TakeOut(function, frozen) => gates::take_out(&function, frozen.as_deref()),
            Work::Refreeze(frozen, parked) => {
                if let Some(frozen) = frozen {
                    frozen.again(&recovery.tree.snapshot(token));
                }
                drop(parked);
            }
            Work::LetIn(traffic, functions, frozen) => {
                gates::let_in(token, &functions, traffic, frozen.as_deref());
            }
            Work::Open(functions, frozen, others) => {
                gates::open(token, &functions, frozen.as_deref(), others);
            }
            Work::ClearErrorStatus(functions) => {
                parts.platform.clear_error_status(token, &recovery.pe, &functions);
            }
            Work::Remove(function) => parts.platform.remove(token, &function),
            Work::LetGo(holdings) => holdings.let_go(recovery, token, deadline),
            Work::End(end) => recovery.ended.ended(recovery.id, end),
            Work::Discard(rubbish) => gates::discard(rubbish),
            _ => {}
        }
    }
}

/// Who has a function. It may have left the tree, or come to another PE.
fn ask(recovery: &Recovery, token: &mut ThreadToken, asking: &Asking) -> Done {
    let party = recovery.parts.parties.of(token, asking.function());
    let (role, needs_fundamental_reset) = (party.role(), party.needs_fundamental_reset());
    Done::Asked(Asked { party, role, needs_fundamental_reset })
}

fn sit(recovery: &Recovery, token: &ThreadToken, asking: Asking, asked: Asked) -> Done {
    let candidate = match asking {
        Asking::First(candidate) => Some(candidate),
        Asking::Added(function) => {
            Area::find(&recovery.tree.snapshot(token), recovery.pe.address(), &function)
        }
        Asking::Bound(_) => None,
    };
    let Some(candidate) = candidate else { return Done::NotThere };
    let watched = Watched::new(&recovery.me, &candidate.function);
    Done::Seated(Box::new(Seat::new(candidate, asked, watched)))
}

impl Holdings {
    /// Gates and marks first, the claim last: whoever claims the PE next finds it as it stays.
    fn let_go(self, recovery: &Recovery, token: &mut ThreadToken, deadline: Deadline) {
        let Holdings { functions, parked, marked, pes, seats, claim } = self;
        for function in functions.iter() {
            function.function.config().hold_dma(false);
        }
        drop(parked);
        drop((marked, pes));
        gates::discard(seats);
        drop(functions);
        // Whoever changes the tree next does it otherwise.
        let _collected_later = recovery.tree.collect(token, deadline);
        drop(claim);
    }
}
