//! The tree of PEs: what fails together, and what is above it.
//!
//! * [`PeTree`] publishes the present picture and changes it. Look-ups are for any context: they take no lock, allocate
//!   nothing, wait for nobody, and may be made inside a pass (EEH-I3).
//! * [`Snapshot`] is one moment's picture; [`Snapshot::walk`] visits a subtree while others change the tree (EEH-I2).
//! * [`Marked`] are PEs that a recovery has: they are not freed until it lets them go, on whatever way (EEH-I5).
//! * [`Claim`] is the one recovery of a PE and all that is below it (EEH-I7).
//!
//! What this module does **not** do: it closes no gate and recovers nothing.
//!
//! # Concurrency
//! A change is worked out on a copy that shares all but a few branches with the present picture, and published in one step.
//! Who publishes has the tree's turn for that moment. Nobody who reads waits for it. The locks ([`crate::ranks`]) are leaves, for
//! whose turn it is, the list of claims and that of orphans.

mod change;
mod claim;
mod error;
mod every;
mod links;
mod mark;
pub(crate) mod radix;
mod snapshot;
mod turn;
mod up;
mod walk;

pub use change::{NewPe, RemovedPes};
pub use claim::{Claim, ClaimError, Joined, PendingClaim, TryClaimed};
pub use error::TreeError;
pub use mark::Marked;
pub use snapshot::{PeFunction, Snapshot};
pub use walk::{Visit, Walk};

use crate::address_cache::{Overlap, Space};
use crate::orphans::{Orphan, Orphans};
use crate::pe::{Held, Holder, PeAddress};
use crate::plan::PeId;
use change::Draft;
use claim::Claims;
use gate::{Deadline, Published, ThreadToken};
use pci_core::Time;
use pci_spec::Bdf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use turn::Turn;

/// All PEs; see the module's head.
pub struct PeTree {
    /// Read by whoever looks something up, which is seldom beside accesses, and replaced as often as PEs come and go: so that
    /// no replacement interrupts a thread, its readers pay for the barrier.
    current: Published<Arc<Snapshot>, true>,
    turn: Turn,
    /// The identity of the next PE.
    next: AtomicU64,
    orphans: Orphans,
    claims: Claims,
    time: Arc<dyn Time>,
}

impl PeTree {
    /// A tree without PEs. Ages go by `time`.
    #[must_use]
    pub fn new(time: Arc<dyn Time>) -> PeTree {
        PeTree {
            current: Published::fenced(Arc::default()),
            turn: Turn::default(),
            next: AtomicU64::new(0),
            orphans: Orphans::default(),
            claims: Claims::default(),
            time,
        }
    }

    /// The picture as it is now. Never waits.
    #[must_use]
    pub fn snapshot(&self, token: &ThreadToken) -> Arc<Snapshot> {
        self.current.read(token).clone()
    }

    /// The PE at an address.
    #[must_use]
    pub fn find(&self, token: &ThreadToken, address: PeAddress, holder: Holder) -> Option<Held> {
        self.current.read(token).find(address, holder)
    }

    /// The PE that a function is in, and the function.
    #[must_use]
    pub fn of_function(
        &self,
        token: &ThreadToken,
        at: Bdf,
        holder: Holder,
    ) -> Option<(Held, Arc<PeFunction>)> {
        self.current.read(token).of_function(at, holder)
    }

    /// The PE and the function whose BAR an address is in (EEH-06, EEH-23).
    #[must_use]
    pub fn of_bar_address(
        &self,
        token: &ThreadToken,
        space: Space,
        address: u64,
        holder: Holder,
    ) -> Option<(Held, Arc<PeFunction>)> {
        self.current.read(token).of_bar_address(space, address, holder)
    }

    /// Puts PEs in, all or none, each after the one above it. A PE that was removed while a recovery has it is put in again
    /// as it was, with its identity, state and budget.
    ///
    /// # Errors
    /// [`TreeError`]; none is in.
    pub fn insert(
        &self,
        token: &mut ThreadToken,
        new: impl IntoIterator<Item = NewPe>,
        deadline: Deadline,
    ) -> Result<Vec<Held>, TreeError> {
        self.change(token, deadline, |draft| {
            let mut held = Vec::new();
            for new in new {
                // 2^64 PEs are more than anybody plugs.
                let id = PeId(self.next.fetch_add(1, Ordering::Relaxed));
                held.push(Held::new(draft.insert(new, id)?, Holder::Lookup));
            }
            Ok(held)
        })
    }

    /// Takes a PE out, with all that is below it and the functions in there. What a recovery has marked stays, *invalid*,
    /// until the marks are gone (EEH-I5).
    ///
    /// # Errors
    /// [`TreeError::NoPe`] or [`TreeError::Contended`].
    pub fn remove(
        &self,
        token: &mut ThreadToken,
        address: PeAddress,
        deadline: Deadline,
    ) -> Result<RemovedPes, TreeError> {
        self.change(token, deadline, |draft| draft.remove(address))
    }

    /// Puts a PE, with all that is below it, below `parent`.
    ///
    /// # Errors
    /// [`TreeError`]; also if a recovery has a part of it.
    pub fn move_below(
        &self,
        token: &mut ThreadToken,
        address: PeAddress,
        parent: PeAddress,
        deadline: Deadline,
    ) -> Result<(), TreeError> {
        // Announced until it is published; see the head of `claim`.
        let mut moving = None;
        let moved = self.change(token, deadline, |draft| {
            let announced = self.claims.begin_move(address.key(), draft.snapshot.above(address.key()));
            moving = Some(announced.ok_or(TreeError::Recovering(address))?);
            draft.move_below(address, parent)
        });
        drop(moving);
        moved
    }

    /// Puts a function into a PE. Gives the ranges of its BARs that another function has, which are left out.
    ///
    /// # Errors
    /// [`TreeError`]; it is not in.
    pub fn add_function(
        &self,
        token: &mut ThreadToken,
        address: PeAddress,
        function: PeFunction,
        deadline: Deadline,
    ) -> Result<Vec<Overlap>, TreeError> {
        self.change(token, deadline, |draft| draft.seat(Arc::new(function), address))
    }

    /// Takes a function out of its PE, which stays.
    ///
    /// # Errors
    /// [`TreeError::NoFunction`] or [`TreeError::Contended`].
    pub fn remove_function(
        &self,
        token: &mut ThreadToken,
        at: Bdf,
        deadline: Deadline,
    ) -> Result<Arc<PeFunction>, TreeError> {
        self.change(token, deadline, |draft| draft.unseat(at))
    }

    /// Takes out what was removed and is not marked any more. Every change does so too.
    ///
    /// # Errors
    /// [`TreeError::Contended`]
    pub fn collect(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), TreeError> {
        if self.current.read(token).kept.is_empty() {
            return Ok(());
        }
        self.change(token, deadline, |_| Ok(()))
    }

    /// PEs that were removed and are still held, longest first; one is overdue after `threshold`.
    #[must_use]
    pub fn orphans(&self, threshold: Duration) -> Vec<Orphan> {
        self.orphans.list(self.time.now(), threshold)
    }

    /// Publishes what `change` makes of the present picture, in one step.
    fn change<R>(
        &self,
        token: &mut ThreadToken,
        deadline: Deadline,
        change: impl FnOnce(&mut Draft) -> Result<R, TreeError>,
    ) -> Result<R, TreeError> {
        let turn = self.turn.take(token, deadline).ok_or(TreeError::Contended)?;
        let mut draft = Draft::of(&self.snapshot(token));
        let result = change(&mut draft)?;
        draft.collect();
        let snapshot = Arc::new(draft.snapshot.clone());
        // The new picture is in place either way; readers that stay past the deadline free the old one by themselves.
        let old = self.current.replace(token, snapshot, deadline);
        draft.published();
        self.orphans.add(&draft.unlinked, self.time.now());
        drop(turn);
        drop(old);
        Ok(result)
    }
}

impl std::fmt::Debug for PeTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeTree(..)")
    }
}
