//! The tree is like the topology (EEH-05, EEH-23).

use crate::rig::*;
use contain::address_cache::Space;
use contain::pe::{Holder, PeKind, PeState};
use contain::report::{Doom, Outcome};
use contain::watch::Told;
use gate::Deadline;
use std::sync::Arc;
use topology::NodeKind;

#[test]
fn functions_on_a_bus_share_its_pe_and_buses_are_below_the_bus_of_their_bridge_eeh_05() {
    let house = House::new();
    let pes = house.containment.pes(&house.token);
    let shown: Vec<_> = pes.iter().map(|pe| (pe.address, pe.kind, pe.parent, pe.functions.clone())).collect();
    let of = |texts: &[&str]| texts.iter().map(|text| at(text)).collect::<Vec<_>>();
    assert_eq!(
        shown,
        [
            (phb(), PeKind::Phb, None, of(&["00:01.0"])),
            (pe(0x0018), PeKind::Device, Some(phb()), of(&["00:03.0", "00:03.1"])),
            (pe(0x0100), PeKind::Bus, Some(phb()), of(&["01:00.0", "01:00.1", "01:02.0"])),
            (pe(0x0180), PeKind::Vf, Some(pe(0x0100)), of(&["01:10.0"])),
            (pe(0x0200), PeKind::Bus, Some(pe(0x0100)), of(&["02:00.0"])),
        ]
    );
}

#[test]
fn nothing_is_done_if_nothing_has_changed() {
    let mut house = House::new();
    let before = house.containment.tree().snapshot(&house.token);
    assert_eq!(house.follow(), Default::default());
    assert!(Arc::ptr_eq(&before, &house.containment.tree().snapshot(&house.token)));
}

#[test]
fn what_left_is_out_and_an_empty_pe_goes_with_it() {
    let mut house = House::new();
    let id = house.id("02:00.0");
    house.unplug("02:00.0");
    let followed = house.follow();
    assert_eq!((followed.removed, followed.pes_removed), (1, 1));
    assert!(house.containment.tree().find(&house.token, pe(0x0200), Holder::Lookup).is_none());
    assert_eq!(*house.platform.left.lock(), [id]);
}

#[test]
fn another_card_in_the_same_place_has_another_pe_and_other_numbers_law_5() {
    let mut house = House::new();
    let (id, old) =
        (house.id("02:00.0"), house.containment.tree().find(&house.token, pe(0x0200), Holder::Lookup));
    house.plug("02:00.0", NodeKind::Endpoint);
    let followed = house.follow();
    assert_eq!((followed.removed, followed.added), (1, 1));
    assert!(house.id("02:00.0") > id);
    let new = house.containment.tree().find(&house.token, pe(0x0200), Holder::Lookup).unwrap();
    assert!(!old.unwrap().is(&new), "a budget of its own");
}

#[test]
fn a_bus_that_moved_is_below_the_bus_of_its_new_bridge() {
    let mut house = House::new();
    house.unplug("01:02.0");
    house.unplug("02:00.0");
    house.plug("00:02.0", bridge(2, 2));
    house.plug("02:00.0", NodeKind::Endpoint);
    house.follow();
    let parent = house.containment.tree().snapshot(&house.token).parent(pe(0x0200), Holder::Lookup);
    assert_eq!(parent.unwrap().address(), phb());
}

#[test]
fn a_bar_address_leads_to_its_function_and_what_overlaps_is_told_eeh_23() {
    let mut house = House::new();
    let bar = |house: &mut House, text: &str, address: u32| {
        let function = house.plug(text, NodeKind::Endpoint);
        function
            .write_config(
                &mut house.token,
                0x10,
                &address.to_le_bytes(),
                Deadline::after(std::time::Duration::from_secs(5)),
            )
            .unwrap();
    };
    bar(&mut house, "01:00.0", 0x1000_0000);
    bar(&mut house, "01:00.1", 0x2000_0000);
    let followed = house.follow();
    assert_eq!(followed.overlaps, []);
    let found = |house: &House, address| {
        let tree = house.containment.tree();
        tree.of_bar_address(&house.token, Space::Memory, address, Holder::Lookup)
            .map(|(_, function)| function.address)
    };
    assert_eq!(found(&house, 0x1000_3fff), Some(at("01:00.0")));
    assert_eq!(found(&house, 0x1000_4000), None);
    bar(&mut house, "02:00.0", 0x2000_0000);
    let followed = house.follow();
    assert_eq!(followed.overlaps.len(), 1);
    assert!(matches!(house.told()[..], [Told::Overlap(overlap)] if overlap.with == at("01:00.1")));
    assert_eq!(found(&house, 0x2000_0000), Some(at("01:00.1")), "cleared per device, not by the other one");
}

#[test]
fn a_card_does_not_come_into_a_pe_that_failed_before_that_is_away() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    let recovery = house.last();
    // As the executor does it: marked throughout, and marked as removed at the end.
    let mut marked = contain::tree::Marked::new();
    recovery.look(|start| marked.add(start.claim.pe()).unwrap());
    recovery.look(|start| start.claim.pe().set(PeState::REMOVED));
    house.plug("02:00.0", NodeKind::Endpoint);
    let followed = house.follow();
    assert_eq!((followed.removed, followed.deferred), (1, 1));
    drop(marked);
    recovery.end(Outcome::Failed(Doom::BudgetExhausted));
    house.turn();
    assert_eq!(house.follow().added, 1);
    assert!(house.frozen().is_empty(), "re-plug works: {:?}", house.frozen());
    assert!(!house.state(pe(0x0200)).intersects(PeState::ISOLATED | PeState::REMOVED));
}
