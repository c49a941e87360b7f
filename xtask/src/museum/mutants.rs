//! The list of mutants, `museum/mutants.toml`.

use super::checker::{self, Checker, Suite};
use serde::Deserialize;
use std::path::Path;

/// A change of the real code that a test must notice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutant {
    /// What the change takes away, in words.
    pub(crate) name: String,
    /// The file, from the root of the workspace.
    pub(crate) file: String,
    /// Text that occurs in the file exactly once.
    pub(crate) original: String,
    pub(crate) replacement: String,
    pub(crate) checker: Checker,
    /// The test that must fail.
    pub(crate) test: String,
    /// Where that is, if it is not where most tests of the checker are.
    #[serde(default)]
    suite: Option<Apart>,
    /// Also in the quick run.
    #[serde(default)]
    pub(crate) quick: bool,
}

/// The tests of slots, which are apart from those of functions and gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Apart {
    /// Slots with everything around them, under shuttle.
    Unplug,
    /// The life of a slot, which is a pure function.
    Life,
}

impl Mutant {
    /// The tests among which `test` is.
    pub(crate) fn suite(&self) -> Suite {
        match (self.suite, self.checker) {
            (Some(Apart::Unplug), _) => checker::UNPLUG,
            (Some(Apart::Life), _) => checker::LIFE,
            (None, Checker::Loom) => checker::GATE_LOOM,
            (None, Checker::Shuttle) => checker::SHUTTLE,
            (None, Checker::Litmus) => checker::LITMUS,
            (None, Checker::Tsan) => checker::TSAN,
            (None, Checker::Test) => checker::GATE_TEST,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    #[serde(rename = "mutant")]
    pub(crate) mutants: Vec<Mutant>,
}

impl Plan {
    /// Reads the list below `root`.
    ///
    /// # Errors
    /// It cannot be read, or a line of it is not understood.
    pub(crate) fn read(root: &Path) -> Result<Plan, String> {
        let path = root.join("museum/mutants.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let plan: Plan = toml::from_str(&text).map_err(|error| format!("museum/mutants.toml: {error}"))?;
        match plan.mutants.iter().find(|mutant| mutant.suite().checker != mutant.checker) {
            Some(mutant) => {
                Err(format!("museum/mutants.toml: the suite of \"{}\" has another checker", mutant.name))
            }
            None => Ok(plan),
        }
    }
}
