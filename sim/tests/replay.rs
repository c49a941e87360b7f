//! Back ends that die at any step: what the guest has written is there, each command is answered once, and a fence that leaks is
//! found.

use gate::ThreadToken;
use sim::replay::{Broken, Outcome, Wrong, run};

fn worlds(seeds: std::ops::Range<u64>, steps: u64, broken: Broken) -> Vec<Outcome> {
    let mut token = ThreadToken::at_thread_entry();
    seeds.map(|seed| run(&mut token, seed, steps, broken, None)).collect()
}

#[test]
fn nothing_is_lost_doubled_or_overtaken_whenever_a_back_end_dies() {
    let outcomes = worlds(1..41, 2000, Broken::Nothing);
    for outcome in &outcomes {
        assert_eq!(outcome.wrong, None, "seed {}: {:#?}", outcome.seed, outcome.last);
    }
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    assert!(sum(|it| it.deaths) > 100 && sum(|it| it.replayed) > 500, "the plan has deaths in it");
}

#[test]
fn an_old_write_that_lands_after_the_replay_is_found() {
    let outcomes = worlds(1..61, 2000, Broken::Fence);
    let found = outcomes.iter().filter(|it| matches!(it.wrong, Some(Wrong::Data { .. }))).count();
    assert!(found > 0, "60 worlds whose fence leaks, and nobody has read a stale block");
}

#[test]
fn a_seed_is_a_run() {
    let twice = [(); 2].map(|()| worlds(7..8, 1000, Broken::Nothing));
    assert_eq!(twice[0][0].hash, twice[1][0].hash);
}
