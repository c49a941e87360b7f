//! The threads' half of a snapshot.

use super::entry::Wait;
use super::operation::Operation;
use crate::{Waiter, WaitsTo, thread};
use std::sync::Arc;

/// A thread as its record shows it.
pub(super) struct ThreadView {
    /// The place of its record; the same for as long as the thread lives.
    pub(super) number: usize,
    /// The address of its record, which is how a lock names its holder.
    pub(super) record: usize,
    pub(super) name: Arc<str>,
    pub(super) wait: Option<Wait>,
    /// The addresses of the gates it is inside of.
    pub(super) inside: Vec<usize>,
}

/// All threads that have a token.
pub(super) fn threads() -> Vec<ThreadView> {
    let view = |(number, record): (usize, &'static thread::Record)| {
        let (name, wait) = record.with_entry(|entry| (entry.name.clone(), entry.wait()));
        ThreadView { number, record: record.address(), name, wait, inside: record.inside() }
    };
    thread::records().enumerate().filter(|(_, record)| record.is_claimed()).map(view).collect()
}

/// The threads that wait at the gate with this address.
pub(crate) fn at_gate(gate: usize) -> Vec<Waiter> {
    let waiter = |record: &'static thread::Record| {
        let (name, wait) = record.with_entry(|entry| (entry.name.clone(), entry.wait()));
        let wait = wait.filter(|wait| wait.gate == Some(gate))?;
        let to = match wait.operation {
            Operation::Enter(kind) => WaitsTo::Enter(kind),
            Operation::Turn(reason) | Operation::Drain { reason, .. } => WaitsTo::Close(reason),
            Operation::Retire => WaitsTo::Retire,
            Operation::Delay(reason) => WaitsTo::Resume(reason),
            Operation::Lock { .. } | Operation::Readers { .. } | Operation::Other { .. } => return None,
        };
        Some(Waiter { thread: name.to_string(), to, since: wait.age() })
    };
    thread::records().filter(|record| record.is_claimed()).filter_map(waiter).collect()
}
