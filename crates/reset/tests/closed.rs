//! Resets of functions that the caller has closed and goes on with.

mod machine;

use gate::{Deadline, Reason};
use machine::{NEVER, Plan, Rig, Script, bdf, bridge, endpoint, ms, soon};
use pci_core::{Errno, Express, ExtendedCapability, ResetKind};
use pci_spec::capability::express::PortType;
use pci_spec::config;
use pci_spec::extended::cxl_port;
use reset::{BusReset, BusTimes, Custody, Done, Error, Kept, Method, NotBack};
use std::time::Duration;

const ROOT: &str = "0000:00:01.0";
const LEAF: [&str; 2] = ["0000:01:00.0", "0000:01:00.1"];
const HOT: BusReset = BusReset::Hot(BusTimes { hold: ms(250), settle: ms(1800) });

/// A root port with two functions below.
fn rig(leaf: Script) -> Rig {
    let port = bridge().capability(Express::port(PortType::RootPort));
    rig_below(port, leaf)
}

fn rig_below(port: pci_core::ConfigSpaceBuilder, leaf: Script) -> Rig {
    let mut plan = Plan::new().bridge(ROOT, port, Script::default(), (1, 1), false);
    for at in LEAF {
        plan = plan.endpoint(at, endpoint().capability(Express::default()), leaf);
    }
    plan.build()
}

fn take(rig: &mut Rig, all: &[&str]) -> Custody {
    let mut custody = Custody::default();
    for at in all {
        let node = rig.snapshot.function(bdf(at)).expect("a function").clone();
        let quiesced = node.function.gate().close(&mut rig.token, Reason::Reset, soon()).expect("open");
        let closed = quiesced.park();
        custody.add(node, closed).expect("its own gate");
    }
    custody
}

fn keep(rig: &mut Rig, custody: &mut Custody) -> Kept {
    rig.resets.keep_closed(&mut rig.token, &rig.snapshot, custody, soon())
}

fn reset_bus(
    rig: &mut Rig,
    how: BusReset,
    custody: &mut Custody,
    kept: &Kept,
    deadline: Deadline,
) -> Result<Done, Error> {
    rig.resets.reset_bus_closed(&mut rig.token, &rig.snapshot, bdf(ROOT), how, custody, kept, deadline)
}

#[test]
fn eeh_19_the_bus_is_held_in_reset_and_left_alone_for_as_long_as_was_asked_for() {
    let mut rig = rig(Script::default());
    let before = LEAF.map(|at| rig.bytes(at));
    let mut custody = take(&mut rig, &LEAF);
    let kept = keep(&mut rig, &mut custody);
    rig.clock.waits.lock().clear();
    let done = reset_bus(&mut rig, HOT, &mut custody, &kept, soon()).expect("a reset");
    assert_eq!(done.not_restored, 0);
    assert_eq!(rig.clock.waits.lock()[..2], [ms(250), ms(1800)]);
    assert_eq!(LEAF.map(|at| rig.bytes(at)), before);
    assert!(rig.is_open(ROOT), "the bridge was closed for the reset only");
    assert!(LEAF.iter().all(|at| !rig.is_open(at)));
    assert_eq!(custody.into_gates().len(), 2);
    assert!(LEAF.iter().all(|at| rig.is_open(at)), "the gates were let go");
}

#[test]
fn rst_15_what_the_caller_has_not_closed_is_not_reset() {
    let mut rig = rig(Script::default());
    let mut custody = take(&mut rig, &LEAF[..1]);
    let kept = keep(&mut rig, &mut custody);
    rig.machine.written.lock().clear();
    let error = reset_bus(&mut rig, HOT, &mut custody, &kept, soon()).expect_err("another function");
    assert_eq!(error.errno(), Errno::EAGAIN);
    assert!(rig.machine.written.lock().is_empty());
    assert!(custody.holds(bdf(LEAF[0])) && !custody.holds(bdf(LEAF[1])));
}

#[test]
fn rst_10_one_that_does_not_come_back_is_named_after_a_wait_that_ends() {
    let mut rig = rig(Script { bus: NEVER, ..Script::default() });
    let mut custody = take(&mut rig, &LEAF);
    let kept = keep(&mut rig, &mut custody);
    let error = reset_bus(&mut rig, HOT, &mut custody, &kept, soon()).expect_err("silent");
    assert!(matches!(error, Error::NotBack(at) if at == bdf(LEAF[0])), "{error}");
    assert_eq!(error.errno(), Errno::ENOTTY);
    assert_eq!(*rig.silicon[&bdf(LEAF[0])].resets.lock(), [ResetKind::DeviceReset]);
    let restored = rig.resets.restore_closed(&mut rig.token, &rig.snapshot, &mut custody, &kept, soon());
    assert!(restored.iter().all(|(_, done)| *done == Err(NotBack::Silent)), "{restored:?}");
}

#[test]
fn one_that_comes_back_late_is_restored_late() {
    let mut rig = rig(Script { bus: Duration::from_secs(100_000), ..Script::default() });
    let before = rig.bytes(LEAF[0]);
    let mut custody = take(&mut rig, &LEAF);
    let kept = keep(&mut rig, &mut custody);
    assert!(reset_bus(&mut rig, HOT, &mut custody, &kept, soon()).is_err());
    assert_ne!(rig.bytes(LEAF[0]), before);
    let clock = rig.clock.clone();
    let node = rig.snapshot.function(bdf(ROOT)).expect("a port").clone();
    let closed = node.function.gate().close(&mut rig.token, Reason::Reset, soon()).expect("open").park();
    pci_core::Time::pass(&*clock, &mut rig.token, &closed, Duration::from_secs(100_000)).expect("there");
    let restored = rig.resets.restore_closed(&mut rig.token, &rig.snapshot, &mut custody, &kept, soon());
    assert!(restored.iter().all(|(_, done)| *done == Ok(0)), "{restored:?}");
    assert_eq!(rig.bytes(LEAF[0]), before);
}

#[test]
fn past_the_deadline_no_time_passes_and_nothing_below_is_touched() {
    let mut rig = rig(Script::default());
    let mut custody = take(&mut rig, &LEAF);
    let kept = keep(&mut rig, &mut custody);
    rig.machine.written.lock().clear();
    rig.clock.waits.lock().clear();
    let over = Deadline::after(Duration::ZERO);
    let error = reset_bus(&mut rig, HOT, &mut custody, &kept, over).expect_err("late");
    assert!(matches!(error, Error::Late), "{error}");
    assert_eq!(error.errno(), Errno::ETIMEDOUT);
    assert!(rig.clock.waits.lock().is_empty());
    let resets: Vec<bool> = rig.bus_resets(ROOT).iter().map(|value| value & 0x40 != 0).collect();
    assert_eq!(resets, [true, false], "the bus is not left in reset");
    assert_eq!(rig.writes(LEAF[0], config::BAR0), []);
    assert!(custody.holds(bdf(LEAF[0])) && rig.is_open(ROOT));
}

#[test]
fn a_silent_function_has_no_state_to_keep() {
    let mut rig = rig(Script::default());
    let mut custody = take(&mut rig, &LEAF);
    rig.machine.hang(LEAF[1]);
    let kept = keep(&mut rig, &mut custody);
    assert!(kept.contains_key(&bdf(LEAF[0])) && !kept.contains_key(&bdf(LEAF[1])));
}

#[test]
fn rst_05_a_function_is_reset_by_its_own_method_beside_others_that_are_not_touched() {
    let mut rig = rig(Script { flr: ms(300), ..Script::default() });
    let before = rig.bytes(LEAF[0]);
    let mut custody = take(&mut rig, &LEAF[..1]);
    let kept = keep(&mut rig, &mut custody);
    let (token, snapshot) = (&mut rig.token, &rig.snapshot);
    let done = rig.resets.reset_function_closed(token, snapshot, bdf(LEAF[0]), &mut custody, &kept, soon());
    let done = done.expect("a reset");
    assert_eq!((done.method, done.not_restored), (Some(Method::Flr), 0));
    assert_eq!(rig.bytes(LEAF[0]), before);
    assert!(!rig.is_open(LEAF[0]) && rig.is_open(LEAF[1]));
    let snapshot = &rig.snapshot;
    let other =
        rig.resets.reset_function_closed(&mut rig.token, snapshot, bdf(LEAF[1]), &mut custody, &kept, soon());
    assert!(matches!(other, Err(Error::Changed)), "it is not closed");
}

#[test]
fn rst_17_a_cxl_port_lets_the_reset_through_for_as_long_as_it_takes() {
    let dvsec = ExtendedCapability::CxlPort;
    let port = bridge().capability(Express::port(PortType::RootPort)).extended_capability(dvsec);
    let mut rig = rig_below(port, Script::default());
    let control = rig.config(ROOT).find_extended(0x23).expect("CXL") + cxl_port::CONTROL;
    let mut custody = take(&mut rig, &LEAF);
    let kept = keep(&mut rig, &mut custody);
    assert!(reset_bus(&mut rig, HOT, &mut custody, &kept, soon()).is_ok());
    let unmask = u32::from(cxl_port::UNMASK_SECONDARY_BUS_RESET);
    assert_eq!(rig.writes(ROOT, control), [unmask, 0]);
}

#[test]
fn a_gate_that_is_another_functions_is_not_taken() {
    let mut rig = rig(Script::default());
    let node = rig.snapshot.function(bdf(LEAF[0])).expect("a function").clone();
    let other = rig.function(LEAF[1]);
    let closed = other.gate().close(&mut rig.token, Reason::Reset, soon()).expect("open").park();
    let mut custody = Custody::default();
    let given_back = custody.add(node, closed).expect_err("not its gate");
    assert!(given_back.is_of(other.gate()));
    assert_eq!(custody.places().count(), 0);
}
