//! `sim`: runs worlds, each made of a seed, and says which of them broke an invariant.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A command line.

use clap::Parser;
use gate::ThreadToken;
use serde_json::json;
use sim::{MachineError, Options, Outcome, World, contain, replay};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(2);

/// The core in a deterministic world: virtual time, hostile consumers, a fault plan, and invariants.
#[derive(Parser)]
struct Arguments {
    /// Seed of the first world; the others follow it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Worlds, each of another seed.
    #[arg(long, default_value_t = 1)]
    worlds: u64,
    /// Steps of each world.
    #[arg(long, default_value_t = 10_000)]
    steps: u64,
    /// Slots of each world.
    #[arg(long, default_value_t = 4)]
    slots: usize,
    /// Without the s390 view, as worlds were before there was one.
    #[arg(long)]
    without_zpci: bool,
    /// Forests of PEs that fail and are recovered, instead of slots.
    #[arg(long)]
    containment: bool,
    /// NVMe back ends that die, and the commands that they had, instead of slots.
    #[arg(long, conflicts_with = "containment")]
    replay: bool,
    /// Prints every line of the trace.
    #[arg(long)]
    trace: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
    /// Goes on with the next world after one that broke an invariant.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if arguments.containment {
        Ok(run_forests(&arguments))
    } else if arguments.replay {
        Ok(run_back_ends(&arguments))
    } else {
        run(&arguments)
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// True if all invariants held.
fn run(arguments: &Arguments) -> Result<bool, MachineError> {
    let begin = Instant::now();
    let mut told = begin;
    let mut outcomes = Vec::new();
    for world in 0..arguments.worlds {
        let seed = arguments.seed.wrapping_add(world);
        let outcome = one(seed, arguments)?;
        let failed = outcome.violation.is_some();
        if failed {
            show_violation(&outcome, arguments);
        }
        outcomes.push(outcome);
        if failed && !arguments.keep_going {
            break;
        }
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            let steps: u64 = outcomes.iter().map(|outcome| outcome.steps).sum();
            eprintln!("{} of {} worlds, {steps} steps", world + 1, arguments.worlds);
        }
    }
    show(&outcomes, arguments, begin.elapsed());
    Ok(outcomes.iter().all(|outcome| outcome.violation.is_none()))
}

/// Who gets every line of the trace.
fn out(arguments: &Arguments) -> Option<fn(&str)> {
    arguments.trace.then_some(|line| {
        // A reader that has gone away is no reason to stop.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    })
}

fn one(seed: u64, arguments: &Arguments) -> Result<Outcome, MachineError> {
    let out = out(arguments);
    let (slots, zpci) = (arguments.slots, !arguments.without_zpci);
    let options = Options { seed, slots, zpci, out, counts_process: true };
    let mut token = ThreadToken::at_thread_entry();
    let world = World::from_seed(&mut token, options)?;
    let outcome = world.run(&mut token, arguments.steps);
    world.take_down(&mut token);
    Ok(outcome)
}

/// As [`run`], with forests.
fn run_forests(arguments: &Arguments) -> bool {
    let begin = Instant::now();
    let mut total = Forests::default();
    let mut token = ThreadToken::at_thread_entry();
    for world in 0..arguments.worlds {
        let seed = arguments.seed.wrapping_add(world);
        let outcome = contain::run(&mut token, seed, arguments.steps, out(arguments));
        if let Some(violation) = &outcome.violation {
            eprintln!("seed {seed}, {} PEs: {violation}", outcome.pes);
            if !arguments.trace {
                outcome.last.iter().for_each(|line| eprintln!("{line}"));
            }
            let steps = arguments.steps;
            eprintln!(
                "again: cargo run --release -p sim -- --containment --seed {seed} --steps {steps} --trace"
            );
        }
        let failed = outcome.violation.is_some();
        total.add(outcome);
        if failed && !arguments.keep_going {
            break;
        }
    }
    total.show(arguments.json, begin.elapsed());
    total.failed.is_empty()
}

/// As [`run`], with back ends that die.
fn run_back_ends(arguments: &Arguments) -> bool {
    let begin = Instant::now();
    let mut token = ThreadToken::at_thread_entry();
    let mut outcomes = Vec::new();
    for world in 0..arguments.worlds {
        let seed = arguments.seed.wrapping_add(world);
        let outcome = replay::run(&mut token, seed, arguments.steps, replay::Broken::Nothing, out(arguments));
        let failed = outcome.wrong.is_some();
        if let Some(wrong) = &outcome.wrong {
            eprintln!("seed {seed}, step {}: {wrong:?}", outcome.steps);
            if !arguments.trace {
                outcome.last.iter().for_each(|line| eprintln!("{line}"));
            }
            let steps = arguments.steps;
            eprintln!("again: cargo run --release -p sim -- --replay --seed {seed} --steps {steps} --trace");
        }
        outcomes.push(outcome);
        if failed && !arguments.keep_going {
            break;
        }
    }
    show_back_ends(&outcomes, arguments.json, begin.elapsed());
    outcomes.iter().all(|outcome| outcome.wrong.is_none())
}

fn show_back_ends(outcomes: &[replay::Outcome], as_json: bool, took: Duration) {
    let sum = |of: fn(&replay::Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let (worlds, steps) = (outcomes.len(), sum(|it| it.steps));
    let (deaths, replayed) = (sum(|it| it.deaths), sum(|it| it.replayed));
    let (answered, failed) = (sum(|it| it.answered.0), sum(|it| it.answered.1));
    let hash = outcomes.iter().fold(0_u64, |all, outcome| all.rotate_left(1) ^ outcome.hash);
    let wrong: Vec<_> = outcomes
        .iter()
        .filter_map(|it| it.wrong.as_ref().map(|wrong| (it.seed, format!("{wrong:?}"))))
        .collect();
    if as_json {
        println!(
            "{}",
            json!({
                "worlds": worlds, "steps": steps, "deaths": deaths, "answered": answered, "failed": failed,
                "replayed": replayed, "hash": format!("{hash:016x}"),
                "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "violations": wrong,
            })
        );
        return;
    }
    println!(
        "{worlds} worlds, {steps} steps in {:.1} s: {deaths} back ends died, {answered} commands answered ({failed} with an error), {replayed} executed again, trace {hash:016x}, {} failed",
        took.as_secs_f64(),
        wrong.len()
    );
}

/// What became of all forests.
#[derive(Default)]
struct Forests {
    worlds: u64,
    steps: u64,
    largest: usize,
    calls: u64,
    ends: [u64; 5],
    done: BTreeMap<contain::Act, u64>,
    hash: u64,
    failed: Vec<(u64, contain::Violation)>,
}

impl Forests {
    fn add(&mut self, outcome: contain::Outcome) {
        self.worlds += 1;
        self.steps += outcome.steps;
        self.largest = self.largest.max(outcome.pes);
        self.calls += outcome.calls;
        for (sum, ends) in self.ends.iter_mut().zip(outcome.ends) {
            *sum += ends;
        }
        for (act, times) in outcome.done {
            *self.done.entry(act).or_default() += times;
        }
        self.hash = self.hash.rotate_left(1) ^ outcome.hash;
        self.failed.extend(outcome.violation.map(|violation| (outcome.seed, violation)));
    }

    fn show(&self, as_json: bool, took: Duration) {
        let Forests { worlds, steps, largest, calls, ends, done, hash, failed } = self;
        let done: BTreeMap<String, u64> = done.iter().map(|(act, n)| (format!("{act:?}"), *n)).collect();
        let names = ["recovered", "frozen_again", "contained", "gone", "failed"];
        let ends: BTreeMap<&str, u64> = names.into_iter().zip(*ends).collect();
        if as_json {
            let told = |(seed, violation): &(u64, contain::Violation)| {
                json!({
                    "seed": seed,
                    "rule": format!("{:?}", violation.rule),
                    "step": violation.step,
                    "detail": violation.detail,
                })
            };
            let violations: Vec<_> = failed.iter().map(told).collect();
            println!(
                "{}",
                json!({
                    "worlds": worlds,
                    "steps": steps,
                    "done": done,
                    "ends": ends,
                    "calls": calls,
                    "largest_pes": largest,
                    "hash": format!("{hash:016x}"),
                    "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    "violations": violations,
                })
            );
            return;
        }
        println!(
            "{worlds} forests of up to {largest} PEs, {steps} steps in {:.1} s: {calls} calls, recoveries {ends:?}, trace {hash:016x}, {} failed",
            took.as_secs_f64(),
            failed.len()
        );
        println!("steps: {done:?}");
    }
}

fn show_violation(outcome: &Outcome, arguments: &Arguments) {
    let Some(violation) = &outcome.violation else { return };
    eprintln!("seed {}: {violation}", outcome.seed);
    if !arguments.trace {
        outcome.last.iter().for_each(|line| eprintln!("{line}"));
    }
    let (seed, steps, slots) = (outcome.seed, arguments.steps, arguments.slots);
    let zpci = if arguments.without_zpci { " --without-zpci" } else { "" };
    eprintln!(
        "again: cargo run --release -p sim -- --seed {seed} --steps {steps} --slots {slots}{zpci} --trace"
    );
}

fn show(outcomes: &[Outcome], arguments: &Arguments, took: Duration) {
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>();
    let steps = sum(|outcome| outcome.steps);
    let virtual_s = sum(|outcome| outcome.time.as_secs());
    let (operations, plugged) = (sum(|outcome| outcome.operations), sum(|outcome| outcome.plugged));
    let handles = sum(|outcome| outcome.handles);
    let hash = outcomes.iter().fold(0_u64, |all, outcome| all.rotate_left(1) ^ outcome.hash);
    if arguments.json {
        let violations: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| {
                let violation = outcome.violation.as_ref()?;
                Some(json!({
                    "seed": outcome.seed,
                    "invariant": format!("{:?}", violation.invariant),
                    "step": violation.step,
                    "virtual_ms": u64::try_from(violation.now.as_millis()).unwrap_or(u64::MAX),
                    "slot": violation.slot,
                    "detail": violation.detail,
                    "trace": outcome.last,
                }))
            })
            .collect();
        println!(
            "{}",
            json!({
                "worlds": outcomes.len(),
                "steps": steps,
                "virtual_s": virtual_s,
                "operations": operations,
                "plugged": plugged,
                "handles": handles,
                "hash": format!("{hash:016x}"),
                "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                "violations": violations,
            })
        );
    } else {
        let failed = outcomes.iter().filter(|outcome| outcome.violation.is_some()).count();
        println!(
            "{} worlds, {steps} steps, {virtual_s} s of virtual time in {:.1} s: {operations} operations, {plugged} times on, {handles} handles, trace {hash:016x}, {failed} failed",
            outcomes.len(),
            took.as_secs_f64()
        );
    }
}
