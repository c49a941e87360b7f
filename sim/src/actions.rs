//! What is done to the world: by operators, by whoever stands at the rack, and by consumers.

use crate::card::{BAR_BYTES, Card, MOST_FUNCTIONS, VIRTUAL_FUNCTIONS};
use crate::consumer::Hold;
use crate::machine::{Plugged, at_once, function_at, port_at};
use crate::plan::Action;
use crate::world::World;
use gate::{AccessKind, ThreadToken};
use pci_core::{BarIndex, DeviceState, Function};
use pci_spec::capability::{express, id, pm};
use pci_spec::{Bdf, config};
use slot::{Event, Request};
use std::sync::Arc;
use std::time::Duration;

/// Operations of one burst.
const BURST: usize = 100;

/// Does one thing somewhere.
pub(crate) fn carry_out(world: &World, token: &mut ThreadToken, action: Action) {
    let slot = world.random.with(|random| random.below(world.bays.len()));
    match action {
        Action::Enable => ask(world, slot, Request::Enable),
        Action::Disable => {
            let timeout = disable_timeout(world);
            ask(world, slot, Request::Disable { timeout });
        }
        Action::Cancel => ask(world, slot, Request::Cancel),
        Action::Burst => burst(world, slot),
        Action::Button => button(world, slot),
        Action::Pull => pull(world, slot),
        Action::Insert => insert(world, slot),
        Action::Replace => replace(world, slot),
        Action::Flap => flap(world, slot),
        Action::Latch => latch(world, slot),
        Action::PowerFault => {
            world.trace(|| format!("slot {slot}: power fault"));
            world.bays[slot].controller().post(Event::PowerFault);
        }
        Action::Reset => reset(world, token, slot),
        Action::BusReset => bus_reset(world, token, slot),
        Action::Power => power(world, token, slot),
        Action::VirtualFunctions => virtual_functions(world, token, slot),
        Action::Rescan => rescan(world, token),
        Action::Access => access(world, token, slot),
        Action::Begin => begin(world, token, slot),
        Action::End => end(world),
        Action::Attach => world.guests[slot].attach(world, token),
        Action::Leave => world.guests[slot].leave(token),
        Action::LetGo => let_go(world, token, slot),
        Action::Wire => crate::wire::carry_out(world, token, slot),
        Action::Consumer => consumer(world, token, slot),
        Action::Platform(act) => crate::s390::carry_out(world, token, act),
    }
}

/// A driver lets go of its function by itself, or because it was asked to some time ago.
pub(crate) fn driver_lets_go(world: &World, token: &mut ThreadToken, slot: usize, number: u64) {
    let Some(binding) = world.tenancy.with(|tenancy| tenancy.binding(slot, number)) else { return };
    let name = binding.function().function().name();
    world.trace(|| format!("slot {slot}: the driver of {name} lets go"));
    binding.release(token);
}

pub(crate) fn ask(world: &World, slot: usize, request: Request) {
    let operation = world.bays[slot].controller().ask(request);
    world.trace(|| format!("slot {slot}: asked {request:?}, operation {}", operation.id().0));
    world.asked(slot, operation);
}

pub(crate) fn disable_timeout(world: &World) -> Duration {
    world.random.with(|random| match random.below(4) {
        0 => Duration::ZERO,
        1 => random.ms(1, 1_000),
        2 => random.ms(1_000, 20_000),
        _ => Duration::from_secs(60),
    })
}

fn burst(world: &World, slot: usize) {
    for _ in 0..BURST {
        let request = match world.random.with(|random| random.below(4)) {
            0 => Request::Enable,
            1 => Request::Cancel,
            _ => Request::Disable { timeout: disable_timeout(world) },
        };
        ask(world, slot, request);
    }
}

fn button(world: &World, slot: usize) {
    let presses = world.random.with(|random| 1 + random.below(3));
    world.trace(|| format!("slot {slot}: button pressed {presses} times"));
    (0..presses).for_each(|_| world.bays[slot].controller().post(Event::Button));
}

fn new_card(world: &World) -> Card {
    let serial = world.ledger.with(|ledger| {
        ledger.cards += 1;
        ledger.cards
    });
    world.random.with(|random| {
        let functions = random.below(usize::from(MOST_FUNCTIONS)) + 1;
        let (functions, sr_iov) = (u8::try_from(functions).unwrap_or(1), random.coin());
        let block_store = world.s390.is_some() && random.chance(1, 4);
        Card { serial, functions, sr_iov, block_store }
    })
}

pub(crate) fn pull_card(world: &World, slot: usize) -> bool {
    let bay = &world.bays[slot];
    if bay.physical.with(|physical| physical.card.is_none()) {
        return false;
    }
    world.trace(|| format!("slot {slot}: card pulled"));
    world.lost(slot);
    bay.put(world, None);
    bay.controller().post(Event::Card(false));
    world.check_cut_off(slot);
    true
}

fn pull(world: &World, slot: usize) {
    if pull_card(world, slot) && world.random.with(|random| random.chance(1, 3)) {
        insert(world, slot);
    }
}

pub(crate) fn insert(world: &World, slot: usize) {
    let bay = &world.bays[slot];
    if bay.physical.with(|physical| physical.card.is_some()) {
        return;
    }
    let card = new_card(world);
    world.trace(|| format!("slot {slot}: card {} put in, {} functions", card.serial, card.functions));
    bay.put(world, Some(card));
    bay.controller().post(Event::Card(true));
    bay.train(world);
}

/// The card was exchanged without the port noticing, as during a sleep (HP-15).
fn replace(world: &World, slot: usize) {
    let bay = &world.bays[slot];
    if bay.physical.with(|physical| physical.card.is_none() || !physical.link) {
        return;
    }
    let card = new_card(world);
    world.trace(|| format!("slot {slot}: replaced by card {}", card.serial));
    world.lost(slot);
    bay.put(world, Some(card));
    bay.physical.with(|physical| physical.link = true);
    bay.controller().post(Event::Replaced);
    world.check_cut_off(slot);
}

fn flap(world: &World, slot: usize) {
    let bay = &world.bays[slot];
    if !bay.physical.with(|physical| std::mem::take(&mut physical.link)) {
        return bay.train(world);
    }
    world.trace(|| format!("slot {slot}: link lost"));
    world.lost(slot);
    bay.controller().post(Event::Link(false));
    world.check_cut_off(slot);
    if world.random.with(crate::random::Random::coin) {
        bay.train(world);
    }
}

fn latch(world: &World, slot: usize) {
    let bay = &world.bays[slot];
    let open = bay.physical.with(|physical| {
        physical.latch_open = !physical.latch_open;
        physical.latch_open
    });
    world.trace(|| format!("slot {slot}: latch {}", if open { "opened" } else { "closed" }));
    bay.controller().post(Event::Latch(open));
}

/// A function of a slot, also one that has gone.
fn some_function(world: &World, slot: usize) -> Option<Plugged> {
    let functions = world.bays[slot].plugged();
    world.random.with(|random| random.pick(&functions).cloned())
}

fn some_address(world: &World, slot: usize) -> Bdf {
    let number = world.random.with(|random| random.below(usize::from(MOST_FUNCTIONS) + 2));
    function_at(slot, u8::try_from(number).unwrap_or(0))
}

fn reset(world: &World, token: &mut ThreadToken, slot: usize) {
    let at = some_address(world, slot);
    let waits = world.random.with(crate::random::Random::coin);
    let snapshot = world.machine.snapshot(token);
    if snapshot.function(at).is_none() {
        return;
    }
    world.trace(|| format!("slot {slot}: reset {at}"));
    let resets = &world.machine.resets;
    let done = world.as_operator(|| match waits {
        true => resets.reset_function(token, &snapshot, at, at_once()),
        false => resets.try_reset_function(token, &snapshot, at),
    });
    world.trace(|| match done {
        Ok(done) => format!("slot {slot}: {at} was reset by {:?}", done.method),
        Err(error) => format!("slot {slot}: {at} was not reset: {error}"),
    });
}

fn bus_reset(world: &World, token: &mut ThreadToken, slot: usize) {
    let at = port_at(slot);
    world.trace(|| format!("slot {slot}: reset below {at}"));
    let snapshot = world.machine.snapshot(token);
    let resets = &world.machine.resets;
    let done = world.as_operator(|| resets.reset_bus(token, &snapshot, at, at_once()));
    world.trace(|| match done {
        Ok(_) => format!("slot {slot}: everything below {at} was reset"),
        Err(error) => format!("slot {slot}: nothing below {at} was reset: {error}"),
    });
}

fn power(world: &World, token: &mut ThreadToken, slot: usize) {
    let port = world.random.with(|random| random.chance(1, 6));
    let at = if port { port_at(slot) } else { some_address(world, slot) };
    let states = [DeviceState::D0, DeviceState::D0, DeviceState::D3Hot, DeviceState::D3Cold];
    let to = world.random.with(|random| states[random.below(states.len())]);
    set_power(world, token, at, to);
}

pub(crate) fn set_power(world: &World, token: &mut ThreadToken, at: Bdf, to: DeviceState) {
    let snapshot = world.machine.snapshot(token);
    if snapshot.function(at).is_none() {
        return;
    }
    world.trace(|| format!("{at}: to {to}"));
    let power = &world.machine.power;
    let done = world.as_operator(|| power.set_state(&snapshot, at, to, token, at_once()));
    world.trace(|| match done {
        Ok(state) => format!("{at}: in {state}"),
        Err(error) => format!("{at}: not in {to}: {error}"),
    });
}

fn virtual_functions(world: &World, token: &mut ThreadToken, slot: usize) {
    let at = function_at(slot, 0);
    if world.machine.snapshot(token).function(at).is_none() {
        return;
    }
    let most = usize::from(VIRTUAL_FUNCTIONS) + 1;
    let count = u16::try_from(world.random.with(|random| random.below(most + 1))).unwrap_or(0);
    world.trace(|| format!("{at}: {count} virtual functions"));
    let topology = &world.machine.topology;
    let done = world.as_operator(|| topology.set_num_vfs(token, at, count, at_once()));
    if let Some(s390) = &world.s390 {
        s390.follow(world, token, slot);
    }
    world.trace(|| match done {
        Ok(_) => format!("{at}: has {count} virtual functions"),
        Err(error) => format!("{at}: virtual functions as before: {error}"),
    });
}

pub(crate) fn rescan(world: &World, token: &mut ThreadToken) {
    world.trace(|| "everything is scanned".into());
    let done = world.as_operator(|| world.machine.rescan(token));
    if let Some(s390) = &world.s390 {
        (0..world.bays.len()).for_each(|slot| s390.follow(world, token, slot));
    }
    world.trace(|| match done {
        Ok(changes) => format!("everything was scanned: {changes} changes"),
        Err(error) => format!("nothing was scanned: {error}"),
    });
}

fn access(world: &World, token: &mut ThreadToken, slot: usize) {
    let Some(function) = some_function(world, slot) else { return };
    let function = function.assignment.function().clone();
    let mut bytes = [0; 4];
    match world.random.with(|random| random.below(6)) {
        0 => drop(function.read_config(token, 0, &mut bytes, at_once())),
        1 => {
            // Everything but what belongs to an orderly removal: on again, as a hostile client would.
            let command = [if world.random.with(crate::random::Random::coin) { 6 } else { 0 }, 0];
            drop(function.write_config(token, config::COMMAND, &command, at_once()));
        }
        2 => write_power_state(world, token, &function),
        3 => ask_for_reset(token, &function),
        _ => {
            let Some(bar) = BarIndex::new(0) else { return };
            drop(function.read_bar(token, bar, BAR_BYTES - 4, &mut bytes, at_once()));
            drop(function.write_bar(token, bar, 0, &bytes, at_once()));
        }
    }
}

fn write_power_state(world: &World, token: &mut ThreadToken, function: &Arc<Function>) {
    let Some(at) = function.config().find_capability(id::POWER_MANAGEMENT) else { return };
    let state = if world.random.with(crate::random::Random::coin) { 3 } else { 0 };
    drop(function.write_config(token, at + pm::CONTROL_STATUS, &[state, 0], at_once()));
}

fn ask_for_reset(token: &mut ThreadToken, function: &Arc<Function>) {
    const FLR: u16 = express::DeviceControl::INITIATE_FUNCTION_LEVEL_RESET.bits();
    let Some(at) = function.config().find_capability(id::PCI_EXPRESS) else { return };
    drop(function.write_config(token, at + express::DEVICE_CONTROL, &FLR.to_le_bytes(), at_once()));
}

/// An access that takes long, such as a disk command: it ends when it ends.
fn begin(world: &World, token: &mut ThreadToken, slot: usize) {
    let Some(function) = some_function(world, slot) else { return };
    let handle = function.assignment.function().handle().clone();
    if let Ok(pass) = handle.enter_long(token, AccessKind::Dma, "I/O in flight", at_once()) {
        world.trace(|| format!("slot {slot}: I/O begins at {}", function.at));
        let too_many = world.tenancy.with(|tenancy| tenancy.hold(Hold { slot, handle, _pass: pass }));
        drop(too_many);
    }
}

fn end(world: &World) {
    let count = world.tenancy.with(|tenancy| tenancy.holds.len());
    let which = world.random.with(|random| random.below(count));
    let ended = world.tenancy.with(|tenancy| (count > 0).then(|| tenancy.holds.swap_remove(which)));
    if let Some(hold) = ended {
        world.trace(|| format!("slot {}: I/O ends", hold.slot));
        drop(hold);
    }
}

fn let_go(world: &World, token: &mut ThreadToken, slot: usize) {
    let numbers: Vec<u64> = world.tenancy.with(|tenancy| {
        tenancy.bonds.iter().filter(|bond| bond.slot == slot).map(|bond| bond.number).collect()
    });
    if let Some(number) = world.random.with(|random| random.pick(&numbers).copied()) {
        driver_lets_go(world, token, slot, number);
    }
}

/// The slot's client is forgotten by the slot, and is one of its clients again.
fn consumer(world: &World, token: &mut ThreadToken, slot: usize) {
    let guest: Arc<dyn slot::Consumer> = world.guests[slot].clone();
    world.trace(|| format!("slot {slot}: another client"));
    world.guests[slot].leave(token);
    world.bays[slot].controller().remove_consumer(&guest);
    world.bays[slot].controller().add_consumer(guest);
}
