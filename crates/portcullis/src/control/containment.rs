//! What is told of containment: partitionable endpoints, freezes, recoveries, errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One line of `portcullis pe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeSummary {
    /// `0000:0100`, or `0000:phb` for a host bridge.
    pub pe: String,
    /// `phb`, `bus`, `device` or `vf`.
    pub kind: String,
    /// The PE above it; empty for a host bridge.
    #[serde(default)]
    pub parent: String,
    /// Its state bits, such as `isolated` and `recovering`; none while it works.
    pub state: Vec<String>,
    /// Addresses of its functions.
    pub functions: Vec<String>,
    /// Freezes since the first of the window.
    pub freezes: u32,
    /// Where its recovery is, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<String>,
}

/// `portcullis pe show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeReport {
    /// As in the list.
    #[serde(flatten)]
    pub summary: PeSummary,
    /// The PEs right below it.
    pub children: Vec<String>,
    /// How many freezes within the window are recovered from.
    pub max_freezes: u32,
    /// The window, in seconds.
    pub window_s: u64,
    /// Who holds it, and how often.
    pub holders: BTreeMap<String, u32>,
    /// Its recoveries that are remembered, the latest first.
    pub history: Vec<RecoveryEntry>,
}

/// A recovery that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryEntry {
    /// Which PE was recovered.
    pub pe: String,
    /// What was noticed first.
    pub sign: String,
    /// How it ended: `recovered`, `failed`, `contained`, `gone`, `frozen-again`.
    pub outcome: String,
    /// Why, if it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Resets that it took.
    pub resets: u32,
    /// From the freeze to the thaw, or to the end, in microseconds.
    pub pause_us: u64,
    /// How long ago it ended, in milliseconds.
    pub ago_ms: u64,
}

/// `portcullis freeze` and `thaw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeChange {
    /// The PE.
    pub pe: String,
    /// `frozen` or `thawed`.
    pub done: String,
    /// Whether this request changed it: what is frozen may be frozen again.
    pub changed: bool,
    /// Addresses of the functions in it and below it.
    pub functions: Vec<String>,
    /// Whether what their clients have mapped shows that already; if not, it will.
    pub mappings_followed: bool,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// `portcullis recover`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// The PE.
    pub pe: String,
    /// How it ended: as of [`RecoveryEntry`], or `under-way` if it has not yet.
    pub outcome: String,
    /// Why, if it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Resets that it took.
    pub resets: u32,
    /// From the freeze to the thaw, in microseconds; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_us: Option<u64>,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// A fault that a function can be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEntry {
    /// Its name.
    pub fault: String,
    /// What it does.
    pub about: String,
}

/// `portcullis inject`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// What it was given to: a function or a PE.
    pub target: String,
    /// The fault.
    pub fault: String,
}

/// `portcullis eeh`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EehReport {
    /// Whether errors freeze.
    pub enabled: bool,
    /// Whether what was frozen is recovered by itself.
    pub recover: bool,
    /// How many freezes within the window are recovered from.
    pub max_freezes: u32,
    /// The window, in seconds.
    pub window_s: u64,
    /// How much of a real reset's time is waited, in per cent.
    pub delay_percent: u8,
    /// PEs that there are.
    pub pes: usize,
    /// Counters, by name.
    pub statistics: BTreeMap<String, u64>,
    /// Recoveries that go on: PE and phase.
    pub under_way: Vec<(String, String)>,
    /// Recoveries that have ended, the latest first.
    pub history: Vec<RecoveryEntry>,
}

/// One line of `portcullis orphans`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanEntry {
    /// What was removed: a PE, or a device.
    pub name: String,
    /// Since when it is gone, in milliseconds.
    pub age_ms: u64,
    /// Whether that is longer than `orphan_after`.
    pub overdue: bool,
    /// Who holds it, and how often.
    pub holders: BTreeMap<String, u32>,
}

/// `portcullis aer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AerReport {
    /// `0000:01:00.0`.
    pub address: String,
    /// Errors that the hardware has corrected, by name; those that there were.
    pub correctable: BTreeMap<String, u64>,
    /// Errors after which the link works.
    pub nonfatal: BTreeMap<String, u64>,
    /// Errors after which it does not.
    pub fatal: BTreeMap<String, u64>,
    /// Of a root port: what was reported to it by all below, as `correctable`, `nonfatal` and `fatal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_port: Option<BTreeMap<String, u64>>,
    /// The latest errors, the latest first, in words.
    pub records: Vec<String>,
}
