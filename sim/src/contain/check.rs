//! What always holds, looked at after steps: a few functions after each, everything now and then.

use super::scene::Scene;
use contain::containment::{Containment, Frozen, Phase, RecoveryId};
use contain::pe::{Held, Holder, Pe, PeAddress, PeState};
use contain::plan::PeId;
use contain::tree::{PeFunction, Snapshot};
use gate::{AccessKind, ThreadToken};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Something that always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// A function is contained once for each freeze that it is in, and for no other reason.
    Counted,
    /// What is contained admits nothing, whatever its client does.
    Refuses,
    /// A PE is isolated if it is frozen and not thawed, and not otherwise, once the front has had its turn.
    Isolated,
    /// What was removed lives as long as somebody holds it, and is named by those who do (EEH-I1).
    Referenced,
    /// A walk over a picture meets each PE once, also of those that have been removed or moved since it was taken (EEH-I2).
    Walked,
    /// Nobody is called with anything held (EEH-I4).
    NothingHeld,
    /// Marks are there as long as a recovery is, and no longer (EEH-I5).
    Marked,
    /// A PE's freezes are counted, are not forgotten before their time, and end in failure when they are too many (EEH-10, EEH-I6).
    Budget,
    /// Of a PE and those above it, one is being recovered at a time (EEH-I7).
    OneRecovery,
    /// PEs are frozen in the order in which they failed (EEH-I8).
    InOrder,
    /// What is reset is closed.
    ResetClosed,
    /// A recovery ends once.
    EndsOnce,
    /// When nobody does anything any more, every recovery ends.
    Ends,
    /// At rest no gate is closed and no DMA is held.
    GivenBack,
    /// The tree is like the topology.
    Followed,
    /// The address cache has the BARs of the functions, and no others (EEH-23).
    AddressCache,
    /// What was counted adds up.
    AddsUp,
}

/// One that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// What was found.
    pub detail: String,
    /// In which step.
    pub step: u64,
    /// When.
    pub now: Duration,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { rule, detail, step, now } = self;
        write!(f, "{rule:?} in step {step} at {} ms: {detail}", now.as_millis())
    }
}

/// What was seen at the last looks.
#[derive(Default)]
pub(crate) struct Looks {
    /// Freezes of each PE, and when they were looked at for the last time before.
    freezes: BTreeMap<PeId, (u32, Duration)>,
    at: Duration,
    /// The highest budget that ever was.
    pub(crate) most_freezes: u32,
    /// A picture, of a while ago, and the PEs that were in it.
    picture: Option<(Arc<Snapshot>, BTreeSet<PeId>)>,
    /// Something may have come or gone since the last look.
    pub(crate) followed: bool,
}

pub(crate) fn after_step(scene: &Scene, containment: &Containment, token: &ThreadToken) {
    let snapshot = containment.tree().snapshot(token);
    begun(scene, containment, &snapshot);
    for _ in 0..3 {
        let card = scene.random.with(|random| scene.forest.with(|forest| forest.any(random)));
        let Some(card) = card else { continue };
        let found = snapshot.of_function(card.node.address, Holder::Lookup);
        let function = found.filter(|(_, function)| Arc::ptr_eq(&function.function, &card.node.function));
        match function {
            Some((pe, function)) => counted(scene, containment, token, &snapshot, (&pe, &function)),
            None if card.node.function.is_contained() => {
                scene.wrong(Rule::Counted, format!("{} is in no PE, and contained", card.node.address));
            }
            None => {}
        }
    }
    if scene.step.get().is_multiple_of(scene.plan.look_every) {
        everything(scene, containment, token);
    }
}

/// Recoveries that began in this step.
fn begun(scene: &Scene, containment: &Containment, snapshot: &Snapshot) {
    let (new, running) = scene.tape.with(|tape| {
        let new = std::mem::take(&mut tape.new);
        let running = if new.is_empty() { BTreeMap::new() } else { tape.running.clone() };
        (new, running)
    });
    let most = scene.looks.with(|looks| looks.most_freezes);
    for (id, at) in new {
        let Some(pe) = snapshot.find(at, Holder::Lookup) else { continue };
        let alone = containment.frozen(&pe).is_some_and(|frozen| !frozen.is_thawed());
        if alone && running.contains_key(&id) && pe.freezes.freezes() > most {
            scene.tape.with(|tape| tape.must_fail.insert(id));
        }
        one_recovery(scene, snapshot, &running, id, at);
    }
}

fn one_recovery(
    scene: &Scene,
    snapshot: &Snapshot,
    running: &BTreeMap<RecoveryId, PeAddress>,
    id: RecoveryId,
    at: PeAddress,
) {
    for (other, of) in running.iter().filter(|(other, _)| **other != id) {
        let is_above = snapshot.up(at).any(|pe| pe.address() == *of);
        let is_below = snapshot.up(*of).any(|pe| pe.address() == at);
        if is_above || is_below {
            scene.wrong(Rule::OneRecovery, format!("{id} of {at} begins, and {other} of {of} goes on"));
        }
    }
}

/// A function is contained as often as freezes have it.
fn counted(
    scene: &Scene,
    containment: &Containment,
    token: &ThreadToken,
    snapshot: &Snapshot,
    (pe, function): (&Pe, &PeFunction),
) {
    let handle = function.function.handle();
    if handle.is_gone() {
        return;
    }
    let above = snapshot.up_held(pe.address(), Holder::Lookup);
    let freezes = above.filter_map(|pe| containment.frozen(&pe));
    let kept =
        |frozen: &Frozen| frozen.keeps_some() && frozen.functions().iter().any(|kept| kept.id == function.id);
    let expected = freezes.filter(|frozen| !frozen.is_thawed() || kept(frozen)).count();
    let found = function.function.gate().status().contained;
    if usize::try_from(found) != Ok(expected) {
        let at = function.address;
        scene.wrong(Rule::Counted, format!("{at} is contained {found} times, and in {expected} freezes"));
    }
    if found != 0 && handle.try_enter(token, AccessKind::Bar).is_ok() {
        scene.wrong(Rule::Refuses, format!("{} is contained and can be reached", function.address));
    }
}

/// All PEs and their functions.
pub(crate) fn everything(scene: &Scene, containment: &Containment, token: &ThreadToken) {
    let snapshot = containment.tree().snapshot(token);
    let pes = snapshot.every(Holder::Lookup);
    let settled = !scene.alarmed.get() && scene.depth.get() == 0;
    for (pe, _) in &pes {
        let frozen = containment.frozen(pe).is_some_and(|frozen| !frozen.is_thawed());
        let isolated = pe.state().contains(PeState::ISOLATED);
        if settled && frozen != isolated {
            let detail = format!("{}: frozen {frozen}, isolated {isolated}", pe.address());
            scene.wrong(Rule::Isolated, detail);
        }
        marked(scene, containment, &snapshot, pe);
        for function in snapshot.functions(pe.address()) {
            counted(scene, containment, token, &snapshot, (pe, function));
        }
    }
    budget(scene, &pes);
    walked(scene, &snapshot, &pes);
    address_cache(scene, &snapshot, &pes);
}

const MARKS: PeState =
    PeState::RECOVERING.union(PeState::KEEP).union(PeState::RESET).union(PeState::CFG_BLOCKED);

fn marked(scene: &Scene, containment: &Containment, snapshot: &Snapshot, pe: &Pe) {
    if !pe.state().intersects(MARKS) {
        return;
    }
    let above: Vec<PeAddress> = snapshot.up(pe.address()).map(Pe::address).collect();
    let running = scene.tape.with(|tape| tape.running.values().any(|at| above.contains(at)));
    let recovers = || {
        let all = containment.recoveries();
        all.iter().any(|it| matches!(it.phase, Phase::Recovering(_)) && above.contains(&it.pe))
    };
    if !running && !recovers() {
        let detail = format!("{} is {:?}, and nobody recovers it", pe.address(), pe.state());
        scene.wrong(Rule::Marked, detail);
    }
}

/// Counts go down only when their time is over.
fn budget(scene: &Scene, pes: &[(Held, Option<PeAddress>)]) {
    let (now, window) = (scene.now(), scene.plan.settings.budget.window);
    let wrong = scene.looks.with(|looks| {
        let mut seen = BTreeMap::new();
        let mut wrong = None;
        for (pe, _) in pes {
            let freezes = pe.freezes.freezes();
            let before = looks.freezes.get(&pe.id()).copied();
            // The first freeze that was counted is later than the look that did not see it.
            let since = match before {
                Some((count, since)) if count <= freezes && count > 0 => since,
                _ => looks.at,
            };
            // In whole seconds.
            let elapsed = now.saturating_sub(before.map_or(now, |(_, since)| since));
            if before.is_some_and(|(count, _)| count > freezes) && elapsed <= window {
                let count = before.map(|(count, _)| count);
                wrong = Some(format!("{} had {count:?} freezes, and has {freezes}", pe.address()));
            }
            seen.insert(pe.id(), (freezes, since));
        }
        (looks.freezes, looks.at) = (seen, now);
        wrong
    });
    if let Some(detail) = wrong {
        scene.wrong(Rule::Budget, detail);
    }
}

fn walked(scene: &Scene, snapshot: &Arc<Snapshot>, pes: &[(Held, Option<PeAddress>)]) {
    let present: BTreeSet<PeId> = pes.iter().map(|(pe, _)| pe.id()).collect();
    let walk = |picture: &Snapshot| {
        let mut met = Vec::new();
        for (pe, above) in picture.every(Holder::Lookup) {
            if above.is_none() {
                met.extend(picture.walk(pe.address()).map(|visit| visit.pe().id()));
            }
        }
        met
    };
    let met = walk(snapshot);
    let once: BTreeSet<PeId> = met.iter().copied().collect();
    if once.len() != met.len() || once != present {
        let detail = format!("{} PEs, {} met, {} of them once", present.len(), met.len(), once.len());
        scene.wrong(Rule::Walked, detail);
    }
    let picture = scene.looks.with(|looks| looks.picture.take());
    if let Some((old, before)) = &picture {
        let met = walk(old);
        let once: BTreeSet<PeId> = met.iter().copied().collect();
        let stayed = before.intersection(&present);
        let missed = stayed.filter(|id| !once.contains(id)).count();
        if once.len() != met.len() || missed > 0 {
            let detail = format!("an old picture: {missed} missed, {} twice", met.len() - once.len());
            scene.wrong(Rule::Walked, detail);
        }
    }
    let keep = scene.random.with(|random| random.chance(3, 4));
    let next = picture.filter(|_| keep).or_else(|| Some((snapshot.clone(), present)));
    if !scene.calm.get() {
        scene.looks.with(|looks| looks.picture = next);
    }
}

fn address_cache(scene: &Scene, snapshot: &Snapshot, pes: &[(Held, Option<PeAddress>)]) {
    if !scene.looks.with(|looks| std::mem::take(&mut looks.followed)) {
        return;
    }
    let mut found: Vec<_> =
        snapshot.address_cache().into_iter().map(|(range, at)| (range.first, range.last, at)).collect();
    let functions = pes.iter().flat_map(|(pe, _)| snapshot.functions(pe.address()));
    let mut expected: Vec<_> = functions
        .flat_map(|function| function.bars.iter().map(|bar| (bar.first, bar.last, function.address)))
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    if found != expected {
        let odd = found.iter().find(|range| !expected.contains(range));
        let missing = expected.iter().find(|range| !found.contains(range));
        scene.wrong(Rule::AddressCache, format!("has {odd:x?}, has not {missing:x?}"));
    }
}

impl Looks {
    /// Nobody has an old picture any more.
    pub(crate) fn forget_picture(&mut self) {
        self.picture = None;
    }
}
