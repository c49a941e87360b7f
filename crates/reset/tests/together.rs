//! What goes along with the reset of a function: its virtual functions, and power if it has none.

mod machine;

use machine::{Plan, Rig, Script, bdf, bridge, endpoint, ms, soon};
use pci_core::{DeviceState, Errno, Express, ExtendedCapability, Msi, Pm, ResetKind, SrIov};
use pci_spec::capability::express::PortType;
use pci_spec::extended::sr_iov;
use power::{Emulated, Power};
use reset::{Method, Preserved};
use std::sync::Arc;

const PF: &str = "0000:01:00.0";
const VFS: [&str; 2] = ["0000:01:00.1", "0000:01:00.2"];

const ROOT: &str = "0000:00:01.0";

fn physical() -> Rig {
    with_physical(Plan::new())
}

fn with_physical(plan: Plan) -> Rig {
    let config = endpoint()
        .capability(Express::default())
        .extended_capability(ExtendedCapability::SrIov(SrIov::new(2, 0x5679)));
    let mut plan = plan.endpoint(PF, config, Script { flr: ms(20), ..Script::default() });
    for at in VFS {
        plan = plan.virtual_function(at, PF);
    }
    let rig = plan.build();
    let base = rig.config(PF).find_extended(0x10).expect("SR-IOV");
    let _ = rig.config(PF).write(base + sr_iov::NUM_VFS, &[2, 0]);
    let enable = sr_iov::Control::VF_ENABLE | sr_iov::Control::VF_MEMORY_SPACE;
    let _ = rig.config(PF).write(base + sr_iov::CONTROL, &enable.bits().to_le_bytes());
    rig
}

#[test]
fn rst_19_virtual_functions_are_reset_with_their_function_and_come_back() {
    let mut rig = physical();
    let before: Vec<Vec<u8>> = [PF, VFS[0], VFS[1]].iter().map(|at| rig.bytes(at)).collect();
    for at in VFS {
        rig.clock.kept_out.lock().push(rig.function(at).handle().clone());
    }
    let done = rig.reset(PF).expect("a reset");
    assert_eq!((done.method, done.not_restored), (Some(Method::Flr), 0));
    let after: Vec<Vec<u8>> = [PF, VFS[0], VFS[1]].iter().map(|at| rig.bytes(at)).collect();
    assert_eq!(after, before);
    for at in VFS {
        assert_eq!(*rig.silicon[&bdf(at)].resets.lock(), [ResetKind::FunctionLevel], "{at}");
        assert!(rig.is_open(at));
    }
    // 100 ms for the reset, and 100 ms from VF Enable to the first access.
    assert_eq!(rig.now_ms(), 200);
}

#[test]
fn rst_19_virtual_functions_come_back_from_the_reset_of_their_bus() {
    // They answer only once their physical function is restored, so the wait for the bus is not for them.
    let root = bridge().capability(Express::port(PortType::RootPort));
    let mut rig = with_physical(Plan::new().bridge(ROOT, root, Script::default(), (1, 1), false));
    let before: Vec<Vec<u8>> = [PF, VFS[0], VFS[1]].iter().map(|at| rig.bytes(at)).collect();
    let done = rig.resets.reset_bus(&mut rig.token, &rig.snapshot, bdf(ROOT), soon()).expect("a reset");
    assert_eq!(done.not_restored, 0);
    let after: Vec<Vec<u8>> = [PF, VFS[0], VFS[1]].iter().map(|at| rig.bytes(at)).collect();
    assert_eq!(after, before);
    assert!(rig.now_ms() < 1000, "{} ms: nobody was waited for in vain", rig.now_ms());
}

#[test]
fn a_virtual_function_is_reset_alone() {
    let mut rig = physical();
    for at in [PF, VFS[1]] {
        rig.clock.let_in.lock().push(rig.function(at).handle().clone());
    }
    assert_eq!(rig.reset(VFS[0]).expect("a reset").method, Some(Method::Flr));
    assert!(rig.silicon[&bdf(PF)].resets.lock().is_empty());
    assert!(rig.silicon[&bdf(VFS[1])].resets.lock().is_empty());
}

#[test]
fn rst_11_a_function_without_power_is_given_power_first() {
    let rig = Plan::new()
        .endpoint(PF, endpoint().capability(Express::default()).capability(Pm::default()), Script::default())
        .build();
    let power = Power::new(rig.clock.clone()).on(Arc::new(Emulated::managing([bdf(PF)])));
    let Rig { resets, .. } = rig;
    let mut rig = Rig { resets: resets.with_power(power.clone()), ..rig };
    let before = rig.bytes(PF);
    let cold = power.set_state(&rig.snapshot, bdf(PF), DeviceState::D3Cold, &mut rig.token, soon());
    assert_eq!(cold.expect("switched off"), DeviceState::D3Cold);
    assert_eq!(rig.reset(PF).expect("a reset").method, Some(Method::Flr));
    assert_eq!(rig.function(PF).device_state(), DeviceState::D0);
    assert_eq!(rig.bytes(PF), before);
}

#[test]
fn pwr_05_everything_of_rst_18_outlives_d3_with_power_changes_that_preserve_it() {
    let config = endpoint().capability(Express::default()).capability(Pm::default()).capability(Msi::new(2));
    let mut rig = Plan::new().endpoint(PF, config, Script::default()).build();
    let msi = rig.config(PF).find_capability(0x05).expect("MSI");
    let _ = rig.config(PF).write(msi + 4, &0xfee0_0000_u32.to_le_bytes());
    let _ = rig.config(PF).write(msi + 2, &[1, 0]);
    let platform = Arc::new(Emulated::managing([bdf(PF)]));
    let power = Power::new(rig.clock.clone()).on(platform).preserving(Arc::new(Preserved::default()));
    let before = rig.bytes(PF);
    for state in [DeviceState::D3Hot, DeviceState::D3Cold] {
        for state in [state, DeviceState::D0] {
            let reached = power.set_state(&rig.snapshot, bdf(PF), state, &mut rig.token, soon());
            assert_eq!(reached.expect("a change"), state);
        }
        assert_eq!(rig.bytes(PF), before, "{state}");
    }
}

#[test]
fn the_next_device_in_the_same_place_is_not_reset_for_the_last_one() {
    let mut rig =
        Plan::new().endpoint(PF, endpoint().capability(Express::default()), Script::default()).build();
    let learnt = rig.resets.probe(&mut rig.token, &rig.snapshot, bdf(PF), soon());
    assert!(learnt.is_ok());
    let gate = rig.function(PF).gate().clone();
    assert!(gate.retire(&mut rig.token, soon()).orphans.is_empty());
    let newcomer = gate.renew().expect("retired");
    // Law 5: the picture is of the old device, and its gate is the new one's by now.
    assert_eq!(rig.reset(PF).expect_err("gone").errno(), Errno::ENODEV);
    assert!(rig.machine.written.lock().is_empty() && rig.told().is_empty());
    assert!(rig.silicon[&bdf(PF)].resets.lock().is_empty());
    assert!(newcomer.try_enter(&rig.token, gate::AccessKind::Config).is_ok());
}
