//! What a recovery is about: a PE with all that is below it, as a picture of the tree has it.

use crate::pe::{Held, Holder, PeAddress, PeKind, PeState};
use crate::plan::{Member, PeId, Role};
use crate::tree::{PeFunction, Snapshot, Visit};
use std::sync::Arc;

/// A function that takes part, as far as the tree knows it.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) function: Arc<PeFunction>,
    depth: u16,
    virtual_function: bool,
    disconnected: bool,
}

impl Candidate {
    fn in_pe(visit: &Visit<'_>, function: &Arc<PeFunction>) -> Candidate {
        Candidate {
            function: Arc::clone(function),
            // A level of the tree is a bridge, or the step from a physical function to its virtual ones.
            depth: u16::try_from(visit.depth).unwrap_or(u16::MAX),
            virtual_function: visit.pe().kind() == PeKind::Vf,
            disconnected: visit.pe().state().contains(PeState::REMOVED),
        }
    }

    /// As the plan knows it.
    pub(super) fn member(&self, role: Role, needs_fundamental_reset: bool) -> Member {
        Member {
            bridge: self.function.function.config().is_bridge(),
            virtual_function: self.virtual_function,
            needs_fundamental_reset,
            disconnected: self.disconnected,
            ..Member::new(self.function.id, self.depth, role)
        }
    }
}

/// A PE with all that is below it; parents before children in both lists.
#[derive(Debug)]
pub(super) struct Area {
    pub(super) pes: Vec<Held>,
    pub(super) functions: Vec<Candidate>,
}

impl Area {
    pub(super) fn of(snapshot: &Snapshot, root: PeAddress) -> Area {
        let mut area = Area { pes: Vec::new(), functions: Vec::new() };
        for visit in snapshot.walk(root) {
            area.pes.push(visit.hold(Holder::Recovery));
            let first = area.functions.len();
            let functions = snapshot.functions(visit.pe().address());
            area.functions.extend(functions.map(|function| Candidate::in_pe(&visit, function)));
            if let Some(of_this_pe) = area.functions.get_mut(first..) {
                of_this_pe.sort_by_key(|candidate| candidate.function.address);
            }
        }
        // A walk goes down each branch to its end.
        area.functions.sort_by_key(|candidate| candidate.depth);
        area
    }

    /// A function that came since, if it is in the picture and below `root`.
    pub(super) fn find(snapshot: &Snapshot, root: PeAddress, wanted: &PeFunction) -> Option<Candidate> {
        snapshot.walk(root).find_map(|visit| {
            let function =
                snapshot.functions(visit.pe().address()).find(|function| function.id == wanted.id)?;
            Some(Candidate::in_pe(&visit, function))
        })
    }

    pub(super) fn ids(&self) -> Vec<PeId> {
        self.pes.iter().map(|pe| pe.id()).collect()
    }
}
