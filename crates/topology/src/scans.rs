//! Who scans which part of a segment, and the addresses that scans have given.
//!
//! A scan has a *claim* to its part for as long as it lasts. Claims to parts that lie apart know nothing of each other, so
//! two slots of one segment are scanned at the same time. A scan of the whole segment waits, to its deadline, for those
//! under way, and others wait for it; before it has begun it holds nobody up, so that no slot waits for another by way of it.
//!
//! Each claim has a gate of its own, closed as long as the claim lasts: whoever wants an overlapping part waits there, which
//! `portcullis locks` shows, and retiring it ends the waits of the scan.
//!
//! # Concurrency
//! One lock, a leaf: claims and addresses change together, and a device beside others on a bus is given what those
//! have not. No atomic covers that. It is held for look-ups and for placing what is on one bus, never for an access to a
//! register.

use crate::TopologyError;
use crate::enumerate::Assignments;
use crate::ranks;
use gate::lock::Leaf;
use gate::{CloseError, Closed, Deadline, Gate, Reason, ThreadToken};
use pci_core::mechanism::BusRange;
use pci_spec::Bdf;

/// A part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub(crate) segment: u16,
    /// Whole buses.
    pub(crate) buses: Vec<BusRange>,
    /// One device of a bus: bus and device number.
    pub(crate) device: Option<(u8, u8)>,
}

impl Area {
    fn has_bus(&self, bus: u8) -> bool {
        self.buses.iter().any(|range| range.contains(bus))
    }

    pub(crate) fn overlaps(&self, other: &Area) -> bool {
        let within = |device: Option<(u8, u8)>, area: &Area| device.is_some_and(|(bus, _)| area.has_bus(bus));
        let apart = |one: &BusRange, other: &BusRange| one.last < other.first || other.last < one.first;
        self.buses.iter().any(|one| other.buses.iter().any(|other| !apart(one, other)))
            || within(self.device, other)
            || within(other.device, self)
            || self.device.is_some() && self.device == other.device
    }

    /// Whether a function at this address belongs to it.
    pub(crate) fn contains(&self, at: Bdf) -> bool {
        self.has_bus(at.bus()) || self.device == Some((at.bus(), at.device()))
    }
}

/// The scans of one segment; see the module's head.
pub(crate) struct Scans {
    segment: u16,
    /// Rank: 69, segment scans; a leaf. A copy or a placement on one bus; nobody is called.
    state: Leaf<ranks::Scans, State>,
}

#[derive(Default)]
struct State {
    claims: Vec<(Area, Gate)>,
    assigned: Assignments,
    /// The segment was removed.
    ended: bool,
}

impl Scans {
    pub(crate) fn new(segment: u16) -> Scans {
        Scans { segment, state: Leaf::default() }
    }

    /// Claims what `area` says, which is asked again whenever others may have changed the answer. It sees the addresses
    /// given so far and the areas of others, and may name buses of its area that are free for new bridges.
    ///
    /// # Errors
    /// [`TopologyError::Contended`] at the deadline, [`TopologyError::Ended`].
    pub(crate) fn claim(
        &self,
        token: &mut ThreadToken,
        deadline: Deadline,
        area: impl Fn(&Assignments, &[(Area, Gate)]) -> (Area, Option<BusRange>),
    ) -> Result<Claim<'_>, TopologyError> {
        loop {
            let gate = Gate::new(format!("segment {:04x}: scan", self.segment));
            let turn =
                gate.close(token, Reason::OpsSwap, deadline).map_err(|error| self.contended(error))?.park();
            let other = {
                let mut state = self.state.lock();
                if state.ended {
                    return Err(TopologyError::Ended(self.segment));
                }
                let (area, spare) = area(&state.assigned, &state.claims);
                let other = state.claims.iter().find(|(other, _)| other.overlaps(&area));
                match other.map(|(_, gate)| gate.clone()) {
                    Some(other) => other,
                    None => {
                        state.claims.push((area.clone(), gate));
                        return Ok(Claim { scans: self, area, spare, turn });
                    }
                }
            };
            // Nobody knows this one, and nothing is to be held where another is waited for.
            drop(turn);
            // At the deadline this fails, so the next round, which may find yet another in the way, is the last.
            let _left =
                other.close(token, Reason::OpsSwap, deadline).map_err(|error| self.contended(error))?;
            if deadline.remaining().is_none() {
                return Err(TopologyError::Contended(CloseError::Contended {
                    holder: Some(Reason::OpsSwap),
                }));
            }
        }
    }

    /// Lets nobody claim anything any more, and ends the waits of the scans under way; waits to the deadline for those.
    pub(crate) fn end(&self, token: &mut ThreadToken, deadline: Deadline) {
        let gates: Vec<Gate> = {
            let mut state = self.state.lock();
            state.ended = true;
            state.claims.iter().map(|(_, gate)| gate.clone()).collect()
        };
        for gate in gates {
            let _scan_that_ends_now = gate.retire(token, deadline);
        }
    }

    fn contended(&self, error: CloseError) -> TopologyError {
        match error {
            CloseError::Gone => TopologyError::Ended(self.segment),
            error => TopologyError::Contended(error),
        }
    }
}

/// A part of a segment that nobody else scans.
pub(crate) struct Claim<'a> {
    scans: &'a Scans,
    pub(crate) area: Area,
    /// Buses of the area that nobody uses.
    pub(crate) spare: Option<BusRange>,
    /// Gone when the segment is removed. Reopens after the claim has left the list.
    pub(crate) turn: Closed,
}

impl Claim<'_> {
    /// The addresses given within the part.
    pub(crate) fn assigned(&self) -> Assignments {
        self.scans.state.lock().assigned.copy(&self.area)
    }

    /// Looks at all addresses given, or changes them. Nothing is waited for and nobody called in `look`.
    pub(crate) fn all_assigned<R>(&self, look: impl FnOnce(&mut Assignments) -> R) -> R {
        look(&mut self.scans.state.lock().assigned)
    }

    /// Keeps what was given within the part, in place of what was before.
    pub(crate) fn keep(&self, assigned: Assignments) {
        let old = self.scans.state.lock().assigned.replace(&self.area, assigned);
        drop(old);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let turn = &self.turn;
        let left = {
            let mut state = self.scans.state.lock();
            let index = state.claims.iter().position(|(_, gate)| turn.is_of(gate));
            index.map(|index| state.claims.swap_remove(index))
        };
        drop(left);
    }
}
