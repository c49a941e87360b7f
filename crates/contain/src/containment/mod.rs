//! The front of containment: takes up errors, freezes, and has recoveries carried out.
//!
//! ```text
//!  sentinel, operator, platform --> queue --> turn: already frozen, or below what is? --yes--> told to that recovery
//!                                              | no
//!                                              v
//!                         freeze PE and below, count (EEH-10) --> claim --> recovery --> ended --> thawed, or left frozen
//! ```
//!
//! * [`Containment`] has the tree, follows the topology with it, and takes [turns](Containment::turn).
//! * [`Frozen`] is the freeze of one PE; [`Recoveries`] is who carries a recovery out, [`Running`] one that is under way.
//! * An *incident* (`case`) is what is known of a PE between its error and its thaw. A PE has one at most.
//!
//! A PE below one that is frozen is not recovered by itself: its error belongs to the one above (EEH-07). A PE above one that is
//! being recovered is frozen at once and recovered after it.
//!
//! What this module does **not** do: how a recovery goes is [`crate::plan`]'s business, and carrying it out is
//! [`crate::recovery`]'s. It has no threads.
//!
//! # Concurrency
//! Incidents are behind one leaf, the *front*, for a look or a change; gates, the tree, recoveries and watchers are called
//! without it. One thread at a time takes a turn, and others leave it to that one. Nobody waits for a recovery but those who
//! ask to ([`Containment::wait_for`]). Following the topology has a gate of its own, closed for as long as that takes.

mod begin;
mod case;
mod check;
mod collect;
mod frozen;
mod history;
mod membership;
mod operate;
mod report;
mod start;
mod statistics;
mod turn;

pub use case::Left;
pub use frozen::Frozen;
pub use history::Ended;
pub use operate::{RefusedError, Then};
pub use report::{PeReport, Phase, RecoveryReport};
pub use start::{End, News, OnEnd, Recoveries, Running, Start};
pub use statistics::Statistics;

use crate::aer::Ledger;
use crate::budget::FreezeBudget;
use crate::detect::{Alarm, Detector, FunctionSentinel};
use crate::orphans::Orphan;
use crate::party::Parties;
use crate::plan::PeId;
use crate::platform::Platform;
use crate::ranks;
use crate::recovery::Executor;
use crate::settings::Settings;
use crate::tree::{PeFunction, PeTree};
use crate::watch::Watch;
use case::Cases;
use gate::Gate;
use gate::lock::Leaf;
use history::History;
use pci_core::{Sentinel, Time};
use statistics::Counts;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A recovery; no two have the same, and later ones have higher numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecoveryId(pub u64);

impl fmt::Display for RecoveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What containment works with.
#[derive(Clone)]
pub struct Parts {
    /// Its clock.
    pub time: Arc<dyn Time>,
    /// The hardware.
    pub platform: Arc<dyn Platform>,
    /// Who has which function.
    pub parties: Arc<dyn Parties>,
    /// Who drives recoveries.
    pub crew: Arc<dyn slot::Crew>,
    /// Who is told that a [turn](Containment::turn) is to be taken.
    pub alarm: Arc<dyn Alarm>,
    /// Who is told what happens.
    pub watch: Arc<dyn Watch>,
    /// What an operator has set.
    pub settings: Settings,
}

/// The front of containment; see the module's head. It lives as long as what it watches: who drops it earlier calls
/// [`Containment::stop`] before.
pub struct Containment {
    tree: Arc<PeTree>,
    pub(crate) detector: Arc<Detector>,
    parts: Parts,
    recoveries: Arc<dyn Recoveries>,
    me: Weak<Containment>,
    /// Rank: 41, containment front; a leaf: recoveries tell of their end from anywhere. A look or a change; nobody is called.
    cases: Leaf<ranks::Front, Cases>,
    history: History,
    ledger: Ledger,
    counts: Counts,
    switches: Switches,
    /// Somebody takes a turn.
    turning: turn::Flag,
    /// Who follows the topology has this gate closed; no access passes it.
    pub(crate) following: Gate,
    /// The next function; none has the same number as one before.
    pub(crate) next_function: AtomicU64,
    /// Removed PEs that somebody was warned of.
    /// Rank: 48, orphans warned of; a leaf. A look and a change of the list.
    warned: Leaf<ranks::Warned, Vec<PeId>>,
}

/// What may be set while it runs (EEH-27).
struct Switches {
    recover: AtomicBool,
    max_freezes: AtomicU64,
    /// In seconds.
    window: AtomicU64,
}

impl Containment {
    /// Containment of nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Containment> {
        Containment::with(parts, Arc::new(Executor))
    }

    /// As [`Containment::new`], with somebody else who carries recoveries out.
    #[must_use]
    pub fn with(parts: Parts, recoveries: Arc<dyn Recoveries>) -> Arc<Containment> {
        let tree = Arc::new(PeTree::new(parts.time.clone()));
        let Settings { queue_capacity, enabled, recover, budget, history, .. } = parts.settings;
        let detector = Detector::new(tree.clone(), parts.alarm.clone(), queue_capacity, enabled);
        let switches = Switches {
            recover: AtomicBool::new(recover),
            max_freezes: AtomicU64::new(budget.max_freezes.into()),
            window: AtomicU64::new(budget.window.as_secs()),
        };
        Arc::new_cyclic(|me| Containment {
            tree,
            detector: Arc::new(detector),
            parts,
            recoveries,
            me: me.clone(),
            cases: Leaf::default(),
            history: History::new(history),
            ledger: Ledger::default(),
            counts: Counts::default(),
            switches,
            turning: turn::Flag::default(),
            following: Gate::new("containment: follow"),
            next_function: AtomicU64::new(1),
            warned: Leaf::default(),
        })
    }

    /// The tree of PEs. It is [followed](Containment::follow) and not changed otherwise.
    #[must_use]
    pub fn tree(&self) -> &Arc<PeTree> {
        &self.tree
    }

    /// What it works with.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What a function's errors are told to. Functions that are followed have one; for what else knows of errors, such as an
    /// assignment.
    #[must_use]
    pub fn sentinel(&self, function: &PeFunction) -> Arc<dyn Sentinel> {
        Arc::new(FunctionSentinel::new(&self.detector, function.address, &function.function))
    }

    /// What functions have reported of errors (AER-09).
    #[must_use]
    pub fn aer(&self) -> &Ledger {
        &self.ledger
    }

    /// PEs that were removed and are still held, longest first.
    #[must_use]
    pub fn orphans(&self) -> Vec<Orphan> {
        self.tree.orphans(self.parts.settings.orphan_threshold)
    }

    /// Whether errors count from now on (EEH-27).
    pub fn set_enabled(&self, enabled: bool) {
        self.detector.enable(enabled);
    }

    /// Whether errors count.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.detector.is_enabled()
    }

    /// Whether what freezes from now on is recovered (EEH-27).
    pub fn set_recover(&self, recover: bool) {
        self.switches.recover.store(recover, Ordering::Relaxed);
    }

    /// Whether what freezes is recovered.
    #[must_use]
    pub fn recovers(&self) -> bool {
        self.switches.recover.load(Ordering::Relaxed)
    }

    /// How often a PE may freeze from now on (EEH-10).
    pub fn set_budget(&self, budget: FreezeBudget) {
        self.switches.max_freezes.store(budget.max_freezes.into(), Ordering::Relaxed);
        self.switches.window.store(budget.window.as_secs(), Ordering::Relaxed);
    }

    /// How often a PE may freeze.
    #[must_use]
    pub fn budget(&self) -> FreezeBudget {
        let max_freezes = self.switches.max_freezes.load(Ordering::Relaxed);
        let window = Duration::from_secs(self.switches.window.load(Ordering::Relaxed));
        FreezeBudget { max_freezes: u32::try_from(max_freezes).unwrap_or(u32::MAX), window }
    }

    fn now(&self) -> Duration {
        self.parts.time.now()
    }
}

impl fmt::Debug for Containment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Containment").field("detector", &self.detector).finish_non_exhaustive()
    }
}
