//! The configuration that is kept of functions, from when they came and over their resets.

use crate::plan::FunctionId;
use crate::ranks;
use gate::lock::Leaf;
use reset::SavedState;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is kept of all functions.
#[derive(Debug, Default)]
pub(super) struct States {
    /// Rank 45, platform saved states; a leaf. As many as there are functions; no atomic, as the map grows.
    known: Leaf<ranks::SavedStates, BTreeMap<FunctionId, Known>>,
}

/// What is kept of one function.
#[derive(Debug, Default)]
struct Known {
    /// As it was when last somebody looked while it worked: for a function that does not answer.
    copy: Option<Arc<SavedState>>,
    /// As it was before a reset that it has not come back from yet. What is in its registers by then is not looked at.
    owed: Option<Arc<SavedState>>,
}

impl States {
    /// It works and is in this state.
    pub(super) fn copied(&self, function: FunctionId, state: SavedState) {
        let state = Arc::new(state);
        let old = self.known.lock().entry(function).or_default().copy.replace(state);
        drop(old);
    }

    /// It is about to be reset in this state; `None` if it did not answer. Says what it is owed from now on: of several resets
    /// before it is back, what the first one found.
    pub(super) fn owe(&self, function: FunctionId, found: Option<SavedState>) -> Option<Arc<SavedState>> {
        let found = found.map(Arc::new);
        let mut known = self.known.lock();
        let known = known.entry(function).or_default();
        known.owed = known.owed.take().or(found).or_else(|| known.copy.clone());
        known.owed.clone()
    }

    /// What it is owed.
    pub(super) fn owed(&self, function: FunctionId) -> Option<Arc<SavedState>> {
        self.known.lock().get(&function)?.owed.clone()
    }

    /// It is back as it was.
    pub(super) fn paid(&self, function: FunctionId) {
        let mut known = self.known.lock();
        if let Some(known) = known.get_mut(&function)
            && let Some(state) = known.owed.take()
        {
            known.copy = Some(state);
        }
    }

    /// Nothing is kept of it any more.
    pub(super) fn forget(&self, function: FunctionId) {
        let forgotten = self.known.lock().remove(&function);
        drop(forgotten);
    }
}
