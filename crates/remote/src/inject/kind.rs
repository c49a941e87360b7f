//! The faults that there are, by name.

use std::fmt;
use std::str::FromStr;

use super::error::{Excerpt, RuleError};

/// What a fault happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The function's interrupts.
    Interrupt,
    /// Reads of its regions.
    Read,
    /// Writes to its regions.
    Write,
    /// Its accesses to memory.
    Dma,
    /// The server behind it, or the connection to that.
    BackEnd,
}

impl Target {
    /// A bit of its own.
    pub(super) const fn bit(self) -> u8 {
        match self {
            Target::Interrupt => 1,
            Target::Read => 1 << 1,
            Target::Write => 1 << 2,
            Target::Dma => 1 << 3,
            Target::BackEnd => 1 << 4,
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $target:ident;)+) => {
        /// A fault that can be injected.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$kind),+];

            /// Its name in a rule.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)+
                }
            }

            /// What it happens to.
            pub(super) const fn target(self) -> Target {
                match self {
                    $(Kind::$kind => Target::$target,)+
                }
            }
        }
    };
}

kinds! {
    /// An interrupt comes later.
    IrqDelay = "irq-delay", Interrupt;
    /// An interrupt is lost.
    IrqDrop = "irq-drop", Interrupt;
    /// An interrupt comes twice.
    IrqDuplicate = "irq-duplicate", Interrupt;
    /// A read takes longer.
    ReadSlow = "read-slow", Read;
    /// A read fails: the device is not asked, and the consumer is told of an error.
    ReadFail = "read-fail", Read;
    /// A read gives all-ones, as if nobody were there.
    ReadOnes = "read-ones", Read;
    /// A write is lost.
    WriteDrop = "write-drop", Write;
    /// A write arrives twice.
    WriteDuplicate = "write-duplicate", Write;
    /// An access of the device to memory fails.
    DmaError = "dma-error", Dma;
    /// The connection to the back end is out of step, and so is lost.
    Desync = "desync", BackEnd;
    /// The back end answers no more, until that is noticed.
    Hang = "hang", BackEnd;
    /// The back end's process is killed.
    Kill = "kill", BackEnd;
}

impl Kind {
    /// Whether it means nothing without a delay.
    pub(super) const fn has_delay(self) -> bool {
        matches!(self, Kind::IrqDelay | Kind::ReadSlow)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Kind, RuleError> {
        let named = Kind::ALL.iter().find(|kind| kind.name() == text);
        named.copied().ok_or_else(|| RuleError::UnknownKind(Excerpt::of(text)))
    }
}
