//! The gates' half of a snapshot: the list of all gates, and what is in those that matter.
//!
//! The list holds weak references, so it keeps no gate alive, and the address in a slot or a wait is given a name only
//! while a gate is at that address. It exists only outside the model checkers, whose `Arc` knows no weak references; in
//! a model a snapshot shows the threads alone.

use crate::{Inside, Reason};
use std::collections::BTreeSet;
use std::sync::Arc as StdArc;
use std::time::Duration;

/// A gate that somebody waits at, or that is not open.
#[derive(Default)]
pub(super) struct GateView {
    pub(super) address: usize,
    pub(super) name: String,
    pub(super) owner: Option<OwnerView>,
    pub(super) long: Vec<Inside>,
    /// Its lock was not free, so owner and long passes are unknown.
    pub(super) busy: bool,
}

/// A gate's closer.
pub(super) struct OwnerView {
    pub(super) reason: Reason,
    pub(super) since: Duration,
    /// The very name that is in its thread's record, or was.
    pub(super) thread: StdArc<str>,
    pub(super) parked: bool,
}

#[cfg(any(loom, shuttle))]
mod list {
    use super::{BTreeSet, GateView};
    use crate::state::Shared;
    use crate::sync::Arc;

    pub(crate) fn register(_gate: &Arc<Shared>) {}

    pub(in crate::waits) fn look(_wanted: &BTreeSet<usize>) -> Vec<GateView> {
        Vec::new()
    }
}

#[cfg(not(any(loom, shuttle)))]
mod list {
    use super::{BTreeSet, Duration, GateView, OwnerView};
    use crate::lock::{Leaf, ranks};
    use crate::state::Shared;
    use crate::sync::Arc;
    use crate::word::Status;
    use std::sync::Weak;

    /// How long a snapshot waits for one gate's lock, which is held for microseconds.
    const PATIENCE: Duration = Duration::from_millis(1);
    /// The list is swept when it has grown to this, and to twice of what was left then.
    const SMALLEST: usize = 64;

    struct List {
        gates: Vec<Weak<Shared>>,
        sweep_at: usize,
    }

    /// Rank: 92, gate list; a leaf. One for the process: it is taken when a gate is made, and copied by a snapshot.
    static LIST: Leaf<ranks::GateList, List> = Leaf::new(List { gates: Vec::new(), sweep_at: SMALLEST });

    /// Enters a new gate. The list grows with the gates there are, not with those there were.
    pub(crate) fn register(gate: &Arc<Shared>) {
        let mut list = LIST.lock();
        if list.gates.len() >= list.sweep_at {
            // A weak reference frees memory when it goes, and calls nobody.
            list.gates.retain(|gate| gate.strong_count() > 0);
            list.sweep_at = SMALLEST.max(2 * list.gates.len());
        }
        list.gates.push(Arc::downgrade(gate));
    }

    /// The gates at the addresses `wanted`, and those that are not open.
    pub(in crate::waits) fn look(wanted: &BTreeSet<usize>) -> Vec<GateView> {
        // Upgraded outside of the lock: one of them may be the last, and a gate's end calls subscribers' destructors.
        let list = LIST.lock().gates.clone();
        let gates = list.iter().filter_map(Weak::upgrade);
        let matters = |gate: &Arc<Shared>| {
            wanted.contains(&gate.address()) || !matches!(gate.word().status(), Status::Open | Status::Gone)
        };
        gates.filter(matters).map(|gate| view(&gate)).collect()
    }

    fn view(gate: &Shared) -> GateView {
        let mut view = GateView { address: gate.address(), name: gate.name.clone(), ..GateView::default() };
        let Some(core) = gate.core.lock_within(PATIENCE) else {
            return GateView { busy: true, ..view };
        };
        view.owner = core.owner.as_ref().map(|owner| OwnerView {
            reason: owner.reason,
            since: owner.since.age(),
            thread: owner.thread.clone(),
            parked: owner.parked,
        });
        view.long = core.long.describe(None).collect();
        view
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::Gate;

        #[test]
        fn a_gate_whose_lock_is_not_free_is_shown_as_busy_and_holds_nobody_up() {
            let gate = Gate::new("busy");
            assert!(gate.freeze());
            let address = gate.shared().address();
            let core = gate.shared().core.lock();
            let looking = std::thread::spawn(move || {
                look(&BTreeSet::new()).into_iter().find(|view| view.address == address)
            });
            let view = looking.join().unwrap().expect("a gate that is not open is looked at");
            assert!(view.busy && view.owner.is_none());
            drop(core);
            let views = look(&BTreeSet::from([address]));
            assert!(views.iter().any(|view| view.address == address && !view.busy));
        }

        #[test]
        fn the_list_grows_with_the_gates_there_are_and_not_with_those_there_were() {
            let kept: Vec<_> = (0..100).map(|n| Gate::new(format!("kept {n}"))).collect();
            for _ in 0..100 * SMALLEST {
                drop(Gate::new("short-lived"));
            }
            let length = LIST.lock().gates.len();
            // Other tests of this process have gates too.
            assert!(length <= 8 * (kept.len() + SMALLEST), "{length}");
        }
    }
}

pub(super) use list::look;
pub(crate) use list::register;
