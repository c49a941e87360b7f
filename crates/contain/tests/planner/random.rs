//! Random recoveries: any answers in any order, lost calls, hot-plug, more errors, and the end of everything, at any moment.

use crate::checker::{Checker, step};
use contain::merge::Vote;
use contain::plan::{
    Answer, Effect, Event, Flavour, FunctionId, Handlers, Member, PeId, Plan, PlatformState, Policy, Queried,
    Role, Scope, Severity, Sight, Thaw,
};
use contain::report::{Doom, Outcome};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use std::time::Duration;

fn role() -> impl Strategy<Value = Role> {
    let handlers = any::<u8>().prop_map(Handlers::from_bits_truncate);
    let useful = Just(Handlers::all());
    let policy = prop_oneof![
        3 => Just(Policy::SaveAndRestore),
        1 => Just(Policy::Notify),
        1 => Just(Policy::ContainUntilTold),
    ];
    prop_oneof![
        1 => Just(Role::Unbound),
        2 => Just(Role::Unaware),
        2 => handlers.prop_map(Role::Aware),
        4 => useful.prop_map(Role::Aware),
        2 => policy.prop_map(Role::Consumer),
    ]
}

fn member(id: u64) -> impl Strategy<Value = Member> {
    let flags = prop_oneof![3 => Just((false, false, false)), 1 => any::<(bool, bool, bool)>()];
    (role(), 0..4_u16, flags, prop::bool::weighted(0.05)).prop_map(
        move |(role, depth, (bridge, virtual_function, needs_fundamental_reset), disconnected)| Member {
            function: FunctionId(id),
            depth,
            role,
            bridge,
            virtual_function,
            needs_fundamental_reset,
            disconnected,
        },
    )
}

fn flavour() -> impl Strategy<Value = Flavour> {
    let severity = prop_oneof![
        4 => Just(Severity::NonFatal),
        4 => Just(Severity::Fatal),
        2 => Just(Severity::ContainedByPort),
        1 => Just(Severity::Correctable),
    ];
    let aer = severity.prop_map(Flavour::Aer);
    prop_oneof![2 => Just(Flavour::Eeh), 1 => aer]
}

fn scope() -> impl Strategy<Value = Scope> {
    let members = (0..6_u64).prop_flat_map(|n| (0..n).map(member).collect::<Vec<_>>());
    (flavour(), any::<bool>(), members).prop_map(|(flavour, host_bridge, members)| Scope {
        flavour,
        host_bridge,
        pes: vec![PeId(1), PeId(2)],
        members,
    })
}

/// What happens from outside.
fn outside() -> impl Strategy<Value = Event> {
    let id = (0..9_u64).prop_map(FunctionId);
    prop_oneof![
        2 => (0..9_u64).prop_flat_map(member).prop_map(Event::Added),
        2 => id.clone().prop_map(Event::Removed),
        2 => (id, role()).prop_map(|(id, role)| Event::Bound(id, role)),
        2 => Just(Event::FrozenAgain),
        1 => (1..6_u64).prop_map(|pe| Event::PeAdded(PeId(pe))),
        1 => Just(Event::Doomed(Doom::HostBridgeDead)),
        1 => Just(Event::Waited),
        1 => Just(Event::ResetDone(true)),
        1 => Just(Event::Unfrozen(true)),
    ]
}

fn vote() -> impl Strategy<Value = Vote> {
    prop_oneof![
        4 => Just(Vote::CanRecover),
        5 => Just(Vote::NeedReset),
        8 => Just(Vote::Recovered),
        2 => Just(Vote::None),
        1 => Just(Vote::Disconnect),
        1 => Just(Vote::NoAerDriver),
    ]
}

/// One move of the world: which of the effects that wait is answered, and how; or what happens from outside.
#[derive(Clone, Debug)]
enum Move {
    Answer { which: prop::sample::Index, vote: Vote, luck: u8 },
    Outside(Event),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let answer = (any::<prop::sample::Index>(), vote(), any::<u8>())
        .prop_map(|(which, vote, luck)| Move::Answer { which, vote, luck });
    prop::collection::vec(prop_oneof![8 => answer, 1 => outside().prop_map(Move::Outside)], 0..80)
}

struct World {
    plan: Plan,
    checker: Checker,
    waiting: Vec<Effect>,
}

impl World {
    fn send(&mut self, event: Event) {
        let effects = step(&mut self.plan, &mut self.checker, event);
        self.waiting.extend(effects.into_iter().filter(is_answered));
    }

    fn answer(&mut self, at: usize, vote: Vote, luck: u8) {
        let effect = self.waiting.remove(at);
        let unlucky = luck < 12;
        let event = match effect {
            Effect::Call(id, call) if luck < 5 => Event::CallbackLost(id, call),
            Effect::Call(id, call) if unlucky => Event::Answered(id, call, Answer::Failed),
            Effect::Call(id, call) => Event::Answered(id, call, Answer::Vote(vote)),
            Effect::Thaw(traffic) => Event::Thawed(
                traffic,
                match luck {
                    0..6 => Thaw::Failed,
                    6..30 => Thaw::NeedsReset,
                    _ => Thaw::Done,
                },
            ),
            Effect::QueryState => Event::StateIs(match luck {
                0..4 => Queried::Failed,
                4..40 => Queried::AskAgain(Duration::from_secs(u64::from(luck))),
                40..100 => Queried::Is(PlatformState::from_bits_truncate(luck)),
                _ => Queried::Is(PlatformState::MMIO_ACTIVE | PlatformState::DMA_ACTIVE),
            }),
            Effect::Wait(_) => Event::Waited,
            Effect::Reset(_) => Event::ResetDone(!unlucky),
            Effect::RestoreConfig => Event::ConfigRestored(!unlucky),
            Effect::Unfreeze => Event::Unfrozen(luck > 60),
            _ => unreachable!("nothing else is answered: {effect:?}"),
        };
        self.send(event);
    }

    fn make(&mut self, what: &Move) {
        match what {
            Move::Outside(event) => self.send(*event),
            Move::Answer { which, vote, luck } if !self.waiting.is_empty() => {
                self.answer(which.index(self.waiting.len()), *vote, *luck);
            }
            Move::Answer { .. } => {}
        }
    }
}

fn is_answered(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Call(..)
            | Effect::Thaw(_)
            | Effect::QueryState
            | Effect::Wait(_)
            | Effect::Reset(_)
            | Effect::RestoreConfig
            | Effect::Unfreeze
    )
}

/// Effects for each function: at most three resets, with all calls around each, and what is before and after.
const EFFECTS_PER_FUNCTION: usize = 40;
/// And for the whole: the times that a state is asked for, at most 300 s each second, before each of the four waits.
const EFFECTS: usize = 4 * 2 * 301 + 100;

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn every_recovery_ends_and_leaves_nothing_behind_whatever_happens(
        scope in scope(),
        before in prop::collection::vec(outside(), 0..3),
        sight in prop_oneof![
            9 => Just(Sight { present: true, within_budget: true }),
            1 => any::<(bool, bool)>().prop_map(|(present, within_budget)| Sight { present, within_budget }),
        ],
        moves in moves(),
    ) {
        let mut world = World { checker: Checker::new(&scope), plan: Plan::new(scope), waiting: Vec::new() };
        before.into_iter().for_each(|event| world.send(event));
        world.send(Event::Begin(sight));
        moves.iter().for_each(|one| world.make(one));
        // From here on nothing comes from outside, and all is well.
        let mut answered = 0;
        while !world.waiting.is_empty() {
            world.answer(0, Vote::Recovered, u8::MAX);
            answered += 1;
            prop_assert!(answered < EFFECTS, "it goes on for ever: {:?}", world.plan);
        }
        prop_assert!(world.checker.outcome().is_some(), "it stands still: {:?}", world.plan);
        let bound = EFFECTS + EFFECTS_PER_FUNCTION * 16;
        prop_assert!(world.checker.effects < bound, "{} effects", world.checker.effects);
    }

    #[test]
    fn a_recovery_in_which_all_goes_well_recovers(
        members in (1..8_u64).prop_flat_map(|n| (0..n).map(member).collect::<Vec<_>>()),
        votes in prop::collection::vec(prop_oneof![Just(Vote::CanRecover), Just(Vote::NeedReset), Just(Vote::None)], 8),
    ) {
        let members: Vec<_> = members.into_iter().map(|m| Member { disconnected: false, ..m }).collect();
        let contained = members.iter().all(|m| m.role == Role::Consumer(Policy::ContainUntilTold));
        let scope = Scope { flavour: Flavour::Eeh, host_bridge: false, pes: vec![PeId(1)], members };
        let mut world = World { checker: Checker::new(&scope), plan: Plan::new(scope), waiting: Vec::new() };
        world.send(Event::Begin(Sight { present: true, within_budget: true }));
        while let Some(effect) = world.waiting.first().copied() {
            let vote = match effect {
                Effect::Call(id, contain::plan::Call::ErrorDetected(_)) => {
                    votes[usize::try_from(id.0).unwrap() % votes.len()]
                }
                _ => Vote::Recovered,
            };
            world.answer(0, vote, u8::MAX);
        }
        let expected = if contained { Outcome::Contained } else { Outcome::Recovered };
        prop_assert_eq!(world.checker.outcome(), Some(expected));
    }
}
/// Random runs that never get anywhere would prove nothing.
#[test]
fn the_random_recoveries_come_to_every_end_that_there_is() {
    let mut runner = TestRunner::deterministic();
    let mut ends = BTreeSet::new();
    for _ in 0..3_000 {
        let scope = scope().new_tree(&mut runner).unwrap().current();
        let moves = moves().new_tree(&mut runner).unwrap().current();
        let mut world = World { checker: Checker::new(&scope), plan: Plan::new(scope), waiting: Vec::new() };
        world.send(Event::Begin(Sight { present: true, within_budget: true }));
        moves.iter().for_each(|one| world.make(one));
        while !world.waiting.is_empty() {
            world.answer(0, Vote::Recovered, u8::MAX);
        }
        ends.insert(match world.checker.outcome().unwrap() {
            Outcome::Failed(Doom::Voted(_)) => "Voted".to_owned(),
            Outcome::Failed(doom) => format!("{doom:?}"),
            other => format!("{other:?}"),
        });
    }
    // Without those that are known at the beginning, and a firmware that is never ready.
    let expected = [
        "Contained",
        "FrozenAgain",
        "Gone",
        "HostBridgeDead",
        "NotRecoverable",
        "Recovered",
        "ResetFailed",
        "RestoreFailed",
        "StateUnknown",
        "ThawFailed",
        "UnfreezeFailed",
        "Voted",
    ];
    assert_eq!(ends.into_iter().collect::<Vec<_>>(), expected);
}
