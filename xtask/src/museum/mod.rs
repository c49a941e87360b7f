//! `cargo xtask museum`: does each checker find what it is there to find, and nothing in the design?
//!
//! Three kinds of case. An *exhibit* is the locking of a bug report in a test that passes if the checker breaks it. A
//! *mutant* is a change of a few characters in the real code; the test named with it has to fail. A *design* case is a
//! test over the real code that has to pass, and says how many schedules it took. All of it runs in a copy of the crates
//! under the target directory, one target directory for each checker, so a mutant costs one small build. What was found in
//! the complaints and in reports B and E, and the schedules of the scenarios on mappings, slots, zPCI functions and PEs, are added
//! up at the end: there has to be enough of each (`total`).
//!
//! A patch that no longer applies, or does not compile, fails the run: the table would otherwise shrink as the code changes.

mod case;
mod checker;
mod mutants;
mod total;
mod tree;

use case::Case;
use checker::{Checker, Ended, Run, Suite};
use mutants::{Mutant, Plan};
use std::path::PathBuf;
use std::time::Duration;
use total::{Seen, Total};
use tree::Tree;

/// The longest that one test may take; a mutant that loops is not found, it is lost.
const TEST_LIMIT: Duration = Duration::from_secs(300);

/// The same for a design that is explored to the end; the largest model has twenty million schedules.
const FULL_LIMIT: Duration = Duration::from_secs(3600);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Only the exhibits and the mutants that are marked as quick
    #[arg(long)]
    quick: bool,
    /// Explore the design of two threads to the end, and of three with one preemption more
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// Only the mutants, without the exhibits and the design
    #[arg(long)]
    mutants: bool,
    /// Only the cases whose name contains this
    #[arg(long)]
    only: Option<String>,
}

/// Runs the museum. True if every case ended as it should.
///
/// # Errors
/// The copy of the crates cannot be made, or does not compile without a patch.
pub(crate) fn command(options: &Options) -> Result<bool, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let target = std::path::absolute(target.join("museum")).map_err(|error| format!("target: {error}"))?;
    let museum = Museum { tree: Tree::copy(&target)?, target, options };
    let plan = Plan::read(museum.tree.root())?;
    if !options.json {
        case::print_head();
    }
    let mut all = true;
    let mut seen = Seen::default();
    for suite in &checker::SUITES {
        all &= museum.tests_of(suite, &mut seen)?;
    }
    for part in total::PARTS.iter().filter(|_| museum.runs_all_tests()) {
        let total = Total::of(part, &seen);
        total.print(options.json);
        all &= total.is_reached();
    }
    for mutant in plan.mutants.iter().filter(|mutant| museum.wants(mutant)) {
        let case = museum.mutant(mutant, &seen);
        case.print(options.json);
        all &= case.as_expected();
    }
    Ok(all)
}

struct Museum<'o> {
    tree: Tree,
    target: PathBuf,
    options: &'o Options,
}

impl Museum<'_> {
    fn wants(&self, mutant: &Mutant) -> bool {
        (mutant.quick || !self.options.quick) && self.wants_name(&mutant.name)
    }

    fn wants_name(&self, name: &str) -> bool {
        self.options.only.as_ref().is_none_or(|part| name.contains(part.as_str()))
    }

    fn runs_all_tests(&self) -> bool {
        !self.options.mutants && !self.options.quick && self.options.only.is_none()
    }

    /// Runs every test of a suite over the unchanged code: exhibits say in which schedule they broke, the design how many
    /// it was explored with, which is kept in `seen`.
    fn tests_of(&self, suite: &Suite, seen: &mut Seen) -> Result<bool, String> {
        if self.options.mutants || (self.options.quick && suite.is_design()) {
            return Ok(true);
        }
        let built = suite.build(&self.tree, &self.target)?;
        let mut all = true;
        for test in built.tests()?.iter().filter(|test| self.wants_name(test)) {
            let limit = if self.options.full { FULL_LIMIT } else { TEST_LIMIT };
            let run = built.run(test, self.options.full, limit)?;
            seen.note(test, &run);
            let case = Case::of_test(test, suite.checker, &run);
            case.print(self.options.json);
            all &= case.as_expected();
        }
        Ok(all)
    }

    fn mutant(&self, mutant: &Mutant, seen: &Seen) -> Case {
        match self.run_mutant(mutant) {
            Ok(run) => Case::of_mutant(mutant, &run, seen.explored(&mutant.test)),
            Err(why) => Case::not_run(mutant, why),
        }
    }

    fn run_mutant(&self, mutant: &Mutant) -> Result<Run, String> {
        let _patched = self.tree.patch(mutant)?;
        mutant.suite().build(&self.tree, &self.target)?.run(&mutant.test, false, TEST_LIMIT)
    }
}
