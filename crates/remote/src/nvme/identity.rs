//! What a back end is, as far as a guest was told, and in what another one differs.
//!
//! Everything here was written by the back end into memory that it shares: it was copied once, and is judged, not believed.

use nvme_spec::identify::{Controller, VWC_PRESENT};
use nvme_spec::register::Capabilities;
use nvme_spec::{IDENTIFY_SIZE, identify};
use zerocopy::FromBytes;

/// Namespaces of a back end at most: each costs a command whenever it comes back.
pub const MAX_NAMESPACES: usize = 256;

/// A controller and its namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Identify Controller.
    pub identify: [u8; IDENTIFY_SIZE],
    /// Register CAP.
    pub capabilities: u64,
    /// Register VS.
    pub version: u32,
    /// I/O queue pairs that it gave when asked for those that are used.
    pub queues: u16,
    /// Active namespaces, by ascending identifier; at most [`MAX_NAMESPACES`].
    pub namespaces: Vec<Namespace>,
}

/// What counts of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its identifier.
    pub nsid: u32,
    /// Logical blocks.
    pub blocks: u64,
    /// Log2 of a block's bytes.
    pub block_shift: u8,
    /// Metadata bytes of a block, whether they stand at its end, and the kind of protection.
    pub metadata: (u16, bool, u8),
    /// Namespace Globally Unique Identifier, or zeroes.
    pub nguid: [u8; 16],
    /// IEEE Extended Unique Identifier, or zeroes.
    pub eui64: [u8; 8],
}

impl Namespace {
    /// From Identify Namespace.
    #[must_use]
    pub fn new(nsid: u32, from: &identify::Namespace) -> Self {
        let format = from.format();
        Self {
            nsid,
            blocks: from.nsze.get(),
            block_shift: format.lbads,
            metadata: (format.ms.get(), from.flbas & 1 << 4 != 0, from.dps & 0x7),
            nguid: from.nguid,
            eui64: from.eui64,
        }
    }
}

/// A way in which a back end is less than, or other than, the one that it is to replace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum Difference {
    #[error("the model is {now:?}, was {was:?}")]
    Model { was: String, now: String },
    #[error("the serial number is {now:?}, was {was:?}")]
    Serial { was: String, now: String },
    #[error("there are {now} I/O queues, {was} are in use")]
    Queues { was: u16, now: u16 },
    #[error("a queue has at most {now} entries, was {was}")]
    QueueEntries { was: u32, now: u32 },
    #[error("the largest transfer is 4 KiB << {now}, was 4 KiB << {was}")]
    Transfer { was: u8, now: u8 },
    #[error("there is a volatile write cache, and the guest believes that there is none")]
    VolatileCache,
    #[error("optional commands that were offered are missing ({0})")]
    Commands(&'static str),
    #[error("namespace {nsid} is missing")]
    NamespaceMissing { nsid: u32 },
    #[error("namespace {nsid} has {now} blocks, had {was}")]
    NamespaceSize { nsid: u32, was: u64, now: u64 },
    #[error("namespace {nsid} has another block format")]
    NamespaceFormat { nsid: u32 },
    #[error("namespace {nsid} is another one (its unique identifier changed)")]
    NamespaceIdentity { nsid: u32 },
    #[error("the feature {0:#04x} that the guest has set is refused")]
    Feature(u8),
}

impl Identity {
    /// Identify Controller, decoded; `None` never happens: the size is right.
    fn controller(&self) -> Option<&Controller> {
        Controller::ref_from_bytes(&self.identify).ok()
    }

    /// In what `now` cannot replace this one. What was added does not count: more queues, more blocks, other firmware.
    /// `namespaces`: whether they are compared; not if the guest itself has changed them.
    #[must_use]
    pub fn compare(&self, now: &Identity, namespaces: bool) -> Vec<Difference> {
        let mut found = Vec::new();
        if let (Some(was), Some(is)) = (self.controller(), now.controller()) {
            compare_controllers(was, is, &mut found);
        }
        if now.queues < self.queues {
            found.push(Difference::Queues { was: self.queues, now: now.queues });
        }
        let entries = |capabilities| u32::from(Capabilities(capabilities).mqes()) + 1;
        let (was, is) = (entries(self.capabilities), entries(now.capabilities));
        if is < was {
            found.push(Difference::QueueEntries { was, now: is });
        }
        if namespaces {
            self.compare_namespaces(now, &mut found);
        }
        found
    }

    fn compare_namespaces(&self, now: &Identity, found: &mut Vec<Difference>) {
        for was in &self.namespaces {
            let nsid = was.nsid;
            let Some(is) = now.namespaces.iter().find(|one| one.nsid == nsid) else {
                found.push(Difference::NamespaceMissing { nsid });
                continue;
            };
            if is.blocks < was.blocks {
                found.push(Difference::NamespaceSize { nsid, was: was.blocks, now: is.blocks });
            }
            if (is.block_shift, is.metadata) != (was.block_shift, was.metadata) {
                found.push(Difference::NamespaceFormat { nsid });
            }
            let known =
                was.nguid != [0; 16] && is.nguid != was.nguid || was.eui64 != [0; 8] && is.eui64 != was.eui64;
            if known {
                found.push(Difference::NamespaceIdentity { nsid });
            }
        }
    }
}

fn compare_controllers(was: &Controller, now: &Controller, found: &mut Vec<Difference>) {
    if was.mn != now.mn {
        found.push(Difference::Model { was: text(&was.mn), now: text(&now.mn) });
    }
    if was.sn != now.sn {
        found.push(Difference::Serial { was: text(&was.sn), now: text(&now.sn) });
    }
    // 0 is no limit.
    let limit = |mdts: u8| if mdts == 0 { u8::MAX } else { mdts };
    if limit(now.mdts) < limit(was.mdts) {
        found.push(Difference::Transfer { was: was.mdts, now: now.mdts });
    }
    if was.vwc & VWC_PRESENT == 0 && now.vwc & VWC_PRESENT != 0 {
        found.push(Difference::VolatileCache);
    }
    if was.oacs.get() & !now.oacs.get() != 0 {
        found.push(Difference::Commands("OACS"));
    }
    if was.oncs.get() & !now.oncs.get() != 0 {
        found.push(Difference::Commands("ONCS"));
    }
}

/// Printable text of a padded field; whatever else a controller puts there is shown as `?`.
fn text(field: &[u8]) -> String {
    let shown = |&byte: &u8| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '?' };
    field.iter().map(shown).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use nvme_spec::identify::ascii;
    use zerocopy::IntoBytes;

    use super::*;

    fn namespace(nsid: u32) -> Namespace {
        Namespace {
            nsid,
            blocks: 1000,
            block_shift: 9,
            metadata: (0, false, 0),
            nguid: [7; 16],
            eui64: [0; 8],
        }
    }

    fn identity(change: impl FnOnce(&mut Controller)) -> Identity {
        let mut controller =
            Controller { mn: ascii("model"), sn: ascii("serial"), mdts: 5, ..Default::default() };
        controller.oncs = 0b1100.into();
        change(&mut controller);
        let mut identify = [0; IDENTIFY_SIZE];
        identify.copy_from_slice(controller.as_bytes());
        let capabilities = Capabilities::default().with_mqes(1023).0;
        let namespaces = vec![namespace(1), namespace(5)];
        Identity { identify, capabilities, version: 0x0001_0400, queues: 4, namespaces }
    }

    #[test]
    fn the_same_one_and_one_that_is_more_are_accepted() {
        let was = identity(|_| ());
        assert_eq!(was.compare(&was, true), []);
        let mut more = identity(|controller| {
            controller.mdts = 0;
            controller.fr = ascii("2.0");
            controller.oncs = 0b1111.into();
        });
        more.queues = 9;
        more.capabilities = Capabilities::default().with_mqes(2047).0;
        more.namespaces[0].blocks += 1;
        more.namespaces.insert(1, namespace(2));
        assert_eq!(was.compare(&more, true), []);
    }

    #[test]
    fn each_way_to_be_less_or_other_is_named() {
        let was = identity(|_| ());
        let told = |now: Identity| {
            let found: Vec<String> = was.compare(&now, true).iter().map(ToString::to_string).collect();
            found.join("; ")
        };
        assert_eq!(told(identity(|one| one.mn = ascii("other"))), "the model is \"other\", was \"model\"");
        assert_eq!(
            told(identity(|one| one.sn = ascii("x\u{1}"))),
            "the serial number is \"x?\", was \"serial\""
        );
        assert!(told(identity(|one| one.mdts = 4)).contains("largest transfer"));
        assert!(told(identity(|one| one.vwc = VWC_PRESENT)).contains("volatile"));
        assert!(told(identity(|one| one.oncs = 0b0100.into())).contains("ONCS"));
        let changed = |change: fn(&mut Identity)| {
            let mut now = identity(|_| ());
            change(&mut now);
            told(now)
        };
        assert!(changed(|now| now.queues = 3).contains("3 I/O queues"));
        let fewer = |now: &mut Identity| now.capabilities = Capabilities::default().with_mqes(1022).0;
        assert!(changed(fewer).contains("1023 entries, was 1024"));
        assert!(changed(|now| now.namespaces.truncate(1)).contains("namespace 5 is missing"));
        assert!(changed(|now| now.namespaces[1].blocks = 999).contains("999 blocks, had 1000"));
        assert!(changed(|now| now.namespaces[1].block_shift = 12).contains("block format"));
        assert!(changed(|now| now.namespaces[1].metadata.0 = 8).contains("block format"));
        assert!(changed(|now| now.namespaces[1].nguid[3] = 0).contains("another one"));
    }

    #[test]
    fn namespaces_that_the_guest_has_changed_are_not_held_against_it() {
        let was = identity(|_| ());
        let mut now = was.clone();
        now.namespaces.clear();
        assert_eq!(was.compare(&now, false), []);
        assert_eq!(was.compare(&now, true).len(), 2);
    }
}
