//! What comes and goes during a recovery (EEH-18, report E).

use crate::owner::{FROZEN, GOOD, Owner, PERM_FAILURE, aware, function};
use contain::merge::Vote;
use contain::plan::{
    Call, Channel, Effect, Event, FunctionId, HOT_PLUG_SETTLE, Handlers, PeId, Policy, Role, Thaw,
};
use contain::report::{Doom, Notice, Outcome};

const F1: FunctionId = FunctionId(1);
const F2: FunctionId = FunctionId(2);

#[test]
fn a_function_that_is_plugged_is_kept_quiet_and_let_go_with_the_others_without_a_word_eeh_18() {
    let mut owner = Owner::eeh(&[aware(1)]).meanwhile(Effect::QueryState, Event::Added(aware(2)));
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.calls().iter().all(|(id, _)| *id == 1), "{:?}", owner.calls());
    let of_it = |effect: &&Effect| matches!(effect, Effect::SetChannel(F2, _) | Effect::Interrupts(F2, _));
    let expected = [
        Effect::SetChannel(F2, Channel::Frozen),
        Effect::Interrupts(F2, false),
        Effect::SetChannel(F2, Channel::Normal),
        Effect::Interrupts(F2, true),
    ];
    assert_eq!(owner.log.iter().filter(of_it).copied().collect::<Vec<_>>(), expected);
}

#[test]
fn a_function_that_is_plugged_into_a_failing_pe_goes_with_it() {
    let owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::Disconnect);
    let mut owner = owner.meanwhile(Effect::Call(F1, PERM_FAILURE), Event::Added(aware(2)));
    assert!(matches!(owner.run(), Outcome::Failed(_)));
    assert!(owner.log.contains(&Effect::Remove(F2)) && !owner.called(2, PERM_FAILURE));
}

#[test]
fn a_function_that_is_plugged_when_all_is_lost_after_all_were_told_to_go_on_gets_no_interrupts() {
    let doomed = Event::Doomed(Doom::HostBridgeDead);
    let mut owner = Owner::eeh(&[aware(1)]).meanwhile(Effect::Call(F1, Call::Resume), doomed);
    owner = owner.meanwhile(Effect::Call(F1, PERM_FAILURE), Event::Added(aware(2)));
    assert_eq!(owner.run(), Outcome::Failed(Doom::HostBridgeDead));
    assert!(owner.log.contains(&Effect::Interrupts(F2, false)) && owner.log.contains(&Effect::Remove(F2)));
}

#[test]
fn a_driver_that_is_bound_during_the_recovery_is_told_nothing_of_it_eeh_18() {
    let bound = Event::Bound(F2, Role::Aware(Handlers::all()));
    let mut owner = Owner::eeh(&[aware(1), function(2, Role::Unbound)]).meanwhile(Effect::QueryState, bound);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.calls().iter().all(|(id, _)| *id == 1), "{:?}", owner.calls());
}

#[test]
fn a_driver_that_is_bound_before_a_reset_is_unbound_for_it() {
    let bound = Event::Bound(F2, Role::Aware(Handlers::all()));
    let members = [aware(1), function(2, Role::Unbound)];
    let owner = Owner::eeh(&members).says(1, FROZEN, Vote::NeedReset);
    let mut owner = owner.meanwhile(Effect::QueryState, bound);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.called(2, Call::Unbind) && owner.called(2, Call::Probe));
}

#[test]
fn a_driver_that_comes_while_models_are_saved_is_unbound_before_the_reset() {
    let members = [function(1, Role::Consumer(Policy::SaveAndRestore))];
    let late = Event::Added(function(2, Role::Unaware));
    let mut owner = Owner::eeh(&members).meanwhile(Effect::Call(F1, Call::Save), late);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.called(2, Call::Unbind) && owner.called(2, Call::Probe));
}

#[test]
fn a_function_that_is_unplugged_while_it_is_called_is_not_waited_for() {
    let mut owner = Owner::eeh(&[aware(1), aware(2)]);
    owner.send(Event::Begin(GOOD));
    owner.send(Event::Answered(F2, FROZEN, contain::plan::Answer::Vote(Vote::CanRecover)));
    assert_eq!(owner.send(Event::Removed(F1)), [Effect::QueryState]);
}

#[test]
fn the_vote_of_a_function_that_is_unplugged_does_not_count() {
    let owner = Owner::eeh(&[aware(1), aware(2)]).says(1, FROZEN, Vote::Disconnect);
    let mut owner = owner.meanwhile(Effect::Call(F2, FROZEN), Event::Removed(F1));
    assert_eq!(owner.run(), Outcome::Recovered);
}

#[test]
fn when_everything_is_unplugged_there_is_nothing_to_recover() {
    let mut owner = Owner::eeh(&[aware(1)]);
    owner = owner.meanwhile(Effect::Call(F1, FROZEN), Event::Removed(F1));
    assert_eq!(owner.run(), Outcome::Gone);
    assert_eq!(owner.resets_ordered(), 0);
}

#[test]
fn a_pe_that_is_put_in_is_marked_and_collected_like_the_others_eeh_i5() {
    let mut owner = Owner::eeh(&[aware(1)]).meanwhile(Effect::QueryState, Event::PeAdded(PeId(7)));
    assert_eq!(owner.run(), Outcome::Recovered);
    for effect in [Effect::Mark(PeId(7)), Effect::Collect(PeId(7))] {
        assert_eq!(owner.count(|e| *e == effect), 1);
    }
    let mut owner = Owner::eeh(&[aware(1)]).meanwhile(Effect::QueryState, Event::PeAdded(PeId(1)));
    assert_eq!(owner.run(), Outcome::Recovered, "one that is known is not marked twice");
}

#[test]
fn what_changes_before_the_recovery_begins_is_as_if_it_had_always_been_so() {
    let mut owner = Owner::eeh(&[function(1, Role::Unbound), aware(3)]);
    for event in [
        Event::Bound(F1, Role::Aware(Handlers::all())),
        Event::Removed(FunctionId(3)),
        Event::Added(aware(2)),
    ] {
        assert_eq!(owner.send(event), []);
    }
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.called(1, Call::Resume) && owner.called(2, Call::Resume) && !owner.called(3, FROZEN));
}

#[test]
fn an_error_while_everything_is_frozen_is_the_same_error_eeh_07() {
    let again = |at| Owner::eeh(&[aware(1)]).meanwhile(at, Event::FrozenAgain);
    for at in [Effect::Call(F1, FROZEN), Effect::QueryState] {
        let mut owner = again(at);
        assert_eq!(owner.run(), Outcome::Recovered);
        assert!(!owner.log.contains(&Effect::Tell(Notice::FrozenAgain)));
        assert_eq!(owner.resets_ordered(), 0);
    }
}

#[test]
fn a_pe_that_freezes_again_once_it_is_thawed_is_reset() {
    for at in [
        Effect::Thaw(contain::plan::Traffic::Mmio),
        Effect::Call(F1, Call::MmioEnabled),
        Effect::Thaw(contain::plan::Traffic::Dma),
    ] {
        let mut owner = Owner::eeh(&[aware(1)]).meanwhile(at, Event::FrozenAgain);
        assert_eq!(owner.run(), Outcome::Recovered);
        assert_eq!(owner.resets_ordered(), 1, "{at:?}");
    }
}

#[test]
fn a_pe_that_freezes_again_after_its_reset_is_reset_again_but_not_for_ever_eeh_19() {
    let again = |times: usize| {
        let mut owner = Owner::eeh(&[aware(1), function(2, Role::Unaware)]).says(1, FROZEN, Vote::NeedReset);
        for _ in 0..times {
            owner = owner.meanwhile(Effect::Call(F1, Call::SlotReset), Event::FrozenAgain);
        }
        owner
    };
    let mut owner = again(2);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.resets_ordered(), 3);
    assert_eq!(owner.count(|effect| *effect == Effect::Call(F1, Call::SlotReset)), 3);
    assert_eq!(owner.count(|effect| *effect == Effect::Call(F2, Call::Unbind)), 3);

    let mut owner = again(3);
    assert!(matches!(owner.run(), Outcome::Failed(Doom::ResetFailed)));
    assert_eq!(owner.resets_ordered(), 3);
}

#[test]
fn nobody_else_is_called_and_nothing_is_thawed_once_a_pe_has_frozen_again() {
    let members = [contain::plan::Member { depth: 0, ..aware(1) }, aware(2)];
    let at = Effect::Call(F1, Call::MmioEnabled);
    let mut owner = Owner::eeh(&members).meanwhile(at, Event::FrozenAgain);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(!owner.called(2, Call::MmioEnabled) && owner.called(2, Call::SlotReset));
    assert!(!owner.log.contains(&Effect::Thaw(contain::plan::Traffic::Dma)));

    let at = Effect::Wait(HOT_PLUG_SETTLE);
    let mut owner = Owner::eeh(&[function(1, Role::Unaware)]).meanwhile(at, Event::FrozenAgain);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(
        owner.calls(),
        [(1, Call::Unbind), (1, Call::Probe)],
        "no driver is probed between the resets"
    );
    assert_eq!(owner.resets_ordered(), 2);

    let mut owner = Owner::eeh(&[function(1, Role::Unaware)]).meanwhile(Effect::Unfreeze, Event::FrozenAgain);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.count(|effect| *effect == at), 1, "nor waited for");
}

#[test]
fn a_pe_that_freezes_again_when_virtual_functions_are_probed_is_reset_again() {
    let vf = contain::plan::Member { virtual_function: true, ..function(1, Role::Unaware) };
    let mut owner = Owner::eeh(&[vf]).meanwhile(Effect::Call(F1, Call::Probe), Event::FrozenAgain);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.resets_ordered(), 2);
}

#[test]
fn a_driver_that_needs_a_reset_because_its_pe_has_frozen_again_gets_it() {
    let owner = Owner::eeh(&[aware(1)]).says(1, FROZEN, Vote::NeedReset);
    let owner = owner.says(1, Call::SlotReset, Vote::NeedReset).says(1, Call::SlotReset, Vote::Recovered);
    let mut owner = owner.meanwhile(Effect::Call(F1, Call::SlotReset), Event::FrozenAgain);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.resets_ordered(), 2);
}

#[test]
fn a_reset_after_hot_plug_activity_unbinds_everybody_again() {
    let bridge = contain::plan::Member { bridge: true, depth: 0, ..function(1, Role::Unaware) };
    let mut owner = Owner::eeh(&[bridge]).meanwhile(Effect::Call(F1, Call::Probe), Event::FrozenAgain);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.count(|effect| *effect == Effect::Call(F1, Call::Unbind)), 2);
}

#[test]
fn a_pe_that_freezes_again_while_all_are_told_to_go_on_is_to_be_recovered_again() {
    let mut owner = Owner::eeh(&[aware(1)]).meanwhile(Effect::Call(F1, Call::Resume), Event::FrozenAgain);
    owner.dma = Thaw::Done;
    assert_eq!(owner.run(), Outcome::FrozenAgain);
}
