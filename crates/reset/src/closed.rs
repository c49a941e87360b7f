//! Resets of functions that the caller has closed: for a recovery, which keeps everybody out from before the reset until what
//! was there is there again.
//!
//! The steps of a reset are apart here, as the caller decides in between and may reset again: [`Resets::keep_closed`],
//! [`Resets::reset_bus_closed`] or [`Resets::reset_function_closed`], [`Resets::restore_closed`]. A reset restores what it can, as
//! nothing below a bridge that is not restored could be reached; restoring once more is for what came back late.
//!
//! The gates are in a [`Custody`] all the time. A function that is removed meanwhile drops out of it, and the others go on.

use crate::act::MethodError;
use crate::bus::{children, same};
use crate::custody::{Custody, Kept};
use crate::error::Error;
use crate::facts::Facts;
use crate::hold::Hold;
use crate::policy::Policy;
use crate::probe::CxlPort;
use crate::ready::answers;
use crate::release;
use crate::resets::{Done, Resets, learn, subject};
use crate::saved::SavedState;
use crate::secondary::BusTimes;
use crate::sequence::{attempt, finish, keep, quiet, take_bridge, unmasked};
use crate::session::Session;
use crate::shut::Patience;
use crate::subtree::{Below, Subtree, put_back, wire};
use gate::{Deadline, Gone, ThreadToken};
use pci_core::{DeviceState, ResetKind};
use pci_spec::Bdf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use topology::{Node, NodeKind, Snapshot};

/// How a bus is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusReset {
    /// A hot reset. PCIe 6.0 s6.6.1 *Conventional Reset*.
    Hot(BusTimes),
    /// A fundamental one, in which nothing survives, where the hardware is emulated; elsewhere a hot one, as there is no
    /// way to the signal.
    Fundamental(BusTimes),
    /// The port has contained an error, which was a reset of what is below, and is released. PCIe 6.0 s6.2.11 *Downstream Port
    /// Containment*.
    Release {
        /// How long the link may take to be inactive.
        link_inactive: Duration,
        /// How long the root port may be busy.
        root_port_busy: Duration,
    },
}

/// Why a function is not as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotBack {
    /// It was removed.
    #[error("it was removed")]
    Removed,
    /// It does not answer.
    #[error("it does not answer")]
    Silent,
    /// Another one answers in its place.
    #[error("another function answers in its place")]
    Another,
}

impl Resets {
    /// Tells whoever drives the functions, takes away what is mapped of them, wakes them, and reads their states, bridges first. A
    /// function that does not answer has none. Only time to wake up passes.
    pub fn keep_closed(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        custody: &mut Custody,
        deadline: Deadline,
    ) -> Kept {
        let nodes = custody.nodes();
        let policies = self.policies_of(token, &nodes);
        let mut session = self.session_of(token, snapshot, custody).until(deadline);
        session.zap();
        let mut kept = Kept::new();
        for (node, policy) in nodes.iter().zip(&policies) {
            let at = node.address;
            learn(policy, &mut session, at);
            // One that was removed is left out.
            let state = keep(&mut session, at, policy.facts.get()).unwrap_or_default();
            if !state.is_empty() {
                kept.insert(at, state);
            }
        }
        session.return_to(custody);
        kept
    }

    /// Resets everything below a bridge, all of which the caller has closed, and restores it from `kept`, each bridge before
    /// anything below it is touched. The bridge is closed for it if nobody else is at it soon, unless the caller has it. What has
    /// no power is not waited for.
    ///
    /// # Errors
    /// [`Error::Changed`]: something below is not closed by the caller. [`Error::NotBack`] and [`Error::Late`]: what answered is
    /// restored, unless it was too late for that, and the bus is not left in reset. Any other as for [`Resets::reset_bus`].
    #[expect(clippy::too_many_arguments, reason = "what a caller keeps between the steps")]
    pub fn reset_bus_closed(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        bridge: Bdf,
        how: BusReset,
        custody: &mut Custody,
        kept: &Kept,
        deadline: Deadline,
    ) -> Result<Done, Error> {
        let bridge = snapshot.function(bridge).cloned().ok_or(Error::NotThere)?;
        let NodeKind::Bridge { slot, .. } = bridge.kind else { return Err(Error::NotResettable) };
        let below = snapshot.below(&bridge);
        self.check_closed(token, &bridge, &below, custody)?;
        let policies = self.policies_of(token, &below);
        let policy = self.policies.of(token, &bridge);
        let mut session = self.session_of(token, snapshot, custody).until(deadline);
        let done = (|| {
            take(&mut session, snapshot, &bridge, &below)?;
            for (node, policy) in below.iter().zip(&policies).chain([(&bridge, &policy)]) {
                learn(policy, &mut session, node.address);
                if policy.quirks(self.quirks).no_bus_reset {
                    return Err(Error::NotResettable);
                }
            }
            let powered: Vec<Below<'_>> =
                below.iter().zip(&policies).map(|(node, policy)| seen(snapshot, node, policy)).collect();
            let tree = Subtree {
                bridge: bridge.address,
                facts: policy.facts.get().ok_or(Error::NotResettable)?,
                children: &powered_children(snapshot, &bridge),
                below: &powered,
                slot,
            };
            reset_tree(&mut session, &tree, how, kept)
        })();
        let late = session.is_late();
        let done = done.and_then(|done| {
            check_back(&mut session, &below, kept)?;
            Ok(done)
        });
        session.return_to(custody);
        done.map_err(|error| if late { Error::Late } else { error })
    }

    /// Resets one function, which the caller has closed with its virtual functions, by the methods that are enabled for it, and
    /// restores both from `kept`.
    ///
    /// # Errors
    /// As [`Resets::reset_bus_closed`]; [`Error::NoMethod`] if none is left to try.
    pub fn reset_function_closed(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        at: Bdf,
        custody: &mut Custody,
        kept: &Kept,
        deadline: Deadline,
    ) -> Result<Done, Error> {
        let node = snapshot.function(at).cloned().ok_or(Error::NotThere)?;
        let virtuals = snapshot.virtual_functions(at);
        if !has(custody, &node) || !virtuals.iter().all(|node| has(custody, node) || is_gone(node)) {
            return Err(Error::Changed);
        }
        self.same_virtuals(token, at, &virtuals)?;
        let around = self.surroundings(token, snapshot, &node, Patience::None);
        let nodes: Vec<Arc<Node>> = [node].into_iter().chain(virtuals).collect();
        let policies = self.policies_of(token, &nodes);
        let mut session = self.session_of(token, snapshot, custody).until(deadline);
        for (node, policy) in nodes.iter().zip(&policies) {
            learn(policy, &mut session, node.address);
            stop(&mut session, node.address);
        }
        let done = match policies.first() {
            Some(policy) => {
                let subject = subject(at, policy, self.quirks, around);
                attempt(&mut session, subject, subject.list(policy)).map_err(Error::from)
            }
            None => Err(Error::NoMethod),
        };
        let mut not_restored = 0;
        for (node, policy) in nodes.iter().zip(&policies) {
            if session.is_late() {
                // Nothing may be touched before its time.
                break;
            }
            if done.is_ok() && node.address != at {
                session.reset_emulated(node.address, ResetKind::FunctionLevel);
            }
            let state = kept.get(&node.address).cloned().unwrap_or_default();
            let finished = finish(&mut session, node.address, policy.facts.get(), &state, done.is_ok());
            not_restored += finished.unwrap_or(0);
        }
        let late = session.is_late();
        let done = done.and_then(|method| {
            check_back(&mut session, &nodes, kept)?;
            Ok(Done { method: Some(method), not_restored })
        });
        session.return_to(custody);
        done.map_err(|error| if late { Error::Late } else { error })
    }

    /// Puts functions back into the states that were kept of them, bridges first, writing only what has another value. Answers for
    /// each how many registers do not take theirs.
    pub fn restore_closed(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        custody: &mut Custody,
        kept: &Kept,
        deadline: Deadline,
    ) -> Vec<(Bdf, Result<usize, NotBack>)> {
        let nodes = custody.nodes();
        let policies = self.policies_of(token, &nodes);
        let mut session = self.session_of(token, snapshot, custody).until(deadline);
        let mut all = Vec::new();
        for (node, policy) in nodes.iter().zip(&policies) {
            let at = node.address;
            learn(policy, &mut session, at);
            let state = kept.get(&at).cloned().unwrap_or_default();
            all.push((at, restore(&mut session, node, policy.facts.get(), &state)));
        }
        session.return_to(custody);
        all
    }

    /// Everything below is the caller's, and nothing came since he looked.
    fn check_closed(
        &self,
        token: &ThreadToken,
        bridge: &Arc<Node>,
        below: &[Arc<Node>],
        custody: &Custody,
    ) -> Result<(), Error> {
        let all = below.iter().all(|node| has(custody, node) || is_gone(node));
        let now = self.topology.as_ref().map(|topology| topology.snapshot(token));
        let new = now.is_some_and(|now| {
            let now = now.below(bridge);
            now.iter().any(|node| {
                !below.iter().any(|then| same(std::slice::from_ref(node), std::slice::from_ref(then)))
            })
        });
        if all && !new { Ok(()) } else { Err(Error::Changed) }
    }

    fn policies_of(&self, token: &mut ThreadToken, nodes: &[Arc<Node>]) -> Vec<Arc<Policy>> {
        nodes.iter().map(|node| self.policies.of(token, node)).collect()
    }

    fn session_of<'s>(
        &'s self,
        token: &'s mut ThreadToken,
        snapshot: &'s Snapshot,
        custody: &mut Custody,
    ) -> Session<'s> {
        Session::of(token, snapshot, &*self.time, self.procedures.as_deref(), custody)
    }
}

fn has(custody: &Custody, node: &Arc<Node>) -> bool {
    let member = custody.members.get(&node.address);
    member.is_some_and(|member| Arc::ptr_eq(&member.node.function, &node.function))
}

fn is_gone(node: &Node) -> bool {
    node.function.handle().is_gone()
}

fn has_power(node: &Node) -> bool {
    node.function.device_state() != DeviceState::D3Cold
}

/// Takes the bridge in, for whose turn nobody is waited: he may be waiting for what is held.
fn take(
    session: &mut Session<'_>,
    snapshot: &Snapshot,
    bridge: &Node,
    below: &[Arc<Node>],
) -> Result<(), Error> {
    if !session.is_gone(bridge.address) {
        return Ok(());
    }
    let is_on_bus = |node: &&Arc<Node>| {
        let above = snapshot.parent(node.address);
        above.is_some_and(|above| above.address == bridge.address) && !session.is_gone(node.address)
    };
    let through = below.iter().find(is_on_bus).ok_or(Error::Removed)?;
    take_bridge(session, through.address)?;
    Ok(())
}

fn seen<'p>(snapshot: &Snapshot, node: &Node, policy: &'p Policy) -> Below<'p> {
    Below { at: node.address, facts: policy.facts.get(), children: powered_children(snapshot, node) }
}

/// As [`children`], without those that cannot answer.
fn powered_children(snapshot: &Snapshot, node: &Node) -> Vec<Bdf> {
    let powered = |at: &Bdf| snapshot.function(*at).is_some_and(|node| has_power(node));
    children(snapshot, node).into_iter().filter(powered).collect()
}

/// Stops what it may be doing, if it answers.
fn stop(hold: &mut dyn Hold, at: Bdf) {
    if answers(hold, at) {
        quiet(hold, at);
    }
}

fn reset_tree(
    session: &mut Session<'_>,
    tree: &Subtree<'_>,
    how: BusReset,
    kept: &Kept,
) -> Result<Done, Error> {
    for below in tree.below {
        stop(session, below.at);
    }
    let done = match how {
        BusReset::Hot(times) => through_mask(session, tree, |hold| wire(hold, tree, times, |_| {})),
        BusReset::Fundamental(times) => {
            let cut = |hold: &mut dyn Hold| {
                tree.below.iter().for_each(|below| hold.reset_emulated(below.at, ResetKind::PowerCycle));
            };
            through_mask(session, tree, |hold| wire(hold, tree, times, cut))
        }
        BusReset::Release { link_inactive, root_port_busy } => {
            release::port(session, tree, link_inactive, root_port_busy)
        }
    };
    if session.is_late() {
        // Nothing below may be touched before its time.
        return Err(Error::Late);
    }
    let saved: Vec<Result<SavedState, Gone>> =
        tree.below.iter().map(|below| Ok(kept.get(&below.at).cloned().unwrap_or_default())).collect();
    match put_back(session, tree, &saved, done) {
        Ok(not_restored) => Ok(Done { method: None, not_restored }),
        Err(MethodError::Next) => {
            let silent = tree.below.iter().map(|below| below.at).find(|at| !answers(session, *at));
            Err(Error::NotBack(silent.unwrap_or(tree.bridge)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Below a CXL port that masks the reset, with the mask lifted (RST-17).
fn through_mask<'s>(
    session: &mut Session<'s>,
    tree: &Subtree<'_>,
    reset: impl FnOnce(&mut dyn Hold) -> Result<(), MethodError>,
) -> Result<(), MethodError> {
    match tree.facts.cxl_port {
        Some(extension) if CxlPort::read(session, tree.bridge, tree.facts) == CxlPort::Masked => {
            unmasked(session, tree.bridge, extension, reset)
        }
        _ => reset(session),
    }
}

/// Whether all that were not removed and have power answer, and as who they were.
fn check_back(session: &mut Session<'_>, nodes: &[Arc<Node>], kept: &Kept) -> Result<(), Error> {
    for node in nodes.iter().filter(|node| has_power(node)) {
        let at = node.address;
        let as_before =
            |session: &mut Session<'_>| kept.get(&at).is_none_or(|state| state.is_of(session, at));
        if !(session.is_gone(at) || answers(session, at) && as_before(session)) {
            return Err(Error::NotBack(at));
        }
    }
    Ok(())
}

fn restore(
    session: &mut Session<'_>,
    node: &Node,
    facts: Option<&Facts>,
    state: &SavedState,
) -> Result<usize, NotBack> {
    let at = node.address;
    if session.is_gone(at) {
        return Err(NotBack::Removed);
    }
    if !has_power(node) {
        // It gets its state back with its power.
        return Ok(0);
    }
    if !answers(session, at) {
        return Err(NotBack::Silent);
    }
    if !state.is_of(session, at) {
        return Err(NotBack::Another);
    }
    let Some(facts) = facts else { return Ok(0) };
    state.restore(session, at, facts).map_err(|_gone| NotBack::Removed)?;
    Ok(state.verify(session, at))
}
