//! The life of a back end: every state meets every event, and no sequence of events gets it stuck or out of bounds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use contain::budget::FreezeBudget;
use proptest::prelude::*;
use remote::config::BackOff;
use remote::fence::{Fenced, How, Known};
use remote::life::{Away, Effect, Event, FENCE_PATIENCE, Life, Rules, State, Why};

const NOW: Duration = Duration::from_secs(100);
const GIVE_UP: Duration = Duration::from_secs(60);
const OVER: Known = Known::Over(How::Server);

fn rules() -> Rules {
    Rules {
        back_off: BackOff {
            first: Duration::from_millis(20),
            longest: Duration::from_secs(2),
            jitter_percent: 0,
        },
        give_up_after: GIVE_UP,
        budget: FreezeBudget { max_freezes: 3, window: Duration::from_secs(3600) },
        restarts: true,
        kill_hung: true,
        accept_late_writes: false,
        seed: 1,
    }
}

/// Lost a second ago; the command may be started.
fn away() -> Away {
    Away { since: NOW - Duration::from_secs(1), attempts: 0, restart_at: NOW, alive: false }
}

fn states() -> Vec<State> {
    let why = Why::Differs;
    vec![
        State::Connected,
        State::Fencing(away()),
        State::Waiting { away: away(), until: NOW },
        State::Waiting { away: Away { alive: true, ..away() }, until: NOW },
        State::Restarting(away()),
        State::Connecting(away()),
        State::Checking(away()),
        State::Replaying(away()),
        State::Failed(why),
        State::Closed,
    ]
}

fn events() -> Vec<Event> {
    vec![
        Event::Lost { hung: false },
        Event::Lost { hung: true },
        Event::Fence(OVER),
        Event::Fence(Known::Ended),
        Event::Fence(Known::Alive),
        Event::Fence(Known::Unknown),
        Event::TimeUp,
        Event::Restarted,
        Event::Connected,
        Event::NotConnected,
        Event::Checked(OVER),
        Event::Checked(Known::Ended),
        Event::Checked(Known::Alive),
        Event::Checked(Known::Unknown),
        Event::Differs,
        Event::Broken,
        Event::Replayed,
        Event::Close,
    ]
}

fn step(rules: Rules, state: State, event: Event) -> (State, Vec<Effect>) {
    let mut life = Life::resumed(rules, state);
    let effects = life.step(NOW, event);
    (*life.state(), effects)
}

/// The state's name after the event, and the effects; `None`: nothing changes. This is the table; `Life::step` is the code.
fn expected(state: &State, event: Event) -> Option<(&'static str, Vec<Effect>)> {
    let sleep = Effect::Sleep { until: NOW + Duration::from_millis(20) };
    let fence = Effect::AwaitFence { until: NOW + FENCE_PATIENCE };
    let replay = |fenced| Effect::Replay { fenced };
    let next = match (state.name(), event) {
        ("closed", _) => return None,
        (_, Event::Close) => ("closed", vec![Effect::Release]),
        ("connected", Event::Lost { hung: false }) => ("fencing", vec![Effect::Detach, fence]),
        ("connected", Event::Lost { hung: true }) => ("fencing", vec![Effect::Detach, Effect::Kill, fence]),
        ("fencing", Event::Fence(Known::Alive)) => ("connecting", vec![Effect::Connect]),
        ("fencing", Event::Fence(_)) => ("restarting", vec![Effect::Restart]),
        ("waiting", Event::TimeUp) => ("fencing", vec![Effect::AwaitFence { until: NOW }]),
        ("waiting", Event::Fence(Known::Over(_) | Known::Ended)) => ("restarting", vec![Effect::Restart]),
        ("restarting", Event::Restarted) => ("connecting", vec![Effect::Connect]),
        ("connecting", Event::Connected) => ("checking", vec![Effect::Check]),
        ("connecting", Event::NotConnected) => ("waiting", vec![sleep]),
        ("checking", Event::Checked(Known::Over(how))) => ("replaying", vec![replay(Fenced::Over(how))]),
        ("checking", Event::Checked(Known::Unknown | Known::Ended)) => {
            ("replaying", vec![replay(Fenced::Unknown)])
        }
        ("checking", Event::Checked(Known::Alive) | Event::Broken | Event::Lost { .. }) => {
            ("waiting", vec![Effect::Cut, sleep])
        }
        ("checking", Event::Differs) => ("failed", vec![Effect::Cut, Effect::GiveUp(Why::Differs)]),
        ("replaying", Event::Replayed) => {
            ("connected", vec![Effect::Returned { pause: Duration::from_secs(1) }])
        }
        ("replaying", Event::Differs) => ("failed", vec![Effect::Detach, Effect::GiveUp(Why::Differs)]),
        ("replaying", Event::Broken | Event::Lost { hung: false }) => {
            ("waiting", vec![Effect::Detach, sleep])
        }
        ("replaying", Event::Lost { hung: true }) => ("waiting", vec![Effect::Detach, Effect::Kill, sleep]),
        _ => return None,
    };
    Some(next)
}

#[test]
fn every_state_has_an_answer_to_every_event() {
    for state in states() {
        for event in events() {
            let (after, effects) = step(rules(), state, event);
            let (name, expected_effects) = expected(&state, event).unwrap_or((state.name(), Vec::new()));
            assert_eq!((after.name(), &effects), (name, &expected_effects), "{state:?} with {event:?}");
            if expected_effects.is_empty() {
                assert_eq!(after, state, "{event:?} does not concern the state and changes nothing");
            }
        }
    }
}

#[test]
fn every_step_ends_in_one_piece_of_work_or_where_none_is_needed() {
    for state in states() {
        for event in events() {
            let (after, effects) = step(rules(), state, event);
            let work = effects.iter().filter(|effect| effect.is_work()).count();
            let rests = matches!(after, State::Connected | State::Failed(_) | State::Closed);
            match effects.is_empty() {
                true => assert_eq!(after, state),
                false => assert_eq!(work, usize::from(!rests), "{state:?} with {event:?}"),
            }
            assert!(effects.iter().rev().skip(1).all(|effect| !effect.is_work()), "work comes last");
        }
    }
}

#[test]
fn an_owner_may_let_go_in_every_state() {
    for state in states().into_iter().filter(|state| *state != State::Closed) {
        assert_eq!(step(rules(), state, Event::Close), (State::Closed, vec![Effect::Release]));
    }
}

#[test]
fn one_loss_too_many_is_final() {
    let mut life = Life::new(rules());
    for _ in 0..3 {
        assert!(life.step(NOW, Event::Lost { hung: false }).contains(&Effect::Detach));
        run_to_connected(&mut life);
    }
    let effects = life.step(NOW, Event::Lost { hung: false });
    let why = Why::Budget { losses: 4, budget: rules().budget };
    assert_eq!(effects, [Effect::Detach, Effect::GiveUp(why)]);
    assert_eq!(*life.state(), State::Failed(why));
}

#[test]
fn a_back_end_that_dies_of_the_replay_spends_the_budget_too() {
    let mut life = Life::new(rules());
    let _lost = life.step(NOW, Event::Lost { hung: false });
    for _ in 0..2 {
        run_to_replaying(&mut life);
        assert_eq!(life.step(NOW, Event::Broken).len(), 2);
        let _due = life.step(NOW, Event::TimeUp);
    }
    run_to_replaying(&mut life);
    assert!(matches!(
        life.step(NOW, Event::Broken)[..],
        [Effect::Detach, Effect::GiveUp(Why::Budget { .. })]
    ));
}

fn run_to_replaying(life: &mut Life) {
    for event in [Event::Fence(OVER), Event::Restarted, Event::Connected, Event::Checked(OVER)] {
        let _next = life.step(NOW, event);
    }
    assert!(matches!(life.state(), State::Replaying(_)), "{:?}", life.state());
}

fn run_to_connected(life: &mut Life) {
    run_to_replaying(life);
    let _back = life.step(NOW, Event::Replayed);
    assert_eq!(*life.state(), State::Connected);
}

#[test]
fn who_is_away_for_too_long_is_given_up_and_the_reason_says_whether_it_lives() {
    let since = NOW - GIVE_UP;
    for (alive, why) in [(false, Why::Away { for_: GIVE_UP }), (true, Why::StillAlive { for_: GIVE_UP })] {
        let away = Away { since, alive, ..away() };
        for (state, event) in [
            (State::Connecting(away), Event::NotConnected),
            (State::Waiting { away, until: NOW }, Event::TimeUp),
        ] {
            assert_eq!(step(rules(), state, event), (State::Failed(why), vec![Effect::GiveUp(why)]));
        }
    }
}

#[test]
fn the_last_pause_ends_when_it_has_been_away_for_too_long() {
    let away = Away { since: NOW - GIVE_UP + Duration::from_millis(7), attempts: 20, ..away() };
    let (_, effects) = step(rules(), State::Connecting(away), Event::NotConnected);
    assert_eq!(effects, [Effect::Sleep { until: NOW + Duration::from_millis(7) }]);
}

#[test]
fn no_other_is_started_while_the_old_one_lives() {
    let (after, effects) = step(rules(), State::Fencing(away()), Event::Fence(Known::Alive));
    assert_eq!(effects, [Effect::Connect]);
    let State::Connecting(away) = after else { panic!("{after:?}") };
    let (waiting, _) = step(rules(), after, Event::NotConnected);
    assert!(away.alive);
    assert_eq!(
        step(rules(), waiting, Event::Fence(Known::Ended)).1,
        [Effect::Restart],
        "it has ended at last"
    );
}

#[test]
fn the_command_is_not_started_with_every_attempt() {
    let (after, _) = step(rules(), State::Fencing(away()), Event::Fence(OVER));
    let State::Restarting(started) = after else { panic!("{after:?}") };
    assert_eq!(started.restart_at, NOW + rules().back_off.longest);
    assert_eq!(step(rules(), State::Fencing(started), Event::Fence(OVER)).1, [Effect::Connect]);
}

#[test]
fn one_that_hangs_is_killed_only_if_that_is_wanted() {
    let spared = Rules { kill_hung: false, ..rules() };
    assert!(!step(spared, State::Connected, Event::Lost { hung: true }).1.contains(&Effect::Kill));
    assert!(!step(spared, State::Replaying(away()), Event::Lost { hung: true }).1.contains(&Effect::Kill));
}

#[test]
fn late_writes_are_accepted_only_if_that_is_wanted() {
    let accepting = Rules { accept_late_writes: true, ..rules() };
    for known in [Known::Unknown, Known::Ended] {
        let (_, effects) = step(accepting, State::Checking(away()), Event::Checked(known));
        assert_eq!(effects, [Effect::Replay { fenced: Fenced::Accepted }]);
    }
    assert!(Fenced::Accepted.allows_writes() && Fenced::Over(How::Same).allows_writes());
    assert!(!Fenced::Unknown.allows_writes());
}

fn any_event() -> impl Strategy<Value = Event> {
    proptest::sample::select(events())
}

/// What the work that is under way may end with.
fn outcomes(effect: &Effect) -> Vec<Event> {
    match effect {
        Effect::AwaitFence { .. } => {
            vec![Event::Fence(OVER), Event::Fence(Known::Alive), Event::Fence(Known::Unknown)]
        }
        Effect::Sleep { .. } => vec![Event::TimeUp],
        Effect::Restart => vec![Event::Restarted],
        Effect::Connect => vec![Event::Connected, Event::NotConnected],
        Effect::Check => vec![Event::Checked(OVER), Event::Checked(Known::Alive), Event::Broken],
        Effect::Replay { .. } => vec![Event::Replayed, Event::Broken, Event::Lost { hung: true }],
        _ => Vec::new(),
    }
}

proptest! {
    /// Whatever comes, in whatever order: at most four effects, an end is an end, and nothing is executed beside an old server that
    /// is known to live.
    #[test]
    fn no_order_of_events_breaks_a_life(
        events in proptest::collection::vec((any_event(), 0u64..5_000), 1..200),
        restarts in any::<bool>(),
        kill_hung in any::<bool>(),
    ) {
        let mut life = Life::new(Rules { restarts, kill_hung, ..rules() });
        let mut now = NOW;
        let mut connected = 0u32;
        for (event, later) in events {
            now += Duration::from_millis(later);
            let before = *life.state();
            let effects = life.step(now, event);
            prop_assert!(effects.len() <= 4);
            prop_assert!(effects.iter().filter(|effect| effect.is_work()).count() <= 1);
            prop_assert!(kill_hung || !effects.contains(&Effect::Kill));
            prop_assert!(restarts || !effects.contains(&Effect::Restart));
            match before {
                State::Closed => prop_assert_eq!((&*effects, *life.state()), (&[][..], State::Closed)),
                State::Failed(_) => prop_assert!(matches!(life.state(), State::Failed(_) | State::Closed)),
                _ => {}
            }
            if let Event::Checked(Known::Alive) = event {
                let replays = effects.iter().any(|effect| matches!(effect, Effect::Replay { .. }));
                prop_assert!(!replays);
            }
            connected += u32::from(before != State::Connected && *life.state() == State::Connected);
        }
        prop_assert!(connected <= rules().budget.max_freezes, "each return follows a loss of the budget");
    }

    /// A life whose work takes no time at all and always ends somehow comes to an end by itself, after a number of attempts that the
    /// pauses bound.
    #[test]
    fn an_absence_ends_by_itself(choices in proptest::collection::vec(any::<prop::sample::Index>(), 2_000)) {
        let mut life = Life::new(Rules { restarts: true, ..rules() });
        let mut now = NOW;
        let mut effects = life.step(now, Event::Lost { hung: false });
        let mut attempts = 0;
        for choice in choices {
            let Some(work) = effects.iter().find(|effect| effect.is_work()) else { break };
            if let Effect::Sleep { until } = work {
                prop_assert!(*until >= now, "no pause ends in the past");
                now = *until;
            }
            attempts += u32::from(*work == Effect::Connect);
            let possible = outcomes(work);
            let event = *choice.get(&possible);
            effects = life.step(now, event);
        }
        let rests = matches!(life.state(), State::Connected | State::Failed(_));
        prop_assert!(rests, "{:?}", life.state());
        // 7 doublings to the longest pause, then one attempt for each.
        prop_assert!(attempts <= 8 + 60 / 2 + 4, "{attempts} attempts");
        prop_assert!(now <= NOW + GIVE_UP);
    }
}
