//! Making the tree of PEs like the topology (EEH-05).
//!
//! [`place`] says in which PE a function belongs, as a pure function of a picture of the topology. Following compares that with
//! where functions are, takes out what left or moved, then PEs that have nothing left, and puts in what came. The tree itself is
//! the record of what was followed, so there is nothing beside it that could say something else.
//!
//! A PE is there as long as a function is in it or below it. A card that comes to the place of another one has a new PE, with a
//! budget of its own; one that comes back while its PE is recovered finds the same one (EEH-I6).
//!
//! What this module does **not** do: it looks at no register but those of BARs, and knows nothing of slots.
//!
//! # Concurrency
//! One thread at a time follows, with a gate of its own parked, under which it waits for the tree's turn and for nobody else.
//! Functions are frozen, recovered and torn out meanwhile as anybody likes.

mod changes;
mod place;

pub use place::{Place, place};

use crate::address_cache::{BarRange, Overlap, Space};
use crate::containment::Containment;
use crate::detect::FunctionSentinel;
use crate::pe::{Held, Holder, PeAddress};
use crate::plan::FunctionId;
use crate::tree::{NewPe, PeFunction, Snapshot, TreeError};
use crate::watch::Told;
use changes::{Changes, Present};
use gate::{Closed, Deadline, Reason, ThreadToken};
use pci_core::{ConfigSpace, Sentinel};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use topology::Topology;

/// What following has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Functions that came.
    pub added: usize,
    /// Functions that left.
    pub removed: usize,
    /// PEs that came.
    pub pes_added: usize,
    /// PEs that left.
    pub pes_removed: usize,
    /// Ranges of BARs that another function has, which are not in the address cache (EEH-23).
    pub overlaps: Vec<Overlap>,
    /// Functions that could not be put in, because a recovery still has what was in their place. To be followed again when it has
    /// ended.
    pub deferred: usize,
}

impl Containment {
    /// Makes the tree like `topology` is when it is this caller's turn, which cannot be older than when it was called: so what left before
    /// is not kept by the tree, or by anybody who follows, when this returns. Cheap if it is like that already: a look-up for each
    /// function.
    ///
    /// # Errors
    /// [`TreeError::Contended`] at the deadline; what is missing is done the next time.
    pub fn keep_up(
        &self,
        token: &mut ThreadToken,
        topology: &Topology,
        deadline: Deadline,
    ) -> Result<Followed, TreeError> {
        let _turn = self.following_turn(token, deadline)?;
        let now = topology.snapshot(token);
        self.follow_in_turn(token, &now, deadline)
    }

    /// As [`Containment::keep_up`], for a picture that the caller has.
    ///
    /// # Errors
    /// As there.
    pub fn follow(
        &self,
        token: &mut ThreadToken,
        topology: &topology::Snapshot,
        deadline: Deadline,
    ) -> Result<Followed, TreeError> {
        let _turn = self.following_turn(token, deadline)?;
        self.follow_in_turn(token, topology, deadline)
    }

    fn following_turn(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Closed, TreeError> {
        let turn = self.following.close(token, Reason::OpsSwap, deadline);
        Ok(turn.map_err(|_contended| TreeError::Contended)?.park())
    }

    fn follow_in_turn(
        &self,
        token: &mut ThreadToken,
        topology: &topology::Snapshot,
        deadline: Deadline,
    ) -> Result<Followed, TreeError> {
        let changes = Changes::between(&self.tree().snapshot(token), topology);
        let mut followed = Followed::default();
        if changes.is_empty() {
            return Ok(followed);
        }
        let done = self.apply(token, changes, &mut followed, deadline);
        self.followed();
        done.map(|()| followed)
    }

    fn apply(
        &self,
        token: &mut ThreadToken,
        changes: Changes,
        followed: &mut Followed,
        deadline: Deadline,
    ) -> Result<(), TreeError> {
        let before = self.tree().snapshot(token);
        for function in changes.left {
            self.take_out(token, &function, deadline)?;
            followed.removed += 1;
        }
        followed.pes_removed = self.prune(token, deadline)?;
        for present in changes.came {
            match self.put_in(token, &present, followed, deadline) {
                Ok(()) => followed.added += 1,
                Err(TreeError::Contended) => return Err(TreeError::Contended),
                // The PE that was in its place is being recovered, or failed and is not away yet.
                Err(_) => followed.deferred += 1,
            }
        }
        self.move_along(token, &before, changes.moved, followed, deadline)
    }

    /// Puts PEs below those that they belong below now, if what came did not already. Their functions are as frozen as what is
    /// above them.
    fn move_along(
        &self,
        token: &mut ThreadToken,
        before: &Snapshot,
        moved: Vec<(Arc<PeFunction>, Present)>,
        followed: &mut Followed,
        deadline: Deadline,
    ) -> Result<(), TreeError> {
        if moved.is_empty() {
            return Ok(());
        }
        for (_, present) in &moved {
            match self.ensure(token, &present.place, followed, deadline) {
                Ok(()) => {}
                Err(TreeError::Contended) => return Err(TreeError::Contended),
                // A recovery has it.
                Err(_) => followed.deferred += 1,
            }
        }
        for (function, present) in moved {
            let above = before.up_held(present.place.pe.address, Holder::Lookup).collect::<Vec<_>>();
            self.function_moved(token, &above, &function);
        }
        followed.pes_removed += self.prune(token, deadline)?;
        Ok(())
    }

    fn take_out(
        &self,
        token: &mut ThreadToken,
        function: &Arc<PeFunction>,
        deadline: Deadline,
    ) -> Result<(), TreeError> {
        let snapshot = self.tree().snapshot(token);
        let pe = snapshot.of_function(function.address, Holder::Lookup).map(|(pe, _)| pe.address());
        let above: Vec<Held> = pe.iter().flat_map(|at| snapshot.up_held(*at, Holder::Lookup)).collect();
        drop(snapshot);
        self.tree().remove_function(token, function.address, deadline)?;
        self.function_went(token, &above, function);
        Ok(())
    }

    /// Removes PEs without functions, children before parents. What a recovery has marked stays until that has ended.
    fn prune(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<usize, TreeError> {
        let snapshot = self.tree().snapshot(token);
        let empty = changes::empty_pes(&snapshot);
        drop(snapshot);
        let count = empty.len();
        for address in empty {
            match self.tree().remove(token, address, deadline) {
                // Gone with one above it.
                Ok(_) | Err(TreeError::NoPe(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    fn put_in(
        &self,
        token: &mut ThreadToken,
        present: &Present,
        followed: &mut Followed,
        deadline: Deadline,
    ) -> Result<(), TreeError> {
        self.ensure(token, &present.place, followed, deadline)?;
        let function = &present.node.function;
        // No function has the number of another one, whatever becomes of either (law 5).
        let id = FunctionId(self.next_function.fetch_add(1, Ordering::Relaxed));
        let bars = bars_of(function.config());
        let (address, function) = (present.node.address, function.clone());
        let sentinel = FunctionSentinel::new(&self.detector, address, &function);
        let sentinel: Arc<dyn Sentinel> = Arc::new(sentinel);
        // It has one already if it was here before, which says the same.
        let _first_time = function.watch_errors(sentinel);
        let seated = PeFunction { id, address, function, bars };
        let pe = present.place.pe.address;
        let overlaps = self.tree().add_function(token, pe, seated, deadline)?;
        for overlap in overlaps {
            self.parts().watch.tell(&Told::Overlap(overlap));
            followed.overlaps.push(overlap);
        }
        let found = self.tree().of_function(token, address, Holder::Lookup);
        if let Some((_, function)) = found {
            self.function_came(token, pe, &function);
        }
        Ok(())
    }

    /// Puts in the PE of a function and those above it, as far as they are missing, and moves it if its bus is somewhere else now.
    fn ensure(
        &self,
        token: &mut ThreadToken,
        place: &Place,
        followed: &mut Followed,
        deadline: Deadline,
    ) -> Result<(), TreeError> {
        let snapshot = self.tree().snapshot(token);
        let mut missing: Vec<NewPe> = Vec::new();
        for new in place.chain() {
            // What was in it is still being put away: nothing new comes into it.
            if snapshot.has_failed(new.address) {
                return Err(TreeError::Recovering(new.address));
            }
            if snapshot.find(new.address, Holder::Lookup).is_none() {
                missing.push(*new);
            } else if missing.is_empty() {
                self.keep_below(token, new, deadline)?;
            } else {
                // What it belongs below has to be there first.
                self.put_in_pes(token, std::mem::take(&mut missing), followed, deadline)?;
                self.keep_below(token, new, deadline)?;
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        self.put_in_pes(token, missing, followed, deadline)
    }

    fn put_in_pes(
        &self,
        token: &mut ThreadToken,
        new: Vec<NewPe>,
        followed: &mut Followed,
        deadline: Deadline,
    ) -> Result<(), TreeError> {
        let put_in = self.tree().insert(token, new, deadline)?;
        followed.pes_added += put_in.len();
        let snapshot = self.tree().snapshot(token);
        for pe in &put_in {
            self.pe_came(&snapshot, pe);
        }
        Ok(())
    }

    /// A PE that is there is below the one that it belongs below.
    fn keep_below(&self, token: &mut ThreadToken, new: &NewPe, deadline: Deadline) -> Result<(), TreeError> {
        let Some(parent) = new.parent else { return Ok(()) };
        let above = self.tree().snapshot(token).parent(new.address, Holder::Lookup);
        let above: Option<PeAddress> = above.map(|pe| pe.address());
        if above == Some(parent) {
            return Ok(());
        }
        self.tree().move_below(token, new.address, parent, deadline)
    }
}

/// Where the BARs of a function are. One without an address is nowhere.
fn bars_of(config: &ConfigSpace) -> Vec<BarRange> {
    let ranges = config.bars().iter().filter_map(|bar| {
        let first = config.bar_address(bar.index).filter(|first| *first != 0)?;
        let space = if bar.kind.is_memory() { Space::Memory } else { Space::Io };
        Some(BarRange { space, first, last: first.checked_add(bar.size.checked_sub(1)?)? })
    });
    ranges.collect()
}
