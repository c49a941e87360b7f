//! What the tests of one part came to together, and what they have to.

use super::checker::Run;
use serde::Serialize;
use std::collections::HashMap;

/// What the tests over unchanged code have said, by their names.
#[derive(Default)]
pub(crate) struct Seen {
    /// How many schedules the design was explored with.
    explored: HashMap<String, u64>,
    /// In which schedule an exhibit broke.
    found: HashMap<String, u64>,
}

impl Seen {
    pub(crate) fn note(&mut self, test: &str, run: &Run) {
        if let Some(schedules) = run.explored {
            self.explored.insert(test.to_owned(), schedules);
        }
        if let Some(schedule) = run.found_in {
            self.found.insert(test.to_owned(), schedule);
        }
    }

    /// How many schedules there were of the design with this test.
    pub(crate) fn explored(&self, test: &str) -> Option<u64> {
        self.explored.get(test).copied()
    }
}

/// What is added up of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    /// The schedules that its scenarios were explored with.
    Schedules,
    /// The exhibits in which the checker has found something.
    Findings,
}

/// The tests of a part, and how much of it is wanted.
pub(crate) struct Part {
    name: &'static str,
    /// What the names of its tests begin with.
    prefix: &'static str,
    unit: Unit,
    wanted: u64,
}

/// Everything that is added up.
pub(crate) const PARTS: [Part; 7] = [
    // Each complaint about unplugging is found in the locking that it was reported with; no. 11 is two.
    Part { name: "complaints", prefix: "complaint_", unit: Unit::Findings, wanted: 10 },
    // The deadlock of report B, and the request that is fetched twice, which is two.
    Part { name: "report B", prefix: "report_b_", unit: Unit::Findings, wanted: 3 },
    // The walks of report E, what was proposed instead, and the lock that upstream has taken since.
    Part { name: "report E", prefix: "report_e_", unit: Unit::Findings, wanted: 6 },
    // Mappings that are taken back while consumers fault on them.
    Part { name: "mappings", prefix: "mappings::", unit: Unit::Schedules, wanted: 100_000 },
    // Slots that are plugged and unplugged while everything else happens.
    Part { name: "slots", prefix: "slots::", unit: Unit::Schedules, wanted: 20_000 },
    // Everything that can be done to a zPCI function, two things at a time.
    Part { name: "zpci", prefix: "zpci::", unit: Unit::Schedules, wanted: 12_000 },
    // Errors, recoveries, hot-plug, walks and operators over one tree of PEs.
    Part { name: "containment", prefix: "eeh::", unit: Unit::Schedules, wanted: 10_000 },
];

/// What came of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Total {
    total_of: &'static str,
    unit: Unit,
    tests: usize,
    total: u64,
    wanted: u64,
}

impl Total {
    /// Adds up what the tests of `part` have said.
    pub(crate) fn of(part: &Part, seen: &Seen) -> Total {
        let (said, worth): (_, fn(u64) -> u64) = match part.unit {
            Unit::Schedules => (&seen.explored, |schedules| schedules),
            Unit::Findings => (&seen.found, |_in_which| 1),
        };
        let of_part = said.iter().filter(|(test, _)| test.starts_with(part.prefix));
        let of_part: Vec<u64> = of_part.map(|(_, number)| worth(*number)).collect();
        Total {
            total_of: part.name,
            unit: part.unit,
            tests: of_part.len(),
            total: of_part.iter().sum(),
            wanted: part.wanted,
        }
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.total >= self.wanted
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            match serde_json::to_string(self) {
                Ok(line) => println!("{line}"),
                Err(error) => println!("{error}"),
            }
            return;
        }
        let Total { total_of, unit, tests, total, wanted } = self;
        let unit = match unit {
            Unit::Schedules => "schedules",
            Unit::Findings => "findings",
        };
        let mark = if self.is_reached() { "" } else { "  UNEXPECTED: too few" };
        println!("{total_of}: {total} {unit} of {tests} tests, at least {wanted} wanted{mark}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(explored: &[(&str, u64)], found: &[(&str, u64)]) -> Seen {
        let map =
            |of: &[(&str, u64)]| of.iter().map(|(test, number)| ((*test).to_owned(), *number)).collect();
        Seen { explored: map(explored), found: map(found) }
    }

    #[test]
    fn only_the_schedules_of_the_part_are_added_up() {
        let seen = seen(&[("mappings::a", 60), ("mappings::b", 30), ("gate", 50)], &[("mappings::found", 7)]);
        let part = Part { name: "mappings", prefix: "mappings::", unit: Unit::Schedules, wanted: 90 };
        let total = Total::of(&part, &seen);
        assert_eq!((total.tests, total.total), (2, 90));
        assert!(total.is_reached());
        assert!(!Total::of(&Part { wanted: 91, ..part }, &seen).is_reached());
    }

    #[test]
    fn an_exhibit_in_which_nothing_was_found_counts_for_nothing() {
        let seen = seen(&[("complaint_1_repaired", 1000)], &[("complaint_1", 3), ("report_a", 1)]);
        let part = Part { name: "complaints", prefix: "complaint_", unit: Unit::Findings, wanted: 1 };
        let total = Total::of(&part, &seen);
        assert_eq!((total.tests, total.total), (1, 1));
        assert!(total.is_reached());
        assert!(!Total::of(&Part { wanted: 2, ..part }, &seen).is_reached());
    }
}
