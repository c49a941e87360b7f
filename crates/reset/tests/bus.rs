//! Resets of everything below a bridge.

mod machine;

use gate::{AccessKind, GateState};
use machine::{NEVER, Plan, Rig, Script, bdf, bridge, endpoint, ms, soon};
use pci_core::{Errno, Express, ExtendedCapability, ResetKind, Slot};
use pci_spec::capability::express::PortType;
use pci_spec::extended::cxl_port;
use reset::{Done, Error, Quirks, Through};

const ROOT: &str = "0000:00:01.0";
const UP: &str = "0000:01:00.0";
const DOWN: [&str; 2] = ["0000:02:00.0", "0000:02:01.0"];
const LEAF: [&str; 2] = ["0000:03:00.0", "0000:04:00.0"];
const ASIDE: &str = "0000:00:02.0";

/// A root port, a switch with two ports, a device below each; and one on the root bus beside it.
fn tree(leaf: Script) -> Plan {
    tree_below(false, leaf)
}

fn tree_below(slot: bool, leaf: Script) -> Plan {
    let slot_below = Slot { number: 1, hot_plug: true, surprise: false, present: true };
    let port = |kind| Express::port(kind);
    let root = Express { slot: slot.then_some(slot_below), ..port(PortType::RootPort) };
    let mut plan = Plan::new()
        .bridge(ROOT, bridge().capability(root), Script::default(), (1, 4), slot)
        .bridge(UP, bridge().capability(port(PortType::UpstreamPort)), Script::default(), (2, 4), false)
        .endpoint(ASIDE, endpoint(), Script::default());
    for (index, at) in DOWN.into_iter().enumerate() {
        let bus = 3 + u8::try_from(index).expect("small");
        let config = bridge().capability(port(PortType::DownstreamPort));
        plan = plan.bridge(at, config, Script::default(), (bus, bus), false);
    }
    for at in LEAF {
        plan = plan.endpoint(at, endpoint().capability(Express::default()), leaf);
    }
    plan
}

fn all() -> Vec<&'static str> {
    [&[ROOT, UP][..], &DOWN, &LEAF].concat()
}

fn reset_bus(rig: &mut Rig, at: &str) -> Result<Done, Error> {
    rig.resets.reset_bus(&mut rig.token, &rig.snapshot, bdf(at), soon())
}

#[test]
fn rst_14_a_whole_subtree_is_reset_and_everything_in_it_restored() {
    let mut rig = tree(Script::default()).build();
    let before: Vec<Vec<u8>> = all().iter().map(|at| rig.bytes(at)).collect();
    let done = reset_bus(&mut rig, ROOT).expect("a reset");
    assert_eq!((done.method, done.not_restored), (None, 0));
    let after: Vec<Vec<u8>> = all().iter().map(|at| rig.bytes(at)).collect();
    for (at, (before, after)) in all().iter().zip(before.iter().zip(&after)) {
        let lost: Vec<usize> = (0..4096).filter(|byte| before[*byte] != after[*byte]).collect();
        assert!(lost.is_empty(), "{at} lost {lost:x?}");
    }
    for at in all().into_iter().skip(1) {
        assert_eq!(*rig.silicon[&bdf(at)].resets.lock(), [ResetKind::DeviceReset], "{at}");
    }
    assert!(rig.silicon[&bdf(ROOT)].resets.lock().is_empty(), "the bridge itself is not reset");
    assert!(rig.silicon[&bdf(ASIDE)].resets.lock().is_empty());
    assert!(all().iter().all(|at| rig.is_open(at)));
}

#[test]
fn rst_14_bridges_come_before_what_is_below_them() {
    let mut rig = tree(Script::default()).build();
    assert!(reset_bus(&mut rig, ROOT).is_ok());
    let told: Vec<String> = rig.told();
    let place =
        |line: String| told.iter().position(|other| *other == line).unwrap_or_else(|| panic!("{line}"));
    for (above, below) in [(UP, DOWN[0]), (DOWN[0], LEAF[0]), (DOWN[1], LEAF[1])] {
        assert!(place(format!("{above}: about to be reset")) < place(format!("{below}: about to be reset")));
        assert!(place(format!("{above}: reset")) < place(format!("{below}: reset")));
    }
    assert!(place(format!("{}: about to be reset", LEAF[1])) < place(format!("{UP}: reset")));
    assert!(told.iter().all(|line| !line.starts_with(ROOT)));
}

#[test]
fn rst_14_everybody_below_is_kept_out_and_nobody_else() {
    let mut rig = tree(Script { bus: ms(500), ..Script::default() }).build();
    let handles: Vec<_> = all().iter().map(|at| rig.function(at).handle().clone()).collect();
    rig.clock.kept_out.lock().extend(handles);
    rig.clock.let_in.lock().push(rig.function(ASIDE).handle().clone());
    assert!(reset_bus(&mut rig, ROOT).is_ok());
    assert!(rig.now_ms() > 500);
}

#[test]
fn rst_14_contention_anywhere_below_changes_nothing() {
    for busy in all() {
        let mut rig = tree(Script::default()).build();
        let probed = rig.resets.probe_bus(&mut rig.token, &rig.snapshot, bdf(ROOT), soon());
        assert_eq!(probed.expect("possible"), Through::Bus);
        let function = rig.function(busy);
        let inside = function.handle().enter_long(&mut rig.token, AccessKind::Dma, "a command", soon());
        let inside = inside.expect("open");
        let refused = rig.resets.try_reset_bus(&mut rig.token, &rig.snapshot, bdf(ROOT));
        assert_eq!(refused.expect_err("in use").errno(), Errno::EAGAIN, "{busy}");
        assert!(rig.machine.written.lock().is_empty() && rig.told().is_empty());
        assert!(all().iter().all(|at| rig.is_open(at)));
        drop(inside);
        assert!(rig.resets.try_reset_bus(&mut rig.token, &rig.snapshot, bdf(ROOT)).is_ok());
    }
}

#[test]
fn rst_14_a_slot_is_preferred() {
    let mut rig = tree_below(true, Script::default()).build();
    let through = rig.resets.probe_bus(&mut rig.token, &rig.snapshot, bdf(ROOT), soon());
    assert_eq!(through.expect("possible"), Through::Slot);
    assert!(reset_bus(&mut rig, ROOT).is_ok());
    let express = rig.config(ROOT).find_capability(0x10).expect("PCI Express");
    assert_eq!(rig.writes(ROOT, express + 0x1a), [0x0108], "the slot's events were cleared (HP-16)");
}

#[test]
fn rst_15_one_device_that_does_not_survive_it_rules_it_out() {
    let quirks = |_, device| Quirks { no_bus_reset: device == 0x5678, ..Quirks::default() };
    let mut rig = tree(Script::default()).quirks(quirks).build();
    let error = reset_bus(&mut rig, ROOT).expect_err("a refusal");
    assert_eq!(error.errno(), Errno::ENOTTY);
    assert!(rig.machine.written.lock().is_empty() && rig.told().is_empty());
    drop(rig);
    let quirks = |_, device| Quirks { no_bus_reset: device == 0x0001, ..Quirks::default() };
    let mut rig = tree(Script::default()).quirks(quirks).build();
    assert!(matches!(reset_bus(&mut rig, ROOT), Err(Error::NotResettable)));
    assert!(matches!(reset_bus(&mut rig, LEAF[0]), Err(Error::NotResettable)), "an endpoint has no bus");
}

#[test]
fn rst_10_a_subtree_that_does_not_come_back_is_reported_and_reopened() {
    let mut rig = tree(Script { bus: NEVER, ..Script::default() }).build();
    let error = reset_bus(&mut rig, ROOT).expect_err("a failure");
    assert_eq!(error.errno(), Errno::ENOTTY);
    assert_eq!(rig.bus_resets(ROOT), [0x40, 0], "the bus does not stay in reset");
    assert!(all().iter().all(|at| rig.is_open(at)));
    assert!(rig.told().iter().any(|line| line.ends_with("giving up")));
}

#[test]
fn a_leaf_that_is_pulled_meanwhile_costs_the_others_nothing() {
    for when in [ms(0), ms(1), ms(50), ms(122)] {
        let mut rig = tree(Script { bus: ms(300), ..Script::default() }).build();
        let before = rig.bytes(LEAF[1]);
        rig.pull(LEAF[0], when);
        let done = reset_bus(&mut rig, ROOT).expect("the others were reset");
        assert_eq!(done.not_restored, 0);
        assert_eq!(rig.bytes(LEAF[1]), before);
        assert_eq!(rig.function(LEAF[0]).gate().status().state, GateState::Gone);
        for at in all().into_iter().filter(|at| *at != LEAF[0]) {
            assert!(rig.is_open(at), "{at}");
        }
    }
}

#[test]
fn the_whole_subtree_that_is_pulled_meanwhile_ends_the_reset_at_once() {
    for when in [ms(0), ms(1), ms(50), ms(400), ms(9000)] {
        let mut rig = tree(Script { bus: NEVER, ..Script::default() }).build();
        for at in all() {
            rig.pull(at, when);
        }
        let error = reset_bus(&mut rig, ROOT).expect_err("removed");
        assert_eq!(error.errno(), Errno::ENOTTY);
        assert!(rig.now_ms() <= when.as_millis(), "at once");
        assert!(all().iter().all(|at| rig.function(at).gate().status().state == GateState::Gone), "{when:?}");
        assert!(rig.is_open(ASIDE));
    }
}

#[test]
fn the_bridge_alone_that_is_pulled_leaves_no_gate_closed() {
    for when in [ms(0), ms(1), ms(50), ms(400)] {
        let mut rig = tree(Script { bus: NEVER, ..Script::default() }).build();
        rig.pull(ROOT, when);
        assert_eq!(reset_bus(&mut rig, ROOT).expect_err("removed").errno(), Errno::ENOTTY);
        assert!(all().into_iter().skip(1).all(|at| rig.is_open(at)));
    }
}

#[test]
fn rst_04_reset_subordinate_is_for_administrators_and_takes_one() {
    let mut rig = tree(Script::default()).build();
    let Rig { token, snapshot, resets, .. } = &mut rig;
    let mut write = |text, administrator| {
        resets.reset_subordinate(token, snapshot, bdf(ROOT), text, administrator, soon())
    };
    assert_eq!(write("1", false).expect_err("refused").errno(), Errno::EPERM);
    assert_eq!(write("2", true).expect_err("refused").errno(), Errno::EINVAL);
    assert!(write("1\n", true).is_ok());
}

#[test]
fn rst_09_a_cxl_port_that_masks_the_reset_of_its_bus_makes_it_enotty() {
    let port = bridge()
        .capability(Express::port(PortType::RootPort))
        .extended_capability(ExtendedCapability::CxlPort);
    let mut rig = Plan::new()
        .bridge(ROOT, port, Script::default(), (1, 1), false)
        .endpoint(UP, endpoint(), Script::default())
        .build();
    assert_eq!(reset_bus(&mut rig, ROOT).expect_err("masked").errno(), Errno::ENOTTY);
    assert!(rig.bus_resets(ROOT).is_empty() && rig.told().is_empty());
    let control = rig.config(ROOT).find_extended(0x23).expect("CXL") + cxl_port::CONTROL;
    let _ = rig.config(ROOT).write(control, &[1, 0]);
    assert!(reset_bus(&mut rig, ROOT).is_ok());
}
