//! Calls to foreign code: their order, and those that do not return.

use crate::owner::{FROZEN, GOOD, Owner, PERM_FAILURE, aware, function};
use contain::merge::Vote;
use contain::plan::{Answer, Call, Effect, Event, FunctionId, Member, Role};
use contain::report::{Doom, Notice, Outcome};

fn at(id: u64, depth: u16) -> Member {
    Member { depth, ..aware(id) }
}

fn call(id: u64, call: Call) -> Effect {
    Effect::Call(FunctionId(id), call)
}

fn can_recover(id: u64) -> Event {
    Event::Answered(FunctionId(id), FROZEN, Answer::Vote(Vote::CanRecover))
}

#[test]
fn a_child_is_called_when_its_parent_has_answered_and_siblings_side_by_side_eeh_i7() {
    let mut owner = Owner::eeh(&[at(1, 0), at(2, 1), at(3, 2), at(4, 1)]);
    let begun = owner.send(Event::Begin(GOOD));
    assert!(begun.ends_with(&[call(1, FROZEN)]), "{begun:?}");
    assert_eq!(owner.send(can_recover(1)), [call(2, FROZEN), call(4, FROZEN)]);
    assert_eq!(owner.send(can_recover(2)), [], "4 has not answered");
    assert_eq!(owner.send(can_recover(4)), [call(3, FROZEN)]);
    assert_eq!(owner.send(can_recover(3)), [Effect::QueryState]);
}

#[test]
fn an_answer_that_nobody_waits_for_is_ignored() {
    let mut owner = Owner::eeh(&[at(1, 0), at(2, 1)]);
    owner.send(Event::Begin(GOOD));
    let strays = [
        can_recover(2),
        can_recover(7),
        Event::Answered(FunctionId(1), Call::Resume, Answer::Done),
        Event::CallbackLost(FunctionId(1), PERM_FAILURE),
        Event::Waited,
        Event::ResetDone(true),
        Event::ConfigRestored(false),
        Event::Unfrozen(false),
        Event::StateIs(contain::plan::Queried::Failed),
        Event::Begin(GOOD),
        Event::FrozenAgain,
    ];
    let before = owner.plan.clone();
    for stray in strays {
        assert_eq!(owner.send(stray), [], "{stray:?}");
        assert_eq!(owner.plan, before, "{stray:?}");
    }
}

#[test]
fn after_the_end_nothing_means_anything() {
    let mut owner = Owner::eeh(&[aware(1)]);
    owner.run();
    let before = owner.plan.clone();
    for event in [Event::Begin(GOOD), Event::Doomed(Doom::Forced), Event::Added(aware(9)), can_recover(1)] {
        assert_eq!(owner.send(event), []);
        assert_eq!(owner.plan, before);
    }
}

#[test]
fn a_callback_that_hangs_or_panics_counts_as_disconnect_and_is_not_called_again() {
    let mut owner = Owner::eeh(&[aware(1), aware(2)]).loses(1, FROZEN);
    assert_eq!(owner.run(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    assert_eq!(owner.calls(), [(1, FROZEN), (2, FROZEN), (2, PERM_FAILURE)]);
    assert!(owner.log.contains(&Effect::Tell(Notice::Lost(FunctionId(1), FROZEN))));
}

#[test]
fn a_lost_function_is_not_reset_under_its_callback_even_if_another_one_needs_it() {
    let mut owner = Owner::eeh(&[aware(1), aware(2)]).loses(1, FROZEN).says(2, FROZEN, Vote::NeedReset);
    assert_eq!(owner.run(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    assert_eq!(owner.resets_ordered(), 0);
}

#[test]
fn every_call_that_decides_ends_the_recovery_if_it_is_lost() {
    for lost in [FROZEN, Call::MmioEnabled, Call::SlotReset] {
        let votes = if lost == Call::SlotReset { Vote::NeedReset } else { Vote::CanRecover };
        let mut owner = Owner::eeh(&[aware(1), aware(2)]).says(2, FROZEN, votes).loses(1, lost);
        assert_eq!(owner.run(), Outcome::Failed(Doom::Voted(Vote::Disconnect)), "{lost:?}");
        assert!(owner.called(2, PERM_FAILURE) && !owner.called(1, PERM_FAILURE));
    }
    let mut owner = Owner::eeh(&[function(1, Role::Unaware)]).loses(1, Call::Unbind);
    assert_eq!(owner.run(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    assert_eq!(owner.resets_ordered(), 0, "a driver that holds on is not reset");
}

#[test]
fn who_is_lost_when_all_are_told_to_go_on_is_taken_out_alone() {
    let mut owner = Owner::eeh(&[aware(1), aware(2)]).loses(1, Call::Resume);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.log.contains(&Effect::Remove(FunctionId(1))));
    assert!(!owner.log.contains(&Effect::Remove(FunctionId(2))));
    assert!(owner.log.contains(&Effect::Tell(Notice::TakenOut(FunctionId(1)))));
}

#[test]
fn a_probe_that_is_lost_takes_its_function_out_alone() {
    let members = [aware(1), function(2, Role::Unaware)];
    let mut owner = Owner::eeh(&members).says(1, FROZEN, Vote::NeedReset).loses(2, Call::Probe);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.log.contains(&Effect::Remove(FunctionId(2))));
    assert!(owner.called(1, Call::SlotReset) && owner.called(1, Call::Resume));
}

#[test]
fn a_probe_that_fails_leaves_a_function_without_a_driver() {
    let mut owner = Owner::eeh(&[function(1, Role::Unaware)]).fails(1, Call::Probe);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(!owner.log.contains(&Effect::Remove(FunctionId(1))));
}

#[test]
fn a_driver_that_does_not_let_go_is_not_reset() {
    let mut owner = Owner::eeh(&[function(1, Role::Unaware)]).fails(1, Call::Unbind);
    assert_eq!(owner.run(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    assert_eq!(owner.resets_ordered(), 0);
}

#[test]
fn who_is_in_a_call_when_all_is_lost_is_told_so_when_it_has_returned() {
    let mut owner = Owner::eeh(&[at(1, 0), at(2, 1)]);
    owner.send(Event::Begin(GOOD));
    assert_eq!(owner.send(Event::Doomed(Doom::HostBridgeDead)), []);
    let effects = owner.send(can_recover(1));
    assert!(effects.contains(&call(1, PERM_FAILURE)), "{effects:?}");
    assert!(!owner.called(2, FROZEN), "nobody is asked any more");
}
