//! The defects that were open in Linux's recovery when this was written (report E, "still open"), by their numbers there:
//! those of the planner. 1, 8 and 9 are of detection, queue and locks, which a planner does not have.

use crate::owner::{ACTIVE, FROZEN, Owner, aware, function, scope};
use contain::merge::Vote;
use contain::plan::{
    Call, Effect, Event, Flavour, FunctionId, PeId, PlatformState, Policy, Queried, RESET_ATTEMPTS, Role,
    Scope, Thaw,
};
use contain::report::{Doom, Outcome};

const F1: FunctionId = FunctionId(1);

/// One owner for each way in which a recovery can end, and how it ends.
fn every_exit() -> Vec<(Owner, Outcome)> {
    let owner = || Owner::eeh(&[aware(1)]);
    let reset = || owner().says(1, FROZEN, Vote::NeedReset);
    let failed = |mut owner: Owner, doom, change: fn(&mut Owner)| {
        change(&mut owner);
        (owner, Outcome::Failed(doom))
    };
    let voted = |vote| Doom::Voted(vote);
    vec![
        (owner(), Outcome::Recovered),
        (reset(), Outcome::Recovered),
        (Owner::eeh(&[]), Outcome::Gone),
        (owner().meanwhile(Effect::QueryState, Event::Removed(F1)), Outcome::Gone),
        (owner().meanwhile(Effect::Call(F1, Call::Resume), Event::FrozenAgain), Outcome::FrozenAgain),
        failed(owner(), Doom::NothingPresent, |owner| owner.sight.present = false),
        failed(owner(), Doom::BudgetExhausted, |owner| owner.sight.within_budget = false),
        failed(owner().says(1, FROZEN, Vote::Disconnect), voted(Vote::Disconnect), |_| {}),
        failed(owner().says(1, FROZEN, Vote::NoAerDriver), voted(Vote::NoAerDriver), |_| {}),
        failed(owner().loses(1, FROZEN), voted(Vote::Disconnect), |_| {}),
        failed(owner(), Doom::StateUnknown, |owner| owner.states = [Queried::Failed].into()),
        failed(owner(), Doom::StateTimeout, |owner| {
            owner.states = [Queried::AskAgain(contain::plan::STATE_WAIT); 2].into();
        }),
        failed(owner(), Doom::ThawFailed, |owner| owner.mmio = Thaw::Failed),
        failed(owner(), Doom::ThawFailed, |owner| owner.dma = Thaw::Failed),
        failed(reset(), Doom::ResetFailed, |owner| owner.resets = [false; 3].into()),
        failed(reset(), Doom::NotRecoverable, |owner| owner.states = [ACTIVE, Queried::Failed].into()),
        failed(reset(), Doom::RestoreFailed, |owner| owner.restored = false),
        failed(reset(), Doom::UnfreezeFailed, |owner| owner.unfreezes = [false; 3].into()),
        failed(reset().says(1, Call::SlotReset, Vote::Disconnect), voted(Vote::Disconnect), |_| {}),
        failed(reset().says(1, Call::SlotReset, Vote::NeedReset), voted(Vote::NeedReset), |_| {}),
        failed(
            owner().meanwhile(Effect::QueryState, Event::Doomed(Doom::HostBridgeDead)),
            Doom::HostBridgeDead,
            |_| {},
        ),
    ]
}

#[test]
fn defects_2_3_and_4_every_exit_takes_both_marks_off_every_pe_eeh_i5() {
    for (mut owner, outcome) in every_exit() {
        assert_eq!(owner.run(), outcome);
        let end = owner.log.len() - 3;
        let expected = [Effect::Collect(PeId(2)), Effect::Collect(PeId(1)), Effect::Finish(outcome)];
        assert_eq!(owner.log[end..], expected, "the last words of all");
    }
}

#[test]
fn defect_2_a_pe_that_is_emptied_during_the_recovery_is_collected_at_its_end() {
    let removed = Event::Removed(F1);
    let mut owner = Owner::eeh(&[aware(1), aware(2)]).meanwhile(Effect::Call(F1, FROZEN), removed);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.count(|effect| matches!(effect, Effect::Collect(_))), 2);
}

#[test]
fn defect_5_three_resets_that_leave_a_pe_inactive_are_a_failure() {
    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
    let inactive = Queried::Is(PlatformState::MMIO_ACTIVE);
    owner.states = [ACTIVE, inactive, inactive, inactive].into();
    assert_eq!(owner.run(), Outcome::Failed(Doom::ResetFailed));
    assert_eq!(owner.resets_ordered(), RESET_ATTEMPTS as usize);
    assert!(!owner.called(1, Call::SlotReset) && !owner.called(1, Call::Resume));
}

#[test]
fn defect_5_held_in_reset_is_not_active_either() {
    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
    let held = Queried::Is(PlatformState::all() - PlatformState::UNAVAILABLE);
    owner.states = [ACTIVE, held, ACTIVE].into();
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.resets_ordered(), 2);
}

#[test]
fn defect_6_a_query_that_fails_is_not_a_state_in_which_everything_is_active() {
    // -EIO as bits would read as MMIO and DMA active.
    for states in [vec![Queried::Failed], vec![ACTIVE, Queried::Failed]] {
        let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
        owner.states = states.into();
        assert!(matches!(owner.run(), Outcome::Failed(Doom::StateUnknown | Doom::NotRecoverable)));
        assert!(!owner.called(1, Call::SlotReset));
    }
}

#[test]
fn defect_7_a_function_that_is_gone_is_not_touched_whenever_it_goes() {
    let orders = {
        let mut owner = Owner::eeh(&[aware(1), aware(2), function(3, Role::Unaware)]);
        owner = owner.says(2, FROZEN, Vote::NeedReset);
        owner.run();
        owner.log
    };
    for order in orders {
        let owner = Owner::eeh(&[aware(1), aware(2), function(3, Role::Unaware)]);
        let owner = owner.says(2, FROZEN, Vote::NeedReset);
        let mut owner = owner.meanwhile(order, Event::Removed(F1));
        // The checker panics at any effect of a function that is gone.
        let outcome = owner.run();
        assert!(matches!(outcome, Outcome::Recovered), "{order:?}");
    }
}

#[test]
fn defect_10_nothing_is_waited_for_inside_a_step_and_a_function_can_be_unplugged_during_every_wait() {
    let mut owner = Owner::eeh(&[function(1, Role::Unaware), function(2, Role::Unaware)]);
    owner = owner.meanwhile(Effect::Wait(contain::plan::HOT_PLUG_SETTLE), Event::Removed(F1));
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.called(2, Call::Probe) && !owner.called(1, Call::Probe));
}

#[test]
fn nobody_goes_on_while_frozen_even_if_everybody_says_recovered_at_once() {
    let mut owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::Recovered);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.called(1, Call::MmioEnabled), "it is thawed first");
}

#[test]
fn what_was_doomed_before_it_began_does_not_touch_the_hardware_eeh_22() {
    let contained = function(1, Role::Consumer(Policy::ContainUntilTold));
    for members in [vec![], vec![contained], vec![aware(1)]] {
        let mut owner = Owner::new(Scope { members, ..scope(Flavour::Eeh, &[]) });
        assert_eq!(owner.send(Event::Doomed(Doom::PlatformDead)), []);
        assert_eq!(owner.run(), Outcome::Failed(Doom::PlatformDead));
        let touches = |effect: &Effect| {
            matches!(effect, Effect::Thaw(_) | Effect::Reset(_) | Effect::QueryState | Effect::Unfreeze)
        };
        assert_eq!(owner.count(touches), 0);
    }
}
