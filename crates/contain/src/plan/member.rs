//! What takes part in a recovery, as its owner describes it.

use crate::merge::Rule;
use pci_core::recovery::{Channel, Handlers};

/// A function, for as long as it is plugged: whatever comes to its address later is another one (law 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(pub u64);

/// A PE of the tree, as its owner counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeId(pub u64);

/// What a consumer without a driver here, such as a virtual machine, wants to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The model is quiesced, saved, reset, restored and resumed, and the guest sees a pause.
    SaveAndRestore,
    /// It is told by its error notifier, and that is all: it counts as *can recover*.
    Notify,
    /// It stays frozen, is not told and not asked, and comes back when its consumer says so (EEH-21).
    ContainUntilTold,
}

/// Who has a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nobody.
    Unbound,
    /// A driver without error callbacks.
    Unaware,
    /// A driver with these.
    Aware(Handlers),
    /// A consumer that is no driver.
    Consumer(Policy),
}

/// A function that takes part in a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which one.
    pub function: FunctionId,
    /// How many bridges of the recovery are above it; who is deeper is called later, and siblings do not wait for each other.
    pub depth: u16,
    /// Who has it.
    pub role: Role,
    /// It is a bridge.
    pub bridge: bool,
    /// It is a virtual function, which is probed only when its physical function is back (EEH-16).
    pub virtual_function: bool,
    /// A hot reset is not enough for it (EEH-04).
    pub needs_fundamental_reset: bool,
    /// It failed for good before.
    pub disconnected: bool,
}

impl Member {
    /// An endpoint below the root of the recovery, with nothing special.
    #[must_use]
    pub const fn new(function: FunctionId, depth: u16, role: Role) -> Member {
        Member {
            function,
            depth,
            role,
            bridge: false,
            virtual_function: false,
            needs_fundamental_reset: false,
            disconnected: false,
        }
    }
}

/// How bad an error is that AER reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The hardware has corrected it. Nothing is recovered; drivers are told.
    Correctable,
    /// The link works.
    NonFatal,
    /// It does not.
    Fatal,
    /// It does not because the port has contained the error, which was a reset of the link; the port is to be released
    /// (AER-08).
    ContainedByPort,
}

/// By whose rules is recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Containment of a PE (EEH-11 to EEH-20).
    Eeh,
    /// An error that AER reports, below a port (AER-03 to AER-06).
    Aer(Severity),
}

impl Flavour {
    /// By which table answers are merged.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Flavour::Eeh => Rule::Eeh,
            Flavour::Aer(_) => Rule::Aer,
        }
    }

    /// The state in which drivers find their functions.
    #[must_use]
    pub const fn channel(self) -> Channel {
        if self.is_frozen() { Channel::Frozen } else { Channel::Normal }
    }

    /// Whether nothing gets through while it is recovered.
    #[must_use]
    pub const fn is_frozen(self) -> bool {
        match self {
            Flavour::Eeh | Flavour::Aer(Severity::Fatal | Severity::ContainedByPort) => true,
            Flavour::Aer(Severity::Correctable | Severity::NonFatal) => false,
        }
    }
}

/// What is to be recovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// By whose rules.
    pub flavour: Flavour,
    /// Its root is a host bridge: it is always reset, and even when nothing is below it (EEH-11).
    pub host_bridge: bool,
    /// The PEs, parents before children.
    pub pes: Vec<PeId>,
    /// The functions in them, parents before children. Answers are merged in this order.
    pub members: Vec<Member>,
}
