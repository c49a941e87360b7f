//! How many schedules the tests of one part of the design took together, and how many they have to.

use serde::Serialize;
use std::collections::HashMap;

/// The tests of a part of the design, and how many schedules of it are to be explored.
pub(crate) struct Part {
    name: &'static str,
    /// What the names of its tests begin with.
    prefix: &'static str,
    wanted: u64,
}

/// Mappings that are taken back while consumers fault on them.
pub(crate) const MAPPINGS: Part = Part { name: "mappings", prefix: "mappings::", wanted: 100_000 };

/// What came of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Total {
    schedules_of: &'static str,
    scenarios: usize,
    explored: u64,
    wanted: u64,
}

impl Total {
    /// Adds up what the tests of `part` have said.
    pub(crate) fn of(part: &Part, explored: &HashMap<String, u64>) -> Total {
        let of_part: Vec<u64> = explored
            .iter()
            .filter(|(test, _)| test.starts_with(part.prefix))
            .map(|(_, schedules)| *schedules)
            .collect();
        Total {
            schedules_of: part.name,
            scenarios: of_part.len(),
            explored: of_part.iter().sum(),
            wanted: part.wanted,
        }
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.explored >= self.wanted
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            match serde_json::to_string(self) {
                Ok(line) => println!("{line}"),
                Err(error) => println!("{error}"),
            }
            return;
        }
        let Total { schedules_of, scenarios, explored, wanted } = self;
        let mark = if self.is_reached() { "" } else { "  UNEXPECTED: too few" };
        println!(
            "{schedules_of}: {explored} schedules of {scenarios} scenarios, at least {wanted} wanted{mark}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_schedules_of_the_part_are_added_up() {
        let explored = [("mappings::a", 60), ("mappings::b", 30), ("gate", 50)];
        let explored = explored.map(|(test, schedules)| (test.to_owned(), schedules)).into();
        let part = Part { name: "mappings", prefix: "mappings::", wanted: 90 };
        let total = Total::of(&part, &explored);
        assert_eq!((total.scenarios, total.explored), (2, 90));
        assert!(total.is_reached());
        assert!(!Total::of(&Part { wanted: 91, ..part }, &explored).is_reached());
    }
}
