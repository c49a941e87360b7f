//! Giving a machine a device.

use super::look::{self, DRIVER};
use super::monitor::Operation;
use super::{DeviceId, Vm};
use crate::error::{QmpError, Refusal};
use gate::{Deadline, ThreadToken};
use serde_json::{Value, json};
use std::path::Path;
use thiserror::Error;

/// How long QEMU waits for each answer of a device, in milliseconds. Its default of 5 s is short for a device that is being
/// reset, and an answer that comes later than it loses the stream.
const MESSAGE_TIMEOUT_MS: u32 = 60_000;

/// What a machine is to be given.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// What QEMU is to call it.
    pub id: &'a DeviceId,
    /// Where it is served, as QEMU sees the path.
    pub socket: &'a Path,
    /// The bus to put it on, such as a root port's id; QEMU's choice if there is none, which on q35 is a bus that takes
    /// nothing at run time.
    pub bus: Option<&'a str>,
}

/// How a machine came by its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlugOutcome {
    /// It was given it now. The guest finds it in its own time.
    Plugged,
    /// It had it: a device of that id that is served over vfio-user.
    WasThere,
}

/// Why a machine was not given its device. None but [`PlugError::Qmp`] leaves anything behind in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlugError {
    /// The socket's path cannot be said in QMP.
    #[error("the path of the socket is no UTF-8 text: choose another run_dir")]
    SocketPath,
    /// Another device has the id.
    #[error("the machine has another device with the id {0}: choose another with --id")]
    IdInUse(DeviceId),
    /// There is no such bus.
    #[error(
        "the machine has no such bus ({0}): start it with -device pcie-root-port,id=NAME and attach with --bus NAME"
    )]
    NoSuchBus(Refusal),
    /// The bus takes no device at run time.
    #[error(
        "the bus takes no device while the machine runs ({0}): start it with -device pcie-root-port,id=NAME and attach with --bus NAME"
    )]
    FixedBus(Refusal),
    /// Something else is there.
    #[error("there is a device on the bus already ({0}): attach to another one with --bus")]
    BusInUse(Refusal),
    /// This QEMU knows no vfio-user.
    #[error("this QEMU has no vfio-user-pci ({0}): use QEMU 10.1 or later, built with vfio-user")]
    NoDriver(Refusal),
    /// QEMU could not make friends with the device's server.
    #[error("QEMU cannot attach to the device's socket ({0}): see the events of the slot for the reason")]
    Server(Refusal),
    /// QEMU says no for a reason that has no case of its own.
    #[error("QEMU refuses the device: {0}")]
    Refused(Refusal),
    /// QEMU could not be asked. After a deadline or a cancel it may still take the device.
    #[error(transparent)]
    Qmp(#[from] QmpError),
}

impl Vm {
    /// Gives the machine a device. True success is told by the client that attaches to the device's socket; the guest then
    /// finds it in its own time, also one that is paused.
    ///
    /// # Errors
    /// [`PlugError`].
    pub fn plug(
        &self,
        token: &mut ThreadToken,
        device: &Device<'_>,
        deadline: Deadline,
    ) -> Result<PlugOutcome, PlugError> {
        let arguments = arguments(device)?;
        let operation = self.monitor.operation();
        match operation.execute(token, "device_add", arguments, deadline) {
            Ok(_) => Ok(PlugOutcome::Plugged),
            Err(QmpError::Refused { refusal, .. }) if refusal.words.starts_with("Duplicate device ID") => {
                recognise(&operation, token, device.id, deadline)
            }
            Err(QmpError::Refused { refusal, .. }) => Err(understand(refusal)),
            Err(error) => Err(error.into()),
        }
    }
}

fn arguments(device: &Device<'_>) -> Result<Value, PlugError> {
    let socket = device.socket.to_str().ok_or(PlugError::SocketPath)?;
    let mut arguments = json!({
        "driver": DRIVER,
        "id": device.id.as_str(),
        "socket": {"type": "unix", "path": socket},
        "x-msg-timeout": MESSAGE_TIMEOUT_MS,
    });
    if let (Some(bus), Some(arguments)) = (device.bus, arguments.as_object_mut()) {
        arguments.insert("bus".to_owned(), bus.into());
    }
    Ok(arguments)
}

/// The id is in use: by what we plugged before, unless it is no vfio-user device. QEMU does not tell its socket.
fn recognise(
    operation: &Operation<'_>,
    token: &mut ThreadToken,
    id: &DeviceId,
    deadline: Deadline,
) -> Result<PlugOutcome, PlugError> {
    let devices = look::devices(operation, token, deadline)?;
    let ours = devices.iter().any(|device| device.id == *id && device.over_vfio_user);
    if ours { Ok(PlugOutcome::WasThere) } else { Err(PlugError::IdInUse(id.clone())) }
}

/// QEMU has one class for all of these, so its words decide.
fn understand(refusal: Refusal) -> PlugError {
    let says = |words: &str| refusal.words.contains(words);
    if says("not support hotplug") {
        PlugError::FixedBus(refusal)
    } else if says("already occupied") || says("no slot/function available") || says("is full") {
        PlugError::BusInUse(refusal)
    } else if says("not a valid device model") {
        PlugError::NoDriver(refusal)
    } else if says("Failed to connect") || says("version reply") || says("waiting for reply") {
        PlugError::Server(refusal)
    } else if refusal.words.starts_with("Bus '") && says("not found") {
        PlugError::NoSuchBus(refusal)
    } else {
        PlugError::Refused(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_qemu_11_1_3_are_understood() {
        let answer = |words: &str| understand(Refusal::new("GenericError", words));
        assert!(matches!(answer("Bus 'rp9' not found"), PlugError::NoSuchBus(_)));
        assert!(matches!(answer("Bus 'pcie.0' does not support hotplugging"), PlugError::FixedBus(_)));
        let occupied =
            "PCI: slot 0 function 0 already occupied by edu, new func edu cannot be exposed to guest.";
        assert!(matches!(answer(occupied), PlugError::BusInUse(_)));
        assert!(matches!(answer("'vfio-user-pci' is not a valid device model name"), PlugError::NoDriver(_)));
        for words in [
            "Failed to connect to '/run/x': No such file or directory",
            "vfio vfio-user:/run/x: version reply: No such device",
            "vfio vfio-user:/run/x: timed out waiting for reply: Connection timed out",
        ] {
            assert!(matches!(answer(words), PlugError::Server(_)), "{words}");
        }
        assert!(matches!(answer("Invalid qdev ID '3d'"), PlugError::Refused(_)));
    }

    #[test]
    fn a_device_is_described_as_qemu_takes_it() {
        let id = DeviceId::of_slot("s0").unwrap();
        let device = Device { id: &id, socket: Path::new("/run/s0"), bus: Some("rp0") };
        let expected = json!({"driver": "vfio-user-pci", "id": "portcullis-s0", "bus": "rp0",
            "socket": {"type": "unix", "path": "/run/s0"}, "x-msg-timeout": 60000});
        assert_eq!(arguments(&device), Ok(expected));
    }
}
