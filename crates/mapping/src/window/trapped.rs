//! A mapping that is none: every access is a call through the gate.

use super::changes::Changes;
use super::{Rules, Trap};
use crate::account::Account;
use crate::{MappingError, MappingState, OnDisabled};
use gate::{Admission, Deadline, ThreadToken};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What stands in for a window where the system permits no page faults in user space.
///
/// An access waits at the gate like any other access of a region. If the region is disabled and the access is to wait,
/// it waits here for the gate to reopen, which follows every change of what can be reached.
pub(crate) struct Trapped {
    rules: Rules,
    trap: Arc<dyn Trap>,
    changes: Changes,
    zaps: AtomicU64,
}

impl Trapped {
    pub(crate) fn new(rules: Rules, trap: Arc<dyn Trap>) -> Trapped {
        Trapped { rules, trap, changes: Changes::default(), zaps: AtomicU64::new(0) }
    }

    /// Has those who wait look again; they find what the function is like by trying.
    pub(crate) fn look(&self) {
        self.changes.note();
    }

    /// There is nothing to take away. Those who wait look again when the gate reopens.
    pub(crate) fn zap(&self) {
        self.zaps.fetch_add(1, Ordering::Relaxed);
    }

    /// What an operator is shown.
    pub(crate) fn account(&self) -> Account {
        let state = match self.rules.handle.admission() {
            Admission::Open | Admission::Blocked => MappingState::Trapped,
            Admission::Frozen => MappingState::Frozen,
            Admission::Gone => MappingState::Gone,
        };
        let zaps = self.zaps.load(Ordering::Relaxed);
        Account { state, faults: 0, zaps, parked: self.changes.anybody_waits() }
    }

    /// Reads `data.len()` bytes at `offset` in the region.
    pub(crate) fn read(
        &self,
        token: &mut ThreadToken,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), MappingError> {
        self.access(token, |token, until| self.trap.read(token, self.rules.region, offset, data, until))
    }

    /// Writes `data` at `offset` in the region.
    pub(crate) fn write(
        &self,
        token: &mut ThreadToken,
        offset: u64,
        data: &[u8],
    ) -> Result<(), MappingError> {
        self.access(token, |token, until| self.trap.write(token, self.rules.region, offset, data, until))
    }

    /// Tries once, or until the region can be reached if that is the policy.
    fn access(
        &self,
        token: &mut ThreadToken,
        mut attempt: impl FnMut(&mut ThreadToken, Deadline) -> Result<(), MappingError>,
    ) -> Result<(), MappingError> {
        let mut patience = None;
        loop {
            // Before the attempt, so that a change during it is not missed.
            let moment = self.changes.now();
            let result = attempt(token, Deadline::after(super::parking::CLOSED));
            match self.rules.handle.admission() {
                Admission::Open | Admission::Blocked => {}
                Admission::Frozen => return Err(MappingError::Frozen),
                Admission::Gone => return Err(MappingError::Gone),
            }
            match (result, self.rules.on_disabled) {
                (Err(MappingError::Disabled), OnDisabled::Wait(limit)) => {
                    let until = *patience.get_or_insert_with(|| Deadline::after(limit));
                    self.changes.wait(token, moment, until)?;
                }
                (result, _) => return result,
            }
        }
    }
}
