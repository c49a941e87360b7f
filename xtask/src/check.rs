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
            90,
            "cargo",
            &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
        ),
        // The README's test command, word for word.
        stage("test", 240, "cargo", &["test", "--workspace"]),
        stage("docs", 60, "cargo", &["doc", "--workspace", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-D warnings"),
        loom("3"),
        stage("fuzz", 240, "cargo", &["xtask", "fuzz", "--seconds", "30"]),
        stage("release", 120, "cargo", &["build", "--release", "--workspace", "--locked"]),
        stage("guest-lab", 120, "cargo", &["xtask", "guest-lab"]),
        stage("guest", 600, "cargo", &["xtask", "guest"]),
    ]
}

fn loom(preemptions: &str) -> Stage {
    // A directory of its own: the flag would otherwise throw away every artifact of the ordinary build.
    stage(
        "loom",
        90,
        "cargo",
        &["test", "--release", "--package", "gate", "--test", "loom", "--target-dir", "target/loom"],
    )
    .env("RUSTFLAGS", "--cfg loom")
    .env("LOOM_MAX_PREEMPTIONS", preemptions)
}

/// Runs what CI runs. True if all passed.
pub(crate) fn check() -> bool {
    run_all(stages())
}

/// Runs the full counts: half an hour a fuzz target, and loom with one preemption more than CI's.
pub(crate) fn deep() -> bool {
    run_all(vec![
        stage("test", 300, "cargo", &["test", "--workspace"]),
        loom("4"),
        stage("fuzz", 4 * 1800, "cargo", &["xtask", "fuzz", "--seconds", "1800"]),
        stage("guest", 900, "cargo", &["xtask", "guest"]),
    ])
}
