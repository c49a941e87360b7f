//! The process's mappings, shared fairly between its functions.
//!
//! The kernel bounds the mappings of a process (`vm.max_map_count`, 65,530 by default). A few clients that use up all
//! that their own limits allow would make everybody's `mmap` fail: other clients', the allocator's, a new thread's. So
//! client memory may take half of that number, and half of this half is divided evenly: every function can always
//! have its *share*. The other half of it goes to whoever comes first.
//!
//! A share shrinks as functions are added, and what others took before stays theirs; a function that is made while
//! everything is in use waits for a client to leave.
//!
//! # Concurrency
//! Two atomic counts; the total is exact. The requests of one consumer may come from several threads, and then a few
//! more may pass as within its share.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use crate::error::{Errno, RequestError};

/// What the kernel allows a process unless it is set otherwise.
const DEFAULT_MAX_MAP_COUNT: usize = 65_530;

/// The mappings of client memory that a process may have.
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    shares: AtomicUsize,
}

/// One function's part of a budget.
pub(crate) struct Share {
    budget: Arc<Budget>,
    used: AtomicUsize,
}

/// Leave for one mapping, given back by dropping it.
pub(crate) struct Claim {
    share: Arc<Share>,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Budget> {
        Arc::new(Budget { limit, used: AtomicUsize::new(0), shares: AtomicUsize::new(0) })
    }

    /// This process's: half of what the kernel allows, read once.
    pub(crate) fn of_process() -> Arc<Budget> {
        static PROCESS: LazyLock<Arc<Budget>> = LazyLock::new(|| {
            let allowed = fs::read_to_string("/proc/sys/vm/max_map_count");
            let allowed = allowed.ok().and_then(|text| text.trim().parse().ok());
            Budget::new(allowed.unwrap_or(DEFAULT_MAX_MAP_COUNT) / 2)
        });
        Arc::clone(&PROCESS)
    }

    /// A part for one function more.
    pub(crate) fn share(self: &Arc<Self>) -> Arc<Share> {
        self.shares.fetch_add(1, Ordering::Relaxed);
        Arc::new(Share { budget: Arc::clone(self), used: AtomicUsize::new(0) })
    }
}

impl Share {
    /// Leave for one mapping more.
    ///
    /// # Errors
    /// ENOSPC: the process has no mapping left, or none for those who have had their share.
    pub(crate) fn claim(self: &Arc<Self>) -> Result<Claim, RequestError> {
        let Budget { limit, used, shares } = &*self.budget;
        let reserved = limit / 2;
        let own = reserved / shares.load(Ordering::Relaxed).max(1);
        let bound = if self.used.load(Ordering::Relaxed) < own { *limit } else { limit - reserved };
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used < bound).then_some(used + 1))
            .map_err(|_| {
                RequestError::new(Errno::ENOSPC, "the process has no mapping left for this function")
            })?;
        self.used.fetch_add(1, Ordering::Relaxed);
        Ok(Claim { share: Arc::clone(self) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.shares.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.share.used.fetch_sub(1, Ordering::Relaxed);
        self.share.budget.used.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::{DmaMap, DmaMapFlags, DmaMapRequest};
    use crate::{Limits, Port};
    use gate::{Deadline, Gate, ThreadToken};
    use pci_core::{ConfigSpace, Identity};
    use std::time::Duration;

    fn config() -> Arc<ConfigSpace> {
        Arc::new(ConfigSpace::builder(Identity::new(1, 1, pci_spec::ClassCode::NVME)).build().unwrap())
    }

    fn map_page(map: &DmaMap, token: &mut ThreadToken, iova: u64, memory: bool) -> Result<(), RequestError> {
        let fd = memory.then(|| {
            let fd = rustix::fs::memfd_create("budget", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            rustix::fs::ftruncate(&fd, 4096).unwrap();
            fd
        });
        let request = DmaMapRequest { flags: DmaMapFlags(3), offset: 0, iova, size: 4096, fd };
        map.map(token, request, &Limits::default(), Deadline::after(Duration::from_secs(20)))
    }

    #[test]
    fn hostile_clients_of_sixteen_functions_cannot_use_up_the_process() {
        let mut token = ThreadToken::at_thread_entry();
        let budget = Budget::new(320);
        let maps: Vec<_> = (0..16).map(|_| DmaMap::new(&Gate::new("greedy"), config(), &budget)).collect();
        let mut made = 0;
        for (nth, map) in maps.iter().enumerate() {
            let mut iova = 0;
            let refused = loop {
                match map_page(map, &mut token, iova, true) {
                    Ok(()) => iova += 4096,
                    Err(error) => break error,
                }
            };
            assert_eq!(refused.errno, Errno::ENOSPC);
            assert_eq!(map.usage(&mut token).0, if nth == 0 { 160 } else { 10 }, "function {nth}");
            // A range without memory takes none of the process's mappings.
            map_page(map, &mut token, iova, false).unwrap();
            made += map.usage(&mut token).0 - 1;
        }
        assert_eq!((made, budget.used.load(Ordering::Relaxed)), (310, 310));
        for map in &maps {
            let deadline = Deadline::after(Duration::from_secs(20));
            assert!(map.unmap(&mut token, None, deadline).unwrap().is_clean());
        }
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
        drop(maps);
        assert_eq!(budget.shares.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_ports_mappings_count_for_the_process() {
        let mut token = ThreadToken::at_thread_entry();
        let port = Port::new(&Gate::new("counted"), config(), Arc::new(()));
        map_page(port.dma(), &mut token, 0, true).unwrap();
        assert_ne!(Budget::of_process().used.load(Ordering::Relaxed), 0);
    }

    /// Claims until refused, at most `most`.
    fn take(share: &Arc<Share>, most: usize) -> Vec<Claim> {
        std::iter::from_fn(|| share.claim().ok()).take(most).collect()
    }

    #[test]
    fn sixteen_greedy_functions_leave_the_seventeenth_its_share() {
        let budget = Budget::new(1000);
        let shares: Vec<_> = (0..17).map(|_| budget.share()).collect();
        let (modest, greedy) = shares.split_last().unwrap();
        let taken: Vec<_> = greedy.iter().map(|share| take(share, usize::MAX)).collect();
        let refused = greedy[0].claim().err().unwrap();
        assert_eq!(refused.errno, Errno::ENOSPC);
        assert_eq!(taken[0].len(), 500, "the first takes what is free for all");
        assert!(taken[1..].iter().all(|claims| claims.len() == 500 / 17));
        assert_eq!(take(modest, usize::MAX).len(), 500 / 17);
    }

    #[test]
    fn the_whole_is_never_exceeded_and_comes_back() {
        let budget = Budget::new(100);
        let (first, second) = (budget.share(), budget.share());
        let held = take(&first, usize::MAX);
        assert_eq!(held.len(), 50);
        let others = take(&second, usize::MAX);
        assert_eq!((others.len(), budget.used.load(Ordering::Relaxed)), (25, 75));
        // One more function makes the shares smaller; those who have theirs keep it.
        let third = budget.share();
        assert_eq!(take(&third, usize::MAX).len(), 16);
        drop(others);
        drop(held);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
        drop(second);
        drop(third);
        assert_eq!(budget.shares.load(Ordering::Relaxed), 1);
        assert_eq!(take(&first, usize::MAX).len(), 50);
    }

    #[test]
    fn the_process_has_half_of_what_the_kernel_allows() {
        let allowed = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
        let allowed: usize = allowed.trim().parse().unwrap();
        assert_eq!(Budget::of_process().limit, allowed / 2);
    }
}
