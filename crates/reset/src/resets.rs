//! Resets of one function, as an operator or a consumer asks for them.

use crate::bus::same;
use crate::error::Error;
use crate::facts::Facts;
use crate::hold::{Hold, Reader};
use crate::method::Method;
use crate::methods::{ListError, ListWarning, MethodList};
use crate::peek::Peek;
use crate::policy::{Policies, Policy};
use crate::probe::{CxlPort, Lack, Surroundings, probe};
use crate::procedures::{Procedure, Procedures};
use crate::quirks::Quirks;
use crate::sequence::{Subject, attempt, finish, prepare};
use crate::session::Session;
use crate::shut::{Patience, shut};
use gate::{Closed, Deadline, Refusal, ThreadToken};
use pci_core::{DeviceState, ResetKind, Time};
use pci_spec::Bdf;
use power::Power;
use std::sync::Arc;
use topology::{Node, NodeKind, Snapshot, Topology};

/// Resets functions; one for a machine. Shared freely: what it keeps of a function is behind a lock that nobody waits
/// under.
pub struct Resets {
    pub(crate) time: Arc<dyn Time>,
    pub(crate) procedures: Option<Arc<dyn Procedures>>,
    power: Option<Power>,
    pub(crate) topology: Option<Arc<Topology>>,
    pub(crate) quirks: fn(u16, u16) -> Quirks,
    pub(crate) policies: Policies,
}

/// A method, and why the function does not have it if it does not.
pub type Probed = (Method, Result<(), Lack>);

/// A reset that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "registers that were not restored are worth a look"]
pub struct Done {
    /// The method that did it; `None` for a bus or a slot.
    pub method: Option<Method>,
    /// Registers that have another value than before; each was told of.
    pub not_restored: usize,
}

impl Resets {
    /// Delays pass on `time`.
    #[must_use]
    pub fn new(time: Arc<dyn Time>) -> Resets {
        Resets {
            time,
            procedures: None,
            power: None,
            topology: None,
            quirks: |_vendor, _device| Quirks::default(),
            policies: Policies::default(),
        }
    }

    /// Brings procedures of devices and of the firmware.
    #[must_use]
    pub fn with_procedures(self, procedures: Arc<dyn Procedures>) -> Resets {
        Resets { procedures: Some(procedures), ..self }
    }

    /// Has `topology` looked at again once the gates of a bus are closed, so that nothing that was plugged in meanwhile
    /// is reset without having been asked for.
    #[must_use]
    pub fn with_topology(self, topology: Arc<Topology>) -> Resets {
        Resets { topology: Some(topology), ..self }
    }

    /// Has functions without power given it before they are reset.
    #[must_use]
    pub fn with_power(self, power: Power) -> Resets {
        Resets { power: Some(power), ..self }
    }

    /// Takes what is to be known of a vendor and device ID from `quirks`; without, every device does what it says.
    #[must_use]
    pub fn with_quirks(self, quirks: fn(u16, u16) -> Quirks) -> Resets {
        Resets { quirks, ..self }
    }

    /// Resets one function by the methods that are enabled for it, in their order (RST-11). Waits to the deadline for
    /// what is in flight, and then for as long as the hardware needs. Only the function is blocked, its virtual
    /// functions, and the bridge above it if its bus has to be reset.
    ///
    /// # Errors
    /// [`Error`].
    pub fn reset_function(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        deadline: Deadline,
    ) -> Result<Done, Error> {
        self.reset_one(token, snapshot, at, Patience::Until(deadline), None)
    }

    /// As [`Resets::reset_function`], but does not wait for others: if anybody is inside nothing is changed (RST-12).
    ///
    /// # Errors
    /// [`Error`]; contention is [`Error::Busy`].
    pub fn try_reset_function(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
    ) -> Result<Done, Error> {
        self.reset_one(token, snapshot, at, Patience::None, None)
    }

    /// As [`Resets::reset_function`], by this method only, whatever is enabled.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NoMethod`] if the function does not have it or did not answer after it.
    pub fn reset_function_by(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        method: Method,
        deadline: Deadline,
    ) -> Result<Done, Error> {
        self.reset_one(token, snapshot, at, Patience::Until(deadline), Some(method))
    }

    /// Resets a function that the caller has closed, without saving or restoring anything (RST-13). The gate stays
    /// closed and is given back for the caller to go on with, unless it was retired. Its virtual functions are closed
    /// meanwhile, without waiting for others, and are switched off afterwards.
    ///
    /// # Errors
    /// [`Error`], beside the gate; [`Error::Busy`] and [`Error::Changed`] for the virtual functions.
    pub fn reset_closed(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        closed: Closed,
    ) -> (Option<Closed>, Result<Method, Error>) {
        let Some(node) = snapshot.function(at).cloned() else { return (Some(closed), Err(Error::NotThere)) };
        let virtuals = snapshot.virtual_functions(at);
        let shut = shut(&virtuals, token, Patience::None);
        let closed_virtuals =
            match shut.and_then(|shut| self.same_virtuals(token, at, &virtuals).map(|()| shut)) {
                Ok(shut) => shut,
                Err(error) => return (Some(closed), Err(error)),
            };
        let around = self.surroundings(token, snapshot, &node, Patience::None);
        let policy = self.policies.of(token, &node);
        let nodes: Vec<Arc<Node>> = virtuals.iter().cloned().chain([node]).collect();
        let mut session = self.session(token, snapshot, &nodes, closed_virtuals.into_iter().chain([closed]));
        session.zap();
        learn(&policy, &mut session, at);
        let subject = subject(at, &policy, self.quirks, around);
        let list = subject.list(&policy);
        let done = attempt(&mut session, subject, list);
        if done.is_ok() {
            for node in &virtuals {
                session.reset_emulated(node.address, ResetKind::FunctionLevel);
            }
        }
        (session.give_back(at), done.map_err(Error::from))
    }

    /// Which methods the function has, and why not the others.
    ///
    /// # Errors
    /// [`Error::NotThere`]; [`Error::NotClosed`] if the function was blocked past the deadline.
    pub fn probe(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        deadline: Deadline,
    ) -> Result<Vec<Probed>, Error> {
        let (policy, around) = self.look(token, snapshot, at, Patience::Until(deadline))?;
        let subject = subject(at, &policy, self.quirks, around);
        Ok(Method::ALL.into_iter().map(|method| (method, subject.probe(method))).collect())
    }

    /// `reset_method`: the methods in use, in their order (RST-03).
    ///
    /// # Errors
    /// As [`Resets::probe`].
    pub fn methods(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        deadline: Deadline,
    ) -> Result<MethodList, Error> {
        let (policy, around) = self.look(token, snapshot, at, Patience::Until(deadline))?;
        Ok(subject(at, &policy, self.quirks, around).list(&policy))
    }

    /// Writes `reset_method` (RST-03); see [`Methods::write`](crate::Methods::write).
    ///
    /// # Errors
    /// As [`Resets::probe`], and inside the answer why the list was refused, which leaves the one before.
    pub fn set_methods(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        text: &str,
        deadline: Deadline,
    ) -> Result<Result<Option<ListWarning>, ListError>, Error> {
        let (policy, around) = self.look(token, snapshot, at, Patience::Until(deadline))?;
        let subject = subject(at, &policy, self.quirks, around);
        Ok(policy.methods.write(text, |method| subject.probe(method).is_ok()))
    }

    fn reset_one(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        patience: Patience,
        only: Option<Method>,
    ) -> Result<Done, Error> {
        self.power_on(token, snapshot, at, patience)?;
        let (policy, around) = self.look(token, snapshot, at, patience)?;
        let subject = subject(at, &policy, self.quirks, around);
        let list = match only {
            Some(method) => MethodList::EMPTY.with(method).unwrap_or_default(),
            None => subject.list(&policy),
        };
        let first = list.iter().find(|method| subject.probe(*method).is_ok()).ok_or(Error::NoMethod)?;
        let mut nodes = vec![snapshot.function(at).cloned().ok_or(Error::NotThere)?];
        if first.needs_bridge() {
            nodes.push(snapshot.parent(at).cloned().ok_or(Error::NoMethod)?);
        }
        // They vanish with their physical function's reset, and come back with what is restored of it.
        let virtuals = snapshot.virtual_functions(at);
        let virtual_policies: Vec<(Bdf, Arc<Policy>)> =
            virtuals.iter().map(|node| (node.address, self.policies.of(token, node))).collect();
        nodes.extend(virtuals);
        let closed = shut(&nodes, token, patience)?;
        self.same_virtuals(token, at, &snapshot.virtual_functions(at))?;
        let mut session = self.session(token, snapshot, &nodes, closed);
        session.zap();
        for (at, policy) in &virtual_policies {
            learn(policy, &mut session, *at);
        }
        let done = whole(&mut session, subject, list, &virtual_policies);
        session.end(|reset| {
            done.is_ok() && (reset == at || virtual_policies.iter().any(|(at, _)| *at == reset))
        });
        done
    }

    /// Looked at with the function closed, so that none comes any more: those that are not held would be switched off
    /// under their consumers.
    pub(crate) fn same_virtuals(
        &self,
        token: &ThreadToken,
        at: Bdf,
        held: &[Arc<Node>],
    ) -> Result<(), Error> {
        let topology = self.topology.as_ref();
        let changed =
            topology.is_some_and(|topology| !same(&topology.snapshot(token).virtual_functions(at), held));
        if changed { Err(Error::Changed) } else { Ok(()) }
    }

    /// A function without power answers nothing, and a reset would find nothing to save. It is given power as for any
    /// other use; from D3hot it is woken later, with its gate closed.
    pub(crate) fn power_on(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        patience: Patience,
    ) -> Result<(), Error> {
        let node = snapshot.function(at).ok_or(Error::NotThere)?;
        let Some(power) = self.power.as_ref().filter(|_| node.function.device_state() == DeviceState::D3Cold)
        else {
            return Ok(());
        };
        match patience {
            Patience::None => power.try_set_state(snapshot, at, DeviceState::D0, token)?,
            Patience::Until(deadline) => power.set_state(snapshot, at, DeviceState::D0, token, deadline)?,
        };
        Ok(())
    }

    pub(crate) fn session<'s>(
        &'s self,
        token: &'s mut ThreadToken,
        snapshot: &'s Snapshot,
        nodes: &[Arc<Node>],
        closed: impl IntoIterator<Item = Closed>,
    ) -> Session<'s> {
        Session::new(token, snapshot, &*self.time, self.procedures.as_deref(), nodes, closed)
    }

    /// What is known of a function and of what is around it. Reads what it has the first time, under passes; a
    /// function that is frozen admits none and is closed for it, which its reset would do anyway.
    fn look(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        patience: Patience,
    ) -> Result<(Arc<Policy>, Surroundings), Error> {
        let node = snapshot.function(at).cloned().ok_or(Error::NotThere)?;
        let policy = self.learn_about(token, snapshot, &node, patience)?;
        let around = self.surroundings(token, snapshot, &node, patience);
        Ok((policy, around))
    }

    pub(crate) fn learn_about(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        node: &Arc<Node>,
        patience: Patience,
    ) -> Result<Arc<Policy>, Error> {
        let policy = self.policies.of(token, node);
        if policy.facts.get().is_some() {
            return Ok(policy);
        }
        let looked = Peek::new(token, node, patience);
        match looked.map(|mut peek| learn(&policy, &mut peek, node.address)) {
            Ok(()) => {}
            Err(Refusal::Frozen) => {
                let nodes = [node.clone()];
                let closed = shut(&nodes, token, patience)?;
                learn(&policy, &mut self.session(token, snapshot, &nodes, closed), node.address);
            }
            Err(Refusal::Blocked(_)) => {
                return Err(Error::Busy { function: node.function.name().to_owned(), in_use: false });
            }
            Err(Refusal::Gone | Refusal::StaleEpoch { .. }) => return Err(Error::NotThere),
        }
        Ok(policy)
    }

    pub(crate) fn surroundings(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        node: &Arc<Node>,
        patience: Patience,
    ) -> Surroundings {
        let at = node.address;
        let has = |procedure| {
            let procedures = self.procedures.as_deref();
            procedures.is_some_and(|procedures| procedures.has(procedure, &node.function, at))
        };
        let around = Surroundings {
            procedure: has(Procedure::DeviceSpecific),
            firmware: has(Procedure::Firmware),
            others: snapshot.bus(at.segment(), at.bus()).any(|other| other.address != at),
            ..Surroundings::default()
        };
        let Some(bridge) = snapshot.parent(at) else { return around };
        let slot = matches!(bridge.kind, NodeKind::Bridge { slot: true, .. });
        // A bridge that cannot be looked at now is looked at again before its bus is reset.
        let Ok(policy) = self.learn_about(token, snapshot, bridge, patience) else {
            return Surroundings { below_bridge: true, slot, ..around };
        };
        let cxl = policy.facts.get().filter(|facts| facts.cxl_port.is_some()).map(|facts| {
            match Peek::new(token, bridge, patience) {
                Ok(mut peek) => CxlPort::read(&mut peek, bridge.address, facts),
                Err(_looked_at_again_too) => CxlPort::Open,
            }
        });
        let bus_broken = policy.quirks(self.quirks).no_bus_reset;
        Surroundings { below_bridge: true, slot, bus_broken, cxl: cxl.unwrap_or_default(), ..around }
    }
}

/// Prepares, tries the methods, and puts back what was saved: of the function, and of the virtual functions that go
/// with it.
fn whole(
    session: &mut Session<'_>,
    subject: Subject<'_>,
    list: MethodList,
    virtuals: &[(Bdf, Arc<Policy>)],
) -> Result<Done, Error> {
    let Subject { at, facts, .. } = subject;
    let saved = prepare(session, at, facts).map_err(|_gone| Error::Removed)?;
    // One that is removed meanwhile is left out.
    let saved_virtuals: Vec<_> =
        virtuals.iter().map(|(at, policy)| prepare(session, *at, policy.facts.get())).collect();
    let done = attempt(session, subject, list);
    if done.is_ok() {
        for (at, _) in virtuals {
            session.reset_emulated(*at, ResetKind::FunctionLevel);
        }
    }
    // The function is put back whatever came of the methods; that it is gone is the more important news.
    let finished = finish(session, at, facts, &saved, done.is_ok());
    let mut not_restored = 0;
    for ((at, policy), saved) in virtuals.iter().zip(saved_virtuals) {
        let Ok(saved) = saved else { continue };
        not_restored += finish(session, *at, policy.facts.get(), &saved, done.is_ok()).unwrap_or(0);
    }
    not_restored += finished.map_err(|_gone| Error::Removed)?;
    Ok(Done { method: Some(done?), not_restored })
}

/// Reads what the function has, if that is not known yet and it answers.
pub(crate) fn learn(policy: &Policy, reader: &mut dyn Reader, at: Bdf) {
    if policy.facts.get().is_none()
        && let Some(facts) = Facts::read(reader, at)
    {
        // Another reset may have been first, with the same facts.
        let _other = policy.facts.set(facts);
    }
}

pub(crate) fn subject(
    at: Bdf,
    policy: &Policy,
    quirks: fn(u16, u16) -> Quirks,
    around: Surroundings,
) -> Subject<'_> {
    Subject { at, facts: policy.facts.get(), quirks: policy.quirks(quirks), around }
}

impl Subject<'_> {
    fn probe(&self, method: Method) -> Result<(), Lack> {
        probe(method, self.facts, self.quirks, self.around)
    }

    pub(crate) fn list(&self, policy: &Policy) -> MethodList {
        policy.methods.list(|method| self.probe(method).is_ok())
    }
}

impl std::fmt::Debug for Resets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resets").field("time", &self.time).finish_non_exhaustive()
    }
}
