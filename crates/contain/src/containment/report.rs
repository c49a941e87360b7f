//! What an operator is shown.

use super::case::{Case, Stage};
use super::{Containment, Left, RecoveryId};
use crate::pe::{Holder, PeAddress, PeKind, PeState};
use crate::plan::{Flavour, PeId};
use gate::ThreadToken;
use pci_core::ErrorSign;
use pci_spec::Bdf;
use std::time::Duration;

/// Where the incident of a PE is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A recovery is to begin.
    Due,
    /// Something else is recovered first.
    Waiting,
    /// It is being recovered; how far, for people.
    Recovering(String),
    /// The recovery has ended.
    Ended,
    /// It stays frozen.
    Left(Left),
}

/// A PE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeReport {
    /// Which.
    pub id: PeId,
    /// Its place.
    pub address: PeAddress,
    /// What it stands for.
    pub kind: PeKind,
    /// The PE above it; `None` for a host bridge.
    pub parent: Option<PeAddress>,
    /// Its state bits.
    pub state: PeState,
    /// The functions in it, in ascending order.
    pub functions: Vec<Bdf>,
    /// How often it froze within the window (EEH-10).
    pub freezes: u32,
    /// Who holds it, and how often.
    pub holders: Vec<(Holder, u32)>,
    /// Where its error is, if it has one of its own.
    pub incident: Option<(RecoveryId, Phase)>,
}

/// A recovery that has not ended, or a PE that stays frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Which.
    pub id: RecoveryId,
    /// Of which PE.
    pub pe: PeAddress,
    /// The error, if it is known.
    pub sign: Option<ErrorSign>,
    /// The function that it was noticed at.
    pub function: Option<Bdf>,
    /// By whose rules.
    pub flavour: Flavour,
    /// For how long.
    pub age: Duration,
    /// Where it is.
    pub phase: Phase,
}

/// What is known of a recovery without asking it.
enum Seen {
    Known(Phase),
    Ask(std::sync::Arc<dyn super::Running>),
}

impl Seen {
    fn phase(self) -> Phase {
        match self {
            Seen::Known(phase) => phase,
            Seen::Ask(running) => Phase::Recovering(running.report()),
        }
    }
}

fn seen(case: &Case) -> Seen {
    Seen::Known(match &case.stage {
        Stage::Running(running) => return Seen::Ask(running.clone()),
        Stage::Busy | Stage::Due => Phase::Due,
        Stage::Waiting(_) => Phase::Waiting,
        Stage::Ended(_) => Phase::Ended,
        Stage::Left(left) => Phase::Left(*left),
    })
}

impl Containment {
    /// All PEs, in ascending order of address.
    #[must_use]
    pub fn pes(&self, token: &ThreadToken) -> Vec<PeReport> {
        let snapshot = self.tree.snapshot(token);
        let mut reports = Vec::with_capacity(snapshot.len());
        for (pe, parent) in snapshot.every(Holder::Operator) {
            let found = {
                let cases = self.cases.lock();
                cases.of.get(&pe.id()).map(|case| (case.id, seen(case)))
            };
            let mut functions: Vec<Bdf> =
                snapshot.functions(pe.address()).map(|function| function.address).collect();
            functions.sort_unstable();
            reports.push(PeReport {
                id: pe.id(),
                address: pe.address(),
                kind: pe.kind(),
                parent,
                state: pe.state(),
                functions,
                freezes: pe.freezes.freezes(),
                holders: holders_but_this(&pe),
                incident: found.map(|(id, seen)| (id, seen.phase())),
            });
        }
        reports
    }

    /// Recoveries that have not ended, and PEs that stay frozen, the earliest first.
    #[must_use]
    pub fn recoveries(&self) -> Vec<RecoveryReport> {
        let now = self.now();
        let mut found: Vec<_> = {
            let cases = self.cases.lock();
            let of = cases.of.values();
            of.map(|case| (case.id, case.pe.address(), case.cause, case.since, seen(case))).collect()
        };
        found.sort_by_key(|(id, ..)| *id);
        let report =
            |(id, pe, cause, since, seen): (RecoveryId, PeAddress, super::case::Cause, Duration, Seen)| {
                RecoveryReport {
                    id,
                    pe,
                    sign: cause.sign,
                    function: cause.function.map(|(_, at)| at),
                    flavour: cause.flavour,
                    age: now.saturating_sub(since),
                    phase: seen.phase(),
                }
            };
        found.into_iter().map(report).collect()
    }
}

/// Without the reference of the report itself.
fn holders_but_this(pe: &crate::pe::Held) -> Vec<(Holder, u32)> {
    let own = pe.holder();
    let others = pe.holders().into_iter().map(|(holder, count)| (holder, count - u32::from(holder == own)));
    others.filter(|(_, count)| *count != 0).collect()
}
