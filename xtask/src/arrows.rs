//! `cargo xtask arrows`: a crate may use only the crates above it on the map, for building and for testing alike.

use std::process::Command;

use serde_json::Value;

/// The map of ARCHITECTURE.md, top first.
const MAP: [&str; 17] = [
    "pci-spec",
    "nvme-spec",
    "gate",
    "mapping",
    "pci-core",
    "topology",
    "power",
    "reset",
    "assign",
    "slot",
    "contain",
    "zpci",
    "vfio-user",
    "models",
    "remote",
    "qmp",
    "portcullis",
];

/// Crates outside the map: they may use all of it, and none of it may use them.
const OUTSIDE: [&str; 5] = ["crash-spike", "museum", "portcullis-bench", "sim", "xtask"];

/// Checks the workspace; the offending edges, one sentence each.
///
/// # Errors
/// `cargo metadata` does not run or prints something else than its JSON.
pub(crate) fn offences() -> Result<Vec<String>, String> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    Ok(packages.iter().flat_map(check_package).collect())
}

fn check_package(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let own = MAP.iter().position(|crate_name| *crate_name == name);
    if own.is_none() && !OUTSIDE.contains(&name) {
        return vec![format!(
            "{name} is not on the map: add it to ARCHITECTURE.md and to xtask/src/arrows.rs"
        )];
    }
    let Some(own) = own else { return Vec::new() };
    let dependencies = package["dependencies"].as_array().map(Vec::as_slice).unwrap_or_default();
    dependencies
        .iter()
        // Only crates of this workspace have a path.
        .filter(|dependency| dependency["path"].is_string())
        .filter_map(|dependency| {
            let used = dependency["name"].as_str().unwrap_or_default();
            let above = MAP.iter().position(|crate_name| *crate_name == used).is_some_and(|at| at < own);
            (!above).then(|| format!("{name} uses {used}, which is not above it on the map"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_arrow_that_points_down_the_map_is_an_offence() {
        let package = json!({"name": "gate", "dependencies": [{"name": "assign", "path": "/x"}]});
        assert_eq!(check_package(&package), ["gate uses assign, which is not above it on the map"]);
    }

    #[test]
    fn an_arrow_that_points_up_the_map_and_a_foreign_crate_are_fine() {
        let package =
            json!({"name": "assign", "dependencies": [{"name": "gate", "path": "/x"}, {"name": "libc"}]});
        assert!(check_package(&package).is_empty());
    }

    #[test]
    fn a_crate_that_is_not_on_the_map_is_an_offence() {
        assert_eq!(check_package(&json!({"name": "helper", "dependencies": []})).len(), 1);
    }
}
