//! What people and hardware do to a forest.

use super::check::Rule;
use super::device::{ALIVE, Kept, Mood};
use super::forest::{self, Card};
use super::plan::Act;
use super::scene::Scene;
use contain::containment::{Containment, Phase, Then};
use contain::detect::Check;
use contain::pe::{Held, Holder, PeAddress};
use contain::plan::{Flavour, Severity, SpecialEvent};
use contain::tree::TreeError;
use gate::{AccessKind, Deadline, Reason, ThreadToken};
use pci_core::{BarIndex, ErrorSign, ResetKind};
use std::time::Duration;
use topology::NodeKind;

/// PEs that somebody holds at the most.
const MOST_HELD: usize = 8;

/// At once or not at all: nobody else is there to wait for.
pub(crate) fn at_once() -> Deadline {
    Deadline::after(Duration::ZERO)
}

pub(crate) fn carry_out(scene: &Scene, containment: &Containment, token: &mut ThreadToken, act: Act) {
    match act {
        Act::Fail | Act::FailInside => fail(scene, token, act == Act::FailInside),
        Act::Notice => drop(notice(scene, containment, token)),
        Act::Burst => burst(scene, containment, token),
        Act::Read => read(scene, containment, token),
        Act::Report => report(scene, containment, token),
        Act::Special => special(scene, containment, token),
        Act::Freeze => freeze(scene, containment, token),
        Act::Thaw => thaw(scene, containment, token),
        Act::Recover => recover(scene, containment, token),
        Act::Switch => switch(scene, containment),
        Act::ClientReset => client_reset(scene, token),
        Act::Plug => plug(scene),
        Act::Pull => pull(scene, token),
        Act::Replace => replace(scene, token),
        Act::Move => move_bus(scene, token),
        Act::Follow => {
            let _deferred = follow(scene, containment, token);
        }
        Act::Rebind => rebind(scene),
        Act::Hold => hold(scene, containment, token),
        Act::Turn | Act::Drive | Act::Answer | Act::Time | Act::Rest => {}
    }
}

fn any(scene: &Scene) -> Option<Card> {
    scene.random.with(|random| scene.forest.with(|forest| forest.any(random)))
}

fn sign(scene: &Scene) -> ErrorSign {
    scene.random.with(|random| match random.below(7) {
        0 => ErrorSign::AllOnes { kind: AccessKind::Config, offset: 0 },
        1 => ErrorSign::AllOnes { kind: AccessKind::Bar, offset: ALIVE },
        2 => ErrorSign::DeviceFault("as the plan says"),
        3 => ErrorSign::DevicePanicked,
        4 => ErrorSign::DmaFault { iova: 0x1000 },
        5 => ErrorSign::DriverPanicked,
        _ => ErrorSign::Injected("as the plan says"),
    })
}

/// A PE that a function is in, or one above it.
fn any_pe(scene: &Scene, containment: &Containment, token: &ThreadToken) -> Option<PeAddress> {
    let at = any(scene)?.node.address;
    let snapshot = containment.tree().snapshot(token);
    let (pe, _) = snapshot.of_function(at, Holder::Operator)?;
    let above: Vec<PeAddress> = snapshot.up(pe.address()).map(|pe| pe.address()).collect();
    let climb = scene.random.with(|random| (0..above.len()).take_while(|_| random.chance(1, 4)).count());
    above.get(climb.min(above.len().saturating_sub(1))).copied()
}

fn fail(scene: &Scene, token: &ThreadToken, inside: bool) {
    let Some(card) = any(scene) else { return };
    let sign = sign(scene);
    scene.trace(|| format!("{} fails: {sign}", card.node.address));
    scene.signs.with(|signs| *signs += u64::from(card.watched));
    let function = &card.node.function;
    let pass = if inside { function.handle().try_enter(token, AccessKind::Bar).ok() } else { None };
    function.notice(token, sign);
    drop(pass);
}

fn notice(scene: &Scene, containment: &Containment, token: &ThreadToken) -> Option<(Check, Card)> {
    let card = any(scene)?;
    let check = containment.notice(token, card.node.address, sign(scene));
    scene.signs.with(|signs| *signs += 1);
    scene.trace(|| format!("{} is said to fail: {check:?}", card.node.address));
    Some((check, card))
}

/// What isolated something is frozen in that order (EEH-I8).
fn burst(scene: &Scene, containment: &Containment, token: &mut ThreadToken) {
    if scene.depth.get() == 0 {
        scene.take_turn(containment, token);
    }
    drop(scene.tape.with(|tape| std::mem::take(&mut tape.froze)));
    let many = scene.random.with(|random| 1 + random.below(40));
    let checked = (0..many).filter_map(|_| notice(scene, containment, token));
    let isolated: Vec<_> = checked.filter(|(check, _)| *check == Check::Isolated).collect();
    scene.take_turn(containment, token);
    if scene.depth.get() > 0 {
        return;
    }
    let froze = scene.tape.with(|tape| std::mem::take(&mut tape.froze));
    let mut order = isolated.iter().map(|(_, card)| card.node.address);
    // What belonged to a PE above is left out.
    if let Some(early) = froze.iter().find(|at| !order.any(|isolated| isolated == **at)) {
        scene.wrong(Rule::InOrder, format!("{early} is frozen out of its turn"));
    }
}

fn read(scene: &Scene, containment: &Containment, token: &mut ThreadToken) {
    let Some(card) = any(scene) else { return };
    let (mood, register) = scene.random.with(|random| {
        let mood = [Some(Mood::Dead), Some(Mood::Mad), None, None, None, Some(Mood::Well)][random.below(6)];
        (mood, if random.coin() { ALIVE } else { 0x20 })
    });
    if let Some(mood) = mood {
        card.model.mood.set(mood);
    }
    if scene.random.with(|random| random.chance(scene.plan.faults.models, 1000)) {
        card.model.kept.set(scene.random.with(|random| [Kept::Refused, Kept::Panics][random.below(2)]));
    }
    let Some(bar) = BarIndex::new(0) else { return };
    let before = check_sum(containment);
    let mut data = [0; 4];
    let read = card.node.function.read_bar(token, bar, register, &mut data, at_once());
    scene.signs.with(|signs| *signs += check_sum(containment) - before);
    let told = card.node.address;
    scene.trace(|| format!("{told} is read at {register:#x}: {:?}", read.as_ref().map(|()| data)));
    if read.is_err() && data != [0xff; 4] {
        scene.wrong(Rule::Refuses, format!("a read of {told} was refused and gave {data:x?}"));
    }
}

/// All errors that were noticed.
pub(crate) fn check_sum(containment: &Containment) -> u64 {
    let noticed = containment.statistics().noticed;
    noticed.ignored + noticed.no_pe + noticed.passed_through + noticed.isolated + noticed.already
}

fn report(scene: &Scene, containment: &Containment, token: &ThreadToken) {
    let Some(card) = any(scene) else { return };
    let flavour = scene.random.with(|random| match random.below(5) {
        0 => Flavour::Eeh,
        1 => Flavour::Aer(Severity::Correctable),
        2 => Flavour::Aer(Severity::Fatal),
        3 => Flavour::Aer(Severity::ContainedByPort),
        _ => Flavour::Aer(Severity::NonFatal),
    });
    let told = containment.report(token, card.node.address, flavour, sign(scene));
    scene.trace(|| format!("{} reports {flavour:?}: {told:?}", card.node.address));
}

fn special(scene: &Scene, containment: &Containment, token: &mut ThreadToken) {
    let (event, segment) = scene.random.with(|random| {
        let event = [
            (SpecialEvent::None, 2),
            (SpecialEvent::Informational, 2),
            (SpecialEvent::FrozenPe, 5),
            (SpecialEvent::FencedHostBridge, 10),
            (SpecialEvent::DeadHostBridge, 2),
            (SpecialEvent::DeadIoc, 1),
        ];
        let segments = usize::from(scene.forest.with(|forest| forest.segments()));
        let segment = u16::try_from(random.below(segments)).unwrap_or(0);
        (random.weighted(&event).unwrap_or(SpecialEvent::None), segment)
    });
    let done = containment.special(token, segment, event);
    scene.trace(|| format!("segment {segment} reports {event:?}: {done:?}"));
}

fn freeze(scene: &Scene, containment: &Containment, token: &mut ThreadToken) {
    let Some(pe) = any_pe(scene, containment, token) else { return };
    let then = scene.random.with(|random| [Then::Recover, Then::RecoverNow, Then::Stay][random.below(3)]);
    let done = containment.freeze(token, pe, "the plan", then);
    scene.trace(|| format!("an operator freezes {pe}, {then:?}: {done:?}"));
}

/// Mostly one that stays frozen.
fn thaw(scene: &Scene, containment: &Containment, token: &mut ThreadToken) {
    let left = containment.recoveries().into_iter().filter(|it| matches!(it.phase, Phase::Left(_)));
    let left: Vec<PeAddress> = left.map(|it| it.pe).collect();
    let picked = scene.random.with(|random| random.pick(&left).copied());
    let Some(pe) = picked.or_else(|| any_pe(scene, containment, token)) else { return };
    let done = containment.thaw(token, pe);
    scene.trace(|| format!("an operator thaws {pe}: {done:?}"));
}

fn recover(scene: &Scene, containment: &Containment, token: &mut ThreadToken) {
    let Some(pe) = any_pe(scene, containment, token) else { return };
    let done = containment.recover(token, pe);
    scene.trace(|| format!("an operator has {pe} recovered: {done:?}"));
}

fn switch(scene: &Scene, containment: &Containment) {
    let (what, on) = scene.random.with(|random| (random.below(3), random.chance(3, 4)));
    scene.trace(|| format!("an operator sets {what} to {on}"));
    match what {
        0 => containment.set_enabled(on),
        1 => containment.set_recover(on),
        _ => {
            let max_freezes = scene.random.with(|random| [0, 2, 20][random.below(3)]);
            let budget = scene.plan.settings.budget;
            containment.set_budget(contain::budget::FreezeBudget { max_freezes, ..budget });
            scene.looks.with(|looks| looks.most_freezes = looks.most_freezes.max(max_freezes));
        }
    }
}

/// A client's reset, or its thaw: neither ends a containment.
fn client_reset(scene: &Scene, token: &mut ThreadToken) {
    let Some(card) = any(scene) else { return };
    let function = &card.node.function;
    let contained = function.is_contained();
    if scene.random.with(|random| random.chance(1, 3)) {
        let _thawed = function.thaw();
    } else if let Ok(quiesced) = function.gate().close(token, Reason::Reset, at_once()) {
        let _well = function.reset_quiesced(&quiesced, ResetKind::DeviceReset);
        drop(quiesced);
    }
    scene.trace(|| format!("the client of {} resets or thaws it", card.node.address));
    if contained && function.handle().try_enter(token, AccessKind::Bar).is_ok() {
        scene.wrong(Rule::Refuses, format!("{} was let in by its client", card.node.address));
    }
}

fn plug(scene: &Scene) {
    let large = scene.plan.pes > 400;
    let full = scene.forest.with(|forest| forest.len() > scene.plan.pes * 2 + 8);
    if full {
        return;
    }
    let at = scene.random.with(|random| scene.forest.with(|forest| forest.plug(random, large)));
    scene.trace(|| format!("plugged at {at:?}"));
}

/// Seldom a bridge, with all that is below it.
fn pull(scene: &Scene, token: &mut ThreadToken) {
    let Some(card) = any(scene) else { return };
    let bridge = matches!(card.node.kind, NodeKind::Bridge { .. });
    if !bridge || scene.random.with(|random| random.chance(1, 4)) {
        scene.pull(token, card.node.address);
    }
}

fn replace(scene: &Scene, token: &mut ThreadToken) {
    let Some(card) = any(scene) else { return };
    if matches!(card.node.kind, NodeKind::Bridge { .. }) {
        return;
    }
    scene.pull(token, card.node.address);
    scene.random.with(|random| {
        scene.forest.with(|forest| forest.put(random, card.node.address, card.node.kind));
    });
}

/// The bridge of a bus is somewhere else; what is below it stays where it is.
fn move_bus(scene: &Scene, token: &mut ThreadToken) {
    let Some(card) = any(scene) else { return };
    let to = scene.random.with(|random| scene.forest.with(|forest| forest.elsewhere(random, &card.node)));
    let Some(to) = to else { return };
    let from = card.node.address;
    drop(scene.forest.with(|forest| forest.take(from)));
    let _orphans = card.node.function.disconnect(token, at_once());
    scene.random.with(|random| scene.forest.with(|forest| forest.put(random, to, card.node.kind)));
    scene.trace(|| format!("bridge {from} is at {to} now"));
}

pub(crate) fn follow(scene: &Scene, containment: &Containment, token: &mut ThreadToken) -> usize {
    let topology = scene.forest.with(|forest| forest.topology.clone());
    let followed = containment.follow(token, &topology, Deadline::after(Duration::from_secs(5)));
    scene.trace(|| format!("followed: {followed:?}"));
    scene.looks.with(|looks| looks.followed = true);
    match followed {
        Ok(followed) => {
            scene.forest.with(|forest| {
                if followed.deferred == 0 {
                    forest.all_watched();
                }
            });
            followed.deferred
        }
        Err(TreeError::Contended) => 1,
        Err(error) => {
            scene.wrong(Rule::Followed, format!("following is refused: {error}"));
            0
        }
    }
}

/// Whose functions are not frozen has them.
fn rebind(scene: &Scene) {
    let Some(card) = any(scene) else { return };
    if card.node.function.is_contained() {
        return;
    }
    scene.random.with(|random| {
        scene.forest.with(|forest| {
            if let Some(card) = forest.card_mut(card.node.address) {
                card.role = forest::role(random, card.node.kind);
            }
        });
    });
}

fn hold(scene: &Scene, containment: &Containment, token: &ThreadToken) {
    let count = scene.holds.with(|holds| holds.len());
    let dropped: Option<Held> = if count >= MOST_HELD || scene.random.with(|random| random.chance(1, 3)) {
        let nth = scene.random.with(|random| random.below(count));
        scene.holds.with(|holds| (nth < holds.len()).then(|| holds.swap_remove(nth)))
    } else {
        let pe = any_pe(scene, containment, token);
        let held = pe.and_then(|pe| containment.tree().find(token, pe, Holder::Assignment));
        scene.holds.with(|holds| holds.extend(held));
        None
    };
    drop(dropped);
}
