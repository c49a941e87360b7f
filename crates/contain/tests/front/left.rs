//! PEs that stay frozen, what becomes of them, and what nobody goes on without.

use crate::rig::*;
use contain::containment::{Left, Phase, Then};
use contain::plan::{Flavour, Severity};
use contain::report::Outcome;
use contain::watch::Told;
use parking_lot::Mutex;
use pci_core::ErrorSign;
use std::sync::Arc;

#[test]
fn an_error_from_before_does_not_end_what_an_operator_keeps_frozen() {
    for flavour in [Flavour::Eeh, Flavour::Aer(Severity::NonFatal)] {
        let mut house = House::new();
        house.containment.report(&house.token, at("02:00.0"), flavour, SIGN).unwrap();
        house.containment.freeze(&mut house.token, pe(0x0200), "an operator", Then::Stay).unwrap();
        house.turn();
        assert!(house.begun().is_empty(), "{flavour:?}");
        assert_eq!(house.containment.recoveries()[0].phase, Phase::Left(Left::Stay));
        assert_eq!(house.frozen(), ["02:00.0"]);
        house.containment.thaw(&mut house.token, pe(0x0200)).unwrap();
        assert!(house.frozen().is_empty());
        house.fail_and_turn("02:00.0");
        assert_eq!(house.begun().len(), 1, "the next one counts");
    }
}

#[test]
fn an_incident_ends_when_what_is_kept_for_consumers_has_left() {
    let mut house = House::new();
    house.fail_and_turn("00:03.0");
    let id = house.id("00:03.0");
    house.last().look(|start| start.frozen.as_ref().unwrap().keep(id));
    house.last().recover();
    house.turn();
    assert_eq!(house.containment.recoveries()[0].phase, Phase::Left(Left::Contained));
    assert_eq!(house.frozen(), ["00:03.0"]);
    house.unplug("00:03.0");
    house.follow();
    assert!(house.containment.recoveries().is_empty(), "nothing is frozen any more");
    assert!(house.told().iter().any(|told| matches!(told, Told::Thawed { .. })));
}

#[test]
fn who_waits_for_a_recovery_finds_the_pe_as_it_is_to_be() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    let id = house.last().id();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (note, containment) = (seen.clone(), Arc::downgrade(&house.containment));
    *house.tape.1.lock() = Some(Box::new(move |told| {
        let history = containment.upgrade().map_or(0, |containment| containment.history().len());
        note.lock().push((matches!(told, Told::Thawed { .. }), history));
    }));
    house.last().recover();
    house.turn();
    assert_eq!(*seen.lock(), [(false, 0), (true, 0)], "told, and thawed, before its end is written down");
    assert_eq!(house.containment.wait_for(&mut house.token, id, soon()), Some(Outcome::Recovered));
    let pe = pe(0x0200);
    assert_eq!(house.containment.freeze(&mut house.token, pe, "at once", Then::Stay), Ok(()));
}

#[test]
fn after_a_dma_fault_a_pe_is_not_thawed_without_a_reset_whoever_is_recovered() {
    const DMA: ErrorSign = ErrorSign::DmaFault { iova: 0x1000 };
    let mut house = House::new();
    house.function("02:00.0").notice(&house.token, DMA);
    house.turn();
    let required = |house: &House| house.last().look(|start| start.frozen.as_ref().unwrap().requires_reset());
    assert!(required(&house));
    house.last().recover();
    house.turn();
    house.fail_and_turn("02:00.0");
    assert!(!required(&house), "another error");
    // It belongs to the one above.
    house.last().thaw();
    house.function("02:00.0").notice(&house.token, DMA);
    house.turn();
    assert!(required(&house));
    house.last().recover();
    house.turn();
    house.function("02:00.0").notice(&house.token, DMA);
    house.fail_and_turn("01:00.0");
    house.turn();
    let all = house.begun();
    let needs = |mine: &Arc<crate::script::Mine>| {
        mine.pe() == pe(0x0200) && mine.look(|start| start.frozen.as_ref().unwrap().requires_reset())
    };
    assert!(all.iter().rev().take(2).any(needs));
}
