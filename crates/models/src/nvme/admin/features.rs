//! Get and Set Features. Values live until the next reset; none can be saved, and each says so.
//!
//! NVMe 1.4 s5.13 *Get Features command*, s5.21 *Set Features command*.

use nvme_spec::command::SubmissionEntry;
use nvme_spec::event::Event;
use nvme_spec::feature::{
    AsyncEventConfiguration, FeatureId, GetCdw10, HostBehaviorSupport, InterruptVectorConfiguration,
    NumberOfQueues, PowerManagement, Select, SetCdw10, SupportedCapabilities, TemperatureThreshold,
    VolatileWriteCache,
};
use nvme_spec::log::CriticalWarning;
use nvme_spec::{NSID_ALL, NSID_NONE, Status};
use zerocopy::{FromZeros, IntoBytes};

use super::super::engine::{Cx, Engine, Outcome};
use super::super::health::TEMPERATURE_K;
use super::identify::WARNING_TEMPERATURE_K;
use crate::saved::{Field, Reader, Writer, fields};

/// Threshold selector of the composite sensor, and of all sensors.
const COMPOSITE: u8 = 0;
const ALL_SENSORS: u8 = 15;

/// The values in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Features {
    /// Kept, not acted upon: all queues have equal turns of a fixed burst.
    arbitration: u32,
    over_k: u16,
    under_k: u16,
    /// Kept, not acted upon: commands are not retried here.
    error_recovery: u32,
    cache_off: bool,
    /// Kept, not acted upon: interrupts are raised once per batch anyway.
    coalescing: u32,
    /// A bit for each vector that is not to be coalesced.
    uncoalesced: u128,
    atomicity: u32,
    events: AsyncEventConfiguration,
    retry_delay: u8,
}

fields!(Features {
    arbitration,
    over_k,
    under_k,
    error_recovery,
    cache_off,
    coalescing,
    uncoalesced,
    atomicity,
    events,
    retry_delay,
});

impl Field for AsyncEventConfiguration {
    fn put(&self, out: &mut Writer) {
        self.0.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        u32::take(from).map(Self)
    }
}

impl Default for Features {
    fn default() -> Self {
        Self {
            arbitration: 5,
            over_k: WARNING_TEMPERATURE_K,
            under_k: 0,
            error_recovery: 0,
            cache_off: false,
            coalescing: 0,
            uncoalesced: 0,
            atomicity: 0,
            events: AsyncEventConfiguration::default(),
            retry_delay: 0,
        }
    }
}

impl Features {
    /// Whether the host has left the volatile write cache on.
    pub(in super::super) fn cache_is_on(&self) -> bool {
        !self.cache_off
    }

    /// The critical warnings that hold at present.
    pub(super) fn warnings(&self) -> CriticalWarning {
        let beyond = TEMPERATURE_K >= self.over_k || TEMPERATURE_K <= self.under_k;
        if beyond { CriticalWarning::TEMPERATURE } else { CriticalWarning::empty() }
    }

    /// The value of a feature; `None` if it is not offered with this dword 11.
    fn get(&self, id: FeatureId, dword11: u32, vectors: u16, io_queues: u16, cache: bool) -> Option<u32> {
        Some(match id {
            FeatureId::Arbitration => self.arbitration,
            FeatureId::PowerManagement => 0,
            FeatureId::TemperatureThreshold => {
                let asked = TemperatureThreshold(dword11);
                match (asked.tmpsel(), asked.thsel()) {
                    (COMPOSITE, 0) => self.over_k.into(),
                    (COMPOSITE, 1) => self.under_k.into(),
                    _ => return None,
                }
            }
            FeatureId::ErrorRecovery => self.error_recovery,
            FeatureId::VolatileWriteCache if cache => {
                VolatileWriteCache::default().with_wce(!self.cache_off).0
            }
            FeatureId::NumberOfQueues => queue_count(io_queues),
            FeatureId::InterruptCoalescing => self.coalescing,
            FeatureId::InterruptVectorConfiguration => {
                let iv = InterruptVectorConfiguration(dword11).iv();
                if iv >= vectors {
                    return None;
                }
                let cd = self.uncoalesced >> iv & 1 != 0;
                InterruptVectorConfiguration::default().with_iv(iv).with_cd(cd).0
            }
            FeatureId::WriteAtomicityNormal => self.atomicity,
            FeatureId::AsyncEventConfiguration => self.events.0,
            FeatureId::HostBehaviorSupport => 0,
            _ => return None,
        })
    }
}

impl Engine {
    pub(super) fn get_features(
        &mut self,
        cx: &mut Cx<'_>,
        entry: &SubmissionEntry,
    ) -> Result<Outcome, Status> {
        let asked = GetCdw10(entry.cdw10.get());
        let id = FeatureId::try_from(asked.fid()).map_err(|_| Status::INVALID_FIELD)?;
        let select = asked.select().ok_or(Status::INVALID_FIELD)?;
        let (dword11, cache) = (entry.cdw11.get(), self.io.has_cache());
        let (vectors, io_queues) = (self.admin.vectors, self.admin.io_queues);
        let default = Features::default();
        // Nothing is saved, so what was saved is the default.
        let values = if select == Select::Current { &self.admin.features } else { &default };
        let value = values.get(id, dword11, vectors, io_queues, cache).ok_or(Status::INVALID_FIELD)?;
        if select == Select::Supported {
            return Ok(Outcome::Done(SupportedCapabilities::default().with_changeable(true).0));
        }
        if id == FeatureId::HostBehaviorSupport {
            let mut data = HostBehaviorSupport::new_zeroed();
            data.acre = values.retry_delay;
            self.io.write_to_guest(cx, entry, data.as_bytes())?;
        }
        Ok(Outcome::Done(value))
    }

    pub(super) fn set_features(
        &mut self,
        cx: &mut Cx<'_>,
        entry: &SubmissionEntry,
    ) -> Result<Outcome, Status> {
        let asked = SetCdw10(entry.cdw10.get());
        let id = FeatureId::try_from(asked.fid()).map_err(|_| Status::INVALID_FIELD)?;
        if asked.sv() {
            return Err(Status::FEATURE_NOT_SAVEABLE);
        }
        if !matches!(entry.nsid.get(), NSID_NONE | NSID_ALL) && id != FeatureId::ErrorRecovery {
            return Err(Status::FEATURE_NOT_NAMESPACE_SPECIFIC);
        }
        let value = entry.cdw11.get();
        let features = &mut self.admin.features;
        match id {
            FeatureId::Arbitration => features.arbitration = value,
            FeatureId::PowerManagement if PowerManagement(value).ps() == 0 => {}
            FeatureId::TemperatureThreshold => return self.set_temperature(TemperatureThreshold(value)),
            // Bit 16 would have reads of deallocated blocks fail, which is not offered.
            FeatureId::ErrorRecovery if value >> 16 == 0 => features.error_recovery = value,
            FeatureId::VolatileWriteCache if self.io.has_cache() => {
                features.cache_off = !VolatileWriteCache(value).wce();
                self.io.set_cache(!features.cache_off);
            }
            FeatureId::NumberOfQueues => return self.set_queue_count(NumberOfQueues(value)),
            FeatureId::InterruptCoalescing => features.coalescing = value & 0xffff,
            FeatureId::InterruptVectorConfiguration => {
                let asked = InterruptVectorConfiguration(value);
                let bit = 1u128.checked_shl(asked.iv().into()).filter(|_| asked.iv() < self.admin.vectors);
                let bit = bit.ok_or(Status::INVALID_FIELD)?;
                features.uncoalesced =
                    if asked.cd() { features.uncoalesced | bit } else { features.uncoalesced & !bit };
            }
            FeatureId::WriteAtomicityNormal => features.atomicity = value & 1,
            FeatureId::AsyncEventConfiguration => {
                features.events = AsyncEventConfiguration(value);
                self.warn_of_temperature();
            }
            FeatureId::HostBehaviorSupport => {
                let mut data = HostBehaviorSupport::new_zeroed();
                self.io.read_from_guest(cx, entry, data.as_mut_bytes())?;
                if data.acre > 1 {
                    return Err(Status::INVALID_FIELD);
                }
                self.admin.features.retry_delay = data.acre;
            }
            _ => return Err(Status::INVALID_FIELD),
        }
        Ok(Outcome::Done(0))
    }

    fn set_temperature(&mut self, asked: TemperatureThreshold) -> Result<Outcome, Status> {
        let features = &mut self.admin.features;
        match (asked.tmpsel(), asked.thsel()) {
            (COMPOSITE | ALL_SENSORS, 0) => features.over_k = asked.tmpth(),
            (COMPOSITE | ALL_SENSORS, 1) => features.under_k = asked.tmpth(),
            _ => return Err(Status::INVALID_FIELD),
        }
        self.warn_of_temperature();
        Ok(Outcome::Done(0))
    }

    fn warn_of_temperature(&mut self) {
        let features = &self.admin.features;
        let enabled = CriticalWarning::from_bits_truncate(features.events.smart());
        if enabled.intersects(features.warnings()) {
            self.admin.events.raise(Event::TEMPERATURE_THRESHOLD);
        }
    }

    /// The host always gets all queues; it must not ask again once it has made some.
    fn set_queue_count(&mut self, asked: NumberOfQueues) -> Result<Outcome, Status> {
        if asked.submission() == u16::MAX || asked.completion() == u16::MAX {
            return Err(Status::INVALID_FIELD);
        }
        if self.queues.any_io() {
            return Err(Status::COMMAND_SEQUENCE_ERROR);
        }
        Ok(Outcome::Done(queue_count(self.admin.io_queues)))
    }
}

/// The I/O queues of each kind as the feature states them, less one.
fn queue_count(io_queues: u16) -> u32 {
    let count = io_queues.saturating_sub(1);
    NumberOfQueues::default().with_submission(count).with_completion(count).0
}
