//! What is remembered of an error.

use super::names;
use pci_spec::Bdf;
use pci_spec::aer::{Correctable, Message, Uncorrectable};
use std::fmt;
use std::time::Duration;

/// How many errors of a function are remembered: the last ones.
pub const RECORDS_PER_FUNCTION: usize = 16;

/// An error that was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AerRecord {
    /// When, by the clock of the ledger's owner.
    pub when: Duration,
    /// Who reported it.
    pub at: Bdf,
    /// The root port that heard of it, if there is one above.
    pub root_port: Option<Bdf>,
    /// The worst message that it was reported by.
    pub message: Message,
    /// What the hardware has corrected.
    pub correctable: Correctable,
    /// What it has not.
    pub uncorrectable: Uncorrectable,
    /// The header of the first packet that was lost.
    pub header: [u32; 4],
}

impl fmt::Display for AerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.message {
            Message::Correctable => "Correctable",
            Message::NonFatal => "Uncorrectable (Non-Fatal)",
            Message::Fatal => "Uncorrectable (Fatal)",
        };
        write!(f, "{}: {severity}:", self.at)?;
        let corrected = names::CORRECTABLE.iter().filter(|(error, _)| self.correctable.contains(*error));
        let lost = names::UNCORRECTABLE.iter().filter(|(error, _)| self.uncorrectable.contains(*error));
        for (_, name) in corrected {
            write!(f, " {name}")?;
        }
        for (_, name) in lost {
            write!(f, " {name}")?;
        }
        if !self.uncorrectable.is_empty() {
            let [a, b, c, d] = self.header;
            write!(f, ", TLP header {a:08x} {b:08x} {c:08x} {d:08x}")?;
        }
        Ok(())
    }
}
