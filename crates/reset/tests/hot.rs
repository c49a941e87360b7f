//! Hot reset by a consumer: only what it owns, all of it or nothing (VF-41 to VF-43).

mod machine;

use gate::{AccessKind, Reason};
use machine::{Plan, Rig, Script, bdf, bridge, endpoint, soon};
use pci_core::{Errno, Express, ResetKind};
use pci_spec::Bdf;
use pci_spec::capability::express::PortType;
use reset::hot::{Affected, Claim, Dependent, HotResetError, Opened, Ownership};
use reset::{Done, Quirks};

const PORT: &str = "0000:00:01.0";
const ONE: &str = "0000:01:00.0";
const TWO: &str = "0000:01:00.1";
const ON_ROOT: &str = "0000:00:03.0";

fn rig() -> Rig {
    plan().build()
}

fn plan() -> Plan {
    Plan::new()
        .bridge(
            PORT,
            bridge().capability(Express::port(PortType::RootPort)),
            Script::default(),
            (1, 1),
            false,
        )
        .endpoint(ONE, endpoint(), Script::default())
        .endpoint(TWO, endpoint(), Script::default())
        .endpoint(ON_ROOT, endpoint(), Script::default())
}

/// Group 10 and 11 for the two functions; the first is the caller's.
#[derive(Default)]
struct Groups {
    ungrouped: Option<&'static str>,
    owned: Vec<&'static str>,
}

impl Ownership for Groups {
    fn dependent(&self, at: Bdf) -> Option<Dependent> {
        let grouped = self.ungrouped.is_none_or(|ungrouped| bdf(ungrouped) != at);
        grouped.then(|| Dependent::Group(10 + u32::from(at.function())))
    }

    fn owns(&self, at: Bdf) -> bool {
        self.owned.iter().any(|owned| bdf(owned) == at)
    }
}

fn info(rig: &mut Rig, at: &str, owner: &Groups, room: usize) -> Result<Vec<Affected>, HotResetError> {
    rig.resets.hot_reset_info(&mut rig.token, &rig.snapshot, bdf(at), owner, room, soon())
}

fn run(rig: &mut Rig, owner: &Groups, opened: Opened, claim: Claim<'_>) -> Result<Done, HotResetError> {
    rig.resets.hot_reset(&mut rig.token, &rig.snapshot, bdf(ONE), owner, opened, claim)
}

fn refused(outcome: Result<Done, HotResetError>) -> Errno {
    outcome.expect_err("a refusal").errno()
}

#[test]
fn vf_41_all_functions_that_are_hit_are_listed_with_their_groups() {
    let mut rig = rig();
    let listed = info(&mut rig, TWO, &Groups::default(), 2).expect("room");
    let expected = [
        Affected { at: bdf(ONE), dependent: Dependent::Group(10) },
        Affected { at: bdf(TWO), dependent: Dependent::Group(11) },
    ];
    assert_eq!(listed, expected);
}

#[test]
fn vf_41_too_little_room_tells_how_much_is_needed() {
    let error = info(&mut rig(), ONE, &Groups::default(), 1).expect_err("no room");
    assert!(matches!(error, HotResetError::NoRoom { count: 2 }));
    assert_eq!(error.errno(), Errno::ENOSPC);
}

#[test]
fn vf_41_no_bus_to_reset_is_enodev_and_no_group_is_eperm() {
    let mut rig = rig();
    let error = info(&mut rig, ON_ROOT, &Groups::default(), 9).expect_err("on a root bus");
    assert_eq!(error.errno(), Errno::ENODEV);
    let owner = Groups { ungrouped: Some(TWO), ..Groups::default() };
    let error = info(&mut rig, ONE, &owner, 9).expect_err("no group");
    assert_eq!(error.errno(), Errno::EPERM);
    drop(rig);
    let quirks = |_, _| Quirks { no_bus_reset: true, ..Quirks::default() };
    let mut rig = plan().quirks(quirks).build();
    let error = info(&mut rig, ONE, &Groups::default(), 9).expect_err("not resettable");
    assert_eq!(error.errno(), Errno::ENODEV);
}

#[test]
fn vf_42_the_groups_must_cover_everything_that_is_hit() {
    let mut rig = rig();
    let owner = Groups::default();
    let by_group = |rig: &mut Rig, groups: &[u32]| run(rig, &owner, Opened::ByGroup, Claim::Groups(groups));
    for groups in [&[10][..], &[11], &[12, 13], &[10, 12]] {
        assert_eq!(refused(by_group(&mut rig, groups)), Errno::EINVAL, "{groups:?}");
    }
    assert_eq!(refused(by_group(&mut rig, &[])), Errno::EINVAL, "none for a group");
    assert_eq!(refused(by_group(&mut rig, &[10, 11, 12])), Errno::EINVAL, "more than are hit");
    assert!(rig.machine.written.lock().is_empty() && rig.told().is_empty());
    assert!(by_group(&mut rig, &[11, 10]).is_ok());
    for at in [ONE, TWO] {
        assert_eq!(*rig.silicon[&bdf(at)].resets.lock(), [ResetKind::DeviceReset]);
    }
}

#[test]
fn vf_42_a_device_opened_by_itself_goes_by_what_is_owned() {
    let mut rig = rig();
    let part = Groups { owned: vec![ONE], ..Groups::default() };
    let error = run(&mut rig, &part, Opened::BySelf, Claim::Owned).expect_err("a refusal");
    assert!(matches!(error, HotResetError::NotOwned { at } if at == bdf(TWO)));
    let whole = Groups { owned: vec![ONE, TWO], ..Groups::default() };
    let groups = run(&mut rig, &whole, Opened::BySelf, Claim::Groups(&[10, 11]));
    assert_eq!(refused(groups), Errno::EINVAL, "groups for a device opened by itself");
    assert_eq!(refused(run(&mut rig, &whole, Opened::ByGroup, Claim::Owned)), Errno::EINVAL);
    assert!(run(&mut rig, &whole, Opened::BySelf, Claim::Owned).is_ok());
}

#[test]
fn vf_43_a_peer_in_use_is_ebusy_and_everything_is_as_it_was() {
    let mut rig = rig();
    let whole = Groups { owned: vec![ONE, TWO], ..Groups::default() };
    assert_eq!(info(&mut rig, ONE, &whole, 2).expect("room").len(), 2);
    let before = rig.bytes(TWO);
    let function = rig.function(TWO);
    let inside = function.handle().enter_long(&mut rig.token, AccessKind::Dma, "a command", soon());
    let inside = inside.expect("open");
    let outcome = run(&mut rig, &whole, Opened::BySelf, Claim::Owned);
    assert_eq!(refused(outcome), Errno::EBUSY);
    assert!(rig.machine.written.lock().is_empty() && rig.told().is_empty());
    assert!([PORT, ONE, TWO].iter().all(|at| rig.is_open(at)));
    drop(inside);
    let parked = function.gate().close(&mut rig.token, Reason::PowerChange, soon()).expect("open").park();
    let outcome = run(&mut rig, &whole, Opened::BySelf, Claim::Owned);
    assert_eq!(refused(outcome), Errno::EAGAIN, "somebody else has it closed");
    drop(parked);
    assert!(run(&mut rig, &whole, Opened::BySelf, Claim::Owned).is_ok());
    assert_eq!(rig.bytes(TWO), before);
}
