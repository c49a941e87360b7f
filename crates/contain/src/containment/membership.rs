//! Functions and PEs that come and go while their PE is frozen or recovered.

use super::{Containment, News};
use crate::pe::{Held, Holder, PeAddress};
use crate::tree::{PeFunction, Snapshot};
use gate::ThreadToken;
use std::sync::Arc;

impl Containment {
    /// A function is in a PE now: it is contained if that is frozen, itself or with one above, and a recovery is told of it. Who
    /// freezes a PE makes that known first and looks at the tree then, so one of the two sees the other.
    pub(crate) fn function_came(&self, token: &mut ThreadToken, at: PeAddress, function: &Arc<PeFunction>) {
        let above: Vec<Held> = self.tree.snapshot(token).up_held(at, Holder::Lookup).collect();
        let freezes = self.with_cases_above(&above, |case| case.frozen.clone());
        for frozen in &freezes {
            frozen.joined_by(function);
        }
        for running in self.with_cases_above(&above, |case| case.running()) {
            running.post(News::Added(function.clone()));
        }
        // What is frozen does not answer; its configuration is looked at when it does.
        if !freezes.iter().any(|frozen| !frozen.is_thawed()) {
            self.parts.platform.arrived(token, function);
        }
    }

    /// A function has left the PE that it was in.
    pub(crate) fn function_went(&self, token: &mut ThreadToken, above: &[Held], function: &Arc<PeFunction>) {
        for running in self.with_cases_above(above, |case| case.running()) {
            running.post(News::Removed(function.id));
        }
        for frozen in self.with_cases_above(above, |case| case.frozen.clone()) {
            let _was_contained = frozen.let_go(function.id);
        }
        self.drop_let_go(above);
        self.aer().forget(function.id);
        self.parts.platform.left(token, function.id);
    }

    /// A function is, with its PE, below others than `before`: it is as frozen as they are, and their recoveries are told.
    pub(crate) fn function_moved(
        &self,
        token: &mut ThreadToken,
        before: &[Held],
        function: &Arc<PeFunction>,
    ) {
        let snapshot = self.tree.snapshot(token);
        let Some((pe, _)) = snapshot.of_function(function.address, Holder::Lookup) else { return };
        let now: Vec<Held> = snapshot.up_held(pe.address(), Holder::Lookup).collect();
        let without = |pes: &[Held], others: &[Held]| -> Vec<Held> {
            let only = pes.iter().filter(|pe| !others.iter().any(|other| other.is(pe)));
            only.cloned().collect()
        };
        let (left, came) = (without(before, &now), without(&now, before));
        for frozen in self.with_cases_above(&came, |case| case.frozen.clone()) {
            frozen.joined_by(function);
        }
        for running in self.with_cases_above(&came, |case| case.running()) {
            running.post(News::PeAdded(pe.hold_as(Holder::Event)));
            running.post(News::Added(function.clone()));
        }
        for running in self.with_cases_above(&left, |case| case.running()) {
            running.post(News::Removed(function.id));
        }
        for frozen in self.with_cases_above(&left, |case| case.frozen.clone()) {
            let _was_contained = frozen.let_go(function.id);
        }
    }

    /// A PE was put in.
    pub(crate) fn pe_came(&self, snapshot: &Snapshot, pe: &Held) {
        let above: Vec<Held> = snapshot.up_held(pe.address(), Holder::Lookup).collect();
        for running in self.with_cases_above(&above, |case| case.running()) {
            running.post(News::PeAdded(pe.hold_as(Holder::Event)));
        }
    }

    /// The topology was followed: who waits for a part of the tree that was being changed may try again, and what was removed is
    /// forgotten.
    pub(crate) fn followed(&self) {
        self.drop_removed();
        self.cases.lock().retry = true;
        self.detector.raise();
    }
}
