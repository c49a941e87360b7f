//! Errors that AER reports: AER-01 to AER-08.

use crate::owner::{FATAL, FROZEN, NON_FATAL, NORMAL, Owner, PERM_FAILURE, aware, function, scope};
use contain::merge::Vote;
use contain::plan::{
    Call, Channel, Effect, Event, Flavour, FunctionId, Handlers, LINK_INACTIVE_WAIT, Member,
    ROOT_PORT_BUSY_WAIT, Reset, Role, SECONDARY_BUS_RESET_HOLD, Severity,
};
use contain::report::{Doom, Outcome};
use std::time::Duration;

const F1: FunctionId = FunctionId(1);

fn aer(flavour: Flavour, members: &[Member]) -> Owner {
    Owner::new(scope(flavour, members))
}

#[test]
fn on_a_working_link_who_can_recover_is_not_reset_aer_05_aer_06() {
    let mut owner = aer(NON_FATAL, &[aware(1)]);
    assert_eq!(owner.run(), Outcome::Recovered);
    let expected = [
        Effect::Call(F1, NORMAL),
        Effect::Call(F1, Call::MmioEnabled),
        Effect::ClearErrorStatus,
        Effect::Call(F1, Call::Resume),
        Effect::Finish(Outcome::Recovered),
    ];
    assert_eq!(owner.deeds(), expected);
}

#[test]
fn a_lost_link_is_reset_whatever_drivers_say_aer_05() {
    let mut owner = aer(FATAL, &[aware(1)]);
    assert_eq!(owner.run(), Outcome::Recovered);
    let expected = [
        Effect::SetChannel(F1, Channel::Frozen),
        Effect::Interrupts(F1, false),
        Effect::Call(F1, FROZEN),
        Effect::Reset(Reset::SecondaryBus { hold: SECONDARY_BUS_RESET_HOLD }),
        Effect::RestoreConfig,
        Effect::Unfreeze,
        Effect::Call(F1, Call::SlotReset),
        Effect::SetChannel(F1, Channel::Normal),
        Effect::Interrupts(F1, true),
        Effect::ClearErrorStatus,
        Effect::Call(F1, Call::Resume),
        Effect::Finish(Outcome::Recovered),
    ];
    assert_eq!(owner.deeds(), expected);

    let mut gives_up = aer(FATAL, &[aware(1)]).says(1, FROZEN, Vote::Disconnect);
    assert_eq!(gives_up.run(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    assert_eq!(gives_up.resets_ordered(), 1, "the port's link is");
    assert!(!gives_up.called(1, Call::SlotReset));
}

#[test]
fn a_failed_reset_of_a_lost_link_is_permanent_at_once_aer_05() {
    let mut owner = aer(FATAL, &[aware(1)]);
    owner.resets = [false].into();
    assert_eq!(owner.run(), Outcome::Failed(Doom::ResetFailed));
    assert_eq!(owner.resets_ordered(), 1);
}

#[test]
fn on_a_working_link_a_driver_is_told_of_a_reset_only_if_there_was_one_aer_05() {
    for asks in [NORMAL, Call::MmioEnabled] {
        let mut owner = aer(NON_FATAL, &[aware(1)]).says(1, asks, Vote::NeedReset);
        assert_eq!(owner.run(), Outcome::Recovered);
        let reset = owner.log.iter().position(|effect| matches!(effect, Effect::Reset(_)));
        let told = owner.log.iter().position(|effect| *effect == Effect::Call(F1, Call::SlotReset));
        assert!(reset.unwrap() < told.unwrap(), "Linux calls it without a reset");
    }
}

#[test]
fn an_endpoint_without_a_driver_that_knows_of_errors_cannot_be_recovered_aer_04() {
    for role in [Role::Unbound, Role::Unaware, Role::Aware(Handlers::RESUME)] {
        let mut owner = aer(NON_FATAL, &[aware(1), function(2, role)]).says(1, NORMAL, Vote::NeedReset);
        assert_eq!(owner.run(), Outcome::Failed(Doom::Voted(Vote::NoAerDriver)), "{role:?}");
        assert_eq!(owner.calls(), [(1, NORMAL), (1, PERM_FAILURE)]);
    }
}

#[test]
fn a_bridge_needs_no_driver_aer_04() {
    let port = Member { bridge: true, depth: 0, ..function(2, Role::Unbound) };
    assert_eq!(aer(NON_FATAL, &[port, aware(1)]).run(), Outcome::Recovered);
    assert_eq!(aer(FATAL, &[port, aware(1)]).run(), Outcome::Recovered);
}

#[test]
fn a_function_that_is_disconnected_votes_so_without_being_asked_aer_04() {
    let dead = Member { disconnected: true, ..aware(2) };
    let mut owner = aer(NON_FATAL, &[aware(1), dead]);
    assert_eq!(owner.run(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    assert!(owner.calls().iter().all(|(id, _)| *id == 1));
}

#[test]
fn all_have_to_be_recovered_in_the_end_aer_06() {
    for (call, asks) in [(Call::MmioEnabled, Vote::CanRecover), (Call::SlotReset, Vote::NeedReset)] {
        for vote in Vote::ALL {
            let owner = aer(NON_FATAL, &[aware(1)]).says(1, NORMAL, asks).says(1, call, vote);
            let mut owner = owner;
            let outcome = owner.run();
            let recovered = matches!(vote, Vote::Recovered | Vote::None);
            let resets = call == Call::MmioEnabled && vote == Vote::NeedReset;
            assert_eq!(outcome == Outcome::Recovered, recovered || resets, "{call:?}: {vote}");
        }
    }
}

#[test]
fn everybody_is_told_that_there_is_no_way_back_which_linux_does_not_do_here_aer_06() {
    let mut owner = aer(NON_FATAL, &[aware(1), aware(2)]).says(1, NORMAL, Vote::Disconnect);
    owner.run();
    assert!(owner.called(1, PERM_FAILURE) && owner.called(2, PERM_FAILURE));
    assert!(!owner.log.contains(&Effect::ClearErrorStatus));
    assert_eq!(owner.count(|effect| matches!(effect, Effect::Remove(_))), 0, "they stay, and fail");
}

#[test]
fn a_port_that_contained_the_error_is_released_instead_of_reset_aer_08() {
    let flavour = Flavour::Aer(Severity::ContainedByPort);
    let mut owner = aer(flavour, &[aware(1)]);
    assert_eq!(owner.run(), Outcome::Recovered);
    let release =
        Reset::ReleasePort { link_inactive: LINK_INACTIVE_WAIT, root_port_busy: ROOT_PORT_BUSY_WAIT };
    assert!(owner.log.contains(&Effect::Reset(release)));
    assert!(owner.called(1, FROZEN), "containment is a lost link, however bad the error");
    assert_eq!((LINK_INACTIVE_WAIT, ROOT_PORT_BUSY_WAIT), (Duration::from_secs(1), Duration::from_secs(1)));
}

#[test]
fn of_a_corrected_error_drivers_are_told_and_nothing_else_happens_aer_01() {
    let flavour = Flavour::Aer(Severity::Correctable);
    let mut owner = aer(flavour, &[aware(1), function(2, Role::Unaware)]);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.deeds(), [Effect::Call(F1, Call::CorErrorDetected), Effect::Finish(Outcome::Recovered)]);
}

#[test]
fn an_error_while_drivers_are_told_of_a_corrected_one_is_not_forgotten() {
    let mut owner = aer(Flavour::Aer(Severity::Correctable), &[aware(1)]);
    owner = owner.meanwhile(Effect::Call(F1, Call::CorErrorDetected), Event::FrozenAgain);
    assert_eq!(owner.run(), Outcome::FrozenAgain);
}

#[test]
fn answers_are_merged_in_the_order_of_the_tree_and_not_of_time_aer_03() {
    // "Can recover" and "recovered" replace each other, so the last one in the tree decides whether all are asked.
    for (first, second) in [(1, 2), (2, 1)] {
        let mut owner = aer(NON_FATAL, &[aware(1), aware(2)]);
        owner.send(Event::Begin(owner.sight));
        let answer = |id, vote| Event::Answered(FunctionId(id), NORMAL, contain::plan::Answer::Vote(vote));
        let vote = |id| if id == 1 { Vote::CanRecover } else { Vote::Recovered };
        owner.send(answer(first, vote(first)));
        owner.send(answer(second, vote(second)));
        assert!(!owner.called(1, Call::MmioEnabled), "{first}, then {second}");
        assert!(owner.called(1, Call::Resume) && owner.called(2, Call::Resume));
    }
}

#[test]
fn a_driver_that_cannot_be_told_of_the_reset_of_its_link_is_unbound_and_probed_eeh_18() {
    let half = Handlers::ERROR_DETECTED | Handlers::MMIO_ENABLED | Handlers::RESUME;
    let mut owner = aer(FATAL, &[function(1, Role::Aware(half))]);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.calls(), [(1, FROZEN), (1, Call::Unbind), (1, Call::Probe)]);
}

#[test]
fn an_error_that_becomes_worse_while_drivers_are_asked_leads_to_a_reset() {
    let mut owner =
        aer(NON_FATAL, &[aware(1)]).meanwhile(Effect::Call(F1, Call::MmioEnabled), Event::FrozenAgain);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.resets_ordered(), 1);
    assert!(owner.called(1, Call::SlotReset));
}
