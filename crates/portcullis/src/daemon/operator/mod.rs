//! What the control socket can ask for.
//!
//! * this file: which function is meant, and who carries the request out;
//! * `views`: what is told of functions and slots;
//! * `changes`: resets, power, virtual functions, registers;
//! * `admission`: freeze, thaw, revoke;
//! * `guard`: register writes that would do half of what one of these does.

mod admission;
mod changes;
mod guard;
mod views;

use std::sync::Arc;

use gate::ThreadToken;
use pci_spec::Bdf;
use serde::Serialize;
use topology::{Node, Snapshot};

use super::Slot;
use super::machine::Machine;
use crate::control::protocol::{Refusal, RefusalCode, Request};
use crate::control::server::Operator;
use crate::events::Journal;
use crate::inspect;

/// Carries out control requests on the functions of a daemon.
pub(super) struct DaemonOperator {
    slots: Arc<[Slot]>,
    machine: Arc<Machine>,
    journal: Arc<Journal>,
}

/// One function as a request means it.
struct Target<'a> {
    snapshot: Arc<Snapshot>,
    node: Arc<Node>,
    /// The slot that it is in; none for a root port or a virtual function.
    slot: Option<&'a Slot>,
}

impl Target<'_> {
    fn address(&self) -> Bdf {
        self.node.address
    }
}

impl DaemonOperator {
    pub(super) fn new(slots: Arc<[Slot]>, machine: Arc<Machine>, journal: Arc<Journal>) -> Self {
        Self { slots, machine, journal }
    }

    /// The function in the slot with this name, or the one at this address.
    fn find(&self, token: &ThreadToken, target: &str) -> Result<Target<'_>, Refusal> {
        let snapshot = self.machine.snapshot(token);
        let named = self.slots.iter().find(|slot| slot.config.name == target);
        let address = named.map(|slot| slot.config.address).or_else(|| target.parse().ok());
        let node = address.and_then(|at| snapshot.function(at).cloned()).ok_or_else(|| {
            let shown: String = target.chars().filter(|c| !c.is_control()).take(64).collect();
            let message = format!("there is no function or slot `{shown}`; `portcullis ls` lists them");
            Refusal::new(RefusalCode::NotFound, message)
        })?;
        let slot = self.slots.iter().find(|slot| slot.config.address == node.address);
        Ok(Target { snapshot, node, slot })
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
            Request::FunctionFreeze { target } => {
                let target = self.find(token, &target)?;
                value(self.freeze(token, &target)?)
            }
            Request::FunctionThaw { target } => {
                let target = self.find(token, &target)?;
                value(self.thaw(token, &target)?)
            }
            Request::FunctionRevoke { target } => {
                let target = self.find(token, &target)?;
                value(self.revoke(token, &target)?)
            }
            Request::SlotList {} => value(self.slots.iter().map(views::slot_summary).collect::<Vec<_>>()),
            Request::Locks {} => value(inspect::locks()),
            Request::EventList { target } => {
                let target = target.map(|target| self.find(token, &target)).transpose()?;
                let name = target.as_ref().map(|target| target.node.function.name());
                value(self.journal.entries(name))
            }
        }
    }
}

fn value(report: impl Serialize) -> Result<serde_json::Value, Refusal> {
    serde_json::to_value(report)
        .map_err(|error| Refusal::new(RefusalCode::Failed, format!("the answer cannot be written: {error}")))
}
