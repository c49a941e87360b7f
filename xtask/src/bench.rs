//! `cargo xtask bench WHAT`: builds the benchmarks in release mode and runs one.

use std::process::{Command, ExitStatus};

/// Runs `portcullis-bench` with `args`; the benchmark's own exit status.
///
/// # Errors
/// Cargo cannot be started.
pub(crate) fn run(what: &str, json: bool, rounds: Option<usize>) -> std::io::Result<ExitStatus> {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--release", "--package", "portcullis-bench", "--", what]);
    if json {
        command.arg("--json");
    }
    if let Some(rounds) = rounds {
        command.args(["--rounds", &rounds.to_string()]);
    }
    command.status()
}
