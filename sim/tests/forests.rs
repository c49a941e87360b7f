//! Seeds of forests that broke an invariant once, and what has to be so for a seed to be worth keeping.

use gate::ThreadToken;
use sim::contain::{Act, Outcome, run};

fn run_one(seed: u64, steps: u64) -> Outcome {
    run(&mut ThreadToken::at_thread_entry(), seed, steps, None)
}

/// Seed and steps of each line; what follows says what it had found.
fn kept() -> impl Iterator<Item = (u64, u64)> {
    let lines = include_str!("../forests.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter(|line| !line.trim().is_empty()).map(|line| {
        let mut numbers = line.split_whitespace().map_while(|word| word.parse::<u64>().ok());
        (numbers.next().expect("a seed"), numbers.next().expect("steps"))
    })
}

#[test]
fn what_was_found_once_is_not_found_again() {
    for (seed, steps) in kept() {
        let outcome = run_one(seed, steps);
        let last = outcome.last.join("\n");
        assert!(outcome.violation.is_none(), "seed {seed}: {:?}\n{last}", outcome.violation);
    }
}

#[test]
fn a_seed_makes_the_same_run_every_time_and_another_one_another() {
    for seed in [11, 12, 13] {
        let (first, again, other) = (run_one(seed, 1_000), run_one(seed, 1_000), run_one(seed + 100, 1_000));
        assert_eq!(
            (first.hash, first.steps, first.time),
            (again.hash, again.steps, again.time),
            "seed {seed}"
        );
        assert_ne!(first.hash, other.hash);
    }
}

#[test]
fn a_run_does_what_it_is_for() {
    let outcomes: Vec<Outcome> = (1_000..1_060).map(|seed| run_one(seed, 1_000)).collect();
    for act in
        [Act::Fail, Act::Special, Act::Thaw, Act::Recover, Act::Move, Act::Answer, Act::Drive, Act::Rest]
    {
        let times: u64 = outcomes.iter().filter_map(|outcome| outcome.done.get(&act)).sum();
        assert!(times > 50, "{act:?} was done {times} times");
    }
    let ends = |nth: usize| outcomes.iter().map(|outcome| outcome.ends[nth]).sum::<u64>();
    assert!(ends(0) > 300 && ends(4) > 300, "{} recovered, {} failed", ends(0), ends(4));
    assert!(ends(1) > 5 && ends(2) > 20 && ends(3) > 20, "{} {} {}", ends(1), ends(2), ends(3));
    assert!(outcomes.iter().map(|outcome| outcome.calls).sum::<u64>() > 10_000);
}
