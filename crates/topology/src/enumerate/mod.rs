//! Enumeration: finds the functions behind a host bridge as an operating system does, and gives bridges their bus numbers
//! and functions their addresses.
//!
//! Buses are walked depth first. Bus numbers that are there already and nest properly are kept, so that what firmware or
//! an earlier scan has decided stays; other bridges get numbers after those. A function that is new is sized and given
//! addresses; one that is known keeps its own, since somebody may be using it.
//!
//! Whatever goes wrong concerns one function and is a [`Problem`] in the result: the rest is found all the same.
//!
//! A part of a segment is scanned by itself: all that is below one bridge, within the buses and windows that it has, or
//! one device beside others. So that there is room, bridges whose devices come and go get a [`Reserve`].
//!
//! What it does **not** do: it switches no function on (whoever drives it does that), and moves nothing that has its place.
//!
//! Concurrency: none of its own. Scans have claims to their parts (`scans`); accesses to the functions go on meanwhile.

mod access;
mod allocate;
mod assigned;
mod program;
mod resources;
mod scan;
mod space;

pub(crate) use assigned::Assignments;
pub use space::{Range, Reserve, Space, Windows};

use crate::scans::Claim;
use access::Access;
use allocate::Allocation;
use gate::ThreadToken;
use pci_core::mechanism::{BusRange, HostBridge};
use pci_core::{Function, Time};
use pci_spec::Bdf;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error;

/// Who knows the functions that a scan finds: emulated hardware, or whoever drives the real one.
pub trait Functions: Send + Sync {
    /// The function at an address; `None` if nobody drives what is there.
    fn function(&self, at: Bdf) -> Option<Arc<Function>>;

    /// Puts the virtual functions of `physical` behind it, in place of those before. False if they cannot be put there.
    fn set_virtual_functions(&self, physical: &Arc<Function>, functions: Vec<Arc<Function>>) -> bool;
}

impl Functions for crate::fabric::Fabric {
    fn function(&self, at: Bdf) -> Option<Arc<Function>> {
        crate::fabric::Fabric::function(self, at)
    }

    fn set_virtual_functions(&self, physical: &Arc<Function>, functions: Vec<Arc<Function>>) -> bool {
        crate::fabric::Fabric::set_virtual_functions(self, physical, functions).is_some()
    }
}

/// What one function or bridge does not have after a scan, and why.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// It asked to be tried again later until it counted as broken.
    #[error("{0}: not ready after 65 s; giving up")]
    NotReady(Bdf),
    /// The layout of its header is none that there is.
    #[error("{at}: unknown header type {layout:#04x}, ignoring the function")]
    HeaderType {
        /// Where it is.
        at: Bdf,
        /// The layout in its header type register.
        layout: u8,
    },
    /// Its ARI capability names a next function that is not after it.
    #[error("{0}: the next ARI function is not after this one, ignoring what follows")]
    AriChain(Bdf),
    /// No bus number is left for what is below it.
    #[error("{0}: no bus number left for what is below the bridge; it stays unreachable")]
    NoBus(Bdf),
    /// Its window or the bridge's has no room.
    #[error("{at}: no room for {size:#x} bytes of {space}; enlarge the window of the bridge above")]
    NoSpace {
        /// The function.
        at: Bdf,
        /// The address space.
        space: Space,
        /// Bytes that are missing.
        size: u64,
    },
    /// What is in a slot needs more than the bridge above has for it.
    #[error(
        "{at}: needs {size:#x} bytes of {space}, and the slot below {bridge} has {window:#x}; enlarge the reserve of the \
         segment, or scan the whole segment with nothing else below that bridge"
    )]
    BeyondReserve {
        /// The function.
        at: Bdf,
        /// The bridge above.
        bridge: Bdf,
        /// The address space.
        space: Space,
        /// Bytes that are needed.
        size: u64,
        /// Bytes of the bridge's window.
        window: u64,
    },
    /// The bridge does not lead to the buses that the picture shows: it was reset, or is gone.
    #[error("{0}: the bridge does not lead to its buses now; restore it or scan the whole segment")]
    NotRouted(Bdf),
    /// What consumers have mapped was not taken away in time after its memory was switched off to size it; see
    /// [`pci_core::AccessError::StillMapped`].
    #[error("{0}: what is mapped of it was not taken away in time")]
    StillMapped(Bdf),
    /// Somebody answers there, but nobody drives it.
    #[error("{0}: nobody drives this function")]
    NotDriven(Bdf),
}

/// A function or bridge that was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) at: Bdf,
    /// What is below, if it is a bridge.
    pub(crate) bridge: Option<FoundBridge>,
    /// The last bus of virtual functions, if that is not the function's own.
    pub(crate) reach: Option<u8>,
}

impl Found {
    /// The buses that it takes up besides its own.
    fn buses(&self) -> Option<BusRange> {
        match &self.bridge {
            Some(bridge) => Some(BusRange { first: bridge.secondary, last: bridge.subordinate }),
            None => Some(BusRange { first: self.at.bus().checked_add(1)?, last: self.reach? }),
        }
        .filter(|buses| buses.first > self.at.bus())
    }
}

/// The buses below a bridge that was found.
#[derive(Debug, Default)]
pub(crate) struct FoundBridge {
    /// 0 if it got none.
    pub(crate) secondary: u8,
    pub(crate) subordinate: u8,
    pub(crate) hot_plug: bool,
    /// Devices below come and go.
    pub(crate) reserves: bool,
    pub(crate) below: Vec<Found>,
}

/// What of a segment is scanned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// Everything behind the host bridge.
    All,
    /// What is below a bridge, which has these bus numbers.
    Below {
        /// The bridge.
        bridge: Bdf,
        /// The buses that it leads to.
        buses: BusRange,
    },
    /// One device of a bus that is no link.
    Device {
        /// The bus.
        bus: u8,
        /// The device number.
        device: u8,
        /// The bridge above; `None` on the root bus.
        above: Option<Bdf>,
    },
}

/// What a scan has to know.
pub(crate) struct Request<'a> {
    pub(crate) bridge: &'a HostBridge,
    pub(crate) windows: &'a Windows,
    pub(crate) reserve: &'a Reserve,
    pub(crate) time: &'a dyn Time,
    pub(crate) claim: &'a Claim<'a>,
    pub(crate) part: Part,
}

/// What a scan has found.
pub(crate) struct Outcome {
    pub(crate) found: Vec<Found>,
    pub(crate) problems: Vec<Problem>,
    /// Functions whose memory was switched off and on again: what is mapped of them has to be taken away.
    pub(crate) redecoded: BTreeSet<Bdf>,
}

/// Scans a part of what is behind a host bridge. The claim has the addresses given so far and gets the new ones; `is_known`
/// says which functions are the same as then. `None` if the scan was ended by retiring its claim.
pub(crate) fn scan(
    token: &mut ThreadToken,
    request: &Request<'_>,
    is_known: impl Fn(Bdf) -> bool,
) -> Option<Outcome> {
    let Request { bridge, reserve, time, claim, part, .. } = *request;
    let mut access = Access { bridge, token, time, turn: &claim.turn, redecoded: RefCell::default() };
    let mut scan = scan::Scan::new(&mut access, reserve.buses);
    let found = match part {
        Part::All => scan.root(),
        Part::Below { bridge, buses } => scan.subtree(bridge, buses),
        Part::Device { bus, device, .. } => scan.device(bus, device, &claim.area.buses, claim.spare),
    }?;
    let mut problems = scan.problems;
    let mut assigned = claim.assigned();
    assigned.keep(&found, is_known);
    let wanted = resources::wanted(&access, &found, &assigned);
    assigned.add(wanted);
    assigned.number(&found);
    let mut allocation =
        Allocation { assigned: &mut assigned, reserve, problems: Vec::new(), writes: Vec::new() };
    place(&mut allocation, request, &found);
    let Allocation { problems: without_place, writes, .. } = allocation;
    problems.extend(without_place);
    for write in writes {
        write.carry_out(&access);
    }
    claim.keep(assigned);
    Some(Outcome { found, problems, redecoded: access.redecoded.into_inner() })
}

/// Gives addresses to what has none.
fn place(allocation: &mut Allocation<'_>, request: &Request<'_>, found: &[Found]) {
    let Request { claim, windows, part, .. } = *request;
    let all = Space::ALL.map(|space| Some(windows.get(space)));
    match part {
        Part::All => allocation.bus(found, all),
        Part::Below { bridge, buses } => {
            let windows = claim.all_assigned(|assigned| assigned.windows(bridge));
            allocation.bus(found, windows);
            for problem in &mut allocation.problems {
                if let Problem::NoSpace { at, space, size } = *problem
                    && at.bus() == buses.first
                {
                    let window = windows.get(space as usize).copied().flatten().map_or(0, Range::size);
                    *problem = Problem::BeyondReserve { at, bridge, space, size, window };
                }
            }
        }
        Part::Device { bus, above, .. } => {
            claim.all_assigned(|assigned| {
                let windows = above.map_or(all, |above| assigned.windows(above));
                let others = assigned.beside(&claim.area, bus);
                allocation.on_bus(found, windows, &others.ranges);
                assigned.reserve_on(bus, allocation.assigned);
            });
            allocation.below(found);
        }
    }
}
