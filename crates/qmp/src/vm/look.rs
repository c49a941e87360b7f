//! What a machine says about itself and its devices.

use super::monitor::Operation;
use super::{DeviceId, Vm};
use crate::error::{Offence, QmpError};
use gate::{Deadline, ThreadToken};
use serde_json::{Value, json};

/// Where QEMU lists the devices that have ids.
const DEVICES: &str = "/machine/peripheral";

/// Most devices that a list may have: what is beyond is not looked at.
const MAX_DEVICES: usize = 4096;

/// The driver of a device that is served over vfio-user.
pub(super) const DRIVER: &str = "vfio-user-pci";

/// The state of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// QEMU's version, as `11.1.3`; empty if it did not say.
    pub version: String,
    /// QEMU's word for the state, such as `running`, `paused`, `inmigrate`, `prelaunch`.
    pub state: String,
    /// The processors run: only then a guest can answer anything.
    pub running: bool,
}

/// A device in a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugged {
    /// Its id.
    pub id: DeviceId,
    /// It is served over vfio-user.
    pub over_vfio_user: bool,
}

impl Vm {
    /// The state of the machine.
    ///
    /// # Errors
    /// [`QmpError`].
    pub fn status(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Status, QmpError> {
        let operation = self.monitor.operation();
        let (state, running) = status(&operation, token, deadline)?;
        let version = operation.version(token, deadline)?;
        Ok(Status { version, state, running })
    }

    /// The devices that have ids, those of other owners included.
    ///
    /// # Errors
    /// [`QmpError`].
    pub fn devices(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Vec<Plugged>, QmpError> {
        devices(&self.monitor.operation(), token, deadline)
    }

    /// Whether there is a device with that id, whoever plugged it.
    ///
    /// # Errors
    /// [`QmpError`].
    pub fn is_plugged(
        &self,
        token: &mut ThreadToken,
        id: &DeviceId,
        deadline: Deadline,
    ) -> Result<bool, QmpError> {
        let devices = self.devices(token, deadline)?;
        Ok(devices.iter().any(|device| device.id == *id))
    }
}

/// QEMU's word for the state, and whether the processors run.
pub(super) fn status(
    operation: &Operation<'_>,
    token: &mut ThreadToken,
    deadline: Deadline,
) -> Result<(String, bool), QmpError> {
    let answer = operation.execute(token, "query-status", json!({}), deadline)?;
    let state = answer.get("status").and_then(Value::as_str).map(crate::error::printable);
    let running = answer.get("running").and_then(Value::as_bool);
    state.zip(running).ok_or(QmpError::Protocol(Offence::NotAMessage))
}

pub(super) fn devices(
    operation: &Operation<'_>,
    token: &mut ThreadToken,
    deadline: Deadline,
) -> Result<Vec<Plugged>, QmpError> {
    let answer = operation.execute(token, "qom-list", json!({"path": DEVICES}), deadline)?;
    let entries = answer.as_array().ok_or(QmpError::Protocol(Offence::NotAMessage))?;
    Ok(entries.iter().filter_map(plugged).take(MAX_DEVICES).collect())
}

/// A device in QEMU's list of properties; other properties, and ids that are none, are passed over.
fn plugged(entry: &Value) -> Option<Plugged> {
    let driver = entry.get("type")?.as_str()?.strip_prefix("child<")?.strip_suffix('>')?;
    let id = entry.get("name")?.as_str()?.parse().ok()?;
    Some(Plugged { id, over_vfio_user: driver == DRIVER })
}
