//! In which order, and whose error it is: FIFO, one recovery for each PE, parents before children (EEH-07, EEH-I7, EEH-I8).

use crate::rig::*;
use contain::containment::{News, Phase, Then};
use contain::pe::PeState;
use contain::report::Outcome;

/// Report E, defect 8: Linux takes the last event first.
#[test]
fn errors_are_taken_up_in_the_order_in_which_they_came_eeh_i8() {
    let mut house = House::new();
    house.fail("02:00.0");
    house.fail("00:03.1");
    house.fail("01:10.0");
    house.turn();
    let begun: Vec<_> = house.begun().iter().map(|recovery| recovery.pe()).collect();
    assert_eq!(begun, [pe(0x0200), pe(0x0018), pe(0x0180)]);
}

#[test]
fn an_error_below_a_frozen_pe_is_that_pes_eeh_07() {
    let mut house = House::new();
    house.fail("02:00.0");
    house.fail("01:00.0");
    house.turn();
    // Both signs were in the queue; the one above has the other.
    let begun: Vec<_> = house.begun().iter().map(|recovery| recovery.pe()).collect();
    assert_eq!(begun, [pe(0x0200)], "what came first has begun");
    assert_eq!(house.frozen(), BUS_1, "the one above is frozen at once");
    assert_eq!(house.containment.recoveries()[1].phase, Phase::Waiting);
    house.last().recover();
    house.turn();
    assert_eq!(house.last().pe(), pe(0x0100), "and recovered afterwards");
    assert_eq!(house.frozen(), BUS_1);
    house.last().recover();
    house.turn();
    assert!(house.frozen().is_empty());
}

#[test]
fn an_error_below_a_pe_that_is_thawed_by_its_recovery_is_that_recoverys_eeh_07() {
    let mut house = House::new();
    house.fail_and_turn("01:00.0");
    let recovery = house.last();
    recovery.thaw();
    house.fail_and_turn("02:00.0");
    assert_eq!(house.begun().len(), 1);
    assert_eq!(recovery.heard_of_another_error(), 1);
    assert_eq!(house.frozen(), BUS_1, "frozen again before it is told");
    assert!(!house.state(pe(0x0200)).contains(PeState::ISOLATED), "the next one counts");
    recovery.recover();
    house.turn();
    assert!(house.frozen().is_empty());
}

#[test]
fn a_child_that_is_due_is_merged_into_the_recovery_above_and_its_end_is_told_eeh_i7() {
    let mut house = House::new();
    // 0200 is being recovered, so 0100 waits; 0180 fails meanwhile, and may not begin below a recovery that waits.
    house.fail_and_turn("02:00.0");
    house.containment.freeze(&mut house.token, pe(0x0100), "test", Then::Recover).unwrap();
    let asked = house.containment.recover(&mut house.token, pe(0x0180)).unwrap();
    assert_eq!(house.begun().len(), 1);
    house.last().recover();
    house.turn();
    assert_eq!(house.last().pe(), pe(0x0100));
    assert_eq!(house.begun().len(), 2, "parents before children, and the child with its parent");
    assert_eq!(house.frozen(), BUS_1);
    house.last().recover();
    house.turn();
    assert!(house.frozen().is_empty(), "the child's freeze went with its parent's");
    assert_eq!(house.containment.wait_for(&mut house.token, asked, soon()), Some(Outcome::Recovered));
}

#[test]
fn pes_apart_are_recovered_side_by_side() {
    let mut house = House::new();
    house.fail("02:00.0");
    house.fail("00:03.0");
    house.turn();
    assert_eq!(house.begun().len(), 2);
    house.begun()[0].recover();
    house.turn();
    assert_eq!(house.frozen(), ["00:03.0", "00:03.1"]);
}

#[test]
fn a_second_error_of_a_frozen_pe_begins_nothing_eeh_i7() {
    let mut house = House::new();
    house.fail_and_turn("02:00.0");
    let again = house.containment.recover(&mut house.token, pe(0x0200)).unwrap();
    assert_eq!(again, house.last().id());
    assert_eq!(house.begun().len(), 1);
    assert!(house.last().news.lock().iter().all(|news| !matches!(news, News::FrozenAgain)));
}

/// A guest with many virtual functions does not decide how many threads there are (law 10).
#[test]
fn a_bounded_number_of_recoveries_goes_on_at_once_and_the_others_wait_frozen() {
    let mut house = House::new();
    let names: Vec<String> = (0..100u8).map(|nth| format!("00:{:02x}.{}", 4 + nth / 8, nth % 8)).collect();
    for name in &names {
        house.plug(name, topology::NodeKind::Virtual { physical: at("00:03.0") });
    }
    house.follow();
    for name in &names {
        house.fail(name);
    }
    house.turn();
    assert_eq!(house.begun().len(), 64);
    assert_eq!(house.frozen().len(), 100, "what waits is frozen all the same");
    house.begun()[7].recover();
    house.turn();
    assert_eq!(house.begun().len(), 65, "the next one, when one has ended");
    let mut ended = std::collections::BTreeSet::from([7]);
    while ended.len() < 100 {
        for (nth, recovery) in house.begun().iter().enumerate() {
            if ended.insert(nth) {
                recovery.recover();
            }
        }
        house.turn();
    }
    assert!(house.frozen().is_empty());
}
