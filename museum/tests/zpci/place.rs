//! The s390 view of what is in one slot: a place of a physical function, and those of its virtual ones.

use super::unit::MAX_STORE;
use crate::machine::ahead;
use crate::slots::bay::{Bay, Follower};
use crate::slots::board::Board;
use assign::{Assignment, EventSink};
use gate::ThreadToken;
use pci_core::Function;
use pci_spec::Bdf;
use slot::Notice;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use zpci::region::IoRegion;
use zpci::{Description, Fid, Uid, View, Watched, Zdev, Zpci};

/// How many virtual functions a card has.
const VIRTUALS: u16 = 2;

/// See the module's head. Its locks are never held over a scheduling point.
pub(super) struct Place {
    board: Arc<Board>,
    zpci: Arc<Zpci>,
    pub(super) zdev: Arc<Zdev>,
    /// Where the physical function is.
    first: Bdf,
    /// What the device of the function that is being built says.
    events: Mutex<Option<Arc<Watched>>>,
    /// Of the function that is being built.
    view: Mutex<Option<Arc<View>>>,
    /// How often somebody has asked that the virtual functions be looked at since the last look.
    looks: AtomicUsize,
}

impl Place {
    /// Follows what is in `bay`.
    pub(super) fn of(bay: &Arc<Bay>, nth: u32, board: &Arc<Board>, zpci: &Arc<Zpci>) -> Arc<Place> {
        let fid = Fid(0x100 * (nth + 1));
        let zdev = zpci.add(fid, Uid(0), Description::default()).unwrap();
        let (events, view, looks) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        let (board, zpci) = (board.clone(), zpci.clone());
        let place = Arc::new(Place { board, zpci, zdev, first: bay.first(), events, view, looks });
        bay.is_followed_by(place.clone());
        place
    }

    fn events(&self) -> MutexGuard<'_, Option<Arc<Watched>>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> MutexGuard<'_, Option<Arc<View>>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn virtual_fid(&self, vfn: u16) -> Fid {
        Fid(self.zdev.fid().0 + u32::from(vfn))
    }

    /// Where virtual function `vfn` is, from 1 on.
    pub(super) fn virtual_address(&self, vfn: u16) -> Bdf {
        let first = self.first.routing_id();
        Bdf::from_routing_id(0, first + 1 + vfn)
    }

    /// The place of a virtual function, if that is switched on.
    pub(super) fn virtual_zdev(&self, vfn: u16) -> Option<Arc<Zdev>> {
        self.zpci.find(self.virtual_fid(vfn))
    }

    /// Brings the places of the virtual functions in line with the topology. Of several who ask for it, one does it, for all.
    pub(super) fn follow_virtuals(&self, token: &mut ThreadToken) {
        if self.looks.fetch_add(1, Relaxed) != 0 {
            return;
        }
        loop {
            let asked = self.looks.load(Relaxed);
            (1..=VIRTUALS).for_each(|vfn| self.follow_virtual(vfn, token));
            if self.looks.compare_exchange(asked, 0, Relaxed, Relaxed).is_ok() {
                return;
            }
        }
    }

    fn follow_virtual(&self, vfn: u16, token: &mut ThreadToken) {
        let fid = self.virtual_fid(vfn);
        let snapshot = self.board.topology.snapshot(token);
        let shown = snapshot.function(self.virtual_address(vfn)).map(|node| node.function.clone());
        let known = self.zpci.find(fid).and_then(|zdev| zdev.view());
        let same =
            |shown: &Arc<Function>| known.as_ref().is_some_and(|view| Arc::ptr_eq(view.function(), shown));
        if shown.as_ref().is_some_and(same) {
            return;
        }
        let _old = self.zpci.remove(token, fid);
        if let Some(function) = shown {
            let zdev = self.zpci.add_virtual(&self.zdev, vfn, fid, Uid(0)).unwrap();
            let view = View::of_function(&zdev, function, MAX_STORE);
            zdev.bring_in(token, view);
        }
    }

    /// Switches the virtual functions on or off.
    pub(super) fn set_virtuals(&self, token: &mut ThreadToken, on: bool) -> bool {
        let count = if on { VIRTUALS } else { 0 };
        let set = self.board.topology.set_num_vfs(token, self.first, count, ahead());
        self.follow_virtuals(token);
        crate::machine::tally::note(if on { "VFs on" } else { "VFs off" }, &set);
        set.is_ok()
    }
}

impl Follower for Place {
    fn sink(&self, _nth: u8) -> Arc<dyn EventSink> {
        let events = Watched::new(Arc::new(Silent));
        *self.events() = Some(events.clone());
        events
    }

    fn built(&self, _nth: u8, function: &Arc<Assignment>) {
        let view = View::new(&self.zdev, function, MAX_STORE);
        let events = self.events().take();
        events.expect("it was asked for its sink").belongs_to(&view);
        function.add_region(IoRegion::new(view.clone())).unwrap();
        *self.view() = Some(view);
    }

    fn shown(&self, token: &mut ThreadToken) {
        let view = self.view().take();
        if let Some(view) = view {
            self.zdev.bring_in(token, view);
        }
    }

    fn leaves(&self, token: &mut ThreadToken) {
        let _not_shown = self.view().take();
        self.zdev.take_out(token);
    }

    fn left(&self, token: &mut ThreadToken) {
        self.follow_virtuals(token);
    }

    fn has_failed(&self) -> bool {
        self.zdev.view().is_some_and(|view| view.has_failed())
    }

    fn noticed(&self, notice: &Notice) {
        self.zdev.noticed(notice);
    }
}

struct Silent;

impl EventSink for Silent {
    fn event(&self, _function: &str, _event: assign::Event) {}
}
