//! The names of errors, as Linux shows them in `aer_dev_correctable`, `aer_dev_nonfatal` and `aer_dev_fatal` (AER-09).

use pci_spec::aer::{Correctable, Uncorrectable};

/// Correctable errors by bit, in the order in which they are shown.
pub const CORRECTABLE: [(Correctable, &str); 8] = [
    (Correctable::RECEIVER, "RxErr"),
    (Correctable::BAD_TLP, "BadTLP"),
    (Correctable::BAD_DLLP, "BadDLLP"),
    (Correctable::REPLAY_ROLLOVER, "Rollover"),
    (Correctable::REPLAY_TIMEOUT, "Timeout"),
    (Correctable::ADVISORY_NON_FATAL, "NonFatalErr"),
    (Correctable::INTERNAL, "CorrIntErr"),
    (Correctable::HEADER_LOG_OVERFLOW, "HeaderOF"),
];

/// Uncorrectable errors by bit, fatal or not, in the order in which they are shown.
pub const UNCORRECTABLE: [(Uncorrectable, &str); 18] = [
    (Uncorrectable::UNDEFINED, "Undefined"),
    (Uncorrectable::DATA_LINK_PROTOCOL, "DLP"),
    (Uncorrectable::SURPRISE_DOWN, "SDES"),
    (Uncorrectable::POISONED_TLP, "TLP"),
    (Uncorrectable::FLOW_CONTROL_PROTOCOL, "FCP"),
    (Uncorrectable::COMPLETION_TIMEOUT, "CmpltTO"),
    (Uncorrectable::COMPLETER_ABORT, "CmpltAbrt"),
    (Uncorrectable::UNEXPECTED_COMPLETION, "UnxCmplt"),
    (Uncorrectable::RECEIVER_OVERFLOW, "RxOF"),
    (Uncorrectable::MALFORMED_TLP, "MalfTLP"),
    (Uncorrectable::ECRC, "ECRC"),
    (Uncorrectable::UNSUPPORTED_REQUEST, "UnsupReq"),
    (Uncorrectable::ACS_VIOLATION, "ACSViol"),
    (Uncorrectable::INTERNAL, "UncorrIntErr"),
    (Uncorrectable::MULTICAST_BLOCKED, "BlockedTLP"),
    (Uncorrectable::ATOMIC_EGRESS_BLOCKED, "AtomicOpBlocked"),
    (Uncorrectable::TLP_PREFIX_BLOCKED, "TLPBlockedErr"),
    (Uncorrectable::POISONED_TLP_EGRESS_BLOCKED, "PoisonTLPBlocked"),
];

/// The name of an uncorrectable error; of several, that of the lowest bit.
#[must_use]
pub fn uncorrectable(errors: Uncorrectable) -> Option<&'static str> {
    UNCORRECTABLE.iter().find(|(error, _)| errors.contains(*error)).map(|(_, name)| *name)
}

/// The name of a correctable error; of several, that of the lowest bit.
#[must_use]
pub fn correctable(errors: Correctable) -> Option<&'static str> {
    CORRECTABLE.iter().find(|(error, _)| errors.contains(*error)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_one_name_and_the_tables_are_in_the_order_of_the_bits() {
        let bits = |mask: u32| (0..32).map(move |bit| 1u32 << bit).filter(move |bit| mask & bit != 0);
        let correctable = CORRECTABLE.map(|(error, _)| error.bits());
        assert!(correctable.into_iter().eq(bits(Correctable::all().bits())));
        let uncorrectable = UNCORRECTABLE.map(|(error, _)| error.bits());
        assert!(uncorrectable.into_iter().eq(bits(Uncorrectable::all().bits())));
    }
}
