//! Consumers that are no drivers, such as virtual machines: their three policies.

use crate::owner::{FROZEN, Owner, aware, function};
use contain::merge::Vote;
use contain::plan::{Call, Channel, Effect, Event, Flavour, FunctionId, Member, Policy, Role, Scope};
use contain::report::{Doom, Outcome};

const F1: FunctionId = FunctionId(1);

fn consumer(id: u64, policy: Policy) -> Member {
    function(id, Role::Consumer(policy))
}

fn vm(id: u64) -> Member {
    consumer(id, Policy::SaveAndRestore)
}

#[test]
fn a_model_is_quiesced_saved_reset_restored_and_resumed() {
    let mut owner = Owner::eeh(&[vm(1)]);
    assert_eq!(owner.run(), Outcome::Recovered);
    let calls = [Call::Quiesce, Call::Save, Call::Restore, Call::Resume];
    assert_eq!(owner.calls(), calls.map(|call| (1, call)));
    let reset = owner.log.iter().position(|effect| matches!(effect, Effect::Reset(_))).unwrap();
    let place = |call| owner.log.iter().position(|effect| *effect == Effect::Call(F1, call)).unwrap();
    assert!(place(Call::Save) < reset && reset < place(Call::Restore));
    assert_eq!(owner.count(|effect| matches!(effect, Effect::Notify(..))), 0, "the guest sees a pause");
}

#[test]
fn a_model_that_cannot_do_its_part_fails_the_recovery() {
    for call in [Call::Quiesce, Call::Save, Call::Restore] {
        for lost in [false, true] {
            let owner = Owner::eeh(&[vm(1), aware(2)]);
            let mut owner = if lost { owner.loses(1, call) } else { owner.fails(1, call) };
            assert_eq!(owner.run(), Outcome::Failed(Doom::Voted(Vote::Disconnect)), "{call:?}");
            assert!(owner.log.contains(&Effect::Notify(F1, Channel::PermFailure)));
            assert_eq!(owner.resets_ordered(), usize::from(call == Call::Restore), "unsaved: {call:?}");
        }
    }
}

#[test]
fn a_consumer_that_wants_to_know_is_told_and_counts_as_can_recover() {
    let mut owner = Owner::eeh(&[consumer(1, Policy::Notify)]);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert!(owner.log.contains(&Effect::Notify(F1, Channel::Frozen)));
    assert_eq!((owner.calls(), owner.resets_ordered()), (vec![], 0));

    let mut owner = Owner::eeh(&[consumer(1, Policy::Notify), aware(2)]).says(2, FROZEN, Vote::Disconnect);
    owner.run();
    assert!(owner.log.contains(&Effect::Notify(F1, Channel::PermFailure)));
}

#[test]
fn who_is_contained_until_told_is_neither_asked_nor_told_nor_thawed_eeh_21() {
    let mut owner = Owner::eeh(&[consumer(1, Policy::ContainUntilTold), aware(2)]);
    assert_eq!(owner.run(), Outcome::Recovered);
    let concerns = |effect: &Effect| {
        matches!(effect, Effect::SetChannel(F1, _) | Effect::Interrupts(F1, _) | Effect::Call(F1, _))
            || matches!(effect, Effect::Notify(F1, _) | Effect::Uevent(F1, _))
    };
    assert_eq!(owner.count(concerns), 0);
    assert_eq!(owner.count(|effect| *effect == Effect::Contain(F1)), 1);
}

#[test]
fn what_is_contained_is_frozen_again_after_its_parent_was_reset_eeh_20() {
    let members = [consumer(1, Policy::ContainUntilTold), aware(2)];
    let mut owner = Owner::eeh(&members).says(2, FROZEN, Vote::NeedReset);
    assert_eq!(owner.run(), Outcome::Recovered);
    let unfrozen = owner.log.iter().position(|effect| *effect == Effect::Unfreeze).unwrap();
    let after = &owner.log[unfrozen..];
    let contained = after.iter().position(|effect| *effect == Effect::Contain(F1)).unwrap();
    let next_call = after.iter().position(|effect| matches!(effect, Effect::Call(..))).unwrap();
    assert!(contained < next_call, "before anybody goes on");
}

#[test]
fn where_everything_is_contained_nothing_is_done_but_the_marks_are_collected_eeh_21() {
    let mut owner = Owner::eeh(&[consumer(1, Policy::ContainUntilTold)]);
    assert_eq!(owner.run(), Outcome::Contained);
    assert_eq!(owner.deeds(), [Effect::Contain(F1), Effect::Finish(Outcome::Contained)]);
}

#[test]
fn below_a_host_bridge_what_is_contained_is_reset_and_stays_frozen_eeh_20() {
    let members = vec![consumer(1, Policy::ContainUntilTold)];
    let mut owner = Owner::new(Scope { flavour: Flavour::Eeh, host_bridge: true, pes: vec![], members });
    // Nobody is left who would have been recovered; the host bridge is.
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.resets_ordered(), 1);
    assert_eq!(owner.log[owner.log.len() - 2], Effect::Contain(F1));
}

#[test]
fn a_consumer_that_leaves_during_the_recovery_is_not_resumed() {
    let left = Event::Bound(F1, Role::Unbound);
    let mut owner = Owner::eeh(&[vm(1), aware(2)]).meanwhile(Effect::RestoreConfig, left);
    assert_eq!(owner.run(), Outcome::Recovered);
    assert_eq!(owner.calls().iter().filter(|(id, _)| *id == 1).count(), 2, "quiesced and saved");
}

#[test]
fn a_model_is_saved_once_however_often_it_is_reset() {
    let mut owner = Owner::eeh(&[vm(1)]).meanwhile(Effect::Call(F1, Call::Restore), Event::FrozenAgain);
    assert_eq!(owner.run(), Outcome::Recovered);
    let calls = [Call::Quiesce, Call::Save, Call::Restore, Call::Restore, Call::Resume];
    assert_eq!(owner.calls(), calls.map(|call| (1, call)));
}
