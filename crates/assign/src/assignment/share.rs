//! Device memory in the hands of a consumer in another process, such as a vfio-user client.
//!
//! Such a consumer is given a file, and what it maps of it cannot be taken away from here. [`mapping::Shared`] says what is
//! done instead; here it is decided what is given, and it is kept with the consumer's hold.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use gate::{Deadline, ThreadToken};
use mapping::{Area, MapError, Shared};
use pci_core::Mappable;

use super::{Assignment, Attached};
use crate::event::Event;
use crate::region::RegionIndex;

/// The memory of one region, in the hands of the consumer.
#[derive(Debug)]
pub struct SharedRegion {
    areas: Vec<Area>,
    shared: Shared,
}

impl SharedRegion {
    /// The parts that may be mapped, offsets from the region's start and into the file alike. Never empty.
    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// The file to map.
    pub fn file(&self) -> &Arc<OwnedFd> {
        &self.shared.file
    }
}

/// What became of a consumer's first question for the memory of a region; later ones get the same answer.
#[derive(Debug)]
pub(super) struct Answer {
    region: u32,
    shared: Option<SharedRegion>,
}

impl Attached {
    /// Gives the consumer, which is another process, the memory of a region to map: the same file however often it asks, and
    /// until it leaves. `owner` describes it to the operator; it is called once for a region.
    ///
    /// While the function is frozen the consumer finds data hidden, and brought back afterwards. What it still has mapped
    /// when it has left, or when the function is gone, reaches nothing.
    ///
    /// `None`: nothing of the region may be mapped, or no more than is (an event says so): it is trapped. Areas beyond
    /// [`mapping::MappingLimits`] are left out. Waits until what the last consumer had of it has been taken back, at
    /// most for [`Limits::access_timeout`](crate::Limits::access_timeout) after this one attached.
    pub fn share(
        &mut self,
        token: &mut ThreadToken,
        index: u32,
        owner: impl FnOnce() -> String,
    ) -> Option<&SharedRegion> {
        let at = match self.answers.iter().position(|answer| answer.region == index) {
            Some(at) => at,
            None => {
                let mappable = RegionIndex::new(index).ok().and_then(|region| self.mappable(region))?;
                let shared = self.target.hand_out(token, index, &mappable, &owner(), self.share_until);
                self.answers.push(Answer { region: index, shared });
                self.answers.len() - 1
            }
        };
        self.answers.get(at)?.shared.as_ref()
    }
}

impl Assignment {
    /// Shares as many of a region's areas as may be, from the first on.
    fn hand_out(
        &self,
        token: &mut ThreadToken,
        region: u32,
        mappable: &Mappable,
        owner: &str,
        until: Deadline,
    ) -> Option<SharedRegion> {
        let Mappable { memory, areas } = mappable;
        let mappings = self.function.mappings();
        let share = |part: &[Area]| mappings.share(owner.to_owned(), region, memory, part);
        let mut refusal = None;
        for count in (1..=areas.len()).rev() {
            let part = areas.get(..count)?;
            let mut outcome = share(part);
            if is_busy(&outcome) {
                // The last consumer's leave has waited for this too: it is rare, and so is that it fails again.
                let _ = mappings.settle(token, until);
                outcome = share(part);
            }
            match outcome {
                Ok(shared) => {
                    self.report_trapped(region, areas.get(count..)?, refusal.as_ref());
                    return Some(SharedRegion { areas: part.to_vec(), shared });
                }
                Err(error @ MapError::Limit { .. }) => refusal = Some(error),
                Err(error) => {
                    refusal = Some(error);
                    break;
                }
            }
        }
        self.report_trapped(region, areas, refusal.as_ref());
        None
    }

    /// Leaves what was shared to the consumer that had it: the device goes on with memory of its own. The consumer's
    /// requests have ended.
    pub(super) fn take_back(&self, token: &mut ThreadToken, given: Vec<Answer>, deadline: Deadline) {
        if given.iter().all(|answer| answer.shared.is_none()) {
            return;
        }
        drop(given);
        // The next consumer is not to meet this one's memory.
        if let Err(error) = self.function.mappings().settle(token, deadline) {
            tracing::warn!(function = self.function.name(), %error, "memory of the last client is still shown");
        }
    }

    fn report_trapped(&self, region: u32, areas: &[Area], refusal: Option<&MapError>) {
        if let Some(error) = refusal {
            let bytes = areas.iter().map(|area| area.size).sum();
            self.port.report(Event::NotShared { region, bytes, detail: error.to_string() });
        }
    }
}

/// The last consumer's memory has not been taken back yet.
fn is_busy<T>(outcome: &Result<T, MapError>) -> bool {
    matches!(outcome, Err(MapError::System(error)) if error.kind() == io::ErrorKind::ResourceBusy)
}
