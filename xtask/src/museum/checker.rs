//! The checkers: how their tests are built, run, and what they print.

use super::tree::Tree;
use crate::tsan;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What looks for the bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Checker {
    /// Every schedule of a small model, and every value that a load may see.
    Loom,
    /// Many random schedules of a large one.
    Shuttle,
    /// Two real threads on two processors, for what no model knows.
    Litmus,
    /// ThreadSanitizer, on real threads.
    Tsan,
    /// An ordinary test that brings the one interleaving about that it needs.
    Test,
}

impl std::fmt::Display for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Checker::Loom => "loom",
            Checker::Shuttle => "shuttle",
            Checker::Litmus => "litmus",
            Checker::Tsan => "tsan",
            Checker::Test => "test",
        })
    }
}

impl Checker {
    /// Where it builds; checkers with the same flags share a directory.
    fn directory(self) -> &'static str {
        match self {
            Checker::Loom => "loom",
            Checker::Shuttle => "shuttle",
            Checker::Litmus | Checker::Test => "native",
            Checker::Tsan => "tsan",
        }
    }

    /// It says in which schedule or round it found something, or how many there were.
    pub(crate) fn counts(self) -> bool {
        self != Checker::Test
    }
}

/// A test binary.
#[derive(Clone, Copy)]
pub(crate) struct Suite {
    pub(crate) checker: Checker,
    package: &'static str,
    test: &'static str,
}

pub(crate) const EXHIBITS: Suite = Suite { checker: Checker::Loom, package: "museum", test: "exhibits" };
pub(crate) const COMPLAINTS: Suite =
    Suite { checker: Checker::Shuttle, package: "museum", test: "complaints" };
pub(crate) const DESIGN: Suite = Suite { checker: Checker::Loom, package: "museum", test: "design" };
pub(crate) const GATE_LOOM: Suite = Suite { checker: Checker::Loom, package: "gate", test: "loom" };
pub(crate) const SHUTTLE: Suite = Suite { checker: Checker::Shuttle, package: "museum", test: "shuttle" };
pub(crate) const UNPLUG: Suite = Suite { checker: Checker::Shuttle, package: "museum", test: "unplug" };
pub(crate) const LITMUS: Suite = Suite { checker: Checker::Litmus, package: "gate", test: "barrier" };
pub(crate) const GATE_TEST: Suite = Suite { checker: Checker::Test, package: "gate", test: "closing" };
pub(crate) const LIFE: Suite = Suite { checker: Checker::Test, package: "slot", test: "life" };
pub(crate) const TSAN: Suite = Suite { checker: Checker::Tsan, package: "gate", test: "stress" };

/// What runs over the unchanged code. The stress tests do so in `cargo xtask tsan`, the life of a slot in `cargo test`.
pub(crate) const SUITES: [Suite; 8] =
    [EXHIBITS, COMPLAINTS, DESIGN, GATE_LOOM, SHUTTLE, UNPLUG, GATE_TEST, LITMUS];

impl Suite {
    /// Runs over the design and nothing else.
    pub(crate) fn is_design(&self) -> bool {
        ![EXHIBITS.test, COMPLAINTS.test].contains(&self.test)
    }

    /// Builds the binary from `tree`, in a target directory of its checker.
    ///
    /// # Errors
    /// It does not compile; the text is cargo's.
    pub(crate) fn build(&self, tree: &Tree, target: &Path) -> Result<Built, String> {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(tree.root()).args(["test", "--no-run", "--message-format=json"]);
        cargo.args(["--package", self.package, "--test", self.test]);
        cargo.env("CARGO_TARGET_DIR", target.join(self.checker.directory()));
        // Nobody debugs these, and they are built once for each mutant.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
        match self.checker {
            Checker::Loom => _ = cargo.env("RUSTFLAGS", "--cfg loom"),
            Checker::Shuttle => _ = cargo.env("RUSTFLAGS", "--cfg shuttle"),
            Checker::Litmus | Checker::Test => _ = cargo.env("RUSTFLAGS", ""),
            Checker::Tsan => tsan::instrument(&mut cargo),
        }
        let output = cargo.output().map_err(|error| format!("cargo: {error}"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} does not compile:\n{text}", self.test));
        }
        let messages = String::from_utf8_lossy(&output.stdout);
        let executable = messages.lines().filter_map(|line| executable(line, self.test)).next_back();
        let executable = executable.ok_or_else(|| format!("cargo names no binary for {}", self.test))?;
        Ok(Built { executable, directory: tree.root().join("crates/gate") })
    }
}

/// The binary that a message of cargo's is about, if it is that of the test.
fn executable(message: &str, test: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let about = message["target"]["kind"][0] == "test" && message["target"]["name"] == test;
    about.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
}

/// A built test binary.
pub(crate) struct Built {
    executable: PathBuf,
    directory: PathBuf,
}

impl Built {
    /// The names of its tests.
    ///
    /// # Errors
    /// It cannot be run.
    pub(crate) fn tests(&self) -> Result<Vec<String>, String> {
        let output = Command::new(&self.executable).arg("--list").output();
        let output = output.map_err(|error| format!("{}: {error}", self.executable.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// Runs one test to its end, or for `limit`.
    ///
    /// # Errors
    /// The binary has no such test, or cannot be run.
    pub(crate) fn run(&self, test: &str, full: bool, limit: Duration) -> Result<Run, String> {
        let (ended, text) = self
            .spawn(test, full, limit)
            .map_err(|error| format!("{}: {error}", self.executable.display()))?;
        if !text.contains("running 1 test") {
            return Err(format!("there is no test \"{test}\" in {}", self.executable.display()));
        }
        let number = |after: &str| {
            text.lines()
                .find_map(|line| line.split_once(after))
                .and_then(|(_, number)| number.trim().parse().ok())
        };
        // The sanitizer counts nothing: it saw the race in the one run that there was.
        let reported = text.contains(tsan::REPORT).then_some(1);
        Ok(Run {
            ended,
            found_in: number("found in schedule: ").or_else(|| number("found in round: ")).or(reported),
            explored: number("schedules explored: ").or_else(|| number("rounds without: ")),
            text,
        })
    }

    fn spawn(&self, test: &str, full: bool, limit: Duration) -> std::io::Result<(Ended, String)> {
        let mut said = tempfile::tempfile()?;
        let out = |file: &File| file.try_clone().map(Stdio::from);
        let mut command = Command::new(&self.executable);
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]).current_dir(&self.directory);
        command.stdout(out(&said)?).stderr(out(&said)?).env("RUST_BACKTRACE", "0");
        if full {
            command.env("LOOM_FULL", "1").env("SHUTTLE_ITERATIONS", "100000");
        }
        let mut child = command.spawn()?;
        let end = Instant::now() + limit;
        let ended = loop {
            match child.try_wait()? {
                Some(status) if status.success() => break Ended::Passed,
                Some(_) => break Ended::Failed,
                None if Instant::now() > end => {
                    child.kill()?;
                    child.wait()?;
                    break Ended::TimedOut;
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut said)?;
        said.read_to_end(&mut bytes)?;
        Ok((ended, String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// How a test ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Passed,
    Failed,
    TimedOut,
}

/// What a test said.
pub(crate) struct Run {
    pub(crate) ended: Ended,
    /// The schedule or the round in which something was found.
    pub(crate) found_in: Option<u64>,
    /// How many schedules there were in all.
    pub(crate) explored: Option<u64>,
    text: String,
}

impl Run {
    /// The failure is the checker's own limit and says nothing about the code.
    pub(crate) fn gave_up(&self) -> bool {
        self.text.contains("exceeded maximum number of branches")
    }

    /// The test said what was wrong, rather than being killed.
    pub(crate) fn has_panicked(&self) -> bool {
        self.text.contains("panicked at")
    }

    /// The panic's message.
    pub(crate) fn last_words(&self) -> &str {
        let mut lines = self.text.lines().skip_while(|line| !line.contains("panicked at"));
        lines.nth(1).unwrap_or("for no reason that it gave")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_of_a_test_is_found_among_the_messages_of_cargo() {
        let message = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"loom"},"executable":"/t/loom"}"#;
        assert_eq!(executable(message, "loom"), Some(PathBuf::from("/t/loom")));
        assert_eq!(executable(message, "barrier"), None);
        assert_eq!(executable("Compiling gate", "loom"), None);
    }
}
