//! Beginning recoveries: one for each PE, parents before children (EEH-I7).

use super::case::{Case, Stage};
use super::{Containment, End, News, OnEnd, RecoveryId, Running, Start};
use crate::pe::{Held, Holder, PeAddress};
use crate::plan::{FunctionId, PeId};
use crate::report::{Doom, Outcome};
use crate::tree::{Claim, ClaimError, PeFunction, PendingClaim, Snapshot, TryClaimed};
use gate::ThreadToken;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Containment {
    /// Claims a PE whose recovery is due.
    pub(super) fn begin_due(&self, token: &mut ThreadToken, pe: PeId) {
        let address = {
            let mut cases = self.cases.lock();
            let Some(case) = cases.of.get_mut(&pe).filter(|case| matches!(case.stage, Stage::Due)) else {
                return;
            };
            case.stage = Stage::Busy;
            case.pe.address()
        };
        let claimed = self.tree.try_claim(token, address);
        self.claimed(token, pe, claimed);
    }

    /// Tries those again that wait for the end of others.
    pub(super) fn try_waiting(&self, token: &mut ThreadToken) {
        let waiting: Vec<PeId> = {
            let cases = self.cases.lock();
            let waits = |case: &Case| matches!(case.stage, Stage::Waiting(_));
            cases.of.iter().filter(|(_, case)| waits(case)).map(|(pe, _)| *pe).collect()
        };
        for pe in waiting {
            let (address, stage) = {
                let mut cases = self.cases.lock();
                let Some(address) = cases.of.get(&pe).map(|case| case.pe.address()) else { continue };
                (address, cases.take_stage(pe))
            };
            let claimed = match stage {
                Some(Stage::Waiting(Some(pending))) => pending.try_ready(token),
                Some(Stage::Waiting(None)) => self.tree.try_claim(token, address),
                Some(stage) => {
                    self.set_stage(pe, stage);
                    continue;
                }
                None => continue,
            };
            self.claimed(token, pe, claimed);
        }
    }

    fn claimed(&self, token: &mut ThreadToken, pe: PeId, claimed: Result<TryClaimed, ClaimError>) {
        match claimed {
            // It was removed, and another one is in its place (law 5).
            Ok(TryClaimed::Mine(claim)) if claim.pe().id() != pe => self.gone(pe),
            Ok(TryClaimed::Below(pending)) if pending.pe().id() != pe => self.gone(pe),
            Ok(TryClaimed::Mine(claim)) => self.begin(token, pe, claim),
            Ok(TryClaimed::Below(pending)) => self.wait_below(pe, Some(pending)),
            Ok(TryClaimed::Joined(joined)) => self.merge(token, pe, joined.id()),
            Err(ClaimError::NoPe(_)) => self.gone(pe),
        }
    }

    fn wait_below(&self, pe: PeId, pending: Option<PendingClaim>) {
        self.set_stage(pe, Stage::Waiting(pending));
    }

    fn set_stage(&self, pe: PeId, stage: Stage) {
        let unused = match self.cases.lock().of.get_mut(&pe) {
            Some(case) => {
                case.stage = stage;
                None
            }
            None => Some(stage),
        };
        // Not under the lock: a claim that is given up takes one.
        drop(unused);
    }

    /// A recovery above has the PE, which is frozen with it: the error is that one's (EEH-07).
    fn merge(&self, token: &mut ThreadToken, pe: PeId, above: PeId) {
        let snapshot = self.tree.snapshot(token);
        let Some(address) = self.cases.lock().of.get(&pe).map(|case| case.pe.address()) else { return };
        let chain: Vec<PeId> = snapshot.up(address).map(crate::pe::Pe::id).collect();
        if chain.first() != Some(&pe) {
            return self.gone(pe);
        }
        let (merged, frozen, running) = {
            let mut cases = self.cases.lock();
            // That of a PE which was removed, and in whose place this one is, ends without it.
            let is_above = above != pe && chain.contains(&above);
            let covers = is_above && cases.of.get(&above).is_some_and(Case::covers);
            let merged = if covers { cases.of.remove(&pe) } else { None };
            match (merged, cases.of.get_mut(&above)) {
                (Some(merged), Some(case)) => {
                    case.remember(&merged);
                    (merged, case.frozen.clone(), case.running())
                }
                // It has frozen nothing, or has ended by now.
                _ => {
                    drop(cases);
                    self.wait_below(pe, None);
                    return;
                }
            }
        };
        super::check::freeze_again(&snapshot, frozen, running);
        // After that: nothing of it was open in between.
        if let Some(frozen) = &merged.frozen {
            frozen.thaw_all();
        }
        self.counts.joined.one();
    }

    fn begin(&self, token: &mut ThreadToken, pe: PeId, claim: Claim) {
        let Some(ended) = self.me.upgrade() else { return };
        let snapshot = self.tree.snapshot(token);
        let start = {
            let mut cases = self.cases.lock();
            let Some(case) = cases.of.get(&pe) else { return };
            let start = Start {
                id: case.id,
                tree: self.tree.clone(),
                snapshot: snapshot.clone(),
                claim,
                frozen: case.frozen.clone(),
                flavour: case.cause.flavour,
                within_budget: !case.spent.exceeded,
                doom: case.doom,
                parts: self.parts.clone(),
                ended,
            };
            cases.begun.insert(start.id);
            start
        };
        let (id, doom, address) = (start.id, start.doom, start.claim.pe().address());
        self.counts.recoveries.one();
        let running = self.recoveries.begin(token, start);
        let doomed = self.runs(pe, id, &running);
        if let Some(doom) = doomed.filter(|_| doom.is_none()) {
            running.post(News::Doomed(doom));
        }
        // Who came or went before the recovery was known here could not be told.
        tell_changes(&snapshot, &self.tree.snapshot(token), address, &running);
    }

    /// Makes a recovery known, and says whether there is no way back by now.
    fn runs(&self, pe: PeId, id: RecoveryId, running: &Arc<dyn Running>) -> Option<Doom> {
        let mut cases = self.cases.lock();
        let case = cases.of.get_mut(&pe).filter(|case| case.id == id)?;
        // It may have ended already.
        if matches!(case.stage, Stage::Busy) {
            case.stage = Stage::Running(running.clone());
        }
        case.doom
    }

    /// The PE was removed before its recovery began.
    fn gone(&self, pe: PeId) {
        let mut cases = self.cases.lock();
        if let Some(case) = cases.of.get_mut(&pe) {
            case.stage = Stage::Ended(End { outcome: Outcome::Gone, resets: 0, pause: Duration::ZERO });
            cases.ended.push_back(pe);
        }
    }
}

impl OnEnd for Containment {
    fn ended(&self, id: RecoveryId, end: End) {
        let before = {
            let mut cases = self.cases.lock();
            let made_room = cases.begun.remove(&id);
            let Some((pe, case)) = cases.by_id(id) else {
                drop(cases);
                if made_room {
                    self.detector.raise();
                }
                return;
            };
            let before = std::mem::replace(&mut case.stage, Stage::Ended(end));
            cases.ended.push_back(pe);
            before
        };
        // Not under the lock: it may be the last reference to the recovery.
        drop(before);
        self.detector.raise();
    }
}

/// Tells a recovery what came and went below `root` between two pictures.
fn tell_changes(before: &Arc<Snapshot>, after: &Arc<Snapshot>, root: PeAddress, running: &Arc<dyn Running>) {
    if Arc::ptr_eq(before, after) {
        return;
    }
    let (mut old_pes, mut old) = contents(before, root);
    let (new_pes, new) = contents(after, root);
    for (id, pe) in new_pes {
        if old_pes.remove(&id).is_none() {
            running.post(News::PeAdded(pe));
        }
    }
    for (id, function) in new {
        if old.remove(&id).is_none() {
            running.post(News::Added(function));
        }
    }
    for id in old.into_keys() {
        running.post(News::Removed(id));
    }
}

type Contents = (BTreeMap<PeId, Held>, BTreeMap<FunctionId, Arc<PeFunction>>);

fn contents(snapshot: &Snapshot, root: PeAddress) -> Contents {
    let mut contents = Contents::default();
    for visit in snapshot.walk(root) {
        contents.0.insert(visit.pe().id(), visit.hold(Holder::Event));
        let functions = snapshot.functions(visit.pe().address());
        contents.1.extend(functions.map(|function| (function.id, function.clone())));
    }
    contents
}
