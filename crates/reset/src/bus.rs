//! Resets of everything below a bridge: through its hot-plug slot or its secondary bus (RST-14).

use crate::act::MethodError;
use crate::error::Error;
use crate::policy::Policy;
use crate::resets::{Done, Resets, learn};
use crate::shut::{Patience, shut};
use crate::subtree::{self, Below, Subtree};
use gate::{Deadline, ThreadToken};
use pci_spec::Bdf;
use std::sync::Arc;
use topology::{Node, NodeKind, Snapshot};

/// What a reset of a whole bus goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// The hot-plug slot, which covers everything on the bus.
    Slot,
    /// Bridge Control.
    Bus,
}

/// What a bus reset reaches.
#[derive(Clone)]
pub(crate) struct Reach {
    pub(crate) bridge: Arc<Node>,
    /// Every bridge before what is below it.
    pub(crate) below: Vec<Arc<Node>>,
    pub(crate) through: Through,
}

impl Resets {
    /// Whether everything below a bridge can be reset, and through what: a slot is preferred, as it covers all of it
    /// (RST-14).
    ///
    /// # Errors
    /// [`Error::NotResettable`]: this is no bridge, or it or something below does not survive a bus reset (RST-15).
    /// [`Error::NotThere`].
    pub fn probe_bus(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        bridge: Bdf,
        deadline: Deadline,
    ) -> Result<Through, Error> {
        Ok(self.reach(token, snapshot, bridge, Patience::Until(deadline))?.through)
    }

    /// Resets everything below the bridge at `bridge`. The gates of the bridge and of all that is below it are
    /// closed, all or none; nobody else is blocked.
    ///
    /// # Errors
    /// [`Error`]; the functions that still answer are as they were.
    pub fn reset_bus(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        bridge: Bdf,
        deadline: Deadline,
    ) -> Result<Done, Error> {
        let patience = Patience::Until(deadline);
        self.power_on_all(token, snapshot, bridge, patience)?;
        let reach = self.reach(token, snapshot, bridge, patience)?;
        self.reset_reach(token, snapshot, &reach, patience)
    }

    /// As [`Resets::reset_bus`], but does not wait for others (RST-12).
    ///
    /// # Errors
    /// [`Error`]; contention is [`Error::Busy`], and nothing was changed.
    pub fn try_reset_bus(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        bridge: Bdf,
    ) -> Result<Done, Error> {
        self.power_on_all(token, snapshot, bridge, Patience::None)?;
        let reach = self.reach(token, snapshot, bridge, Patience::None)?;
        self.reset_reach(token, snapshot, &reach, Patience::None)
    }

    /// The file `reset_subordinate` of a bridge: "1" resets what is below it (RST-04).
    ///
    /// # Errors
    /// [`Error::NotPermitted`] for anybody but an administrator, [`Error::NotARequest`] for other text, else as
    /// [`Resets::reset_bus`].
    pub fn reset_subordinate(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        bridge: Bdf,
        text: &str,
        administrator: bool,
        deadline: Deadline,
    ) -> Result<Done, Error> {
        if !administrator {
            return Err(Error::NotPermitted);
        }
        check_request(text)?;
        self.reset_bus(token, snapshot, bridge, deadline)
    }

    /// As [`Resets::power_on`] for the bridge and all that is below it, parents first: what has no power would not
    /// answer after the reset either.
    pub(crate) fn power_on_all(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        bridge: Bdf,
        patience: Patience,
    ) -> Result<(), Error> {
        let node = snapshot.function(bridge).ok_or(Error::NotThere)?;
        self.power_on(token, snapshot, bridge, patience)?;
        snapshot
            .below(node)
            .iter()
            .try_for_each(|node| self.power_on(token, snapshot, node.address, patience))
    }

    pub(crate) fn reach(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        bridge: Bdf,
        patience: Patience,
    ) -> Result<Reach, Error> {
        let bridge = snapshot.function(bridge).cloned().ok_or(Error::NotThere)?;
        let NodeKind::Bridge { slot, .. } = bridge.kind else { return Err(Error::NotResettable) };
        let below = snapshot.below(&bridge);
        for node in below.iter().chain([&bridge]) {
            let policy = self.learn_about(token, snapshot, node, patience)?;
            if policy.quirks(self.quirks).no_bus_reset {
                return Err(Error::NotResettable);
            }
        }
        let through = if slot { Through::Slot } else { Through::Bus };
        Ok(Reach { bridge, below, through })
    }

    pub(crate) fn reset_reach(
        &self,
        token: &mut ThreadToken,
        snapshot: &Snapshot,
        reach: &Reach,
        patience: Patience,
    ) -> Result<Done, Error> {
        let Reach { bridge, below, through } = reach;
        let nodes: Vec<Arc<Node>> = below.iter().chain([bridge]).cloned().collect();
        let policies: Vec<Arc<Policy>> = nodes.iter().map(|node| self.policies.of(token, node)).collect();
        let closed = shut(&nodes, token, patience)?;
        if let Some(topology) = &self.topology
            && !same(&topology.snapshot(token).below(bridge), below)
        {
            return Err(Error::Changed);
        }
        let mut session = self.session(token, snapshot, &nodes, closed);
        session.zap();
        for (node, policy) in nodes.iter().zip(&policies) {
            learn(policy, &mut session, node.address);
        }
        let facts = policies.last().and_then(|policy| policy.facts.get());
        let done = match facts {
            Some(facts) => {
                let children = |node: &Node| children(snapshot, node);
                let tree: Vec<Below<'_>> = below
                    .iter()
                    .zip(&policies)
                    .map(|(node, policy)| Below {
                        at: node.address,
                        facts: policy.facts.get(),
                        children: children(node),
                    })
                    .collect();
                let tree = Subtree {
                    bridge: bridge.address,
                    facts,
                    children: &children(bridge),
                    below: &tree,
                    slot: *through == Through::Slot,
                };
                subtree::reset(&mut session, &tree)
            }
            // A bridge that does not answer resets nothing.
            None => Err(MethodError::Next),
        };
        session.end(|at| done.is_ok() && at != bridge.address);
        let not_restored = done.map_err(|error| match error {
            MethodError::Next => Error::NotResettable,
            error => Error::from(error),
        })?;
        Ok(Done { method: None, not_restored })
    }
}

/// Whether both list the same functions at the same places.
pub(crate) fn same(now: &[Arc<Node>], then: &[Arc<Node>]) -> bool {
    let identity = |node: &Arc<Node>| (node.address, Arc::as_ptr(&node.function));
    now.iter().map(identity).eq(then.iter().map(identity))
}

/// The functions right below a bridge that answer by themselves: virtual ones are there only once their physical
/// function is restored.
pub(crate) fn children(snapshot: &Snapshot, node: &Node) -> Vec<Bdf> {
    let NodeKind::Bridge { secondary, .. } = node.kind else { return Vec::new() };
    let on_bus = snapshot.bus(node.address.segment(), secondary);
    on_bus
        .filter(|child| !matches!(child.kind, NodeKind::Virtual { .. }))
        .map(|child| child.address)
        .collect()
}

/// The files `reset` and `reset_subordinate` take "1", and nothing else (RST-04).
///
/// # Errors
/// [`Error::NotARequest`]: `EINVAL`.
pub fn check_request(text: &str) -> Result<(), Error> {
    if text.trim_ascii() == "1" { Ok(()) } else { Err(Error::NotARequest) }
}
