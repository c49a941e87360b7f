//! The counters of a function and of a root port, and their files (AER-09).

use super::names;
use pci_spec::aer::{Correctable, Message, Uncorrectable};
use std::fmt::Write;

/// Which of a function's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AerFile {
    /// `aer_dev_correctable`
    Correctable,
    /// `aer_dev_nonfatal`
    NonFatal,
    /// `aer_dev_fatal`
    Fatal,
}

impl AerFile {
    /// All of them.
    pub const ALL: [AerFile; 3] = [AerFile::Correctable, AerFile::NonFatal, AerFile::Fatal];

    /// The name of the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            AerFile::Correctable => "aer_dev_correctable",
            AerFile::NonFatal => "aer_dev_nonfatal",
            AerFile::Fatal => "aer_dev_fatal",
        }
    }

    const fn total(self) -> &'static str {
        match self {
            AerFile::Correctable => "TOTAL_ERR_COR",
            AerFile::NonFatal => "TOTAL_ERR_NONFATAL",
            AerFile::Fatal => "TOTAL_ERR_FATAL",
        }
    }
}

/// What a function has reported. One message may tell of several errors, so a total is the number of messages and not the sum
/// of the errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AerCounters {
    correctable: [u64; names::CORRECTABLE.len()],
    non_fatal: [u64; names::UNCORRECTABLE.len()],
    fatal: [u64; names::UNCORRECTABLE.len()],
    messages: RootPortCounters,
}

/// Messages of each kind: those that a function has sent, or those that have come to a root port
/// (`aer_rootport_total_err_cor`, `_nonfatal`, `_fatal`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RootPortCounters {
    /// ERR_COR
    pub correctable: u64,
    /// ERR_NONFATAL
    pub non_fatal: u64,
    /// ERR_FATAL
    pub fatal: u64,
}

impl RootPortCounters {
    pub(super) fn add(&mut self, message: Message) {
        let counter = match message {
            Message::Correctable => &mut self.correctable,
            Message::NonFatal => &mut self.non_fatal,
            Message::Fatal => &mut self.fatal,
        };
        *counter = counter.saturating_add(1);
    }
}

impl AerCounters {
    pub(super) fn add_correctable(&mut self, errors: Correctable) {
        let named = names::CORRECTABLE.iter().map(|(error, _)| errors.contains(*error));
        add(&mut self.correctable, named);
        self.messages.add(Message::Correctable);
    }

    /// Errors of one message.
    pub(super) fn add_uncorrectable(&mut self, message: Message, errors: Uncorrectable) {
        let counters = if message == Message::Fatal { &mut self.fatal } else { &mut self.non_fatal };
        let named = names::UNCORRECTABLE.iter().map(|(error, _)| errors.contains(*error));
        add(counters, named);
        self.messages.add(message);
    }

    /// How many messages the function has sent.
    #[must_use]
    pub const fn messages(&self) -> RootPortCounters {
        self.messages
    }

    /// The counters of one file by the names of their errors, in the order of their bits.
    pub fn of(&self, file: AerFile) -> impl Iterator<Item = (&'static str, u64)> {
        let (counts, correctable): (&[u64], bool) = match file {
            AerFile::Correctable => (&self.correctable, true),
            AerFile::NonFatal => (&self.non_fatal, false),
            AerFile::Fatal => (&self.fatal, false),
        };
        let words = names::CORRECTABLE.iter().map(|(_, name)| *name).filter(move |_| correctable);
        let others = names::UNCORRECTABLE.iter().map(|(_, name)| *name).filter(move |_| !correctable);
        words.chain(others).zip(counts.iter().copied())
    }

    /// The number in the last line of a file.
    #[must_use]
    pub const fn total(&self, file: AerFile) -> u64 {
        match file {
            AerFile::Correctable => self.messages.correctable,
            AerFile::NonFatal => self.messages.non_fatal,
            AerFile::Fatal => self.messages.fatal,
        }
    }

    /// What one file shows: a line for each error, and the total.
    #[must_use]
    pub fn text(&self, file: AerFile) -> String {
        let mut text = String::new();
        for (name, count) in self.of(file) {
            // Writing to a string does not fail.
            let _written = writeln!(text, "{name} {count}");
        }
        let _written = writeln!(text, "{} {}", file.total(), self.total(file));
        text
    }
}

fn add(counters: &mut [u64], happened: impl Iterator<Item = bool>) {
    for (counter, happened) in counters.iter_mut().zip(happened) {
        *counter = counter.saturating_add(u64::from(happened));
    }
}
