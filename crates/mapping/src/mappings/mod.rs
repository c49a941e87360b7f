//! All mappings of one function: who has them, how many there may be, and what its gate has to say to them.

mod following;
mod kernel;
pub(crate) mod list;

use crate::memory::lent::Lent;
use crate::window::{Rules, Trapped, Window};
use crate::{
    Area, MapError, Mapping, MappingLimits, MappingReport, MappingState, Memory, OnDisabled, Pages, Reach,
    Trap, ranks,
};
use following::Follower;
use gate::lock::Leaf;
use gate::{Admission, Deadline, Exclusive, Gate, Handle, Subscription, ThreadToken};
use list::{Given, List, Mapped, Shown, Use};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// All mappings of one function, in one epoch of its gate. Clones are the same mappings.
///
/// # Concurrency
/// One leaf lock for the list, held for a look-up or an insertion. What is done to the mappings is done to a copy of
/// the list; one that is added meanwhile has nothing present, and looks at the gate itself.
#[derive(Clone)]
pub struct Mappings(Arc<Inner>);

struct Inner {
    gate: Gate,
    handle: Handle,
    reach: Arc<dyn Reach>,
    limits: MappingLimits,
    /// Rank: 73, mappings; a leaf. What is listed, what that amounts to, and whether the gate is subscribed to change
    /// together.
    list: Leaf<ranks::Mappings, List>,
    /// A zap that was given up is still to be done.
    zap_owed: AtomicBool,
}

/// What a consumer in this process asks for.
#[derive(Clone)]
pub struct MapRequest {
    /// Who asks, for people.
    pub owner: String,
    /// Region, numbered as vfio numbers them.
    pub region: u32,
    /// The region's memory.
    pub memory: Arc<Memory>,
    /// Offset in the region, in bytes; page-aligned. The caller has checked that the range lies in one area (VF-19).
    pub offset: u64,
    /// Bytes; whole pages.
    pub size: u64,
    /// What accesses meet while the region is disabled.
    pub on_disabled: OnDisabled,
    /// Carries out accesses where the system permits no page faults in user space.
    pub trap: Arc<dyn Trap>,
}

/// Areas of a memory in the hands of another process. Dropping it leaves the memory to that process alone: the device
/// goes on with a copy, and what the other process still has mapped shows all-ones and reaches nothing.
pub struct Shared {
    /// The file to hand over.
    pub file: Arc<OwnedFd>,
    lent: Arc<Lent>,
    mappings: Mappings,
}

impl Mappings {
    /// Of the function behind `gate`, in its present epoch. Costs nothing until something is mapped.
    #[must_use]
    pub fn new(gate: &Gate, reach: Arc<dyn Reach>, limits: MappingLimits) -> Mappings {
        let (gate, handle) = (gate.clone(), gate.handle());
        let (list, zap_owed) = (Leaf::default(), AtomicBool::new(false));
        Mappings(Arc::new(Inner { gate, handle, reach, limits, list, zap_owed }))
    }

    /// Maps a part of a region for a consumer in this process. Its pages appear as they are touched. Where the system
    /// permits no page faults in user space, every access is a call instead, and one warning says so.
    ///
    /// # Errors
    /// [`MapError`]; nothing has changed (MM-I4).
    pub fn map(&self, request: MapRequest) -> Result<Mapping, MapError> {
        let claim = self.claim_range(&request)?;
        request.memory.set_up()?;
        let forgotten = self.0.list.lock().forgotten();
        let pages = kernel::open(&request.memory, request.offset, request.size)?;
        self.list(request, pages, forgotten, claim)
    }

    /// As [`Mappings::map`], with other pages than the kernel's: for a checker. The memory is not touched.
    ///
    /// # Errors
    /// As [`Mappings::map`].
    pub fn map_on(&self, request: MapRequest, pages: Arc<dyn Pages>) -> Result<Mapping, MapError> {
        let claim = self.claim_range(&request)?;
        let forgotten = self.0.list.lock().forgotten();
        self.list(request, Some(pages), forgotten, claim)
    }

    /// As [`Mappings::map`] where the system permits no page faults in user space: every access is a call. The memory
    /// is not touched.
    ///
    /// # Errors
    /// As [`Mappings::map`].
    pub fn map_trapped(&self, request: MapRequest) -> Result<Mapping, MapError> {
        let claim = self.claim_range(&request)?;
        let forgotten = self.0.list.lock().forgotten();
        self.list(request, None, forgotten, claim)
    }

    /// Notes that another process is given the file of `memory`, to map `areas` of it.
    ///
    /// # Errors
    /// [`MapError`]; nothing has changed. [`MapError::System`] with [`io::ErrorKind::ResourceBusy`] while the memory
    /// is being taken out of the hands of the last process that had it; [`Mappings::settle`] waits for that.
    pub fn share(
        &self,
        owner: String,
        region: u32,
        memory: &Arc<Memory>,
        areas: &[Area],
    ) -> Result<Shared, MapError> {
        self.require_present()?;
        let claim = self.claim(Use::Given, Given::bytes(areas))?;
        memory.set_up()?;
        let forgotten = self.0.list.lock().forgotten();
        let lent = Lent::new(memory, areas).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => MapError::Range,
            _ => MapError::System(error),
        })?;
        let lent = Arc::new(lent);
        let (areas, hidden) = (areas.to_vec(), AtomicU64::new(0));
        let given = Arc::new(Given { owner, region, areas, lent: Arc::clone(&lent), hidden });
        let subscription = self.subscribe();
        let mut list = self.0.list.lock();
        // The file would be that of a process that has left. Who leaves is listed until its file is left behind, and
        // who was forgotten since may have been in possession of the one at hand.
        let leaving = |other: &Arc<Given>| other.lent.has_left() && Arc::ptr_eq(other.lent.memory(), memory);
        if list.given().iter().any(leaving) || list.forgotten() != forgotten {
            drop(list);
            return Err(MapError::System(io::ErrorKind::ResourceBusy.into()));
        }
        let spare = list.add_given(given, subscription);
        drop(list);
        drop(spare);
        claim.keep();
        // What has happened before the subscription.
        self.0.tell_keeper();
        let shared = Shared { file: Arc::clone(lent.file()), lent, mappings: self.clone() };
        self.require_present()?;
        Ok(shared)
    }

    /// Whether nothing is mapped in this process. After a change of what [`Reach`] says, this decides whether the gate
    /// has to be closed for a zap.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.list.lock().mapped().is_empty()
    }

    /// Takes every page away from the consumers in this process: the next access of each faults, and waits or fails or
    /// finds what the function is like then. `held` is of this function's gate (MM-I3).
    pub fn zap(&self, held: &impl Exclusive) {
        debug_assert!(self.0.gate.is_held_by(held), "the proof of another function");
        self.0.zap();
    }

    /// Has a thread of its own do what [`Mappings::zap`] does, for who could not close the gate in time (MM-I3). It tries
    /// until it can, or somebody else has zapped.
    pub fn zap_later(&self) {
        self.0.zap_later();
    }

    /// Has the mappings in this process show what the gate admits now, for who has seen a change of it and cannot know
    /// whether they have been told yet.
    pub fn look(&self) {
        self.0.mapped().iter().for_each(|mapped| mapped.look());
    }

    /// Brings back at once what was hidden from other processes by a freeze, for whoever is about to end the freeze.
    /// What fails is tried again once it has ended. Mappings in this process need none of this: they are back when the
    /// gate opens.
    pub fn reveal(&self, held: &impl Exclusive) {
        self.0.reveal(held);
    }

    /// Waits until what the gate's last change asks for has been done in other processes too, and so has what is owed by
    /// [`Mappings::zap_later`].
    ///
    /// # Errors
    /// Not at the deadline.
    pub fn settle(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), NotSettled> {
        self.0.settle(token, deadline)
    }

    /// All mappings, for an operator.
    #[must_use]
    pub fn report(&self) -> Vec<MappingReport> {
        let state = match self.0.handle.admission() {
            Admission::Open | Admission::Blocked => MappingState::Live,
            Admission::Frozen => MappingState::Frozen,
            Admission::Gone => MappingState::Gone,
        };
        let (mapped, given) = (self.0.mapped(), self.0.given());
        let given = given.iter().flat_map(|given| given.reports(state));
        mapped.iter().map(|mapped| mapped.report()).chain(given).collect()
    }

    /// Lists a mapping that has been claimed, and shows what the gate admits. `forgotten` is from before `pages` mapped
    /// the memory's file.
    fn list(
        &self,
        request: MapRequest,
        pages: Option<Arc<dyn Pages>>,
        forgotten: u64,
        claim: Claim<'_>,
    ) -> Result<Mapping, MapError> {
        let MapRequest { owner, region, memory: _, offset, size, on_disabled, trap } = request;
        let (handle, reach) = (self.0.handle.clone(), Arc::clone(&self.0.reach));
        let rules = Rules { handle, reach, region, on_disabled };
        let shown = match pages {
            Some(pages) => Shown::Window(Window::new(rules, pages)),
            None => Shown::Trapped(Trapped::new(rules, trap)),
        };
        let mapped = Arc::new(Mapped { owner, region, offset, size, shown });
        let subscription = self.subscribe();
        let mut list = self.0.list.lock();
        let spare = list.add_mapped(Arc::clone(&mapped), subscription);
        // Another process has the memory, or has left it since: its file may have been exchanged before this was listed.
        let is_exchanged = !list.given().is_empty() || list.forgotten() != forgotten;
        drop(list);
        drop(spare);
        claim.keep();
        if is_exchanged {
            mapped.remap();
        }
        // What has happened before the subscription.
        mapped.look();
        let mapping = Mapping::new(self.clone(), mapped);
        self.require_present()?;
        Ok(mapping)
    }

    /// Takes a mapping out; the last to use it unmaps it.
    pub(crate) fn remove(&self, mapped: &Arc<Mapped>) {
        let taken_out = self.0.list.lock().remove_mapped(mapped);
        drop(taken_out);
    }

    fn subscribe(&self) -> Subscription {
        self.0.handle.subscribe(Follower::of(&self.0))
    }

    fn require_present(&self) -> Result<(), MapError> {
        if self.0.handle.admission() == Admission::Gone { Err(MapError::Gone) } else { Ok(()) }
    }

    fn claim_range(&self, request: &MapRequest) -> Result<Claim<'_>, MapError> {
        let page = rustix::param::page_size() as u64;
        let MapRequest { offset, size, ref memory, .. } = *request;
        let end = offset.checked_add(size);
        let inside =
            memory.size().checked_next_multiple_of(page).zip(end).is_some_and(|(last, end)| end <= last);
        if !inside || size == 0 || !offset.is_multiple_of(page) || !size.is_multiple_of(page) {
            return Err(MapError::Range);
        }
        self.require_present()?;
        self.claim(Use::Mapped, size)
    }

    fn claim(&self, by: Use, bytes: u64) -> Result<Claim<'_>, MapError> {
        self.0.list.lock().claim(&self.0.limits, by, bytes)?;
        Ok(Claim { of: &self.0, by, bytes })
    }
}

impl Inner {
    fn mapped(&self) -> Vec<Arc<Mapped>> {
        self.list.lock().mapped().to_vec()
    }

    fn given(&self) -> Vec<Arc<Given>> {
        self.list.lock().given().to_vec()
    }
}

/// A place within the limits, given back unless it is kept.
struct Claim<'a> {
    of: &'a Inner,
    by: Use,
    bytes: u64,
}

impl Claim<'_> {
    /// From now on the list has it.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.of.list.lock().release(self.by, self.bytes);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.mappings.0.take_back(&self.lent);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("function", &self.mappings.0.gate.name()).finish()
    }
}

impl std::fmt::Debug for Mappings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.0.list.lock().mapped().len();
        f.debug_struct("Mappings").field("function", &self.0.gate.name()).field("mapped", &count).finish()
    }
}

/// What was asked for has not been done in time; it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is mapped has not followed its function's state yet")]
pub struct NotSettled;
