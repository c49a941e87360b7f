//! Random scripts: whatever everybody does, a recovery ends, and everything is given back.

use crate::script::Act;
use crate::world::*;
use contain::containment::{News, Running};
use contain::merge::Vote;
use contain::plan::{Answer, Handlers, Policy, Role};
use contain::report::{Doom, Outcome};
use proptest::prelude::*;

const ROLES: [Role; 7] = [
    Role::Unbound,
    Role::Unaware,
    AWARE,
    Role::Aware(Handlers::ERROR_DETECTED),
    MODEL,
    Role::Consumer(Policy::Notify),
    Role::Consumer(Policy::ContainUntilTold),
];

const CALLS: [&str; 8] =
    ["error_detected", "mmio_enabled", "slot_reset", "resume", "unbind", "probe", "of", "interrupts"];

const PLATFORM: [&str; 6] = ["is_present", "state", "reset", "restore_config", "unfreeze", "thaw Mmio"];

#[derive(Clone, Copy, Debug)]
enum Meets {
    Removal(usize),
    FrozenAgain,
    Doom,
    Bound(usize, Role),
}

fn act() -> impl Strategy<Value = Act> {
    let vote = prop::sample::select(&Vote::ALL[..]).prop_map(|vote| Act::Say(Answer::Vote(vote)));
    prop_oneof![
        6 => vote,
        1 => Just(Act::Say(Answer::Done)),
        1 => Just(Act::Say(Answer::Failed)),
        1 => Just(Act::Later),
        1 => Just(Act::Drop),
        1 => Just(Act::Panic),
    ]
}

fn meets() -> impl Strategy<Value = Meets> {
    prop_oneof![
        4 => (0..4_usize).prop_map(Meets::Removal),
        3 => Just(Meets::FrozenAgain),
        1 => Just(Meets::Doom),
        2 => (0..4_usize, prop::sample::select(&ROLES[..])).prop_map(|(nth, role)| Meets::Bound(nth, role)),
    ]
}

fn call() -> impl Strategy<Value = String> {
    let ours =
        (0..4_usize, prop::sample::select(&CALLS[..])).prop_map(|(nth, call)| format!("f{nth}.{call}"));
    let platform = prop::sample::select(&PLATFORM[..]).prop_map(|call| format!("platform.{call}"));
    prop_oneof![3 => ours, 1 => platform]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_recovery_ends_and_gives_everything_back(
        roles in prop::collection::vec(prop::sample::select(&ROLES[..]), 0..4),
        below in prop::collection::vec(prop::sample::select(&ROLES[..]), 0..2),
        acts in prop::collection::vec((0..4_usize, prop::sample::select(&CALLS[..]), act()), 0..6),
        refusals in prop::collection::vec((call(), 0..4_u32), 0..3),
        models in prop::collection::vec((0..4_usize, prop::bool::ANY, prop::bool::ANY), 0..2),
        meets in prop::collection::vec((call(), meets()), 0..4),
    ) {
        let mut world = World::new(&roles);
        for role in below {
            world.plug(BELOW, role);
        }
        for (nth, call, act) in acts {
            world.script.set(&format!("f{nth}.{call}"), act);
        }
        for (call, times) in refusals {
            world.script.refuse(&call, times);
        }
        for (nth, saves, panics) in models {
            let call = format!("f{nth}.{}", if saves { "save" } else { "restore" });
            if panics { world.script.set(&call, Act::Panic) } else { world.script.refuse(&call, 1) }
        }
        world.begin();
        for (call, what) in meets {
            happens(&world, &call, what);
        }
        let Some(outcome) = world.drive() else { panic!("it stands still") };
        world.scene.replies.lock().clear();
        if outcome == Outcome::FrozenAgain {
            world.frozen.as_ref().unwrap().thaw();
        }
        assert_given_back(&mut world);
    }
}

fn happens(world: &World, call: &str, what: Meets) {
    let recovery = world.recovery.clone().unwrap();
    let cards = world.scene.cards.lock().clone();
    let tree = world.tree.clone();
    let act: Meanwhile = match what {
        Meets::Removal(nth) => {
            let Some(card) = cards.get(nth).cloned() else { return };
            Box::new(move |token| {
                let _orphans =
                    card.there.function.disconnect(token, gate::Deadline::after(std::time::Duration::ZERO));
                let _unless_it_was = tree.remove_function(token, card.there.address, soon());
                drop(recovery);
            })
        }
        Meets::FrozenAgain => {
            let (pe, frozen) = (world.pe(), world.frozen.clone().unwrap());
            Box::new(move |token| {
                if pe.isolate() {
                    frozen.again(&tree.snapshot(token));
                    recovery.post(News::FrozenAgain);
                }
            })
        }
        Meets::Doom => Box::new(move |_| recovery.post(News::Doomed(Doom::Forced))),
        Meets::Bound(nth, role) => {
            let Some(card) = cards.get(nth).cloned() else { return };
            // Whom a recovery leaves alone does not come while it is under way.
            if role == Role::Consumer(Policy::ContainUntilTold)
                || *card.role.lock() == Role::Consumer(Policy::ContainUntilTold)
            {
                return;
            }
            Box::new(move |_| {
                *card.role.lock() = role;
                recovery.post(News::Bound(card.id()));
            })
        }
    };
    world.scene.meanwhile.lock().insert(call.to_owned(), act);
}

/// What holds whatever happened; who is open depends on too much to be said again.
fn assert_given_back(world: &mut World) {
    assert_eq!(world.scene.ends.lock().len(), 1);
    world.scene.assert_nothing_wrong();
    world.scene.meanwhile.lock().clear();
    let failed = matches!(world.outcome(), Some(Outcome::Failed(_)));
    for card in world.scene.cards.lock().iter() {
        let status = card.there.function.gate().status();
        assert!(status.owner.is_none(), "{status:?}");
        assert!(!card.there.function.config().is_dma_held());
        let gone = card.there.function.handle().is_gone();
        let kept = *card.role.lock() == Role::Consumer(Policy::ContainUntilTold);
        assert!(gone || kept || status.contained == u32::from(failed), "{status:?}");
    }
    let recovery = world.recovery.take().unwrap();
    assert_eq!(std::sync::Arc::strong_count(&recovery), 1);
    drop(recovery);
    world.frozen = None;
    let left = contain::pe::PeState::RECOVERING | contain::pe::PeState::KEEP | contain::pe::PeState::RESET;
    assert!(!world.pe().state().intersects(left));
    assert!(matches!(world.tree.try_claim(&world.token, TOP), Ok(contain::tree::TryClaimed::Mine(_))));
}
