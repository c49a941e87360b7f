//! Functions whose gates the caller of a reset has closed, and what is kept of them.

use crate::saved::SavedState;
use gate::Closed;
use pci_spec::Bdf;
use std::collections::BTreeMap;
use std::sync::Arc;
use topology::Node;

/// What is kept of functions over a reset, by their places.
pub type Kept = BTreeMap<Bdf, SavedState>;

/// Functions that somebody has closed and goes on with after a reset: it takes their gates, and leaves them closed, but for
/// those that were retired meanwhile. Dropping it reopens all.
#[derive(Debug, Default)]
#[must_use = "dropping it reopens the gates at once"]
pub struct Custody {
    pub(crate) members: BTreeMap<Bdf, Member>,
}

/// A function that is closed.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    /// `None` once the function was removed.
    pub(crate) closed: Option<Closed>,
}

impl Custody {
    /// Takes a function in.
    ///
    /// # Errors
    /// The gate, if it is another one's, or was retired.
    pub fn add(&mut self, node: Arc<Node>, closed: Closed) -> Result<(), Closed> {
        if !closed.is_of(node.function.gate()) || closed.is_gone() || node.function.handle().is_gone() {
            return Err(closed);
        }
        self.members.insert(node.address, Member { node, closed: Some(closed) });
        Ok(())
    }

    /// Whether the function at a place is in and was not removed.
    #[must_use]
    pub fn holds(&self, at: Bdf) -> bool {
        let closed = self.members.get(&at).and_then(|member| member.closed.as_ref());
        closed.is_some_and(|closed| !closed.is_gone())
    }

    /// Where the functions are, each bridge before what is below it; those that were removed included.
    pub fn places(&self) -> impl Iterator<Item = Bdf> + '_ {
        self.members.keys().copied()
    }

    /// The gates, still closed; those that were retired are let go.
    #[must_use = "dropping them reopens the gates at once"]
    pub fn into_gates(self) -> Vec<Closed> {
        let closed = self.members.into_values().filter_map(|member| member.closed);
        closed.filter(|closed| !closed.is_gone()).collect()
    }

    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.members.values().map(|member| member.node.clone()).collect()
    }
}
