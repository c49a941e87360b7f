//! The table of `docs/locks.md` is the ranks in the code, no more and no fewer.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::collections::BTreeSet;

use gate::lock::RankInfo;

/// Number, name and crate.
type Row = (u8, String, String);

/// The rows of the table: number, name, kind, "`crate`: where", and more.
fn documented() -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/locks.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let number = cells[0].parse().ok()?;
        let krate = cells[3].trim_start_matches('`').split('`').next()?.to_owned();
        Some((number, cells[1].to_owned(), krate))
    });
    rows.collect()
}

/// The crates that have locks, with their ranks.
const CRATES: [(&str, &[RankInfo]); 15] = [
    ("gate", gate::lock::ranks::ALL),
    ("mapping", mapping::ranks::ALL),
    ("pci-core", pci_core::ranks::ALL),
    ("topology", topology::ranks::ALL),
    ("power", power::ranks::ALL),
    ("reset", reset::ranks::ALL),
    ("assign", assign::ranks::ALL),
    ("slot", slot::ranks::ALL),
    ("contain", contain::ranks::ALL),
    ("zpci", zpci::ranks::ALL),
    ("vfio-user", vfio_user::ranks::ALL),
    ("models", models::ranks::ALL),
    ("remote", remote::ranks::ALL),
    ("qmp", qmp::ranks::ALL),
    ("portcullis", portcullis::ranks::ALL),
];

fn in_code() -> Vec<Row> {
    let rows = |(krate, ranks): (&str, &[RankInfo])| {
        ranks.iter().map(|rank| (rank.number, rank.name.to_owned(), krate.to_owned())).collect::<Vec<_>>()
    };
    CRATES.into_iter().flat_map(rows).collect()
}

#[test]
fn every_crate_with_ranks_is_looked_at() {
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for entry in std::fs::read_dir(crates).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let known = CRATES.iter().any(|(krate, _)| *krate == name);
        assert!(known || !path.join("src/ranks.rs").exists(), "{name} has ranks that no test compares");
    }
}

#[test]
fn every_rank_has_a_row_and_every_row_a_rank() {
    let (documented, in_code) = (documented(), in_code());
    let (rows, ranks): (BTreeSet<_>, BTreeSet<_>) = (documented.iter().collect(), in_code.iter().collect());
    let missing: Vec<_> = ranks.difference(&rows).collect();
    let left_over: Vec<_> = rows.difference(&ranks).collect();
    assert!(missing.is_empty() && left_over.is_empty(), "no row for {missing:?}, no rank for {left_over:?}");
    assert!(documented.is_sorted(), "the rows stand in the order in which locks are taken");
}

#[test]
fn numbers_and_names_are_unique() {
    let in_code = in_code();
    let numbers: BTreeSet<_> = in_code.iter().map(|(number, ..)| number).collect();
    let names: BTreeSet<_> = in_code.iter().map(|(_, name, _)| name).collect();
    assert_eq!((numbers.len(), names.len()), (in_code.len(), in_code.len()));
}
