//! Taking up an error: whose is it, and is it one at all (EEH-07)?

use super::case::{Case, Cause, Stage};
use super::{Containment, Frozen, Left, News, RecoveryId, Running, Then};
use crate::budget::Spent;
use crate::detect::Sign;
use crate::pe::{Held, Holder, Pe, PeState};
use crate::plan::{Flavour, PeId};
use crate::report::Doom;
use crate::tree::Snapshot;
use crate::watch::Told;
use gate::ThreadToken;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// What is done with an error of a PE that is known of already.
enum Known {
    /// It is the one that is known, or nothing can be done about it.
    Same,
    /// It came after a thaw: frozen again, and told.
    Again(Option<Arc<Frozen>>, Option<Arc<dyn Running>>),
}

impl Containment {
    /// Takes up what was noticed.
    pub(super) fn take_up(&self, token: &mut ThreadToken, sign: Sign) {
        let Sign { pe, function, sign, flavour } = sign;
        let cause = Cause { sign, function, flavour };
        if pe.state().contains(PeState::INVALID) {
            self.counts.no_device.one();
            self.unisolate(&pe);
            return;
        }
        let snapshot = self.tree.snapshot(token);
        if has_left(&snapshot, &cause) {
            self.counts.false_positives.one();
            self.unisolate(&pe);
        } else if self.join_above(&snapshot, &pe, cause) || self.join_own(&snapshot, &pe, cause) {
            self.counts.joined.one();
        } else {
            let _opened = self.open(token, &pe, cause, Then::Recover, None);
        }
    }

    /// Takes up every PE that was isolated without a sign, since there was no room for one.
    pub(super) fn sweep(&self, token: &mut ThreadToken) {
        self.counts.sweeps.one();
        let cause = Cause { sign: None, function: None, flavour: Flavour::Eeh };
        for (pe, _) in self.tree.snapshot(token).every(Holder::Event) {
            let known = |pe: &Pe| self.cases.lock().of.get(&pe.id()).is_some_and(Case::holds_frozen);
            if pe.state().contains(PeState::ISOLATED) && !known(&pe) {
                let Cause { sign, function, flavour } = cause;
                self.take_up(token, Sign { pe, function, sign, flavour });
            }
        }
    }

    /// The error was none, or belongs to a PE above: the next one counts again.
    pub(super) fn unisolate(&self, pe: &Pe) {
        let cases = self.cases.lock();
        if !cases.of.get(&pe.id()).is_some_and(Case::holds_frozen) {
            pe.clear(PeState::ISOLATED);
        }
    }

    /// Whether a PE above has an error that this one belongs to, which is told so.
    fn join_above(&self, snapshot: &Snapshot, pe: &Held, cause: Cause) -> bool {
        for above in snapshot.up_held(pe.address(), Holder::Event).skip(1) {
            let found = {
                let cases = self.cases.lock();
                let case = cases.of.get(&above.id()).filter(|case| case.covers());
                if let Some(frozen) = case.and_then(|case| case.frozen.as_ref()) {
                    cause.require(frozen);
                }
                // What stays frozen needs no freeze, and may be thawed by hand at any moment.
                let stays = |case: &Case| matches!(case.stage, Stage::Left(_));
                case.map(|case| (case.frozen.clone().filter(|_| !stays(case)), case.running()))
            };
            if let Some((frozen, running)) = found {
                if cause.flavour.is_frozen() {
                    freeze_again(snapshot, frozen, running);
                    self.unisolate(pe);
                }
                return true;
            }
        }
        false
    }

    /// Whether the PE has an error that this one belongs to.
    fn join_own(&self, snapshot: &Snapshot, pe: &Held, cause: Cause) -> bool {
        let freezes = cause.flavour.is_frozen();
        let (now, budget) = (self.now(), self.budget());
        let (known, first) = {
            let mut cases = self.cases.lock();
            let Some(case) = cases.of.get_mut(&pe.id()) else { return false };
            if let Some(frozen) = &case.frozen {
                cause.require(frozen);
            }
            let first = !case.cause.flavour.is_frozen();
            let known = match &case.stage {
                // It was noticed before the PE was frozen for another reason, and that stays so.
                Stage::Left(_) if case.holds_frozen() => Known::Same,
                Stage::Left(_) => return false,
                _ if !freezes => Known::Same,
                Stage::Due | Stage::Waiting(_) => {
                    if first {
                        // What froze nothing was not begun, and is the lesser error; this one counts (EEH-10).
                        case.cause.flavour = cause.flavour;
                        case.spent = case.pe.freezes.add(now, budget);
                    }
                    Known::Again(Some(case.frozen(pe)), None)
                }
                Stage::Busy | Stage::Running(_) | Stage::Ended(_) => {
                    Known::Again(Some(case.frozen(pe)), case.running())
                }
            };
            (known, first)
        };
        if let Known::Again(frozen, running) = known {
            freeze_again(snapshot, frozen, running);
            if first {
                self.counts.freezes.one();
                let function = cause.function.map(|(_, at)| at);
                self.parts.watch.tell(&Told::Frozen { pe: pe.address(), function, sign: cause.sign });
            }
        }
        true
    }

    /// Makes an error of a PE known, freezes what it freezes, and has it recovered; does nothing if an error of the PE is being
    /// recovered from. Gives the recovery that it belongs to, and whether that is a new one.
    pub(super) fn open(
        &self,
        token: &mut ThreadToken,
        pe: &Held,
        cause: Cause,
        then: Then,
        doom: Option<Doom>,
    ) -> (RecoveryId, bool) {
        let now = self.now();
        let (id, frozen) = {
            let mut cases = self.cases.lock();
            let id = cases.next_id();
            let made = |frozen| Case {
                id,
                pe: pe.hold_as(Holder::Event),
                cause,
                frozen,
                since: now,
                spent: Spent { freezes: 0, exceeded: false },
                doom,
                stage: Stage::Busy,
                also: Vec::new(),
            };
            let case = match cases.of.entry(pe.id()) {
                Entry::Vacant(entry) => entry.insert(made(None)),
                // What is kept for consumers stays so.
                Entry::Occupied(mut entry) if matches!(entry.get().stage, Stage::Left(_)) => {
                    let kept = entry.get_mut().frozen.take();
                    let _before = entry.insert(made(kept));
                    entry.into_mut()
                }
                Entry::Occupied(entry) => return (entry.get().id, false),
            };
            // Known before the tree is looked at, so that whoever puts a function in later finds it.
            (id, cause.flavour.is_frozen().then(|| case.frozen(pe)))
        };
        if let Some(frozen) = frozen {
            cause.require(&frozen);
            frozen.again(&self.tree.snapshot(token));
            self.counts.freezes.one();
            let function = cause.function.map(|(_, at)| at);
            self.parts.watch.tell(&Told::Frozen { pe: pe.address(), function, sign: cause.sign });
        }
        self.decide(pe.id(), cause.flavour, then);
        (id, true)
    }

    /// What becomes of an error that was made known: it is counted (EEH-10) and recovered from, or the PE stays frozen.
    fn decide(&self, pe: PeId, flavour: Flavour, then: Then) {
        let (now, budget, recovers) = (self.now(), self.budget(), self.recovers());
        let mut cases = self.cases.lock();
        let Some(case) = cases.of.get_mut(&pe) else { return };
        let left = match then {
            Then::Stay => Some(Left::Stay),
            // Its consumer thaws or resets it by the operations of vfio.
            Then::Recover if flavour.is_frozen() && case.pe.is_passed_through() => Some(Left::PassedThrough),
            Then::Recover | Then::RecoverNow if recovers || then == Then::RecoverNow => None,
            Then::Recover | Then::RecoverNow => Some(Left::RecoveryDisabled),
        };
        if let Some(left) = left {
            case.stage = Stage::Left(left);
            return;
        }
        if flavour.is_frozen() {
            case.spent = case.pe.freezes.add(now, budget);
        }
        let urgent = case.doom.is_some() || case.pe.address().number().is_none();
        case.stage = Stage::Due;
        if urgent { cases.urgent.push_back(pe) } else { cases.due.push_back(pe) }
    }
}

impl Case {
    /// The freeze of the PE; made if there is none yet.
    fn frozen(&mut self, pe: &Held) -> Arc<Frozen> {
        let made = || Frozen::new(pe.hold_as(Holder::Event));
        self.frozen.get_or_insert_with(made).clone()
    }
}

/// Frozen first, told then: whoever is told finds it frozen.
pub(super) fn freeze_again(
    snapshot: &Snapshot,
    frozen: Option<Arc<Frozen>>,
    running: Option<Arc<dyn Running>>,
) {
    if let Some(frozen) = frozen {
        frozen.again(snapshot);
    }
    if let Some(running) = running {
        running.post(News::FrozenAgain);
    }
}

/// Whether the function was taken out or torn out since: what it read then is no error (AER-08).
fn has_left(snapshot: &Snapshot, cause: &Cause) -> bool {
    let Some((id, at)) = cause.function else { return false };
    let present = snapshot.of_function(at, Holder::Event);
    !present.is_some_and(|(_, function)| function.id == id && !function.function.handle().is_gone())
}
