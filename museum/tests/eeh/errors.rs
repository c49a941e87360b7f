//! Errors that meet hot-plug, walks, other errors, and the resets of whoever has the function.

use super::hardware::Manners;
use super::{
    DISK, House, MOST_LOOKS, SIGN, Settings, card_errors, errors, linger, patient, relist, replug, run,
    run_timed, run_well, walk,
};
use crate::machine::ahead;
use crate::machine::tally::{explore_part, note};
use gate::{AccessKind, ThreadToken};
use pci_core::ResetKind;
use shuttle::thread;

/// A schedule takes as long as so many of a single function.
const PART: usize = 10;

#[test]
fn errors_of_a_pe_and_of_the_one_above_meet_a_walk() {
    // EEH-I2, EEH-I3, EEH-I7
    explore_part(PART, &["error under a pass", "error", "recovered"], &["failed", "gone"], || {
        run_well(&[errors, card_errors, walk]);
    });
}

#[test]
fn errors_meet_errors_while_time_passes() {
    // EEH-I7
    explore_part(PART, &["error under a pass", "error", "recovered"], &["gone"], || {
        run_timed(&[errors, card_errors, errors]);
    });
}

#[test]
fn a_card_is_replaced_while_it_and_what_is_above_it_is_recovered() {
    // EEH-I1, EEH-I2, EEH-I5, EEH-I8
    explore_part(PART, &["error under a pass", "recovered", "gone", "failed"], &[], || {
        run_timed(&[errors, replug, walk]);
    });
}

#[test]
fn a_function_leaves_the_tree_and_comes_back_while_it_is_recovered() {
    // EEH-I1, EEH-I5
    explore_part(PART, &["error under a pass", "recovered", "gone", "frozen again"], &[], || {
        run_timed(&[errors, relist, card_errors]);
    });
}

/// The disk's consumer counts up, and resets its disk now and then: what it has written is there, whatever is recovered meanwhile.
fn guest(house: &House, token: &mut ThreadToken) {
    let disk = house.function(DISK).unwrap();
    let mut expected = 0;
    for turn in 1..6 {
        linger();
        if turn == 3 {
            let reset = disk.reset(token, ResetKind::DeviceReset, ahead());
            note("own reset", &reset);
            reset.unwrap();
            expected = 0;
        }
        let Ok(pass) = disk.handle().try_enter(token, AccessKind::Bar) else { continue };
        assert_eq!(house.disk.number(), expected, "the state of the disk is lost");
        house.disk.set(turn);
        expected = turn;
        note("write", &Ok::<_, ()>(()));
        drop(pass);
    }
}

#[test]
fn a_consumer_that_resets_its_function_never_loses_what_it_wrote() {
    // EEH-I4, RST-09
    explore_part(PART, &["own reset", "write", "recovered"], &["failed", "gone"], || {
        run_well(&[errors, guest, walk]);
    });
}

#[test]
fn hardware_that_does_not_come_back_is_given_up_and_leaves_nothing_behind() {
    // EEH-I5, EEH-19
    explore_part(PART, &["recovered", "worn out"], &[], || {
        let house = House::new(Manners::Good, true, patient());
        run(&house, &[errors, replug, walk]);
    });
}

#[test]
fn a_queue_that_is_full_loses_no_error() {
    // EEH-I8
    explore_part(PART, &["error under a pass", "recovered"], &[], || {
        let settings = Settings { queue_capacity: 1, ..patient() };
        run(&House::new(Manners::Good, false, settings), &[errors, card_errors, replug]);
    });
}

/// An error under an access that got in: it freezes the disk before that access is over, however often it was frozen before.
fn noticed_inside(house: &House, token: &mut ThreadToken) {
    let disk = house.function(DISK).unwrap();
    for _ in 0..3 {
        linger();
        let Ok(pass) = disk.handle().try_enter(token, AccessKind::Bar) else { continue };
        disk.notice(token, SIGN);
        // Its model is not saved while somebody is inside, so it stays frozen until then.
        let froze = (0..MOST_LOOKS).any(|_| {
            thread::yield_now();
            disk.is_contained()
        });
        assert!(froze, "an error is lost (EEH-I8)");
        note("noticed inside", &Ok::<_, ()>(()));
        drop(pass);
    }
}

#[test]
fn an_error_under_an_access_that_got_in_is_never_lost() {
    // EEH-I3, EEH-I8, EEH-07
    explore_part(PART, &["noticed inside", "recovered", "frozen again"], &["failed", "gone"], || {
        run_well(&[noticed_inside, noticed_inside, card_errors]);
    });
}
