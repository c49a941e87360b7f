//! Commands of a guest's kernel: once to the platform, or as a kernel gives them, again and again while it is busy (ZP-02, ZP-03).

use super::S390;
use super::act::Site;
use crate::clock::Clock;
use crate::invariants::Invariant;
use gate::{Gone, ThreadToken};
use pci_core::{StaysClosed, Time};
use std::sync::Arc;
use std::time::Duration;
use zpci::clp::{Answer, Clp, ClpError, Code, Entry, Host, Request, Retries, SetFunction};
use zpci::{Configuration, Handle, Work, Zdev};

/// Parts of a list at most: each but the last has an entry.
const MOST_PARTS: usize = 300;

/// The time of a kernel that asks again. Only there the thread's waits are not cancelled: nothing else is done meanwhile.
#[derive(Debug)]
struct Patient(Arc<Clock>);

impl Time for Patient {
    fn now(&self) -> Duration {
        self.0.now()
    }

    fn pass(
        &self,
        token: &mut ThreadToken,
        closed: &dyn StaysClosed,
        duration: Duration,
    ) -> Result<(), Gone> {
        token.canceller().cancel();
        let passed = self.0.pass(token, closed, duration);
        token.rearm();
        passed
    }
}

/// The list of functions, from the beginning or from somewhere, and what it says.
pub(super) fn list(on: &Site<'_>, token: &mut ThreadToken) {
    let from = on.world.random.with(|random| if random.chance(1, 3) { random.bits() } else { 0 });
    let zpci = &*on.s390.zpci;
    if from > 0 {
        let somewhere = zpci.call(token, Request::List { resume: from.into() });
        on.trace(|| format!("a list from {from}: {} functions", entries(&somewhere).map_or(0, <[_]>::len)));
        return;
    }
    let mut all = Vec::new();
    let mut resume = 0;
    for _ in 0..MOST_PARTS {
        let page = zpci.call(token, Request::List { resume });
        let Ok(Answer::List(page)) = page else {
            return on.violated(Invariant::Answered, format!("a list ends with {page:?}"));
        };
        all.extend(page.entries);
        resume = page.resume;
        if resume == 0 {
            break;
        }
    }
    on.trace(|| format!("a list of {} functions", all.len()));
    let known = on.s390.zpci.list();
    let known: Vec<_> = known.iter().filter(|zdev| is_listed(zdev)).map(|zdev| facts(zdev)).collect();
    let told: Vec<_> =
        all.iter().map(|entry: &Entry| (entry.fid, entry.handle, entry.configuration)).collect();
    if known != told {
        on.violated(Invariant::Answered, format!("listed are {told:?}, and there are {known:?}"));
    }
}

fn is_listed(zdev: &Zdev) -> bool {
    zdev.configuration() != Configuration::Reserved
}

fn facts(zdev: &Zdev) -> (zpci::Fid, Handle, Configuration) {
    (zdev.fid(), zdev.handle(), zdev.configuration())
}

fn entries(answer: &Result<Answer, Code>) -> Option<&[Entry]> {
    match answer {
        Ok(Answer::List(page)) => Some(&page.entries),
        _ => None,
    }
}

/// Something is asked about a handle, or a group.
pub(super) fn query(on: &Site<'_>, token: &mut ThreadToken) {
    let slot = &on.function;
    let handle = on.some_handle(slot.zdev().handle());
    let zpci = &*on.s390.zpci;
    let known = zpci.zdev_by_handle(handle);
    match zpci.call(token, Request::QueryFunction { handle }) {
        Ok(Answer::Function(info)) if known.as_ref().is_some_and(|zdev| zdev.fid() == info.fid) => {}
        Err(Code::Handle) if known.is_none() => {}
        other => on.violated(Invariant::Answered, format!("{handle} is {known:?}, and told is {other:?}")),
    }
    let group = on.world.random.with(|random| u8::try_from(random.below(3)).unwrap_or(0));
    let answer = zpci.call(token, Request::QueryGroup { group });
    if answer.is_ok() != (group == 0) {
        on.violated(Invariant::Answered, format!("group {group}: {answer:?}"));
    }
}

/// A function is enabled or disabled, by a handle that may be of any kind.
pub(super) fn set_function(on: &Site<'_>, token: &mut ThreadToken) {
    let slot = &on.function;
    let handle = on.some_handle(slot.zdev().handle());
    let (code, spaces) = on.world.random.with(|random| (random.below(4), random.below(6)));
    let operation = u8::try_from(code).ok().and_then(SetFunction::from_code).unwrap_or(SetFunction::Enable);
    let dma_spaces = if spaces == 0 { 0 } else { 1 };
    let refusal = on.s390.refusal(handle, operation, dma_spaces);
    let known = on.s390.zpci.zdev_by_handle(handle);
    let done = on.s390.zpci.call(token, Request::SetFunction { handle, operation, dma_spaces });
    on.trace(|| format!("{operation:?} of {handle}: {done:?}"));
    let right = match (&done, refusal) {
        (Ok(Answer::Set { handle: now }), None) => {
            let enables = operation == SetFunction::Enable;
            let changes = enables || operation == SetFunction::Disable;
            known.is_some_and(|zdev| zdev.handle() == *now)
                && if changes { *now != handle && now.is_enabled() == enables } else { *now == handle }
        }
        // Handles of an index may be used up.
        (Err(Code::Resources), None) => on.s390.zpci.settings().generation_bits < 19,
        (Err(code), Some(refusal)) => *code == refusal,
        _ => false,
    };
    if !right {
        let detail = format!("{operation:?} of {handle}: {done:?} instead of {refusal:?}");
        on.violated(Invariant::Answered, detail);
    }
}

impl S390 {
    /// Why a function is not enabled or disabled, by what it is now.
    fn refusal(&self, handle: Handle, operation: SetFunction, dma_spaces: u8) -> Option<Code> {
        let Some(zdev) = self.zpci.zdev_by_handle(handle) else { return Some(Code::Handle) };
        match zdev.work() {
            Some(Work::Recovery) => return Some(Code::RecoveryPending),
            Some(_) => return Some(Code::Busy),
            None => {}
        }
        let Some(view) = zdev.view() else { return Some(Code::HandleForOperation) };
        let enabled = handle.is_enabled();
        match operation {
            SetFunction::Enable if view.has_failed() => Some(Code::PermanentError),
            SetFunction::Enable if enabled => Some(Code::Already),
            SetFunction::Enable if dma_spaces != 1 => Some(Code::DmaSpaces),
            SetFunction::Disable if !enabled => Some(Code::Already),
            SetFunction::Enable | SetFunction::Disable => None,
            _ if !enabled => Some(Code::HandleForOperation),
            SetFunction::EnableMio if view.has_failed() => Some(Code::PermanentError),
            SetFunction::EnableMio if view.is_mio_enabled() => Some(Code::Already),
            SetFunction::DisableMio if !view.is_mio_enabled() => Some(Code::Already),
            SetFunction::EnableMio | SetFunction::DisableMio => None,
        }
    }
}

/// A kernel enables or disables a function, and asks again while the platform is busy.
pub(super) fn host(on: &Site<'_>, token: &mut ThreadToken) {
    let slot = &on.function;
    let handle = on.some_handle(slot.zdev().handle());
    let (enables, mio) = on.world.random.with(|random| (random.coin(), random.coin()));
    let platform: Arc<dyn Clp> = on.s390.zpci.clone();
    let retries = Retries::default();
    let most = retries.pause * retries.tries;
    let host = Host::new(platform, Arc::new(Patient(on.world.clock.clone())), retries);
    let fid = slot.zdev().fid();
    on.trace(|| format!("a kernel {} {fid}, {handle}", if enables { "enables" } else { "disables" }));
    let (done, own) = on.world.as_operator_timed(|| {
        token.rearm();
        let done = if enables {
            host.enable(token, handle, mio).map(|_| ())
        } else {
            host.disable(token, fid, handle).map(|_| ())
        };
        token.canceller().cancel();
        done
    });
    on.trace(|| format!("it is told {done:?}"));
    // Each of the commands on the way may find it busy.
    on.world.check_own_time(on.slot, "a command", own, most * 3);
    if done == Err(ClpError::Nonsense) {
        on.violated(Invariant::Answered, format!("a kernel that asked for {handle} cannot go on"));
    }
}
