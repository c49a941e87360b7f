//! What came of what takes its time.

use std::sync::Arc;
use std::time::Duration;

use gate::{Deadline, ThreadToken};

use super::DaemonOperator;
use crate::control::protocol::{Refusal, RefusalCode};
use crate::control::report::OperationReport;
use crate::daemon::Slot;
use crate::daemon::operations::Operation;

/// Longest wait for the end of an operation. A client that leaves meanwhile is noticed only then.
const MAX_WAIT: Duration = Duration::from_secs(10);

impl DaemonOperator {
    pub(super) fn operation_list(&self) -> Vec<OperationReport> {
        self.operations.all().iter().map(|operation| self.operation_report(operation)).collect()
    }

    pub(super) fn operation_wait(
        &self,
        token: &mut ThreadToken,
        id: u64,
        timeout_ms: u64,
    ) -> Result<OperationReport, Refusal> {
        let operation = self.operations.find(id).ok_or_else(|| {
            let message =
                format!("there is no operation {id}, or it is long over; `portcullis operation list`");
            Refusal::new(RefusalCode::NotFound, message)
        })?;
        let deadline = Deadline::after(Duration::from_millis(timeout_ms).min(MAX_WAIT));
        self.operations.wait(&operation, token, deadline);
        Ok(self.operation_report(&operation))
    }

    /// A new one; refused if there are too many.
    pub(super) fn begin(&self, slot: &str, request: &'static str) -> Result<Arc<Operation>, Refusal> {
        self.operations.begin(slot, request, "").ok_or_else(too_many)
    }

    /// How it stands. What a slot does by itself is said by the slot.
    pub(super) fn operation_report(&self, operation: &Operation) -> OperationReport {
        let standing = operation.standing();
        let mut detail = standing.detail;
        if detail.is_empty() {
            // What goes into a virtual machine is one function of a card, and has its own name.
            let is_it = |slot: &&Slot| slot.places.iter().any(|place| place.name == operation.slot);
            let slot = self.slots.iter().find(is_it);
            detail = slot.map(|slot| slot.does()).unwrap_or_default();
        }
        OperationReport {
            id: operation.id,
            slot: operation.slot.clone(),
            request: operation.request.to_owned(),
            finished: standing.finished.map(str::to_owned),
            detail,
            took_us: u64::try_from(standing.took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

pub(super) fn too_many() -> Refusal {
    let message = "too many operations are under way; `portcullis operation list` shows them, and `portcullis cancel SLOT` \
                   calls them off";
    Refusal::new(RefusalCode::Busy, message)
}
