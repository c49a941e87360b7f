//! The hardware of a recovery as this house has it: functions of a [`Topology`], reset by [`Resets`], in [`Slots`].
//!
//! * **What it sees** it sees beneath the gates, as firmware does: a function answers on its bus, or not.
//! * **What it resets** is reached by as few resets as possible, and nothing else is: the bus that all of it shares, if
//!   nobody else is on it; otherwise each function by its best method, and a bridge by what is below it.
//! * **What it keeps** of a function before a reset it keeps until the function is back as it was, over as many resets as that
//!   takes. A function that did not answer before its first gets what it had when it came (EEH-15).
//!
//! What this does **not** do: it holds no gate of a consumer but those that it is given, and those it gives back.
//!
//! # Concurrency
//! Recoveries of different PEs go on side by side. The one lock is a leaf around the map of what is kept.

mod sight;
mod slots;
mod states;
mod ways;

pub use slots::Slots;

use super::{ClosedFunctions, Platform, ResetRequest};
use crate::pe::Pe;
use crate::plan::{FunctionId, PlatformState, Queried, Reset, Thaw, Traffic};
use crate::report::Log;
use crate::tree::PeFunction;
use gate::{Deadline, ThreadToken};
use pci_spec::Bdf;
use reset::{BusReset, BusTimes, Custody, Error, Kept, Resets};
use sight::Seen;
use states::States;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use topology::{NodeKind, Snapshot, Topology};
use ways::{Nodes, Way};

/// How long a look at a function waits for whoever has it closed.
const LOOK: Duration = Duration::from_millis(100);
/// How long a change of the topology waits for others that change it.
const REMOVAL: Duration = Duration::from_secs(5);

/// The standard platform; see the module's head.
pub struct Machine {
    topology: Arc<Topology>,
    resets: Arc<Resets>,
    slots: Arc<dyn Slots>,
    states: States,
}

impl Machine {
    /// A machine without slots. `resets` is best made with the same topology: it then refuses to reset what came meanwhile.
    #[must_use]
    pub fn new(topology: Arc<Topology>, resets: Arc<Resets>) -> Machine {
        Machine { topology, resets, slots: Arc::new(()), states: States::default() }
    }

    /// Has functions taken out through their slots.
    #[must_use]
    pub fn with_slots(self, slots: Arc<dyn Slots>) -> Machine {
        Machine { slots, ..self }
    }

    fn see<'a>(
        &'a self,
        token: &'a ThreadToken,
        functions: &'a [Arc<PeFunction>],
    ) -> impl Iterator<Item = Seen> + 'a {
        functions.iter().map(|function| sight::look(&self.topology, token, function))
    }

    /// Whether all that is left answers; nothing answers for functions of which none is left.
    fn is_active(&self, token: &ThreadToken, functions: &[Arc<PeFunction>]) -> bool {
        let seen: Vec<Seen> = self.see(token, functions).filter(|seen| *seen != Seen::Gone).collect();
        (functions.is_empty() || !seen.is_empty()) && !seen.contains(&Seen::Silent)
    }

    /// Does something with those of `functions` that are closed and still where they were; they are closed again afterwards.
    fn with_custody<T>(
        &self,
        snapshot: &Snapshot,
        functions: &[Arc<PeFunction>],
        closed: &mut ClosedFunctions,
        act: impl FnOnce(&mut Custody, &Members) -> T,
    ) -> T {
        let mut custody = Custody::default();
        let mut members = Members::default();
        let mut aside = Vec::new();
        for function in functions {
            let Some(gate) = closed.remove(function.id) else { continue };
            let node = snapshot.function(function.address);
            match node.filter(|node| Arc::ptr_eq(&node.function, &function.function)) {
                Some(node) => match custody.add(node.clone(), gate) {
                    Ok(()) => {
                        members.nodes.insert(function.address, node.clone());
                        members.ids.insert(function.address, function.id);
                    }
                    // It was removed in this moment.
                    Err(gone) => drop(gone),
                },
                // It is on its way out: it is not reset, and stays as closed as it was.
                None => aside.push(gate),
            }
        }
        let done = act(&mut custody, &members);
        aside.extend(custody.into_gates());
        closed.take_back(functions, aside);
        closed.forget_gone();
        done
    }

    /// What each function is to have after the reset that comes: what it has, or had before, or had when it came.
    fn owe(&self, members: &Members, mut found: Kept) -> Kept {
        let owed = members.ids.iter().filter_map(|(at, id)| {
            let state = self.states.owe(*id, found.remove(at))?;
            Some((*at, (*state).clone()))
        });
        owed.collect()
    }

    fn carry_out(
        &self,
        token: &mut ThreadToken,
        pass: &Pass<'_>,
        custody: &mut Custody,
        way: Way,
    ) -> Result<(), Error> {
        let Pass { snapshot, members, how, kept, deadline } = *pass;
        match way {
            Way::Bus(bridge) => {
                let how = bus_reset(how);
                let done =
                    self.resets.reset_bus_closed(token, snapshot, bridge, how, custody, kept, deadline);
                match done {
                    // Something on it does not survive the reset of the bus (RST-15).
                    Err(Error::NotResettable) if !matches!(how, BusReset::Release { .. }) => {
                        let ways = ways::one_by_one(snapshot, bridge, &members.nodes);
                        // Of the bridge itself there is nothing less than what was refused.
                        let less: Vec<Way> = ways.into_iter().filter(|less| *less != way).collect();
                        if less.is_empty() {
                            return Err(Error::NotResettable);
                        }
                        less.into_iter().try_for_each(|less| self.carry_out(token, pass, custody, less))
                    }
                    done => done.map(|_done| ()),
                }
            }
            // The error was contained by a port, and there is none.
            Way::Function(_) if matches!(how, Reset::ReleasePort { .. }) => Err(Error::NotResettable),
            Way::Function(at) => {
                let done = self.resets.reset_function_closed(token, snapshot, at, custody, kept, deadline);
                done.map(|_done| ())
            }
        }
    }

    /// Takes a function out of the topology by itself: nobody gets to it any more.
    fn disconnect(&self, token: &mut ThreadToken, function: &PeFunction) {
        let at_once = Deadline::after(Duration::ZERO);
        // Who is inside is left behind; the gate names him.
        let _orphans = function.function.gate().retire_epoch_of(function.function.handle(), token, at_once);
        let shown = self.topology.snapshot(token).function(function.address).cloned();
        if shown.is_some_and(|node| Arc::ptr_eq(&node.function, &function.function)) {
            let removed = self.topology.remove(token, function.address, Deadline::after(REMOVAL));
            for node in removed.into_iter().flat_map(|removed| removed.nodes) {
                let gate = node.function.gate();
                let _orphans = gate.retire_epoch_of(node.function.handle(), token, at_once);
            }
        }
    }
}

/// The functions that are in custody, by their places.
#[derive(Default)]
struct Members {
    nodes: Nodes,
    ids: BTreeMap<Bdf, FunctionId>,
}

/// One reset of everything that is recovered.
#[derive(Clone, Copy)]
struct Pass<'a> {
    snapshot: &'a Snapshot,
    members: &'a Members,
    how: Reset,
    kept: &'a Kept,
    deadline: Deadline,
}

fn bus_reset(how: Reset) -> BusReset {
    match how {
        Reset::Hot { hold, settle } => BusReset::Hot(BusTimes { hold, settle }),
        Reset::Fundamental { hold, settle } => BusReset::Fundamental(BusTimes { hold, settle }),
        Reset::SecondaryBus { hold } => BusReset::Hot(BusTimes { hold, settle: Duration::ZERO }),
        Reset::ReleasePort { link_inactive, root_port_busy } => {
            BusReset::Release { link_inactive, root_port_busy }
        }
    }
}

impl Platform for Machine {
    fn is_present(&self, token: &mut ThreadToken, functions: &[Arc<PeFunction>]) -> bool {
        self.see(token, functions).any(|seen| matches!(seen, Seen::Answers | Seen::Asleep))
    }

    fn state(&self, token: &mut ThreadToken, _pe: &Pe, functions: &[Arc<PeFunction>]) -> Queried {
        let enabled = PlatformState::MMIO_ENABLED.union(PlatformState::DMA_ENABLED);
        let active = PlatformState::MMIO_ACTIVE.union(PlatformState::DMA_ACTIVE);
        Queried::Is(if self.is_active(token, functions) { enabled.union(active) } else { enabled })
    }

    fn thaw(
        &self,
        token: &mut ThreadToken,
        _pe: &Pe,
        functions: &[Arc<PeFunction>],
        _traffic: Traffic,
    ) -> Thaw {
        match self.is_active(token, functions) {
            true => Thaw::Done,
            false if self.is_present(token, functions) => Thaw::NeedsReset,
            false => Thaw::Failed,
        }
    }

    fn reset(
        &self,
        token: &mut ThreadToken,
        request: &ResetRequest<'_>,
        closed: &mut ClosedFunctions,
        deadline: Deadline,
    ) -> bool {
        let functions = request.functions;
        closed.forget_gone();
        let open = |function: &Arc<PeFunction>| {
            !closed.is_closed(function.id) && !function.function.handle().is_gone()
        };
        if functions.iter().any(open) {
            return false;
        }
        let snapshot = self.topology.snapshot(token);
        let done = self.with_custody(&snapshot, functions, closed, |custody, members| {
            let found = self.resets.keep_closed(token, &snapshot, custody, deadline);
            let kept = &self.owe(members, found);
            let how = request.how;
            let pass = Pass { snapshot: &snapshot, members, how, kept, deadline };
            // All are tried, also if one fails: the next attempt finds the more of them back.
            let ways = ways::ways(&snapshot, &members.nodes);
            let done: Vec<Result<(), Error>> =
                ways.into_iter().map(|way| self.carry_out(token, &pass, custody, way)).collect();
            done.iter().all(Result::is_ok)
        });
        done && self.is_active(token, functions)
    }

    fn restore_config(
        &self,
        token: &mut ThreadToken,
        _pe: &Pe,
        functions: &[Arc<PeFunction>],
        closed: &mut ClosedFunctions,
        deadline: Deadline,
    ) -> bool {
        let snapshot = self.topology.snapshot(token);
        let restored = self.with_custody(&snapshot, functions, closed, |custody, members| {
            let owed = members.ids.iter().filter_map(|(at, id)| {
                let state = self.states.owed(*id)?;
                Some((*at, (*state).clone()))
            });
            let kept: Kept = owed.collect();
            let restored = self.resets.restore_closed(token, &snapshot, custody, &kept, deadline);
            let mut all = true;
            for (at, done) in restored {
                match (done, members.ids.get(&at)) {
                    (Ok(_told), Some(id)) => self.states.paid(*id),
                    (Err(reset::NotBack::Removed), _) => {}
                    _ => all = false,
                }
            }
            all
        });
        // What is neither closed nor removed was not restored.
        let held = |function: &Arc<PeFunction>| {
            closed.is_closed(function.id) || function.function.handle().is_gone()
        };
        restored && functions.iter().all(held) && self.is_active(token, functions)
    }

    fn unfreeze(&self, token: &mut ThreadToken, _pe: &Pe, functions: &[Arc<PeFunction>]) -> bool {
        self.is_active(token, functions)
    }

    fn clear_error_status(&self, token: &mut ThreadToken, _pe: &Pe, functions: &[Arc<PeFunction>]) {
        let snapshot = self.topology.snapshot(token);
        for function in functions {
            // Of what its recovery has closed until its model goes on, nobody waits for the gate.
            if function.function.gate().status().owner.is_some() {
                function.function.config().clear_error_records();
                continue;
            }
            // What cannot be reached now is cleared with its next reset.
            let _cleared =
                self.resets.clear_errors(token, &snapshot, function.address, Deadline::after(LOOK));
        }
    }

    /// Of a card with other functions on it only this one goes: they may well go on.
    fn remove(&self, token: &mut ThreadToken, function: &Arc<PeFunction>) {
        let snapshot = self.topology.snapshot(token);
        let alone = !others_on_card(&snapshot, function.address);
        let slot = self.slots.slot_of(function).filter(|_| alone);
        // The slot takes its card from everybody as if it had been torn out, and stays off.
        if !slot.is_some_and(|slot| slot.fail(&function.function)) {
            self.disconnect(token, function);
        }
    }

    fn log(&self, token: &mut ThreadToken, _pe: &Pe, functions: &[Arc<PeFunction>], log: Log) -> String {
        sight::describe(&self.topology, token, functions, log)
    }

    fn arrived(&self, token: &mut ThreadToken, function: &Arc<PeFunction>) {
        let snapshot = self.topology.snapshot(token);
        let node = snapshot.function(function.address);
        if !node.is_some_and(|node| Arc::ptr_eq(&node.function, &function.function)) {
            return;
        }
        let copy = self.resets.copy_state(token, &snapshot, function.address, Deadline::after(LOOK));
        if let Ok(state) = copy
            && !state.is_empty()
        {
            self.states.copied(function.id, state);
        }
    }

    fn left(&self, _token: &mut ThreadToken, function: FunctionId) {
        self.states.forget(function);
    }
}

/// Whether the card that a function is on has functions that are not its own, on the same bus and alive.
fn others_on_card(snapshot: &Snapshot, at: Bdf) -> bool {
    let mut on_bus = snapshot.bus(at.segment(), at.bus());
    on_bus.any(|node| {
        let own = node.kind == (NodeKind::Virtual { physical: at });
        node.address != at && !own && !node.function.handle().is_gone()
    })
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("states", &self.states).finish_non_exhaustive()
    }
}
