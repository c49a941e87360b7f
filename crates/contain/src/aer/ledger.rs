//! Counters and records of all functions (AER-09).
//!
//! Kept by identity and not by place: what comes to an address later begins at zero. A function that has reported nothing has
//! no entry, so the ledger grows with what fails and not with what is plugged.

use super::counters::{AerCounters, RootPortCounters};
use super::record::{AerRecord, RECORDS_PER_FUNCTION};
use crate::plan::FunctionId;
use crate::ranks;
use gate::lock::Leaf;
use pci_spec::aer::{Correctable, Message, Uncorrectable};
use std::collections::{BTreeMap, VecDeque};

/// The ledger; see the module's head.
#[derive(Default)]
pub struct Ledger {
    /// Rank 44: counters and records of a function change together, and are made when it reports its first error.
    accounts: Leaf<ranks::AerLedger, BTreeMap<FunctionId, Account>>,
}

#[derive(Default)]
struct Account {
    counters: AerCounters,
    /// As a root port: what has come from below.
    heard: RootPortCounters,
    records: VecDeque<AerRecord>,
}

/// What one report brings into the ledger.
pub(super) struct Entry {
    pub(super) record: AerRecord,
    pub(super) non_fatal: Uncorrectable,
    pub(super) fatal: Uncorrectable,
    pub(super) correctable: Correctable,
}

impl Entry {
    /// One message for each severity.
    pub(super) fn messages(&self) -> impl Iterator<Item = Message> + use<> {
        let sent = [
            (Message::Correctable, !self.correctable.is_empty()),
            (Message::NonFatal, !self.non_fatal.is_empty()),
            (Message::Fatal, !self.fatal.is_empty()),
        ];
        sent.into_iter().filter(|(_, sent)| *sent).map(|(message, _)| message)
    }
}

impl Ledger {
    /// What a function has reported; zeroes if that is nothing.
    #[must_use]
    pub fn counters(&self, function: FunctionId) -> AerCounters {
        self.accounts.lock().get(&function).map_or_else(AerCounters::default, |account| account.counters)
    }

    /// What has come to a root port, from below and from itself.
    #[must_use]
    pub fn root_port(&self, port: FunctionId) -> RootPortCounters {
        self.accounts.lock().get(&port).map_or_else(RootPortCounters::default, |account| account.heard)
    }

    /// The last errors of a function, at most [`RECORDS_PER_FUNCTION`], the earliest first.
    #[must_use]
    pub fn records(&self, function: FunctionId) -> Vec<AerRecord> {
        let accounts = self.accounts.lock();
        accounts.get(&function).map_or_else(Vec::new, |account| account.records.iter().copied().collect())
    }

    /// A function has gone for good: nothing is kept of it.
    pub fn forget(&self, function: FunctionId) {
        let gone = self.accounts.lock().remove(&function);
        drop(gone);
    }

    pub(super) fn enter(&self, function: FunctionId, entry: &Entry) {
        let mut accounts = self.accounts.lock();
        let account = accounts.entry(function).or_default();
        if !entry.correctable.is_empty() {
            account.counters.add_correctable(entry.correctable);
        }
        for (message, errors) in [(Message::NonFatal, entry.non_fatal), (Message::Fatal, entry.fatal)] {
            if !errors.is_empty() {
                account.counters.add_uncorrectable(message, errors);
            }
        }
        if account.records.len() == RECORDS_PER_FUNCTION {
            account.records.pop_front();
        }
        account.records.push_back(entry.record);
    }

    pub(super) fn hear(&self, port: FunctionId, entry: &Entry) {
        let mut accounts = self.accounts.lock();
        let account = accounts.entry(port).or_default();
        for message in entry.messages() {
            account.heard.add(message);
        }
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger(..)")
    }
}
