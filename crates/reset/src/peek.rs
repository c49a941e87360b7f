//! Reading what functions have while everybody else goes on.

use crate::hold::Reader;
use crate::shut::Patience;
use gate::{AccessKind, Refusal, ThreadToken};
use pci_core::Width;
use pci_spec::Bdf;
use topology::Snapshot;

/// Reads registers, each under a pass of its own. The first refusal is kept, and from then on all reads give
/// all-ones.
pub(crate) struct Peek<'p> {
    token: &'p mut ThreadToken,
    snapshot: &'p Snapshot,
    patience: Patience,
    refused: Option<Refusal>,
}

impl<'p> Peek<'p> {
    pub(crate) fn new(token: &'p mut ThreadToken, snapshot: &'p Snapshot, patience: Patience) -> Peek<'p> {
        Peek { token, snapshot, patience, refused: None }
    }

    /// Why reading stopped, if it did.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        self.refused
    }
}

impl Reader for Peek<'_> {
    fn read(&mut self, at: Bdf, register: u16, width: Width) -> u32 {
        let Some(node) = self.snapshot.function(at).filter(|_| self.refused.is_none()) else {
            return width.all_ones();
        };
        let handle = node.function.handle();
        let pass = match self.patience {
            Patience::None => handle.try_enter(self.token, AccessKind::Config),
            Patience::Until(deadline) => handle.enter(self.token, AccessKind::Config, deadline),
        };
        match pass {
            Ok(pass) => node.function.config_read(&pass, register, width).unwrap_or(width.all_ones()),
            Err(refusal) => {
                self.refused = Some(refusal);
                width.all_ones()
            }
        }
    }
}
