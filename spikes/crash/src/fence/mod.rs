//! When is the disk I/O of a killed process over?
//!
//! A writer queues many large direct writes, is killed with -9, and three moments are compared: its pidfd says that
//! it has ended; the `flock` that it held on the file can be had by somebody else; the last block lands. What lands
//! after a moment is what that moment does not fence.

mod observe;
mod throttle;
pub(crate) mod writer;

use std::path::Path;

pub(crate) use writer::Engine;

use observe::Observation;

/// Blocks a writer has in flight when it is killed.
pub(crate) const BLOCKS: usize = 32;
/// Bytes of one block.
pub(crate) const BLOCK: usize = 1 << 20;

/// Runs every engine on a file in `directory`; `slow`: behind a throttle of the block layer, which needs root.
///
/// True if what the document recommends (the lock) fenced everything everywhere.
///
/// # Errors
/// A process or a file could not be made.
pub(crate) fn run(directory: &Path, rounds: usize, slow: bool) -> Result<bool, String> {
    let throttle = if slow { Some(throttle::Throttle::new(directory)?) } else { None };
    println!(
        "\nfence: {BLOCKS} direct writes of {} KiB in flight, kill -9, {rounds} rounds each",
        BLOCK >> 10
    );
    println!(
        "{:<22} {:>8} {:>12} {:>12} {:>14} {:>14} {:>16}",
        "engine", "landed", "after pidfd", "after lock", "pidfd ms", "lock ms", "lock - pidfd ms"
    );
    let mut fenced = true;
    for engine in Engine::ALL {
        let mut all = Vec::new();
        for _ in 0..rounds {
            all.push(observe::round(directory, engine, throttle.as_ref())?);
        }
        fenced &= all.iter().all(|seen| seen.after_lock == 0);
        fenced &= all.iter().filter_map(|seen| seen.completed.as_ref()).all(|completed| completed.wrong == 0);
        print_row(engine, &all);
    }
    Ok(fenced)
}

fn print_row(engine: Engine, all: &[Observation]) {
    let sum = |part: fn(&Observation) -> usize| all.iter().map(part).sum::<usize>();
    let longest = |part: fn(&Observation) -> f64| all.iter().map(part).fold(0.0, f64::max);
    println!(
        "{:<22} {:>8} {:>12} {:>12} {:>14.1} {:>14.1} {:>16.1}",
        engine.name(),
        sum(|seen| seen.landed),
        sum(|seen| seen.after_exit),
        sum(|seen| seen.after_lock),
        longest(|seen| seen.exit_ms),
        longest(|seen| seen.lock_ms),
        longest(|seen| seen.lock_ms - seen.exit_ms),
    );
    let completed: Vec<_> = all.iter().filter_map(|seen| seen.completed.as_ref()).collect();
    if !completed.is_empty() {
        println!(
            "    the keeper's ring completed {} writes after their writer's death; wrongly: {}",
            completed.iter().map(|seen| seen.whole).sum::<usize>(),
            completed.iter().map(|seen| seen.wrong).sum::<usize>(),
        );
    }
}
