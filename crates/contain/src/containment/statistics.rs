//! What has happened so far, as counts (EEH-26).

use crate::detect::Counters;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! statistics {
    ($($(#[$what:meta])* $name:ident,)*) => {
        /// What has happened since the start. Counts go up and never down.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Statistics {
            /// What was noticed.
            pub noticed: Counters,
            $($(#[$what])* pub $name: u64,)*
        }

        /// The counts themselves.
        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $(pub(super) $name: Count,)*
        }

        impl Counts {
            pub(super) fn read(&self, noticed: Counters) -> Statistics {
                let Counts { $($name),* } = self;
                Statistics { noticed, $($name: $name.0.load(Ordering::Relaxed)),* }
            }
        }
    };
}

statistics! {
    /// Errors of PEs that were removed before anybody looked.
    no_device,
    /// Errors of functions that were taken out or torn out, which is no error.
    false_positives,
    /// Errors that belong to the recovery of a PE above, or to that of the PE itself.
    joined,
    /// Errors of PEs whose consumers deal with them (EEH-21).
    passed_through,
    /// Errors that PEs were frozen for.
    freezes,
    /// Recoveries that began.
    recoveries,
    /// Recoveries after which everybody went on.
    recovered,
    /// Recoveries without a way back.
    failed,
    /// Resets of PEs.
    slot_resets,
    /// Walks over the tree for what the queue had no room for.
    sweeps,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, more: u32) {
        self.0.fetch_add(more.into(), Ordering::Relaxed);
    }
}
