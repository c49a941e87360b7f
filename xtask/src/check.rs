//! `cargo xtask check`: everything CI runs. `cargo xtask deep`: the same checkers with their full counts.

use crate::stage::{Stage, run_all, stage};

/// The stages of CI, cheapest first.
fn stages() -> Vec<Stage> {
    vec![
        stage("fmt", 10, "cargo", &["fmt", "--all", "--check"]),
        stage("arrows", 10, "cargo", &["xtask", "arrows"]),
        stage("deny", 10, "cargo", &["deny", "--offline", "check", "licenses", "bans", "sources"]),
        stage(
            "clippy",
            120,
            "cargo",
            &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        ),
        // The README's test command, word for word.
        stage("test", 960, "cargo", &["test", "--workspace"]),
        stage("docs", 60, "cargo", &["doc", "--workspace", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
        loom(),
        stage("museum", 900, "cargo", &["xtask", "museum"]),
        stage("tsan", 240, "cargo", &["xtask", "tsan"]),
        stage("fuzz", 240, "cargo", &["xtask", "fuzz", "--seconds", "30"]),
        stage("release", 150, "cargo", &["build", "--release", "--workspace", "--locked"]),
        sim("250", 90),
        forests("500", 60),
        replays("250", 60),
        stage("guest-lab", 120, "cargo", &["xtask", "guest-lab"]),
        stage("guest", 1000, "cargo", &["xtask", "guest"]),
    ]
}

/// Worlds of 4,000 steps each: 250 of them are a million steps.
fn sim(worlds: &str, budget_s: u64) -> Stage {
    let run = ["run", "--release", "--package", "sim", "--", "--worlds", worlds, "--steps", "4000"];
    stage("sim", budget_s, "cargo", &run)
}

/// Errors and recoveries in trees of PEs, 2,000 steps each: 500 of them are a million steps.
fn forests(worlds: &str, budget_s: u64) -> Stage {
    let run = [
        "run",
        "--release",
        "--package",
        "sim",
        "--",
        "--containment",
        "--worlds",
        worlds,
        "--steps",
        "2000",
    ];
    stage("sim of containment", budget_s, "cargo", &run)
}

/// NVMe back ends that die and what becomes of their commands, 4,000 steps each: 250 of them are a million steps.
fn replays(worlds: &str, budget_s: u64) -> Stage {
    let run =
        ["run", "--release", "--package", "sim", "--", "--replay", "--worlds", worlds, "--steps", "4000"];
    stage("sim of replay", budget_s, "cargo", &run)
}

fn loom() -> Stage {
    // A directory of its own: the flag would otherwise throw away every artifact of the ordinary build.
    stage(
        "loom",
        120,
        "cargo",
        &[
            "test",
            "--release",
            "--package",
            "gate",
            "--test",
            "loom",
            "--test",
            "loom_locks",
            "--target-dir",
            "target/loom",
        ],
    )
    .env("RUSTFLAGS", "--cfg loom")
}

/// Consumers that touch every page of a mapping in every round.
fn stress() -> Stage {
    stage("stress", 300, "cargo", &["test", "--release", "--package", "mapping", "--test", "stress"])
        .env("MAPPING_STRESS", "full")
}

/// Runs what CI runs. True if all passed.
pub(crate) fn check() -> bool {
    run_all(stages())
}

/// Runs the full counts: every page of a mapping in every round of its stress test, half an hour a fuzz target, every
/// schedule of two threads under loom and of three with three preemptions, twenty times as many schedules under shuttle and
/// worlds under sim, and a hundred rounds of a disk that comes and goes.
pub(crate) fn deep() -> bool {
    run_all(vec![
        stage("test", 960, "cargo", &["test", "--workspace"]),
        stage(
            "hostile back ends",
            1800,
            "cargo",
            &["test", "--package", "remote", "--test", "hostile", "--", "--ignored"],
        ),
        stress(),
        stage("museum", 4 * 3600 + 1800, "cargo", &["xtask", "museum", "--full"]),
        sim("5000", 1800),
        forests("10000", 1800),
        replays("5000", 1800),
        stage("fuzz", 4 * 1800, "cargo", &["xtask", "fuzz", "--seconds", "1800"]),
        stage("guest", 1700, "cargo", &["xtask", "guest", "--cycles", "100"]),
    ])
}
