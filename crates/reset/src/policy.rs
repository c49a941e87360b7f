//! What is kept of each function between two resets: its choice of methods, and what it has.

use crate::facts::Facts;
use crate::methods::Methods;
use crate::quirks::Quirks;
use crate::ranks;
use gate::ThreadToken;
use gate::lock::Lock;
use pci_core::Function;
use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use topology::Node;

/// What is kept of one function.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Whose this is: another function at the same address starts anew (law 5).
    function: Weak<Function>,
    pub(crate) methods: Methods,
    /// Read when it first answered; a function that needs a reset may answer no more.
    pub(crate) facts: OnceLock<Facts>,
}

impl Policy {
    /// What is known of the function's make.
    pub(crate) fn quirks(&self, of: fn(u16, u16) -> Quirks) -> Quirks {
        self.facts.get().map_or(Quirks::default(), |facts| of(facts.identity.0, facts.identity.1))
    }
}

/// All of them, by address. As many as there were addresses in use.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// Rank 46. A look-up or an insertion, once a reset. No atomic: the map grows.
    known: Lock<ranks::Policies, BTreeMap<Bdf, Arc<Policy>>>,
}

impl Policies {
    /// What is kept of the function at this place.
    pub(crate) fn of(&self, token: &mut ThreadToken, node: &Node) -> Arc<Policy> {
        let mut known = self.known.lock(token);
        let same =
            |policy: &&Arc<Policy>| std::ptr::eq(policy.function.as_ptr(), Arc::as_ptr(&node.function));
        if let Some(policy) = known.get(&node.address).filter(same) {
            return policy.clone();
        }
        let fresh = Arc::new(Policy {
            function: Arc::downgrade(&node.function),
            methods: Methods::default(),
            facts: OnceLock::new(),
        });
        known.insert(node.address, fresh.clone());
        fresh
    }
}
