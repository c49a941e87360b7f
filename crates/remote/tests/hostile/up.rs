//! Lies of a back end that has been honest until now.

use gate::ThreadToken;
use remote::config::Mode;

use crate::belongings::{Belongings, alone};
use crate::between::Lie;
use crate::lies::{End, all, scribbles};
use crate::stack::until;
use crate::vm::Vm;

/// Tells one lie, and looks at what the VM has of it.
fn play(token: &mut ThreadToken, mode: Mode, lie: Lie, end: End) {
    let (name, times) = (lie.name, lie.times);
    let mut vm = Vm::start(token, mode);
    let before = vm.losses();
    vm.between.arm(lie);
    until(name, || {
        vm.pokes(token);
        vm.between.told() >= times
    });
    if end == End::Lost {
        until(name, || vm.losses() > before);
    }
    vm.works(token, name);
    match end {
        End::Stays => assert_eq!(vm.losses(), before, "{name}"),
        End::Lost => assert_eq!(vm.losses(), before + 1, "{name}"),
        End::Either => assert!(vm.losses() <= before + 1, "{name}"),
    }
    vm.leave(token);
}

fn play_all(mode: Mode) {
    let _alone = alone();
    let mut token = ThreadToken::at_thread_entry();
    // Once before counting: what a process makes once stays.
    Vm::start(&mut token, mode).leave(&mut token);
    let before = Belongings::count();
    for (lie, end) in all() {
        play(&mut token, mode, lie, end);
        before.are_all(lie.name);
    }
}

#[test]
fn no_lie_harms_a_vm_whose_commands_are_replayed() {
    play_all(Mode::Replay);
}

#[test]
fn no_lie_harms_a_vm_whose_accesses_are_forwarded() {
    play_all(Mode::Reset);
}

#[test]
fn no_lie_harms_a_vm_that_has_the_back_ends_memory() {
    play_all(Mode::Passthrough);
}

#[test]
fn noise_in_the_queues_costs_the_back_end_its_place_and_the_vm_nothing_but_time() {
    let _alone = alone();
    let mut token = ThreadToken::at_thread_entry();
    let mut vm = Vm::start(&mut token, Mode::Replay);
    for seed in 0..4 {
        let line = vm.between.present().unwrap();
        scribbles(&line, seed);
        drop(line);
        vm.submits_and_hears_of_all(&mut token);
        vm.works(&mut token, "noise");
    }
    vm.leave(&mut token);
}
