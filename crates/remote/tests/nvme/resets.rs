//! A guest that resets its controller, while the back end is there, and while it is not.

use models::nvme::elsewhere::{Elsewhere, Reaped};
use models::nvme::host::commands::set_feature;
use nvme_spec::feature::FeatureId;
use nvme_spec::{AdminOpcode, NvmOpcode, Status};

use super::back_end::config;
use super::guest::Guest;

#[test]
fn a_reset_of_the_guest_ends_everything_at_the_back_end_and_frees_its_tags() {
    let mut guest = Guest::new(&config(), -1);
    for round in 0..3 {
        for tag in 0..4 {
            let entry = guest.entry(tag, NvmOpcode::Read, 0);
            assert!(guest.driver.submit(1, tag, &entry), "round {round}");
        }
        guest.driver.ring(&mut guest.token);
        guest.driver.abandon();
        assert!(!guest.driver.is_settled());
        assert!(!guest.driver.submit(1, 9, &guest.entry(9, NvmOpcode::Read, 0)), "not before it is settled");
        guest.run_until(&mut Vec::new(), |guest| guest.driver.is_settled() && guest.driver.is_up());
        assert_eq!(guest.driver.under_way(), 0);
    }
    guest.answers.clear();
    let entry = guest.entry(0, NvmOpcode::Flush, 0);
    assert!(guest.driver.submit(1, 0, &entry));
    guest.run_until(&mut Vec::new(), |guest| !guest.answers.is_empty());
    assert_eq!(guest.answer(0), Status::SUCCESS);
    assert_eq!(guest.answers.len(), 1, "nothing from before comes back");
}

#[test]
fn features_end_with_the_controller_that_they_were_set_at() {
    let mut guest = Guest::new(&config(), -1);
    assert!(guest.driver.submit(0, 0, &set_feature(FeatureId::ErrorRecovery, 7)));
    guest.run_until(&mut Vec::new(), |guest| guest.answers.contains_key(&0));
    guest.driver.abandon();
    guest.run_until(&mut Vec::new(), |guest| guest.driver.is_settled() && guest.driver.is_up());
    guest.replace(&mut Vec::new());
    let mut get = set_feature(FeatureId::ErrorRecovery, 0);
    get.opcode = AdminOpcode::GetFeatures.code();
    assert!(guest.driver.submit(0, 1, &get));
    let mut reaped = Vec::new();
    while reaped.is_empty() {
        guest.driver.ring(&mut guest.token);
        guest.driver.reap(&mut reaped);
        assert!(!reaped.is_empty() || guest.wait());
    }
    assert_eq!(reaped, [Reaped::Finished { tag: 1, dw0: 0, status: Status::SUCCESS }]);
}

/// A guest that reboots while its back end is away gets its memory back when that one is over, not when the next one comes.
#[test]
fn a_reset_while_the_back_end_is_away_is_settled_when_the_old_one_is_over() {
    let mut guest = Guest::new(&config(), -1);
    let entry = guest.entry(0, NvmOpcode::Write, 0);
    assert!(guest.driver.submit(1, 0, &entry));
    guest.kill();
    guest.driver.abandon();
    assert!(!guest.driver.is_settled(), "the old one may still read that memory");
    guest.driver.fenced();
    assert!(guest.driver.is_settled() && !guest.driver.is_up());
    guest.driver.abandon();
    assert!(guest.driver.is_settled(), "at once: nothing is anywhere");
    guest.replace(&mut Vec::new());
    guest.round();
    assert!(guest.answers.is_empty() && guest.driver.under_way() == 0);
}

/// The back end dies under the reset itself.
#[test]
fn a_reset_that_its_back_end_does_not_survive_is_settled_by_the_next_one() {
    for uses in 0..110 {
        let mut guest = Guest::new(&config(), uses);
        let entry = guest.entry(0, NvmOpcode::Read, 0);
        assert!(guest.driver.submit(1, 0, &entry));
        guest.driver.abandon();
        guest.run_until(&mut Vec::new(), |guest| guest.driver.is_settled() && guest.driver.is_up());
        assert_eq!(guest.driver.under_way(), 0, "after {uses} uses");
    }
}
