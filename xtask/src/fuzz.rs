//! `cargo xtask fuzz`: builds the targets of `fuzz/` with coverage instrumentation and runs each for a while.
//!
//! libFuzzer's own flags are passed to rustc directly, which works on the stable toolchain, so no cargo subcommand is needed.

use std::path::Path;
use std::process::Command;

/// Every target of `fuzz/Cargo.toml`.
pub(crate) const TARGETS: [&str; 5] =
    ["wire_codec", "session", "config_space", "nvme_commands", "zpci_region"];

/// What `cargo fuzz` would pass: edge counters, comparisons traced, and the cfg that the targets and crates may test for.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1";

/// Builds, then runs `targets` (all when empty) for `seconds` each. True if none found anything.
pub(crate) fn run(targets: &[String], seconds: u64) -> bool {
    // A target triple is named so that the flags do not reach build scripts, which do not link libFuzzer.
    let triple = "x86_64-unknown-linux-gnu";
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", triple]);
    if !succeeds(build.env("RUSTFLAGS", RUSTFLAGS)) {
        println!("fuzz: the targets do not build");
        return false;
    }
    let chosen: Vec<&str> =
        if targets.is_empty() { TARGETS.to_vec() } else { targets.iter().map(String::as_str).collect() };
    let mut clean = true;
    for target in chosen {
        println!("fuzz: {target} for {seconds} s");
        let corpus = format!("fuzz/corpus/{target}");
        let artifacts = format!("fuzz/artifacts/{target}/");
        for dir in [&corpus, &artifacts] {
            if let Err(error) = std::fs::create_dir_all(dir) {
                println!("fuzz: {dir}: {error}");
                return false;
            }
        }
        let seeds = format!("fuzz/seeds/{target}");
        let mut fuzz = Command::new(format!("fuzz/target/{triple}/release/{target}"));
        fuzz.arg(&corpus);
        if Path::new(&seeds).is_dir() {
            fuzz.arg(&seeds);
        }
        fuzz.args([format!("-max_total_time={seconds}"), format!("-artifact_prefix={artifacts}")]);
        fuzz.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]);
        clean &= succeeds(&mut fuzz);
    }
    clean
}

fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            println!("fuzz: {}: {error}", command.get_program().to_string_lossy());
            false
        }
    }
}
