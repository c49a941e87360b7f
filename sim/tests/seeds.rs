//! Seeds that broke an invariant once, and what has to be so for a seed to be worth keeping.

use gate::ThreadToken;
use sim::{Options, Outcome, World};

fn run(seed: u64, slots: usize, steps: u64) -> Outcome {
    run_with(false, seed, slots, steps)
}

fn run_with(zpci: bool, seed: u64, slots: usize, steps: u64) -> Outcome {
    let mut token = ThreadToken::at_thread_entry();
    let options = Options { seed, slots, zpci, out: None, counts_process: false };
    let world = World::from_seed(&mut token, options).expect("a machine");
    let outcome = world.run(&mut token, steps);
    world.take_down(&mut token);
    outcome
}

/// Seed, slots and steps of each line, and whether with the s390 view; what follows says what it had found.
fn kept() -> impl Iterator<Item = (u64, usize, u64, bool)> {
    let lines = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter(|line| !line.trim().is_empty()).map(|line| {
        let mut words = line.split_whitespace();
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).expect("a number");
        let (seed, slots, steps) = (number(), number(), number());
        let slots = usize::try_from(slots).expect("a few");
        (seed, slots, steps, words.next() == Some("zpci:"))
    })
}

#[test]
fn what_was_found_once_is_not_found_again() {
    for (seed, slots, steps, zpci) in kept() {
        let outcome = run_with(zpci, seed, slots, steps);
        assert!(
            outcome.violation.is_none(),
            "seed {seed}: {:?}\n{}",
            outcome.violation,
            outcome.last.join("\n")
        );
    }
}

#[test]
fn a_seed_makes_the_same_run_every_time_and_another_one_another() {
    for (seed, slots) in [(11, 1), (12, 4), (13, 9)] {
        let (first, again, other) =
            (run(seed, slots, 1_500), run(seed, slots, 1_500), run(seed + 100, slots, 1_500));
        assert_eq!(
            (first.hash, first.steps, first.time),
            (again.hash, again.steps, again.time),
            "seed {seed}"
        );
        assert_ne!(first.hash, other.hash);
    }
}

#[test]
fn a_seed_makes_the_same_run_every_time_with_the_s390_view_too() {
    for (seed, slots) in [(21, 1), (22, 4)] {
        let runs = [seed, seed, seed + 100].map(|seed| run_with(true, seed, slots, 1_500));
        let [first, again, other] = runs.map(|outcome| (outcome.hash, outcome.steps, outcome.handles));
        assert_eq!(first, again, "seed {seed}");
        assert_ne!(first.0, other.0);
        assert_ne!(first.0, run(seed, slots, 1_500).hash, "the view makes a difference");
    }
}

#[test]
fn a_run_does_what_it_is_for() {
    let outcomes: Vec<_> = (500..530).map(|seed| run(seed, 4, 1_000)).collect();
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    assert!(sum(|outcome| outcome.operations) > 3_000);
    assert!(sum(|outcome| outcome.plugged) > 200);
    assert_eq!(sum(|outcome| outcome.handles), 0);
    let handles: u64 = (500..530).map(|seed| run_with(true, seed, 4, 1_000).handles).sum();
    assert!(handles > 2_000, "{handles}");
}
