//! Identify: who we are, what the namespace is. Everything said here is true of what the other files do.
//!
//! NVMe 1.4 s5.15 *Identify command*.

use nvme_spec::command::SubmissionEntry;
use nvme_spec::identify::{
    AsyncEvents, CONTROLLER_TYPE_IO, Cdw10, Cns, Controller, DEALLOCATED_READS_ZEROES, Descriptor,
    LIST_START_MAX, LbaFormat, LogAttributes, Namespace, NamespaceList, NvmCommands, OptionalAdmin,
    PowerState, VWC_FLUSH_ALL, VWC_PRESENT, WRITE_ZEROES_MAY_DEALLOCATE, ascii, encode_descriptors,
};
use nvme_spec::{Status, VERSION_1_4};
use zerocopy::{FromZeros, IntoBytes};

use super::super::config::fnv1a_64;
use super::super::engine::{Cx, Engine, Outcome};
use super::super::io::NSID;
use super::super::limits::{ASYNC_EVENT_REQUESTS, ERROR_LOG_ENTRIES, MDTS, PENDING_ABORTS};
use super::super::pci::{SUBSYSTEM_VENDOR, VENDOR};

/// The firmware revision: the version of this crate.
pub(super) const FIRMWARE: &str = env!("CARGO_PKG_VERSION");

/// Temperatures that would be worrying, in kelvin.
pub(super) const WARNING_TEMPERATURE_K: u16 = 343;
const CRITICAL_TEMPERATURE_K: u16 = 353;

/// What distinguishes this controller from others.
#[derive(Debug, Clone)]
pub(in super::super) struct Identity {
    serial: String,
    model: String,
    uuid: [u8; 16],
}

impl Identity {
    pub(in super::super) fn new(serial: String, model: String) -> Self {
        let uuid = stable_uuid(&serial);
        Self { serial, model, uuid }
    }

    /// Serial and model number: what a saved state is of.
    pub(in super::super) fn names(&self) -> (&str, &str) {
        (&self.serial, &self.model)
    }
}

impl Engine {
    pub(super) fn identify(&mut self, cx: &mut Cx<'_>, entry: &SubmissionEntry) -> Result<Outcome, Status> {
        let nsid = entry.nsid.get();
        match Cns::try_from(Cdw10(entry.cdw10.get()).cns()) {
            Ok(Cns::Controller) => {
                let page = self.controller();
                self.io.write_to_guest(cx, entry, page.as_bytes())?;
            }
            Ok(Cns::Namespace) => {
                // Namespaces cannot be managed, so what is common to all is asked for in vain.
                let valid = nsid == NSID;
                let page =
                    if valid { self.namespace() } else { return Err(Status::INVALID_NAMESPACE_OR_FORMAT) };
                self.io.write_to_guest(cx, entry, page.as_bytes())?;
            }
            Ok(Cns::ActiveNamespaceList) => {
                if nsid > LIST_START_MAX {
                    return Err(Status::INVALID_NAMESPACE_OR_FORMAT);
                }
                let mut list = NamespaceList::new_zeroed();
                if nsid < NSID {
                    list.nsid[0] = NSID.into();
                }
                self.io.write_to_guest(cx, entry, list.as_bytes())?;
            }
            Ok(Cns::NamespaceDescriptors) => {
                if nsid != NSID {
                    return Err(Status::INVALID_NAMESPACE_OR_FORMAT);
                }
                let uuid = Descriptor::Uuid(self.admin.identity.uuid);
                let list = encode_descriptors(&[uuid]).ok_or(Status::INTERNAL_ERROR)?;
                self.io.write_to_guest(cx, entry, &list)?;
            }
            _ => return Err(Status::INVALID_FIELD),
        }
        Ok(Outcome::Done(0))
    }

    fn controller(&self) -> Controller {
        if let Some(away) = self.io.away() {
            return *away.offered().page;
        }
        let (blocks, shift) = self.io.geometry();
        let identity = &self.admin.identity;
        let mut oacs = OptionalAdmin::empty();
        oacs.set(OptionalAdmin::DOORBELL_BUFFER, self.admin.shadow_offered);
        let logs = LogAttributes::COMMAND_EFFECTS | LogAttributes::EXTENDED_DATA;
        let commands = NvmCommands::DATASET_MANAGEMENT | NvmCommands::WRITE_ZEROES;
        let mut page = Controller {
            vid: VENDOR.into(),
            ssvid: SUBSYSTEM_VENDOR.into(),
            sn: ascii(&identity.serial),
            mn: ascii(&identity.model),
            fr: ascii(FIRMWARE),
            // Our own burst is 32 commands.
            rab: 5,
            mdts: MDTS,
            cntlid: 1.into(),
            ver: VERSION_1_4.into(),
            rtd3e: SHUTDOWN_US.into(),
            oaes: AsyncEvents::NAMESPACE_ATTRIBUTE.bits().into(),
            cntrltype: CONTROLLER_TYPE_IO,
            oacs: oacs.bits().into(),
            acl: count(PENDING_ABORTS),
            aerl: count(ASYNC_EVENT_REQUESTS),
            // One slot, read-only.
            frmw: 0b011,
            lpa: logs.bits(),
            elpe: count(ERROR_LOG_ENTRIES),
            wctemp: WARNING_TEMPERATURE_K.into(),
            cctemp: CRITICAL_TEMPERATURE_K.into(),
            tnvmcap: (u128::from(blocks) << shift).into(),
            // 64-byte submission and 16-byte completion entries, both required and largest.
            sqes: 0x66,
            cqes: 0x44,
            nn: NSID.into(),
            oncs: commands.bits().into(),
            vwc: VWC_FLUSH_ALL | if self.io.has_cache() { VWC_PRESENT } else { 0 },
            ..Controller::default()
        };
        page.psd[0] = PowerState { mp: POWER_10MW.into(), ..PowerState::default() };
        let name = format!("nqn.2014-08.org.nvmexpress:uuid:{}", hyphenated(&identity.uuid));
        for (to, from) in page.subnqn.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        page
    }

    fn namespace(&self) -> Namespace {
        let (blocks, shift) = self.io.geometry();
        let mut page = Namespace {
            nsze: blocks.into(),
            ncap: blocks.into(),
            nuse: blocks.into(),
            dlfeat: DEALLOCATED_READS_ZEROES | WRITE_ZEROES_MAY_DEALLOCATE,
            nvmcap: (u128::from(blocks) << shift).into(),
            ..Namespace::default()
        };
        page.lbaf[0] = LbaFormat::plain(u8::try_from(shift).unwrap_or(9));
        page
    }
}

/// Power of the only power state, in units of 10 mW: 25 W, what a slot may draw.
const POWER_10MW: u16 = 2500;
/// How long a host should allow for a shutdown, in microseconds: the flush of a slow disk.
const SHUTDOWN_US: u32 = 30_000_000;

/// A small count as the structures have it, less one.
fn count(count: usize) -> u8 {
    u8::try_from(count - 1).unwrap_or(u8::MAX)
}

/// A UUID made of the serial number (RFC 9562 s5.8 *UUID Version 8*): the same disk has the same one after a restart.
fn stable_uuid(serial: &str) -> [u8; 16] {
    let high = fnv1a_64(serial.as_bytes());
    let low = fnv1a_64(&high.to_le_bytes());
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&high.to_be_bytes());
    uuid[8..].copy_from_slice(&low.to_be_bytes());
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

fn hyphenated(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_stable_and_well_formed() {
        let uuid = hyphenated(&stable_uuid("a"));
        assert_eq!(uuid, hyphenated(&stable_uuid("a")));
        assert_ne!(uuid, hyphenated(&stable_uuid("b")));
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "8"));
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"));
    }
}
