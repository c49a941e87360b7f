//! One request to a guest to let a device go, and how QEMU answers it.

use super::monitor::Operation;
use super::{DeviceId, Vm};
use crate::error::{QmpError, Refusal};
use gate::{Deadline, ThreadToken};
use serde_json::json;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The guest was given it.
    Given,
    /// The guest has an earlier one that it has not answered; it was not given another.
    Pending,
    /// QEMU cannot pass it on right now, in its words; asking again later may help.
    NotNow(Refusal),
    /// The device cannot be taken out of this machine, in QEMU's words; asking again will not help.
    Impossible(Refusal),
    /// There is no such device: it has gone.
    NotThere,
}

impl Vm {
    /// Asks the guest once to let the device go, and waits for QEMU's answer only.
    ///
    /// # Errors
    /// [`QmpError`]; no [`QmpError::Refused`], which is an [`Asked`].
    pub fn ask_to_let_go(
        &self,
        token: &mut ThreadToken,
        id: &DeviceId,
        deadline: Deadline,
    ) -> Result<Asked, QmpError> {
        ask(&self.monitor.operation(), token, id, deadline)
    }
}

pub(super) fn ask(
    operation: &Operation<'_>,
    token: &mut ThreadToken,
    id: &DeviceId,
    deadline: Deadline,
) -> Result<Asked, QmpError> {
    match operation.execute(token, "device_del", json!({"id": id.as_str()}), deadline) {
        Ok(_) => Ok(Asked::Given),
        Err(QmpError::Refused { refusal, .. }) => Ok(understand(refusal)),
        Err(error) => Err(error),
    }
}

/// QEMU has one class for almost everything, so its words decide. Words that are not known here mean *not now*: to ask
/// again in vain costs less than to give up too early.
fn understand(refusal: Refusal) -> Asked {
    if refusal.class == "DeviceNotFound" {
        return Asked::NotThere;
    }
    let says = |words: &str| refusal.words.contains(words);
    if says("already in the process of unplug") {
        Asked::Pending
    } else if says("not support hotplug") || says("not hotpluggable") || says("unsupported by the port") {
        Asked::Impossible(refusal)
    } else {
        Asked::NotNow(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_qemu_11_1_3_are_understood() {
        let refusal = |class: &str, words: &str| Refusal::new(class, words);
        let answer = |words: &str| understand(refusal("GenericError", words));
        assert_eq!(understand(refusal("DeviceNotFound", "Device 'd0' not found")), Asked::NotThere);
        assert_eq!(answer("Device d0 is already in the process of unplug"), Asked::Pending);
        assert!(matches!(answer("Bus 'pcie.0' does not support hotplugging"), Asked::Impossible(_)));
        let blinking = "Hot-unplug failed: guest is busy (power indicator blinking)";
        assert!(matches!(answer(blinking), Asked::NotNow(_)));
    }
}
