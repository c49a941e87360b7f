//! `cargo xtask tsan`: the stress tests under ThreadSanitizer.
//!
//! The sanitizer's flag is one of the nightly compiler's, which the stable one takes when it is told to, and the standard
//! library has to be built with it as well: its locks would otherwise order nothing that the sanitizer sees. That needs
//! the component `rust-src` of the toolchain. membarrier is invisible to the sanitizer, so the tests choose fences.
//!
//! A run that reports nothing proves something only if a race would have been reported: so a planted one has to be.

use std::path::PathBuf;
use std::process::Command;

/// The test binaries: a package and its test target. That of `mapping` runs with membarrier all the same: no plain memory that
/// the sanitizer looks at is ordered by a pass there, and accesses of devices' memory are instructions that it does not see.
const TESTS: [(&str, &str); 3] = [("gate", "stress"), ("pci-core", "stress"), ("mapping", "stress")];

/// What the sanitizer prints.
pub(crate) const REPORT: &str = "WARNING: ThreadSanitizer: data race";

/// Named, so that the flags do not reach build scripts.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Has `cargo` build with the sanitizer. Its own target directory is the caller's choice.
pub(crate) fn instrument(cargo: &mut Command) {
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=thread");
    cargo.args(["-Zbuild-std", "--target", TRIPLE]);
}

/// Builds and runs the stress tests. True if no race was reported but the planted one, and all passed.
///
/// # Errors
/// Cargo or the compiler cannot be started, or the toolchain has no source of the standard library.
pub(crate) fn run() -> Result<bool, String> {
    check_source()?;
    let mut clean = true;
    for (package, test) in TESTS {
        let status = cargo(package, test).status();
        clean &= status.map_err(|error| format!("cargo: {error}"))?.success();
    }
    Ok(clean && reports_the_planted_race()?)
}

fn cargo(package: &str, test: &str) -> Command {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--package", package, "--test", test]);
    cargo.arg("--target-dir").arg(target.join("tsan"));
    // Lines are all that a report names, and the standard library is built as well.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    instrument(&mut cargo);
    cargo
}

fn reports_the_planted_race() -> Result<bool, String> {
    let (package, test) = TESTS[0];
    let mut cargo = cargo(package, test);
    cargo.args(["--", "--ignored", "--exact", "a_planted_race", "--nocapture"]);
    let output = cargo.output().map_err(|error| format!("cargo: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let reported = !output.status.success() && said.contains(REPORT);
    println!(
        "planted race: {}",
        if reported { "reported" } else { "NOT REPORTED, so the runs above prove nothing" }
    );
    Ok(reported)
}

/// Says what is missing, which cargo says in many more words.
fn check_source() -> Result<(), String> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    let output = output.map_err(|error| format!("rustc: {error}"))?;
    let sysroot = String::from_utf8_lossy(&output.stdout);
    let source = std::path::Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    if source.is_dir() {
        Ok(())
    } else {
        Err("the toolchain has no rust-src: rustup component add rust-src".to_owned())
    }
}
