//! What the control socket can ask for.
//!
//! * this file: which function is meant, and who carries the request out;
//! * `views`: what is told of functions and slots;
//! * `changes`: resets, power, virtual functions, registers;
//! * `admission`: revoke; `containment`: PEs, freeze, thaw, recover; `errors`: injected and reported ones;
//! * `slots`, `vms`: plugging and unplugging, here and in virtual machines; `operations`: what came of it;
//! * `back_end`: back ends of remote functions, faults by rules;
//! * `zpci`: the s390 view; `events`: the stream of events;
//! * `guard`: register writes that would do half of what one of these does.

mod admission;
mod back_end;
mod changes;
mod containment;
mod errors;
mod events;
mod guard;
mod operations;
mod slots;
mod views;
mod vms;
mod zpci;

use std::sync::Arc;

use ::zpci::Zpci;
use gate::ThreadToken;
use pci_spec::Bdf;
use serde::Serialize;
use topology::{Node, Snapshot};

use super::containment::Contained;
use super::machine::Machine;
use super::operations::Operations;
use super::vms::Vms;
use super::{Place, Slot};
use crate::control::protocol::{Refusal, RefusalCode, Request};
use crate::control::server::Operator;
use crate::events::{Cursor, Journal};
use crate::inspect;

/// Carries out control requests on the functions of a daemon.
pub(super) struct DaemonOperator {
    slots: Arc<[Slot]>,
    machine: Arc<Machine>,
    contained: Arc<Contained>,
    zpci: Arc<Zpci>,
    journal: Arc<Journal>,
    operations: Arc<Operations>,
    vms: Arc<Vms>,
}

/// One function as a request means it.
struct Target<'a> {
    snapshot: Arc<Snapshot>,
    node: Arc<Node>,
    /// The place that it stands at; none for a root port or a virtual function.
    place: Option<&'a Arc<Place>>,
}

impl Target<'_> {
    fn address(&self) -> Bdf {
        self.node.address
    }
}

impl DaemonOperator {
    pub(super) fn new(
        slots: Arc<[Slot]>,
        machine: Arc<Machine>,
        contained: Arc<Contained>,
        zpci: Arc<Zpci>,
        journal: Arc<Journal>,
        operations: Arc<Operations>,
        vms: Arc<Vms>,
    ) -> Self {
        Self { slots, machine, contained, zpci, journal, operations, vms }
    }

    /// All places of all slots.
    fn places(&self) -> impl Iterator<Item = &Arc<Place>> {
        self.slots.iter().flat_map(|slot| slot.places.iter())
    }

    /// The function in the slot with this name, or the one at this address.
    fn find(&self, token: &ThreadToken, target: &str) -> Result<Target<'_>, Refusal> {
        let snapshot = self.machine.snapshot(token);
        let named = self.places().find(|place| place.name == target);
        let address = named.map(|place| place.address).or_else(|| target.parse().ok());
        let node = address.and_then(|at| snapshot.function(at).cloned()).ok_or_else(|| {
            let shown: String = target.chars().filter(|c| !c.is_control()).take(64).collect();
            let empty = self.places().any(|place| place.name == target || Some(place.address) == address);
            let message = if empty {
                format!("nothing is plugged into the slot `{shown}`; `portcullis slot show {shown}` says why")
            } else {
                format!("there is no function or slot `{shown}`; `portcullis ls` lists them")
            };
            Refusal::new(RefusalCode::NotFound, message)
        })?;
        let place = self.places().find(|place| place.address == node.address);
        Ok(Target { snapshot, node, place })
    }
}

impl Operator for DaemonOperator {
    fn execute(&self, token: &mut ThreadToken, request: Request) -> Result<serde_json::Value, Refusal> {
        match request {
            Request::FunctionList {} => value(self.list(token)),
            Request::FunctionShow { target } => {
                let target = self.find(token, &target)?;
                value(self.show(token, &target))
            }
            Request::FunctionDump { target } => {
                let target = self.find(token, &target)?;
                value(self.dump(token, &target)?)
            }
            Request::FunctionReset { target, how } => {
                let target = self.find(token, &target)?;
                value(self.reset(token, &target, &how)?)
            }
            Request::FunctionResetMethod { target, list } => {
                let target = self.find(token, &target)?;
                value(self.reset_methods(token, &target, list.as_deref())?)
            }
            Request::FunctionPower { target, state } => {
                let target = self.find(token, &target)?;
                value(self.power(token, &target, state.as_deref())?)
            }
            Request::FunctionNumVfs { target, count } => {
                let target = self.find(token, &target)?;
                value(self.virtual_functions(token, &target, count)?)
            }
            Request::FunctionConfig { target, register } => {
                let target = self.find(token, &target)?;
                value(self.register(token, &target, &register)?)
            }
            Request::FunctionRevoke { target } => {
                let target = self.find(token, &target)?;
                value(self.revoke(token, &target)?)
            }
            Request::FunctionAer { target } => value(self.aer(token, &target)?),
            Request::PeList {} => value(self.pe_list(token)),
            Request::PeShow { target } => value(self.pe_show(token, &target)?),
            Request::PeFreeze { target } => value(self.pe_freeze(token, &target)?),
            Request::PeThaw { target } => value(self.pe_thaw(token, &target)?),
            Request::PeRecover { target } => value(self.pe_recover(token, &target)?),
            Request::PeFaults { target } => value(self.pe_faults(token, &target)?),
            Request::PeInject { target, fault } => value(self.pe_inject(token, &target, &fault)?),
            Request::InjectRules { target } => value(self.injected(token, &target)?),
            Request::InjectClear { target, id } => {
                value(self.clear_injected(token, &target, id.as_deref())?)
            }
            Request::BackEndList {} => value(self.back_ends()),
            Request::BackEndShow { target } => value(self.back_end(token, &target)?),
            Request::BackEndRetry { target } => value(self.back_end_retry(token, &target)?),
            Request::EehShow {} => value(self.eeh(token)),
            Request::OrphanList {} => value(self.orphans()),
            Request::ZpciList {} => value(self.zpci_list(token)),
            Request::ZpciShow { fid } => value(self.zpci_show(token, &fid)?),
            Request::ZpciConfigure { fid } => value(self.zpci_power(&fid, true, None)?),
            Request::ZpciDeconfigure { fid, timeout_ms } => value(self.zpci_power(&fid, false, timeout_ms)?),
            Request::ZpciRecover { fid } => value(self.zpci_recover(token, &fid)?),
            Request::ZpciReset { fid } => value(self.zpci_reset(token, &fid)?),
            Request::ZpciReportError { fid, action, data } => {
                value(self.zpci_report_error(&fid, action, &data)?)
            }
            Request::SlotList {} => value(self.slot_list()),
            Request::SlotShow { slot } => value(self.slot_report(self.slot(&slot)?)),
            Request::SlotPlug { slot, card } => value(self.plug(token, self.slot(&slot)?, card)?),
            Request::SlotUnplug { slot, timeout_ms } => value(self.unplug(self.slot(&slot)?, timeout_ms)?),
            Request::SlotPower { slot, on, timeout_ms } => {
                value(self.switch(self.slot(&slot)?, on, timeout_ms)?)
            }
            Request::SlotTouch { slot, touch } => value(self.touch(self.slot(&slot)?, touch)?),
            Request::SlotCancel { slot } => value(self.cancel(self.slot(&slot)?)?),
            Request::Rescan {} => value(self.rescan(token)?),
            Request::OperationList {} => value(self.operation_list()),
            Request::OperationWait { id, timeout_ms } => value(self.operation_wait(token, id, timeout_ms)?),
            Request::VmAdd { name, qmp } => value(self.vm_add(token, &name, qmp)?),
            Request::VmList {} => value(self.vm_list(token)),
            Request::VmRemove { name } => value(self.vm_remove(token, &name)?),
            Request::VmAttach { target, vm, bus } => value(self.attach(token, &target, &vm, bus)?),
            Request::VmDetach { target, timeout_ms } => value(self.detach(&target, timeout_ms)?),
            Request::Locks {} => value(inspect::locks()),
            Request::EventList { target } => {
                let filter = self.events_about(token, target.as_deref())?;
                value(self.journal.list(&filter))
            }
            Request::EventWait { target, kinds, after, stream, limit, timeout_ms } => {
                let filter = self.events_about(token, target.as_deref())?;
                let cursor = Cursor { stream, after };
                value(self.wait_for_events(token, filter, kinds, &cursor, limit, timeout_ms)?)
            }
        }
    }

    fn end(&self) {
        self.journal.end();
        self.operations.end();
    }
}

fn value(report: impl Serialize) -> Result<serde_json::Value, Refusal> {
    serde_json::to_value(report)
        .map_err(|error| Refusal::new(RefusalCode::Failed, format!("the answer cannot be written: {error}")))
}
