//! The s390 view of the machine: function IDs for all places and virtual functions, its events in the journal, and what its slot
//! operations ask of the hardware.
//!
//! Concurrency: nothing is locked here. Who switches virtual functions, and who takes a card out, brings their function IDs up to
//! date afterwards, and looks again whether they are: so of two at once, the last leaves what is right.

use std::sync::{Arc, Weak};

use ::zpci::hotplug::{ErrorReport, ReportAction, ReportRefused, ResetFailure, Unit};
use ::zpci::{AddError, Event, Fid, Handle, Listener, Uid, User, View, Zdev, Zpci};
use gate::{CloseError, Deadline, ThreadToken};
use pci_core::Function;
use pci_spec::Bdf;
use topology::Node;

use super::machine::Machine;
use super::place::Place;
use crate::control::stream::Severity;
use crate::events::Journal;
use crate::events::kinds::zpci as kinds;

/// The longest block that one request may store, in bytes, as on real machines (ZP-14).
pub(super) const MAX_STORE: u16 = 128;
/// Set in the function ID of a virtual function, so that it is no place's unless somebody configured it so.
const VIRTUAL: u32 = 1 << 31;

/// How often virtual functions are looked at again that others switch meanwhile; then those others have looked after this.
const LOOKS: usize = 8;

/// The function ID of a place that has none of its own: its address as a number.
pub(super) fn fid_of(at: Bdf) -> Fid {
    Fid(u32::from(at.segment()) << 16 | u32::from(at.routing_id()))
}

/// Gives the virtual functions that the function under `parent` has function IDs, and takes them from those that are no more.
pub(super) fn follow_virtual_functions(
    zpci: &Zpci,
    machine: &Machine,
    parent: &Zdev,
    at: Bdf,
    token: &mut ThreadToken,
) {
    machine.changed();
    let look = |token: &ThreadToken| machine.snapshot(token).virtual_functions(at);
    let mut there = look(token);
    for _ in 0..LOOKS {
        follow(zpci, parent, &there, token);
        // Somebody else may have switched them since, and have been here before this.
        let now = look(token);
        if now.len() == there.len() && now.iter().zip(&there).all(|(now, was)| Arc::ptr_eq(now, was)) {
            return;
        }
        there = now;
    }
}

/// As [`follow_virtual_functions`], of what was there at one look.
fn follow(zpci: &Zpci, parent: &Zdev, there: &[Arc<Node>], token: &mut ThreadToken) {
    let known = |zdev: &Arc<Zdev>| zdev.parent_vfn().is_some_and(|(fid, _)| fid == parent.fid());
    for zdev in zpci.list().iter().filter(|zdev| known(zdev)) {
        let shown = |view: &Arc<View>| there.iter().any(|node| Arc::ptr_eq(&node.function, view.function()));
        if !zdev.view().as_ref().is_some_and(shown) {
            zpci.remove(token, zdev.fid());
        }
    }
    for (node, number) in there.iter().zip(1..) {
        if zpci.by_function(&node.function).is_some() {
            continue;
        }
        let fid = Fid(fid_of(node.address).0 | VIRTUAL);
        match zpci.add_virtual(parent, number, fid, Uid::NONE) {
            Ok(zdev) => {
                zdev.card(true);
                let view = View::of_function(&zdev, Arc::clone(&node.function), MAX_STORE);
                zdev.bring_in(token, view);
            }
            // Another thread is about the same.
            Err(AddError::FidTaken(_)) if zpci.by_function(&node.function).is_some() => {}
            Err(error) => tracing::warn!("virtual function {} has no function ID: {error}", node.address),
        }
    }
}

/// What slot operations ask of the hardware.
pub(super) struct Hardware {
    pub(super) machine: Arc<Machine>,
    pub(super) zpci: Arc<Zpci>,
    pub(super) journal: Arc<Journal>,
    /// Of the card's functions.
    pub(super) places: Arc<[Arc<Place>]>,
}

impl Unit for Hardware {
    fn reset(
        &self,
        token: &mut ThreadToken,
        function: &Arc<Function>,
        deadline: Deadline,
    ) -> Result<(), ResetFailure> {
        if function.is_contained() {
            let why = "it is frozen with its PE, until that is recovered or thawed";
            return Err(ResetFailure::Untouched(String::from(why)));
        }
        loop {
            let snapshot = self.machine.snapshot(token);
            let node = snapshot.iter().find(|node| Arc::ptr_eq(&node.function, function));
            let Some(at) = node.map(|node| node.address) else {
                return Err(ResetFailure::Untouched(String::from("it is not in the topology any more")));
            };
            match self.machine.resets.reset_function(token, &snapshot, at, deadline) {
                Ok(_) => return Ok(()),
                // What is below it, or beside it, came or went since this thread looked. Nothing was changed.
                Err(reset::Error::Changed | reset::Error::NotClosed { cause: CloseError::Gone, .. })
                    if !function.handle().is_gone() && deadline.remaining().is_some() => {}
                Err(
                    error @ (reset::Error::Changed
                    | reset::Error::Busy { .. }
                    | reset::Error::NotClosed { .. }
                    | reset::Error::NotThere),
                ) => return Err(ResetFailure::Untouched(error.to_string())),
                Err(error) => return Err(ResetFailure::Failed(error.to_string())),
            }
        }
    }

    fn user(&self, function: &Function) -> User {
        let mut here = self.places.iter().filter_map(|place| place.assignment());
        match here.find(|assignment| std::ptr::eq(Arc::as_ptr(assignment.function()), function)) {
            // There are no drivers in this process: who does not have it through its socket does not have it.
            Some(assignment) if !assignment.is_attached() => User::Unprepared,
            // Also a virtual function, which is whoever's its physical one is.
            _ => User::PassedThrough,
        }
    }

    fn virtual_functions_on(&self, function: &Function) -> u16 {
        function.config().sr_iov().filter(|vfs| vfs.enabled).map_or(0, |vfs| vfs.num_vfs)
    }

    fn report(&self, fid: Fid, handle: Handle, report: &ErrorReport<'_>) -> Result<(), ReportRefused> {
        let action = match report.action {
            ReportAction::AdapterReset => "asks for a reset of the adapter",
            ReportAction::Repair => "asks for a repair of the adapter",
            ReportAction::Information => "for information",
        };
        let said = String::from_utf8_lossy(report.data);
        let said: String = said.chars().filter(|letter| !letter.is_control()).collect();
        let text = format!("{fid}, handle {handle}: a report {action}: {said}");
        self.journal.slot(&name_of(&self.zpci, fid), kinds::ERROR, Severity::Warning, text);
        Ok(())
    }
}

/// Puts events of the s390 view into the journal.
pub(super) struct Teller {
    zpci: Weak<Zpci>,
    journal: Arc<Journal>,
}

impl Teller {
    pub(super) fn new(zpci: &Arc<Zpci>, journal: &Arc<Journal>) -> Arc<Teller> {
        Arc::new(Teller { zpci: Arc::downgrade(zpci), journal: Arc::clone(journal) })
    }
}

impl Listener for Teller {
    fn event(&self, event: &Event) {
        let Some(zpci) = self.zpci.upgrade() else { return };
        let (fid, kind, severity, text) = match event {
            Event::Availability { fid, handle, pec } => {
                let text = format!("{fid}, handle {handle}: availability event {:#06x}", pec.code());
                (fid, kinds::AVAILABILITY, Severity::Info, text)
            }
            Event::Error { fid, handle, pec } => {
                let text = format!("{fid}, handle {handle}: error event {:#06x}", pec.0);
                (fid, kinds::ERROR, Severity::Warning, text)
            }
            Event::Handle { fid, old, new } => {
                (fid, kinds::HANDLE, Severity::Info, format!("{fid}: handle {new} instead of {old}"))
            }
        };
        self.journal.slot(&name_of(&zpci, *fid), kind, severity, text);
    }
}

/// The place under a function ID, or that of a virtual function's physical one; the ID itself if it has gone meanwhile.
fn name_of(zpci: &Zpci, fid: Fid) -> String {
    let zdev = zpci.find(fid);
    let place = match zdev.as_ref().and_then(|zdev| zdev.parent_vfn()) {
        Some((parent, _)) => zpci.find(parent),
        None => zdev,
    };
    place.map_or_else(|| fid.to_string(), |place| place.description().utility.clone())
}
