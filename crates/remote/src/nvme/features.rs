//! What the guest has set at the back end, to be set again at the next one. Pure.
//!
//! A feature whose value is in the command can be set again; one whose value was in the guest's memory (Timestamp, Host
//! Identifier, LBA Range Type, ...) cannot, since that memory has long been used for something else: those are counted, and the
//! next back end has its own values.

use nvme_spec::feature::{FeatureId, SetCdw10};
use nvme_spec::{AdminOpcode, SubmissionEntry};

/// Settings that are kept at most. A guest that sets more (namespaces times features) has the last ones lost.
const MOST: usize = 64;

/// The settings of one life of the guest's controller.
#[derive(Debug, Default)]
pub struct Features {
    set: Vec<SubmissionEntry>,
    forgotten: u32,
}

impl Features {
    /// No setting, with room for as many as are kept.
    #[must_use]
    pub fn new() -> Self {
        Self { set: Vec::with_capacity(MOST), forgotten: 0 }
    }

    /// An admin command has succeeded.
    pub fn note(&mut self, entry: &SubmissionEntry) {
        if entry.opcode != AdminOpcode::SetFeatures.code() {
            return;
        }
        if has_data(entry) {
            self.forgotten = self.forgotten.saturating_add(1);
        } else if let Some(known) = self.set.iter_mut().find(|known| key(known) == key(entry)) {
            *known = *entry;
        } else if self.set.len() < MOST {
            self.set.push(*entry);
        } else {
            self.forgotten = self.forgotten.saturating_add(1);
        }
    }

    /// The controller was reset: nothing is set any more.
    pub fn clear(&mut self) {
        self.set.clear();
        self.forgotten = 0;
    }

    /// The commands that set everything again, in the order of the first settings.
    #[must_use]
    pub fn commands(&self) -> &[SubmissionEntry] {
        &self.set
    }

    /// Settings that cannot be made again.
    #[must_use]
    pub fn forgotten(&self) -> u32 {
        self.forgotten
    }
}

fn has_data(entry: &SubmissionEntry) -> bool {
    matches!(
        FeatureId::try_from(SetCdw10(entry.cdw10.get()).fid()),
        Ok(FeatureId::LbaRangeType
            | FeatureId::AutonomousPowerStateTransition
            | FeatureId::HostMemoryBuffer
            | FeatureId::Timestamp
            | FeatureId::HostBehaviorSupport
            | FeatureId::HostIdentifier
            | FeatureId::PredictableLatencyMode)
            | Err(_)
    )
}

/// What a setting is the value of: feature, namespace, and whatever else dword 11 selects.
fn key(entry: &SubmissionEntry) -> (u8, u32, u32) {
    let fid = SetCdw10(entry.cdw10.get()).fid();
    let selected = match FeatureId::try_from(fid) {
        // Sensor and kind of threshold.
        Ok(FeatureId::TemperatureThreshold) => 0x003f_0000,
        // NVM set or endurance group.
        Ok(
            FeatureId::ReadRecoveryLevel
            | FeatureId::PredictableLatencyWindow
            | FeatureId::EnduranceGroupEvent,
        ) => 0xffff,
        _ => 0,
    };
    (fid, entry.nsid.get(), entry.cdw11.get() & selected)
}

#[cfg(test)]
mod tests {
    use models::nvme::host::commands::set_feature;

    use super::*;

    #[test]
    fn the_last_value_of_each_setting_is_kept() {
        let mut features = Features::new();
        features.note(&set_feature(FeatureId::VolatileWriteCache, 1));
        features.note(&set_feature(FeatureId::TemperatureThreshold, 0x0000_0150));
        features.note(&set_feature(FeatureId::TemperatureThreshold, 0x0010_0100));
        features.note(&set_feature(FeatureId::VolatileWriteCache, 0));
        features.note(&set_feature(FeatureId::TemperatureThreshold, 0x0000_0160));
        let values: Vec<u32> = features.commands().iter().map(|entry| entry.cdw11.get()).collect();
        assert_eq!(values, [0, 0x0000_0160, 0x0010_0100]);
        features.clear();
        assert!(features.commands().is_empty());
    }

    #[test]
    fn what_had_its_value_in_memory_is_counted() {
        let mut features = Features::new();
        features.note(&set_feature(FeatureId::Timestamp, 0));
        features.note(&SubmissionEntry { opcode: AdminOpcode::GetFeatures.code(), ..Default::default() });
        assert_eq!((features.commands().len(), features.forgotten()), (0, 1));
    }

    #[test]
    fn a_guest_cannot_make_it_grow() {
        let mut features = Features::new();
        for nsid in 0..1000_u32 {
            let entry = set_feature(FeatureId::ErrorRecovery, 1);
            features.note(&SubmissionEntry { nsid: nsid.into(), ..entry });
        }
        assert_eq!((features.commands().len(), features.forgotten()), (MOST, 1000 - 64));
    }
}
