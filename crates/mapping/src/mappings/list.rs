//! Which mappings and shares a function has, and what they amount to.

use crate::account::Account;
use crate::memory::lent::Lent;
use crate::window::{Trapped, Window};
use crate::{Area, Holds, MapError, MappingLimits, MappingReport, MappingState};
use gate::Subscription;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A consumer's mapping in this process, as its function lists it.
pub(crate) struct Mapped {
    pub(crate) owner: String,
    pub(crate) region: u32,
    /// In the region, in bytes.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) shown: Shown,
}

/// How a consumer's accesses get through.
pub(crate) enum Shown {
    Window(Arc<Window>),
    Trapped(Trapped),
}

/// What another process was given, as its function lists it: until it has left *and* its file has been seen to.
pub(super) struct Given {
    pub(super) owner: String,
    pub(super) region: u32,
    pub(super) areas: Vec<Area>,
    pub(super) lent: Arc<Lent>,
    /// Times it was hidden.
    pub(super) hidden: AtomicU64,
}

impl Mapped {
    /// Shows what the gate admits.
    pub(super) fn look(&self) {
        match &self.shown {
            Shown::Window(window) => window.look(),
            Shown::Trapped(trapped) => trapped.look(),
        }
    }

    /// Takes the pages away.
    pub(super) fn zap(&self) {
        match &self.shown {
            Shown::Window(window) => window.zap(),
            Shown::Trapped(trapped) => trapped.zap(),
        }
    }

    /// Maps the file anew, which may be another one.
    pub(super) fn remap(&self) {
        match &self.shown {
            Shown::Window(window) => window.remap(),
            Shown::Trapped(_) => {}
        }
    }

    pub(crate) fn report(&self) -> MappingReport {
        let account = match &self.shown {
            Shown::Window(window) => window.account(),
            Shown::Trapped(trapped) => trapped.account(),
        };
        let Mapped { ref owner, region, offset, size, .. } = *self;
        account.report(owner.clone(), region, Area { offset, size, holds: Holds::Data })
    }
}

impl Given {
    /// Bytes that it counts for.
    pub(super) fn bytes(areas: &[Area]) -> u64 {
        areas.iter().fold(0, |sum, area| sum.saturating_add(area.size))
    }

    /// One for each area.
    pub(super) fn reports(&self, state: MappingState) -> impl Iterator<Item = MappingReport> {
        let zaps = self.hidden.load(Ordering::Relaxed);
        let report = move |area: &Area| {
            Account { state, faults: 0, zaps, parked: false }.report(self.owner.clone(), self.region, *area)
        };
        self.areas.iter().map(report).map(|report| MappingReport { shared: true, ..report })
    }
}

/// What a limit is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// By a consumer in this process.
    Mapped,
    /// By another process.
    Given,
}

/// All mappings and shares of one function.
#[derive(Default)]
pub(super) struct List {
    mapped: Vec<Arc<Mapped>>,
    given: Vec<Arc<Given>>,
    /// What is listed, and what is being set up.
    count: usize,
    mapped_bytes: u64,
    given_bytes: u64,
    /// How many were ever taken out of `given`.
    forgotten: u64,
    /// There as long as anything is listed.
    subscription: Option<Subscription>,
}

/// What was taken out of a list. To be dropped with the lock let go: destructors are foreign code.
#[must_use = "to be dropped without the lock"]
pub(super) struct TakenOut<T> {
    _item: Option<Arc<T>>,
    _subscription: Option<Subscription>,
}

impl List {
    /// Counts one more of so many bytes, if the limits permit.
    ///
    /// # Errors
    /// [`MapError::Limit`]; nothing has changed.
    pub(super) fn claim(&mut self, limits: &MappingLimits, by: Use, bytes: u64) -> Result<(), MapError> {
        let exceeded = |what, limit| Err(MapError::Limit { what, limit });
        if self.count >= limits.mappings {
            return exceeded("mappings", limits.mappings as u64);
        }
        let (used, limit, what) = match by {
            Use::Mapped => (&mut self.mapped_bytes, limits.bytes, "bytes"),
            Use::Given => (&mut self.given_bytes, limits.shared_bytes, "bytes by another process"),
        };
        match used.checked_add(bytes).filter(|sum| *sum <= limit) {
            Some(sum) => *used = sum,
            None => return exceeded(what, limit),
        }
        self.count += 1;
        Ok(())
    }

    /// Takes back one [`List::claim`].
    pub(super) fn release(&mut self, by: Use, bytes: u64) {
        let used = match by {
            Use::Mapped => &mut self.mapped_bytes,
            Use::Given => &mut self.given_bytes,
        };
        *used = used.saturating_sub(bytes);
        self.count = self.count.saturating_sub(1);
    }

    /// Lists what was claimed. `subscription` is for the case that there is none; one that is left over comes back.
    pub(super) fn add_mapped(
        &mut self,
        mapped: Arc<Mapped>,
        subscription: Subscription,
    ) -> Option<Subscription> {
        self.mapped.push(mapped);
        self.keep(subscription)
    }

    /// As [`List::add_mapped`].
    pub(super) fn add_given(
        &mut self,
        given: Arc<Given>,
        subscription: Subscription,
    ) -> Option<Subscription> {
        self.given.push(given);
        self.keep(subscription)
    }

    fn keep(&mut self, subscription: Subscription) -> Option<Subscription> {
        match self.subscription {
            Some(_) => Some(subscription),
            None => self.subscription.replace(subscription),
        }
    }

    pub(super) fn remove_mapped(&mut self, mapped: &Arc<Mapped>) -> TakenOut<Mapped> {
        let at = self.mapped.iter().position(|listed| Arc::ptr_eq(listed, mapped));
        let item = at.map(|at| self.mapped.swap_remove(at));
        if let Some(mapped) = &item {
            self.release(Use::Mapped, mapped.size);
        }
        TakenOut { _item: item, _subscription: self.end_if_empty() }
    }

    pub(super) fn remove_given(&mut self, lent: &Arc<Lent>) -> TakenOut<Given> {
        let at = self.given.iter().position(|listed| Arc::ptr_eq(&listed.lent, lent));
        let item = at.map(|at| self.given.swap_remove(at));
        if let Some(given) = &item {
            self.release(Use::Given, Given::bytes(&given.areas));
            self.forgotten += 1;
        }
        TakenOut { _item: item, _subscription: self.end_if_empty() }
    }

    fn end_if_empty(&mut self) -> Option<Subscription> {
        if self.mapped.is_empty() && self.given.is_empty() { self.subscription.take() } else { None }
    }

    pub(super) fn mapped(&self) -> &[Arc<Mapped>] {
        &self.mapped
    }

    pub(super) fn given(&self) -> &[Arc<Given>] {
        &self.given
    }

    /// Changes whenever one of [`List::given`] is taken out.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MappingLimits = MappingLimits { mappings: 3, bytes: 100, shared_bytes: 50 };

    fn limit(refused: Result<(), MapError>) -> Option<(&'static str, u64)> {
        match refused {
            Err(MapError::Limit { what, limit }) => Some((what, limit)),
            _ => None,
        }
    }

    #[test]
    fn each_limit_refuses_what_is_beyond_it_and_changes_nothing() {
        let mut list = List::default();
        assert!(list.claim(&LIMITS, Use::Mapped, 100).is_ok());
        assert_eq!(limit(list.claim(&LIMITS, Use::Mapped, 1)), Some(("bytes", 100)));
        assert_eq!(limit(list.claim(&LIMITS, Use::Given, 51)), Some(("bytes by another process", 50)));
        assert!(list.claim(&LIMITS, Use::Given, 50).is_ok());
        assert!(list.claim(&LIMITS, Use::Given, 0).is_ok());
        assert_eq!(limit(list.claim(&LIMITS, Use::Mapped, 0)), Some(("mappings", 3)));
    }

    #[test]
    fn what_was_released_can_be_claimed_again() {
        let mut list = List::default();
        for _ in 0..2 * LIMITS.mappings {
            assert!(list.claim(&LIMITS, Use::Mapped, 100).is_ok());
            list.release(Use::Mapped, 100);
        }
    }

    #[test]
    fn a_sum_that_overflows_is_beyond_the_limit() {
        let limits = MappingLimits { bytes: u64::MAX, ..LIMITS };
        let mut list = List::default();
        assert!(list.claim(&limits, Use::Mapped, u64::MAX).is_ok());
        assert_eq!(limit(list.claim(&limits, Use::Mapped, 1)), Some(("bytes", u64::MAX)));
    }
}
