//! Taking a function away for good, as an operator asks for it.
//!
//! The gate changes at once, and with it everything in this process. What a client has mapped follows a moment later;
//! the answer waits for that, and says if it has not come.

use std::time::{Duration, Instant};

use gate::{Deadline, GateState, ThreadToken};
use pci_core::Errno;

use super::changes::{micros, refuse};
use super::{DaemonOperator, Target};
use crate::control::protocol::Refusal;
use crate::control::report::AdmissionChange;
use crate::inspect;

/// How long a change may wait for what is inside, and for what clients have mapped to follow.
const TIMEOUT: Duration = Duration::from_secs(4);

impl DaemonOperator {
    /// Takes a function away from whoever uses it. There is no way back but to serve it anew.
    pub(super) fn revoke(
        &self,
        token: &mut ThreadToken,
        target: &Target<'_>,
    ) -> Result<AdmissionChange, Refusal> {
        let start = Instant::now();
        let at = target.address();
        if target.node.function.config().is_bridge() {
            let message = format!("{at} is a bridge; revoke the functions below it one by one");
            return Err(refuse(Errno::EINVAL, &message));
        }
        if state(target) == GateState::Gone {
            return Err(gone(target));
        }
        if target.node.function.config().sr_iov().is_some_and(|vfs| vfs.enabled) {
            // They would be left without their physical function, and nobody could remove them any more.
            let message =
                format!("{at} has virtual functions; `portcullis numvfs {at} 0` removes them first");
            return Err(refuse(Errno::EBUSY, &message));
        }
        let retired = target.node.function.disconnect(token, Deadline::after(TIMEOUT));
        self.tell(target, String::from("revoked: it is gone for good"));
        let left = retired.orphans.iter().map(ToString::to_string).collect();
        Ok(report(token, target, true, start, left))
    }
}

fn state(target: &Target<'_>) -> GateState {
    target.node.function.gate().status().state
}

fn gone(target: &Target<'_>) -> Refusal {
    refuse(Errno::ENODEV, &format!("{} is gone", target.address()))
}

fn report(
    token: &mut ThreadToken,
    target: &Target<'_>,
    changed: bool,
    start: Instant,
    still_inside: Vec<String>,
) -> AdmissionChange {
    let settled = target.node.function.mappings().settle(token, Deadline::after(TIMEOUT));
    AdmissionChange {
        address: target.address().to_string(),
        state: inspect::state_name(state(target)).to_owned(),
        changed,
        mappings_followed: settled.is_ok(),
        still_inside,
        took_us: micros(start),
    }
}
