//! Enumeration: finds the functions behind a host bridge as an operating system does, and gives bridges their bus numbers
//! and functions their addresses.
//!
//! Buses are walked depth first. Bus numbers that are there already and nest properly are kept, so that what firmware or
//! an earlier scan has decided stays; other bridges get numbers after those. A function that is new is sized and given
//! addresses; one that is known keeps its own, since somebody may be using it.
//!
//! Whatever goes wrong concerns one function and is a [`Problem`] in the result: the rest is found all the same.
//!
//! What it does **not** do: it switches no function on (whoever drives it does that), reserves no bus numbers or addresses
//! for what may be plugged in later, and moves nothing that has its place.
//!
//! Concurrency: none of its own. One scan of a segment at a time, under the segment's turn; accesses to the functions go
//! on meanwhile.

mod access;
mod allocate;
mod resources;
mod scan;
mod space;

pub(crate) use allocate::Assignments;
pub use space::{Range, Space, Windows};

use access::Access;
use gate::ThreadToken;
use pci_core::mechanism::HostBridge;
use pci_core::{Function, StaysClosed, Time};
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
}

/// The buses below a bridge that was found.
#[derive(Debug, Default)]
pub(crate) struct FoundBridge {
    /// 0 if it got none.
    pub(crate) secondary: u8,
    pub(crate) subordinate: u8,
    pub(crate) hot_plug: bool,
    pub(crate) below: Vec<Found>,
}

/// What a scan has to know.
pub(crate) struct Request<'a> {
    pub(crate) bridge: &'a HostBridge,
    pub(crate) windows: &'a Windows,
    pub(crate) time: &'a dyn Time,
    pub(crate) turn: &'a dyn StaysClosed,
}

/// What a scan has found.
pub(crate) struct Outcome {
    pub(crate) found: Vec<Found>,
    pub(crate) problems: Vec<Problem>,
    /// Functions whose memory was switched off and on again: what is mapped of them has to be taken away.
    pub(crate) redecoded: BTreeSet<Bdf>,
}

/// Scans all buses behind a host bridge. `assigned` has the addresses given so far and gets the new ones; `is_known` says
/// which functions are the same as then. `None` if the scan was ended by retiring its turn.
pub(crate) fn scan(
    token: &mut ThreadToken,
    request: &Request<'_>,
    assigned: &mut Assignments,
    is_known: impl Fn(Bdf) -> bool,
) -> Option<Outcome> {
    let Request { bridge, windows, time, turn } = *request;
    let mut access = Access { bridge, token, time, turn, redecoded: RefCell::default() };
    let mut scan = scan::Scan::new(&mut access);
    let found = scan.root()?;
    let mut problems = scan.problems;
    assigned.keep(&found, is_known);
    let wanted = resources::wanted(&access, &found, assigned);
    allocate::allocate(&access, windows, &found, wanted, assigned, &mut problems);
    Some(Outcome { found, problems, redecoded: access.redecoded.into_inner() })
}
