//! The stream of events, for those who read and follow it.

use std::sync::Arc;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use pci_spec::Bdf;

use super::DaemonOperator;
use crate::control::protocol::{Refusal, RefusalCode};
use crate::control::stream::{EventPage, Subject};
use crate::daemon::Place;
use crate::events::{Cursor, Filter, MAX_PAGE};

/// Longest wait for an event. A client that leaves meanwhile is noticed only then.
const MAX_WAIT: Duration = Duration::from_secs(10);

impl DaemonOperator {
    /// Which events are about `target`: those of the slot, whether something is plugged into it or not, of the function,
    /// and of whatever had this name.
    pub(super) fn events_about(&self, token: &ThreadToken, target: Option<&str>) -> Result<Filter, Refusal> {
        let Some(target) = target else { return Ok(Filter::default()) };
        let function = |name: &str| Subject::Function(name.to_owned());
        let mut subjects = vec![function(target), Subject::Slot(target.into()), Subject::Vm(target.into())];
        if let Ok(slot) = self.slot(target) {
            let address = target.parse::<Bdf>().ok();
            let is_it = |place: &&Arc<Place>| place.name == target || Some(place.address) == address;
            subjects.extend(slot.places.iter().filter(is_it).map(|place| function(&place.name)));
            subjects.push(Subject::Slot(slot.name().to_owned()));
            return Ok(Filter::default().about(subjects));
        }
        match self.find(token, target) {
            Ok(found) => subjects.push(function(found.node.function.name())),
            // What is not there any more may have left events behind.
            Err(_) if self.journal.knows(&Filter::default().about(subjects.clone())) => {}
            Err(refusal) => return Err(refusal),
        }
        Ok(Filter::default().about(subjects))
    }

    pub(super) fn wait_for_events(
        &self,
        token: &mut ThreadToken,
        filter: Filter,
        kinds: Vec<String>,
        cursor: &Cursor,
        limit: Option<u16>,
        timeout_ms: u64,
    ) -> Result<EventPage, Refusal> {
        let unknown = |kind| {
            let message = format!("there is no kind of event `{kind}`; docs/operations.md lists them");
            Refusal::new(RefusalCode::BadRequest, message)
        };
        let filter = filter.of_kinds(kinds).map_err(unknown)?;
        let deadline = Deadline::after(Duration::from_millis(timeout_ms).min(MAX_WAIT));
        self.journal
            .wait(token, cursor, &filter, limit.map_or(MAX_PAGE, usize::from), deadline)
            .map_err(|error| Refusal::new(RefusalCode::TooManyClients, error.to_string()))
    }
}
