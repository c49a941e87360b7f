//! Hot-plug while a recovery is under way: it is told, and nobody is thawed or forgotten by mistake.

use crate::rig::*;
use contain::containment::News;
use contain::report::Outcome;
use topology::NodeKind;

#[test]
fn a_recovery_is_told_of_what_comes_and_what_leaves() {
    let mut house = House::new();
    house.fail_and_turn("01:00.0");
    let recovery = house.last();
    let gone = house.id("01:00.1");
    house.unplug("01:00.1");
    house.plug("02:00.1", NodeKind::Endpoint);
    house.plug("01:03.0", bridge(3, 3));
    house.plug("03:00.0", NodeKind::Endpoint);
    house.follow();
    let news = recovery.news.lock();
    assert!(news.iter().any(|news| matches!(news, News::Removed(id) if *id == gone)));
    let added: Vec<_> = news
        .iter()
        .filter_map(|news| match news {
            News::Added(function) => Some(function.address),
            _ => None,
        })
        .collect();
    assert_eq!(added, [at("01:03.0"), at("02:00.1"), at("03:00.0")]);
    let pes: Vec<_> = news
        .iter()
        .filter_map(|news| match news {
            News::PeAdded(pe) => Some(pe.address()),
            _ => None,
        })
        .collect();
    assert_eq!(pes, [pe(0x0300)]);
    drop(news);
    assert_eq!(house.frozen(), ["01:00.0", "01:02.0", "01:03.0", "01:10.0", "02:00.0", "02:00.1", "03:00.0"]);
}

#[test]
fn a_recovery_elsewhere_hears_nothing() {
    let mut house = House::new();
    house.fail_and_turn("00:03.0");
    house.plug("02:00.1", NodeKind::Endpoint);
    house.unplug("01:00.1");
    house.follow();
    assert!(house.last().news.lock().is_empty());
}

#[test]
fn a_pe_that_leaves_before_its_recovery_begins_is_told_as_gone() {
    let mut house = House::new();
    // 0100 waits for 0200.
    house.fail("02:00.0");
    house.fail("01:00.0");
    house.turn();
    let waiting = house.containment.recoveries()[1].id;
    for text in BUS_1 {
        house.unplug(text);
    }
    house.follow();
    house.last().end(Outcome::Gone);
    house.turn();
    assert_eq!(house.containment.wait_for(&mut house.token, waiting, soon()), Some(Outcome::Gone));
    assert!(house.containment.recoveries().is_empty());
    assert!(house.containment.orphans().is_empty(), "nobody holds what left");
}

#[test]
fn a_card_that_comes_back_after_a_failure_works() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    house.last().end(Outcome::Failed(contain::report::Doom::BudgetExhausted));
    house.turn();
    house.unplug("02:00.0");
    house.follow();
    house.plug("02:00.0", NodeKind::Endpoint);
    house.follow();
    assert!(house.frozen().is_empty());
    house.fail_and_turn("02:00.0");
    assert!(house.last().look(|start| start.within_budget));
}
