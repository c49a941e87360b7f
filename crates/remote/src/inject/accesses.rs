//! The tap on a consumer's accesses.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use gate::waits::Waiting;
use gate::{Deadline, ThreadToken, Wake};
use pci_core::{ReadVerdict, Tap, TapAt, WriteVerdict};

use super::fields::Place;
use super::kind::{Kind, Target};
use super::plan::{Access, Hit};
use super::shared::Shared;

/// How often a slow read looks whether its thread's waits were cancelled, which wakes nobody here.
const LOOK: Duration = Duration::from_millis(100);

/// Sits between a function's consumers and its gate.
pub(super) struct Accesses(pub(super) Arc<Shared>);

impl Tap for Accesses {
    fn read(&self, token: &mut ThreadToken, at: TapAt, offset: u64, length: usize) -> ReadVerdict {
        let Accesses(shared) = self;
        if !shared.concerns(&[Target::Read, Target::BackEnd]) {
            return ReadVerdict::Pass;
        }
        let access = access(at, offset, length);
        let decision = shared.ask(|state, now| state.plan.read(now, access));
        if let Some(hit) = decision.back_end {
            shared.strike(hit);
        }
        if let Some(hit) = decision.slow {
            shared.linger(token, hit);
        }
        match decision.answer.map(|hit| hit.kind) {
            Some(Kind::ReadFail) => ReadVerdict::Fail,
            Some(Kind::ReadOnes) => ReadVerdict::AllOnes,
            _ => ReadVerdict::Pass,
        }
    }

    fn write(&self, _token: &mut ThreadToken, at: TapAt, offset: u64, data: &[u8]) -> WriteVerdict {
        let Accesses(shared) = self;
        if !shared.concerns(&[Target::Write, Target::BackEnd]) {
            return WriteVerdict::Pass;
        }
        let access = access(at, offset, data.len());
        let decision = shared.ask(|state, now| state.plan.write(now, access));
        if let Some(hit) = decision.back_end {
            shared.strike(hit);
        }
        match decision.answer.map(|hit| hit.kind) {
            Some(Kind::WriteDrop) => WriteVerdict::Drop,
            Some(Kind::WriteDuplicate) => WriteVerdict::Twice,
            _ => WriteVerdict::Pass,
        }
    }
}

fn access(at: TapAt, offset: u64, length: usize) -> Access {
    let place = match at {
        TapAt::Config => Place::Config,
        TapAt::Bar(bar) => Place::Bar(bar.get()),
        // There are never so many that the last number would be taken for another's.
        TapAt::Own(nth) => Place::Own(u8::try_from(nth).unwrap_or(u8::MAX)),
    };
    Access { place, offset, len: u64::try_from(length).unwrap_or(u64::MAX) }
}

impl Shared {
    /// Waits as long as a hit says: until then, or until nobody needs that any more.
    fn linger(self: &Arc<Self>, token: &mut ThreadToken, hit: Hit) {
        let end = Deadline::after(hit.delay);
        let port = self.port.get().and_then(Weak::upgrade);
        let handle = port.as_ref().map(|port| port.handle());
        let _subscription = handle.map(|handle| handle.subscribe(Arc::new(Removal(Arc::downgrade(self)))));
        let _waiting = Waiting::new(token, "slow read (injected)", None, "its delay to pass");
        let mut state = self.state.lock();
        while state.plan.has(hit.id)
            && end.remaining().is_some()
            && !token.is_cancelled()
            && !handle.is_some_and(gate::Handle::is_gone)
        {
            let until = end.instant().min(Instant::now() + LOOK);
            (state, _) = self.changed.wait(state, token, Deadline::at(until));
        }
    }
}

/// Wakes slow reads of a function that is removed.
struct Removal(Weak<Shared>);

impl Wake for Removal {
    fn wake(&self) {
        let Some(shared) = self.0.upgrade() else { return };
        // Who has looked and does not wait yet is let go on to wait.
        drop(shared.state.lock());
        shared.changed.notify_all();
    }
}
