//! What an operator may set.

use crate::budget::FreezeBudget;
use std::time::Duration;

/// How errors are contained and recovered from. Every time is finite, so every recovery ends (law 4).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// How often a PE may freeze before it is given up (EEH-10).
    pub budget: FreezeBudget,
    /// By what the waits of a recovery are multiplied that stand for hardware, 0.0 to 1.0: how long a reset is held, how long
    /// functions are left alone after it (EEH-13, EEH-19).
    pub time_scale: f64,
    /// How long a driver, a consumer or the platform may take for one call before it counts as lost.
    pub call_timeout: Duration,
    /// How long a model's accesses in flight may take to end before its state is saved.
    pub quiesce_timeout: Duration,
    /// How long a removed PE may be held before somebody is warned.
    pub orphan_threshold: Duration,
    /// How many errors may wait to be taken up; at least 1. What comes beyond is found again by a walk over the tree.
    pub queue_capacity: usize,
    /// How many ended recoveries are remembered.
    pub history: usize,
    /// Whether errors count at all (EEH-27, EEH-28); what is frozen stays so.
    pub enabled: bool,
    /// Whether what is frozen is recovered; otherwise it stays frozen until an operator thaws it (EEH-27).
    pub recover: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            budget: FreezeBudget::default(),
            time_scale: 1.0,
            call_timeout: Duration::from_secs(10),
            quiesce_timeout: Duration::from_secs(5),
            orphan_threshold: Duration::from_secs(60),
            queue_capacity: 4096,
            history: 256,
            enabled: true,
            recover: true,
        }
    }
}
