//! The freeze of one PE with all that is below it.
//!
//! The gate of a function counts who contains it, so that a PE and one above it may both be frozen, and a thaw of one leaves the
//! other's. What a freeze has counted is written down here, and given back once: each count belongs to an entry of the list.
//!
//! # Concurrency
//! A function is contained first and written down then; if the PE was thawed meanwhile, or somebody has written it down, the
//! count is given back at once. A thaw clears *isolated* and takes the list away in one step, and gives the counts back after
//! that: an error from that step on is a new one, and a freeze that follows counts anew, whatever the thaw is still at.

use crate::pe::{Held, Holder, PeState};
use crate::plan::FunctionId;
use crate::ranks;
use crate::tree::{PeFunction, Snapshot};
use gate::lock::Leaf;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A freeze; see the module's head.
pub struct Frozen {
    pe: Held,
    /// Rank: 43, frozen PEs; a leaf. A look-up, an insertion, or the exchange of the list; no gate is touched under it.
    list: Leaf<ranks::Frozen, List>,
    /// As in the list, and changed with it; for those who have a lock.
    thawed: AtomicBool,
    kept: AtomicUsize,
    /// See [`Frozen::require_reset`].
    needs_reset: AtomicBool,
}

#[derive(Default)]
struct List {
    thawed: bool,
    contained: BTreeMap<FunctionId, Contained>,
    /// Who has left the tree: an older picture of it may have them still, and nobody would thaw them.
    left: BTreeSet<FunctionId>,
}

struct Contained {
    function: Arc<PeFunction>,
    /// It stays contained through a thaw.
    kept: bool,
}

impl Frozen {
    /// A freeze of a PE that contains nothing yet. Functions that are put into the tree later are contained by whoever does so,
    /// and finds this first: it is made known before [`Frozen::freeze`] looks at the tree.
    #[must_use]
    pub fn new(pe: Held) -> Arc<Frozen> {
        let (list, thawed, kept) = (Leaf::default(), AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Frozen { pe, list, thawed, kept, needs_reset: AtomicBool::new(false) })
    }

    /// Nobody goes on without a reset: a device of the PE may still use memory that its consumer has taken away, and only a
    /// reset ends that. Holds until the next thaw.
    pub fn require_reset(&self) {
        self.needs_reset.store(true, Ordering::Release);
    }

    /// Whether nobody goes on without a reset.
    #[must_use]
    pub fn requires_reset(&self) -> bool {
        self.needs_reset.load(Ordering::Acquire)
    }

    /// The PE at the top.
    pub fn pe(&self) -> &Held {
        &self.pe
    }

    /// The functions that are contained, in the order in which they came to be in PEs.
    #[must_use]
    pub fn functions(&self) -> Vec<Arc<PeFunction>> {
        self.list.lock().contained.values().map(|contained| contained.function.clone()).collect()
    }

    /// Whether it was thawed since it was frozen last; what is kept is contained all the same.
    #[must_use]
    pub fn is_thawed(&self) -> bool {
        self.thawed.load(Ordering::Acquire)
    }

    /// Whether functions stay contained although it was thawed.
    #[must_use]
    pub fn keeps_some(&self) -> bool {
        self.kept.load(Ordering::Acquire) != 0
    }

    /// To be called with the list changed, before it is let go.
    fn show(&self, list: &List) {
        self.thawed.store(list.thawed, Ordering::Release);
        let kept = list.contained.values().filter(|contained| contained.kept).count();
        self.kept.store(kept, Ordering::Release);
    }

    /// Freezes it again, as `snapshot` has it. Changes nothing for what is contained.
    pub fn again(&self, snapshot: &Snapshot) {
        {
            let mut list = self.list.lock();
            list.thawed = false;
            self.pe.set(PeState::ISOLATED);
            self.show(&list);
        }
        self.freeze(snapshot);
    }

    /// Contains every function of the PE and of the PEs below it.
    pub fn freeze(&self, snapshot: &Snapshot) {
        // What is in the place of a PE that was removed is none of its freeze (law 5).
        if snapshot.find(self.pe.address(), Holder::Event).is_some_and(|there| !self.pe.is(&there)) {
            return;
        }
        for visit in snapshot.walk(self.pe.address()) {
            for function in snapshot.functions(visit.pe().address()) {
                self.contain(function);
            }
        }
    }

    /// Contains a function that has come, or come back, into the tree below, unless this is thawed.
    pub(crate) fn joined_by(&self, function: &Arc<PeFunction>) {
        self.list.lock().left.remove(&function.id);
        self.contain(function);
    }

    /// Contains a function, unless this is thawed.
    fn contain(&self, function: &Arc<PeFunction>) {
        if self.has(function.id) {
            return;
        }
        let _contained_or_gone = function.function.contain();
        let written = {
            let mut list = self.list.lock();
            let wanted = !list.thawed && !list.left.contains(&function.id);
            let written = wanted && !list.contained.contains_key(&function.id);
            if written {
                let contained = Contained { function: function.clone(), kept: false };
                list.contained.insert(function.id, contained);
            }
            written
        };
        if !written {
            let _given_back = function.function.release();
        }
    }

    fn has(&self, id: FunctionId) -> bool {
        self.list.lock().contained.contains_key(&id)
    }

    /// Keeps a function contained whatever is thawed, until it is let go (EEH-20, EEH-21).
    pub fn keep(&self, id: FunctionId) {
        let mut list = self.list.lock();
        if let Some(contained) = list.contained.get_mut(&id) {
            contained.kept = true;
        }
        self.show(&list);
    }

    /// Contains a function, whether it was or not, and keeps it so through every thaw: it goes no further, and the others do.
    pub fn take_out(&self, function: &Arc<PeFunction>) {
        if function.function.handle().is_gone() {
            return;
        }
        let _contained_or_gone = function.function.contain();
        let written = {
            let mut list = self.list.lock();
            let known = list.contained.get_mut(&function.id).map(|contained| contained.kept = true);
            let written = known.is_none() && !list.left.contains(&function.id);
            if written {
                let contained = Contained { function: function.clone(), kept: true };
                list.contained.insert(function.id, contained);
            }
            self.show(&list);
            written
        };
        if !written {
            let _counted_before = function.function.release();
        }
    }

    /// Lets go of functions that were removed: there is nothing to keep them from.
    pub(crate) fn forget_gone(&self) {
        let mut gone = Vec::new();
        let mut list = self.list.lock();
        list.contained.retain(|_, contained| {
            let is_gone = contained.function.function.handle().is_gone();
            if is_gone {
                gone.push(contained.function.clone());
            }
            !is_gone
        });
        self.show(&list);
        drop(list);
    }

    /// Marks the PE as isolated if this has not been thawed: the thaw of an earlier freeze of the same PE may have come after
    /// this one had begun.
    pub(crate) fn show_isolated(&self) {
        let list = self.list.lock();
        if !list.thawed {
            self.pe.set(PeState::ISOLATED);
        }
    }

    /// Thaws everything but what is kept. The PE is not isolated from here on.
    pub fn thaw(&self) {
        let released: Vec<Arc<PeFunction>> = {
            let mut list = self.list.lock();
            self.pe.clear(PeState::ISOLATED);
            self.needs_reset.store(false, Ordering::Release);
            list.thawed = true;
            let (kept, released) =
                std::mem::take(&mut list.contained).into_iter().partition(|(_, it)| it.kept);
            list.contained = kept;
            self.show(&list);
            let released: BTreeMap<_, Contained> = released;
            released.into_values().map(|contained| contained.function).collect()
        };
        release(&released);
    }

    /// Thaws everything, also what is kept.
    pub(crate) fn thaw_all(&self) {
        {
            let mut list = self.list.lock();
            for contained in list.contained.values_mut() {
                contained.kept = false;
            }
            self.show(&list);
        }
        self.thaw();
    }

    /// Lets a function go that has left the tree, for good: no later freeze has it. False if it is not contained.
    pub fn let_go(&self, id: FunctionId) -> bool {
        let contained = {
            let mut list = self.list.lock();
            let contained = list.contained.remove(&id);
            list.left.insert(id);
            self.show(&list);
            contained
        };
        let Some(contained) = contained else { return false };
        release(&[contained.function]);
        true
    }
}

fn release(functions: &[Arc<PeFunction>]) {
    for function in functions {
        let _released_or_gone = function.function.release();
    }
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frozen").field("pe", &self.pe.address()).finish_non_exhaustive()
    }
}
