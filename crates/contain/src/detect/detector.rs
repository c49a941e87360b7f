//! The check of an error (EEH-07).

use super::Alarm;
use super::queue::{Queue, Sign};
use crate::pe::{Holder, Pe, PeState};
use crate::plan::Flavour;
use crate::tree::{PeFunction, PeTree, Snapshot};
use gate::ThreadToken;
use pci_core::ErrorSign;
use pci_spec::Bdf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What came of an error that was noticed (EEH-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: errors do not count at present, or nobody knows the function.
    Ignored,
    /// Nothing: whoever the PE is passed through to deals with it (EEH-21).
    PassedThrough,
    /// The PE is isolated now.
    Isolated,
    /// The PE, or one above it, was isolated already.
    Already,
}

/// What was noticed, as counts; an operator is shown them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Errors that were noticed while errors did not count (EEH-27).
    pub ignored: u64,
    /// Errors of functions that are in no PE.
    pub no_pe: u64,
    /// Errors of PEs that are passed through, whose consumers deal with them (EEH-21).
    pub passed_through: u64,
    /// Errors that isolated a PE.
    pub isolated: u64,
    /// Errors of PEs that were isolated already, or below one that was.
    pub already: u64,
    /// Errors that found the queue full.
    pub overflowed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counted {
    ignored: AtomicU64,
    no_pe: AtomicU64,
    passed_through: AtomicU64,
    isolated: AtomicU64,
    already: AtomicU64,
    overflowed: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counted {
    pub(crate) fn read(&self) -> Counters {
        let Counted { ignored, no_pe, passed_through, isolated, already, overflowed } = self;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            ignored: read(ignored),
            no_pe: read(no_pe),
            passed_through: read(passed_through),
            isolated: read(isolated),
            already: read(already),
            overflowed: read(overflowed),
        }
    }
}

/// What all sentinels share.
pub(crate) struct Detector {
    tree: Arc<PeTree>,
    queue: Queue,
    alarm: Arc<dyn Alarm>,
    enabled: AtomicBool,
    pub(crate) counted: Counted,
}

impl Detector {
    pub(crate) fn new(tree: Arc<PeTree>, alarm: Arc<dyn Alarm>, capacity: usize, enabled: bool) -> Detector {
        let (queue, enabled) = (Queue::new(capacity), AtomicBool::new(enabled));
        Detector { tree, queue, alarm, enabled, counted: Counted::default() }
    }

    /// An error of a function, if it is the one that is meant. Any context.
    #[cold]
    pub(crate) fn notice(
        &self,
        token: &ThreadToken,
        at: Bdf,
        is_meant: impl FnOnce(&PeFunction) -> bool,
        sign: ErrorSign,
    ) -> Check {
        if !self.enabled.load(Ordering::Relaxed) {
            count(&self.counted.ignored);
            return Check::Ignored;
        }
        let check = self.tree.look(token, |snapshot| self.check(snapshot, at, is_meant, sign));
        match check {
            Check::Ignored => count(&self.counted.no_pe),
            Check::PassedThrough => count(&self.counted.passed_through),
            Check::Already => count(&self.counted.already),
            Check::Isolated => self.alarm.raise(),
        }
        check
    }

    fn check(
        &self,
        snapshot: &Snapshot,
        at: Bdf,
        is_meant: impl FnOnce(&PeFunction) -> bool,
        sign: ErrorSign,
    ) -> Check {
        let Some((pe, function)) = snapshot.of_function(at, Holder::Event) else { return Check::Ignored };
        if !is_meant(&function) {
            return Check::Ignored;
        }
        if pe.is_passed_through() {
            return Check::PassedThrough;
        }
        if snapshot.up(pe.address()).any(is_isolated) || !pe.isolate() {
            return Check::Already;
        }
        count(&self.counted.isolated);
        let function = Some((function.id, function.address));
        self.push(Sign { pe, function, sign: Some(sign), flavour: Flavour::Eeh });
        Check::Isolated
    }

    /// Leaves a sign, without an alarm.
    pub(crate) fn push(&self, sign: Sign) {
        if !self.queue.push(sign) {
            count(&self.counted.overflowed);
        }
    }

    pub(crate) fn pop(&self) -> Option<Sign> {
        self.queue.pop()
    }

    pub(crate) fn take_overflow(&self) -> bool {
        self.queue.take_overflow()
    }

    pub(crate) fn has_some(&self) -> bool {
        self.queue.has_some()
    }

    pub(crate) fn raise(&self) {
        self.alarm.raise();
    }

    pub(crate) fn enable(&self, enabled: bool) {
        self.enabled.store(enabled, Ordering::Relaxed);
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Detector").field("counted", &self.counted).finish_non_exhaustive()
    }
}

fn is_isolated(pe: &Pe) -> bool {
    pe.state().contains(PeState::ISOLATED)
}
