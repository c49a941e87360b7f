//! `cargo xtask tsan`: the stress tests under ThreadSanitizer.
//!
//! The sanitizer's flag is one of the nightly compiler's, which the stable one takes when it is told to, and the standard
//! library has to be built with it as well: its locks would otherwise order nothing that the sanitizer sees. That needs
//! the component `rust-src` of the toolchain. membarrier is invisible to the sanitizer, so the tests choose fences.

use std::process::Command;

/// The test binaries: a package and its test target.
const TESTS: [(&str, &str); 2] = [("gate", "stress"), ("pci-core", "stress")];

/// Named, so that the flags do not reach build scripts.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Has `cargo` build with the sanitizer. Its own target directory is the caller's choice.
pub(crate) fn instrument(cargo: &mut Command) {
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=thread");
    cargo.args(["-Zbuild-std", "--target", TRIPLE]);
}

/// Builds and runs the stress tests. True if no race was reported and all passed.
///
/// # Errors
/// Cargo or the compiler cannot be started, or the toolchain has no source of the standard library.
pub(crate) fn run() -> Result<bool, String> {
    check_source()?;
    let mut clean = true;
    for (package, test) in TESTS {
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--package", package, "--test", test, "--target-dir", "target/tsan"]);
        instrument(&mut cargo);
        clean &= cargo.status().map_err(|error| format!("cargo: {error}"))?.success();
    }
    Ok(clean)
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
