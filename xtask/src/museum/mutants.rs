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
    /// Also in the quick run.
    #[serde(default)]
    pub(crate) quick: bool,
}

impl Mutant {
    /// The tests among which `test` is.
    pub(crate) fn suite(&self) -> Suite {
        match self.checker {
            Checker::Loom => checker::GATE_LOOM,
            Checker::Shuttle => checker::SHUTTLE,
            Checker::Litmus => checker::LITMUS,
            Checker::Tsan => checker::TSAN,
            Checker::Test => checker::GATE_TEST,
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
        toml::from_str(&text).map_err(|error| format!("museum/mutants.toml: {error}"))
    }
}
