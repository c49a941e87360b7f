//! Looking at recoveries that have ended.

use super::case::{Case, Stage};
use super::{Containment, End, Ended, Left, Then};
use crate::pe::{Held, PeState};
use crate::plan::{Flavour, PeId};
use crate::report::Outcome;
use crate::watch::Told;
use gate::ThreadToken;

/// What becomes of a PE whose recovery has ended.
enum Next {
    /// It goes on.
    Thaw,
    /// It has another error, which is recovered from in its turn.
    Again,
    /// It stays frozen.
    Stay(Left),
}

impl Containment {
    /// Looks at one that has ended.
    pub(super) fn collect(&self, token: &mut ThreadToken, pe: PeId) {
        let frozen = self.cases.lock().of.get(&pe).and_then(|case| case.frozen.clone());
        if let Some(frozen) = frozen {
            frozen.forget_gone();
        }
        let Some((end, next, ended)) = self.look_at_end(pe) else { return };
        self.tell_end(&ended, end);
        match next {
            Next::Thaw => self.forget(pe),
            Next::Again => self.reopen(token, pe),
            Next::Stay(_) => {}
        }
        // Who waits for one of these finds the PE as it is to be.
        for ended in ended {
            self.history.push(ended);
        }
        self.cases.lock().retry = true;
        self.drop_removed();
    }

    fn look_at_end(&self, pe: PeId) -> Option<(End, Next, Vec<Ended>)> {
        let mut cases = self.cases.lock();
        let case = cases.of.get_mut(&pe)?;
        let Stage::Ended(end) = case.stage else { return None };
        let next = next(case, end.outcome);
        case.stage = match next {
            Next::Stay(left) => Stage::Left(left),
            Next::Thaw | Next::Again => Stage::Busy,
        };
        let ended = Ended {
            id: case.id,
            pe: case.pe.address(),
            sign: case.cause.sign,
            function: case.cause.function.map(|(_, at)| at),
            since: case.since,
            pause: end.pause,
            outcome: end.outcome,
            resets: end.resets,
        };
        let also = std::mem::take(&mut case.also);
        let all = [case.id].into_iter().chain(also).map(|id| Ended { id, ..ended }).collect();
        Some((end, next, all))
    }

    fn tell_end(&self, ended: &[Ended], end: End) {
        let watch = &self.parts.watch;
        self.counts.slot_resets.add(end.resets);
        match end.outcome {
            Outcome::Recovered | Outcome::FrozenAgain => self.counts.recovered.one(),
            Outcome::Failed(_) => self.counts.failed.one(),
            Outcome::Contained => self.counts.passed_through.one(),
            Outcome::Gone => {}
        }
        for ended in ended {
            let Ended { id, pe, outcome, pause, resets, .. } = *ended;
            watch.tell(&Told::Ended { id, pe, outcome, pause, resets });
        }
        if let (Outcome::Failed(doom), Some(ended)) = (end.outcome, ended.first()) {
            watch.tell(&Told::PermanentFailure { pe: ended.pe, doom });
        }
    }

    /// The incident is over.
    fn forget(&self, pe: PeId) {
        let case = self.cases.lock().of.remove(&pe);
        // An error that was noticed since has a sign of its own, which nobody has taken up yet.
        if let Some(case) = case {
            self.thawed(&case);
        }
    }

    /// Gives back what the freeze of an incident has contained.
    pub(super) fn thawed(&self, case: &Case) {
        let Some(frozen) = &case.frozen else { return };
        // The recovery has done so already, if it has come to that.
        if !frozen.is_thawed() || frozen.keeps_some() {
            frozen.thaw_all();
        }
        // It may have been frozen anew since this was taken from the list.
        let anew = self.cases.lock().of.get(&case.pe.id()).and_then(|case| case.frozen.clone());
        if let Some(anew) = anew {
            anew.show_isolated();
        }
        self.parts.watch.tell(&Told::Thawed { pe: case.pe.address() });
    }

    /// Another error of the same PE, which counts against its budget (EEH-10).
    fn reopen(&self, token: &mut ThreadToken, pe: PeId) {
        let found = {
            let mut cases = self.cases.lock();
            let Some(case) = cases.of.get_mut(&pe) else { return };
            // As if it had been left frozen, which another error may follow.
            case.stage = Stage::Left(Left::Contained);
            (case.pe.clone(), case.cause, case.doom)
        };
        let (pe, mut cause, doom) = found;
        cause.flavour = Flavour::Eeh;
        let then = if doom.is_some() { Then::RecoverNow } else { Then::Recover };
        let _opened = self.open(token, &pe, cause, then, doom);
    }

    /// Forgets PEs that stay frozen and were removed: there is nothing to thaw.
    pub(crate) fn drop_removed(&self) {
        let removed: Vec<Case> = {
            let mut cases = self.cases.lock();
            let is_removed = |case: &Case| {
                let left = matches!(case.stage, Stage::Left(_));
                left && case.pe.state().contains(PeState::INVALID)
            };
            let of: Vec<PeId> =
                cases.of.iter().filter(|(_, case)| is_removed(case)).map(|(pe, _)| *pe).collect();
            of.into_iter().filter_map(|pe| cases.of.remove(&pe)).collect()
        };
        for case in removed {
            if let Some(frozen) = &case.frozen {
                frozen.thaw_all();
            }
        }
    }

    /// Forgets incidents whose kept functions have all left.
    pub(crate) fn drop_let_go(&self, above: &[Held]) {
        let over: Vec<Case> = {
            let mut cases = self.cases.lock();
            let is_over = |id: &PeId| cases.of.get(id).is_some_and(Case::is_let_go);
            let ids: Vec<PeId> = above.iter().map(|pe| pe.id()).filter(is_over).collect();
            ids.into_iter().filter_map(|pe| cases.of.remove(&pe)).collect()
        };
        for case in over {
            self.thawed(&case);
        }
    }

    /// Warns of removed PEs that are held for too long, once of each.
    pub(super) fn warn(&self) {
        let orphans: Vec<_> = self.orphans().into_iter().filter(|orphan| orphan.overdue).collect();
        let new: Vec<_> = {
            let mut warned = self.warned.lock();
            warned.retain(|id| orphans.iter().any(|orphan| orphan.id == *id));
            let new: Vec<_> = orphans.into_iter().filter(|orphan| !warned.contains(&orphan.id)).collect();
            warned.extend(new.iter().map(|orphan| orphan.id));
            new
        };
        for orphan in new {
            self.parts.watch.tell(&Told::Orphan(orphan));
        }
    }
}

fn next(case: &Case, outcome: Outcome) -> Next {
    let isolated = case.pe.state().contains(PeState::ISOLATED);
    match outcome {
        Outcome::FrozenAgain => Next::Again,
        // The error, or the news that there is no way back, came after the recovery had looked for the last time.
        Outcome::Recovered if isolated || case.doom.is_some() => Next::Again,
        Outcome::Recovered if case.frozen.as_ref().is_some_and(|frozen| frozen.keeps_some()) => {
            Next::Stay(Left::Contained)
        }
        Outcome::Recovered | Outcome::Gone => Next::Thaw,
        Outcome::Contained => Next::Stay(Left::Contained),
        Outcome::Failed(doom) => Next::Stay(Left::Failed(doom)),
    }
}
