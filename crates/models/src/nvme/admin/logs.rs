//! Get Log Page.
//!
//! A page is built whole on the stack and the part that was asked for copied to the guest; what lies beyond the end of
//! a page reads as zeros.
//!
//! NVMe 1.4 s5.14 *Get Log Page command*.

use nvme_spec::command::SubmissionEntry;
use nvme_spec::identify::ascii;
use nvme_spec::log::{
    Cdw10, ChangedNamespaceList, CommandEffects, Effects, ErrorEntry, FirmwareSlot, LogPage,
};
use nvme_spec::{AdminOpcode, NSID_ALL, NSID_NONE, NvmOpcode, Status};
use zerocopy::{FromZeros, IntoBytes};

use super::super::engine::{Cx, Engine, Outcome};
use super::super::limits::{ERROR_LOG_ENTRIES, MAX_TRANSFER, PAGE_LEN};
use super::identify::FIRMWARE;

/// The longest page: error log, effects and changed namespaces are all this long.
const LONGEST: usize = PAGE_LEN;

impl Engine {
    pub(super) fn get_log_page(
        &mut self,
        cx: &mut Cx<'_>,
        entry: &SubmissionEntry,
    ) -> Result<Outcome, Status> {
        let asked = Cdw10(entry.cdw10.get());
        let page = LogPage::try_from(asked.lid()).map_err(|_| Status::INVALID_LOG_PAGE)?;
        let (offset, length) = (entry.log_offset(), entry.log_length());
        if !offset.is_multiple_of(4) || length > MAX_TRANSFER {
            return Err(Status::INVALID_FIELD);
        }
        // Logs are the controller's, not a namespace's.
        if !matches!(entry.nsid.get(), NSID_NONE | NSID_ALL) && page != LogPage::SmartHealth {
            return Err(Status::INVALID_FIELD);
        }
        let mut data = [0; LONGEST];
        let size = self.build_log(page, &mut data)?;
        let start =
            usize::try_from(offset).ok().filter(|start| *start <= size).ok_or(Status::INVALID_FIELD)?;
        let there = data.get(start..size).unwrap_or_default();
        self.io.write_padded_to_guest(cx, entry, there, length)?;
        if !asked.rae() {
            self.admin.events.log_was_read(asked.lid());
        }
        Ok(Outcome::Done(0))
    }

    /// Builds a page at the beginning of `data`; returns its length.
    fn build_log(&mut self, page: LogPage, data: &mut [u8; LONGEST]) -> Result<usize, Status> {
        let mut put = |bytes: &[u8]| {
            if let Some(place) = data.get_mut(..bytes.len()) {
                place.copy_from_slice(bytes);
            }
            bytes.len()
        };
        Ok(match page {
            LogPage::ErrorInformation => {
                const ENTRY: usize = size_of::<ErrorEntry>();
                for index in 0..ERROR_LOG_ENTRIES {
                    if let Some(place) = data.get_mut(index * ENTRY..(index + 1) * ENTRY) {
                        place.copy_from_slice(self.admin.errors.entry(index).as_bytes());
                    }
                }
                ERROR_LOG_ENTRIES * ENTRY
            }
            LogPage::SmartHealth => {
                let warnings = self.admin.features.warnings();
                put(self.io.health.page(warnings, self.admin.errors.count()).as_bytes())
            }
            LogPage::FirmwareSlot => {
                let mut slots = FirmwareSlot::new_zeroed();
                slots.afi = 1;
                slots.frs[0] = ascii(FIRMWARE);
                put(slots.as_bytes())
            }
            // Namespaces neither come nor go yet: the list is empty.
            LogPage::ChangedNamespaceList => put(ChangedNamespaceList::new_zeroed().as_bytes()),
            LogPage::CommandEffects => put(self.effects().as_bytes()),
            _ => return Err(Status::INVALID_LOG_PAGE),
        })
    }

    /// The commands that `administer` and `execute` know, and what they change.
    fn effects(&self) -> CommandEffects {
        let mut effects = CommandEffects::new_zeroed();
        let supported = Effects::CSUPP.bits();
        for opcode in [
            AdminOpcode::DeleteIoSubmissionQueue,
            AdminOpcode::CreateIoSubmissionQueue,
            AdminOpcode::GetLogPage,
            AdminOpcode::DeleteIoCompletionQueue,
            AdminOpcode::CreateIoCompletionQueue,
            AdminOpcode::Identify,
            AdminOpcode::Abort,
            AdminOpcode::SetFeatures,
            AdminOpcode::GetFeatures,
            AdminOpcode::AsyncEventRequest,
        ] {
            effects.acs[usize::from(opcode.code())] = supported.into();
        }
        if self.admin.shadow_offered {
            effects.acs[usize::from(AdminOpcode::DoorbellBufferConfig.code())] = supported.into();
        }
        for opcode in [NvmOpcode::Flush, NvmOpcode::Read] {
            effects.iocs[usize::from(opcode.code())] = supported.into();
        }
        for opcode in [NvmOpcode::Write, NvmOpcode::WriteZeroes, NvmOpcode::DatasetManagement] {
            effects.iocs[usize::from(opcode.code())] = (Effects::CSUPP | Effects::LBCC).bits().into();
        }
        effects
    }
}
