//! What the guest is told of a controller whose commands are executed elsewhere: the back end's words, but for what the front
//! does itself, and for what could not be kept over the death of a back end.
//!
//! NVMe 1.4 s5.15.2.2 *Identify Controller data structure*, s3.1.1 *CAP: Controller Capabilities*.

use nvme_spec::VERSION_1_4;
use nvme_spec::command::{COMPLETION_ENTRY_SHIFT, SUBMISSION_ENTRY_SHIFT};
use nvme_spec::identify::{Controller, OptionalAdmin, VWC_FLUSH_ALL, VWC_FLUSH_NOT_ALL, VWC_PRESENT};
use nvme_spec::register::{CAP_CSS_NVM, Capabilities};
use zerocopy::FromBytes;

use super::super::limits::{ASYNC_EVENT_REQUESTS, PENDING_ABORTS};
use super::super::pci::{SUBSYSTEM_VENDOR, VENDOR};
use super::Facts;

/// How long a host should allow for a shutdown at least, in microseconds: a back end may have to come back first.
const SHUTDOWN_US: u32 = 60_000_000;
/// Version 1.0.0, the least that the VS register can say.
const VERSION_1_0: u32 = 0x0001_0000;
/// Entry sizes as the structure has them: required and largest are both the size in use.
const SUBMISSION_SIZES: u8 = SUBMISSION_ENTRY_SHIFT << 4 | SUBMISSION_ENTRY_SHIFT;
const COMPLETION_SIZES: u8 = COMPLETION_ENTRY_SHIFT << 4 | COMPLETION_ENTRY_SHIFT;

/// Why no controller can stand in front of a back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// It has no queue for I/O.
    #[error("the back end gives no I/O queue")]
    NoQueues,
    /// Its smallest memory page is larger than that of the front.
    #[error("the back end cannot work with memory pages of 4 KiB (CAP.MPSMIN is {0})")]
    Pages(u8),
    /// It does not know the NVM command set.
    #[error("the back end does not offer the NVM command set (CAP.CSS is {0:#04x})")]
    CommandSet(u8),
}

/// A back end's controller as the guest sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Offered {
    /// Identify Controller.
    pub(in super::super) page: Box<Controller>,
    /// The register VS.
    pub(in super::super) version: u32,
    /// I/O queue pairs.
    pub(in super::super) io_queues: u16,
}

impl Offered {
    /// What is made of these facts; `shadow`: Doorbell Buffer Config is offered, by the front.
    ///
    /// # Errors
    /// [`FactsError`].
    pub(in super::super) fn new(facts: &Facts, shadow: bool, most_queues: u16) -> Result<Self, FactsError> {
        let cap = Capabilities(facts.capabilities);
        if facts.max_queues == 0 {
            return Err(FactsError::NoQueues);
        }
        if cap.mpsmin() != 0 {
            return Err(FactsError::Pages(cap.mpsmin()));
        }
        if cap.css() & CAP_CSS_NVM == 0 {
            return Err(FactsError::CommandSet(cap.css()));
        }
        // Later versions have registers that are not here.
        let version = facts.version.clamp(VERSION_1_0, VERSION_1_4);
        let page = Box::new(page(&facts.identify, shadow, version));
        Ok(Self { page, version, io_queues: facts.max_queues.min(most_queues) })
    }

    /// Whether there is a volatile write cache.
    pub(in super::super) fn has_cache(&self) -> bool {
        self.page.vwc & VWC_PRESENT != 0
    }

    /// Whether a Flush may be meant for all namespaces. Controllers before 1.4 leave open what they do with it.
    pub(in super::super) fn flushes_all(&self) -> bool {
        self.page.vwc & VWC_FLUSH_ALL != VWC_FLUSH_NOT_ALL
    }

    /// Serial and model number as text: whatever is not printable ASCII becomes a question mark.
    pub(in super::super) fn names(&self) -> (String, String) {
        (text(&self.page.sn), text(&self.page.mn))
    }
}

fn page(identify: &[u8; nvme_spec::IDENTIFY_SIZE], shadow: bool, version: u32) -> Controller {
    let mut page = Controller::read_from_bytes(identify).unwrap_or_default();
    // What the function says of itself.
    (page.vid, page.ssvid, page.ver) = (VENDOR.into(), SUBSYSTEM_VENDOR.into(), version.into());
    // What the front does.
    let mut admin = OptionalAdmin::from_bits_retain(page.oacs.get());
    admin.set(OptionalAdmin::DOORBELL_BUFFER, shadow);
    page.acl = count(PENDING_ABORTS);
    page.aerl = count(ASYNC_EVENT_REQUESTS);
    (page.sqes, page.cqes) = (SUBMISSION_SIZES, COMPLETION_SIZES);
    page.rtd3e = page.rtd3e.get().max(SHUTDOWN_US).into();
    // Two commands are not kept together on their way.
    page.fuses = 0.into();
    // What the back end would have forgotten when another one takes its place, and nobody could tell it: what is kept in
    // memory of the guest's, in tables that are read once, or in a timer.
    admin.remove(OptionalAdmin::DIRECTIVES | OptionalAdmin::VIRTUALIZATION);
    page.oacs = admin.bits().into();
    (page.hmpre, page.hmmin) = (0.into(), 0.into());
    (page.hmminds, page.hmmaxd) = (0.into(), 0.into());
    page.kas = 0.into();
    page.apsta = 0;
    // Retry delays are for hosts that have asked for them in a table.
    page.crdt = [0.into(); 3];
    page
}

/// A small count as the structures have it, less one.
fn count(count: usize) -> u8 {
    u8::try_from(count.saturating_sub(1)).unwrap_or(u8::MAX)
}

fn text(field: &[u8]) -> String {
    let letter = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '?' };
    let text: String = field.iter().take_while(|byte| **byte != 0).map(letter).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use nvme_spec::IDENTIFY_SIZE;
    use zerocopy::IntoBytes;

    use super::*;

    fn facts(identify: &[u8; IDENTIFY_SIZE]) -> Facts {
        let capabilities = Capabilities::default().with_css(CAP_CSS_NVM).0;
        Facts { identify: *identify, capabilities, version: 0x0001_0300, max_queues: 3 }
    }

    #[test]
    fn a_back_end_that_a_guest_could_not_use_is_refused() {
        let good = facts(&[0; IDENTIFY_SIZE]);
        assert!(Offered::new(&good, true, 64).is_ok());
        let refused = |facts: Facts| Offered::new(&facts, true, 64).unwrap_err();
        assert_eq!(refused(Facts { max_queues: 0, ..good.clone() }), FactsError::NoQueues);
        let large = Capabilities(good.capabilities).with_mpsmin(1).0;
        assert_eq!(refused(Facts { capabilities: large, ..good.clone() }), FactsError::Pages(1));
        assert_eq!(refused(Facts { capabilities: 0, ..good }), FactsError::CommandSet(0));
    }

    #[test]
    fn whatever_a_back_end_says_only_what_the_front_does_is_offered() {
        let all = facts(&[0xff; IDENTIFY_SIZE]);
        for shadow in [false, true] {
            let offered =
                Offered::new(&Facts { version: u32::MAX, max_queues: 9, ..all.clone() }, shadow, 4).unwrap();
            let page = &offered.page;
            let admin = OptionalAdmin::from_bits_retain(page.oacs.get());
            assert_eq!(admin.contains(OptionalAdmin::DOORBELL_BUFFER), shadow);
            assert!(!admin.intersects(OptionalAdmin::DIRECTIVES | OptionalAdmin::VIRTUALIZATION));
            assert!(admin.contains(OptionalAdmin::FORMAT), "it is the back end's to say");
            assert_eq!((page.ver.get(), offered.version, offered.io_queues), (VERSION_1_4, VERSION_1_4, 4));
            assert_eq!((page.fuses.get(), page.kas.get(), page.apsta, page.hmpre.get()), (0, 0, 0, 0));
            assert_eq!(
                (page.vid.get(), page.aerl, page.acl, page.sqes, page.cqes),
                (VENDOR, 3, 3, 0x66, 0x44)
            );
            assert_eq!((page.mdts, page.nn.get(), page.oncs.get()), (0xff, u32::MAX, 0xffff));
        }
    }

    #[test]
    fn what_the_back_end_says_of_itself_is_told_as_it_is() {
        let mut identify = [0; IDENTIFY_SIZE];
        identify[4..14].copy_from_slice(b"SERIAL\x01   ");
        identify[77] = 5;
        let offered = Offered::new(&facts(&identify), true, 64).unwrap();
        assert_eq!(offered.page.as_bytes()[4..14], identify[4..14]);
        assert_eq!((offered.page.mdts, offered.version, offered.io_queues), (5, 0x0001_0300, 3));
        assert_eq!(offered.names(), ("SERIAL?".into(), String::new()));
        assert!(!offered.has_cache() && offered.flushes_all());
    }
}
