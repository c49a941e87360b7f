//! Report B with the real region and the real slot: the scenario of `museum::zpci`, which deadlocks there.

use super::guest::Guest;
use super::{Estate, run, run_in_no_time, switch};
use crate::machine::tally::{explore_part, explore_with, note};
use crate::machine::{ahead, linger};
use assign::Errno;
use gate::ThreadToken;

/// The host: `power` 0.
fn power_off(estate: &Estate, token: &mut ThreadToken) {
    linger();
    switch(estate, false, token);
}

fn guest(estate: &Estate, token: &mut ThreadToken) -> Guest {
    Guest::of(&estate.house.holder(0).assignment, token)
}

/// Puts its device to rest when it is asked to let go, and lets go.
fn quiesce(estate: &Estate, token: &mut ThreadToken) {
    let holder = estate.house.holder(0);
    let guest = guest(estate, token);
    guest.write(token).unwrap();
    holder.wait_until_asked();
    assert_eq!(guest.write(token), Ok(()), "the user is waited for, and its request is refused (ZIO-I1)");
    note("quiesced", &guest.read(token));
    holder.let_go(token);
}

#[test]
fn a_guest_that_is_asked_to_let_go_still_writes_the_region() {
    // ZIO-I1
    explore_part(10, &["power off", "quiesced", "let go"], &[], || {
        run_in_no_time(&[power_off, quiesce]);
    });
}

/// Works on, whatever it is asked for, until there is nothing to work on. Each request has an answer (ZIO-I4).
fn work_on(estate: &Estate, token: &mut ThreadToken) {
    let guest = guest(estate, token);
    while !guest.is_cut_off() {
        let written = guest.write(token);
        assert!(matches!(written, Ok(()) | Err(Errno::ENODEV | Errno::EIO)), "{written:?}");
        linger();
    }
    assert_eq!(guest.write(token), Err(Errno::ENODEV), "a request after the revocation");
    assert_eq!(guest.read(token), Err(Errno::ENODEV), "a request after the revocation");
}

#[test]
fn a_guest_that_does_not_let_go_is_refused_from_the_revocation_on() {
    // ZIO-I4
    explore_with(&["power off", "region write", "revocation"], || run(&[power_off, work_on]));
}

/// Resets the function for as long as it is there, so that requests wait.
fn reset(estate: &Estate, token: &mut ThreadToken) {
    for _ in 0..4 {
        note("reset", &estate.slots[0].reset(token, false, ahead()));
    }
}

#[test]
fn a_request_that_waits_for_a_reset_ends_when_the_function_is_taken_away() {
    // ZIO-I4
    explore_with(&["power off", "reset", "region write", "revocation"], || {
        run(&[power_off, reset, work_on]);
    });
}
