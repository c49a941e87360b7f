//! Scenarios on a whole machine: everything that is done to functions, by everybody at once.
//!
//! Each operation may fail as its interface says; what has to hold in every schedule is checked by the machine (see
//! `machine`) and at the end of each scenario. A scenario names what has to succeed in some schedule.

mod cancelled;
mod interleaved;
mod overlapping;
mod rogues;
mod virtual_functions;

use crate::machine::part::Registers;
use crate::machine::tally::note;
use crate::machine::wire::Wire;
use crate::machine::{DISK, Machine, PF, ROOT, ahead, linger};
use gate::ThreadToken;
use power::State;
use reset::Method;
use shuttle::thread;

/// Reads and writes registers and a BAR of both functions.
fn consumer(machine: &Machine, token: &mut ThreadToken) {
    linger();
    machine.access(token, PF);
    machine.access(token, DISK);
}

fn flr(machine: &Machine, token: &mut ThreadToken) {
    let snapshot = machine.snapshot(token);
    let done = machine.resets.reset_function_by(token, &snapshot, PF, Method::Flr, ahead());
    note("FLR", &done);
}

fn pm_reset(machine: &Machine, token: &mut ThreadToken) {
    let snapshot = machine.snapshot(token);
    note("PM reset", &machine.resets.reset_function_by(token, &snapshot, DISK, Method::Pm, ahead()));
}

fn bus_reset(machine: &Machine, token: &mut ThreadToken) {
    let snapshot = machine.snapshot(token);
    note("bus reset", &machine.resets.reset_bus(token, &snapshot, ROOT, ahead()));
}

/// Resets that wait for nobody: they succeed or change nothing.
fn try_resets(machine: &Machine, token: &mut ThreadToken) {
    for _ in 0..4 {
        linger();
        let snapshot = machine.snapshot(token);
        note("try reset", &machine.resets.try_reset_function(token, &snapshot, DISK));
        note("try bus reset", &machine.resets.try_reset_bus(token, &snapshot, ROOT));
    }
}

/// The disk sleeps and wakes.
fn sleep(machine: &Machine, token: &mut ThreadToken) {
    let snapshot = machine.snapshot(token);
    note("D3hot", &machine.power.set_state(&snapshot, DISK, State::D3Hot, token, ahead()));
    note("D0", &machine.power.set_state(&snapshot, DISK, State::D0, token, ahead()));
}

/// The root port loses its power, and with it everything below.
fn power_cycle(machine: &Machine, token: &mut ThreadToken) {
    linger();
    let snapshot = machine.snapshot(token);
    note("D3cold", &machine.power.set_state(&snapshot, ROOT, State::D3Cold, token, ahead()));
    linger();
    let snapshot = machine.snapshot(token);
    note("power", &machine.power.set_state(&snapshot, ROOT, State::D0, token, ahead()));
}

/// Other operations of the host bridge for a while, and then new ones for good.
fn injector(machine: &Machine, token: &mut ThreadToken) {
    let injected = Wire::new(&machine.fabric, &machine.parts);
    let ops = injected.clone();
    linger();
    let with = machine.host.with_ops(token, |_| ops, ahead(), |_| thread::yield_now());
    note("injection", &with);
    // Somebody may be inside still if the wait for the last one was ended.
    if !token.is_cancelled() {
        injected.free();
    }
    let set = machine.host.set_ops(token, Wire::new(&machine.fabric, &machine.parts), ahead());
    note("exchange", &set);
    if set.is_ok() && !token.is_cancelled() {
        machine.wire.free();
    }
}

/// Removal of the disk: nothing gets in any more, it is pulled, and the picture loses it, if no scan was first.
fn remover(machine: &Machine, token: &mut ThreadToken) {
    linger();
    assert!(machine.disk_function.gate().retire(token, ahead()).orphans.is_empty());
    machine.parts.disk.monitor.removed();
    assert_eq!(machine.fabric.unplug(machine.disk).len(), 1);
    note("removal", &machine.topology.remove(token, DISK, ahead()));
    assert!(machine.function(token, DISK).is_none());
}

/// Everything that is there is in D0, has its registers, and is open.
fn assert_restored(machine: &Machine, before: [Registers; 3]) {
    wake_all(machine);
    machine.assert_at_rest();
    for (part, before) in machine.parts.all().into_iter().zip(before) {
        if !part.is_gone() {
            assert_eq!(part.registers(), before, "{}", part.gate.name());
        }
    }
}

/// A power change that failed, as some may, leaves a power state behind.
fn wake_all(machine: &Machine) {
    let mut token = ThreadToken::at_thread_entry();
    let snapshot = machine.snapshot(&token);
    for at in [ROOT, PF, DISK].into_iter().filter(|at| snapshot.function(*at).is_some()) {
        let awake = machine.power.set_state(&snapshot, at, State::D0, &mut token, ahead());
        assert_eq!(awake.ok(), Some(State::D0), "{at}");
    }
}

/// Runs the works on a machine of their own, and checks it at the end.
fn run(works: &[fn(&Machine, &mut ThreadToken)]) {
    let machine = Machine::new();
    let before = machine.parts.all().map(|part| part.registers());
    crate::together(works.iter().map(|work| crate::work(&machine, *work)).collect());
    assert_restored(&machine, before);
}
