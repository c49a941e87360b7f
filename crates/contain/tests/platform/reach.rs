//! What a reset reaches, how long it takes, and what is as before afterwards.

use crate::hardware::{
    ASIDE, DOWN, HOT, LEAF, LONE, PF, PORT, ROOT, Rig, UP, VFS, bdf, below_root, ms, soon,
};
use contain::plan::Reset;
use gate::{AccessKind, Deadline};
use pci_core::{DeviceState, ResetKind};
use reset::Quirks;
use std::time::Duration;

#[test]
fn eeh_19_a_hot_reset_has_its_times_and_everything_below_is_as_before() {
    let mut rig = Rig::new();
    let all = below_root();
    let before = rig.all_bytes(&all);
    let (functions, mut closed) = rig.contain(&all);
    assert!(rig.reset(&functions, HOT, &mut closed));
    let waits = rig.clock.waits.lock().clone();
    assert_eq!(waits.iter().filter(|wait| **wait == ms(250)).count(), 1, "held once: {waits:?}");
    assert_eq!(waits.iter().filter(|wait| **wait == ms(1800)).count(), 1, "settled once: {waits:?}");
    assert!(rig.restore(&functions, &mut closed));
    for ((at, before), after) in all.iter().zip(&before).zip(rig.all_bytes(&all)) {
        let lost: Vec<usize> = (0..4096).filter(|byte| before[*byte] != after[*byte]).collect();
        assert!(lost.is_empty(), "RST-18, RST-19: {at} lost {lost:x?}");
    }
    for at in [UP, DOWN[0], DOWN[1], LEAF[0], LEAF[1], PF] {
        assert_eq!(rig.resets_of(at), [ResetKind::DeviceReset], "{at}");
    }
    for at in [ROOT, PORT, LONE, ASIDE] {
        assert_eq!(rig.resets_of(at), [], "{at}");
        assert!(rig.is_open(at), "{at}");
    }
}

#[test]
fn the_gates_come_back_closed_and_what_is_contained_stays_frozen_until_it_is_released() {
    let mut rig = Rig::new();
    let all = below_root();
    let (functions, mut closed) = rig.contain(&all);
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    assert!(functions.iter().all(|function| closed.is_closed(function.id)));
    drop(closed);
    assert!(functions.iter().all(|function| function.function.is_contained()));
    assert!(all.iter().all(|at| !rig.is_open(at)));
    for function in &functions {
        assert!(function.function.release());
    }
    assert!(all.iter().all(|at| rig.is_open(at)));
}

#[test]
fn rst_14_nobody_gets_in_while_time_passes_and_nobody_else_is_blocked() {
    let mut rig = Rig::new();
    let all = below_root();
    let (functions, mut closed) = rig.contain(&all);
    // Released early, so that only the closed gates keep anybody out.
    functions.iter().for_each(|function| assert!(function.function.release()));
    let handles = functions.iter().map(|function| function.function.handle().clone());
    rig.clock.kept_out.lock().extend(handles);
    for at in [ASIDE, PORT, LONE] {
        let handle = rig.function(at).function.handle().clone();
        rig.clock.let_in.lock().push(handle);
    }
    assert!(rig.reset(&functions, HOT, &mut closed));
    assert!(rig.clock.waits.lock().len() > 2);
}

#[test]
fn rst_19_virtual_functions_answer_again_after_a_reset_of_their_physical_functions_bus() {
    let mut rig = Rig::new();
    let scope = [&[PF][..], &VFS].concat();
    let before = rig.all_bytes(&scope);
    let (functions, mut closed) = rig.contain(&scope);
    assert!(rig.reset(&functions, HOT, &mut closed), "below the port of the switch nobody else is");
    assert!(rig.restore(&functions, &mut closed));
    assert_eq!(rig.all_bytes(&scope), before);
    assert_eq!(rig.resets_of(PF), [ResetKind::DeviceReset]);
    assert_eq!(rig.resets_of(DOWN[1]), [], "the port itself is not in the PE");
    assert!(rig.is_open(DOWN[1]));
}

#[test]
fn a_pe_that_shares_its_bus_is_reset_by_its_functions_own_methods() {
    let mut rig = Rig::new();
    let before = rig.bytes(LEAF[0]);
    let (functions, mut closed) = rig.contain(&[LEAF[0]]);
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    assert_eq!(rig.resets_of(LEAF[0]), [ResetKind::FunctionLevel], "RST-05");
    assert_eq!(rig.resets_of(LEAF[1]), [], "the other function of the card is nobody's business");
    assert_eq!(rig.bytes(LEAF[0]), before);
    assert!(rig.is_open(LEAF[1]));
}

#[test]
fn a_virtual_functions_pe_is_reset_without_its_physical_function() {
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&[VFS[1]]);
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    assert_eq!(rig.resets_of(PF), []);
    assert!([PF, VFS[0], VFS[2]].iter().all(|at| rig.is_open(at)));
}

#[test]
fn rst_15_where_the_bus_may_not_be_reset_the_functions_are_one_by_one() {
    let mut rig = Rig::with(|resets| {
        resets.with_quirks(|_, device| Quirks { no_bus_reset: device == 0x5678, ..Quirks::default() })
    });
    let scope = [&[PF][..], &VFS].concat();
    let before = rig.all_bytes(&scope);
    let (functions, mut closed) = rig.contain(&scope);
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    assert_eq!(rig.resets_of(PF), [ResetKind::FunctionLevel]);
    assert_eq!(rig.all_bytes(&scope), before, "RST-19: the virtual functions with it");
}

#[test]
fn eeh_11_a_host_bridge_is_reset_port_by_port_and_what_is_on_its_bus_by_itself() {
    let mut rig = Rig::new();
    let scope = [&[ROOT, PORT, ASIDE][..], &below_root(), &[LONE]].concat();
    let before = rig.all_bytes(&scope);
    let (functions, mut closed) = rig.contain(&scope);
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    assert_eq!(rig.resets_of(ASIDE), [ResetKind::FunctionLevel]);
    assert_eq!(rig.resets_of(LONE), [ResetKind::DeviceReset]);
    assert_eq!(rig.resets_of(LEAF[1]), [ResetKind::DeviceReset]);
    assert_eq!(rig.all_bytes(&scope), before);
}

#[test]
fn eeh_11_a_host_bridge_with_nothing_below_is_reset_at_once() {
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&[]);
    assert!(rig.reset(&functions, HOT, &mut closed));
    assert_eq!(*rig.clock.waits.lock(), []);
}

#[test]
fn eeh_04_a_fundamental_reset_leaves_nothing_in_the_device() {
    let mut rig = Rig::new();
    let before = rig.bytes(LONE);
    let (functions, mut closed) = rig.contain(&[LONE]);
    let how = Reset::Fundamental { hold: ms(250), settle: ms(1800) };
    assert!(rig.reset(&functions, how, &mut closed) && rig.restore(&functions, &mut closed));
    assert!(rig.resets_of(LONE).contains(&ResetKind::PowerCycle));
    assert_eq!(rig.bytes(LONE), before);
}

#[test]
fn rst_09_a_secondary_bus_reset_is_held_no_shorter_than_hardware_needs() {
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&[LONE]);
    assert!(rig.reset(&functions, Reset::SecondaryBus { hold: Duration::ZERO }, &mut closed));
    assert_eq!(rig.clock.waits.lock().first(), Some(&ms(2)));
}

#[test]
fn a_function_that_is_not_closed_is_not_reset_nor_is_anybody_else() {
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&below_root());
    let function = rig.function(LEAF[1]);
    assert!(closed.open(function.id));
    rig.wire.written.lock().clear();
    assert!(!rig.reset(&functions, HOT, &mut closed));
    assert!(rig.wire.written.lock().is_empty());
    assert_eq!(closed.len(), functions.len() - 1);
}

#[test]
fn a_bridge_that_somebody_else_has_is_asked_for_again_and_not_waited_for() {
    let mut rig = Rig::new();
    let (functions, mut closed) = rig.contain(&[LONE]);
    let bridge = rig.function(PORT).function.clone();
    let inside = bridge.handle().enter_long(&mut rig.token, AccessKind::Dma, "a command", soon()).unwrap();
    assert!(!rig.reset(&functions, HOT, &mut closed), "RST-12: it stays busy");
    assert_eq!(rig.resets_of(LONE), []);
    assert!(closed.is_closed(functions[0].id));
    let leaves = pci_core::Time::now(&*rig.clock) + ms(35);
    rig.clock.at(leaves, move |_| drop(inside));
    assert!(rig.reset(&functions, HOT, &mut closed));
    assert!(rig.restore(&functions, &mut closed));
    assert!(rig.is_open(PORT), "it was closed for the reset only");
}

#[test]
fn pwr_what_has_no_power_is_not_waited_for() {
    let mut rig = Rig::new();
    let platform = std::sync::Arc::new(power::Emulated::managing([bdf(LEAF[0])]));
    let power = power::Power::new(rig.clock.clone()).on(platform);
    let snapshot = rig.snapshot();
    power.set_state(&snapshot, bdf(LEAF[0]), DeviceState::D3Cold, &mut rig.token, soon()).unwrap();
    let (functions, mut closed) = rig.contain(&LEAF);
    let started = pci_core::Time::now(&*rig.clock);
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    let took = pci_core::Time::now(&*rig.clock) - started;
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_deadline_that_has_passed_leaves_no_bus_in_reset_and_the_next_reset_finds_what_was_there() {
    let mut rig = Rig::new();
    let all = below_root();
    let before = rig.all_bytes(&all);
    let (functions, mut closed) = rig.contain(&all);
    assert!(!rig.reset_by(&functions, HOT, &mut closed, Deadline::after(Duration::ZERO)));
    assert!(!rig.is_in_reset(ROOT));
    assert_ne!(rig.all_bytes(&all), before, "the reset was under way");
    assert_eq!(closed.len(), functions.len());
    assert!(rig.reset(&functions, HOT, &mut closed) && rig.restore(&functions, &mut closed));
    assert_eq!(rig.all_bytes(&all), before);
}

#[test]
fn aer_08_a_port_that_contains_an_error_is_released_and_what_is_below_is_as_before() {
    let mut rig = Rig::new();
    let before = rig.bytes(LONE);
    let port = rig.function(PORT).function.clone();
    let pass = port.handle().try_enter(&rig.token, AccessKind::Config).unwrap();
    let dpc = port.find_extended_capability(&pass, pci_spec::extended::id::DPC).unwrap().unwrap();
    drop(pass);
    let (functions, mut closed) = rig.contain(&[LONE]);
    rig.wire.written.lock().clear();
    let how = Reset::ReleasePort { link_inactive: ms(1000), root_port_busy: ms(1000) };
    assert!(rig.reset(&functions, how, &mut closed) && rig.restore(&functions, &mut closed));
    let status = dpc + pci_spec::extended::dpc::STATUS;
    let released = rig
        .wire
        .written
        .lock()
        .iter()
        .any(|(at, register, value)| (*at, *register) == (bdf(PORT), status) && value & 1 != 0);
    assert!(released, "its status was cleared");
    assert_eq!(rig.resets_of(LONE), [ResetKind::DeviceReset]);
    assert_eq!(rig.bytes(LONE), before);
    let (functions, mut closed) = rig.contain(&[ASIDE]);
    assert!(!rig.reset(&functions, how, &mut closed), "no port, no release");
}
