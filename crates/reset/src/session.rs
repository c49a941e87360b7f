//! One reset's gates: what the sequences touch hardware through in service.
//!
//! Each gate is parked between two accesses, so that the thread holds nothing while time passes, and its removal is
//! seen at the next one. Whatever way a reset ends, dropping the session reopens every gate that is still there (law
//! 9).

use crate::custody::{Custody, Member};
use crate::hold::{Hold, Reader};
use crate::method::Method;
use crate::procedures::{Procedure, Procedures};
use gate::{Closed, Deadline, Gone, Quiesced, Reason, ThreadToken};
use pci_core::{Errno, Function, FunctionEvent, PowerDelays, ResetKind, ResetStep, Time, Width};
use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use topology::{Node, Snapshot};

/// The functions that are closed.
pub(crate) struct Session<'s> {
    token: &'s mut ThreadToken,
    snapshot: &'s Snapshot,
    time: &'s dyn Time,
    procedures: Option<&'s dyn Procedures>,
    members: BTreeMap<Bdf, Member>,
    /// Bridges that were taken in on the way.
    taken: Vec<Bdf>,
    /// From when on no more time passes.
    deadline: Option<Deadline>,
    late: bool,
}

impl<'s> Session<'s> {
    /// Takes over the gates of `nodes`, which `closed` has closed.
    pub(crate) fn new(
        token: &'s mut ThreadToken,
        snapshot: &'s Snapshot,
        time: &'s dyn Time,
        procedures: Option<&'s dyn Procedures>,
        nodes: &[Arc<Node>],
        closed: impl IntoIterator<Item = Closed>,
    ) -> Session<'s> {
        let mut members = BTreeMap::new();
        for closed in closed {
            let of = nodes.iter().find(|node| closed.is_of(node.function.gate()));
            if let Some(node) = of {
                members.insert(node.address, Member { node: node.clone(), closed: Some(closed) });
            }
        }
        Session { token, snapshot, time, procedures, members, taken: Vec::new(), deadline: None, late: false }
    }

    /// Works with the gates of a caller, who gets them back by [`Session::return_to`].
    pub(crate) fn of(
        token: &'s mut ThreadToken,
        snapshot: &'s Snapshot,
        time: &'s dyn Time,
        procedures: Option<&'s dyn Procedures>,
        custody: &mut Custody,
    ) -> Session<'s> {
        let members = std::mem::take(&mut custody.members);
        Session { token, snapshot, time, procedures, members, taken: Vec::new(), deadline: None, late: false }
    }

    /// Lets no more time pass once the deadline has passed, as if all that is waited with were gone.
    pub(crate) fn until(self, deadline: Deadline) -> Session<'s> {
        Session { deadline: Some(deadline), ..self }
    }

    /// Whether time was refused because of the deadline.
    pub(crate) fn is_late(&self) -> bool {
        self.late
    }

    /// Gives the caller the gates back, still closed, without those that were retired. Bridges that were taken in on the way
    /// reopen.
    pub(crate) fn return_to(mut self, custody: &mut Custody) {
        for at in &self.taken {
            self.members.remove(at);
        }
        let there = |member: &Member| member.closed.as_ref().is_some_and(|closed| !closed.is_gone());
        custody.members.extend(self.members.into_iter().filter(|(_, member)| there(member)));
    }

    /// Takes away what consumers have mapped of all that is held, before any of it is touched (VF-40, VF-43): also of
    /// virtual functions, whose physical one takes their memory with it. With the gates closed nothing comes back.
    pub(crate) fn zap(&mut self) {
        let held: Vec<Bdf> = self.members.keys().copied().collect();
        for at in held {
            self.with(at, |function, quiesced| function.zap(quiesced));
        }
    }

    /// Reopens all gates; those of functions that were reset, also if they were frozen.
    pub(crate) fn end(mut self, was_reset: impl Fn(Bdf) -> bool) {
        for (at, member) in &mut self.members {
            let resumed = member.closed.take().map(|closed| closed.resume(self.token));
            if let Some(Ok(quiesced)) = resumed
                && was_reset(*at)
            {
                // Whoever froze or removed it meanwhile has the last word; the reset was done all the same.
                let _reopened = member.node.function.thaw_quiesced(quiesced);
            }
        }
    }

    /// The gate of one function, still closed, for a caller that goes on with it; `None` if it was retired. All
    /// others reopen.
    pub(crate) fn give_back(mut self, at: Bdf) -> Option<Closed> {
        self.members.remove(&at)?.closed.filter(|closed| !closed.is_gone())
    }

    /// Does something under the proof of one function; `None` if it was removed, or is not held.
    fn with<T>(&mut self, at: Bdf, act: impl FnOnce(&Function, &Quiesced<'_>) -> T) -> Option<T> {
        let member = self.members.get_mut(&at)?;
        let quiesced = member.closed.take()?.resume(self.token).ok()?;
        let done = act(&member.node.function, &quiesced);
        member.closed = Some(quiesced.park());
        Some(done)
    }

    /// Emulated functions do not see the wire on which their bus is reset: they are told, each under its own proof.
    fn reset_below(&mut self, bridge: Bdf) {
        let Some(node) = self.snapshot.function(bridge).cloned() else { return };
        for below in self.snapshot.below(&node) {
            self.reset_emulated(below.address, ResetKind::DeviceReset);
        }
    }
}

impl Reader for Session<'_> {
    fn read(&mut self, at: Bdf, register: u16, width: Width) -> u32 {
        let read = self.with(at, |function, quiesced| function.config_read(quiesced, register, width));
        read.and_then(Result::ok).unwrap_or(width.all_ones())
    }
}

impl Hold for Session<'_> {
    fn write(&mut self, at: Bdf, register: u16, width: Width, value: u32) {
        let written = self
            .with(at, |function, quiesced| function.config_write_quiesced(quiesced, register, width, value));
        // A write that nobody took is lost, as on the bus.
        let effects = written.and_then(Result::ok).unwrap_or_default();
        if effects.secondary_bus_reset.is_some_and(|change| change.new) {
            self.reset_below(at);
        }
    }

    fn pass(&mut self, at: Bdf, time: Duration) -> Result<(), Gone> {
        if self.deadline.is_some_and(|deadline| deadline.remaining().is_none()) {
            self.late = true;
            return Err(Gone);
        }
        let closed = self.members.get(&at).and_then(|member| member.closed.as_ref()).ok_or(Gone)?;
        self.time.pass(self.token, closed, time)
    }

    fn is_gone(&self, at: Bdf) -> bool {
        let closed = self.members.get(&at).and_then(|member| member.closed.as_ref());
        closed.is_none_or(Closed::is_gone)
    }

    fn delays(&self, at: Bdf) -> PowerDelays {
        self.members.get(&at).map_or(PowerDelays::default(), |member| member.node.function.power_delays())
    }

    fn take_bridge(&mut self, at: Bdf) -> Option<Bdf> {
        let bridge = self.snapshot.parent(at)?;
        if let Some(member) = self.members.get(&bridge.address) {
            return member.closed.as_ref().map(|_| bridge.address);
        }
        let closed = bridge.function.gate().try_close(self.token, Reason::Reset).ok()?.park();
        if bridge.function.handle().is_gone() {
            return None;
        }
        self.members.insert(bridge.address, Member { node: bridge.clone(), closed: Some(closed) });
        self.taken.push(bridge.address);
        Some(bridge.address)
    }

    fn run(&mut self, at: Bdf, method: Method) -> Result<Duration, Errno> {
        let procedure = match method {
            Method::DeviceSpecific => Procedure::DeviceSpecific,
            Method::Acpi => Procedure::Firmware,
            _ => return Err(Errno::ENOTTY),
        };
        let procedures = self.procedures.ok_or(Errno::ENOTTY)?;
        self.with(at, |function, quiesced| procedures.run(procedure, quiesced, function, at))
            .unwrap_or(Err(Errno::ENODEV))
    }

    fn reset_emulated(&mut self, at: Bdf, kind: ResetKind) {
        let _reset = self.with(at, |function, quiesced| function.reset_quiesced(quiesced, kind));
    }

    fn tell(&mut self, at: Bdf, step: ResetStep) {
        if let Some(member) = self.members.get(&at) {
            member.node.function.tell(&FunctionEvent::ResetStep(step));
        }
    }
}
