//! Errors of a whole segment (EEH-22).

use crate::rig::*;
use contain::containment::News;
use contain::plan::{Response, SpecialEvent};
use contain::report::{Doom, Outcome};
use contain::watch::Told;

fn special(house: &mut House, event: SpecialEvent) -> Response {
    house.containment.special(&mut house.token, 0, event).unwrap()
}

#[test]
fn nothing_and_what_needs_nobody_freeze_nothing_eeh_22() {
    let mut house = House::new();
    assert_eq!(special(&mut house, SpecialEvent::None), Response::Ignore);
    assert_eq!(special(&mut house, SpecialEvent::Informational), Response::Log);
    assert_eq!(house.told(), [Told::Special { segment: 0, event: SpecialEvent::Informational }]);
    assert!(house.frozen().is_empty());
}

#[test]
fn a_fenced_host_bridge_is_recovered_instead_of_what_was_noticed_before_eeh_22() {
    let mut house = House::new();
    house.fail("02:00.0");
    house.fail("00:03.0");
    special(&mut house, SpecialEvent::FencedHostBridge);
    let begun: Vec<_> = house.begun().iter().map(|recovery| recovery.pe()).collect();
    assert_eq!(begun, [phb()], "older errors of the segment are part of it");
    assert_eq!(house.frozen(), ALL);
    house.last().recover();
    house.turn();
    assert!(house.frozen().is_empty());
    assert_eq!(house.begun().len(), 1);
}

#[test]
fn a_dead_host_bridge_dooms_what_is_under_way_below_it_eeh_22() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    special(&mut house, SpecialEvent::DeadHostBridge);
    let child = house.last();
    let doomed = |news: &News| matches!(news, News::Doomed(Doom::HostBridgeDead));
    assert!(child.news.lock().iter().any(doomed));
    assert_eq!(house.frozen(), ALL);
    child.end(Outcome::Failed(Doom::HostBridgeDead));
    house.turn();
    assert_eq!(house.last().pe(), phb());
    house.last().look(|start| assert_eq!(start.doom, Some(Doom::HostBridgeDead)));
}

#[test]
fn a_dead_platform_gives_up_every_host_bridge_eeh_22() {
    let mut house = House::new();
    let function = new_function("1:00.0");
    let address = "0001:00:00.0".parse().unwrap();
    house.nodes.insert(
        address,
        topology::Node { address, function: function.clone(), kind: topology::NodeKind::Endpoint },
    );
    house.follow();
    special(&mut house, SpecialEvent::DeadIoc);
    let dooms: Vec<_> = house.begun().iter().map(|recovery| recovery.look(|start| start.doom)).collect();
    assert_eq!(dooms, [Some(Doom::PlatformDead); 2]);
    assert!(function.handle().is_contained());
}

#[test]
fn a_host_bridge_that_dies_as_its_recovery_ends_is_given_up_all_the_same_eeh_22() {
    let mut house = House::new();
    special(&mut house, SpecialEvent::FencedHostBridge);
    let recovery = house.last();
    recovery.thaw();
    recovery.end(Outcome::Recovered);
    special(&mut house, SpecialEvent::DeadHostBridge);
    assert_eq!(house.begun().len(), 2);
    house.last().look(|start| assert_eq!(start.doom, Some(Doom::HostBridgeDead)));
    assert_eq!(house.frozen(), ALL);
}

#[test]
fn a_host_bridge_is_recovered_before_whatever_else_is_due_eeh_22() {
    let mut house = House::new();
    let function = new_function("1:00.0");
    let address = "0001:00:00.0".parse().unwrap();
    house.nodes.insert(
        address,
        topology::Node { address, function: function.clone(), kind: topology::NodeKind::Endpoint },
    );
    house.follow();
    function.notice(&house.token, SIGN);
    house.turn();
    let card = house.last();
    special(&mut house, SpecialEvent::FencedHostBridge);
    let bridge = house.last();
    // Both froze again, the card first.
    card.end(Outcome::FrozenAgain);
    bridge.end(Outcome::FrozenAgain);
    house.turn();
    let begun = house.begun();
    assert_eq!((begun.len(), begun[2].pe()), (4, phb()));
    assert_eq!(begun[3].pe().segment(), 1, "and then the card");
}
