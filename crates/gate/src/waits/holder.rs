//! From what was collected to one line per holder, and from there to the whole chain.

use super::collect::ThreadView;
use super::entry::Wait;
use super::gates::{GateView, OwnerView};
use super::operation::{Operation, kind_name};
use crate::{Inside, InsideKind};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A thread with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Which one; names need not be unique. `None` once it has ended.
    pub number: Option<usize>,
    /// Its name.
    pub name: String,
}

/// One wait of one thread, for telling it from the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId {
    pub(super) thread: usize,
    pub(super) number: u64,
}

/// What keeps a waiting thread waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// Whose it is; `None` for work in flight, which belongs to no thread.
    pub thread: Option<Thread>,
    /// What it is: "closed for reset", "NVMe file I/O (DMA)".
    pub what: String,
    /// For how long; unknown for short passes and locks.
    pub since: Option<Duration>,
}

/// Somebody who waits, or who holds what others wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The thread; `None` for work in flight.
    pub thread: Option<Thread>,
    /// What it is doing.
    pub operation: String,
    /// The name of the function's gate, if it is about one.
    pub function: Option<String>,
    /// For how long, to a few milliseconds; unknown for short passes.
    pub since: Option<Duration>,
    /// What it waits for; `None` if it only holds.
    pub waits_for: Option<String>,
    /// What keeps it waiting, as far as that is known.
    pub held_by: Vec<Blocker>,
    /// The wait; `None` if it only holds.
    pub wait: Option<WaitId>,
}

/// `holders[at]`, then whatever it waits for, and whatever that waits for: every link once, nearest first.
pub fn chain(holders: &[Holder], at: usize) -> Vec<&Holder> {
    let mut order: Vec<usize> = Vec::from_iter((at < holders.len()).then_some(at));
    let mut seen = BTreeSet::from([at]);
    let mut next = 0;
    // Each round takes one holder that has not been looked at, so there are at most as many as holders.
    while let Some(holder) = order.get(next).and_then(|at| holders.get(*at)) {
        next += 1;
        for number in holder.held_by.iter().filter_map(|by| by.thread.as_ref()?.number) {
            let waits = |other: &Holder| {
                other.wait.is_some() && other.thread.as_ref().and_then(|t| t.number) == Some(number)
            };
            if let Some(found) = holders.iter().position(waits)
                && seen.insert(found)
            {
                order.push(found);
            }
        }
    }
    order.into_iter().filter_map(|at| holders.get(at)).collect()
}

/// One line for each thread that waits, each closed gate, and each thing inside that somebody waits for.
pub(super) fn assemble(threads: &[ThreadView], gates: &[GateView]) -> Vec<Holder> {
    let house = House { threads, gates };
    let mut waiting: Vec<Holder> =
        threads.iter().filter_map(|thread| Some(house.waiting(thread, thread.wait.as_ref()?))).collect();
    waiting.sort_by_key(|holder| Reverse(holder.since));
    let held = gates.iter().flat_map(|gate| house.holding(gate));
    waiting.extend(held);
    waiting
}

struct House<'a> {
    threads: &'a [ThreadView],
    gates: &'a [GateView],
}

impl House<'_> {
    fn gate(&self, address: usize) -> Option<&GateView> {
        self.gates.iter().find(|gate| gate.address == address)
    }

    fn waiting(&self, thread: &ThreadView, wait: &Wait) -> Holder {
        let gate = wait.gate.and_then(|address| self.gate(address));
        Holder {
            thread: Some(thread.shown()),
            operation: wait.operation.doing(),
            function: gate.map(|gate| gate.name.clone()),
            since: Some(wait.age()),
            waits_for: Some(wait.operation.waits_for()),
            held_by: self.blockers(wait.operation, gate),
            wait: Some(wait.id(thread.number)),
        }
    }

    fn blockers(&self, operation: Operation, gate: Option<&GateView>) -> Vec<Blocker> {
        if let Operation::Lock { holder, .. } = operation {
            let by = self.threads.iter().find(|thread| thread.record == holder);
            return vec![Blocker {
                thread: by.map(ThreadView::shown),
                what: String::from("took it last"),
                since: None,
            }];
        }
        if let Operation::Readers { node } = operation {
            return self.readers(node).map(|thread| thread.blocker("a read")).collect();
        }
        let Some(gate) = gate else { return Vec::new() };
        let (owner, short, long) = match operation {
            Operation::Enter(_) | Operation::Turn(_) => (true, false, false),
            Operation::Drain { long, .. } => (false, true, long),
            Operation::Retire => (true, true, true),
            Operation::Delay(_)
            | Operation::Lock { .. }
            | Operation::Readers { .. }
            | Operation::Other { .. } => return Vec::new(),
        };
        let mut blockers = Vec::new();
        if gate.busy {
            blockers.push(Blocker {
                thread: None,
                what: String::from("not known: its lock is busy"),
                since: None,
            });
        }
        blockers.extend(gate.owner.iter().filter(|_| owner).map(|owner| self.owner(owner)));
        let inside = self.readers(gate.address).filter(|_| short);
        blockers.extend(inside.map(|thread| thread.blocker("a short pass")));
        blockers.extend(gate.long.iter().filter(|_| long).map(|inside| Blocker {
            thread: None,
            what: long_name(inside),
            since: inside.age,
        }));
        blockers
    }

    /// The lines of a gate that is closed, and of what is inside if somebody waits for that.
    fn holding(&self, gate: &GateView) -> Vec<Holder> {
        let function = Some(gate.name.clone());
        let line = |by: Blocker| Holder {
            thread: by.thread,
            operation: by.what,
            function: function.clone(),
            since: by.since,
            waits_for: None,
            held_by: Vec::new(),
            wait: None,
        };
        let at_gate =
            |thread: &&ThreadView| thread.wait.as_ref().is_some_and(|w| w.gate == Some(gate.address));
        let operations: Vec<Operation> =
            self.threads.iter().filter(at_gate).filter_map(|t| Some(t.wait.as_ref()?.operation)).collect();
        let mut lines = Vec::new();
        // A closer that drains, or lets a delay pass, has its line already.
        if let Some(owner) = &gate.owner
            && !operations.iter().any(|operation| operation.owns())
        {
            lines.push(line(self.owner(owner)));
        }
        let drained = operations.iter().any(|o| matches!(o, Operation::Drain { .. } | Operation::Retire));
        if drained {
            let drain =
                self.blockers(Operation::Drain { reason: crate::Reason::Unplug, long: true }, Some(gate));
            lines.extend(drain.into_iter().map(line));
        }
        lines
    }

    fn owner(&self, owner: &OwnerView) -> Blocker {
        // By identity: the closer's record has the very same name as long as its thread lives.
        let by = self.threads.iter().find(|thread| Arc::ptr_eq(&thread.name, &owner.thread));
        let ended = || Thread { number: None, name: owner.thread.to_string() };
        let parked = if owner.parked { " (parked)" } else { "" };
        Blocker {
            thread: Some(by.map_or_else(ended, ThreadView::shown)),
            what: format!("closed for {}{parked}", owner.reason),
            since: Some(owner.since),
        }
    }

    /// The threads with a slot that names the gate, or the node of a value, at `address`.
    fn readers(&self, address: usize) -> impl Iterator<Item = &ThreadView> {
        self.threads.iter().filter(move |thread| thread.inside.contains(&address))
    }
}

impl ThreadView {
    fn shown(&self) -> Thread {
        Thread { number: Some(self.number), name: self.name.to_string() }
    }

    fn blocker(&self, what: &str) -> Blocker {
        Blocker { thread: Some(self.shown()), what: String::from(what), since: None }
    }
}

fn long_name(inside: &Inside) -> String {
    match inside.kind {
        InsideKind::Long(kind) => format!("{} ({})", inside.what, kind_name(kind)),
        InsideKind::Short | InsideKind::Proof(_) => inside.what.clone(),
    }
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(thread) = &self.thread {
            write!(f, "{}: ", thread.name)?;
        }
        f.write_str(&self.what)?;
        match self.since {
            Some(since) => write!(f, ", {} ms", since.as_millis()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(thread) = &self.thread {
            write!(f, "{}: ", thread.name)?;
        }
        f.write_str(&self.operation)?;
        if let Some(function) = &self.function {
            write!(f, " of {function}")?;
        }
        if let Some(waits_for) = &self.waits_for {
            write!(f, ", waiting for {waits_for}")?;
        }
        if let Some(since) = self.since {
            write!(f, " for {} ms", since.as_millis())?;
        }
        for (nth, by) in self.held_by.iter().enumerate() {
            let word = if nth == 0 { ", held by" } else { " and" };
            write!(f, "{word} [{by}]")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "holder_tests.rs"]
mod tests;
