//! References to a PE with a name to them, so that what keeps a removed PE alive can be told.

use super::Pe;
use super::atomic::{AtomicU32, Ordering};
use std::ops::Deref;
use std::sync::Arc;

/// Who holds a PE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Holder {
    /// Who has just found it.
    Lookup,
    /// An event that is queued or being handled (EEH-I8).
    Event,
    /// A recovery.
    Recovery,
    /// An assignment, for the operations of its consumer.
    Assignment,
    /// An operator's command.
    Operator,
}

impl Holder {
    /// All of them.
    pub const ALL: [Holder; 5] =
        [Holder::Lookup, Holder::Event, Holder::Recovery, Holder::Assignment, Holder::Operator];

    /// As an operator is shown it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Holder::Lookup => "look-up",
            Holder::Event => "event",
            Holder::Recovery => "recovery",
            Holder::Assignment => "assignment",
            Holder::Operator => "operator",
        }
    }
}

/// How many references each holder has. Counts and no list: taking one is allowed where nothing may be allocated or locked.
#[derive(Debug, Default)]
pub(crate) struct Holders([AtomicU32; Holder::ALL.len()]);

impl Holders {
    fn count(&self, holder: Holder) -> Option<&AtomicU32> {
        self.0.get(holder as usize)
    }

    pub(crate) fn snapshot(&self) -> Vec<(Holder, u32)> {
        let counted = Holder::ALL.iter().zip(&self.0);
        let counted = counted.map(|(holder, count)| (*holder, count.load(Ordering::Acquire)));
        counted.filter(|(_, count)| *count != 0).collect()
    }
}

/// A PE that is kept alive by a named holder (EEH-I1). Taking, cloning and dropping it waits for nobody.
#[derive(Debug)]
#[must_use = "dropping it lets the PE go"]
pub struct Held {
    pe: Arc<Pe>,
    holder: Holder,
}

impl Held {
    pub(crate) fn new(pe: Arc<Pe>, holder: Holder) -> Held {
        if let Some(count) = pe.holders.count(holder) {
            count.fetch_add(1, Ordering::AcqRel);
        }
        Held { pe, holder }
    }

    /// Another reference to the same PE for another holder.
    pub fn hold_as(&self, holder: Holder) -> Held {
        Held::new(self.pe.clone(), holder)
    }

    /// Who holds it.
    #[must_use]
    pub fn holder(&self) -> Holder {
        self.holder
    }

    /// Whether both are the same PE, and not just one at the same address.
    #[must_use]
    pub fn is(&self, other: &Pe) -> bool {
        std::ptr::eq(&raw const *self.pe, &raw const *other)
    }
}

impl Clone for Held {
    fn clone(&self) -> Held {
        self.hold_as(self.holder)
    }
}

impl Deref for Held {
    type Target = Pe;

    fn deref(&self) -> &Pe {
        &self.pe
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(count) = self.pe.holders.count(self.holder) {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
