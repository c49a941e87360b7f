//! Who can reach what: the topology, gates, and handles of those who had a function once.

use crate::card::BAR_BYTES;
use crate::invariants::{Invariant, Known};
use crate::machine::{Plugged, at_once, port_at};
use crate::world::World;
use assign::Assignment;
use gate::{AccessKind, Admission, ThreadToken};
use pci_core::{BarIndex, Command, DeviceState};
use slot::Removal;
use std::sync::Arc;
use topology::NodeKind;

impl World {
    /// Functions are about to appear in a slot.
    pub(crate) fn appeared(&self, slot: usize, _functions: &[Plugged]) {
        self.ledger.with(|ledger| {
            let known = &mut ledger.slots[slot];
            let ended = std::mem::take(&mut known.ended);
            // All else is as of a slot that nobody knows.
            *known = Known { ended, ..Known::default() };
        });
    }

    /// What is behind a slot's port is about to be lost.
    pub(crate) fn lost(&self, slot: usize) {
        self.ledger.with(|ledger| ledger.slots[slot].lost = true);
    }

    /// What a slot that is on has lost admits nothing from the moment at which the port said so (HP-12).
    pub(crate) fn check_cut_off(&self, slot: usize) {
        if !self.ledger.with(|ledger| ledger.slots[slot].on) {
            return;
        }
        for function in self.bays[slot].plugged() {
            if function.assignment.function().handle().admission() == Admission::Open {
                let detail = format!("{} is open after its port said that it was lost", function.at);
                self.violated(Invariant::Disconnected, Some(slot), detail);
            }
        }
    }

    /// Everything that holds after every step.
    pub(crate) fn check(&self, token: &mut ThreadToken) {
        if self.is_violated() {
            return;
        }
        self.check_operations();
        self.check_picture(token);
        self.check_stale(token);
        self.check_handles(token);
        if self.steps().is_multiple_of(64) {
            self.check_bounds();
        }
        let stray = self.machine.census().stray();
        if stray > 0 {
            self.violated(Invariant::OneDevice, None, format!("{stray} blocks reached other devices"));
        }
        let late = self.machine.census().late();
        if late > 0 {
            self.violated(
                Invariant::StaleRefused,
                None,
                format!("{late} accesses reached devices that had gone"),
            );
        }
    }

    fn check_picture(&self, token: &mut ThreadToken) {
        let snapshot = self.machine.snapshot(token);
        for bay in &self.bays {
            let slot = bay.index;
            let Some(port) = snapshot.function(port_at(slot)) else {
                self.violated(Invariant::VisibleLast, Some(slot), "the port is not in the topology".into());
                continue;
            };
            let shown = snapshot.below(port);
            let (off, revoked) =
                self.ledger.with(|ledger| (ledger.slots[slot].off, ledger.slots[slot].revoked));
            let calls = bay.physical.with(|physical| physical.calls);
            if off && calls == 0 && !shown.is_empty() {
                let detail = format!("it is off, and {} is in the topology", shown[0].address);
                self.violated(Invariant::VisibleLast, Some(slot), detail);
            }
            let plugged = bay.plugged();
            for node in &shown {
                let owner = match node.kind {
                    NodeKind::Virtual { physical } => physical,
                    _ => node.address,
                };
                let known = plugged.iter().find(|function| function.at == owner);
                if known.is_none() {
                    let detail = format!("{} is in the topology, and nobody has put it there", node.address);
                    self.violated(Invariant::VisibleLast, Some(slot), detail);
                }
                let gone = known.is_some_and(|known| known.assignment.function().handle().is_gone());
                let works = node.function.handle().admission() == Admission::Open;
                if revoked && gone && works {
                    let detail = format!("{} works while what it depends on was revoked", node.address);
                    self.violated(Invariant::GoneFirst, Some(slot), detail);
                }
            }
            for function in &plugged {
                if function.assignment.function().handle().is_gone() {
                    self.remember(&function.assignment);
                }
            }
        }
    }

    /// Somebody keeps a function that has gone.
    fn remember(&self, assignment: &Arc<Assignment>) {
        let place = self.random.with(|random| random.below(1 << 16));
        let dropped = self.tenancy.with(|tenancy| {
            let known = tenancy.stale.iter().any(|other| Arc::ptr_eq(other, assignment));
            if known { None } else { tenancy.keep(assignment.clone(), place) }
        });
        drop(dropped);
    }

    /// One of those who keep a function that has gone tries everything.
    fn check_stale(&self, token: &mut ThreadToken) {
        let count = self.tenancy.with(|tenancy| tenancy.stale.len());
        if count == 0 || self.calm.get() {
            return;
        }
        let which = self.random.with(|random| random.below(count));
        let Some(stale) = self.tenancy.with(|tenancy| tenancy.stale.get(which).cloned()) else { return };
        if let Some(what) = admitted(token, &stale) {
            let detail = format!("{} has gone, and its old handle admits {what}", stale.function().name());
            self.violated(Invariant::StaleRefused, None, detail);
        }
    }

    /// While a consumer is asked to let go, what it has works.
    pub(crate) fn check_works(&self, slot: usize, assignment: &Arc<Assignment>) {
        let lost = self.ledger.with(|ledger| ledger.slots[slot].lost);
        if !lost && assignment.function().handle().is_gone() {
            let name = assignment.function().name();
            let detail = format!("{name} is gone when its driver is asked to let go");
            self.violated(Invariant::WorksWhileAsked, Some(slot), detail);
        }
    }

    /// A driver has its last call: its function is gone, and those above it were before.
    pub(crate) fn check_unbound(&self, slot: usize, assignment: &Arc<Assignment>, came_back_late: bool) {
        let name = assignment.function().name();
        if !assignment.function().handle().is_gone() && !came_back_late {
            let detail = format!("{name} still works when its driver is removed");
            self.violated(Invariant::GoneFirst, Some(slot), detail);
        }
        let plugged = self.bays[slot].plugged();
        let ours = plugged.iter().find(|function| Arc::ptr_eq(&function.assignment, assignment));
        let Some(number) = ours.map(|function| function.at.function()) else { return };
        let (before, hung) = self.ledger.with(|ledger| {
            let known = &mut ledger.slots[slot];
            let before = known.removed.last().copied();
            known.removed.push(number);
            (before, known.hung)
        });
        if !hung && before.is_some_and(|before| before <= number) {
            let detail = format!("the driver of function {number} ends after that of function {before:?}");
            self.violated(Invariant::RemovalOrder, Some(slot), detail);
        }
    }

    /// The client's revocation of an earlier time has not returned: it is not called once more, and what the client has of the
    /// present card is as dead as its gates are.
    pub(crate) fn revoke_is_out(&self, slot: usize) -> bool {
        self.bays[slot].controller().report().left_behind.iter().any(|call| call.call == "revoke")
    }

    /// Functions are about to leave the topology.
    pub(crate) fn check_removal(
        &self,
        slot: usize,
        token: &mut ThreadToken,
        functions: &[Arc<Assignment>],
        removal: Removal,
    ) {
        let (lost, hung) = self.ledger.with(|ledger| (ledger.slots[slot].lost, ledger.slots[slot].hung));
        let plugged = self.bays[slot].plugged();
        // Of a configuration that came back late the slot knows nothing, and has told no client.
        let late = self.bays[slot].physical.with(|physical| physical.calls) > 0;
        let failed = self.ledger.with(|ledger| ledger.slots[slot].client_failed);
        let excused = hung || late || failed || self.revoke_is_out(slot);
        for assignment in functions {
            let function = assignment.function();
            if !function.handle().is_gone() {
                let detail = format!("{} still works when it leaves the topology", function.name());
                self.violated(Invariant::GoneFirst, Some(slot), detail);
            }
            let still = admitted(token, assignment);
            if let Some(what) = still {
                let detail = format!("{} leaves the topology and admits {what}", function.name());
                self.violated(Invariant::GoneFirst, Some(slot), detail);
            }
            if !excused && self.guests[slot].has(assignment) {
                let detail = format!("{} leaves the topology before its client", function.name());
                self.violated(Invariant::Revoked, Some(slot), detail);
            }
            if !hung && self.holders(assignment) > 0 {
                let detail = format!("{} leaves the topology before its driver", function.name());
                self.violated(Invariant::RemovalOrder, Some(slot), detail);
            }
            let command = function.config().command();
            let loud = command.intersects(Command::BUS_MASTER | Command::SERR_ENABLE)
                || !command.contains(Command::INTERRUPT_DISABLE);
            let at = plugged.iter().find(|plugged| Arc::ptr_eq(&plugged.assignment, assignment));
            let reachable = !lost
                && function.device_state() == DeviceState::D0
                && !self.is_disturbed()
                && at.is_some_and(|plugged| {
                    let shut =
                        self.ledger.with(|ledger| ledger.slots[slot].shut.contains(&plugged.at.function()));
                    !shut && self.machine.answers(token, plugged.at)
                });
            if removal == Removal::Orderly && reachable && loud {
                let detail = format!("{} leaves with {command:?}", function.name());
                self.violated(Invariant::Orderly, Some(slot), detail);
            }
        }
        let order = functions.iter().map(|assignment| assignment.function().name());
        if !order.is_sorted() {
            self.violated(Invariant::RemovalOrder, Some(slot), "functions are not in ascending order".into());
        }
    }

    /// Power goes when nothing needs it any more.
    pub(crate) fn check_power_is_cut_last(&self, slot: usize, token: &mut ThreadToken) {
        let snapshot = self.machine.snapshot(token);
        let below = snapshot.function(port_at(slot)).map(|port| snapshot.below(port)).unwrap_or_default();
        // A call that was left behind may have something there still.
        let alone = self.bays[slot].physical.with(|physical| physical.calls) <= 1;
        if let (Some(node), true) = (below.first(), alone) {
            let detail = format!("power is cut with {} in the topology", node.address);
            self.violated(Invariant::PowerLast, Some(slot), detail);
        }
    }
}

/// What a function that is gone admits all the same: what is closed first, first.
fn admitted(token: &mut ThreadToken, assignment: &Arc<Assignment>) -> Option<&'static str> {
    let function = assignment.function();
    let mut bytes = [0; 4];
    if function.read_config(token, 0, &mut bytes, at_once()).is_ok() || bytes != [0xff; 4] {
        return Some("a configuration access");
    }
    let bar = BarIndex::new(0)?;
    bytes = [0; 4];
    if function.read_bar(token, bar, BAR_BYTES - 4, &mut bytes, at_once()).is_ok() || bytes != [0xff; 4] {
        return Some("an access to a BAR");
    }
    if function.handle().enter_long(token, AccessKind::Dma, "a stale handle", at_once()).is_ok() {
        return Some("DMA");
    }
    match assignment.attach(token) {
        Ok(attached) => {
            attached.detach(token);
            Some("a client")
        }
        Err(_) => None,
    }
}
