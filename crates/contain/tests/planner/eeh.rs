//! Containment: the paths of a recovery, EEH-10 to EEH-20.

use crate::owner::{ACTIVE, FROZEN, Owner, PERM_FAILURE, aware, function, scope};
use contain::merge::Vote;
use contain::plan::{
    Call, Channel, Effect, Flavour, FunctionId, HOT_PLUG_SETTLE, Handlers, Member, Queried, RESET_HOLD,
    RESET_SETTLE, Reset, Role, STATE_WAIT, Sight, Thaw, Traffic,
};
use contain::report::{Doom, Outcome};
use std::time::Duration;

const F1: FunctionId = FunctionId(1);
const HOT: Effect = Effect::Reset(Reset::Hot { hold: RESET_HOLD, settle: RESET_SETTLE });

#[test]
fn who_can_recover_is_thawed_without_a_reset_eeh_14() {
    let mut owner = Owner::eeh(&[aware(1)]);
    assert_eq!(owner.run(), Outcome::Recovered);
    let expected = [
        Effect::SetChannel(F1, Channel::Frozen),
        Effect::Interrupts(F1, false),
        Effect::Call(F1, FROZEN),
        Effect::QueryState,
        Effect::Thaw(Traffic::Mmio),
        Effect::Call(F1, Call::MmioEnabled),
        Effect::Thaw(Traffic::Dma),
        Effect::SetChannel(F1, Channel::Normal),
        Effect::Interrupts(F1, true),
        Effect::Call(F1, Call::Resume),
        Effect::Finish(Outcome::Recovered),
    ];
    assert_eq!(owner.deeds(), expected);
}

#[test]
fn who_needs_a_reset_gets_one_with_the_times_of_hardware_eeh_15_eeh_19() {
    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
    assert_eq!(owner.run(), Outcome::Recovered);
    let expected = [
        Effect::SetChannel(F1, Channel::Frozen),
        Effect::Interrupts(F1, false),
        Effect::Call(F1, FROZEN),
        Effect::QueryState,
        HOT,
        Effect::QueryState,
        Effect::RestoreConfig,
        Effect::Unfreeze,
        Effect::Call(F1, Call::SlotReset),
        Effect::SetChannel(F1, Channel::Normal),
        Effect::Interrupts(F1, true),
        Effect::Call(F1, Call::Resume),
        Effect::Finish(Outcome::Recovered),
    ];
    assert_eq!(owner.deeds(), expected);
    assert_eq!((RESET_HOLD, RESET_SETTLE), (Duration::from_millis(250), Duration::from_millis(1800)));
}

#[test]
fn where_nobody_knows_of_errors_drivers_are_unbound_and_probed_again_after_five_seconds_eeh_13() {
    let mut owner = Owner::eeh(&[function(1, Role::Unaware)]);
    assert_eq!(owner.run(), Outcome::Recovered);
    let expected = [
        Effect::SetChannel(F1, Channel::Frozen),
        Effect::Interrupts(F1, false),
        Effect::QueryState,
        Effect::Call(F1, Call::Unbind),
        HOT,
        Effect::QueryState,
        Effect::RestoreConfig,
        Effect::Unfreeze,
        Effect::Wait(HOT_PLUG_SETTLE),
        Effect::SetChannel(F1, Channel::Normal),
        Effect::Interrupts(F1, true),
        Effect::Call(F1, Call::Probe),
        Effect::Finish(Outcome::Recovered),
    ];
    assert_eq!(owner.deeds(), expected);
    assert_eq!(HOT_PLUG_SETTLE, Duration::from_secs(5));
}

#[test]
fn a_driver_that_says_none_is_unbound_with_the_others_eeh_13() {
    let mut owner = Owner::eeh(&[aware(1), function(2, Role::Unaware)]).says(1, FROZEN, Vote::None);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.called(1, Call::Unbind) && owner.called(2, Call::Unbind));
    assert!(!owner.called(1, Call::SlotReset) && !owner.called(1, Call::Resume));
    assert!(owner.called(1, Call::Probe) && owner.called(2, Call::Probe));
}

#[test]
fn functions_without_a_driver_are_reset_and_nobody_waits_for_them() {
    let mut owner = Owner::eeh(&[function(1, Role::Unbound)]);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!((owner.calls(), owner.resets_ordered()), (vec![], 1));
    assert_eq!(owner.count(|effect| matches!(effect, Effect::Wait(_))), 0);
}

#[test]
fn only_drivers_that_cannot_be_told_of_a_reset_are_unbound_for_it_eeh_15_eeh_18() {
    let half = Handlers::ERROR_DETECTED | Handlers::RESUME;
    let bridge = Member { bridge: true, depth: 0, ..function(4, Role::Unaware) };
    let members = [bridge, aware(1), function(2, Role::Unaware), function(3, Role::Aware(half))];
    let mut owner = Owner::eeh(&members).says(1, FROZEN, Vote::NeedReset);
    assert_eq!(owner.run(), Outcome::Recovered);
    for (id, call) in [(2, Call::Unbind), (3, Call::Unbind), (2, Call::Probe), (3, Call::Probe)] {
        assert!(owner.called(id, call), "{id} {call:?}");
    }
    assert!(!owner.called(1, Call::Unbind), "it is told instead");
    assert!(!owner.called(4, Call::Unbind), "what is below a bridge would go with it");
    assert!(!owner.called(3, Call::Resume), "its driver came after the error");
}

#[test]
fn need_reset_wins_over_disconnect_and_who_gave_up_is_asked_once_more_eeh_12() {
    let members = [aware(1), aware(2)];
    let owner = || Owner::eeh(&members).says(1, FROZEN, Vote::Disconnect).says(2, FROZEN, Vote::NeedReset);
    assert_eq!(owner().run(), Outcome::Recovered);
    let mut gives_up = owner().says(1, Call::SlotReset, Vote::Disconnect);
    assert_eq!(gives_up.run(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    assert_eq!(gives_up.resets_ordered(), 1);
}

#[test]
fn disconnect_fails_at_once_and_everybody_is_told_eeh_17() {
    let mut owner = Owner::eeh(&[aware(1), aware(2)]).says(2, FROZEN, Vote::Disconnect);
    assert_eq!(owner.run(), Outcome::Failed(Doom::Voted(Vote::Disconnect)));
    assert_eq!(owner.calls(), [(1, FROZEN), (2, FROZEN), (1, PERM_FAILURE), (2, PERM_FAILURE)]);
    assert!(!owner.log.contains(&Effect::QueryState), "the hardware is left alone");
}

#[test]
fn no_device_present_is_permanent_eeh_11() {
    let mut owner = Owner::eeh(&[aware(1)]);
    owner.sight = Sight { present: false, within_budget: true };
    assert_eq!(owner.run(), Outcome::Failed(Doom::NothingPresent));
    assert_eq!(owner.calls(), [(1, PERM_FAILURE)]);
}

#[test]
fn a_pe_that_froze_too_often_is_not_recovered_any_more_eeh_10() {
    let mut owner = Owner::eeh(&[aware(1), function(2, Role::Unaware)]);
    owner.sight = Sight { present: true, within_budget: false };
    assert_eq!(owner.run(), Outcome::Failed(Doom::BudgetExhausted));
    assert_eq!(owner.calls(), [(1, PERM_FAILURE)]);
    assert!(owner.log.contains(&Effect::Remove(FunctionId(2))));
}

#[test]
fn a_host_bridge_is_always_reset_eeh_11() {
    let host_bridge = |members: &[Member]| {
        let mut owner =
            Owner::new(contain::plan::Scope { host_bridge: true, ..scope(Flavour::Eeh, members) });
        assert_eq!(owner.run(), Outcome::Recovered);
        assert_eq!(owner.resets_ordered(), 1);
        owner
    };
    assert!(host_bridge(&[aware(1)]).called(1, Call::SlotReset), "although it can recover");
    host_bridge(&[]);
}

#[test]
fn a_function_that_needs_a_fundamental_reset_gets_it_with_all_others_eeh_04() {
    let picky = Member { needs_fundamental_reset: true, ..aware(2) };
    let mut owner = Owner::eeh(&[aware(1), picky]).says(1, FROZEN, Vote::NeedReset);
    assert_eq!(owner.run(), Outcome::Recovered);
    let fundamental = Reset::Fundamental { hold: RESET_HOLD, settle: RESET_SETTLE };
    assert!(owner.log.contains(&Effect::Reset(fundamental)));
}

#[test]
fn a_thaw_that_needs_a_reset_gets_one_and_one_that_fails_is_the_end_eeh_14() {
    for (mmio, dma) in [(Thaw::NeedsReset, Thaw::Done), (Thaw::Done, Thaw::NeedsReset)] {
        let mut owner = Owner::eeh(&[aware(1)]);
        (owner.mmio, owner.dma) = (mmio, dma);
        assert_eq!(owner.run(), Outcome::Recovered);
        assert!(owner.called(1, Call::SlotReset));
    }
    for (mmio, dma) in [(Thaw::Failed, Thaw::Done), (Thaw::Done, Thaw::Failed)] {
        let mut owner = Owner::eeh(&[aware(1)]);
        (owner.mmio, owner.dma) = (mmio, dma);
        assert_eq!(owner.run(), Outcome::Failed(Doom::ThawFailed));
        assert_eq!(owner.resets_ordered(), 0);
    }
}

#[test]
fn who_looks_at_its_registers_and_then_needs_a_reset_gets_it_eeh_14() {
    let mut owner = Owner::eeh(&[aware(1)]).says(1, Call::MmioEnabled, Vote::NeedReset);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.calls(), [(1, FROZEN), (1, Call::MmioEnabled), (1, Call::SlotReset), (1, Call::Resume)]);
    assert!(!owner.log.contains(&Effect::Thaw(Traffic::Dma)));
}

#[test]
fn a_reset_is_tried_three_times_eeh_19() {
    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
    owner.resets = [false, false, true].into();
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.resets_ordered(), 3);
    assert!(owner.called(1, Call::SlotReset));

    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
    owner.resets = [false, false, false].into();
    assert_eq!(owner.run(), Outcome::Failed(Doom::ResetFailed));
    assert_eq!(owner.resets_ordered(), 3);
}

#[test]
fn a_pe_that_nothing_brings_back_is_not_reset_again_eeh_19() {
    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
    owner.states = [ACTIVE, Queried::Failed].into();
    assert_eq!(owner.run(), Outcome::Failed(Doom::NotRecoverable));
    assert_eq!(owner.resets_ordered(), 1);
}

#[test]
fn unfreezing_after_a_reset_is_tried_three_times_eeh_20() {
    for (tries, outcome) in [
        (vec![false, false, true], Outcome::Recovered),
        (vec![false, false, false, true], Outcome::Failed(Doom::UnfreezeFailed)),
    ] {
        let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
        owner.unfreezes = tries.into();
        assert_eq!(owner.run(), outcome);
        assert_eq!(owner.count(|effect| *effect == Effect::Unfreeze), 3);
    }
}

#[test]
fn without_its_configuration_a_function_is_not_unfrozen() {
    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
    owner.restored = false;
    assert_eq!(owner.run(), Outcome::Failed(Doom::RestoreFailed));
    assert!(!owner.log.contains(&Effect::Unfreeze));
}

#[test]
fn a_state_is_asked_for_until_it_is_available_with_the_firmwares_delays_clamped_eeh_19() {
    let mut owner = Owner::eeh(&[aware(1)]);
    let delays = [Duration::ZERO, Duration::from_secs(7), Duration::MAX, Duration::MAX];
    owner.states = delays.map(Queried::AskAgain).into_iter().collect();
    assert_eq!(owner.run(), Outcome::Failed(Doom::StateTimeout));
    let wait = |effect: &Effect| match effect {
        Effect::Wait(time) => Some(time.as_secs()),
        _ => None,
    };
    let waits: Vec<u64> = owner.log.iter().filter_map(wait).collect();
    assert_eq!(waits, [1, 7, 292]);
    assert_eq!(STATE_WAIT, Duration::from_secs(300));
}

#[test]
fn a_reset_whose_state_never_comes_is_tried_again_eeh_19() {
    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
    let never = Queried::AskAgain(STATE_WAIT);
    owner.states = [ACTIVE, never, never, ACTIVE].into();
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.resets_ordered(), 2);
}

#[test]
fn after_a_reset_only_recovered_and_none_go_on_eeh_15() {
    for vote in Vote::ALL {
        let mut owner =
            Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset).says(1, Call::SlotReset, vote);
        let goes_on = matches!(vote, Vote::Recovered | Vote::None);
        let expected = if goes_on { Outcome::Recovered } else { Outcome::Failed(Doom::Voted(vote)) };
        assert_eq!(owner.run(), expected, "{vote}");
        assert_eq!(owner.called(1, Call::Resume), goes_on);
    }
}

#[test]
fn virtual_functions_are_probed_when_their_physical_function_is_back_eeh_16() {
    let vf = Member { virtual_function: true, depth: 2, ..function(2, Role::Unaware) };
    let mut owner = Owner::eeh(&[aware(1), vf]).says(1, FROZEN, Vote::NeedReset);
    assert_eq!(owner.run(), Outcome::Recovered);
    let calls = [(1, FROZEN), (2, Call::Unbind), (1, Call::SlotReset), (2, Call::Probe), (1, Call::Resume)];
    assert_eq!(owner.calls(), calls);
}

#[test]
fn a_function_that_failed_for_good_before_is_left_alone_eeh_11() {
    let dead = Member { disconnected: true, ..aware(2) };
    let mut owner = Owner::eeh(&[aware(1), dead]);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.calls().iter().all(|(id, _)| *id == 1));
    assert!(!owner.log.contains(&Effect::SetChannel(FunctionId(2), Channel::Normal)));
}

#[test]
fn permanent_failure_takes_everything_out_children_first_eeh_17() {
    let bridge = Member { bridge: true, depth: 0, ..aware(1) };
    let mut owner = Owner::eeh(&[bridge, aware(2), aware(3)]).says(2, FROZEN, Vote::Disconnect);
    owner.run();
    let remove = |effect: &Effect| match effect {
        Effect::Remove(id) => Some(id.0),
        _ => None,
    };
    assert_eq!(owner.log.iter().filter_map(remove).collect::<Vec<_>>(), [3, 2, 1]);
}
