//! One line of the table.

use super::{Checker, Ended, Mutant, Run};
use serde::Serialize;

/// How one case ended.
#[derive(Serialize)]
pub(crate) struct Case {
    case: String,
    checker: Checker,
    /// The schedule (litmus: the round) in which the checker found the bug; `None` for the design, and for a plain test.
    found_in: Option<u64>,
    /// How many schedules of the design were explored with the same test, where that was done.
    design_schedules: Option<u64>,
    /// Tests of the design that failed.
    failures: u64,
    /// Why the case did not end as it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    unexpected: Option<String>,
}

impl Case {
    /// A test over unchanged code: it passes, and says in which schedule it broke an exhibit or how many it explored.
    pub(crate) fn of_test(test: &str, checker: Checker, run: &Run) -> Case {
        let unexpected = match run.ended {
            Ended::Passed if checker.counts() && run.found_in.is_none() && run.explored.is_none() => {
                Some("ran, and counted no schedules".to_owned())
            }
            Ended::Passed => None,
            Ended::Failed => Some(format!("failed: {}", run.last_words())),
            Ended::TimedOut => Some("took too long".to_owned()),
        };
        Case {
            case: test.replace('_', " "),
            checker,
            found_in: run.found_in.filter(|_| unexpected.is_none()),
            design_schedules: run.explored,
            failures: u64::from(unexpected.is_some()),
            unexpected,
        }
    }

    /// A test over a mutant: it fails, because of what the checker found.
    pub(crate) fn of_mutant(mutant: &Mutant, run: &Run, design_schedules: Option<u64>) -> Case {
        let unexpected = match (&run.ended, run.found_in) {
            (Ended::Failed, _) if run.gave_up() => Some("the checker gave up: too many branches".to_owned()),
            (Ended::Failed, Some(_)) => None,
            (Ended::Failed, None) if !mutant.checker.counts() && run.has_panicked() => None,
            (Ended::Failed, None) => Some(format!("failed outside a schedule: {}", run.last_words())),
            (Ended::Passed, _) => Some("SURVIVED".to_owned()),
            (Ended::TimedOut, _) => Some("took too long".to_owned()),
        };
        let case = format!("mutant: {}", mutant.name);
        Case {
            case,
            checker: mutant.checker,
            found_in: run.found_in,
            design_schedules,
            failures: 0,
            unexpected,
        }
    }

    /// A mutant that does not apply or does not compile.
    pub(crate) fn not_run(mutant: &Mutant, why: String) -> Case {
        Case {
            case: format!("mutant: {}", mutant.name),
            checker: mutant.checker,
            found_in: None,
            design_schedules: None,
            failures: 0,
            unexpected: Some(why),
        }
    }

    pub(crate) fn as_expected(&self) -> bool {
        self.unexpected.is_none()
    }

    /// Prints the line at once: a run takes minutes.
    pub(crate) fn print(&self, json: bool) {
        if json {
            match serde_json::to_string(self) {
                Ok(line) => println!("{line}"),
                Err(error) => println!("{error}"),
            }
            return;
        }
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let Case { case, checker, found_in, design_schedules, failures, unexpected } = self;
        let mark = unexpected.as_ref().map_or_else(String::new, |why| format!("  UNEXPECTED: {why}"));
        println!(
            "{:<96} {:<8} {:>9} {:>9} {failures:>8}{mark}",
            case,
            checker.to_string(),
            number(*found_in),
            number(*design_schedules)
        );
    }
}

/// The table's head.
pub(crate) fn print_head() {
    println!("{:<96} {:<8} {:>9} {:>9} {:>8}", "case", "checker", "found in", "design", "failures");
}
