//! Functions that go into virtual machines and come out again, as an operator asks for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::slot::{DEFAULT_UNPLUG_TIMEOUT, Request as SlotRequest};
use gate::ThreadToken;
use pci_spec::Bdf;

use super::DaemonOperator;
use super::slots::refuse_msix;
use crate::control::protocol::{Refusal, RefusalCode};
use crate::control::report::{OperationReport, VmReport};
use crate::daemon::Place;
use crate::daemon::operations::Operation;
use crate::daemon::vms::{Found, VmError};

impl DaemonOperator {
    pub(super) fn vm_add(
        &self,
        token: &mut ThreadToken,
        name: &str,
        qmp: PathBuf,
    ) -> Result<VmReport, Refusal> {
        let places: Vec<_> = self.places().cloned().collect();
        self.vms.add(token, name, qmp, &places).map_err(refused)?;
        self.vm(token, name)
    }

    pub(super) fn vm_list(&self, token: &mut ThreadToken) -> Vec<VmReport> {
        self.vms.list(token).into_iter().map(report).collect()
    }

    pub(super) fn vm_remove(&self, token: &mut ThreadToken, name: &str) -> Result<VmReport, Refusal> {
        let vm = self.vm(token, name)?;
        self.vms.remove(name).map_err(refused)?;
        Ok(vm)
    }

    fn vm(&self, token: &mut ThreadToken, name: &str) -> Result<VmReport, Refusal> {
        let found = self.vms.list(token).into_iter().find(|vm| vm.name == name);
        found.map(report).ok_or_else(|| refused(VmError::Unknown(name.to_owned())))
    }

    pub(super) fn attach(
        &self,
        token: &mut ThreadToken,
        target: &str,
        vm: &str,
        bus: Option<String>,
    ) -> Result<OperationReport, Refusal> {
        let place = self.place(target)?;
        // There is something to attach.
        let _function = self.find(token, target)?;
        let vm = self.vms.find(vm).map_err(refused)?;
        if let Some(holder) = self.vms.still_in(token, place) {
            let name = &place.name;
            let message =
                format!("{holder} has a device of {name} still; `portcullis detach {name}` removes it there");
            return Err(Refusal::new(RefusalCode::Busy, message));
        }
        if place.server.client().is_some() {
            let message = format!("{} has a client already; `portcullis slot list` shows it", place.name);
            return Err(Refusal::new(RefusalCode::Busy, message));
        }
        let operation = self.begin(&place.name, "attach")?;
        operation.does(format!("{} takes it", vm.name()));
        self.vms.attach(place, vm, bus, Arc::clone(&operation));
        Ok(self.operation_report(&operation))
    }

    /// By way of the guest; a guest that does not let go in time loses the function, as in an unplug. What is gone already, and
    /// QEMU still has a device of, is removed there.
    pub(super) fn detach(&self, target: &str, timeout_ms: Option<u64>) -> Result<OperationReport, Refusal> {
        let place = self.place(target)?;
        if self.vms.of(place).is_none() {
            let message = format!(
                "{name} is in no virtual machine that is known; `portcullis unplug {name}` takes it from any client",
                name = place.name
            );
            return Err(Refusal::new(RefusalCode::Failed, message));
        }
        let timeout = timeout_ms.map_or(DEFAULT_UNPLUG_TIMEOUT, Duration::from_millis);
        if self.vms.must_not_delete(place) && !timeout.is_zero() {
            return Err(refuse_msix(place));
        }
        let operation = self.begin(&place.name, "detach")?;
        let (slots, name) = (Arc::clone(&self.slots), place.name.clone());
        let escalate = move |operation: Arc<Operation>| {
            let has_it = |slot: &&crate::daemon::Slot| slot.places.iter().any(|place| place.name == name);
            if let Some(slot) = slots.iter().find(has_it) {
                operation.does("");
                slot.ask(SlotRequest::Disable { timeout: Duration::ZERO }, operation, false);
            }
        };
        if timeout.is_zero() {
            escalate(Arc::clone(&operation));
        } else {
            self.vms.detach(place, timeout, Arc::clone(&operation), escalate);
        }
        Ok(self.operation_report(&operation))
    }

    /// A place, whether or not something stands there.
    fn place(&self, target: &str) -> Result<&Arc<Place>, Refusal> {
        let address: Option<Bdf> = target.parse().ok();
        let is_it = |place: &&Arc<Place>| place.name == target || Some(place.address) == address;
        self.places().find(is_it).ok_or_else(|| {
            let shown: String = target.chars().filter(|c| !c.is_control()).take(64).collect();
            let message =
                format!("there is no slot with a socket `{shown}`; `portcullis slot list` lists them");
            Refusal::new(RefusalCode::NotFound, message)
        })
    }
}

fn report(found: Found) -> VmReport {
    let qmp = found.qmp.display().to_string();
    VmReport { vm: found.name, qmp, state: found.state, slots: found.places }
}

fn refused(error: VmError) -> Refusal {
    let code = match error {
        VmError::Unknown(_) => RefusalCode::NotFound,
        VmError::NameTaken(_) | VmError::TooMany => RefusalCode::Busy,
        VmError::BadName => RefusalCode::BadRequest,
    };
    Refusal::new(code, error.to_string())
}
